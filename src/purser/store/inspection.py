"""Inspection: what a database holds, before anything relies on it; it changes nothing."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import sqlalchemy as sa

from purser.store import schema as t
from purser.store.db import Connection

NOTHING, OURS, OTHERS = "nothing", "ours", "others"
TABLES = "tables"  # the name under which their digest is kept
_OLDEST = 14  # of PostgreSQL (decision 6)
_MARKS = {"alembic_version", "meta", "writers", "commits"}  # together they are in no other program's database


def whose_tables(conn: Connection) -> str:
    """Whose tables a database holds, of those that have the names of ours: none at all, ours, or another program's."""
    there = set(sa.inspect(conn).get_table_names())
    if not there & set(t.metadata.tables):
        return NOTHING
    return OURS if there >= _MARKS else OTHERS


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


def digest_tables(conn: Connection) -> str:
    """A digest of how our tables and indexes are defined in a SQLite file, and of their version."""
    ours = {*t.metadata.tables, *(str(index.name) for table in t.metadata.tables.values() for index in table.indexes)}
    digest = hashlib.blake2b(digest_size=16)
    for name, sql in conn.exec_driver_sql("SELECT name, sql FROM sqlite_master ORDER BY name"):
        if name in ours:
            digest.update(f"{name} {sql}\n".encode())
    digest.update(str(conn.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()).encode())
    return digest.hexdigest()


def count_operators(conn: Connection) -> int:
    """How many operator keys are live."""
    live = sa.select(sa.func.count()).select_from(t.operators).where(t.operators.c.revoked_at.is_(None))
    return int(conn.execute(live).scalar_one())


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server's version, and what keeps us from working there, in words; empty where nothing does."""

    version: str
    hindrance: str


def look_at_server(conn: Connection) -> Server:
    """What a PostgreSQL server is, and whether the user of this session may write in it."""
    version = str(conn.exec_driver_sql("SHOW server_version").scalar_one()).split()[0]
    if int(conn.exec_driver_sql("SHOW server_version_num").scalar_one()) // 10_000 < _OLDEST:
        return Server(version, f"it is older than PostgreSQL {_OLDEST}, which is needed")
    if conn.exec_driver_sql("SELECT pg_is_in_recovery()").scalar_one():
        return Server(version, "it is a replica, which only reads")
    if conn.exec_driver_sql("SHOW default_transaction_read_only").scalar_one() == "on":
        return Server(version, "default_transaction_read_only is on")
    user = conn.exec_driver_sql("SELECT current_user").scalar_one()
    if not conn.exec_driver_sql("SELECT has_schema_privilege(current_schema(), 'CREATE')").scalar_one():
        return Server(version, f"the user {user} may not create tables in it")
    if closed := _closed_tables(conn):
        return Server(version, f"the user {user} may not write the table {closed[0]}")
    return Server(version, "")


def _closed_tables(conn: Connection) -> list[str]:
    """Our tables that are there and that this session's user may not write."""
    found = conn.execute(
        sa.text(
            "SELECT tablename FROM pg_tables WHERE schemaname = current_schema() AND tablename = ANY(:names) "
            "AND NOT (has_table_privilege(quote_ident(tablename), 'INSERT') "
            "AND has_table_privilege(quote_ident(tablename), 'UPDATE')) ORDER BY tablename"
        ),
        {"names": list(t.metadata.tables)},
    )
    return [str(row[0]) for row in found]
