"""Answers kept under their `Idempotency-Key`, so that a request sent twice has one effect and one answer (C7)."""

from __future__ import annotations

import sqlalchemy as sa

from purser.core.period import DAY
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row

KEPT_FOR = 2 * DAY


def get_kept(conn: Connection, scope: str, key: str) -> Row | None:
    """What is kept under a key: digest, status (0 while under way), answer."""
    c = t.idempotency.c
    return conn.execute(sa.select(t.idempotency).where(c.scope == scope, c.key == key)).first()


def insert_kept(conn: Connection, scope: str, key: str, digest: bytes, status: int, answer: str, at: int) -> bool:
    """Keep an answer, or that one is under way; `at` is wall-clock time. What is past its time is dropped.

    Answers False, and changes nothing, where the key is taken.
    """
    c = t.idempotency.c
    conn.execute(sa.delete(t.idempotency).where(c.at < at - KEPT_FOR))
    row = {"scope": scope, "key": key, "digest": digest, "status": status, "answer": answer, "at": at}
    return seals.insert_once(conn, t.idempotency, row)


def update_kept(conn: Connection, scope: str, key: str, status: int, answer: str) -> None:
    """Put the answer in the place kept for it; one that is there already stays."""
    c = t.idempotency.c
    seals.update(conn, t.idempotency, c.scope == scope, c.key == key, c.status == 0, status=status, answer=answer)
