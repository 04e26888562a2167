"""Usage events, unique for ever by (account, source, id), and their hourly roll-ups."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import sqlalchemy as sa
from msgspec import Raw
from msgspec.structs import astuple

from purser.core.rating import Part
from purser.core.usage import Quantities
from purser.store import schema as t
from purser.store.bulk import BYTES, INT, TEXT, ForEach, Insert, Statement
from purser.store.db import Connection, Row
from purser.store.headroom import RowKey, mark
from purser.store.prepared import Prepared
from purser.store.writers import Tx

SETTLED, QUARANTINED = "settled", "quarantined"
_encode = msgspec.json.Encoder().encode


EventKey = tuple[str, str, str]  # account, source and id
Body = tuple[str, int, Quantities]  # an event's model, when it occurred, and what it used

Known = tuple[Body, str | None, int]  # its body, whose usage it is, and the price version that it was rated under


class Event(msgspec.Struct, frozen=True, gc=False):
    """One request's usage as rated: what it used, under which price version, and what it cost."""

    account: str
    source: str
    id: str
    model: str
    user: str | None
    key: str | None
    occurred_at: int
    month: str
    bill_month: str
    version: int
    quantities: Quantities
    parts: tuple[Part, ...]
    cost_nanos: int
    held_nanos: int
    clamped_nanos: int = 0
    estimated: bool = False
    state: str = SETTLED
    budgets: tuple[RowKey, ...] = ()  # those it counts toward

    def body(self) -> Body:
        """What makes two events with the same id the same or not (C3)."""
        return self.model, self.occurred_at, self.quantities


_INSERT = Insert(
    "usage_events",
    {
        "account": TEXT,
        "source": TEXT,
        "id": TEXT,
        "model": TEXT,
        "user": TEXT,
        "key": TEXT,
        "occurred_at": INT,
        "recorded_at": INT,
        "month": TEXT,
        "bill_month": TEXT,
        "version": INT,
        "quantities": TEXT,
        "cost": INT,
        "held": INT,
        "clamped": INT,
        "estimated": INT,
        "state": TEXT,
        "txn": TEXT,
        "budgets": TEXT,
        "digest": BYTES,
        "writer": INT,
        "seq": INT,
    },
)
_ROLL_KEY = ("account", "bill_month", "month", "hour_at", "model", "unit", "version", "writer")
_ROLL = Insert(
    "rollups",
    dict(zip(_ROLL_KEY, (TEXT, TEXT, TEXT, INT, TEXT, TEXT, INT, INT), strict=True))
    | {"quantity": INT, "amount": INT, "events": INT},
    key=_ROLL_KEY,
    adding=("quantity", "amount", "events"),
)
_KNOWN = Statement(
    "SELECT model, occurred_at, quantities, cost FROM usage_events WHERE account = ? AND source = ? AND id = ?"
)
_HOUR = 3_600_000_000
_NO_DIGEST = b""  # programs of before kept one of an event's body, and may still write it


def get_known(conn: Connection, account: str, source: str, id_: str) -> tuple[Body, int] | None:
    """The body and cost of a known event, None for a new one."""
    row = _KNOWN.run(conn, account, source, id_).fetchone()
    return ((str(row[0]), int(row[1]), decode_quantities(row[2])), int(row[3])) if row else None


_ALL_KNOWN = ForEach(
    (TEXT, TEXT, TEXT),
    sqlite='SELECT account, source, id, model, occurred_at, quantities, "user", version FROM usage_events '
    "WHERE account = ? AND source = ? AND id = ?",
    postgresql='SELECT e.account, e.source, e.id, e.model, e.occurred_at, e.quantities, e."user", e.version '
    "FROM usage_events e, {v} WHERE e.account = v.c1 AND e.source = v.c2 AND e.id = v.c3",
)


def list_known(conn: Connection, keys: Collection[EventKey]) -> dict[EventKey, Known]:
    """Of the events with these keys those that are known."""
    return {
        (row[0], row[1], row[2]): ((row[3], int(row[4]), decode_quantities(row[5])), row[6], int(row[7]))
        for row in _ALL_KNOWN.fetch(conn, list(keys))
    }


def insert_events(tx: Tx, events: Sequence[tuple[Event, str | None]]) -> None:
    """Insert new events, each with the key of the transaction that posts it, and add them to the roll-ups.

    The hash chain covers an event's values under the name "usage", in the order of the table's columns.
    """
    rows: list[tuple[object, ...]] = []
    facts: list[tuple[object, ...]] = []
    shapes: dict[_Shape, list[tuple[int, ...]]] = {}
    now, writer, seq = tx.now, tx.writer, tx.seq
    for event, txn in events:
        values = astuple(event)  # in the order of the columns, save the moment of recording and the parts
        head, bill, costs, state = values[:7], values[7:10], (*values[12:15], int(event.estimated)), values[16]
        used, parts = event.quantities, event.parts
        quantities = _encode(used)
        fact = ("usage", *head, now, *bill, Raw(quantities), *costs, state, txn)
        budgets = None
        if event.budgets:
            budgets = " ".join(map(mark, event.budgets))
            fact = (*fact, budgets)
        facts.append(fact)
        rows.append((*head, now, *bill, quantities.decode(), *costs, state, txn, budgets, _NO_DIGEST, writer, seq))
        if parts and state == SETTLED:
            units, counts, amounts = zip(*map(astuple, parts), strict=True)
            at = event.occurred_at
            shape = (event.account, event.bill_month, event.month, at - at % _HOUR, event.model, event.version, units)
            if shape in shapes:
                shapes[shape].append(counts + amounts)
            else:
                shapes[shape] = [counts + amounts]
    tx.cover_all(facts)
    _INSERT.run(tx.conn, rows)
    _ROLL.run(tx.conn, _rolled_up(shapes, writer))


# Account, bill month, month, hour, model, version, and the units of which the events of one shape have used some.
_Shape = tuple[str, str, str, int, str, int, tuple[str, ...]]


def _rolled_up(shapes: dict[_Shape, list[tuple[int, ...]]], writer: int) -> list[tuple[object, ...]]:
    """The roll-ups of events, given by their shapes: of each event the counts of its units, and then their amounts."""
    sums: dict[tuple[object, ...], tuple[int, int, int]] = {}
    for (account, bill_month, month, hour_at, model, version, units), figures in shapes.items():
        totals = [sum(column) for column in zip(*figures, strict=True)]
        for n, unit in enumerate(units):
            key = (account, bill_month, month, hour_at, model, unit, version, writer)
            quantity, amount, count = sums.get(key, (0, 0, 0))
            sums[key] = (quantity + totals[n], amount + totals[n + len(units)], count + len(figures))
    return [(*key, *total) for key, total in sums.items()]


def sum_rollups(conn: Connection, account: str, bill_month: str) -> list[Row]:
    """A bill's sums: (month, model, unit, version, quantity, amount, events), summed over hours and writers."""
    c = t.rollups.c
    return list(
        conn.execute(
            sa.select(
                c.month,
                c.model,
                c.unit,
                c.version,
                sa.func.sum(c.quantity).label("quantity"),
                sa.func.sum(c.amount).label("amount"),
                sa.func.sum(c.events).label("events"),
            )
            .where(c.account == account, c.bill_month == bill_month)
            .group_by(c.month, c.model, c.unit, c.version)
            .order_by(c.month, c.model, c.unit, c.version)
        )
    )


@Prepared
def _BILL_MONTHS(account: Any, after: Any) -> sa.Select[Any]:
    c = t.rollups.c
    months = sa.select(c.bill_month).distinct().where(c.account == account, c.bill_month > after)
    return months.order_by(c.bill_month)


def list_bill_months(conn: Connection, account: str, after: str | None) -> list[str]:
    """The months with usage on their bill, oldest first, after a given one."""
    return [str(row[0]) for row in _BILL_MONTHS.run(conn, account, after or "")]


@dataclass(frozen=True, slots=True)
class Bucket:
    """Usage of one model and unit within a span of time."""

    start_at: int
    model: str
    unit: str
    quantity: int
    amount_nanos: int


def _buckets(by_model: bool) -> Prepared:
    def make(account: Any, start_at: Any, end_at: Any, span: Any) -> sa.Select[Any]:
        c = t.rollups.c
        start = (c.hour_at - c.hour_at % span).label("start")
        model = (c.model if by_model else sa.literal("")).label("model")
        return (
            sa.select(start, model, c.unit, sa.func.sum(c.quantity), sa.func.sum(c.amount))
            .where(c.account == account, c.hour_at >= start_at, c.hour_at < end_at)
            .group_by(start, model, c.unit)
            .order_by(start, model, c.unit)
        )

    return Prepared(make)


_BUCKETS, _BUCKETS_BY_MODEL = _buckets(by_model=False), _buckets(by_model=True)


def sum_buckets(conn: Connection, account: str, start_at: int, end_at: int, span: int, by_model: bool) -> list[Bucket]:
    """Usage from the roll-ups in buckets of `span` microseconds (whole hours), oldest first."""
    found = (_BUCKETS_BY_MODEL if by_model else _BUCKETS).run(conn, account, start_at, end_at, span)
    return [Bucket(int(row[0]), str(row[1]), str(row[2]), int(row[3]), int(row[4])) for row in found]


def sum_span(conn: Connection, account: str, start_at: int, end_at: int) -> list[tuple[str, str, int, int, int]]:
    """Usage of whole hours from the roll-ups: (model, unit, price version, quantity, nano-dollars)."""
    c = t.rollups.c
    found = conn.execute(
        sa.select(c.model, c.unit, c.version, sa.func.sum(c.quantity), sa.func.sum(c.amount))
        .where(c.account == account, c.hour_at >= start_at, c.hour_at < end_at)
        .group_by(c.model, c.unit, c.version)
        .order_by(c.model, c.unit, c.version)
    )
    return [(str(row[0]), str(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in found]


def iter_line_events(
    conn: Connection,
    account: str,
    bill_month: str,
    month: str,
    model: str,
    versions: Sequence[int],
    after: tuple[int, str, str] | None = None,
) -> Iterator[Row]:
    """The settled events that an invoice line sums, oldest first, after a given (occurred_at, source, id)."""
    c = t.usage_events.c
    query = sa.select(t.usage_events).where(
        c.account == account,
        c.bill_month == bill_month,
        c.month == month,
        c.model == model,
        c.version.in_(list(versions)),
        c.state == SETTLED,
    )
    if after is not None:
        query = query.where(sa.tuple_(c.occurred_at, c.source, c.id) > sa.tuple_(*map(sa.literal, after)))
    yield from conn.execute(query.order_by(c.occurred_at, c.source, c.id))


def list_events(conn: Connection, account: str, limit: int = 100) -> list[Row]:
    """The newest events of an account."""
    c = t.usage_events.c
    return list(
        conn.execute(
            sa.select(t.usage_events)
            .where(c.account == account)
            .order_by(c.occurred_at.desc(), c.id.desc())
            .limit(limit)
        )
    )


def decode_quantities(text: str) -> Quantities:
    """Quantities as stored."""
    return msgspec.json.decode(text, type=dict[str, int])


@Prepared
def _SINCE(writer: Any, seq: Any) -> sa.Select[Any]:
    c = t.usage_events.c
    return sa.select(c.account).distinct().where(c.writer == writer, c.seq > seq)


def list_accounts_since(conn: Connection, writer: int, seq: int) -> set[str]:
    """The accounts of events that a writer wrote after a transaction of its own."""
    return {str(row[0]) for row in _SINCE.run(conn, writer, seq)}


def list_unclosed(conn: Connection, month: str) -> list[str]:
    """Accounts with usage on a month's bill that have not closed that month."""
    c, a = t.rollups.c, t.accounts.c
    found = conn.execute(
        sa.select(c.account)
        .distinct()
        .join(t.accounts, a.id == c.account)
        .where(c.bill_month == month, sa.or_(a.closed_through.is_(None), a.closed_through < month))
        .order_by(c.account)
    )
    return [str(row[0]) for row in found]
