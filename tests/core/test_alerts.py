"""Alerts: which amounts are told, each once, and when a forecast says something (L7, S42, S43)."""

from __future__ import annotations

import pytest

from purser.core.alerts import FORECAST, MOST_A_MONTH, SPEND, Alert, Spend, Wish, list_due, reached_at, share_of
from purser.core.message import WAITS, next_attempt_at
from purser.core.money import NANOS_PER_USD as USD
from purser.core.period import DAY, MINUTE, SECOND, parse_instant

START = parse_instant("2026-03-01T00:00:00Z")


def spend(used: int, limit: int | None = 1_000, days: int = 1, opened: int = START) -> Spend:
    return Spend("2026-03", used * USD, None if limit is None else limit * USD, opened, START + days * DAY)


def amounts(due: list[Alert]) -> list[int]:
    return [alert.amount_nanos // USD for alert in due]


@pytest.mark.parametrize(("limit", "share"), [(200, 160), (1_000, 800), (1, None), (0, None), (None, None)])
def test_the_default_is_eighty_percent(limit: int | None, share: int | None) -> None:
    nanos = None if limit is None else limit * USD
    assert share_of(nanos) == (800_000_000 if limit == 1 else None if share is None else share * USD)


@pytest.mark.parametrize(
    ("used", "due"), [(0, []), (499, []), (500, [500]), (799, [500]), (800, [500, 800]), (2_000, [500, 800])]
)
def test_what_is_reached_is_told_and_what_coincides_once(used: int, due: list[int]) -> None:
    assert amounts(list_due(spend(used), Wish((500 * USD, 800 * USD)), ())) == due


def test_what_was_told_is_not_told_again() -> None:
    told = [Alert(SPEND, 500 * USD), Alert(SPEND, 800 * USD, 1_000 * USD)]
    assert list_due(spend(900), Wish((500 * USD, 800 * USD)), told) == []
    assert amounts(list_due(spend(900), Wish((500 * USD, 850 * USD)), told)) == [850]


def test_a_higher_limit_is_told_anew_and_a_lower_one_is_not() -> None:
    told = [Alert(SPEND, 160 * USD, 200 * USD)]
    assert list_due(spend(170, 400), Wish(), told) == []
    assert amounts(list_due(spend(320, 400), Wish(), told)) == [320]
    assert list_due(spend(170, 190), Wish(), told) == []


def test_a_threshold_that_was_told_is_no_share_of_the_limit() -> None:
    """Only what was told of the limit counts as the limit's."""
    assert amounts(list_due(spend(900), Wish((900 * USD,)), [Alert(SPEND, 900 * USD)])) == [800]


def test_without_a_limit_only_thresholds_are_told() -> None:
    assert amounts(list_due(spend(900, None), Wish((500 * USD,), forecast=True), ())) == [500]
    assert list_due(spend(900, 0), Wish(), ()) == []


def test_a_forecast_is_told_once_and_only_where_it_was_asked_for_and_the_limit_falls_within_the_month() -> None:
    asked = Wish(forecast=True)
    forecast = Alert(FORECAST, 1_000 * USD, 1_000 * USD)
    assert list_due(spend(350, days=10), asked, ()) == [forecast]  # $35 a day: on the 29th day
    assert list_due(spend(320, days=10), asked, ()) == []  # in the 32nd
    assert list_due(spend(350, days=10), Wish(), ()) == []
    assert list_due(spend(350, days=10), asked, [forecast]) == []
    assert amounts(list_due(spend(800, days=10), asked, ())) == [800]  # the limit's share says more
    assert list_due(spend(100, days=1), asked, ()) == []  # too soon to say


def test_the_pace_is_that_since_the_month_began_or_the_account_was_opened() -> None:
    assert reached_at(spend(500, days=10)) == START + 20 * DAY
    assert reached_at(spend(500, days=10, opened=START + 6 * DAY)) == START + 14 * DAY
    assert reached_at(spend(500, days=10, opened=START - DAY)) == START + 20 * DAY
    assert reached_at(spend(500, days=2)) == START + 4 * DAY
    for unknown in (spend(500, days=1), spend(0, days=9), spend(1_000, days=9), spend(5, None, 9), spend(500, days=31)):
        assert reached_at(unknown) is None


def test_attempts_come_later_and_later_until_the_last() -> None:
    waits = [next_attempt_at(n, 0) for n in range(1, len(WAITS) + 1)]
    assert waits[:3] == [5 * SECOND, 30 * SECOND, 2 * MINUTE]
    assert waits == sorted(waits, key=lambda wait: wait or 0)
    assert next_attempt_at(len(WAITS) + 1, 0) is None


def test_a_limit_that_is_not_reached_this_month_has_no_date() -> None:
    """However far away: at ten cents of $50,000 it would be after the last year that there is."""
    far = Spend("2026-03", USD // 10, 50_000 * USD, START, START + 20 * DAY)
    assert reached_at(far) is None
    assert reached_at(spend(40_000, 50_000, days=20)) == START + 25 * DAY


def test_a_month_has_at_most_so_many_alerts_however_often_wishes_and_limits_change() -> None:
    told: list[Alert] = []
    for n in range(10):
        wish = Wish(tuple((100 * n + each + 1) * USD for each in range(20)))
        told += list_due(spend(5_000, 1_000 + n), wish, told)
    assert len(told) == MOST_A_MONTH == 40
    assert len(set(told)) == 40
    assert list_due(spend(5_000, 6_000), Wish((4_000 * USD,)), told) == []
