"""Statements spelt once find what SQLAlchemy finds, and what the driver raises is told as ever."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from purser.core.errors import Broken
from purser.store import schema as t
from purser.store.db import Connection, Database, told_when_unusable
from purser.store.prepared import Prepared
from tests import databases

META = t.meta.c
ROWS = {"a": "1", "b": "2", "c": "2", "d": "4"}


@pytest.fixture
def conn(tmp_path: Path) -> Iterator[Connection]:
    """A connection to a database with a few settings in it."""
    db = Database(databases.at(tmp_path / "purser.db"))
    with db.engine.begin() as writing:
        writing.execute(sa.insert(t.meta), [{"name": name, "value": value} for name, value in ROWS.items()])
    with db.read() as reading:
        yield reading
    db.dispose()


def test_rows_are_named_and_in_order(conn: Connection) -> None:
    of_value = Prepared(lambda value: sa.select(META.name, META.value).where(META.value == value).order_by(META.name))
    found = of_value.run(conn, "2")
    assert found == [("b", "2"), ("c", "2")]
    assert [(row.name, row.value) for row in found] == [("b", "2"), ("c", "2")]
    assert (found[0], found.scalar()) == (("b", "2"), "b")
    assert found.first() is found[0]
    with pytest.raises(Broken, match="not 2"):
        found.one()
    assert of_value.run(conn, "1").one() == ("a", "1")
    none = of_value.run(conn, "9")
    assert (none, none.first(), none.scalar()) == ([], None, None)


def test_values_go_where_they_belong_however_often_they_are_used(conn: Connection) -> None:
    between = Prepared(
        lambda least, most, other: (
            sa.select(META.name)
            .where(sa.or_(META.value == most, META.value == least), META.name != other, META.name != "d")
            .order_by(META.name)
            .limit(2)
        )
    )
    assert between.run(conn, "1", "2", "b") == [("a",), ("c",)]
    assert between.run(conn, "2", "1", "a") == [("b",), ("c",)]


def test_constants_and_lists_of_any_length(conn: Connection) -> None:
    constant = Prepared(lambda name: sa.select(META.name).where(META.value.in_(("1", "2")), META.name != name))
    assert sorted(constant.run(conn, "b")) == [("a",), ("c",)]
    listed = Prepared(lambda names: sa.select(META.name).where(META.name.in_(names)))
    for names in ([], ["a"], ["b", "d", "x"], ["a", "b", "c", "d"]):
        assert sorted(row.name for row in listed.run(conn, names)) == [name for name in names if name in ROWS]


def test_what_the_driver_raises_is_raised_as_sqlalchemy_would(conn: Connection) -> None:
    wrong = Prepared(lambda value: sa.select(sa.literal_column("no_such_column")).where(META.value == value))
    with pytest.raises(sa.exc.DBAPIError, match="no_such_column") as raised:
        wrong.run(conn, "1")
    assert raised.value.orig is not None


@pytest.mark.sqlite
def test_a_row_that_cannot_be_read_is_told_in_a_sentence(tmp_path: Path) -> None:
    """SQLite finds it only when it comes to it, after the statement has begun."""
    url = databases.at(tmp_path / "purser.db")
    db = Database(url)
    with db.engine.begin() as writing:
        writing.exec_driver_sql("INSERT INTO meta (name, value) VALUES ('a', 'fine'), ('b', CAST(x'ff' AS TEXT))")
    values = Prepared(lambda: sa.select(META.value).order_by(META.name))
    with db.read() as conn, pytest.raises(Broken, match="cannot be used"), told_when_unusable(url):
        values.run(conn)
    db.dispose()
