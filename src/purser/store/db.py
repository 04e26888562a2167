"""One database, SQLite or PostgreSQL: opening it, the settings it must have, and consistent reads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from purser.core.errors import Broken, Invalid

Row = sa.Row[Any]
Connection = sa.Connection


class Database:
    """A database by its URL; knows how to open connections with durable commits, and where its lock files are."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            parsed = sa.make_url(url)
        except sa.exc.ArgumentError:
            raise Invalid(
                f'database_url must be like "sqlite:///purser.db", not {url!r:.80}', field="database_url"
            ) from None
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        if not self.is_sqlite:
            raise Invalid(
                f'database_url must start with "sqlite:///", not {parsed.get_backend_name()}',
                field="database_url",
            )
        self.path = Path(parsed.database or ":memory:")
        self.in_memory = parsed.database in (None, "", ":memory:")
        if self.in_memory:
            self.engine = sa.create_engine(
                "sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False}
            )
        else:
            self.engine = sa.create_engine(
                url, connect_args={"check_same_thread": False, "timeout": 30}, pool_size=8, max_overflow=16
            )
        event.listen(self.engine, "connect", self._set_up)
        event.listen(self.engine, "begin", _begin_deferred)

    def _set_up(self, connection: Any, _record: object) -> None:
        connection.isolation_level = None  # transactions are begun by us, not by the driver
        for pragma in ("journal_mode=wal", "synchronous=full", "wal_autocheckpoint=0", "foreign_keys=on"):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    def assert_durable(self) -> None:
        """Check that a commit survives a power cut; raises Broken where the database says otherwise."""
        with self.engine.connect() as connection:
            mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
            level = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
            if level != 2 or (mode != "wal" and not self.in_memory):
                raise Broken(f"SQLite must run with journal_mode=wal and synchronous=FULL, not {mode} and {level}")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent snapshot and changes nothing."""
        with self.engine.connect() as connection:
            yield connection

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def _begin_deferred(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
