"""The running total: slicing changes no sum, money lasts to its last nano-dollar, slices end where they must (M3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.money import NANOS_PER_USD, Rate
from purser.core.period import DAY, HOUR, SECOND, parse_instant
from purser.core.slices import Bill, after, bill, ends_at, lasts, look_at, total_cost

A100 = Rate(3_890_000_000, 3_600)
RATES = st.builds(Rate, st.integers(1, 50 * NANOS_PER_USD), st.sampled_from([1, 7, 3_600]))


def test_s56_a_day_at_3_89_an_hour_is_93_36() -> None:
    assert total_cost(DAY, A100) == 93_360_000_000
    assert total_cost(SECOND - 1, A100) == 0


@given(RATES, st.lists(st.integers(0, 2 * HOUR), max_size=20))
def test_m3_slices_sum_to_the_whole(rate: Rate, spans: list[int]) -> None:
    total, bills = 0, []
    for span in spans:
        bills.append(bill(total, total + span, rate))
        total += span
    whole = bill(0, total, rate)
    assert sum(each.cost_nanos for each in bills) == whole.cost_nanos
    assert sum(each.gpu_seconds for each in bills) == whole.gpu_seconds == total // SECOND


@given(RATES, st.integers(0, DAY), st.integers(1, 100 * NANOS_PER_USD))
def test_money_lasts_until_the_first_moment_at_which_it_is_all_used(rate: Rate, before: int, nanos: int) -> None:
    span = lasts(before, rate, nanos)
    assert span is not None
    assert bill(before, before + span, rate, nanos).cost_nanos == nanos
    assert bill(before, before + max(0, span - 1), rate).cost_nanos < nanos


def test_what_costs_nothing_lasts_for_ever() -> None:
    assert lasts(0, Rate(0, 1), 5) is None


def test_h4_beyond_what_is_held_it_is_forgiven() -> None:
    assert bill(0, 10 * SECOND, Rate(7, 1), 69) == Bill(10, 69, 1)
    assert bill(0, 10 * SECOND, Rate(7, 1), 70) == Bill(10, 70, 0)


@pytest.mark.parametrize(
    ("start", "now", "cuts", "end"),
    [
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z", [], "2026-03-01T00:10:00Z"),
        ("2026-03-01T00:20:00Z", "2026-03-01T02:00:00Z", [], "2026-03-01T01:00:00Z"),  # nobody came round before
        ("2026-03-01T01:20:00Z", "2026-03-01T01:59:00Z", [], "2026-03-01T01:59:00Z"),
        ("2026-03-01T01:20:00Z", "2026-03-01T01:20:01Z", [], "2026-03-01T01:30:01Z"),
        ("2026-03-31T23:55:00Z", "2026-03-31T23:55:00Z", [], "2026-04-01T00:00:00Z"),
        ("2026-03-31T23:55:00Z", "2026-04-01T05:00:00Z", [], "2026-04-01T00:00:00Z"),
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z", ["2026-03-01T00:07:00Z"], "2026-03-01T00:07:00Z"),
        ("2026-03-01T00:00:00Z", "2026-03-01T00:00:00Z", ["2026-03-01T00:00:00Z"], "2026-03-01T00:10:00Z"),
    ],
)
def test_h7_a_slice_ends_with_its_month_and_where_the_price_changes(
    start: str, now: str, cuts: list[str], end: str
) -> None:
    found = ends_at(parse_instant(start), parse_instant(now), 600 * SECOND, map(parse_instant, cuts))
    assert found == parse_instant(end)


def test_a_slice_is_looked_at_when_half_of_the_money_is_used_and_at_the_warning_and_at_its_end() -> None:
    end, warning = 600 * SECOND, 1_800 * SECOND
    assert look_at(end, 0, None, warning) is None
    assert look_at(end, 0, 40 * HOUR, warning) == 20 * HOUR
    assert look_at(end, 0, 3_000 * SECOND, warning) == 1_201 * SECOND
    assert look_at(end, 0, 1_801 * SECOND, warning) == end
    assert look_at(end, 0, 1_800 * SECOND, warning) == end


def test_gpus_share_gpu_time() -> None:
    assert after(100, 10, 3) == 104
