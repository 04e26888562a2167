"""Closing a writer: what it had set aside comes back at once, however many accounts that was for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from purser.core.policy import Policy
from purser.flows.requests import Need, path
from purser.flows.requests import take_headroom as take
from purser.store import headroom
from purser.store.db import Database
from purser.store.headroom import credit_key
from purser.store.writers import Writer, close_writer
from tests.flows.books import USD, World, open_account, open_books
from tests.statements import told

_MONTH = "2026-03"


def writer_with_leases(beside: Writer, world: World, accounts: list[str]) -> Writer:
    """Another writer, with a dollar set aside for each of these new accounts."""
    other = Writer(beside.db, world, Policy(), host="here", pid=2)
    for account in accounts:
        beside.run(lambda tx, account=account: open_account(tx, account, credit=10 * USD))  # type: ignore[misc]
        needs = [Need(key, USD, USD, USD) for key in path(account, _MONTH)]
        assert other.run(lambda tx, needs=needs: take(tx, needs)).short is None  # type: ignore[misc]
    return other


@contextmanager
def counted(db: Database) -> Iterator[list[str]]:
    """The statements run meanwhile; those for many rows at once are not among them."""
    found: list[str] = []
    with told(db.engine, lambda statement, _: found.append(statement)):
        yield found


def test_a_writer_with_many_leases_is_closed_in_as_many_statements_as_one_with_few() -> None:
    counts = []
    with open_books() as (writer, world):
        for many in (2, 40):
            other = writer_with_leases(writer, world, [f"of-{many}-{n}" for n in range(many)])
            with counted(writer.db) as statements:
                closed = writer.run(lambda tx, other=other: close_writer(tx, other.id))  # type: ignore[misc]
            assert closed == many * USD
            counts.append(len(statements))
            other.close()
        with writer.db.read() as conn:
            rows = [headroom.get_row(conn, credit_key(f"of-40-{n}")) for n in range(40)]
    assert [(row.taken, row.unbilled) for row in rows if row is not None] == [(0, USD)] * 40
    assert counts[0] == counts[1]
