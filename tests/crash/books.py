"""The books as an outsider reads them: by SQL of its own on a driver's connection, nothing of the product's store."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psycopg

_EVENTS = "SELECT account, source, id, month, cost, held, state, estimated, writer FROM usage_events"
_ROWS = 'SELECT account, kind, "window", amount, enforced, taken, used, over, unbilled FROM headroom'
_LEASES = 'SELECT account, kind, "window", owner, share, used FROM leases'
_WRITERS = "SELECT id, pid, state, unbilled, seq FROM writers"
_GRANTED = "SELECT account, SUM(granted) FROM grants GROUP BY account"
_EARNED = (
    "SELECT account, SUM(CASE side WHEN 'C' THEN amount ELSE -amount END) FROM postings "
    "WHERE ledger LIKE 'revenue:%' GROUP BY account"
)
_LOPSIDED = (
    "SELECT account, \"key\", SUM(CASE side WHEN 'D' THEN amount ELSE -amount END) AS off FROM postings "
    "GROUP BY account, \"key\" HAVING SUM(CASE side WHEN 'D' THEN amount ELSE -amount END) <> 0"
)
_MISPOSTED = (
    "SELECT e.account, e.txn, e.cost, p.posted FROM "
    "(SELECT account, txn, SUM(cost) AS cost FROM usage_events WHERE cost > 0 GROUP BY account, txn) e LEFT JOIN "
    "(SELECT account, \"key\" AS txn, SUM(amount) AS posted FROM postings WHERE ledger LIKE 'revenue:%' AND side = 'C' "
    'GROUP BY account, "key") p ON p.account = e.account AND p.txn = e.txn WHERE p.posted IS NULL OR p.posted <> e.cost'
)


class Event(NamedTuple):
    """A usage event; amounts in nano-dollars."""

    account: str
    source: str
    id: str
    month: str
    cost: int
    held: int
    state: str
    estimated: int
    writer: int


class Row(NamedTuple):
    """A headroom row."""

    account: str
    kind: str
    window: str
    amount: int
    enforced: int
    taken: int
    used: int
    over: int
    unbilled: int


class Lease(NamedTuple):
    """A lease."""

    account: str
    kind: str
    window: str
    owner: str
    share: int
    used: int


class Writer(NamedTuple):
    """A writer."""

    id: int
    pid: int
    state: str
    unbilled: int
    seq: int


class Copy(NamedTuple):
    """What one snapshot of the books says; sums of postings are by account."""

    events: list[Event]
    rows: list[Row]
    leases: list[Lease]
    writers: list[Writer]
    granted: dict[str, int]
    earned: dict[str, int]
    lopsided: list[tuple[Any, ...]]
    misposted: list[tuple[Any, ...]]


class Books:
    """A connection that only reads, on either database; used by one thread at a time."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite:///")
        if self.is_sqlite:
            self.path = url.removeprefix("sqlite:///")
            self._conn: Any = sqlite3.connect(
                f"file:{self.path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False, timeout=30
            )
        else:
            self._conn = psycopg.connect(url, autocommit=True)

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Every row that a query answers."""
        return list(self._conn.execute(sql).fetchall())

    @contextmanager
    def snapshot(self) -> Iterator[None]:
        """Several queries of one state."""
        self._conn.execute("BEGIN" if self.is_sqlite else "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
        try:
            yield
        finally:
            self._conn.execute("COMMIT")

    def copy(self) -> Copy:
        """All that the observer compares, of one state."""
        with self.snapshot():
            return Copy(
                [Event(*row) for row in self.query(_EVENTS)],
                [Row(*row) for row in self.query(_ROWS)],
                [Lease(*row) for row in self.query(_LEASES)],
                self.list_writers(),
                {account: int(total) for account, total in self.query(_GRANTED)},
                {account: int(total) for account, total in self.query(_EARNED)},
                self.query(_LOPSIDED),
                self.query(_MISPOSTED),
            )

    def list_writers(self) -> list[Writer]:
        """Every writer there ever was."""
        return [Writer(*row) for row in self.query(_WRITERS)]

    def open_writers(self) -> dict[int, int]:
        """The open writers: id → process."""
        return {int(id_): int(pid) for id_, pid in self.query("SELECT id, pid FROM writers WHERE state = 'open'")}

    def lease_owners(self) -> dict[str, int]:
        """Who owns leases, and how many."""
        return {str(owner): int(n) for owner, n in self.query("SELECT owner, COUNT(*) FROM leases GROUP BY owner")}

    def bytes(self) -> int:
        """The size of the database, what is still in SQLite's log included."""
        if self.is_sqlite:
            return sum(path.stat().st_size for path in (Path(self.path), Path(f"{self.path}-wal")) if path.exists())
        [(size,)] = self.query("SELECT pg_database_size(current_database())")
        return int(size)

    def close(self) -> None:
        """Read no more."""
        self._conn.close()
