"""Invitations as rows: an address invited to an account with a role, until it is taken up, revoked or expired."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row

PENDING, ACCEPTED, REVOKED = "pending", "accepted", "revoked"
c = t.invitations.c


def insert(conn: Connection, **values: Any) -> None:
    """A new invitation."""
    seals.insert(conn, t.invitations, values)


def get(conn: Connection, account: str, id_: str) -> Row | None:
    """One invitation."""
    return conn.execute(sa.select(t.invitations).where(c.account == account, c.id == id_)).first()


def find(conn: Connection, digest: bytes, wall: int) -> Row | None:
    """An invitation that can be taken up still, by the digest of its secret."""
    live = (c.digest == digest, c.state == PENDING, c.expires_at > wall)
    return conn.execute(sa.select(t.invitations).where(*live)).first()


def list_of(conn: Connection, account: str) -> list[Row]:
    """An account's invitations, newest first."""
    query = sa.select(t.invitations).where(c.account == account)
    return list(conn.execute(query.order_by(c.created_at.desc(), c.id.desc())))


def list_pending(conn: Connection, account: str, email: str) -> list[Row]:
    """The invitations of an address to an account that are neither taken up nor revoked."""
    there = (c.account == account, c.email == email, c.state == PENDING)
    return list(conn.execute(sa.select(t.invitations).where(*there)))


def count_since(conn: Connection, account: str, since: int) -> int:
    """How many invitations an account has sent after an instant."""
    query = sa.select(sa.func.count()).select_from(t.invitations)
    return int(conn.execute(query.where(c.account == account, c.created_at > since)).scalar_one())


def end(conn: Connection, account: str, id_: str, wall: int, **values: Any) -> bool:
    """End a pending invitation; answers False where it has ended."""
    there = (c.account == account, c.id == id_, c.state == PENDING)
    return seals.update(conn, t.invitations, *there, ended_at=wall, **values) == 1
