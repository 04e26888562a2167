"""What this machine has seen of a database: how far each of its writers had come, so that an older one is noticed.

A database restored from an old backup looks sound by itself. Beside it, in a folder of their own, lie a few bytes for
each writer of this machine, written after every commit; they are compared before anything is written again.
"""

from __future__ import annotations

import hashlib
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from purser.store import schema as t
from purser.store.db import Connection, Database

_RECORD = struct.Struct(">16sQQ32s")  # which database, seq, n, hash
_CHECK_BYTES = 8
_SERVERS = Path("purser.seen")


def folder_of(db: Database) -> Path | None:
    """Where it is kept: beside a SQLite file, in the current folder for PostgreSQL, nowhere for one in memory."""
    if db.in_memory:
        return None
    return Path(f"{db.path}.seen") if db.is_sqlite else _SERVERS


class Record(NamedTuple):
    """Which database's writer had come how far, and its number of commits and hash then."""

    which: bytes
    writer: int
    seq: int
    n: int
    link: bytes


def list_records(folder: Path, pattern: str = "*") -> list[Record]:
    """What is whole of what lies in a folder, of whatever database; what another process forgets meanwhile is gone."""
    found = []
    for path in sorted(folder.glob(f"{pattern}-*")):
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            continue
        record = data[: _RECORD.size]
        if len(record) == _RECORD.size and data[_RECORD.size :] == _check(record):
            which, seq, n, link = _RECORD.unpack(record)
            if path.name.startswith(f"{which.hex()}-"):
                found.append(Record(which, int(path.name.partition("-")[2]), seq, n, link))
    return found


class Seen:
    """How far the writers of one database had come when they were last heard of on this machine.

    `before` are the records of a folder that is one database's alone, read before its identity was: those of another
    identity are of a database that was there once, and is not any more.
    """

    def __init__(self, folder: Path, identity: bytes, before: Sequence[Record] = ()) -> None:
        self._folder = folder
        self._which = hashlib.blake2b(identity, digest_size=16).digest()
        self._others = [record for record in before if record.which != self._which]
        self._file: tuple[int, int] | None = None  # of which writer, and its descriptor

    def note(self, writer: int, seq: int, n: int, link: bytes) -> None:
        """A writer of this process has come so far. Not flushed: where power is lost it says less than was."""
        if self._file is None or self._file[0] != writer:
            self.close()
            self._folder.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path(writer), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file = writer, descriptor
        record = _RECORD.pack(self._which, seq, n, link)
        os.pwrite(self._file[1], record + _check(record), 0)

    def list_lost(self, conn: Connection) -> list[str]:
        """What a database has not, or has otherwise, of what was seen; empty where nothing is lost."""
        found = [self._compare(conn, record) for record in self._list()]
        others = [f"writer {other.writer} of another database had come to step {other.seq}" for other in self._others]
        return [lost for lost in (*found, *others) if lost]

    def forget_closed(self, conn: Connection) -> None:
        """Forget the writers that ended as they were seen: the next ones tell what there is."""
        c = t.writers.c
        closed = {int(row[0]) for row in conn.execute(sa.select(c.id).where(c.state == "closed"))}
        for record in self._list():
            if record.writer in closed:
                self._path(record.writer).unlink(missing_ok=True)

    def forget_all(self) -> None:
        """What was seen is given up."""
        for record in (*self._list(), *self._others):
            self._path(record.writer, record.which).unlink(missing_ok=True)

    def close(self) -> None:
        """Note no more."""
        if self._file is not None:
            os.close(self._file[1])
            self._file = None

    def _path(self, writer: int, which: bytes | None = None) -> Path:
        return self._folder / f"{(which or self._which).hex()}-{writer}"

    def _list(self) -> list[Record]:
        return list_records(self._folder, self._which.hex())

    def _compare(self, conn: Connection, record: Record) -> str | None:
        _, writer, seq, n, link = record
        c, k = t.writers.c, t.commits.c
        row = conn.execute(sa.select(c.seq).where(c.id == writer)).first()
        if row is None:
            return f"writer {writer} had come to step {seq}, and is not there"
        if row.seq < seq:
            return f"writer {writer} had come to step {seq}, and is at {row.seq} there"
        there = conn.execute(sa.select(k.hash).where(k.writer == writer, k.n == n)).scalar() if n else bytes(32)
        if there is None or bytes(there) != link:
            return f"commit {n} of writer {writer} is another one there"
        return None


def _check(record: bytes) -> bytes:
    return hashlib.blake2b(record, digest_size=_CHECK_BYTES).digest()
