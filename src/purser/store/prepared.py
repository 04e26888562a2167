"""Statements that are read often, built once: to build one anew takes SQLAlchemy three times as long as to run it."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa

from purser.store.db import Connection


class Prepared:
    """A statement by the function that makes it of its values, which is called once, with a place for each of them.

    A value that the function gives to `in_` is a sequence.
    """

    def __init__(self, make: Callable[..., sa.sql.expression.Executable]) -> None:
        self._names = tuple(inspect.signature(make).parameters)
        self._statement = make(*map(sa.bindparam, self._names))

    def run(self, conn: Connection, *values: Any) -> sa.CursorResult[*tuple[Any, ...]]:
        """Run it with these values, in the order of the function's parameters; answers its rows."""
        return conn.execute(self._statement, dict(zip(self._names, values, strict=True)))
