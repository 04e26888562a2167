"""Closing writers: those whose process is gone at once, those that fell silent after a while (correctness §2)."""

from __future__ import annotations

import logging

from purser.core.money import format_usd
from purser.core.period import MINUTE
from purser.store import accounts, headroom, spent
from purser.store.writers import Tx, close_writer

log = logging.getLogger("purser.writer")


_KEPT_CHANGES = 100_000


def tidy(tx: Tx) -> None:
    """Delete what told writers of changes long ago; one that has not heard of them asks everything anew.

    Nor is anybody asked any more for spare that was wanted a minute ago: whoever still wants it asks again.
    What was spent is summed as far as it is settled by now.
    """
    accounts.prune_changes(tx.conn, _KEPT_CHANGES)
    headroom.stop_wanting(tx.conn, tx.now - MINUTE)
    spent.follow(tx.conn)


class Watch:
    """How long each writer has come no further, by the monotonic time of whoever looks; plain memory."""

    def __init__(self) -> None:
        self._since: dict[int, tuple[int, float]] = {}

    def look(self, steps: dict[int, int], now: float, most_seconds: float) -> list[tuple[int, int]]:
        """The writers that have come no further for so long, each with its step, by looks that were never far apart.

        `steps` is how far each open writer has come. A look that fails must be told with `start_over`.
        """
        seen = {}
        for writer, step in steps.items():
            known = self._since.get(writer)
            seen[writer] = known if known is not None and known[0] == step else (step, now)
        self._since = seen
        return [(writer, step) for writer, (step, since) in seen.items() if now - since >= most_seconds]

    def start_over(self) -> None:
        """Nothing could be seen for a while, so nobody has been seen to stand still."""
        self._since = {}


def close_gone(tx: Tx, writer: int) -> int | None:
    """Close a writer whose process is gone; answers the unbilled nano-dollars at most, None where it was closed."""
    return _alarm(writer, "its process is gone", close_writer(tx, writer))


def close_silent(tx: Tx, writer: int, step: int) -> int | None:
    """Close a writer that has come no further than `step`, as `close_gone` does.

    Should it live, it finds itself closed: nothing that it does afterwards can be billed.
    """
    return _alarm(writer, "it fell silent", close_writer(tx, writer, step))


def close_restored(tx: Tx, writer: int) -> int | None:
    """Close a writer that was open in a database that is taken up from an older state, as `close_gone` does."""
    return _alarm(writer, "the database is taken up as it was", close_writer(tx, writer))


def _alarm(writer: int, why: str, unbilled: int | None) -> int | None:
    if unbilled:
        log.error("writer %d was closed: %s; $%s of work at most is unbilled", writer, why, format_usd(unbilled))
    elif unbilled is not None:
        log.warning("writer %d was closed: %s", writer, why)
    return unbilled
