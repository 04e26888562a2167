"""A month rated anew: equal to the online rating to the nano-dollar, event by event, and what has no price is told."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from purser.core.errors import Invalid, NotFound
from purser.core.period import parse_instant
from purser.core.policy import Policy
from purser.core.pricebook import read_price
from purser.core.rating import rate
from purser.core.usage import Quantities, check_reported, folded, in_batch
from purser.flows import backtest, metering, pricing, setup
from purser.flows.metering import Reported
from purser.store import backtest as rows
from purser.store.backtest import Sum
from purser.store.db import Database
from purser.store.writers import Writer
from tests import databases
from tests.flows.books import World, open_account

MONTH = "2026-03"
FIRST = {
    "tiny": {"input": "0.95", "cached_input": "0.16", "output": "4.00"},
    "odd": {"input": "0.000000333", "output": "0.000000001", "priority": "1.2345"},
    "omni": {"input": "5", "output": "25", "cache_write_5m": "6.25", "audio_input": "32", "image": "0.04"},
    "gone": {"input": "1", "output": "1"},
}
SECOND = {
    "tiny": {"input": "0.07", "cached_input": "0.035", "output": "0.3"},
    "odd": {"input": "0.0000005", "output": "0.000000003"},
    "omni": {"input": "4.99", "output": "25.5", "audio_input": "0.000000001"},
}


class House:
    """Books with random usage of many kinds, under two versions of the prices."""

    def __init__(self, path: Path) -> None:
        self.world, self.used = World(), list[tuple[str, str, Quantities, int]]()
        self.db = Database(databases.at(path / "purser.db"))
        self.writer = Writer(self.db, self.world, Policy(), host="here", pid=1)
        self.writer.run(lambda tx: setup.prepare(tx, FIRST, None))
        for name in ("ada", "bob"):
            self.writer.run(lambda tx, name=name: open_account(tx, name))  # type: ignore[misc]
        self.use(1, 400)
        self.world.at = parse_instant("2026-03-20T00:00:00Z")
        self.second = self.writer.run(lambda tx: pricing.publish(tx, SECOND)).version
        self.use(2, 400)

    def use(self, seed: int, count: int) -> None:
        """Report random usage."""
        chance = random.Random(seed)
        events = []
        for n in range(count):
            model = chance.choice(["tiny", "odd", "omni"] if seed == 2 or n % 40 else ["gone"])
            used = self.quantities(chance, model, images=seed == 1)
            account = chance.choice(["ada", "bob"])
            self.used.append((account, model, used, seed))
            events.append(Reported(account, "api", f"{seed}-{n}", model, used))
        outcomes = self.writer.run(lambda tx: metering.record_all(tx, events))
        assert outcomes == [True] * count

    @staticmethod
    def quantities(chance: random.Random, model: str, *, images: bool) -> Quantities:
        large = chance.random() < 0.02
        given = {"input_tokens": chance.randrange(10**9 if large else 5_000), "output_tokens": chance.randrange(900)}
        given["cached_input_tokens"] = chance.randrange(given["input_tokens"] + 1)
        if model == "omni":
            left = given["input_tokens"] - given["cached_input_tokens"]
            given["audio_input_tokens"] = chance.randrange(left + 1)
            given["images"] = chance.randrange(3) if images else 0
            if chance.random() < 0.5:
                given["cache_write_5m_input_tokens"] = chance.randrange(left - given["audio_input_tokens"] + 1)
        used = check_reported(given)
        return in_batch(used) if model == "tiny" and chance.random() < 0.2 else used

    def close(self) -> None:
        self.writer.close()
        self.db.dispose()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("backtest"))
    yield made
    made.close()


def by_hand(house: House, new: dict[str, dict[str, str]]) -> dict[tuple[str, str], Sum]:
    """The sums as the online rating has them, one event at a time."""
    versions = {1: FIRST, 2: {**FIRST, **SECOND}}
    found: dict[tuple[str, str], Sum] = {}
    for account, model, given, version in house.used:
        own, anew = read_price(model, versions[version][model]), read_price(model, new[model]) if model in new else {}
        used = folded(given, own)
        cost = rate(used, own).amount_nanos
        again = folded(used, anew)
        unpriced = any(unit not in anew for unit in again) or not anew
        one = Sum(account, model, 1, cost, 0 if unpriced else rate(again, anew).amount_nanos, int(unpriced), 0)
        place = (account, model)
        found[place] = backtest._added(found[place], one) if place in found else one
    return found


PLANS = [
    {**FIRST, **SECOND},
    {**FIRST, **SECOND, "omni": {"input": "3", "output": "9"}},
    {**FIRST, **SECOND, "tiny": {"input": "999999.999999999", "output": "1000000"}},
]


@pytest.mark.parametrize("plan", PLANS)
@pytest.mark.parametrize("at_once", [250_000, 97])
def test_every_event_is_rated_as_online(
    house: House, plan: dict[str, dict[str, str]], at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P1: with other prices, with kinds without a price, and beyond 64 bits; in one part or in many."""
    monkeypatch.setattr(rows, "_AT_ONCE", at_once)
    changed = {name: read_price(name, price) for name, price in plan.items()}
    told: list[int] = []

    found = run(house, changed, told)
    assert {(each.account, each.model): each for each in found} == by_hand(house, plan)
    assert told[-1] == len(house.used)
    assert any(each.unpriced for each in found), "images, and a model that is gone"


def run(house: House, changed: backtest.Models, told: list[int], version: int | None = None) -> tuple[Sum, ...]:
    @contextmanager
    def watch(_: int) -> Iterator[object]:
        yield told.append

    return backtest.run(house.db, MONTH, changed, version, processes=2, watch=watch).sums  # type: ignore[arg-type]


def test_under_the_prices_it_was_rated_by_nothing_changes(house: House) -> None:
    """A published version: usage rated under it stays as it is."""
    found = run(house, {}, [], house.second)
    second = {(a, m): 0 for a, m, _, _ in house.used}
    for account, model, given, version in house.used:
        if version == 2:
            price = read_price(model, SECOND[model])
            second[account, model] += rate(folded(given, price), price).amount_nanos
    assert {each.differing for each in found} == {0}
    assert all(each.anew_nanos >= second[each.account, each.model] for each in found)


def test_a_charge_that_was_changed_behind_the_back_shows(house: House) -> None:
    with house.db.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE usage_events SET cost = cost + 1 WHERE id = '1-7'")
    try:
        assert sum(each.differing for each in run(house, {}, [], house.second)) == 1
    finally:
        with house.db.engine.begin() as conn:
            conn.exec_driver_sql("UPDATE usage_events SET cost = cost - 1 WHERE id = '1-7'")


def test_what_cannot_be_tried(house: House) -> None:
    with pytest.raises(NotFound, match="there is no version 9"):
        run(house, {}, [], 9)
    with pytest.raises(Invalid, match="nothing was used in 2025-01"):
        backtest.run(house.db, "2025-01", {}, 1, processes=1)
