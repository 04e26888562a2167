"""Shares of an account's rate as rows: asked for, given back, and what is left of them when a writer is closed (Q1)."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import sqlalchemy as sa

from purser.core.policy import Policy
from purser.core.ratelimit import Given, Part
from purser.flows import credits, payments, rates
from purser.store import rates as rows
from purser.store.rates import requests_of
from purser.store.writers import Tx, Writer, close_writer
from tests.flows.books import USD, VISA, World, open_account, open_books

SECOND = 1_000_000
POLICY = Policy(requests_per_minute=1_600, requests_per_minute_unverified=3)
ADA = requests_of("ada")


class Clock:
    """The store's clock, which a test moves."""

    def __init__(self) -> None:
        self.now = 1_000 * SECOND

    def read(self, *_: object) -> int:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    found = Clock()
    monkeypatch.setattr(rows, "clock", found.read)
    return found


@pytest.fixture
def two(clock: Clock) -> Iterator[tuple[Writer, Writer, World]]:
    """Two writers and an account without a card."""
    with open_books(POLICY) as (first, world):
        first.run(lambda tx: open_account(tx, "ada"))
        second = Writer(first.db, world, POLICY, host="here", pid=2)
        yield first, second, world
        second.close()


def ask(writer: Writer) -> Given:
    return writer.run(lambda tx: rates.ask(tx, "ada"))[0]


def parts(writer: Writer) -> list[Part]:
    with writer.db.read() as conn:
        return list(rows.get_rate(conn, ADA, 0).parts)


def add_card(writer: Writer) -> None:
    writer.run(lambda tx: payments.add_method(tx, "ada", VISA))


def test_small_rates_are_counted_for_all_writers_together(two: tuple[Writer, Writer, World], clock: Clock) -> None:
    """S39."""
    first, second, _ = two
    assert [ask(first).left, ask(second).left, ask(first).left] == [2, 1, 0]
    clock.now += 20 * SECOND
    assert ask(second) == Given(0, False, 0, wait=40 * SECOND)
    with first.db.read() as conn:
        assert rates.get_counted(conn, "ada", 0) == 3
    clock.now += 40 * SECOND
    assert ask(second).counted
    assert parts(first) == []


def test_large_rates_are_shared_out(two: tuple[Writer, Writer, World]) -> None:
    """S40."""
    first, second, _ = two
    add_card(first)
    assert first.run(lambda tx: rates.ask(tx, "ada")) == (Given(64, False, 1_536), 1_600, False)
    assert ask(second) == Given(64, False, 1_472)
    assert ask(second) == Given(64, False, 1_408)
    assert ask(second) == Given(100, False, 1_308)
    assert parts(first) == [Part(first.id, 64), Part(second.id, 228)]
    given = 292
    while (more := ask(first)).admitted:
        given += more.share
    assert given == 1_600
    assert more == Given(0, False, 0)


def test_whoever_falls_short_asks_the_others(two: tuple[Writer, Writer, World]) -> None:
    first, second, _ = two
    add_card(first)
    while ask(first).admitted:
        pass
    with first.db.read() as conn:
        assert rows.list_wanted(conn, first.id) == [], "nobody else has any"
    assert not ask(second).admitted
    with first.db.read() as conn:
        assert (rows.list_wanted(conn, first.id), rows.list_wanted(conn, second.id)) == ([ADA], [])
    first.run(lambda tx: rates.give_back(tx, [(ADA, 400)]))
    assert parts(first) == [Part(first.id, 1_200)]
    with first.db.read() as conn:
        assert rows.list_wanted(conn, first.id) == [], "who still wants more asks again"
    assert ask(second).share == 64
    first.run(lambda tx: rates.give_back(tx, [(ADA, 1_200)]))
    assert parts(first) == [Part(second.id, 64)], "a share of nothing is none"
    second.run(lambda tx: rates.give_back(tx, [(ADA, 32)]))
    assert parts(first) == [Part(second.id, 32)], "half of it goes back, half of it stays"


def test_a_closed_writers_share_counts_for_another_minute(two: tuple[Writer, Writer, World], clock: Clock) -> None:
    """What it let through just before it died is a minute old by then, also where it lived on for its ttl."""
    first, second, _ = two
    add_card(first)
    ask(first)
    first_id = first.id
    second.run(lambda tx: close_writer(tx, first_id))
    quarantine = (60 + POLICY.ttl_seconds) * SECOND
    assert parts(second) == [Part(first_id, 64, clock.now + quarantine)]
    clock.now += quarantine - 1
    assert ask(second).left == 1_472
    clock.now += 1
    assert ask(second).left == 1_472, "64 came back, 64 were given"
    assert parts(second) == [Part(second.id, 128)]


def test_a_writer_that_an_older_version_closed_is_noticed(two: tuple[Writer, Writer, World], clock: Clock) -> None:
    first, second, _ = two
    add_card(first)
    ask(first)
    second.run(lambda tx: tx.conn.execute(sa.text(f"UPDATE writers SET state = 'closed' WHERE id = {first.id}")))
    assert ask(second).left == 1_472
    clock.now += (60 + POLICY.ttl_seconds) * SECOND
    assert ask(second).left == 1_472, "64 came back, 64 were given"


def test_a_clock_that_begins_anew_holds_nothing_back_for_long(two: tuple[Writer, Writer, World], clock: Clock) -> None:
    """SQLite's minutes are counted by the machine's own clock, which starts at nothing when the machine does."""
    first, second, _ = two
    assert ask(first).counted
    add_card(first)
    ask(first)
    second.run(lambda tx: close_writer(tx, first.id))
    clock.now = 5 * SECOND
    assert ask(second).left == 1_600 - 1 - 64 - 64
    clock.now += (60 + POLICY.ttl_seconds) * SECOND
    assert ask(second).left == 1_600 - 64 - 64


def test_a_lower_rate_counts_what_was_shared_out(two: tuple[Writer, Writer, World]) -> None:
    first, second, _ = two
    method = first.run(lambda tx: payments.add_method(tx, "ada", VISA))
    ask(first)
    first.run(lambda tx: payments.remove_method(tx, "ada", method))
    assert first.run(lambda tx: rates.ask(tx, "ada")) == (Given(0, False, 0, over=True), 3, False)
    first.run(lambda tx: rates.give_back(tx, [(ADA, 62)]))
    assert ask(second) == Given(0, True, 0), "two of the share are used, this one is the third"
    assert not ask(second).admitted


def test_prepaid_needs_credit_too(clock: Clock) -> None:
    """S41."""
    with open_books(POLICY) as (writer, _):
        writer.run(lambda tx: open_account(tx, "ada", "prepaid"))
        add_card(writer)
        assert writer.run(lambda tx: rates.ask(tx, "ada"))[1] == 3
        writer.run(lambda tx: credits.give_credit(tx, "ada", USD))
        assert writer.run(lambda tx: rates.ask(tx, "ada"))[1] == 1_600


def test_the_stores_own_clock_goes_on() -> None:
    with open_books(replace(POLICY, requests_per_minute_unverified=1)) as (writer, _):
        writer.run(lambda tx: open_account(tx, "ada"))
        began = writer.run(lambda tx: rows.clock(tx.conn, tx.monotonic))
        assert ask(writer).counted
        wait = ask(writer).wait
        assert wait is not None
        assert 0 < wait <= 60 * SECOND
        assert writer.run(lambda tx: rows.clock(tx.conn, tx.monotonic)) > began


@pytest.mark.postgresql
def test_giving_back_does_not_wait_for_whoever_asks(two: tuple[Writer, Writer, World]) -> None:
    """Else each could wait for what the other has locked, since they lock many rates in orders of their own."""
    first, second, _ = two
    add_card(first)
    ask(first)
    ask(second)
    locked, given = threading.Event(), threading.Event()

    def asking(tx: Tx) -> bool:
        assert not locked.is_set(), "begun anew, since the server ended what stood still"
        rates.ask(tx, "ada")
        locked.set()
        return given.wait(10)

    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(first.run, asking)
        assert locked.wait(10)
        second.run(lambda tx: rates.give_back(tx, [(ADA, 1)]))
        given.set()
        assert asked.result()
