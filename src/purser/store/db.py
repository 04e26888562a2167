"""One database, SQLite or PostgreSQL: opening it, the settings it must have, and consistent reads."""

from __future__ import annotations

import itertools
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy import event

from purser.core.errors import Broken, Invalid, Unavailable

T = TypeVar("T")
Row = sa.Row[Any]
Connection = sa.Connection

_POOL = {"pool_size": 8, "max_overflow": 16}
# Commits are durable whatever the server's default; and a process or host that is gone loses its locks soon: the
# server notices an ended process within a second, a host that fell silent within a quarter of a minute.
_SESSION = {
    "synchronous_commit": "on",
    "idle_in_transaction_session_timeout": "5s",
    "client_connection_check_interval": "1s",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
    "timezone": "UTC",
}
_TRY_AGAIN = ("40001", "40P01")  # serialization failure, deadlock: the server has undone everything
_LOCK_SECONDS, _A_MOMENT_MS = 30, 20  # how long a SQLite file is waited for that others write
_UNDONE_SECONDS = 2  # how long one that does not become what it was told to be
# A session that the server ended (by an operator, a crash, a restart, a timeout), or could not begin just now.
_LOST = ("57P01", "57P02", "57P03", "57P05", "25P03", "25P04", "53300")


class Database:
    """A database by its URL; knows how to open connections with durable commits, and where its lock files are.

    Raises Invalid for a URL that names neither SQLite nor PostgreSQL.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        parsed = _parse(url)
        self.is_sqlite = parsed.get_backend_name() == "sqlite"
        self.path = Path(parsed.database or ":memory:")
        self.in_memory = self.is_sqlite and parsed.database in (None, "", ":memory:")
        self.name = str(self.path) if self.is_sqlite else parsed.set(drivername="postgresql").render_as_string()
        self.engine = _sqlite(parsed, self.in_memory) if self.is_sqlite else _postgresql(parsed)

    def reach(self) -> None:
        """Connect once; raises Unavailable where that fails."""
        try:
            self.engine.connect().close()
        except sa.exc.DBAPIError as error:
            raise Unavailable(f"the database {self.name} cannot be reached: {reason(error)}") from None

    def assert_durable(self) -> None:
        """Check that a commit survives a power cut; raises Broken where the database says otherwise."""
        with self.engine.connect() as connection:
            if self.is_sqlite:
                mode = connection.exec_driver_sql("PRAGMA journal_mode").scalar_one()
                level = connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
                if level != 2 or (mode != "wal" and not self.in_memory):
                    raise Broken(f"SQLite must run with journal_mode=wal and synchronous=FULL, not {mode} and {level}")
                return
            for name, safe in (("fsync", ("on",)), ("synchronous_commit", ("on", "remote_apply"))):
                value = connection.exec_driver_sql(f"SHOW {name}").scalar_one()
                if value not in safe:
                    raise Broken(f"PostgreSQL must run with {name}={safe[0]}, not {value}: commits could be lost")

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection that sees one consistent snapshot and changes nothing.

        Raises Unavailable where the server cannot be reached, or is lost meanwhile.
        """
        with self.told_when_away(), self.engine.connect() as connection:
            if not self.is_sqlite:
                connection.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            connection.begin()  # not every statement goes through SQLAlchemy, which would begin at the first one
            try:
                yield connection
            except Exception as error:
                if not self.is_sqlite and is_lost(error):
                    connection.invalidate()  # the pool would try to go on with it, and log that it cannot
                raise

    @contextmanager
    def told_when_away(self) -> Iterator[None]:
        """What a server that is out of reach, or lost meanwhile, raises is raised as Unavailable."""
        try:
            yield
        except Exception as error:
            if not self.is_sqlite and is_lost(error):
                raise Unavailable(f"the database {self.name} cannot be reached just now") from error
            raise

    def dispose(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def reason(error: Exception) -> str:
    """What the driver says, in one line."""
    told = getattr(error, "orig", error)
    return str(told).strip().splitlines()[0] if str(told).strip() else type(told).__name__


@contextmanager
def told_when_unusable(url: str) -> Iterator[None]:
    """What the driver of this database raises meanwhile is raised as Broken, in a sentence."""
    try:
        yield
    except (sa.exc.DBAPIError, sqlite3.Error) as error:  # SQLite's own where rows are fetched that the driver has found
        name = Database(url).name
        raise Broken(
            f"the database {name} cannot be used: {reason(error)}. purser audit --database-url … tells more"
        ) from None


def may_try_again(error: BaseException) -> bool:
    """Whether a transaction that had not come to its commit can simply run again: others beside it had it undone."""
    return getattr(getattr(error, "orig", error), "sqlstate", None) in _TRY_AGAIN


def until_unlocked(work: Callable[[], T]) -> T:
    """Do something that can be done again from its beginning; again where a SQLite file was locked by others meanwhile.

    Between two tries it waits for a moment and holds nothing, so that nobody waits for it. Raises what `work` raises,
    that the file is locked only if it is for more than two of SQLite's own waits.
    """
    tries_until = time.monotonic() + 2.5 * _LOCK_SECONDS
    tries = 0
    while True:
        try:
            return work()
        except (sa.exc.DBAPIError, Unavailable) as error:
            if not (is_locked(error) or is_locked(error.__context__)) or time.monotonic() > tries_until:
                raise
        tries += 1
        _rest(tries)


def _rest(tries: int) -> None:
    """A moment that is another one in every process, be it a copy of this, and in every thread."""
    time.sleep((os.getpid() * 31 + threading.get_native_id()) * tries % (_A_MOMENT_MS - 1) / 1000)


def is_locked(error: BaseException | None) -> bool:
    """Whether a SQLite file was locked by another program for too long, so that a transaction could not begin."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return bool(code & 0xFF == sqlite3.SQLITE_BUSY)


def is_lost(error: BaseException) -> bool:
    """Whether the session with a PostgreSQL server is gone, or could not begin; a new one may do better."""
    import psycopg

    if isinstance(error, sa.exc.TimeoutError):  # every connection of the pool is taken
        return True
    if isinstance(error, sa.exc.DBAPIError):
        if error.connection_invalidated:
            return True
        error = error.orig or error
    if not isinstance(error, psycopg.Error):
        return False
    state = error.sqlstate
    if state is None:  # not the server's word: the connection itself failed
        return isinstance(error, psycopg.OperationalError)
    return state.startswith("08") or state in _LOST


def _parse(url: str) -> sa.URL:
    expected = 'database_url must be like "sqlite:///purser.db" or "postgresql://user@host/purser"'
    try:
        parsed = sa.make_url(url)
    except (sa.exc.ArgumentError, ValueError):
        raise Invalid(f"{expected}, not {url!r:.80}", field="database_url") from None
    if parsed.drivername in ("postgresql", "postgres", "postgresql+psycopg"):
        if not parsed.database:
            raise Invalid(f"{expected}: {url!r:.80} names no database", field="database_url")
        return parsed.set(drivername="postgresql+psycopg")
    if parsed.drivername != "sqlite":
        raise Invalid(f"{expected}, not {parsed.drivername!r:.40}", field="database_url")
    return parsed


def _sqlite(url: sa.URL, in_memory: bool) -> sa.Engine:
    if in_memory:
        engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool, connect_args={"check_same_thread": False})
    else:
        engine = sa.create_engine(url, connect_args={"check_same_thread": False, "timeout": _LOCK_SECONDS}, **_POOL)
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_up_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # transactions are begun by us, not by the driver
    _write_ahead(connection)
    for pragma in ("synchronous=full", "wal_autocheckpoint=0", "foreign_keys=on"):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _write_ahead(connection: Any) -> None:
    """Have a file written by way of a log. Where several open a new file at once each may wait for the others to let go
    of it, or be refused at once: so each tries for a moment only, lets go, and tries again. SQLite may also come back
    without having done it, and only a read shows that: that is tried again too, though not for as long."""
    began = time.monotonic()
    connection.execute(f"PRAGMA busy_timeout = {_A_MOMENT_MS}").fetchall()
    for tries in itertools.count(1):
        try:
            connection.execute("PRAGMA journal_mode = wal").fetchall()
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            mode = connection.execute("PRAGMA journal_mode").fetchone()[0]
            if mode in ("wal", "memory") or time.monotonic() > began + _UNDONE_SECONDS:
                break  # whoever serves looks at it once more
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > began + _LOCK_SECONDS:
                raise
        _rest(tries)
    connection.execute(f"PRAGMA busy_timeout = {_LOCK_SECONDS * 1000}").fetchall()


def _begin_sqlite(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("immediate", False)
    statement = "BEGIN IMMEDIATE" if immediate else "BEGIN"
    driver: Any = connection.connection.dbapi_connection
    try:
        driver.execute(statement)  # for every commit: through SQLAlchemy it takes ten times as long
    except sqlite3.Error as error:
        raise sa.exc.OperationalError(statement, None, error) from error


def _postgresql(url: sa.URL) -> sa.Engine:
    options = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    given = url.query.get("options")
    engine = sa.create_engine(
        url,
        connect_args={
            "options": f"{given} {options}" if given else options,
            "application_name": "purser",
            "connect_timeout": 10,
            "tcp_user_timeout": 10_000,
        },
        isolation_level="READ COMMITTED",
        pool_pre_ping=True,
        **_POOL,
    )
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _set_up_postgresql(connection: Any, _record: object) -> None:
    from psycopg.adapt import Loader

    class Whole(Loader):
        """Sums of whole numbers: numeric to PostgreSQL, int to us; anything else is no amount of ours."""

        def load(self, data: Any) -> int:
            return int(bytes(data))

    connection.adapters.register_loader("numeric", Whole)
