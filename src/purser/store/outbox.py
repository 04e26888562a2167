"""The outbox as rows: messages written with the fact they tell, claimed by whoever sends them, and how they ended."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.core.message import PENDING
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row

c = t.outbox.c


def insert_once(conn: Connection, **values: Any) -> bool:
    """A new message; answers False, and changes nothing, where the fact was told in this way before."""
    return seals.insert_once(conn, t.outbox, values)


def get(conn: Connection, account: str, id_: str) -> Row | None:
    """One message."""
    return conn.execute(sa.select(t.outbox).where(c.account == account, c.id == id_)).first()


def list_due(conn: Connection, kind: str, now: int, most: int, each: int) -> list[tuple[str, str]]:
    """Messages of a kind to send now, the longest due first: (account, id), at most `each` for one account."""
    turn = sa.func.row_number().over(partition_by=c.account, order_by=(c.due_at, c.id)).label("turn")
    due = sa.select(c.account, c.id, c.due_at, turn).where(c.state == PENDING, c.kind == kind, c.due_at <= now)
    of = due.subquery()
    found = conn.execute(
        sa.select(of.c.account, of.c.id).where(of.c.turn <= each).order_by(of.c.due_at, of.c.id).limit(most)
    )
    return [(str(row[0]), str(row[1])) for row in found]


def claim(conn: Connection, row: Row, until: int) -> bool:
    """Take a message that is due for oneself until then; answers False where another has taken it first."""
    there = (c.account == row.account, c.id == row.id, c.state == PENDING, c.due_at == row.due_at)
    return seals.update(conn, t.outbox, *there, attempts=row.attempts + 1, due_at=until) == 1


def end_attempt(conn: Connection, account: str, id_: str, attempts: int | None, **values: Any) -> bool:
    """Say how an attempt ended, of a message not sent yet; with `attempts`, only where that was the last one made."""
    there = [c.account == account, c.id == id_, c.state == PENDING]
    if attempts is not None:
        there.append(c.attempts == attempts)
    return seals.update(conn, t.outbox, *there, **values) == 1


def put_again(conn: Connection, account: str, id_: str, now: int) -> None:
    """Send a message once more, as if it were new."""
    values = {"state": PENDING, "attempts": 0, "due_at": now, "written_at": now, "sent_at": None, "failure": None}
    seals.update(conn, t.outbox, c.account == account, c.id == id_, **values)


def list_for(conn: Connection, account: str, target: str, most: int, before: str | None = None) -> list[Row]:
    """The messages to one target, newest first; `before` is the id to go on from."""
    query = sa.select(t.outbox).where(c.account == account, c.target == target)
    if before is not None:
        query = query.where(c.id < before)
    return list(conn.execute(query.order_by(c.id.desc()).limit(most)))


def count(conn: Connection) -> dict[tuple[str, str], int]:
    """How many messages there are, by kind and state."""
    found = conn.execute(sa.select(c.kind, c.state, sa.func.count()).group_by(c.kind, c.state))
    return {(str(kind), str(state)): int(n) for kind, state, n in found}
