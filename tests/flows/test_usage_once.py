"""A usage event is unique for ever by its source and id: known with its body it changes nothing, else it is refused."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from purser.core.errors import Conflict
from purser.core.period import DAY, parse_instant
from purser.core.policy import Policy
from purser.flows import invoicing, metering, setup
from purser.flows.audit import audit
from purser.flows.metering import Reported
from purser.store.db import Database
from purser.store.writers import Tx, Writer
from tests import databases
from tests.flows.books import USD, World, open_account

FIRST = Reported("ada", "api", "u1", "tiny", {"input_tokens": 3}, parse_instant("2026-03-01T09:00:00Z"))
OTHERS = [
    replace(FIRST, quantities={"input_tokens": 4}),
    replace(FIRST, quantities={"output_tokens": 3}),
    replace(FIRST, model="dear"),
    replace(FIRST, occurred_at=FIRST.occurred_at and FIRST.occurred_at - 1),
    replace(FIRST, user="bob"),
]


class Two:
    """Two writers on one database, and a clock."""

    def __init__(self, path: Path) -> None:
        self.world = World()
        self.db = Database(databases.at(path / "purser.db"))
        self.one, self.other = (Writer(self.db, self.world, Policy(), host="here", pid=pid) for pid in (1, 2))
        prices = {name: {"input": "1000000.00", "output": "1000000.00"} for name in ("tiny", "dear")}
        self.one.run(lambda tx: setup.prepare(tx, prices, None))
        self.one.run(lambda tx: open_account(tx, "ada", credit=2 * USD))

    def books(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row, but for what shows how far each writer has come."""
        return {name: rows for name, rows in databases.rows(self.db).items() if name not in ("writers", "idempotency")}


@pytest.fixture
def two(tmp_path: Path) -> Iterator[Two]:
    """Two writers; at the end every invariant holds."""
    made = Two(tmp_path)
    yield made
    with made.db.read() as conn:
        found = audit(conn).violations
    for writer in (made.one, made.other):
        writer.close()
    made.db.dispose()
    assert not found, found


def record(event: Reported) -> Callable[[Tx], bool | None]:
    """Report an event: whether it was new, None where another of its id stands."""

    def work(tx: Tx) -> bool | None:
        try:
            return metering.record(tx, event)
        except Conflict:
            return None

    return work


@contextmanager
def unchanged(two: Two) -> Iterator[None]:
    """Nothing is written meanwhile."""
    before = two.books()
    yield
    assert two.books() == before


def check_known(two: Two) -> None:
    """The event is known to both writers, with this body alone."""
    with unchanged(two):
        for writer in (two.one, two.other):
            assert writer.run(record(FIRST)) is False
            assert [writer.run(record(other)) for other in OTHERS] == [None] * len(OTHERS)


def test_an_event_is_known_to_every_writer_with_its_body_alone(two: Two) -> None:
    assert two.one.run(record(FIRST)) is True
    check_known(two)


def test_in_one_commit_the_first_stands(two: Two) -> None:
    told = two.one.run(lambda tx: [record(event)(tx) for event in (OTHERS[0], FIRST, OTHERS[0], *OTHERS[1:])])
    assert told == [True, None, False, None, None, None, None]
    assert two.other.run(record(OTHERS[0])) is False


def test_after_its_month_was_closed_and_billed(two: Two) -> None:
    assert two.one.run(record(FIRST)) is True
    two.world.at = parse_instant("2026-04-02T00:00:00Z")
    assert two.one.run(lambda tx: invoicing.close_account_month(tx, "ada", "2026-03"))
    assert two.one.run(lambda tx: invoicing.finish_month(tx, "2026-03"))
    check_known(two)
    two.world.at += 400 * DAY
    check_known(two)


def test_sources_are_apart(two: Two) -> None:
    assert two.one.run(record(FIRST)) is True
    assert two.other.run(record(replace(OTHERS[0], source="gateway"))) is True
    assert two.other.run(record(FIRST)) is False


@pytest.mark.parametrize("same", [True, False])
def test_writers_that_report_it_at_the_same_time(two: Two, same: bool) -> None:
    """Sixteen threads, two bodies: one of them is billed, once."""
    told: list[tuple[Reported, bool | None]] = []
    barrier = threading.Barrier(16)

    def report(n: int) -> None:
        event = FIRST if same or n < 8 else OTHERS[0]
        barrier.wait(30)
        told.append((event, (two.one, two.other)[n % 2].run(record(event))))

    threads = [threading.Thread(target=report, args=(n,)) for n in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    (billed,) = (event for event, new in told if new)
    known = [new for event, new in told if event == billed and not new]
    refused = [new for event, new in told if event != billed]
    assert (known, refused) == ([False] * (15 if same else 7), [None] * (0 if same else 8))
    assert len(databases.rows(two.db)["usage_events"]) == 1
