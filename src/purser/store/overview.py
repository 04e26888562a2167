"""An overview of all that limits and leases are at one moment, read whole and fast: for the simulator's checks."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core.lease import Headroom, Lease
from purser.store.bulk import Statement
from purser.store.db import Connection
from purser.store.headroom import RowKey

_HEADROOM = Statement('SELECT account, kind, "window", amount, enforced, taken, used, over, unbilled FROM headroom')
_WANTED = Statement("SELECT COUNT(*) FROM headroom WHERE wanted_at IS NOT NULL")
_BILLS = Statement("SELECT COUNT(*) FROM invoices WHERE type <> 'PREPAID_CREDITS'")
_LEASES = Statement('SELECT account, kind, "window", owner, share, used FROM leases')
_WRITERS = Statement("SELECT id, seq FROM writers WHERE state = 'open'")
_CAUSES = Statement("SELECT account, cause FROM causes WHERE until_at IS NULL")
_EVENTS = Statement(
    "SELECT account, source, id, model, month, version, quantities, cost, held, state, estimated, budgets "
    "FROM usage_events WHERE writer = ? AND seq = ?"
)


@dataclass(frozen=True, slots=True)
class Posted:
    """A usage event as posted."""

    account: str
    source: str
    id: str
    model: str
    month: str
    version: int
    quantities: str
    cost: int
    held: int
    state: str
    estimated: int
    budgets: str | None

    def budget_rows(self) -> tuple[RowKey, ...]:
        """The headroom rows of the budgets that it counts toward."""
        marks = (mark.partition(":") for mark in (self.budgets or "").split())
        return tuple(RowKey(self.account, kind, window) for kind, _, window in marks)


def list_headroom(conn: Connection) -> dict[RowKey, Headroom]:
    """Every headroom row."""
    return {
        RowKey(*row[:3]): Headroom(row[3], bool(row[4]), row[5], row[6], row[7], row[8]) for row in _HEADROOM.run(conn)
    }


def list_leases(conn: Connection) -> dict[RowKey, dict[str, Lease]]:
    """Every lease, by row and owner."""
    found: dict[RowKey, dict[str, Lease]] = {}
    for account, kind, window, owner, share, used in _LEASES.run(conn):
        found.setdefault(RowKey(account, kind, window), {})[owner] = Lease(share, used)
    return found


def list_open_writers(conn: Connection) -> dict[int, int]:
    """The open writers and how far each has come."""
    return dict(_WRITERS.run(conn).fetchall())


def list_causes(conn: Connection) -> set[tuple[str, str]]:
    """Every open cause with its account."""
    return set(_CAUSES.run(conn).fetchall())


def count_wanted(conn: Connection) -> int:
    """How many headroom rows others want spare of."""
    return int(_WANTED.run(conn).fetchone()[0])


def count_bills(conn: Connection) -> int:
    """How many months of accounts were closed into an invoice."""
    return int(_BILLS.run(conn).fetchone()[0])


def list_posted(conn: Connection, writer: int, seq: int) -> list[Posted]:
    """The usage events of one commit."""
    return [Posted(*row) for row in _EVENTS.run(conn, writer, seq)]
