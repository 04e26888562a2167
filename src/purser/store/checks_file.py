"""Checks of what the database is made of: sealed rows are as they were written, and its file has no damage."""

from __future__ import annotations

from purser.store import accounts, seals
from purser.store.bulk import Statement
from purser.store.checks import Findings, Invariant, each
from purser.store.db import Connection
from purser.store.inspection import TABLES, digest_tables
from purser.store.schema import metadata

_MOST_DAMAGE = 100


def _rows_are_as_sealed(conn: Connection, found: Findings) -> None:
    for table in seals.TABLES:
        columns = ", ".join(f'"{name}"' for name in (*seals.covered(table), "seal"))
        key = [str(column.name) for column in table.primary_key]
        for row in each(conn, f"SELECT {columns} FROM {table.name}"):
            found.rows += 1
            values = row._asdict()
            kept = values.pop("seal")
            if kept is not None and bytes(kept) != seals.seal(table.name, values):
                found.blame(
                    f"{table.name} {'/'.join(str(values[name]) for name in key)}",
                    "it is not what was written there: a value in it, or its seal, was changed",
                )


def _file_is_sound(conn: Connection, found: Findings) -> None:
    if conn.dialect.name == "sqlite":
        found.rows = int(conn.exec_driver_sql("PRAGMA page_count").scalar_one())
        for (told,) in conn.exec_driver_sql(f"PRAGMA integrity_check({_MOST_DAMAGE})").all():
            if told != "ok":
                found.blame("the file", str(told))
        kept = accounts.get_meta(conn, TABLES)
        if kept is not None and kept != digest_tables(conn):
            found.blame("the tables", "they, or their version, are not defined as they were made")
        return
    pages = _PAGES.run(conn, list(metadata.tables)).fetchone()
    found.rows = int(pages[0] or 0)
    (failures,) = _FAILURES.run(conn).fetchone()
    if failures:
        found.blame("the files", f"PostgreSQL has read {failures} pages with a wrong checksum (pg_stat_reset forgets)")


_PAGES = Statement(
    "SELECT SUM(pg_relation_size(oid) / current_setting('block_size')::int) FROM pg_class "
    "WHERE relname = ANY(?) AND relnamespace = current_schema()::regnamespace"
)
_FAILURES = Statement("SELECT checksum_failures FROM pg_stat_database WHERE datname = current_database()")

CHECKS = (
    Invariant(
        "seals", "Accounts, keys, prices, limits, documents and payments are as they were written", _rows_are_as_sealed
    ),
    Invariant("file", "The database's own file has no damage", _file_is_sound),
)
