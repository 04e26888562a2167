"""The operator's people as rows, each with the digest of a key."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared

_BY_DIGEST = Prepared(lambda digest: sa.select(t.operators).where(t.operators.c.digest == digest))


def find_operator(conn: Connection, digest: bytes, *, live: bool = True) -> Row | None:
    """An operator by the digest of its key, by default one that is not removed."""
    row = _BY_DIGEST.run(conn, digest).first()
    return None if live and row is not None and row.revoked_at is not None else row


def get_operator(conn: Connection, operator: str) -> Row | None:
    """One operator, live or not."""
    return conn.execute(sa.select(t.operators).where(t.operators.c.id == operator)).first()


def list_operators(conn: Connection) -> list[Row]:
    """The live operators, newest first."""
    c = t.operators.c
    live = sa.select(t.operators).where(c.revoked_at.is_(None))
    return list(conn.execute(live.order_by(c.created_at.desc(), c.id.desc())))


def insert_operator(conn: Connection, **values: Any) -> None:
    """A new operator."""
    seals.insert(conn, t.operators, values)


def update_operator(conn: Connection, operator: str, **values: Any) -> None:
    """Change an operator's columns."""
    seals.change(conn, t.operators, {"id": operator}, **values)
