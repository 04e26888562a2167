"""A change of the billing mode just before a month turns, beside a process that closes it already (A2, A5, A8)."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from purser.core.limits import POSTPAID, PREPAID
from purser.core.period import SECOND, parse_instant
from purser.core.policy import Policy
from purser.flows import accounts, invoicing, modes
from purser.flows.audit import audit
from purser.store import accounts as rows
from purser.store import invoices
from purser.store.writers import Writer
from tests import databases
from tests.flows.halting import Halting, heeded
from tests.store.small_books import Books, World

APRIL = parse_instant("2026-04-01T00:00:00Z")


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Books that are in order at the end."""
    books = Books(databases.at(tmp_path / "purser.db"))
    with heeded(books.db):
        yield books
    with books.db.read() as conn:
        assert audit(conn).violations == ()
    books.close()


def ahead(books: Books) -> Writer:
    """The writer of a process for which it is April."""
    world = World()
    world.at = APRIL
    return Writer(books.db, world, Policy(), host="here", pid=2)


def owing(books: Books, account: str, mode: str) -> None:
    """An account that has used something of March."""
    books.world.at = APRIL - 3600 * SECOND
    books.writer.run(
        lambda tx: accounts.open_account(
            tx, account, "ada@example.com", billing_mode=mode, signup_credit_nanos=1_000_000
        )
    )
    books.report(account, f"e-of-{account}", 50_000, 0)
    books.world.at = APRIL - 1


@pytest.mark.parametrize("mode, to", [(PREPAID, POSTPAID), (POSTPAID, PREPAID)])
def test_a_month_that_is_closed_stays_as_it_was_billed(books: Books, mode: str, to: str) -> None:
    leader = ahead(books)
    owing(books, "ada", mode)
    invoice = leader.run(lambda tx: invoicing.close_account_month(tx, "ada", "2026-03"))
    assert (invoice is None) == (mode == PREPAID)
    books.writer.run(lambda tx: modes.set_mode(tx, "ada", to))
    with books.db.read() as conn:
        row = rows.get_account(conn, "ada")
        assert row is not None
        assert (row.billing_mode, modes.billed(conn, row, "2026-03")) == (to, mode)
        assert modes.billed(conn, row, "2026-04") == to
    leader.close()


@pytest.mark.parametrize("halted", ["change", "close"])
def test_whoever_is_first_the_month_is_billed_as_the_changes_say(books: Books, halted: str) -> None:
    """Either is halted before every second statement of its own, and the other runs as far as it can meanwhile."""
    leader = ahead(books)
    invoiced, n, reached = set(), 0, True
    while reached:
        account = f"ada-{n}"
        owing(books, account, PREPAID)
        changing = partial(Halting, books.writer, partial(modes.set_mode, account=account, mode=POSTPAID))
        closing = partial(Halting, leader, partial(invoicing.close_account_month, account=account, month="2026-03"))
        first, then = (changing, closing) if halted == "change" else (closing, changing)
        one = first(n)
        one.wait()
        two = then()
        two.wait_or_be_kept_waiting()
        results = one.finish(), two.finish()
        changed, closed = results if halted == "change" else results[::-1]
        assert changed is None
        assert closed is None or isinstance(closed, str), closed
        with books.db.read() as conn:
            row = rows.get_account(conn, account)
            assert row is not None
            assert (modes.billed(conn, row, "2026-03") != PREPAID) == (closed is not None)
            assert [each.month for each in invoices.list_invoices(conn, account)] == ["2026-03"] * (closed is not None)
        invoiced.add(closed is not None)
        reached, n = one.reached, n + 2
    assert invoiced == ({halted == "change"} if databases.is_sqlite() else {True, False})
    leader.close()
