"""Transactions that halt before a statement of theirs, so that others run meanwhile: every interleaving of two of them.

On PostgreSQL one that needs a lock of the halted one waits for it; on SQLite, where one writes at a time, the whole of
the other one waits.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from purser.store.db import Database
from purser.store.writers import Tx, Writer
from tests.statements import told

_of_thread = threading.local()


@contextmanager
def heeded(db: Database) -> Iterator[None]:
    """Meanwhile whoever is to halt does, before statements on this database."""
    with told(db.engine, _note):
        yield


def _somebody_waits(db: Database) -> bool:
    """Whether a session waits for a lock of another; on SQLite only one at a time gets as far as a statement."""
    if db.is_sqlite:
        return True
    waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with db.read() as conn:
        return conn.execute(sa.text(waiting)).first() is not None


def _note(*_: Any) -> None:
    halting = getattr(_of_thread, "halting", None)
    if halting is not None:
        halting.note()


class Halting:
    """Runs a transaction in a thread of its own, which halts before its n-th statement until it may go on."""

    def __init__(self, writer: Writer, work: Callable[[Tx], object], n: int | None = None) -> None:
        self.reached = False
        self._result: object = None
        self._db = writer.db
        self._left, self._halted, self._on = n, threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(writer, work))
        self._thread.start()

    def _run(self, writer: Writer, work: Callable[[Tx], object]) -> None:
        _of_thread.halting = self
        try:
            self._result = writer.run(work)
        except Exception as error:
            self._result = error
        finally:
            self._halted.set()

    def note(self) -> None:
        """A statement is about to run."""
        if self._left is None:
            return
        if self._left:
            self._left -= 1
            return
        self._left, self.reached = None, True
        self._halted.set()
        self._on.wait(60)

    def wait(self) -> None:
        """Until it halts or is done."""
        self._halted.wait(60)

    def wait_or_be_kept_waiting(self) -> None:
        """Until it is done, or waits for the one that halts."""
        while not self._halted.wait(0.01) and not _somebody_waits(self._db):
            pass

    def finish(self) -> object:
        """Let it go on to its end; answers what it came to."""
        self._on.set()
        self._thread.join(60)
        assert not self._thread.is_alive()
        return self._result
