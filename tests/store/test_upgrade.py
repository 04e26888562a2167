"""Migrations: they make exactly the tables of the schema, once, whoever runs them, and never on a newer database."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from purser.core.errors import Broken
from purser.core.money import Rate
from purser.core.usage import in_batch
from purser.store import upgrade as upgrading
from purser.store.db import Database
from purser.store.prices import list_books
from purser.store.schema import metadata
from purser.store.upgrade import upgrade, versions
from tests import databases
from tests.store import dumps


def tables(engine: sa.Engine) -> dict[str, list[str]]:
    """The SQL of every table and index, its lines and columns in any order: those added later share a line."""
    with engine.connect() as conn:
        if not databases.is_sqlite():
            seen = sa.inspect(conn)
            return {name: parts(seen, name) for name in seen.get_table_names() if name != "alembic_version"}
        found = conn.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
    return {
        name: sorted(part.strip().strip(",") for part in re.split(r"\n|, (?=\w+ (?:INTEGER|TEXT|BLOB)\b)", sql))
        for name, sql in found
        if name not in ("alembic_version", "sqlite_sequence")
    }


def parts(seen: sa.Inspector, table: str) -> list[str]:
    """What PostgreSQL says of a table, in any order."""
    columns = [
        (each["name"], repr(each["type"]), each["nullable"], each["default"], each.get("autoincrement"))
        for each in seen.get_columns(table)
    ]
    others = [seen.get_pk_constraint(table), *seen.get_check_constraints(table), *seen.get_indexes(table)]
    return sorted(map(str, [*columns, *others]))


def fresh(folder: Path, name: str = "purser.db") -> Database:
    """A database without any tables yet."""
    return Database(databases.at(folder / name, bare=True))


def test_the_migrations_files_are_numbered_as_alembic_knows_them() -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(upgrading.__file__).with_name("migrations")))
    known = ScriptDirectory.from_config(config)
    assert versions() == [script.revision for script in known.walk_revisions()][::-1]
    assert known.get_current_head() == versions()[-1]


def test_the_migrations_make_exactly_the_schema(tmp_path: Path) -> None:
    db = fresh(tmp_path)
    upgrade(db)
    drawn = fresh(tmp_path, "drawn.db")
    metadata.create_all(drawn.engine)
    assert tables(db.engine) == tables(drawn.engine)
    with db.read() as conn:
        assert compare_metadata(MigrationContext.configure(conn), metadata) == []
    db.dispose()
    drawn.dispose()


@pytest.mark.sqlite  # strict is what SQLite calls tables that keep to their columns' types
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
        kept = metadata.tables["meta"].c
        assert conn.execute(sa.select(kept.value).where(kept.name == "kept")).scalars().all() == ["yes"]
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


BEFORE_BATCHES = (
    # version 1: tiny and large; 2: tiny from 100 on; 3, at once: large; 4: tiny from 200 on as it is at 100
    "INSERT INTO price_books (version, effective_at, published_at) "
    "VALUES (1, 0, 0), (2, 100, 1), (3, 2, 2), (4, 200, 3)",
    "INSERT INTO rates (version, model, unit, nanos, per) VALUES "
    + ", ".join(
        f"({version}, '{model}', '{unit}', {nanos}, 1000000)"
        for version, prices in ((1, (5, 7)), (2, (6, 7)), (3, (5, 8)), (4, (6, 8)))
        for model, nanos in zip(("tiny", "large"), prices, strict=True)
        for unit in ("input_tokens", "cached_input_tokens", "output_tokens")
    ),
)


def test_old_prices_get_what_they_named_and_their_batch_rates(tmp_path: Path) -> None:
    """P4: half. What a version named was not kept, so it is what that version changed."""
    db = Database(databases.at(tmp_path / "purser.db", bare=True))
    dumps.upgrade_to(db, "0002")
    with db.engine.begin() as conn:
        for statement in BEFORE_BATCHES:
            conn.exec_driver_sql(statement)
    upgrade(db)
    with db.read() as conn:
        books = list_books(conn)
    assert [sorted(book.named) for book in books] == [["large", "tiny"], ["tiny"], ["large"], ["large"]]
    assert in_batch({"input_tokens": 1}).keys() <= books[0].models["tiny"].keys()
    assert books[0].models["tiny"]["batch_output_tokens"] == Rate(5, 2_000_000)
    assert {len(rates) for book in books for rates in book.models.values()} == {6}
    db.dispose()
