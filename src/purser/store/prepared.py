"""Statements that run often, spelt once and then straight through the driver.

To build a statement takes SQLAlchemy several times as long as the database takes to run it, and so does what it makes
of a result. Here it writes the statement for each database, the first time; the values and rows, which are whole
numbers, texts and bytes, need nothing done to them.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from typing import Any

import sqlalchemy as sa

from purser.core.errors import Broken
from purser.store import bulk
from purser.store.db import Connection, Row


class Rows(list[Any]):
    """What a statement has found: named tuples."""

    def first(self) -> Row | None:
        """The first one, None where there is none."""
        return next(iter(self), None)

    def one(self) -> Any:
        """The only one; raises Broken where there are more, or none."""
        if len(self) != 1:
            raise Broken(f"one row was to be found, not {len(self)}")
        return self[0]

    def scalar(self) -> Any:
        """The first value of the first one, None where there is none."""
        return self[0][0] if self else None


class Prepared:
    """A statement by the function that makes it of its values, which is called once, with a place for each of them.

    A value that the function gives to `in_` is a sequence.
    """

    def __init__(self, make: Callable[..., sa.sql.expression.Executable]) -> None:
        self._names = tuple(inspect.signature(make).parameters)
        self._statement: Any = make(*(sa.bindparam(name, None) for name in self._names))
        self._spelt: dict[str, _Spelt] = {}

    def run(self, conn: Connection, *values: Any) -> Rows:
        """Run it with these values, in the order of the function's parameters; answers its rows."""
        return self._on(conn).fetch(conn, dict(zip(self._names, values, strict=True)))

    def _on(self, conn: Connection) -> _Spelt:
        spelt = self._spelt.get(conn.dialect.name)
        if spelt is None:
            spelt = self._spelt[conn.dialect.name] = _Spelt(self._statement, self._names, conn.dialect)
        return spelt


class _Spelt:
    """A statement as one database has it."""

    def __init__(self, statement: Any, names: Collection[str], dialect: sa.Dialect) -> None:
        compiled = statement.compile(dialect=dialect)
        self._statement = None
        if {parameter.key for parameter in compiled.post_compile_params} & set(names):
            self._statement = statement  # a list is spelt anew for each length
        elif compiled.post_compile_params:
            compiled = statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
        self._sql = compiled.string
        self._given: dict[str, Any] = {name: value for name, value in compiled.params.items() if name not in names}
        self._order = compiled.positiontup  # where values go by their place
        self._row: Callable[[Any], Any] | None = None

    def fetch(self, conn: Connection, values: dict[str, Any]) -> Rows:
        if self._statement is not None:
            return Rows(conn.execute(self._statement, values))
        given = {**self._given, **values}
        cursor = bulk.execute(conn, self._sql, tuple(map(given.get, self._order)) if self._order else given)
        if self._row is None:
            self._row = bulk.named(*(column[0] for column in cursor.description))
        return Rows(map(self._row, cursor))
