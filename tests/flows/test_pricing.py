"""Prices published at once and ahead, over what is there; and ids in the order in which they were made (P1)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from purser.core.errors import Invalid
from purser.core.period import DAY
from purser.core.policy import Policy
from purser.core.pricebook import PriceBook, in_force
from purser.flows import pricing, setup
from purser.store import prices
from purser.store.writers import Tx, Writer
from tests import databases
from tests.flows.books import World, open_books


def price(dollars: int) -> dict[str, str]:
    return {"input": f"{dollars}.00", "output": f"{dollars}.00"}


def costs(writer: Writer, at: int) -> dict[str, int]:
    """What a million tokens of each model cost, in dollars."""
    with writer.db.read() as conn:
        book = in_force(prices.list_books(conn), at)
    return {} if book is None else {name: rates["input_tokens"].nanos // 10**9 for name, rates in book.models.items()}


@pytest.fixture
def unpriced() -> Iterator[Writer]:
    """A writer of books without any prices."""
    db = databases.with_tables()
    writer = Writer(db, World(), Policy(), host="here", pid=1)
    writer.run(lambda tx: setup.prepare(tx, {}, None))
    yield writer
    writer.close()
    db.dispose()


def test_before_the_first_prices_ever_take_effect_nothing_is_priced(unpriced: Writer) -> None:
    now = unpriced.world.now()
    book = unpriced.run(lambda tx: pricing.publish(tx, {"tiny": price(1)}, now + DAY))
    assert book.version == 2
    assert [costs(unpriced, at) for at in (now - DAY, now, now + DAY)] == [{}, {}, {"tiny": 1}]


def test_configured_prices_of_a_new_model_stay_when_scheduled_ones_come() -> None:
    with open_books() as (writer, world):
        writer.run(lambda tx: pricing.publish(tx, {"tiny": price(2)}, world.at + DAY))
        writer.run(lambda tx: setup.prepare(tx, {"tiny": price(9), "new": price(3)}, None))
        assert costs(writer, world.at) == {"tiny": 1_000_000, "new": 3}
        assert costs(writer, world.at + DAY) == {"tiny": 2, "new": 3}
        before = versions(writer)
        writer.run(lambda tx: setup.prepare(tx, {"tiny": price(9), "new": price(3)}, None))
        assert versions(writer) == before


def versions(writer: Writer) -> list[PriceBook]:
    with writer.db.read() as conn:
        return prices.list_books(conn)


def test_what_was_published_never_changes() -> None:
    chance = random.Random(11)
    with open_books() as (writer, world):
        kept = versions(writer)
        for _ in range(40):
            names = chance.sample(["tiny", "small", "large"], chance.randrange(1, 3))
            named = {name: price(chance.randrange(1, 90)) for name in names}
            ahead = chance.choice([None, 1, 2, 5])
            at = None if ahead is None else world.at + ahead * DAY
            writer.run(lambda tx, named=named, at=at: pricing.publish(tx, named, at))  # type: ignore[misc]
            world.at += chance.choice([0, 0, DAY // 2])
            now = versions(writer)
            assert now[: len(kept)] == kept, "P1"
            kept = now
        with pytest.raises(Invalid, match="past"):
            writer.run(lambda tx: pricing.publish(tx, {"tiny": price(1)}, world.at - 1))


def test_ids_of_one_instant_keep_the_order_in_which_they_were_made() -> None:
    with open_books() as (writer, _):
        other = (
            Writer(writer.db, writer.world, writer.policy, host="here", pid=2) if not writer.db.in_memory else writer
        )

        def make(tx: Tx) -> list[str]:
            return [tx.new_id("grant") for _ in range(50)]

        made = [id_ for turn in range(10) for id_ in (writer if turn % 2 else other).run(make)]
        assert made == sorted(made)
        assert len(set(made)) == len(made)
        if other is not writer:
            other.close()
