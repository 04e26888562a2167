"""The desk: what every door shares: the database, the write queue, the clock, the rules and the worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TypeVar

from purser.core.policy import Policy
from purser.flows.queue import WriteQueue
from purser.inbound.worker import Worker
from purser.inbound.world import Clock
from purser.store.db import Connection, Database
from purser.store.writers import Tx

T = TypeVar("T")


def _none(_account: str) -> int:
    return 0


async def _let_through(_account: str) -> tuple[int, int, int]:
    return 0, 0, 0


def _nothing(_account: str) -> Mapping[str, int]:
    return {}


@dataclass(frozen=True, slots=True)
class Desk:
    """One process's way to the books.

    `held` answers what an account's running requests hold, nano-dollars by month. `count_request` counts a request of
    an account toward its requests per minute (Q1) and answers the seconds to wait, 0 where it is let through, the rate
    and what is left of it; call it from the event loop. `recent_requests` answers how many of an account's requests of
    the last minute this process counted by its share of the rate; those that the store counts come to these.
    """

    db: Database
    queue: WriteQueue
    clock: Clock
    policy: Policy
    worker: Worker
    held: Callable[[str], Mapping[str, int]] = _nothing
    count_request: Callable[[str], Awaitable[tuple[int, int, int]]] = _let_through
    recent_requests: Callable[[str], int] = _none

    def read(self) -> AbstractContextManager[Connection]:
        """A consistent snapshot."""
        return self.db.read()

    def write(self, work: Callable[[Tx], T]) -> T:
        """One transaction, waited for; call it from a thread, not from the event loop."""
        return self.queue.run(work)
