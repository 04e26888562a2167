"""The databases that tests run on: files for SQLite, or databases of one PostgreSQL server, a fresh one for each.

`pytest --database postgresql` has every test that keeps books keep them there. A fresh database is a copy of one with
all its tables, which takes some milliseconds; it has the path of the file that it would be on SQLite for its name.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite
from sqlalchemy.util import LRUCache

from purser.store.db import Database
from purser.store.schema import metadata
from purser.store.upgrade import upgrade

SQLITE, POSTGRESQL = "sqlite", "postgresql"
VARIABLE = "PURSER_TEST_POSTGRESQL"  # the URL of a server that runs already; the tests make their own databases there


class _Server:
    """A PostgreSQL server, and the databases made there, by the paths that they are known by.

    Where files lie on a disk, making and dropping a database waits for it; a thread does that beside the tests, and
    keeps one database with all its tables ready.
    """

    def __init__(self, url: str) -> None:
        self._url, self._run, self._count = sa.make_url(url), secrets.token_hex(4), 0
        self._admin = psycopg.connect(url, autocommit=True)
        # Copying files beats writing the copy to the log by half; older servers do it anyway.
        self._how = "STRATEGY file_copy" if self._admin.info.server_version >= 150000 else ""
        self._beside = ThreadPoolExecutor(1)
        self._dropped: list[Future[None]] = []
        self.made: dict[object, str] = {}
        self.making = threading.Lock()
        self._template = self.create("template0")
        db = Database(self.url(self._template))
        upgrade(db)
        db.dispose()
        self._ready = self._beside.submit(self._create, self._template)

    def url(self, name: str) -> str:
        """The URL of one of the databases."""
        return self._url.set(database=name).render_as_string(hide_password=False)

    def take(self) -> str:
        """A new database with all its tables; answers its name."""
        ready, self._ready = self._ready, self._beside.submit(self._create, self._template)
        return ready.result()

    def create(self, template: str) -> str:
        """A new database that is a copy of another; answers its name."""
        return self._beside.submit(self._create, template).result()

    def _create(self, template: str) -> str:
        self._count += 1
        name = f"purser_{self._run}_{self._count}"
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {self._how}".encode())
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it."""
        self._dropped.append(self._beside.submit(self._drop, name))

    def _drop(self, name: str) -> None:
        self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def close(self) -> None:
        """Remove every database made here; raises what removing one has raised."""
        for name in (*self.made.values(), self._ready.result(), self._template):
            self.drop(name)
        self.made.clear()
        self._beside.shutdown()
        self._admin.close()
        for dropped in self._dropped:
            dropped.result()


_kind = SQLITE
_compiled: Any = LRUCache(2_000)


def share_what_is_compiled() -> None:
    """Have every engine of this process use the statements that any other has compiled.

    SQLAlchemy keeps them by the dialect's instance, of which each engine has one of its own; and nearly every test
    makes an engine, which would compile anew whatever it sends.
    """
    for dialect in (SQLiteDialect_pysqlite, PGDialect_psycopg):
        dialect.__eq__ = lambda self, other: type(self) is type(other)  # type: ignore[method-assign]
        dialect.__hash__ = lambda self: hash(type(self))  # type: ignore[method-assign]
    sa.event.listen(sa.Engine, "engine_connect", _share)


def _share(connection: sa.Connection) -> None:
    connection.engine._compiled_cache = _compiled


def use(kind: str) -> None:
    """From now on make databases of this kind; PostgreSQL's server is the one that VARIABLE names."""
    global _kind
    _kind = kind


def is_sqlite() -> bool:
    """Whether the tests run on SQLite."""
    return _kind == SQLITE


@cache
def _server() -> _Server:
    return _Server(os.environ[VARIABLE])


def at(path: Path, *, bare: bool = False, like: Path | None = None) -> str:
    """The URL of the database of that path: the same one again, or a new one with its tables, or `bare` without any.

    A new one `like` another is a copy of it; nobody may be connected to that.
    """
    if is_sqlite():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() and like is not None:
            shutil.copyfile(like, path)
        elif not path.exists() and not bare:
            path.write_bytes(_empty_file())
        return f"sqlite:///{path}"
    server = _server()
    with server.making:
        if path not in server.made:
            template = "template0" if bare else like and server.made[like]
            server.made[path] = server.create(template) if template else server.take()
    return server.url(server.made[path])


def without_path() -> str:
    """The URL of a new database that only one process opens, once: on SQLite in memory."""
    if is_sqlite():
        return "sqlite://"
    server, key = _server(), object()
    server.made[key] = server.take()
    return server.url(server.made[key])


def with_tables() -> Database:
    """A new database with all its tables that only this process opens; on SQLite in memory, a copy made in no time."""
    db = Database(without_path())
    if db.is_sqlite:
        with db.engine.connect() as connection:
            _empty().backup(_driver(connection))
    return db


@cache
def _empty() -> sqlite3.Connection:
    db = Database("sqlite://")
    upgrade(db)
    kept = sqlite3.connect(":memory:", check_same_thread=False)
    with db.engine.connect() as connection:
        _driver(connection).backup(kept)
    db.dispose()
    return kept


@cache
def _empty_file() -> bytes:
    return _empty().serialize()


def _driver(connection: sa.Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def rows(db: Database) -> dict[str, list[tuple[object, ...]]]:
    """Every row of every table of ours, in the order of their keys."""
    with db.read() as conn:
        ordered = {name: sa.select(table).order_by(*table.primary_key) for name, table in metadata.tables.items()}
        return {name: [tuple(row) for row in conn.execute(query)] for name, query in ordered.items()}


@contextmanager
def dropped_afterwards() -> Iterator[None]:
    """Remove at the end what is made meanwhile."""
    before = set() if is_sqlite() else set(_server().made)
    yield
    if not is_sqlite():
        for key in [key for key in _server().made if key not in before]:
            _server().drop(_server().made.pop(key))


def close() -> None:
    """Remove every database that is left."""
    if _server.cache_info().currsize:
        _server().close()
        _server.cache_clear()
