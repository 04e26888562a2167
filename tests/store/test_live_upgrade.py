"""Upgrades on live data: the rows of every version kept come through whole, whoever writes or upgrades meanwhile."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from purser.flows.audit import audit
from purser.store.db import Database
from purser.store.presence import presence
from purser.store.upgrade import upgrade
from tests import databases
from tests.store import dumps
from tests.store.processes import process
from tests.store.small_books import Books

VERSIONS = dumps.kept()
OLD = sorted(VERSIONS)[0]


@pytest.fixture
def old(tmp_path: Path) -> Iterator[Database]:
    """The small books at the oldest version that is kept."""
    db = at_version(OLD, tmp_path)
    yield db
    db.dispose()


def at_version(version: str, folder: Path) -> Database:
    """The small books as that version of the program left them."""
    db = Database(databases.at(folder / "purser.db", bare=True))
    dumps.upgrade_to(db, version)
    dumps.put(db, VERSIONS[version])
    return db


def lost(version: str, db: Database) -> list[object]:
    """The rows of the dump that a database does not have as they were; it may have more rows, and more columns."""
    now = dumps.take(db)
    return [
        (table, row)
        for table, rows in VERSIONS[version].items()
        for row in rows
        if table != "alembic_version"
        and row.get("name") != "tables"  # the digest of the tables' own definitions
        and not any(_kept(table, row).items() <= found.items() for found in now[table])
    ]


def _kept(table: str, row: dict[str, object]) -> dict[str, object]:
    """What of a row stays: of a writer that was open, its program is one of before, whose seals are not relied on."""
    return {name: value for name, value in row.items() if (table, name) != ("writers", "seals")}


def violations(db: Database) -> tuple[object, ...]:
    with db.read() as conn:
        return audit(conn).violations


def test_the_newest_version_has_a_dump() -> None:
    assert dumps.newest() in VERSIONS, "a new migration: python -m tests.store.dumps writes the dump that goes with it"


@pytest.mark.parametrize("version", VERSIONS)
def test_the_rows_of_every_version_are_taken_over_and_the_books_go_on(version: str, tmp_path: Path) -> None:
    db = at_version(version, tmp_path)
    upgrade(db)
    assert lost(version, db) == []
    assert violations(db) == ()
    books = Books(db.url, os.getpid())
    books.day("2026-05-02")
    books.settle(books.event("ada", "after", (100, 0, 100)), books.event("bob", "after", (5, 0, 5)))
    books.close()
    assert violations(db) == ()
    db.dispose()


def test_an_upgrade_waits_for_a_transaction_under_way(old: Database) -> None:
    turns = presence(old)
    turns.take_turn()
    with old.engine.connect().execution_options(immediate=True) as conn, conn.begin():
        conn.exec_driver_sql("UPDATE writers SET seq = seq + 1 WHERE id = 1")
        conn.exec_driver_sql("INSERT INTO meta (name, value) VALUES ('begun', 'before')")
        upgrading = threading.Thread(target=upgrade, args=(old,))
        upgrading.start()
        upgrading.join(0.5)
        assert upgrading.is_alive()
    turns.end_turn()
    upgrading.join()
    turns.close()
    assert ("begun", "before") in {(row["name"], row["value"]) for row in dumps.take(old)["meta"]}
    assert dumps.take(old)["alembic_version"] == [{"version_num": dumps.newest()}]
    assert violations(old) == ()


def test_an_upgrade_beside_a_process_that_writes_all_the_while(old: Database) -> None:
    with process("scribble", old.url) as writing:
        for _ in range(20):
            writing.tell()
        upgrade(old)
        for _ in range(20):
            writing.tell()
        writing.kill()
    there = {row["name"] for row in dumps.take(old)["meta"] if row["name"].startswith("scribble-")}
    assert set(writing.told) <= there
    assert len(there - set(writing.told)) <= 1  # killed before it told
    assert violations(old) == ()


def test_processes_that_upgrade_at_once_do_it_once(old: Database) -> None:
    with ExitStack() as stack:
        several = [stack.enter_context(process("upgrade", old.url)) for _ in range(4)]
        assert [each.finish() for each in several] == [0] * 4
    assert lost(OLD, old) == []
    assert violations(old) == ()


def test_rows_that_an_older_process_may_write_again_are_not_sealed_until_it_has_ended(tmp_path: Path) -> None:
    """It would seal them without the columns that it does not know of."""
    db = at_version("0014", tmp_path)
    turns = presence(db)
    with db.engine.begin() as conn:
        conn.exec_driver_sql("UPDATE writers SET state = 'open', seals = 1 WHERE id = 1")
    upgrade(db)
    with db.read() as conn:
        assert conn.exec_driver_sql("SELECT seals FROM writers WHERE id = 1").scalar() == 0
    turns.close()
    db.dispose()
