"""One value of any column of any table changed behind everybody's back: the audit finds it, by the right check."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from purser.flows import accounts
from purser.flows.audit import INVARIANTS
from purser.store import idempotency, seals
from purser.store.checks import search
from purser.store.db import Database
from purser.store.schema import metadata
from tests import databases
from tests.faults import catching
from tests.store.small_books import Books, behind, change, tell_story
from tests.store.test_chain import flip

BY_NAME = {invariant.name: invariant for invariant in INVARIANTS}
EXPECTED = catching.expected()
ON_SQLITE, ON_POSTGRESQL = 3, 1  # so many rows of each table, or as many as there are
# Where only some rows matter, or only some changes: a writer that is closed owns nothing, and steps that wrote nothing
# into the books are not missed there (but by the process itself, which stops).
ONLY = {"writers.state": "state = 'open'"}
BECOMES = {"spent_through.seq": 0, "writers.seq": 0, "writers.state": "closed"}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """The small books and an answer kept; what a test changes there it puts back."""
    told = Books(databases.at(tmp_path_factory.mktemp("whole") / "purser.db"))
    tell_story(told)
    told.writer.run(lambda tx: idempotency.insert_kept(tx.conn, "ada", "once", b"digest", 0, "", told.world.at))
    told.writer.run(lambda tx: idempotency.update_kept(tx.conn, "ada", "once", 201, '{"id": "grant_1"}'))
    yield told.db
    told.close()


def another(value: Any, column: sa.Column[Any], chance: random.Random) -> object:
    """A value that is nearly the same."""
    if value in (None, "", b""):
        return 7 if isinstance(column.type, sa.Integer) else b"x" if isinstance(column.type, sa.LargeBinary) else "x"
    return flip(value, chance)


def finds(conn: sa.Connection, check: str) -> bool:
    return bool(next(search(conn, BY_NAME[check])).violations())


def changes(conn: sa.Connection, place: dict[sa.Column[Any], object], column: sa.Column[Any], value: object) -> bool:
    """Change one row; answers False where that is not possible: another has the key, or it is no text."""
    where = [each == kept for each, kept in place.items()]
    try:
        with conn.begin_nested():
            return conn.execute(sa.update(column.table).where(*where).values({column: value})).rowcount == 1
    except (sa.exc.IntegrityError, sa.exc.DataError):
        return False


@pytest.mark.parametrize("check", sorted({check for check in EXPECTED.values() if check}))
def test_before_nothing_is_found(whole: Database, check: str) -> None:
    with whole.read() as conn:
        assert not finds(conn, check)


@pytest.mark.parametrize(("table", "column"), [place for place, check in EXPECTED.items() if check])
def test_a_changed_value_is_found(whole: Database, table: str, column: str) -> None:
    check, chance = EXPECTED[table, column], random.Random(f"{table}.{column}")
    of, key = metadata.tables[table], metadata.tables[table].primary_key
    with behind(whole) as conn:
        rows = conn.execute(sa.select(of).where(sa.text(ONLY.get(f"{table}.{column}", "1 = 1"))).order_by(*key)).all()
        assert rows, "a table without rows would prove nothing"
        for row in chance.sample(rows, min(ON_SQLITE if whole.is_sqlite else ON_POSTGRESQL, len(rows))):
            value, place = row._mapping[of.c[column]], {each: row._mapping[each] for each in key}
            changed = BECOMES.get(f"{table}.{column}", another(value, of.c[column], chance))
            while not changes(conn, place, of.c[column], changed):
                changed = another(value, of.c[column], chance)
            assert finds(conn, check), f"{table}.{column} {value!r} became {changed!r} in row {place}"
            conn.rollback()


def test_the_docs_say_what_finds_what() -> None:
    text = catching.DOCS.read_text()
    assert text == catching.written(text), "python -m tests.faults.catching writes it"
    for check in {check for check in EXPECTED.values() if check}:
        assert check in BY_NAME


def test_every_row_is_written_with_its_seal(whole: Database) -> None:
    """By whichever flow: in books that only this version has written no row is without one."""
    with whole.read() as conn:
        for table in seals.TABLES:
            without = conn.execute(sa.select(sa.func.count()).select_from(table).where(table.c.seal.is_(None))).scalar()
            assert without == 0, table.name


def test_nobody_but_seals_writes_sealed_rows() -> None:
    """A row that is inserted or updated in another way would be without its seal, or have the wrong one."""
    names = "|".join(table.name for table in seals.TABLES if table.name != "headroom")
    for path in sorted((Path(seals.__file__).parents[1]).rglob("*.py")):
        if "migrations" not in path.parts:
            assert not re.search(rf"sa\.(insert|update)\(t\.({names})\)|(INTO|UPDATE) ({names})\b", path.read_text()), (
                path
            )


def test_while_a_process_of_an_older_version_writes_nothing_is_sealed(tmp_path: Path) -> None:
    """It changes rows and leaves their seals as they are, which would look as if somebody else had."""
    told = Books(databases.at(tmp_path / "purser.db"))
    run, account = told.writer.run, metadata.tables["accounts"].c
    run(lambda tx: accounts.open_account(tx, "ada", "ada@example.com"))
    older = "INSERT INTO writers (host, pid, hash, heard_at) VALUES ('older', 1, x'00', 0)"
    change(told.db, older)

    def seal() -> object:
        with told.db.read() as conn:
            return conn.execute(sa.select(account.seal)).scalar_one()

    def looked() -> bool:
        with told.db.read() as conn:
            return finds(conn, "seals")

    assert seal() is not None
    run(lambda tx: accounts.set_limit(tx, "ada", "40"))
    assert seal() is None
    change(told.db, "UPDATE accounts SET limit_nanos = 5", "UPDATE writers SET state = 'closed' WHERE host = 'older'")
    assert not looked()
    run(lambda tx: accounts.set_limit(tx, "ada", "30"))
    assert seal() is not None
    assert not looked()
    told.close()
