"""Headroom just granted is there for the request that asked for it, whenever the heartbeat comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from purser.core.period import SECOND, month_of
from purser.flows import accounts, requests
from tests.gateway.rig import Rig

QUIET = 5 * SECOND


@contextmanager
def ever_returning(rig: Rig, account: str, pause_seconds: float, *, recalled: bool) -> Iterator[None]:
    """A heart that beats all the time: it gives back what has gone quiet, or whatever others want."""
    gateway, month = rig.gateway, month_of(rig.world.now())
    wanted = list(requests.path(account, month)) if recalled else []

    async def beat() -> None:
        while True:
            await gateway.cashier.give_back(month, int(rig._loop.time() * SECOND) - QUIET, wanted)
            await asyncio.sleep(pause_seconds)

    beating = asyncio.run_coroutine_threadsafe(beat(), rig._loop)
    try:
        yield
    finally:
        beating.cancel()


def open_account(rig: Rig, account: str) -> str:
    """A new account, of which this process holds no lease yet; answers its key."""
    opened = rig.write(lambda tx: accounts.open_account(tx, account, f"{account}@example.com"))
    return str(opened.secret)


@pytest.mark.parametrize("pause_seconds, recalled", [(0, False), (0.01, True)])
def test_a_grant_is_not_given_back_before_it_is_held(rig: Rig, pause_seconds: float, recalled: bool) -> None:
    for n in range(10):
        account = f"fresh-{n}"
        rig.key = open_account(rig, account)
        with ever_returning(rig, account, pause_seconds, recalled=recalled):
            answer = rig.chat("hello", max_tokens=10)
            streamed = rig.chat("hello [[tokens=1500]]", max_tokens=1500, stream=True)  # longer than a slice
        assert answer.status == 200, answer.body
        assert streamed.status == 200, streamed.body
        assert json.loads(rig.events(account)[-1].quantities)["output_tokens"] == 1500
