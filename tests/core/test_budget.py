"""Budgets count by day, week from Monday, month or altogether, in UTC."""

from __future__ import annotations

import pytest

from purser.core.budget import DAILY, PERIODS, Bound, Budget, check_period, span
from purser.core.errors import Invalid
from purser.core.period import DAY, NEVER, format_instant, parse_instant


@pytest.mark.parametrize(
    "period, at, window, start, end",
    [
        ("DAILY", "2026-03-01T00:00:00Z", "DAILY/2026-03-01", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
        ("DAILY", "2026-03-01T23:59:59Z", "DAILY/2026-03-01", "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z"),
        ("WEEKLY", "2026-03-01T23:59:59Z", "WEEKLY/2026-02-23", "2026-02-23T00:00:00Z", "2026-03-02T00:00:00Z"),
        ("WEEKLY", "2026-03-02T00:00:00Z", "WEEKLY/2026-03-02", "2026-03-02T00:00:00Z", "2026-03-09T00:00:00Z"),
        ("MONTHLY", "2026-12-31T23:59:59Z", "MONTHLY/2026-12", "2026-12-01T00:00:00Z", "2027-01-01T00:00:00Z"),
    ],
)
def test_the_period_that_an_instant_falls_in(period: str, at: str, window: str, start: str, end: str) -> None:
    found = Budget(1, period).window(parse_instant(at))
    assert found == window
    assert tuple(map(format_instant, span(found))) == (start, end)


def test_whose_budget_it_is_stands_before_its_period() -> None:
    bound = Bound("key", "key_01J2", Budget(7, DAILY))
    assert bound.window(parse_instant("2026-03-01T23:59:59Z")) == "key_01J2/DAILY/2026-03-01"


def test_a_budget_altogether_never_begins_again() -> None:
    assert Budget(1, "TOTAL").window(parse_instant("2026-03-01T00:00:00Z")) == "TOTAL"
    assert span("TOTAL") == (0, NEVER)


@pytest.mark.parametrize("period", PERIODS)
def test_every_instant_lies_in_its_own_period_and_periods_follow_each_other(period: str) -> None:
    budget, at = Budget(1, period), parse_instant("2026-01-01T12:00:00Z")
    for day in range(800):
        start, end = span(budget.window(at + day * DAY))
        assert start <= at + day * DAY < end
        if end != NEVER:
            assert span(budget.window(end))[0] == end
            assert budget.window(end - 1) == budget.window(start)


def test_a_period_that_there_is_not_is_refused() -> None:
    assert check_period("DAILY") == "DAILY"
    with pytest.raises(Invalid, match="must be one of DAILY, WEEKLY, MONTHLY, TOTAL, not 'daily'"):
        check_period("daily")
