"""Forecast: when something runs out at the pace of the last days, in whole-number arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core.period import DAY

PACE_SPAN = 7 * DAY


@dataclass(frozen=True, slots=True)
class Pace:
    """What was spent, nano-dollars, within a span of microseconds."""

    nanos: int
    span: int

    @property
    def daily_nanos(self) -> int:
        """Nano-dollars a day, rounded down."""
        return self.nanos * DAY // self.span

    def spends(self, span: int) -> int:
        """What is spent in that span at this pace, nano-dollars, rounded down."""
        return self.nanos * span // self.span

    def lasts(self, left_nanos: int) -> int | None:
        """How many microseconds what is left lasts; None where nothing is spent."""
        return left_nanos * self.span // self.nanos if self.nanos > 0 else None


def pace_since(opened_at: int, now: int) -> int:
    """Since when spending tells the pace: for a week, or as long as the account is there, but a day at least."""
    return min(max(now - PACE_SPAN, opened_at), now - DAY)
