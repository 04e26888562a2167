"""Changes of the billing mode as rows, and those that are still to come."""

from __future__ import annotations

from dataclasses import asdict, fields

import sqlalchemy as sa

from purser.core.modes import ModeChange
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection
from purser.store.prepared import Prepared

_SELECT = sa.select(*(t.mode_changes.c[field.name] for field in fields(ModeChange)))


def list_changes(conn: Connection, account: str) -> list[ModeChange]:
    """An account's changes, oldest first."""
    c = t.mode_changes.c
    return [ModeChange(*row) for row in conn.execute(_SELECT.where(c.account == account).order_by(c.n))]


def insert_change(conn: Connection, account: str, n: int, change: ModeChange) -> None:
    """Write an account's n-th change, from 1."""
    seals.insert(conn, t.mode_changes, {"account": account, "n": n, **asdict(change)})


_DUE = Prepared(
    lambda now: sa.select(t.accounts.c.id).where(t.accounts.c.next_mode_at <= now).order_by(t.accounts.c.id)
)
_NEXT_DUE = Prepared(lambda: sa.select(sa.func.min(t.accounts.c.next_mode_at)))


def list_due(conn: Connection, now: int) -> list[str]:
    """The accounts whose next change is due, in lock order."""
    return [str(row[0]) for row in _DUE.run(conn, now)]


def get_next_due(conn: Connection) -> int | None:
    """The next instant at which some account changes its mode."""
    value = _NEXT_DUE.run(conn).scalar()
    return None if value is None else int(value)
