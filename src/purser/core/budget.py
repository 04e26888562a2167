"""Budgets: what one key may spend at most in each day, week or month, or altogether (L6)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from purser.core.errors import Invalid
from purser.core.period import DAY, NEVER, moment, month_end, month_start, parse_instant

DAILY, WEEKLY, MONTHLY, TOTAL = PERIODS = ("DAILY", "WEEKLY", "MONTHLY", "TOTAL")
_MONDAY = 3  # days from a Monday to the epoch


@dataclass(frozen=True, slots=True)
class Budget:
    """What may be spent at most in each period, nano-dollars; periods are UTC, and weeks begin on Monday."""

    nanos: int
    period: str

    def window(self, at: int) -> str:
        """The period that an instant falls in, as "DAILY/2026-03-01"; a week by its Monday."""
        return _window(self.period, at // DAY)


@dataclass(frozen=True, slots=True)
class Bound:
    """A budget and whose it is: a key's, or a user's by its own limit or that of a group (the kind of its row)."""

    kind: str
    subject: str
    budget: Budget

    def window(self, at: int) -> str:
        """The window of its headroom row, as "key_01J2/DAILY/2026-03-01"."""
        return f"{self.subject}/{self.budget.window(at)}"


def span(window: str) -> tuple[int, int]:
    """The first instant of a window and the first after it; NEVER where it does not end."""
    period, _, date = window.partition("/")
    if period == TOTAL:
        return 0, NEVER
    if period == MONTHLY:
        return month_start(date), month_end(date)
    start = parse_instant(f"{date}T00:00:00Z")
    return start, start + (7 if period == WEEKLY else 1) * DAY


def check_period(period: object, field: str = "budget.period") -> str:
    """The period; raises Invalid naming `field`."""
    if period not in PERIODS:
        raise Invalid(f"{field} must be one of {', '.join(PERIODS)}, not {period!r:.40}", field=field)
    return str(period)


@lru_cache(maxsize=64)
def _window(period: str, day: int) -> str:
    if period == TOTAL:
        return TOTAL
    if period == WEEKLY:
        day -= (day + _MONDAY) % 7
    date = moment(day * DAY)
    return f"{period}/{date:%Y-%m}" if period == MONTHLY else f"{period}/{date:%Y-%m-%d}"
