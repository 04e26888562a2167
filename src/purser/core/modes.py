"""Billing modes over time: how an account paid in a month, and so how that month is billed (A2, A5, A8, A9)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from purser.core.errors import Invalid
from purser.core.limits import MODES, PREPAID
from purser.core.period import month_of


@dataclass(frozen=True, slots=True)
class ModeChange:
    """From `at` on an account pays in `mode`, before in `was`.

    `was` was in force up to and within `until_month`, `mode` from within `from_month` on: the same month, unless the
    change came with the turn of one.
    """

    at: int
    until_month: str
    from_month: str
    was: str
    mode: str


def change_at(at: int, was: str, mode: str, before: ModeChange | None = None) -> ModeChange:
    """The change at an instant, `before` being the one before it.

    At 2026-04-01 00:00 `until_month` is 2026-03 and `from_month` 2026-04; a second change at that instant is all of
    2026-04.
    """
    until = month_of(at - 1) if before is None else max(month_of(at - 1), before.from_month)
    return ModeChange(at, until, month_of(at), was, mode)


def billed_mode(changes: Sequence[ModeChange], mode: str, month: str) -> str:
    """In which mode a month is billed, of an account that made these changes, oldest first, and now pays in `mode`.

    The last mode of the month that is invoiced, so that what was used before the change has its invoice; prepaid
    only where the month was prepaid throughout.
    """
    modes = []
    for change in changes:
        modes += [change.was] if change.until_month == month else []
        modes += [change.mode] if change.from_month == month else []
    if not modes:
        modes = [next((change.was for change in changes if change.until_month > month), mode)]
    return next((each for each in reversed(modes) if each != PREPAID), PREPAID)


def check_mode(mode: object) -> str:
    """A billing mode by its name; raises Invalid."""
    if mode not in MODES:
        raise Invalid(f"billingMode must be one of {', '.join(MODES)}, not {mode!r:.40}", field="billingMode")
    return str(mode)
