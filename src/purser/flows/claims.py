"""Claims: a request that its client gave an id to is served once, by one process at a time (correctness §2)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from purser.store import claims, usage
from purser.store.writers import Tx

SOURCE = "gateway"  # of the usage events that requests become


@dataclass(frozen=True, slots=True)
class Claimed:
    """Whether a request may run here, or what it cost where it was served before; neither where another runs it."""

    mine: bool
    cost_nanos: int | None = None


def claim(tx: Tx, account: str, id_: str) -> Claimed:
    """Claim a request's id for this writer, before its upstream is called; this process must not be running it.

    A claim ends with `free`, or with its writer: what a process ran when it died may run again.
    """
    fresh = claims.insert_claim(tx.conn, account, id_, tx.writer)
    known = usage.get_known(tx.conn, account, SOURCE, id_)  # only now: whoever had the claim has settled by then
    if known is None:
        return Claimed(fresh or claims.move_claim(tx.conn, account, id_, tx.writer))
    if fresh:
        claims.delete_claims(tx.conn, [(account, id_)], tx.writer)
    return Claimed(False, known[1])


def free(tx: Tx, ids: Iterable[tuple[str, str]]) -> None:
    """These requests have ended, settled or void: the ids of void ones may be used again."""
    claims.delete_claims(tx.conn, sorted(ids), tx.writer)


def free_closed(tx: Tx) -> None:
    """Tidy away the claims of writers that are closed."""
    claims.delete_closed(tx.conn)
