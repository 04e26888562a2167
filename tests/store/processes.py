"""Processes of their own on a database: what they do is a word of the command line, what is done for good they print.

upgrade: bring the tables up to date. scribble: commit again and again what every version's transactions begin with.
settle: use an account's credit, request by request, from a lease. lead: wait for the lead, and keep it.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from purser.store.db import Database
from purser.store.presence import Lead, presence
from purser.store.upgrade import upgrade
from tests.store.small_books import Books

ROOT = Path(__file__).resolve().parents[2]
_PAUSE_SECONDS = 0.01


class Process:
    """One of them, seen from outside."""

    def __init__(self, popen: subprocess.Popen[str]) -> None:
        self._popen = popen
        self.told: list[str] = []

    @property
    def pid(self) -> int:
        return self._popen.pid

    def tell(self) -> str:
        """The next line that it prints; raises where it has ended."""
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line, f"it ended with {self._popen.wait()}: {self.told}"
        self.told.append(line.strip())
        return self.told[-1]

    def kill(self) -> None:
        """Kill it; what it had printed by then is told."""
        self._popen.kill()
        self.finish()

    def finish(self) -> int:
        """Wait for its end and hear the rest; answers its exit code."""
        assert self._popen.stdout is not None
        self.told += [line.strip() for line in self._popen.stdout if line.endswith("\n")]
        return self._popen.wait()


@contextmanager
def process(word: str, url: str, *more: str) -> Iterator[Process]:
    """Start one; at the end it is gone."""
    command = [sys.executable, "-m", "tests.store.processes", word, url, *more]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as popen:
        try:
            yield Process(popen)
        finally:
            popen.kill()


def _tell(line: object) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _upgrade(url: str) -> None:
    db = Database(url)
    upgrade(db)
    db.dispose()


def _scribble(url: str) -> None:
    db = Database(url)
    turns = presence(db)
    count = 0
    while True:
        turns.take_turn()
        with db.engine.connect().execution_options(immediate=True) as conn, conn.begin():
            conn.exec_driver_sql("UPDATE writers SET seq = seq + 1 WHERE id = 1")
            conn.exec_driver_sql(f"INSERT INTO meta (name, value) VALUES ('scribble-{count}', '')")
        turns.end_turn()
        _tell(f"scribble-{count}")
        count += 1
        time.sleep(_PAUSE_SECONDS)


def _settle(url: str, account: str) -> None:
    books = Books(url, os.getpid())
    _tell(books.writer.id)
    count = 0
    while True:
        event = books.event(account, f"p{os.getpid()}-{count}", (1, 0, 1))
        books.settle(event)
        _tell(event.id)
        count += 1
        time.sleep(_PAUSE_SECONDS)


def _lead(url: str) -> None:
    lead = Lead(Database(url))
    while True:
        if lead.take():
            _tell("leads")
        time.sleep(_PAUSE_SECONDS)


if __name__ == "__main__":
    words: dict[str, Callable[..., None]] = {"upgrade": _upgrade, "scribble": _scribble, "settle": _settle}
    (words | {"lead": _lead})[sys.argv[1]](*sys.argv[2:])
