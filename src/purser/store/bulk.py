"""Statements straight through the driver, many rows in one: what settling and reporting usage are made of.

SQLAlchemy takes ten times as long for a row as the database does; these few statements are spelt for both databases
instead: prepared once and run for each row on SQLite, arrays of columns on PostgreSQL.

Never a COPY, nor a driver's `executemany` there: a process that stands still in the midst of either keeps its locks as
long as it stands, for the server takes it for busy; between two statements it ends such a session after seconds.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import sqlalchemy as sa

from purser.store.db import Connection

TEXT, INT, BYTES = "text", "bigint", "bytea"
Values = tuple[Any, ...]


def execute(conn: Connection, sql: str, values: Any) -> Any:
    """Run a statement as the driver wants it spelt; answers the driver's cursor. Raises what SQLAlchemy would raise."""
    driver: Any = conn.connection.dbapi_connection
    errors: Any = conn.dialect.dbapi.Error  # type: ignore[union-attr]
    try:
        return driver.execute(sql, values)
    except errors as error:
        raise sa.exc.DBAPIError.instance(sql, None, error, errors) from error


class Statement:
    """One statement, spelt with a question mark for each value."""

    def __init__(self, sql: str) -> None:
        self._sql = {"sqlite": sql, "postgresql": sql.replace("?", "%s")}

    def run(self, conn: Connection, *values: Any) -> Any:
        """Run it; answers the driver's cursor."""
        return execute(conn, self._sql[conn.dialect.name], values)


def insert_new(conn: Connection, table: str, values: Mapping[str, Any], *, last: str = "?") -> bool:
    """Insert a row; answers False, and changes nothing, where there is one with its key.

    One that another transaction is about to commit is waited for. The last value is spelt as `last`.
    """
    return bool(_inserting_new(table, tuple(values), last).run(conn, *values.values()).rowcount == 1)


@cache
def _inserting_new(table: str, names: tuple[str, ...], last: str) -> Statement:
    columns = ", ".join(f'"{name}"' for name in names)
    places = ", ".join([*("?" for _ in names[1:]), last])
    return Statement(f"INSERT INTO {table} ({columns}) VALUES ({places}) ON CONFLICT DO NOTHING")


@cache
def named(*names: str) -> Callable[[Any], Any]:
    """What makes a named tuple of a row with these columns."""
    found: Any = namedtuple("Found", names, rename=True)  # type: ignore[misc]
    make: Callable[[Any], Any] = found._make
    return make


class Insert:
    """Inserts rows of one table; `columns` are in the order of a row's values, each with its type.

    With `adding`, a row whose key is there already adds its values of these columns to it. The rows of one run must
    then have different keys.
    """

    def __init__(self, table: str, columns: dict[str, str], *, key: Sequence[str] = (), adding: Sequence[str] = ()):
        names = ", ".join(f'"{name}"' for name in columns)
        conflict = ""
        if adding:
            sums = ", ".join(f"{name} = {table}.{name} + excluded.{name}" for name in adding)
            conflict = f" ON CONFLICT ({', '.join(key)}) DO UPDATE SET {sums}"
        self._sqlite = f"INSERT INTO {table} ({names}) VALUES ({', '.join('?' * len(columns))}){conflict}"
        arrays = ", ".join(f"%s::{kind}[]" for kind in columns.values())
        self._kinds = tuple(columns.values())
        self._arrays = f"INSERT INTO {table} ({names}) SELECT * FROM unnest({arrays}){conflict}"

    def run(self, conn: Connection, rows: Sequence[Values]) -> None:
        """Insert the rows; raises what the driver raises, with nothing inserted."""
        if not rows:
            return
        driver: Any = conn.connection.dbapi_connection
        if conn.dialect.name == "sqlite":
            driver.executemany(self._sqlite, rows)
        else:
            driver.execute(self._arrays, _columns(self._kinds, rows))


class ForEach:
    """A statement for each of many rows of values: on SQLite one by one, on PostgreSQL with the rows as arrays.

    `sqlite` has a question mark for each value; in `postgresql` the rows are the table `v` with columns c1, c2, ….
    """

    def __init__(self, kinds: Sequence[str], *, sqlite: str, postgresql: str) -> None:
        arrays = ", ".join(f"%s::{kind}[]" for kind in kinds)
        names = ", ".join(f"c{n}" for n in range(1, len(kinds) + 1))
        self._kinds = tuple(kinds)
        self._sqlite, self._postgresql = sqlite, postgresql.replace("{v}", f"unnest({arrays}) AS v({names})")

    def run(self, conn: Connection, rows: Sequence[Values]) -> None:
        """Run it for every row of values."""
        driver: Any = conn.connection.dbapi_connection
        if conn.dialect.name == "sqlite":
            driver.executemany(self._sqlite, rows)
        else:
            driver.execute(self._postgresql, _columns(self._kinds, rows))

    def fetch(self, conn: Connection, rows: Sequence[Values]) -> list[Values]:
        """What it answers for every row of values, in no particular order."""
        driver: Any = conn.connection.dbapi_connection
        if conn.dialect.name != "sqlite":
            return list(driver.execute(self._postgresql, _columns(self._kinds, rows)).fetchall())
        found: list[Values] = []
        for row in rows:
            found += driver.execute(self._sqlite, row)
        return found


def _columns(kinds: Sequence[str], rows: Sequence[Values]) -> list[str]:
    """Each column as PostgreSQL spells an array: a tenth of what the driver takes to spell a list."""
    return [_SPELT[kind](column) for kind, column in zip(kinds, zip(*rows, strict=True), strict=True)]


def _ints(column: Iterable[int | None]) -> str:
    return "{" + ",".join(["NULL" if number is None else str(number) for number in column]) + "}"


def _texts(column: Iterable[str | None]) -> str:
    return "{" + ",".join(["NULL" if text is None else f'"{_escape(text)}"' for text in column]) + "}"


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"")


def _bytes(column: Iterable[bytes | None]) -> str:
    return _texts(None if value is None else rf"\x{value.hex()}" for value in column)


_SPELT: dict[str, Callable[[Iterable[Any]], str]] = {TEXT: _texts, INT: _ints, BYTES: _bytes}
