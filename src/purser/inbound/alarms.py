"""Alarms: which accounts' spend has come to something that is to be told, looked for wherever there was usage (L7)."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from purser.flows import alerts
from purser.store.db import Database
from purser.store.writers import Tx


class Alarms:
    """What the worker remembers of its last look; a new one looks at every account, so that nothing is missed."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}
        self._missed: set[str] = set()  # accounts with which it went wrong

    def look(
        self, db: Database, now: int, write: Callable[[Callable[[Tx], object]], object], attempt: Callable[..., bool]
    ) -> None:
        """Tell what is to be told; what fails is tried again at the next look."""
        with db.read() as conn:
            due, seen = alerts.list_to_look(conn, now, self._seen)
        accounts = sorted({*due, *self._missed})
        told = {
            each: attempt(f"alerts of {each}", partial(write, partial(alerts.look, account=each))) for each in accounts
        }
        self._missed = {each for each, done in told.items() if not done}
        self._seen = seen
