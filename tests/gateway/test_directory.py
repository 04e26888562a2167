"""The directory forgets exactly what changed, however much it knows."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from purser.core.pricebook import PriceBook
from purser.flows import accounts
from purser.gateway import directory
from tests.gateway.rig import Rig


def open_bob(rig: Rig) -> str:
    """Another account; its first key."""
    return str(rig.write(lambda tx: accounts.open_account(tx, "bob", "bob@example.com")).secret)


def keys(rig: Rig) -> list[str]:
    """Whose keys are known, sorted."""
    return sorted(rig.on_loop(lambda: [owner.account for owner in rig.gateway.directory._keys.values()]))


def test_what_changed_is_forgotten_and_nothing_else(rig: Rig) -> None:
    bob = open_bob(rig)
    assert rig.eventually(lambda: keys(rig) == ["ada", "bob"] or look(rig, bob))
    rig.on_loop(lambda: rig.gateway.directory.forget({"bob", "nobody"}))
    assert keys(rig) == ["ada"]
    rig.on_loop(lambda: rig.gateway.directory.forget({"ada"}))
    assert keys(rig) == []
    assert rig.on_loop(lambda: rig.gateway.directory._keys_of) == {}


def look(rig: Rig, bob: str) -> bool:
    """Have both keys looked up again; False, to look once more."""
    for key in (rig.key, bob):
        rig.send("/verifyApiKey", None, method="GET", key=key)
    return False


def test_keys_beyond_the_bound_are_forgotten_oldest_first(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(directory, "MOST_KEYS", 1)
    bob = open_bob(rig)
    for key, account in ((rig.key, "ada"), (bob, "bob"), (rig.key, "ada")):
        answer = rig.send("/verifyApiKey", None, method="GET", key=key)
        assert (answer.status, answer.json["account"]) == (200, account)
        assert rig.on_loop(lambda: sum(map(len, rig.gateway.directory._keys_of.values()))) <= 1


def test_prices_are_read_again_when_they_change(rig: Rig) -> None:
    async def book() -> PriceBook | None:
        return await rig.gateway.directory.price_book()

    def version() -> Any:
        found = asyncio.run_coroutine_threadsafe(book(), rig._loop).result(10)
        return found.version if found else None

    assert version() == 1
    rig.on_loop(lambda: rig.gateway.directory.forget({""}))
    assert rig.on_loop(lambda: rig.gateway.directory._books) is None
    assert version() == 1
