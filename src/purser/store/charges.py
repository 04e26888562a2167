"""A usage event among its account's others: what was recorded before it, and what was drawn for its month."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.store import schema as t
from purser.store.bulk import Statement
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared


@Prepared
def _EVENT(account: Any, source: Any, id_: Any) -> sa.Select[Any]:
    c = t.usage_events.c
    return sa.select(t.usage_events).where(c.account == account, c.source == source, c.id == id_)


def get_event(conn: Connection, account: str, source: str, id_: str) -> Row | None:
    """One usage event."""
    return _EVENT.run(conn, account, source, id_).first()


@Prepared
def _ENTRY(account: Any, key: Any) -> sa.Select[Any]:
    c = t.transactions.c
    return sa.select(t.transactions).where(c.account == account, c.key == key)


@Prepared
def _SIDES(account: Any, key: Any) -> sa.Select[Any]:
    c = t.postings.c
    return sa.select(c.ledger, c.side, c.amount).where(c.account == account, c.key == key).order_by(c.n)


def get_entry(conn: Connection, account: str, key: str) -> tuple[Row, list[Row]]:
    """A transaction and its postings, in order."""
    return _ENTRY.run(conn, account, key).one(), list(_SIDES.run(conn, account, key))


_BEFORE = Statement(
    "SELECT COALESCE(SUM(p.amount), 0) FROM postings p "
    "JOIN transactions t ON t.account = p.account AND t.key = p.key "
    "WHERE p.account = ? AND p.ledger = ? AND p.side = 'D' AND (t.at, t.writer, t.seq, t.key) < (?, ?, ?, ?)"
)
_BESIDE = Statement(
    "SELECT COALESCE(SUM(cost), 0) FROM usage_events WHERE writer = ? AND seq = ? AND account = ? AND txn = ? "
    "AND bill_month = ? AND (source, id) < (?, ?)"
)
_WITH = Statement("SELECT COUNT(*) FROM usage_events WHERE writer = ? AND seq = ? AND account = ? AND txn = ?")


def sum_before(conn: Connection, event: Row, entry: Row, ledger: str) -> int:
    """The usage on an event's bill that was recorded before it, nano-dollars; of one commit's, by source and id."""
    earlier = _BEFORE.run(conn, event.account, ledger, entry.at, entry.writer, entry.seq, entry.key).fetchone()[0]
    place = entry.writer, entry.seq, event.account, entry.key, event.bill_month, event.source, event.id
    return int(earlier) + int(_BESIDE.run(conn, *place).fetchone()[0])


def count_in(conn: Connection, event: Row, entry: Row) -> int:
    """How many usage events a transaction posts."""
    return int(_WITH.run(conn, entry.writer, entry.seq, event.account, entry.key).fetchone()[0])


@Prepared
def _DRAWN(account: Any, ledger: Any) -> sa.Select[Any]:
    head, drawn, side = t.transactions.c, t.postings.alias(), t.postings.c
    of_month = sa.and_(drawn.c.account == head.account, drawn.c.key == head.key)
    both = sa.and_(side.account == head.account, side.key == head.key)
    query = sa.select(side.ledger, side.amount).select_from(t.transactions).join(drawn, of_month)
    query = query.join(t.postings, both).where(drawn.c.account == account, drawn.c.ledger == ledger)
    query = query.where(drawn.c.side == "C", side.side == "D")
    return query.order_by(head.at, head.writer, head.seq, head.key, side.n)


def list_drawn(conn: Connection, account: str, ledger: str) -> list[tuple[str, int]]:
    """What was drawn for the usage of a month, in the order in which it was: ledger accounts and nano-dollars."""
    return [(str(row[0]), int(row[1])) for row in _DRAWN.run(conn, account, ledger)]
