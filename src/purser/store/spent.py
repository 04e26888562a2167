"""What each user and key has spent: a roll-up by the day that follows the usage events, and the events beyond it.

The hot path does not write it, nor need processes of an older version know of it: whoever does what is due adds the
events that it has not got yet. What is asked is that and the few events beyond it, in one statement: always exact.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from purser.core.budget import span
from purser.core.lease import KEY, USER
from purser.core.period import DAY, NEVER
from purser.store import schema as t
from purser.store.bulk import INT, TEXT, Insert
from purser.store.db import Connection
from purser.store.headroom import RowKey, mark
from purser.store.prepared import Prepared
from purser.store.presence import SPENT, lock_one

MANY = 1_000  # events beyond the roll-up from which on they are worth a commit
FAR = 10_000  # events beyond it from which on a sum does without
_FEW = 8  # rows that are summed one by one
_AT_ONCE = 2_000  # events of one commit
_REQUESTS = "e.state = 'settled' AND e.key IS NOT NULL"  # what was reported after the fact is nobody's request

# The planner must go by the writers, of which few have events beyond, and never through an account's whole history.
_BEYOND = f"""
WITH writing AS MATERIALIZED (
    SELECT w.id, COALESCE(s.seq, 0) AS after, w.seq AS tip FROM writers w LEFT JOIN spent_through s ON s.writer = w.id
    WHERE w.seq > COALESCE(s.seq, 0)
), beyond AS MATERIALIZED (
    SELECT e.account, e."user", e.key, e.occurred_at, e.cost, e.budgets FROM writing CROSS JOIN usage_events e
    WHERE e.writer = writing.id AND e.seq > writing.after AND e.seq <= writing.tip AND {_REQUESTS} LIMIT :most
)
"""
_SUM = """
SELECT COALESCE((
    SELECT SUM(amount) FROM spent WHERE account = :account AND kind = :kind AND subject = :subject
    AND day_at >= :start AND day_at < :end AND counted <> :mark
), 0) + COALESCE((
    SELECT SUM(cost) FROM beyond WHERE account = :account AND {subject} = :subject
    AND occurred_at >= :start AND occurred_at < :end
    AND (budgets IS NULL OR replace(budgets || ' ', :mark || ' ', '') = budgets || ' ')
), 0)
"""
_SUM_EVENTS = f"""
SELECT COALESCE(SUM(e.cost), 0) FROM usage_events e
WHERE e.account = :account AND e.{{subject}} = :subject AND e.occurred_at >= :start AND e.occurred_at < :end
AND {_REQUESTS} AND (e.budgets IS NULL OR replace(e.budgets || ' ', :mark || ' ', '') = e.budgets || ' ')
"""
_EACH = """
SELECT subject, counted, SUM(amount) FROM spent
WHERE account = :account AND kind = :kind AND day_at >= :start AND day_at < :end GROUP BY subject, counted
UNION ALL
SELECT {subject}, budgets, SUM(cost) FROM beyond
WHERE account = :account AND {subject} IS NOT NULL AND occurred_at >= :start AND occurred_at < :end
GROUP BY {subject}, budgets
"""
_COLUMN = {KEY: "key", USER: '"user"'}
_SUMS = {kind: sa.text(_BEYOND + _SUM.format(subject=column)) for kind, column in _COLUMN.items()}
_SUM_EACH = {kind: sa.text(_BEYOND + _EACH.format(subject=column)) for kind, column in _COLUMN.items()}
_SUMS_OF_EVENTS = {kind: sa.text(_SUM_EVENTS.format(subject=column)) for kind, column in _COLUMN.items()}
_COUNT_BEYOND = Prepared(lambda most: sa.text(f"{_BEYOND} SELECT COUNT(*) FROM beyond"))
_BEHIND = sa.text(
    "SELECT w.id, COALESCE(s.seq, 0), w.seq FROM writers w LEFT JOIN spent_through s ON s.writer = w.id "
    "WHERE w.seq > COALESCE(s.seq, 0) AND (w.state = 'closed' OR EXISTS ("
    "SELECT 1 FROM usage_events e WHERE e.writer = w.id AND e.seq > COALESCE(s.seq, 0))) ORDER BY w.id"
)
_STEP = sa.text(
    "SELECT seq FROM usage_events WHERE writer = :writer AND seq > :after ORDER BY seq LIMIT 1 OFFSET :offset"
)
_PARTS = sa.text(
    f'SELECT e.account, e."user", e.key, e.occurred_at - e.occurred_at % {DAY} AS day_at, e.budgets, SUM(e.cost), '
    f"COUNT(*) FROM usage_events e WHERE e.writer = :writer AND e.seq > :after AND e.seq <= :upto AND {_REQUESTS} "
    'GROUP BY e.account, e."user", e.key, day_at, e.budgets'
)
_KEY = ("account", "kind", "subject", "day_at", "counted")
_ADD = Insert(
    "spent",
    dict(zip(_KEY, (TEXT, TEXT, TEXT, INT, TEXT), strict=True)) | {"amount": INT},
    key=_KEY,
    adding=("amount",),
)

Place = tuple[str, str, str, int, str]  # account, kind (key or user), subject, day, and the budget that counts it


def sum_uncounted(conn: Connection, row: RowKey) -> int:
    """What a key's, or a user's, requests of a budget's period cost, nano-dollars, but for those that it counts.

    While the roll-up is far behind, as after an upgrade, the period's events are summed themselves.
    """
    subject, _, window = row.window.partition("/")
    start, end = span(window)
    kind = KEY if row.kind == KEY else USER
    values = {"account": row.account, "kind": kind, "subject": subject, "start": start, "end": end}
    values["mark"] = mark(row)
    if _count_beyond(conn, FAR) >= FAR:
        return int(conn.execute(_SUMS_OF_EVENTS[kind], values).scalar_one())
    return int(conn.execute(_SUMS[kind], {**values, "most": NEVER}).scalar_one())


def sum_each(conn: Connection, rows: Sequence[RowKey]) -> dict[RowKey, int]:
    """As `sum_uncounted` for many rows of an account's keys, or of its users, with a statement for each period."""
    if len(rows) <= _FEW or _count_beyond(conn, FAR) >= FAR:
        return {row: sum_uncounted(conn, row) for row in rows}
    sums: dict[RowKey, int] = {}
    for period, same in groupby(sorted(rows, key=_period), _period):
        start, end = span(period)
        kind = KEY if rows[0].kind == KEY else USER
        values = {"account": rows[0].account, "kind": kind, "start": start, "end": end, "most": NEVER}
        parts: dict[str, list[tuple[list[str], int]]] = {}
        for subject, marks, amount in conn.execute(_SUM_EACH[kind], values):
            parts.setdefault(str(subject), []).append((str(marks or "").split(), int(amount)))
        for row in same:
            of_subject = parts.get(row.window.partition("/")[0], ())
            sums[row] = sum(amount for marks, amount in of_subject if mark(row) not in marks)
    return sums


def _period(row: RowKey) -> str:
    return row.window.partition("/")[2]


def is_behind(conn: Connection) -> bool:
    """Whether so many events are beyond the roll-up that it is to follow now."""
    return _count_beyond(conn, MANY) >= MANY


def _count_beyond(conn: Connection, most: int) -> int:
    return int(_COUNT_BEYOND.run(conn, most).scalar())


def follow(conn: Connection) -> bool:
    """Add to the roll-up what it has not got yet, a bounded part of it; answers whether there is more to add."""
    lock_one(conn, SPENT)
    room, sums, more = _AT_ONCE, dict[Place, int](), False
    for writer, after, tip in conn.execute(_BEHIND).all():
        last = conn.execute(_STEP, {"writer": writer, "after": after, "offset": room - 1}).scalar()
        upto = tip if last is None else int(last)
        parts = conn.execute(_PARTS, {"writer": writer, "after": after, "upto": upto}).all()
        add(sums, [part[:-1] for part in parts])
        _go_on(conn, writer, upto)
        room -= sum(int(part[-1]) for part in parts)
        more = last is not None or room <= 0
        if more:
            break
    _ADD.run(conn, [(*place, amount) for place, amount in sorted(sums.items()) if amount])
    return more


def _go_on(conn: Connection, writer: int, seq: int) -> None:
    c = t.spent_through.c
    if not conn.execute(sa.update(t.spent_through).where(c.writer == writer).values(seq=seq)).rowcount:
        conn.execute(sa.insert(t.spent_through).values(writer=writer, seq=seq))


def add(sums: dict[Place, int], parts: Iterable[Sequence[Any]]) -> None:
    """Add events, in parts of (account, user, key, day, budgets, cost), to the sums of their keys and users."""
    for account, user, key, day, budgets, cost in parts:
        marks = str(budgets or "").split()
        of_key = "".join(each for each in marks if each.startswith(f"{KEY}:"))
        of_user = "".join(each for each in marks if not each.startswith(f"{KEY}:"))
        for place in ((account, KEY, key, day, of_key), (account, USER, user, day, of_user)):
            if place[2] is not None:
                sums[place] = sums.get(place, 0) + int(cost)
