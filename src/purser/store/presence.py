"""Presence: how processes on one database take turns, show that they live, and agree which of them does what is due.

On SQLite by locks on files beside the database, on PostgreSQL by advisory locks that a session holds. Both are let go
by the operating system or the server when their process ends, however it ends.
"""

from __future__ import annotations

import fcntl
import os
import struct
from pathlib import Path
from typing import Protocol

import sqlalchemy as sa

from purser.store.db import Connection, Database

_WRITERS, _ONE = 1347767154, 1347767155  # spaces of advisory locks: writers by their id, and what there is one of
_LEAD, SHARED, CHANGES, UPGRADE, SPENT, ABUSE = 1, 2, 3, 4, 5, 6
_TRY = sa.text("SELECT pg_try_advisory_lock(:space, :id)")
_WAIT = sa.text("SELECT pg_advisory_xact_lock(:space, :id)")
_WAIT_SHARED = sa.text("SELECT pg_advisory_xact_lock_shared(:space, :id)")
_GONE = sa.text(
    "SELECT w.id FROM writers w WHERE w.state = 'open' AND NOT EXISTS (SELECT 1 FROM pg_locks l "
    "WHERE l.locktype = 'advisory' AND l.granted AND l.classid = :space AND l.objid = w.id "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())) ORDER BY w.id"
)
_LOOKS = 3
_OPEN = sa.text("SELECT id FROM writers WHERE state = 'open' AND id <> :me ORDER BY id")


class Presence(Protocol):
    """One writer's place among the others."""

    def take_turn(self) -> None:
        """Wait until no other process writes."""

    def end_turn(self) -> None:
        """Let the next process write."""

    def show(self, conn: Connection, writer: int) -> bool:
        """Show from now on that this writer's process lives, until it ends or `close`.

        Answers False where an earlier session of this process shows it still: it must be shown again later.
        """

    def list_gone(self, conn: Connection, me: int) -> list[int]:
        """The open writers whose process is gone, and `me` where this one must be shown again."""

    def close(self) -> None:
        """Be gone."""


def presence(db: Database) -> Presence:
    """The kind of presence that a database allows."""
    if not db.is_sqlite:
        return _Sessions()
    return _Alone() if db.in_memory else _Files(db)


class _Alone:
    """A database in memory is one process's own."""

    def take_turn(self) -> None:
        return

    def end_turn(self) -> None:
        return

    def show(self, conn: Connection, writer: int) -> bool:
        return True

    def list_gone(self, conn: Connection, me: int) -> list[int]:
        return []

    def close(self) -> None:
        return


class _Files:
    """A fair queue of writers in one file, and in another a byte for each writer, locked while its process lives."""

    def __init__(self, db: Database) -> None:
        self._queue, self._alive = open_lock_file(db, ".queue"), open_lock_file(db, ".alive")

    def take_turn(self) -> None:
        fcntl.flock(self._queue, fcntl.LOCK_EX)

    def end_turn(self) -> None:
        fcntl.flock(self._queue, fcntl.LOCK_UN)

    def show(self, conn: Connection, writer: int) -> bool:
        # An open-file-description lock: held by this descriptor until it is closed or its process ends.
        fcntl.fcntl(self._alive, fcntl.F_OFD_SETLK, _flock_record(fcntl.F_WRLCK, writer))
        return True

    def list_gone(self, conn: Connection, me: int) -> list[int]:
        # Whatever their host is called: who has this file open shares its locks, and a container's name changes.
        others = [int(row[0]) for row in conn.execute(_OPEN, {"me": me})]
        return [writer for writer in others if not self._is_locked(writer)]

    def _is_locked(self, writer: int) -> bool:
        answer = fcntl.fcntl(self._alive, fcntl.F_OFD_GETLK, _flock_record(fcntl.F_WRLCK, writer))
        return bool(struct.unpack("hhqqi4x", answer)[0] != fcntl.F_UNLCK)

    def close(self) -> None:
        os.close(self._queue)
        os.close(self._alive)


class _Sessions:
    """Each writer's own session holds a lock by its id; rows are locked one by one, so nobody waits for a turn.

    Where the server ends sessions whose processes live, these show themselves again when they look; so a writer
    counts as gone when others have missed it several times.
    """

    def __init__(self) -> None:
        self._missed: dict[int, int] = {}

    def take_turn(self) -> None:
        return

    def end_turn(self) -> None:
        return

    def show(self, conn: Connection, writer: int) -> bool:
        return bool(conn.execute(_TRY, {"space": _WRITERS, "id": writer}).scalar_one())

    def list_gone(self, conn: Connection, me: int) -> list[int]:
        missing = [int(row[0]) for row in conn.execute(_GONE, {"space": _WRITERS})]
        self._missed = {writer: self._missed.get(writer, 0) + 1 for writer in missing}
        return [writer for writer, looks in self._missed.items() if looks >= _LOOKS or writer == me]

    def close(self) -> None:
        return


def open_lock_file(db: Database, suffix: str) -> int:
    """A descriptor of the lock file beside a SQLite file."""
    return os.open(Path(f"{db.path}{suffix}"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _flock_record(kind: int, byte: int) -> bytes:
    return struct.pack("hhqqi4x", kind, os.SEEK_SET, byte, 1, 0)


def lock_one(conn: Connection, what: int, *, shared: bool = False) -> None:
    """Until this transaction ends no other changes what there is one of (or, shared, relies on it staying)."""
    if conn.dialect.name == "postgresql":  # on SQLite one transaction runs at a time anyway
        conn.execute(_WAIT_SHARED if shared else _WAIT, {"space": _ONE, "id": what})


class Lead:
    """One process at a time does what falls due; another takes over when it ends."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._file: int | None = None
        self._session: Connection | None = None

    def take(self) -> bool:
        """Whether this process leads, from now on or still; raises Unavailable where the server cannot be reached."""
        if self._db.in_memory:
            return True
        with self._db.told_when_away():
            return self._take_file() if self._db.is_sqlite else self._take_session()

    def _take_file(self) -> bool:
        if self._file is not None:
            return True
        descriptor = open_lock_file(self._db, ".worker")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        self._file = descriptor
        return True

    def _take_session(self) -> bool:
        if self._session is not None:
            try:
                self._session.exec_driver_sql("SELECT 1")
                return True
            except sa.exc.DBAPIError:
                self.release()
        session = self._db.engine.connect().execution_options(isolation_level="AUTOCOMMIT")
        if session.execute(_TRY, {"space": _ONE, "id": _LEAD}).scalar_one():
            self._session = session
            return True
        session.close()
        return False

    def release(self) -> None:
        """Let another lead."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._session is not None:
            self._session.invalidate()  # its lock must not go back into the pool with it
            self._session.close()
            self._session = None
