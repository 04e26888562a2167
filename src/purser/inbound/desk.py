"""The desk: what every door shares: the database, the write queue, the clock, the rules and the worker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeVar

from purser.core.key_checks import KeyChecks
from purser.core.policy import Policy
from purser.flows.queue import WriteQueue
from purser.inbound.spool import Exports
from purser.inbound.worker import Worker
from purser.inbound.world import Clock
from purser.store.db import Connection, Database
from purser.store.writers import Tx

T = TypeVar("T")


class IdentityProvider(Protocol):
    """Where people may sign in elsewhere; `wall` is wall-clock time."""

    def begin(self, redirect_uri: str, state: str, nonce: str, verifier: str, wall: int) -> str:
        """Where to send a browser; raises Unavailable."""

    def finish(self, code: str, redirect_uri: str, nonce: str, verifier: str, wall: int) -> str:
        """The verified address of whoever signed in there; raises Forbidden, Unavailable."""


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
    `ended` answers how many requests ended which way since this process started.
    `key_checks` counts wrong keys, those that the gateway meets too; use it on the event loop.
    `public_url` is where people reach this, without a last slash; `trusted_proxies` whose X-Forwarded-For is believed.
    """

    db: Database
    queue: WriteQueue
    clock: Clock
    policy: Policy
    worker: Worker
    held: Callable[[str], Mapping[str, int]] = _nothing
    count_request: Callable[[str], Awaitable[tuple[int, int, int]]] = _let_through
    recent_requests: Callable[[str], int] = _none
    ended: Callable[[], Mapping[str, int]] = dict
    public_url: str = "http://127.0.0.1:8080"
    trusted_proxies: tuple[str, ...] = ()
    identity: IdentityProvider | None = None
    exports: Exports = field(default_factory=Exports)
    key_checks: KeyChecks = field(default_factory=lambda: KeyChecks(Policy().wrong_keys_per_minute))

    def wall(self) -> int:
        """Wall-clock time, microseconds UTC: sessions and links go by it."""
        return self.queue.writer.world.wall()

    def read(self) -> AbstractContextManager[Connection]:
        """A consistent snapshot."""
        return self.db.read()

    def write(self, work: Callable[[Tx], T]) -> T:
        """One transaction, waited for; call it from a thread, not from the event loop."""
        return self.queue.run(work)
