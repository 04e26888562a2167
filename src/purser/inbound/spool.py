"""Spools: exports are written to a file as fast as they are made, and read from it as fast as their client takes them.

So the database's connection is back before a slow client has read, however slow it is; and only so many are there at
once, so that exports never take what everybody else needs.
"""

from __future__ import annotations

import os
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from purser.core.errors import TooMany, Unavailable

MOST_MADE = 3  # of one process, that are being made: each has a connection of the database
MOST_OPEN = 24  # of one process, being made or on their way to a client: each has a file
MOST_OF_ONE = 2  # of those, of one account
RETRY_SECONDS = 10
_PIECE = 64 * 1024  # bytes at a time


class TooManyOfOne(TooMany):
    """An account asks for more exports at once than it may."""

    retry_after = RETRY_SECONDS


class Busy(Unavailable):
    """This process has as many exports on its hands as it takes."""

    retry_after = RETRY_SECONDS


class Exports:
    """The exports of one process that are under way; "" stands for those of no one account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: Counter[str] = Counter()
        self._made = 0

    @contextmanager
    def place(self, account: str) -> Iterator[None]:
        """Until its client has the whole of it; raises TooManyOfOne, Busy."""
        with self._lock:
            if self._open[account] >= MOST_OF_ONE:
                whose = f"of account {account}" if account else "of all accounts"
                raise TooManyOfOne(f"{MOST_OF_ONE} exports {whose} are under way; ask again when one has ended")
            if self._open.total() >= MOST_OPEN:
                raise Busy(f"{MOST_OPEN} exports are under way here; try again in a while")
            self._open[account] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open -= Counter({account: 1})

    @contextmanager
    def making(self) -> Iterator[None]:
        """While it is made; raises Busy."""
        with self._lock:
            if self._made >= MOST_MADE:
                raise Busy(f"{MOST_MADE} exports are being made here; try again in a while")
            self._made += 1
        try:
            yield
        finally:
            with self._lock:
                self._made -= 1


class Spool:
    """One export in a temporary file, gone when it is closed: written at one end while it is read at the other.

    Each end is used by one thread at a time.
    """

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._file = tempfile.TemporaryFile(buffering=0)  # noqa: SIM115 - closed by `close`
        self._written = self._read = 0

    def make_some(self) -> bool:
        """Make some more of it; answers whether more may come. Raises Unavailable where there is no room."""
        least = self._written + _PIECE
        for piece in self._pieces:
            self._write(piece)
            if self._written >= least:
                return True
        return False

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        try:
            while left:
                done = os.pwrite(self._file.fileno(), left, self._written)
                self._written += done
                left = left[done:]
        except OSError as error:
            raise Unavailable(f"an export could not be kept for its client: {error.strerror}") from error

    def take(self) -> bytes:
        """What is there and was not taken yet, or the beginning of it; empty where that is nothing."""
        data = os.pread(self._file.fileno(), _PIECE, self._read)
        self._read += len(data)
        return data

    def close(self) -> None:
        """Be gone."""
        self._file.close()
