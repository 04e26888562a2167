"""Token limits that move with use (Q2, S88–S91)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.adaptive import (
    ALL_MODELS,
    GENERATED,
    LARGE,
    MEDIUM,
    MOST_TOKENS,
    PROMPT,
    SMALL,
    UNCACHED,
    Custom,
    Limit,
    begin,
    ceiling,
    check_custom,
    current,
    custom_of,
    note,
)
from purser.core.errors import Invalid
from purser.core.period import DAY, HOUR, MINUTE

T0 = 1_772_355_600_000_000  # 2026-03-01 09:00
MOST = 10**9


def after(limit: Limit, *, at: int, used: int, start: int = 1_000, most: int = MOST) -> Limit:
    return note(limit, used, at, start, most)


# (tokens a minute, used in one, minutes after the last change, the limit then)
RAISES = [
    (1_000_000, 600_000, 15, 1_250_000),  # S88
    (1_000_000, 500_000, 15, 1_000_000),  # S89: exactly half is not above half
    (1_000_000, 500_001, 15, 1_250_000),
    (1_000_000, 600_000, 14, 1_000_000),
    (1_000_000, 10**12, 15, 1_250_000),  # a quarter at a time
]


@pytest.mark.parametrize("tokens, used, minutes, then", RAISES)
def test_a_busy_minute_raises_a_limit_by_a_quarter(tokens: int, used: int, minutes: int, then: int) -> None:
    moved = after(begin(tokens, T0), at=T0 + minutes * MINUTE, used=used)
    assert moved.tokens == then
    again = after(moved, at=T0 + minutes * MINUTE + 14 * MINUTE, used=2 * used)
    assert again.tokens == then or then == tokens, "at most once in 15 minutes"


def test_what_many_report_of_one_minute_adds_up() -> None:
    limit = begin(1_000_000, T0)
    at = T0 + 20 * MINUTE
    assert after(after(limit, at=at, used=300_000), at=at + 59_000_000, used=200_001).tokens == 1_250_000
    assert after(after(limit, at=at, used=300_000), at=at + 60_000_000, used=200_001).tokens == 1_000_000


def test_the_ceiling_is_reached_in_nine_steps() -> None:
    limit, at = begin(3_600_000, T0), T0
    for _ in range(9):
        at += 15 * MINUTE
        limit = after(limit, at=at, used=limit.tokens, most=21_600_000)
    assert limit.tokens == 21_600_000
    assert after(limit, at=at + HOUR, used=10**9, most=21_600_000).tokens == 21_600_000


def test_a_limit_that_is_hardly_used_sinks_by_a_fifth_a_day() -> None:
    """S90: limit 10M, steady 1M."""
    limit, days = begin(10_000_000, T0), []
    for quarter in range(1, 9 * 96 + 1):
        limit = after(limit, at=T0 + quarter * 15 * MINUTE, used=1_000_000)
        if quarter % 96 == 0:
            days.append(limit.tokens)
    day_3_to_8 = [8_000_000, 6_400_000, 5_120_000, 4_096_000, 3_276_800, 2_621_440]
    assert days == [10_000_000, 10_000_000, *day_3_to_8, 2_621_440]


def test_a_limit_never_sinks_below_its_start() -> None:
    limit = begin(10_000, T0)
    for hour in range(1, 10 * 24):
        limit = after(limit, at=T0 + hour * HOUR, used=1, start=7_000)
    assert limit.tokens == 7_000


# What keeps a limit of 10,000 that could sink, after four days of minutes with 1,000 tokens.
KEPT = [
    ("a third was used once", 3_300, 4 * DAY, 10_000),
    ("a little less was used once", 3_299, 4 * DAY, 8_000),
    ("that was more than three days ago", 3_300, 6 * DAY, 8_000),
]


@pytest.mark.parametrize("why, once, days, then", KEPT)
def test_what_keeps_a_limit(why: str, once: int, days: int, then: int) -> None:
    limit = replace(begin(10_000, T0 - DAY), changed_at=T0 + days - DAY)
    limit = after(limit, at=T0 + 2 * DAY, used=once)
    for hour in range(1, 48):
        limit = after(limit, at=T0 + 2 * DAY + hour * HOUR, used=1_000, most=10_000)
    limit = replace(limit, changed_at=T0 + days - DAY, traffic_at=T0 + days)
    assert after(limit, at=T0 + days, used=1_000).tokens == then, why


def test_three_days_without_traffic_begin_anew() -> None:
    """S91: 73 hours; 72 are not more than 72."""
    limit = replace(begin(50_000, T0), samples=((T0, 9_000),))
    assert current(limit, T0 + 72 * HOUR, 1_000, MOST).tokens == 50_000
    assert current(limit, T0 + 73 * HOUR, 1_000, MOST) == begin(1_000, T0 + 73 * HOUR)
    assert after(limit, at=T0 + 73 * HOUR, used=10).tokens == 1_000
    silent = after(limit, at=T0 + 71 * HOUR, used=0)
    assert current(silent, T0 + 73 * HOUR, 1_000, MOST).tokens == 1_000, "nothing used is no traffic"


def test_ceilings_by_size_and_tier() -> None:
    start = 3_600_000
    assert [ceiling(start, size, 3) for size in (SMALL, MEDIUM, LARGE)] == [216_000_000, 43_200_000, 21_600_000]
    assert [ceiling(36_000, size, None) for size in (SMALL, MEDIUM, LARGE)] == [2_160_000, 432_000, 216_000]
    assert [ceiling(start, LARGE, tier) for tier in (0, 1, 2, 3, 4)] == [
        5_400_000,
        5_400_000,
        10_800_000,
        21_600_000,
        21_600_000,
    ]


@given(st.lists(st.tuples(st.integers(0, 2 * DAY), st.integers(0, 20_000)), max_size=60))
def test_a_limit_stays_in_its_bounds_and_moves_by_its_steps(minutes: list[tuple[int, int]]) -> None:
    limit, at = begin(1_000, T0), T0
    for gap, used in minutes:
        at += gap
        before, limit = limit, after(limit, at=at, used=used, most=5_000)
        assert 1_000 <= limit.tokens <= 5_000
        steps = (before.tokens, min(5_000, before.tokens * 5 // 4), max(1_000, before.tokens * 4 // 5), 1_000)
        assert limit.tokens in (*steps, 1_250)
        assert len(limit.samples) <= 3 * 96 + 2


# ── what an operator sets ────────────────────────────────────────────────────────────────────────────────────────
def test_a_limit_that_another_stands_for_stays_and_goes_on_counting() -> None:
    limit = begin(1_000, 0)
    for minute in range(30):
        limit = note(limit, 900, minute * MINUTE, 1_000, 9_000, moves=False)
    assert (limit.tokens, limit.peak, limit.changed_at) == (1_000, 900, 0)
    assert note(limit, 900, 30 * MINUTE, 1_000, 9_000).tokens == 1_250, "as before, from where it was"


def test_a_models_own_goes_before_that_of_all() -> None:
    customs = {("tiny", PROMPT): Custom(5), (ALL_MODELS, PROMPT): Custom(7), (ALL_MODELS, GENERATED): Custom(None)}
    assert custom_of(customs, "tiny", PROMPT) == Custom(5)
    assert custom_of(customs, "other", PROMPT) == Custom(7)
    assert custom_of(customs, "tiny", GENERATED) == Custom(None), "none at all, which is something set"
    assert custom_of(customs, "tiny", UNCACHED) is None


def test_what_can_be_set() -> None:
    assert check_custom(1, "limit") == Custom(1)
    assert check_custom(MOST_TOKENS, "limit") == Custom(MOST_TOKENS)
    for tokens in (0, -1, MOST_TOKENS + 1):
        with pytest.raises(Invalid, match="limit must be from 1 to"):
            check_custom(tokens, "limit")
