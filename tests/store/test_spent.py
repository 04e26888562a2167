"""What was spent: the sums are those of the events whatever is rolled up by now, and what is, is not summed again."""

from __future__ import annotations

import itertools
import random
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from purser.core.budget import PERIODS, Budget, span
from purser.core.lease import GROUP, KEY, USER
from purser.core.period import DAY, HOUR, parse_instant
from purser.flows import budgets
from purser.store import spent, usage
from purser.store.checks import search
from purser.store.checks_usage import CHECKS
from purser.store.headroom import RowKey, mark
from purser.store.usage import QUARANTINED, Event
from tests import databases
from tests.store.small_books import Books, change

START = parse_instant("2026-02-26T00:00:00Z")
USERS, KEYS = ("bob", "bob-2", "eve"), ("key_1", "key_2", "key_3")
(FOLLOWS,) = [invariant for invariant in CHECKS if invariant.name == "spent"]


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    made = Books(databases.at(tmp_path / "purser.db"))
    yield made
    made.close()


def rows_of(account: str, user: str, key: str, at: int) -> list[RowKey]:
    """Every row on which a request at this instant may count."""
    of_key = [budgets.row_key(account, key, Budget(0, period), at) for period in PERIODS]
    of_user = [budgets.row_key(account, user, Budget(0, "MONTHLY"), at, kind=kind) for kind in (USER, GROUP)]
    return of_key + of_user


def draw(books: Books, chance: random.Random, n: int) -> Event:
    """A request at some time of a week around a month's turn, counted by any budgets, or reported after the fact."""
    at = START + chance.randrange(7 * DAY)
    account, user, key = chance.choice(("ada", "bob")), chance.choice(USERS), chance.choice(KEYS)
    rows = rows_of(account, user, key, at)
    counted = [chance.choice((*rows[: len(PERIODS)], None)), chance.choice((*rows[len(PERIODS) :], None))]
    event = msgspec.structs.replace(
        books.event(
            account, f"e{n}", (chance.randrange(1, 500), 0, 7), state=chance.choice(("settled",) * 9 + (QUARANTINED,))
        ),
        user=chance.choice((user, user, None)),
        key=key,
        occurred_at=at,
        budgets=tuple(row for row in counted if row is not None),
    )
    return msgspec.structs.replace(event, key=None, budgets=()) if chance.random() < 0.1 else event


def uncounted(events: list[Event], row: RowKey) -> int:
    """What the events make of a row, one by one."""
    subject, _, window = row.window.partition("/")
    start, end = span(window)
    return sum(
        event.cost_nanos
        for event in events
        if event.account == row.account
        and event.key is not None
        and (event.key if row.kind == KEY else event.user) == subject
        and start <= event.occurred_at < end
        and mark(row) not in map(mark, event.budgets)
    )


def settle(books: Books, events: list[Event]) -> None:
    books.writer.run(lambda tx: usage.insert_events(tx, [(event, None) for event in events]))


def follow(books: Books) -> bool:
    more: bool = books.writer.run(lambda tx: spent.follow(tx.conn))
    return more


def blamed(books: Books) -> list[str]:
    with books.db.read() as conn:
        return [violation.where for violation in next(search(conn, FOLLOWS)).violations()]


@pytest.mark.parametrize("far", [10_000, 60, 0])
def test_the_sums_are_those_of_the_events_however_far_the_roll_up_has_come(
    books: Books, far: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spent, "FAR", far)
    monkeypatch.setattr(spent, "_FEW", 3)
    chance = random.Random(11)
    rows = {
        row
        for day in range(7)
        for account in ("ada", "bob")
        for user, key in zip(USERS, KEYS, strict=True)
        for row in rows_of(account, user, key, START + day * DAY + HOUR)
    }
    events: list[Event] = []
    for round_ in range(8):
        some = [draw(books, chance, len(events) + n) for n in range(25)]
        settle(books, some)
        events += some
        if round_ % 3 == 1:
            follow(books)
        with books.db.read() as conn:
            assert {row: spent.sum_uncounted(conn, row) for row in rows} == {
                row: uncounted(events, row) for row in rows
            }
            for account, kinds in itertools.product(("ada", "bob"), ([KEY], [USER, GROUP])):
                same = [row for row in rows if row.account == account and row.kind in kinds]
                assert spent.sum_each(conn, same) == {row: uncounted(events, row) for row in same}
        assert blamed(books) == []
    assert sum(uncounted(events, row) > 0 for row in rows) > len(rows) // 2


def test_what_is_rolled_up_is_not_summed_again(books: Books) -> None:
    """However many events a month has, a sum reads what was spent by the day and the few events beyond."""
    row = RowKey("ada", USER, "owner/MONTHLY/2026-03")
    settle(books, [books.event("ada", "e1", (500, 0, 50))])
    assert not follow(books)
    with books.db.read() as conn:
        before = spent.sum_uncounted(conn, row)
    change(books.db, "DELETE FROM usage_events")
    settle(books, [books.event("ada", "e2", (500, 0, 50))])
    with books.db.read() as conn:
        assert spent.sum_uncounted(conn, row) == 2 * before > 0


def test_it_follows_by_bounded_steps_and_knows_when_it_is_behind(books: Books, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "_AT_ONCE", 10)
    monkeypatch.setattr(spent, "MANY", 12)
    other = books.open_writer(2)
    events = [books.event("ada", f"e{n}", (n + 1, 0, 0)) for n in range(35)]
    for n, event in enumerate(events):
        writer = other if n % 3 else books.writer
        writer.run(lambda tx, event=event: usage.insert_events(tx, [(event, None)]))  # type: ignore[misc]
    steps = 0
    with books.db.read() as conn:
        assert spent.is_behind(conn)
    while follow(books):
        steps += 1
        assert blamed(books) == []
    assert 3 <= steps <= 5
    with books.db.read() as conn:
        assert not spent.is_behind(conn)
        assert spent.sum_uncounted(conn, RowKey("ada", KEY, "key_1/TOTAL")) == sum(e.cost_nanos for e in events)
    other.close()


def test_two_that_roll_up_at_once_add_nothing_twice(books: Books) -> None:
    settle(books, [books.event("ada", f"e{n}", (n + 1, 0, 0)) for n in range(300)])
    others = [books.open_writer(2), books.open_writer(3)]
    begin = threading.Barrier(len(others))

    def run(n: int) -> None:
        begin.wait()
        others[n].run(lambda tx: spent.follow(tx.conn))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(len(others))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert blamed(books) == []
    with books.db.read() as conn:
        assert not spent.is_behind(conn)
    for other in others:
        other.close()


@pytest.mark.parametrize(
    ("what", "where"),
    [
        ("UPDATE spent SET amount = amount + 1 WHERE kind = 'user'", "spent by user owner on 2026-03-01"),
        ("UPDATE spent SET amount = amount - 1 WHERE kind = 'key'", "spent by key key_1 on 2026-03-01"),
        ("DELETE FROM spent WHERE kind = 'key'", "spent by key key_1 on 2026-03-01"),
        ("UPDATE spent SET counted = 'user:owner/MONTHLY/2026-03' WHERE kind = 'user'", "spent by user owner"),
        ("UPDATE spent_through SET seq = seq - 1", "spent by user owner"),
        ("UPDATE spent_through SET seq = seq + 100", "writer 1"),
    ],
)
def test_the_audit_finds_a_roll_up_that_is_wrong(books: Books, what: str, where: str) -> None:
    settle(books, [books.event("ada", "e1", (500, 0, 50))])
    last = books.writer.seq
    follow(books)
    change(books.db, f"UPDATE spent_through SET seq = {last}")
    assert blamed(books) == []
    change(books.db, what)
    assert any(where in each for each in blamed(books)), blamed(books)
