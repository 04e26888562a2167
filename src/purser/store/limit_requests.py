"""Requests for a higher cap as rows: who asked for how much, and what became of it."""

from __future__ import annotations

import sqlalchemy as sa

from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row

PENDING, APPROVED, REJECTED = STATES = ("PENDING", "APPROVED", "REJECTED")
c = t.limit_requests.c


def insert(conn: Connection, **values: int | str) -> None:
    """A new request."""
    seals.insert(conn, t.limit_requests, values)


def get(conn: Connection, account: str, id_: str) -> Row | None:
    """One request."""
    return conn.execute(sa.select(t.limit_requests).where(c.account == account, c.id == id_)).first()


def list_of(conn: Connection, account: str, user: str | None = None, state: str | None = None) -> list[Row]:
    """An account's requests, newest first; of one user or in one state alone where these are given."""
    query = sa.select(t.limit_requests).where(c.account == account)
    if user is not None:
        query = query.where(c.user == user)
    if state is not None:
        query = query.where(c.state == state)
    return list(conn.execute(query.order_by(c.created_at.desc(), c.id.desc())))


def decide(conn: Connection, account: str, id_: str, **values: int | str | None) -> bool:
    """Write down what became of a pending request; answers False where it was decided before."""
    return seals.update(conn, t.limit_requests, c.account == account, c.id == id_, c.state == PENDING, **values) == 1
