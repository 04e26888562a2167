"""Wrong keys at the control plane: so many a minute from one network, and never a right one refused."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from purser.core.key_checks import KeyChecks
from tests.inbound.house import Client, House

pytestmark = pytest.mark.once


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    """A house behind a proxy that lets three wrong keys a minute pass."""
    running = House(tmp_path, key_checks=KeyChecks(3), trusted_proxies=("127.0.0.0/8",))
    try:
        yield running
    finally:
        running.close()


def wrong(house: House, address: str, key: str = "pk_wrong") -> int:
    return replace(house.nobody, key=key).get("/v1/me", {"x-forwarded-for": address}).status


def right(client: Client, address: str) -> int:
    return client.get("/v1/me", {"x-forwarded-for": address}).status


def test_wrong_keys_are_refused_for_a_while_and_right_ones_never(house: House) -> None:
    ada = house.open("ada")
    assert [wrong(house, "198.51.100.7", f"pk_{n}") for n in range(5)] == [401, 401, 401, 429, 429]
    refused = replace(house.nobody, key="pk_no").get("/v1/accounts/ada", {"x-forwarded-for": "198.51.100.7"})
    assert (refused.status, refused.json["code"]) == (429, "RESOURCE_EXHAUSTED")
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert "many such keys came from this network address" in refused.json["detail"]
    assert right(ada, "198.51.100.7") == 200
    assert right(house.operator, "198.51.100.7") == 200
    assert wrong(house, "198.51.100.7") == 429, "a right key in between forgives nothing"
    assert wrong(house, "198.51.100.8") == 401


def test_a_client_is_its_network_and_says_nothing_about_itself(house: House) -> None:
    assert [wrong(house, f"2001:db8:1:2::{n}") for n in range(4)] == [401, 401, 401, 429]
    assert wrong(house, "2001:db8:1:3::1") == 401
    assert [wrong(house, f"203.0.113.{n}, 192.0.2.1") for n in range(4)] == [401, 401, 401, 429]


def test_whoever_sends_the_header_too_says_nothing_by_it(house: House) -> None:
    """Some proxies add a line of their own below the client's instead of going on with it."""
    for n in range(4):
        line = http.client.HTTPConnection("127.0.0.1", house.operator.port, timeout=30)
        line.putrequest("GET", "/v1/me")
        for name, value in (("authorization", "Bearer pk_no"), ("x-forwarded-for", f"203.0.113.{n}")):
            line.putheader(name, value)
        line.putheader("x-forwarded-for", "192.0.2.1")
        line.endheaders()
        assert line.getresponse().status == (401 if n < 3 else 429)
        line.close()


def test_what_is_no_wrong_key_is_not_counted(house: House) -> None:
    ada = house.open("ada")
    assert [house.nobody.get("/v1/me").status for _ in range(5)] == [401] * 5, "none was sent"
    assert [ada.get("/v1/accounts/bob").status for _ in range(5)] == [404] * 5
    assert ada.post("/v1/accounts/ada:close", {"giveUpCredit": True}).status == 200
    assert [ada.get("/v1/me").status for _ in range(5)] == [401] * 5, "it was a key, and says what became of it"
    assert replace(house.nobody, key="pk_no").get("/v1/me").status == 401
