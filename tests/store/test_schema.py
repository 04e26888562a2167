"""The migrations make the tables that the code knows, and what is asked every second is answered from an index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from purser.core.period import parse_instant
from purser.core.standing import DUST_NANOS
from purser.store import accounts, headroom, invoices, payments, usage
from purser.store.db import Connection, Database
from purser.store.schema import metadata
from purser.store.upgrade import upgrade
from tests import databases
from tests.statements import told

NOW = parse_instant("2026-03-01T09:00:00Z")


def test_the_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    db = Database(databases.at(tmp_path / "purser.db", bare=True))
    upgrade(db)
    with db.read() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
        found = [index for table in metadata.tables for index in sa.inspect(conn).get_indexes(table)]
    indexes = {index["name"]: index.get("dialect_options", {}) for index in found}
    known = {index.name: index for table in metadata.tables.values() for index in table.indexes}
    assert set(indexes) == set(known)
    for name, index in known.items():
        partial = index.dialect_options["sqlite"]["where"] is not None
        assert any(option.endswith("_where") for option in indexes[str(name)]) == partial, name
    db.dispose()


ASKED: dict[str, Callable[[Connection], object]] = {
    "wanted headroom": lambda conn: headroom.list_wanted(conn, "writer:1"),
    "credit that expires": lambda conn: accounts.list_with_expiry_due(conn, NOW),
    "causes of months gone": lambda conn: accounts.list_with_stale_limit_cause(conn, "2026-03"),
    "those who used something": lambda conn: headroom.list_nearly_spent(conn, DUST_NANOS, "2026-03", ["ada", "bob"]),
    "new usage": lambda conn: usage.list_accounts_since(conn, 1, 7),
    "charges due": lambda conn: invoices.list_to_charge(conn, NOW),
    "failed invoices": lambda conn: invoices.list_out_of_grace(conn, NOW),
    "payments to send": lambda conn: payments.list_to_send(conn),
    "changes": lambda conn: accounts.list_changes(conn, 7),
}


@pytest.mark.parametrize("what", ASKED)
def test_what_is_asked_every_second_scans_no_table(what: str) -> None:
    db = Database(databases.without_path())
    upgrade(db)
    asked: list[tuple[str, Any]] = []
    with db.read() as conn:
        with told(conn, lambda statement, values: asked.append((statement, values))):
            ASKED[what](conn)
        reads = [(statement, values) for statement, values in asked if statement.startswith("SELECT")]
        plans = [step for statement, values in reads for step in explain(conn, statement, values)]
    assert plans
    assert [step for step in plans if ("SCAN" in step and "USING" not in step) or "Seq Scan" in step] == []
    db.dispose()


def explain(conn: Connection, statement: str, values: Any) -> list[str]:
    """How the database would answer if the tables were large."""
    if conn.dialect.name == "sqlite":
        return [str(row[3]) for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
    conn.exec_driver_sql("SET LOCAL enable_seqscan = off")
    return [str(row[0]) for row in conn.exec_driver_sql(f"EXPLAIN {statement}", values)]
