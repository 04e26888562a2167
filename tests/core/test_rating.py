"""What usage costs: rounded once, split without loss, never above the hold (M3, H4, B8, S44–S48, S54–S56)."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.admission import hold_nanos
from purser.core.errors import Broken
from purser.core.money import Rate, round_half_even
from purser.core.rating import Charge, Part, rate
from purser.core.usage import AMOUNT, CACHED, INPUT, OUTPUT, UNITS, quantities
from tests.core.rates import MILLION, RATES, exact_cost, per_million

TOKENS = st.one_of(st.integers(0, 20), st.integers(0, 2_000_000))

# (scenario, prompt, cached, output, rates in nano-dollars per million, charge in nano-dollars)
PRICE_POINTS = [
    ("S44", 8_000, 7_500, 500, (950_000_000, 160_000_000, 4_000_000_000), 3_675_000),
    ("S45 caching billing-neutral", 8_000, 7_500, 500, (950_000_000, 950_000_000, 4_000_000_000), 9_600_000),
    ("S46 half of $0.90", MILLION, MILLION, 0, (900_000_000, 450_000_000, 900_000_000), 450_000_000),
    ("S47 batch at half", MILLION, 0, MILLION, (75_000_000, 37_500_000, 300_000_000), 375_000_000),
    ("S47 not batch", MILLION, 0, MILLION, (150_000_000, 75_000_000, 600_000_000), 750_000_000),
    ("S48", 2 * MILLION, 0, 0, (8_000_000, 4_000_000, 0), 16_000_000),
    ("house §5", 120, 0, 120, (200_000_000, 100_000_000, 800_000_000), 120_000),
    ("M2", MILLION, 0, 0, (12_500_000, 6_250_000, 0), 12_500_000),
    ("nothing used", 0, 0, 0, (200_000_000, 100_000_000, 800_000_000), 0),
]


@pytest.mark.parametrize("rule, prompt, cached, output, prices, nanos", PRICE_POINTS)
def test_price_points(
    rule: str, prompt: int, cached: int, output: int, prices: tuple[int, int, int], nanos: int
) -> None:
    charge = rate(quantities(prompt, cached, output), per_million(*prices))
    assert charge.amount_nanos == nanos, rule
    assert charge.clamped_nanos == 0


def test_the_parts_of_a_charge_are_what_each_unit_costs() -> None:
    charge = rate(quantities(8_000, 7_500, 500), per_million(950_000_000, 160_000_000, 4_000_000_000))
    assert charge.parts == (Part(INPUT, 500, 475_000), Part(CACHED, 7_500, 1_200_000), Part(OUTPUT, 500, 2_000_000))


# The sum is rounded, not its parts: each pair below differs where every unit were rounded by itself.
@pytest.mark.parametrize(
    "used, nanos",
    [
        ({INPUT: 1}, 0),
        ({INPUT: 3}, 2),
        ({INPUT: 5}, 2),
        ({INPUT: 1, OUTPUT: 1}, 1),
        ({INPUT: 1, CACHED: 1, OUTPUT: 1}, 2),
        ({INPUT: 3, OUTPUT: 3}, 3),
    ],
)
def test_a_charge_is_rounded_once_half_to_even(used: dict[str, int], nanos: int) -> None:
    half = Rate(1, 2)
    assert rate(used, {INPUT: half, CACHED: half, OUTPUT: half}).amount_nanos == nanos, "M3"


def test_units_are_rated_in_their_own_order_whatever_was_told_first() -> None:
    half = Rate(1, 2)
    charge = rate({OUTPUT: 1, INPUT: 3}, {INPUT: half, OUTPUT: half})
    assert charge.parts == (Part(INPUT, 3, 2), Part(OUTPUT, 1, 0))


def test_a_sum_of_money_costs_itself_by_any_book() -> None:
    assert rate({AMOUNT: 7}, {INPUT: Rate(3, 2)}) == Charge(7, (Part(AMOUNT, 7, 7),))
    assert rate({AMOUNT: 7, INPUT: 1}, {INPUT: Rate(1, 2)}).amount_nanos == 8, "7.5, to even"


def test_a_unit_without_a_rate_is_broken_never_free() -> None:
    with pytest.raises(Broken, match=OUTPUT):
        rate({OUTPUT: 1}, {INPUT: Rate(1, 1)})


def used_of(rates: dict[str, Rate], prompt: int, cached: int, output: int) -> dict[str, int]:
    """Usage of the units that these rates price."""
    cached = min(prompt, cached) if CACHED in rates else 0
    return quantities(prompt, cached, output if OUTPUT in rates else 0)


@given(RATES, TOKENS, TOKENS, TOKENS)
def test_a_charge_is_the_exact_sum_rounded_and_its_parts_sum_to_it(
    rates: dict[str, Rate], prompt: int, cached: int, output: int
) -> None:
    used = used_of(rates, prompt, cached, output)
    charge = rate(used, rates)
    assert charge.amount_nanos == round(exact_cost(used, rates)), "M3"
    assert sum(part.amount_nanos for part in charge.parts) == charge.amount_nanos, "C5"
    assert {part.unit: part.quantity for part in charge.parts} == used
    assert [part.unit for part in charge.parts] == [unit for unit in UNITS if unit in used]
    for part in charge.parts:
        assert part.amount_nanos >= 0
        assert abs(part.amount_nanos - exact_cost({part.unit: part.quantity}, rates)) <= 1


@given(RATES, st.lists(st.tuples(TOKENS, TOKENS, TOKENS), min_size=1, max_size=8))
def test_slicing_changes_a_bill_by_at_most_half_a_nano_dollar_a_slice(
    rates: dict[str, Rate], slices: list[tuple[int, int, int]]
) -> None:
    each = [used_of(rates, *one) for one in slices]
    whole = {unit: sum(used.get(unit, 0) for used in each) for unit in UNITS if any(unit in used for used in each)}
    apart = sum(rate(used, rates).amount_nanos for used in each)
    assert abs(apart - rate(whole, rates).amount_nanos) <= Fraction(len(each) + 1, 2), "B8"


@given(RATES, TOKENS, TOKENS, TOKENS, TOKENS, TOKENS)
def test_no_usage_within_the_bounds_costs_more_than_the_hold(
    rates: dict[str, Rate], bound_in: int, bound_out: int, prompt: int, cached: int, output: int
) -> None:
    used = used_of(rates, min(prompt, bound_in), cached, min(output, bound_out))
    charge = rate(used, rates)
    hold = hold_nanos(rates, bound_in, bound_out)
    assert charge.amount_nanos <= hold, "H4, A5"
    assert rate(used, rates, hold) == charge, "nothing is clamped that was within the bounds"


def test_nothing_of_a_unit_costs_nothing_and_is_no_part() -> None:
    assert rate({INPUT: 3, OUTPUT: 0}, per_million(MILLION, 0, MILLION)) == Charge(3, (Part(INPUT, 3, 3),))
    assert rate({OUTPUT: 0}, {}) == Charge(0, ()), "so it needs no rate"


@given(RATES, TOKENS, TOKENS, TOKENS, st.integers(0, 10**9))
def test_a_charge_is_clamped_to_the_hold_and_the_rest_forgiven(
    rates: dict[str, Rate], prompt: int, cached: int, output: int, most: int
) -> None:
    used = used_of(rates, prompt, cached, output)
    true, charge = rate(used, rates).amount_nanos, rate(used, rates, most)
    assert charge.amount_nanos == min(true, most), "H4"
    assert charge.clamped_nanos == true - charge.amount_nanos
    assert sum(part.amount_nanos for part in charge.parts) == charge.amount_nanos
    assert all(part.amount_nanos >= 0 for part in charge.parts)
    assert {part.unit: part.quantity for part in charge.parts} == used, "quantities are recorded as they were"


# What runs on is rated on its running total, so that slicing never changes the sum (M3).
@pytest.mark.parametrize(
    "rule, gpu_seconds, dollars_per_hour_nanos, nanos",
    [
        ("S54", 3_600, 7_000_000_000, 7_000_000_000),
        ("S55", 4 * 90 * 60, 7_000_000_000, 42_000_000_000),
        ("S56", 24 * 3_600, 3_890_000_000, 93_360_000_000),
    ],
)
@pytest.mark.parametrize("slice_seconds", [1, 7, 60, 3_601, 10**6])
def test_a_running_total_is_the_same_however_it_is_sliced(
    rule: str, gpu_seconds: int, dollars_per_hour_nanos: int, nanos: int, slice_seconds: int
) -> None:
    posted, before, done = 0, 0, 0
    while done < gpu_seconds:
        done = min(done + slice_seconds, gpu_seconds)
        total = round_half_even(done * dollars_per_hour_nanos, 3_600)
        posted, before = posted + total - before, total
    assert posted == nanos, rule
