"""A contestant: what the benchmark does with any gateway, and what it reads in its books from outside."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

_LONGEST_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Key:
    """What a client sends to spend one budget: an API key, and the model that it may use."""

    secret: str
    model: str = "bench"


class Contestant(Protocol):
    """A gateway under test. Money is nano-dollars; a key stands for a budget of its own."""

    name: str
    how: str  # its version, and how it was set up
    grain: int  # what its own arithmetic may round away in one request
    quiet_seconds: float  # when its books have not moved for so long, they are complete

    @property
    def urls(self) -> Sequence[str]:
        """Where it listens."""
        ...

    def start(self) -> None:
        """Start it, on the books it has; raises RuntimeError where it does not start."""
        ...

    def stop(self) -> None:
        """End it."""
        ...

    def kill(self) -> None:
        """Kill all its processes with -9."""
        ...

    def open(self, budget: int) -> Key:
        """Make a budget; answers the key that spends it."""
        ...

    def billed(self, key: Key) -> int:
        """What its books say was spent of the budget."""
        ...

    def written_off(self, key: Key) -> int:
        """What its books themselves say was done and could not be billed; 0 where it has no such notion."""
        ...

    def kept_back(self, key: Key) -> int:
        """What its books still keep back of the budget for requests, once none runs any more."""
        ...


def billed_at_last(gateway: Contestant, key: Key) -> int:
    """What was spent once the books do not move any more."""
    found, since, end = gateway.billed(key), time.monotonic(), time.monotonic() + _LONGEST_SECONDS
    while time.monotonic() < min(end, since + gateway.quiet_seconds):
        time.sleep(0.1)
        now = gateway.billed(key)
        if now != found:
            found, since = now, time.monotonic()
    return found
