"""The instants of what one process lets through of its share of a rate: what stories play gateways with."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from purser.core.ratelimit import WINDOW, WINDOW_SECONDS, whole_seconds


@dataclass(slots=True)
class SlidingWindow:
    """The instants (any monotonic clock, microseconds) of the requests let through in the last minute."""

    seen: deque[int] = field(default_factory=deque)

    def admit(self, now: int, most: int) -> int:
        """Count a request at `now` if fewer than `most` came in the last minute.

        Answers 0 where it is let through, else the whole seconds until the next one would be.
        """
        self.forget_old(now)
        seen = self.seen
        if len(seen) < most:
            seen.append(now)
            return 0
        if not most:
            return WINDOW_SECONDS
        return whole_seconds(seen[len(seen) - most] + WINDOW - now)

    def remaining(self, now: int, most: int) -> int:
        """How many more requests would be let through at `now`."""
        self.forget_old(now)
        return max(0, most - len(self.seen))

    def forget_old(self, now: int) -> None:
        """What is a minute old counts no more."""
        seen, old = self.seen, now - WINDOW
        while seen and seen[0] <= old:
            seen.popleft()
