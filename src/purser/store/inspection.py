"""Inspection: what a database holds, before anything relies on it; it changes nothing."""

from __future__ import annotations

import sqlalchemy as sa

from purser.store import schema as t
from purser.store.db import Connection


def missing_columns(conn: Connection) -> list[str]:
    """The tables, and columns as "table.column", that this version of the program needs and the database has not."""
    inspector = sa.inspect(conn)
    there = set(inspector.get_table_names())
    missing = [name for name in t.metadata.tables if name not in there]
    for name, table in t.metadata.tables.items():
        if name in there:
            known = {column["name"] for column in inspector.get_columns(name)}
            missing += [f"{name}.{column.name}" for column in table.columns if column.name not in known]
    return missing


def count_operators(conn: Connection) -> int:
    """How many operator keys are live."""
    live = sa.select(sa.func.count()).select_from(t.operators).where(t.operators.c.revoked_at.is_(None))
    return int(conn.execute(live).scalar_one())
