"""The migrations make the tables that the code knows, and what is asked every second is answered from an index."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from purser.core.period import parse_instant
from purser.core.standing import DUST_NANOS
from purser.store import accounts, headroom, invoices, payments, usage
from purser.store.db import Connection, Database
from purser.store.schema import metadata
from purser.store.upgrade import upgrade

NOW = parse_instant("2026-03-01T09:00:00Z")


def test_the_migrations_make_the_tables_of_the_schema(tmp_path: Path) -> None:
    db = Database(f"sqlite:///{tmp_path / 'purser.db'}")
    upgrade(db)
    with db.read() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
        indexes = {
            row[0]: row[1]
            for row in conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql <> ''")
        }
    known = {index.name: index for table in metadata.tables.values() for index in table.indexes}
    assert set(indexes) == set(known)
    for name, index in known.items():
        partial = index.dialect_options["sqlite"]["where"] is not None
        assert ("WHERE" in str(indexes[str(name)])) == partial, name
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
    db = Database("sqlite://")
    upgrade(db)
    asked: list[tuple[str, object]] = []
    with db.read() as conn:
        conn.connection.driver_connection.set_trace_callback(lambda statement: asked.append((statement, None)))  # type: ignore[union-attr]
        ASKED[what](conn)
        conn.connection.driver_connection.set_trace_callback(None)  # type: ignore[union-attr]
        plans = [plan for statement, _ in asked if statement.startswith("SELECT") for plan in explain(conn, statement)]
    assert plans
    assert [plan for plan in plans if plan.startswith("SCAN") and "USING" not in plan] == []
    db.dispose()


def explain(conn: Connection, statement: str) -> list[str]:
    """How SQLite would answer."""
    return [str(row[3]) for row in conn.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}")]
