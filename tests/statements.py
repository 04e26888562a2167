"""Every statement that is about to run, be it by way of SQLAlchemy or straight through the driver."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from purser.store import bulk
from purser.store.db import Connection

Note = Callable[[str, Any], None]
_notes: list[tuple[object, Note]] = []


@contextmanager
def told(target: sa.Engine | Connection, note: Note) -> Iterator[None]:
    """Meanwhile tell `note` each statement on that engine or connection, and its values, before it runs."""
    if not _notes:
        bulk.execute = _execute
        sa.event.listen(sa.Engine, "before_cursor_execute", _through_sqlalchemy)
    _notes.append((target, note))
    try:
        yield
    finally:
        _notes.remove((target, note))
        if not _notes:
            bulk.execute = _straight
            sa.event.remove(sa.Engine, "before_cursor_execute", _through_sqlalchemy)


_straight = bulk.execute


def _execute(conn: Connection, sql: str, values: Any) -> Any:
    _tell(conn, sql, values)
    return _straight(conn, sql, values)


def _through_sqlalchemy(conn: Connection, _cursor: object, statement: str, values: Any, *_: object) -> None:
    _tell(conn, statement, values)


def _tell(conn: Connection, sql: str, values: Any) -> None:
    for target, note in _notes:
        if target is conn or target is conn.engine:
            note(sql, values)
