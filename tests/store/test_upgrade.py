"""Migrations: they make exactly the tables of the schema, once, whoever runs them, and never on a newer database."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from purser.core.errors import Broken
from purser.store.db import Database
from purser.store.schema import metadata
from purser.store.upgrade import upgrade


def tables(engine: sa.Engine) -> dict[str, list[str]]:
    """The SQL of every table and index, its lines in any order."""
    with engine.connect() as conn:
        found = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    return {
        name: sorted(line.strip().strip(",") for line in sql.splitlines())
        for name, sql in found
        if name not in ("alembic_version", "sqlite_sequence")
    }


def fresh(folder: Path) -> Database:
    """A database file that does not exist yet."""
    return Database(f"sqlite:///{folder / 'purser.db'}")


def test_the_migrations_make_exactly_the_schema(tmp_path: Path) -> None:
    db = fresh(tmp_path)
    upgrade(db)
    drawn = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    metadata.create_all(drawn)
    assert tables(db.engine) == tables(drawn)
    with db.read() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
    db.dispose()
    drawn.dispose()


def test_every_table_is_strict(tmp_path: Path) -> None:
    db = fresh(tmp_path)
    upgrade(db)
    with db.read() as conn:
        loose = conn.exec_driver_sql("SELECT name FROM pragma_table_list WHERE type = 'table' AND strict = 0").scalars()
        assert set(loose) <= {"alembic_version", "sqlite_sequence", "sqlite_schema", "sqlite_temp_schema"}
    with db.engine.connect() as conn, pytest.raises(sa.exc.IntegrityError):
        conn.execute(metadata.tables["meta"].insert().values(name="pi", value=b"3.14"))
    db.dispose()


def test_upgrading_again_changes_nothing_and_keeps_the_rows(tmp_path: Path) -> None:
    db = fresh(tmp_path)
    upgrade(db)
    with db.engine.begin() as conn:
        conn.execute(metadata.tables["meta"].insert().values(name="kept", value="yes"))
    before = tables(db.engine)
    upgrade(db)
    assert tables(db.engine) == before
    with db.read() as conn:
        assert conn.execute(sa.select(metadata.tables["meta"].c.value)).scalars().all() == ["yes"]
    db.dispose()


def test_many_that_start_at_once_make_the_tables_once(tmp_path: Path) -> None:
    failures: list[BaseException] = []

    def start() -> None:
        db = fresh(tmp_path)
        try:
            upgrade(db)
        except BaseException as error:
            failures.append(error)
        finally:
            db.dispose()

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    db = fresh(tmp_path)
    upgrade(db)
    with db.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(Broken, match="install a newer Purser"):
        upgrade(db)
    db.dispose()
