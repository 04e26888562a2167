"""Request rates: a sliding window of requests per minute (Q1)."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 60


@dataclass(slots=True)
class SlidingWindow:
    """The instants (any monotonic clock, microseconds) of the requests let through in the last minute."""

    seen: deque[int] = field(default_factory=deque)

    def admit(self, now: int, most: int) -> int:
        """Count a request at `now` if fewer than `most` came in the last minute.

        Answers 0 where it is let through, else the whole seconds until the next one would be.
        """
        window = WINDOW_SECONDS * 1_000_000
        seen = self.seen
        while seen and seen[0] <= now - window:
            seen.popleft()
        if len(seen) < most:
            seen.append(now)
            return 0
        if not most:
            return WINDOW_SECONDS
        wait = seen[len(seen) - most] + window - now
        return max(1, -(-wait // 1_000_000))

    def remaining(self, now: int, most: int) -> int:
        """How many more requests would be let through at `now`."""
        window = WINDOW_SECONDS * 1_000_000
        while self.seen and self.seen[0] <= now - window:
            self.seen.popleft()
        return max(0, most - len(self.seen))
