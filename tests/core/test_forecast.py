"""The pace of spending and what it comes to."""

from __future__ import annotations

import pytest

from purser.core.forecast import Pace, pace_since
from purser.core.period import DAY


@pytest.mark.parametrize(
    ("opened", "now", "since"),
    [
        (0, 30 * DAY, 23 * DAY),
        (27 * DAY, 30 * DAY, 27 * DAY),
        (30 * DAY - 1, 30 * DAY, 29 * DAY),
        (23 * DAY, 30 * DAY, 23 * DAY),
    ],
)
def test_the_pace_is_that_of_a_week_or_of_the_accounts_life_but_a_day_at_least(
    opened: int, now: int, since: int
) -> None:
    assert pace_since(opened, now) == since


def test_what_a_pace_comes_to() -> None:
    pace = Pace(7_000_000_000, 7 * DAY)
    assert pace.daily_nanos == 1_000_000_000
    assert pace.spends(3 * DAY) == 3_000_000_000
    assert pace.lasts(14_000_000_000) == 14 * DAY


def test_nothing_spent_lasts_for_ever() -> None:
    assert Pace(0, DAY).lasts(5) is None
    assert Pace(1, DAY).lasts(0) == 0


def test_figures_are_rounded_down() -> None:
    assert Pace(10, 3 * DAY).daily_nanos == 3
    assert Pace(3, 10).lasts(1) == 3
