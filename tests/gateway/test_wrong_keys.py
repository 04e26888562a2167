"""Wrong keys at the gateway: so many a minute from one network, and never a right one refused or slowed."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from purser.flows import accounts
from tests.gateway.rig import POLICY, Answered, Rig, running

pytestmark = pytest.mark.once


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    """A gateway behind a proxy that lets three wrong keys a minute pass."""
    with running(tmp_path, replace(POLICY, wrong_keys_per_minute=3), trusted_proxies=("127.0.0.0/8",)) as found:
        yield found


def ask(rig: Rig, key: str, address: str = "198.51.100.7", path: str = "/verifyApiKey") -> Answered:
    return rig.send(path, None, method="GET", key=key, headers={"x-forwarded-for": address})


def test_wrong_keys_are_refused_for_a_while_and_right_ones_never(rig: Rig) -> None:
    assert ask(rig, rig.key).status == 200
    assert [ask(rig, f"pk_{n}").status for n in range(5)] == [401, 401, 401, 429, 429]
    refused = ask(rig, "pk_0", path="/v1/models")
    assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-should-retry"] == "false"
    assert ask(rig, rig.key).status == 200
    assert rig.chat("hello", headers={"x-forwarded-for": "198.51.100.7"}).status == 200
    bob = rig.write(lambda tx: accounts.open_account(tx, "bob", "bob@example.com")).secret
    assert ask(rig, bob).status == 200, "nobody here has seen this key before"
    assert ask(rig, "pk_0", "198.51.100.8").status == 401
    assert ask(rig, "pk_0", "203.0.113.1, 198.51.100.7").status == 429, "what a client says of itself is not believed"


def test_one_key_at_a_time_is_looked_up_for_a_network_that_sent_many_wrong_ones(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(4):
        ask(rig, f"pk_{n}")
    at_work, most = [0], [0]
    look = rig.gateway.directory.principal

    async def principal(secret: bytes) -> object:
        at_work[0] += 1
        most[0] = max(most[0], at_work[0])
        try:
            return await look(secret)
        finally:
            at_work[0] -= 1

    monkeypatch.setattr(rig.gateway.directory, "principal", principal)
    with ThreadPoolExecutor(6) as clients:
        assert list(clients.map(lambda n: ask(rig, f"pk_x{n}").status, range(6))) == [429] * 6
    assert most == [1]
