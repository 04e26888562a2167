"""The disk: a real SQLite database in memory-backed files, whose commits can be made to fail as disks and hosts do."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from purser.simulator.cast import open_books
from purser.store.db import Database
from purser.store.transaction import forget_moments
from purser.store.upgrade import upgrade

_FAST = Path("/dev/shm")
BEFORE, AFTER, LOST, UNSURE = "before", "after", "lost", "unsure"


class Crashed(BaseException):
    """The process is gone at this very place; nothing of it may catch this."""


class Disk:
    """A database for one run after another; every run begins with the same books.

    `on_commit` is asked at every commit, with how many rows it changes, what becomes of it: None (it goes well),
    BEFORE or AFTER (the process dies before or after it), LOST or UNSURE (the process hears of an error, and nothing
    or all of it was committed).
    """

    def __init__(self, folder: Path) -> None:
        self._template, self._path = folder / "opened.db", folder / "purser.db"
        first = Database(f"sqlite:///{self._template}")
        upgrade(first)
        forget_moments()
        self.keys = open_books(first)
        with first.read() as conn:
            conn.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        first.dispose()
        self.db = Database(f"sqlite:///{self._path}")
        self.on_commit: Callable[[int], str | None] = lambda changes: None
        self.after_commit: Callable[[int], None] = lambda changes: None
        self._changes: dict[int, int] = {}  # by connection, up to its last commit or rollback
        self._hook()

    def _hook(self) -> None:
        dialect: Any = self.db.engine.dialect
        commit, roll_back, close = dialect.do_commit, dialect.do_rollback, dialect.do_close

        def do_commit(connection: Any) -> None:
            changes = self._count(connection)
            fate = self.on_commit(changes)
            if fate == BEFORE:
                raise Crashed
            if fate == LOST:
                raise dialect.loaded_dbapi.OperationalError("simulated: the commit failed")
            commit(connection)
            self.after_commit(changes)
            if fate == AFTER:
                raise Crashed
            if fate == UNSURE:
                raise dialect.loaded_dbapi.OperationalError("simulated: the reply to the commit was lost")

        def do_rollback(connection: Any) -> None:
            roll_back(connection)
            self._count(connection)

        def do_close(connection: Any) -> None:
            self._changes.pop(id(connection), None)
            close(connection)

        dialect.do_commit, dialect.do_rollback, dialect.do_close = do_commit, do_rollback, do_close

    def _count(self, connection: Any) -> int:
        """How many rows a connection has changed since its last commit or rollback."""
        driver = getattr(connection, "driver_connection", connection)
        total: int = driver.total_changes
        changes = total - self._changes.get(id(driver), 0)
        self._changes[id(driver)] = total
        return changes

    def begin(self) -> None:
        """Begin anew, with the books as they were opened."""
        self.db.dispose()
        for suffix in ("", "-wal", "-shm", ".queue", ".alive", ".worker"):
            Path(f"{self._path}{suffix}").unlink(missing_ok=True)
        shutil.copyfile(self._template, self._path)

    def close(self) -> None:
        """Close every connection."""
        self.db.dispose()


@contextmanager
def open_disk() -> Iterator[Disk]:
    """A disk in memory where the machine has such a file system, else in the folder for temporary files."""
    fast = str(_FAST) if os.access(_FAST, os.W_OK) else None
    with TemporaryDirectory(prefix="purser-simulate-", dir=fast) as folder:
        disk = Disk(Path(folder))
        try:
            yield disk
        finally:
            disk.close()
