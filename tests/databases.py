"""The databases that tests run on: files for SQLite, or databases of one PostgreSQL server, a fresh one for each.

`pytest --database postgresql` has every test that keeps books keep them there. A fresh database is a copy of one with
all its tables, or one that a test before has left, emptied and with another name; it is known by the path of the file
that it would be on SQLite.
"""

from __future__ import annotations

import os
import secrets
import shutil
import sqlite3
import threading
import time
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


_OFTEN = 25  # so many times a database is used again before what was deleted there makes it slow
_STILL_CONNECTED = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s"
_SETTINGS = "SELECT 1 FROM pg_db_role_setting s JOIN pg_database d ON d.oid = s.setdatabase WHERE d.datname = %s"
# Whatever changes a definition writes a new version of a row of one of these.
_DEFINED = "SELECT " + ", ".join(
    f"(SELECT SUM(hashtid(ctid)::bigint) FROM {catalog} WHERE {column} >= 16384)"
    for catalog, column in {
        "pg_class": "oid",
        "pg_attribute": "attrelid",
        "pg_constraint": "oid",
        "pg_trigger": "oid",
        "pg_proc": "oid",
        "pg_namespace": "oid",
    }.items()
)
_EMPTY = """
DO $$ DECLARE named text; BEGIN
    FOR named IN SELECT quote_ident(relname) FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'alembic_version'
    AND pg_relation_size(oid) > 0 LOOP
        EXECUTE 'DELETE FROM ' || named;
    END LOOP;
    PERFORM setval(oid::regclass, 1, false) FROM pg_class WHERE relkind = 'S';
END $$
"""


class _Server:
    """A PostgreSQL server, and the databases made there, by the paths that they are known by.

    Making and dropping one takes the server longer than most tests take: one that a test leaves as it was defined is
    emptied instead and goes by another name from then on, so that nobody who still knows it reaches it. A thread does
    all that beside the tests, and keeps one database with all its tables ready.
    """

    def __init__(self, url: str) -> None:
        self._url, self._run, self._count = sa.make_url(url), secrets.token_hex(4), 0
        self._admin = psycopg.connect(url, autocommit=True)
        # Copying files beats writing the copy to the log by half; older servers do it anyway.
        self._how = "STRATEGY file_copy" if self._admin.info.server_version >= 150000 else ""
        self._beside = ThreadPoolExecutor(1)
        self._dropped: list[Future[None]] = []
        self._used: dict[str, int] = {}  # how often each of those with all tables was
        self._free: list[str] = []
        self.made: dict[object, str] = {}
        self.making = threading.Lock()
        self._template = self.create("template0")
        db = Database(self.url(self._template))
        upgrade(db)
        db.dispose()
        self._defined = self._beside.submit(self._asked, self._template, _DEFINED).result()
        self._ready = self._beside.submit(self._next)

    def url(self, name: str) -> str:
        """The URL of one of the databases."""
        return self._url.set(database=name).render_as_string(hide_password=False)

    def take(self) -> str:
        """A new database with all its tables; answers its name."""
        ready, self._ready = self._ready, self._beside.submit(self._next)
        return ready.result()

    def _next(self) -> str:
        name = self._free.pop() if self._free else self._create(self._template)
        self._used[name] = self._used.get(name, 0) + 1
        return name

    def create(self, template: str) -> str:
        """A new database that is a copy of another; answers its name."""
        return self._beside.submit(self._create, template).result()

    def _name(self) -> str:
        self._count += 1
        return f"purser_{self._run}_{self._count}"

    def _create(self, template: str) -> str:
        name = self._name()
        self._admin.execute(f"CREATE DATABASE {name} TEMPLATE {template} {self._how}".encode())
        return name

    def drop(self, name: str) -> None:
        """Remove a database, whoever is connected to it, or have it used again."""
        self._dropped.append(self._beside.submit(self._empty_or_drop, name))

    def _empty_or_drop(self, name: str) -> None:
        used = self._used.pop(name, _OFTEN)
        if used >= _OFTEN or self._admin.execute(_SETTINGS, (name,)).fetchone():
            self._drop(name)
            return
        new = self._name()
        for _ in range(100):
            self._admin.execute(_STILL_CONNECTED, (name,))
            try:
                self._admin.execute(f"ALTER DATABASE {name} RENAME TO {new}".encode())
                break
            except psycopg.errors.ObjectInUse:  # a session takes a moment to end
                time.sleep(0.01)
        else:
            self._drop(name)
            return
        if self._asked(new, _DEFINED, after=_EMPTY) == self._defined:
            self._used[new] = used
            self._free.append(new)
        else:
            self._drop(new)

    def _asked(self, name: str, question: str, *, after: str = "") -> Any:
        """What a database answers to this, then does."""
        with psycopg.connect(self.url(name).replace("+psycopg", ""), autocommit=True) as connection:
            answer = connection.execute(question.encode()).fetchone()
            if after:
                connection.execute(after.encode())
            return answer

    def _drop(self, name: str) -> None:
        self._admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def close(self) -> None:
        """Remove every database made here; raises what removing one has raised."""
        ready = self._ready.result()
        for dropped in self._dropped:
            dropped.result()
        self._used.clear()  # none is used again
        for name in (*self.made.values(), *self._free, ready, self._template):
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
