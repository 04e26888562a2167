"""Money taken in the very moment in which its account closes: whoever is first, nothing is left behind (A10)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from purser.core.errors import Unavailable
from purser.core.leaving import DELETING
from purser.core.limits import POSTPAID, PREPAID
from purser.core.money import NANOS_PER_CENT
from purser.flows import accounts, leaving, payments, requests
from purser.flows.audit import audit
from purser.flows.requests import Need, Taken
from purser.store import accounts as rows
from purser.store import headroom
from purser.store.db import Database
from purser.store.writers import Tx
from tests import databases
from tests.flows.halting import Halting, heeded
from tests.store.small_books import CARD, Books


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Books that are in order at the end."""
    books = Books(databases.at(tmp_path / "purser.db"))
    with heeded(books.db):
        yield books
    with books.db.read() as conn:
        assert audit(conn).violations == ()
    books.close()


def open_account(tx: Tx, account: str, mode: str) -> None:
    """One that owes what it takes, or one with a dollar of credit."""
    credit = 100 * NANOS_PER_CENT if mode == PREPAID else 0
    accounts.open_account(tx, account, f"{account}@example.com", billing_mode=mode, signup_credit_nanos=credit)
    if mode == POSTPAID:
        payments.add_method(tx, account, CARD)


def take(tx: Tx, account: str) -> Taken:
    needs = [Need(key, *[30 * NANOS_PER_CENT] * 3) for key in requests.path(account, "2026-03")]
    return requests.take_headroom(tx, needs)


def spare(db: Database, account: str) -> dict[str, int]:
    with db.read() as conn:
        keys = requests.path(account, "2026-03")
        return {key.kind: headroom.get_spare(conn, key) for key in keys}


@pytest.mark.parametrize("mode", [PREPAID, POSTPAID])
@pytest.mark.parametrize("halted", ["take", "close"])
def test_whoever_is_first_nothing_is_left(books: Books, mode: str, halted: str) -> None:
    """Either is halted before every second statement of its own, and the other runs as far as it can meanwhile."""
    other = books.open_writer(2)
    outcomes, n, reached = set(), 0, True
    while reached:
        account = f"ada-{n}"
        books.writer.run(lambda tx, account=account: open_account(tx, account, mode))  # type: ignore[misc]
        taking = partial(Halting, books.writer, partial(take, account=account))
        closing = partial(Halting, other, partial(leaving.close, account=account))
        first, then = (taking, closing) if halted == "take" else (closing, taking)
        one = first(n)
        one.wait()
        two = then()
        two.wait_or_be_kept_waiting()
        results = one.finish(), two.finish()
        outcomes.add(insist(books, account, *(results if halted == "take" else results[::-1])))
        reached, n = one.reached, n + 2
    assert n > 8, "it was halted in many places"
    firsts = {halted == "take"} if databases.is_sqlite() else {True, False}
    assert outcomes == firsts, "there each is first at times; on SQLite whoever has begun"
    other.close()


def insist(books: Books, account: str, taken: object, closed: object) -> bool:
    """The account closes, at once or when what was taken is back, with nothing left; answers whether it was taken."""
    assert closed is None, closed
    with books.db.read() as conn:
        row = rows.get_account(conn, account)
    assert row is not None
    assert row.state == DELETING
    if not isinstance(taken, Taken):
        assert isinstance(taken, Unavailable), taken
        assert row.closed_at is not None
        assert set(spare(books.db, account).values()) == {0}
        return False
    assert row.closed_at is None, "what was taken is waited for"
    given = spare(books.db, account)
    assert set(given.values()) == {30 * NANOS_PER_CENT}
    returns = [(key, 30 * NANOS_PER_CENT) for key in requests.path(account, "2026-03")]
    books.writer.run(lambda tx: requests.give_back(tx, returns))
    assert books.writer.run(lambda tx: leaving.finish(tx, account))
    with books.db.read() as conn:
        credit = headroom.get_row(conn, headroom.credit_key(account))
    assert credit is not None
    assert (credit.amount, credit.taken) == (0, 0), "what was left has lapsed"
    return True
