"""Tidying: what the worker does of itself, part by part: old rows deleted, late messages given up, sums brought up."""

from __future__ import annotations

from collections.abc import Callable

from purser.flows import outbox
from purser.flows.closing import tidy
from purser.store import spent
from purser.store.db import Database
from purser.store.writers import Tx

_EVERY_SECONDS = 60
_MOST_PARTS = 100  # of the outbox at once, 100 messages each
_MOST_SUMMED = 50  # parts of the usage at once, 2,000 events each
Write = Callable[[Callable[[Tx], object]], object]


class Tidying:
    """When it was done last; `pause` is called after each part, for nobody is to wait for the end of it."""

    def __init__(self, db: Database, write: Write, monotonic: Callable[[], float], pause: Callable[[], None]) -> None:
        self._db, self._write, self._monotonic, self._pause = db, write, monotonic, pause
        self._done_at = monotonic()

    def sum_spent(self) -> None:
        """Bring the sums of what was spent up to where there has been much usage; the rest comes with the tidying."""
        with self._db.read() as conn:
            behind = spent.is_behind(conn)
        for _ in range(_MOST_SUMMED if behind else 0):
            if not self._write(lambda tx: spent.follow(tx.conn)):
                return
            self._pause()

    def run(self, attempt: Callable[..., bool]) -> None:
        """Tidy, once a minute."""
        if self._monotonic() - self._done_at >= _EVERY_SECONDS:
            self._done_at = self._monotonic()
            attempt("tidying", lambda: self._write(tidy))
            attempt("tidying messages", self._tidy_messages)

    def _tidy_messages(self) -> None:
        for _ in range(_MOST_PARTS):
            if not self._write(outbox.tidy):
                return
            self._pause()
