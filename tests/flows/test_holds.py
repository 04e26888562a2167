"""Holds by API of several processes at once: none is held beyond what there is, and each has one end (transition 9)."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from purser.core.errors import Conflict
from purser.core.money import parse_usd
from purser.core.usage import AMOUNT
from purser.flows import accounts, holds, requests
from purser.flows.audit import audit
from purser.flows.lessee import Lessee
from purser.store import headroom
from purser.store.headroom import credit_key
from purser.store.holds import Held
from purser.store.writers import Writer
from tests import databases
from tests.store.small_books import Books

CENT = 10_000_000


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Ada, with a dollar of credit."""
    books = Books(databases.at(tmp_path / "purser.db"))
    books.writer.run(lambda tx: accounts.open_account(tx, "ada", "ada@example.com", signup_credit_nanos=100 * CENT))
    yield books
    books.close()


@pytest.fixture
def writers(books: Books) -> Iterator[list[Writer]]:
    """Three processes' writers."""
    others = [books.open_writer(2), books.open_writer(3)]
    yield [books.writer, *others]
    for other in others:
        other.close()


def place(writer: Writer, id_: str, nanos: int, seconds: int = 600) -> object:
    return writer.run(lambda tx: holds.place(tx, id_, "ada", "tiny", {AMOUNT: nanos}, seconds))


def at_once(*works: Callable[[], object]) -> None:
    """Do all of it in threads of their own, beginning together."""
    gate = threading.Barrier(len(works))
    failed: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            gate.wait(30)
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def insist(books: Books) -> None:
    with books.db.read() as conn:
        assert audit(conn).violations == ()


def test_three_processes_hold_no_more_than_there_is(books: Books, writers: list[Writer]) -> None:
    made: list[object] = []

    def place_many(n: int, writer: Writer) -> None:
        made.extend(place(writer, f"hold_{n}_{k}", 7 * CENT) for k in range(8))

    at_once(*(partial(place_many, n, writer) for n, writer in enumerate(writers)))
    assert sum(isinstance(each, Held) for each in made) == 14
    with books.db.read() as conn:
        row = headroom.get_row(conn, credit_key("ada"))
    assert row is not None
    assert (row.taken, row.over) == (98 * CENT, 0)
    insist(books)


def test_settled_voided_and_expired_at_once_each_has_one_end(books: Books, writers: list[Writer]) -> None:
    ids = [f"hold_{n}" for n in range(12)]
    for id_ in ids:
        assert isinstance(place(books.writer, id_, 5 * CENT, 1), Held)
    books.world.at += 2_000_000
    first, second, third = writers

    def end_all(writer: Writer, end: Callable[..., object], order: list[str]) -> None:
        for id_ in order:
            try:
                writer.run(partial(end, id_=id_))
            except Conflict:
                continue

    at_once(
        partial(end_all, first, partial(holds.settle, used={AMOUNT: 3 * CENT}), ids),
        partial(end_all, second, holds.void, ids[::-1]),
        partial(end_all, third, holds.expire, ids[6:] + ids[:6]),
    )
    with books.db.read() as conn:
        found = [holds.require(conn, id_) for id_ in ids]
        row = headroom.get_row(conn, credit_key("ada"))
    ends = Counter(held.state for held in found)
    assert ends["open"] == 0
    assert row is not None
    assert (row.taken, row.used) == (3 * CENT * ends["settled"],) * 2
    insist(books)


def test_the_same_hold_from_three_processes_is_held_once(books: Books, writers: list[Writer]) -> None:
    at_once(*(partial(place, writer, "hold_same", 30 * CENT) for writer in writers))
    with books.db.read() as conn:
        row = headroom.get_row(conn, credit_key("ada"))
    assert row is not None
    assert row.taken == 30 * CENT
    insist(books)


def test_what_a_gateway_has_spare_is_asked_for_and_what_a_hold_has_is_not(books: Books, writers: list[Writer]) -> None:
    gateway = Lessee()
    keys = requests.path("ada", "2026-03")
    needs = gateway.needs(keys, parse_usd("0.60"), parse_usd("0.60"), parse_usd("0.60"))
    gateway.apply(writers[1].run(lambda tx: requests.take_headroom(tx, needs)))
    short = place(writers[0], "hold_1", 50 * CENT)
    assert isinstance(short, holds.Refused)
    assert short.taken is not None
    assert short.taken.others
    with books.db.read() as conn:
        assert credit_key("ada") in headroom.list_wanted(conn, writers[1].owner)
    returns = gateway.start_returns("2026-03", 0, keys)
    writers[1].run(lambda tx: requests.give_back(tx, returns))
    assert isinstance(place(writers[0], "hold_1", 50 * CENT), Held)
    short = place(writers[2], "hold_2", 60 * CENT)
    assert isinstance(short, holds.Refused)
    assert short.taken is not None
    assert not short.taken.others, "nobody is waited for"
    assert short.held_nanos == 50 * CENT
    insist(books)
