"""Money is whole nano-dollars: read, written and rounded exactly (M1, M2, M4, M5)."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core import money
from purser.core.errors import Invalid
from purser.core.money import LARGEST_NANOS, floor_cents, format_usd, format_usd_exact, parse_usd, round_half_even

AMOUNTS = st.integers(-LARGEST_NANOS, LARGEST_NANOS)

# (rule, text, nano-dollars)
READ = [
    ("M1", "0", 0),
    ("M1", "1", 1_000_000_000),
    ("M1", "12.50", 12_500_000_000),
    ("M1", "0.000000001", 1),
    ("M1", "12.345", 12_345_000_000),
    ("M2", "0.0125", 12_500_000),
    ("M2", "3.89", 3_890_000_000),
    ("M1", "-0.00", 0),
    ("M1", "4611686018.427387904", LARGEST_NANOS),
]

NOT_DOLLARS = [
    *("", " ", "1.", ".5", "+1", "1e3", "0x10", "1,000", "$1", "1 ", " 1", "1\n", "NaN", "inf", "1.0000000001"),
    *("1_000", "--1", "١", "4611686018.427387905", "1" * 13, 1, 1.5, True, None, ["1"], {"units": "1"}),
]


@pytest.mark.parametrize("rule, text, nanos", READ)
def test_dollars_are_read_exactly(rule: str, text: str, nanos: int) -> None:
    assert parse_usd(text) == nanos, rule


@pytest.mark.parametrize("given_", NOT_DOLLARS)
def test_anything_but_a_decimal_string_of_dollars_is_refused_by_field(given_: object) -> None:
    with pytest.raises(Invalid, match="limitUsd") as refused:
        parse_usd(given_, "limitUsd")
    assert refused.value.field == "limitUsd"


def test_a_negative_amount_is_read_only_where_asked_for() -> None:
    with pytest.raises(Invalid, match="must not be negative"):
        parse_usd("-1.75")
    assert parse_usd("-1.75", negative=True) == -1_750_000_000


def test_the_refusal_of_a_large_amount_names_the_true_bound() -> None:
    assert parse_usd("4611686018") == 4_611_686_018 * 10**9
    with pytest.raises(Invalid, match="at most 4,611,686,018 dollars"):
        parse_usd("4611686019")


# (nano-dollars, for people, exact)
WRITTEN = [
    (0, "0.00", "0.000000000"),
    (1, "0.000000001", "0.000000001"),
    (10_000_000, "0.01", "0.010000000"),
    (1_000_000_000, "1.00", "1.000000000"),
    (1_500_000_000, "1.50", "1.500000000"),
    (3_675_000, "0.003675", "0.003675000"),
    (916_000, "0.000916", "0.000916000"),
    (8_400_000_000, "8.40", "8.400000000"),
    (-1_750_000_000, "-1.75", "-1.750000000"),
    (-1, "-0.000000001", "-0.000000001"),
]


@pytest.mark.parametrize("nanos, short, exact", WRITTEN)
def test_dollars_are_written_with_two_to_nine_decimals(nanos: int, short: str, exact: str) -> None:
    assert (format_usd(nanos), format_usd_exact(nanos)) == (short, exact)


@given(AMOUNTS)
def test_what_is_written_reads_back_as_the_same_amount(nanos: int) -> None:
    for text in (format_usd(nanos), format_usd_exact(nanos)):
        assert Fraction(text) * 10**9 == nanos
        assert parse_usd(text, negative=True) == nanos


# The compatible API's Money object (M5): (nano-dollars, units, nanos).
WIRE = [
    (0, "0", 0),
    (12_345_000_000, "12", 345_000_000),
    (-1_750_000_000, "-1", -750_000_000),
    (-500_000_000, "0", -500_000_000),
    (1, "0", 1),
    (-1, "0", -1),
    (63_000_000_000, "63", 0),
]


@pytest.mark.parametrize("nanos, units, fraction", WIRE)
def test_money_on_the_wire(nanos: int, units: str, fraction: int) -> None:
    assert money.to_wire(nanos) == {"currencyCode": "USD", "units": units, "nanos": fraction}


@given(AMOUNTS)
def test_money_on_the_wire_has_one_sign_and_reads_back(nanos: int) -> None:
    wire = money.to_wire(nanos)
    assert isinstance(wire["units"], str)
    assert int(wire["units"]) * wire["nanos"] >= 0
    assert abs(wire["nanos"]) < 10**9
    assert int(wire["units"]) * 10**9 + wire["nanos"] == nanos
    assert money.from_wire(wire, "amount") == nanos


@pytest.mark.parametrize("wire, nanos", [({}, 0), ({"units": 5}, 5 * 10**9), ({"nanos": 7}, 7), ({"units": "-0"}, 0)])
def test_members_left_out_of_a_money_object_are_zero(wire: dict[str, object], nanos: int) -> None:
    assert money.from_wire(wire, "amount") == nanos


@pytest.mark.parametrize(
    "wire, field",
    [
        (None, "amount"),
        ("12.50", "amount"),
        (12, "amount"),
        ({"units": "1", "currencyCode": "EUR"}, "amount.currencyCode"),
        ({"units": "1.5"}, "amount.units"),
        ({"units": 1.0}, "amount.units"),
        ({"units": True}, "amount.units"),
        ({"units": None}, "amount.units"),
        ({"units": "1" * 13}, "amount.units"),
        ({"nanos": 10**9}, "amount.nanos"),
        ({"nanos": "5"}, "amount.nanos"),
        ({"nanos": 0.5}, "amount.nanos"),
        ({"nanos": True}, "amount.nanos"),
        ({"units": "1", "nanos": -1}, "amount"),
        ({"units": "-1", "nanos": 1}, "amount"),
        ({"units": "4611686018", "nanos": 427387905}, "amount"),
        ({"units": "-999999999999"}, "amount"),
    ],
)
def test_a_wrong_money_object_is_refused_by_field(wire: object, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        money.from_wire(wire, "amount")
    assert refused.value.field == field


def test_the_refusal_of_a_large_money_object_names_the_true_bound() -> None:
    with pytest.raises(Invalid, match="at most 4,611,686,018 dollars"):
        money.from_wire({"units": "4611686019"}, "amount")


@pytest.mark.parametrize(
    "numerator, denominator, nearest",
    [(1, 2, 0), (3, 2, 2), (5, 2, 2), (7, 2, 4), (1, 3, 0), (2, 3, 1), (-1, 2, 0), (-3, 2, -2), (-5, 2, -2), (4, 2, 2)],
)
def test_halves_go_to_the_even_nano_dollar(numerator: int, denominator: int, nearest: int) -> None:
    assert round_half_even(numerator, denominator) == nearest, "M3"


@given(st.integers(-(10**30), 10**30), st.integers(1, 10**12))
def test_rounding_agrees_with_exact_fractions(numerator: int, denominator: int) -> None:
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(st.integers(-(10**12), 10**12), st.integers(1, 10**6))
def test_rounding_of_exact_ties_agrees_with_exact_fractions(whole: int, half: int) -> None:
    numerator, denominator = (2 * whole + 1) * half, 2 * half
    assert round_half_even(numerator, denominator) == round(Fraction(numerator, denominator))


@given(AMOUNTS)
def test_whole_cents_are_rounded_down(nanos: int) -> None:
    assert floor_cents(nanos) == math.floor(Fraction(nanos, 10**7)) * 10**7, "M4"
