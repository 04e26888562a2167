"""One transaction under way, as flows get it: its connection, its instant, its writer, what it covers and touches."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from purser.core.ids import make_id
from purser.core.policy import Policy
from purser.store.db import Connection

_CHANCE_BITS = 26  # of an id's 80 bits below its instant; those above are the moment when it was made
_encode = msgspec.json.Encoder().encode


class World(Protocol):
    """Time and chance, passed in so that tests and the simulator own them."""

    def now(self) -> int:
        """Billing time, microseconds UTC; a manual clock drives it."""

    def wall(self) -> int:
        """Wall-clock time, microseconds UTC, for people to read."""

    def entropy(self, bits: int) -> int:
        """That many random bits."""


class _Moments:
    """Moments of wall-clock time, microseconds, each later than the one before, whatever the clock does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def next(self, wall: int) -> int:
        """This moment, or the next that is free."""
        with self._lock:
            self._last = max(wall, self._last + 1)
            return self._last

    def forget(self) -> None:
        """Begin anew."""
        with self._lock:
            self._last = 0


_moments = _Moments()


def forget_moments() -> None:
    """Begin as a new process does; for whoever plays several, at other times, in one."""
    _moments.forget()


@dataclass(slots=True)
class Tx:
    """One transaction under way: its connection, its billing instant and the rules in force."""

    conn: Connection
    now: int
    policy: Policy
    world: World
    writer: int
    seq: int
    monotonic: int = 0  # microseconds of its process's monotonic clock when it began
    facts: list[bytes] = field(default_factory=list)
    touched: set[str] = field(default_factory=set)

    @property
    def owner(self) -> str:
        """This writer's name as an owner of leases."""
        return owner_name(self.writer)

    def new_id(self, kind: str) -> str:
        """A fresh id of a kind; of those of one instant (a manual clock may stand still) the newest sorts last."""
        moment = _moments.next(self.world.wall())
        return make_id(kind, self.now, (moment << _CHANCE_BITS) + self.world.entropy(_CHANCE_BITS))

    def cover(self, *fact: object) -> None:
        """Put a row's values under the hash chain."""
        self.facts.append(_encode(fact))

    def cover_all(self, facts: Iterable[tuple[object, ...]]) -> None:
        """As `cover` for each fact."""
        self.facts += map(_encode, facts)

    def touch(self, account: str) -> None:
        """Say that an account changed in a way that gateways must hear of within a second."""
        self.touched.add(account)


def owner_name(writer: int) -> str:
    """A writer's name as an owner of leases."""
    return f"writer:{writer}"


def chain(before: bytes, seq: int, facts: list[bytes]) -> bytes:
    """The next link of a writer's hash chain over the facts of one commit, in any order."""
    sized = [len(fact).to_bytes(4, "big") + fact for fact in sorted(facts)]
    return hashlib.blake2b(before + seq.to_bytes(8, "big") + b"".join(sized), digest_size=32).digest()
