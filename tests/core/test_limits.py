"""The monthly spend limit and the tiers that cap it (L1–L5, S13–S22, S30–S34)."""

from __future__ import annotations

from decimal import Decimal

import pytest

from purser.core.errors import Invalid
from purser.core.limits import (
    CONTRACT,
    DEFAULT_TIERS,
    POSTPAID,
    PREPAID,
    Tier,
    check_limit,
    effective_limit,
    spans_of,
    tier_of,
)

USD = 1_000_000_000
OLDER_TIERS = (
    Tier(1, 0, 50 * USD),
    Tier(2, 100 * USD, 500 * USD),
    Tier(3, 1_000 * USD, 5_000 * USD),
    Tier(4, 10_000 * USD, 50_000 * USD),
)

# (scenario, tiers, historical spend in nano-dollars, payment method, tier, most in dollars)
TIERS = [
    ("L2 no payment method", DEFAULT_TIERS, 0, False, 0, 50),
    ("S19 free credit is no spend", DEFAULT_TIERS, 0, True, 1, 50),
    ("L2", DEFAULT_TIERS, 50 * USD - 1, True, 1, 50),
    ("L2", DEFAULT_TIERS, 50 * USD - 1, False, 0, 50),
    ("S16", DEFAULT_TIERS, 50 * USD, True, 2, 500),
    ("S16 older thresholds", OLDER_TIERS, 50 * USD, True, 1, 50),
    ("S15", DEFAULT_TIERS, 100 * USD, True, 2, 500),
    ("S17 older thresholds", OLDER_TIERS, 100 * USD, True, 2, 500),
    ("S18", DEFAULT_TIERS, 63 * USD, True, 2, 500),
    ("L2", DEFAULT_TIERS, 500 * USD - 1, True, 2, 500),
    ("L2", DEFAULT_TIERS, 500 * USD, True, 3, 5_000),
    ("L2", DEFAULT_TIERS, 5_000 * USD - 1, True, 3, 5_000),
    ("L2", DEFAULT_TIERS, 5_000 * USD, True, 4, 50_000),
    ("L2", DEFAULT_TIERS, 10**9 * USD, True, 4, 50_000),
    ("L2 spend counts without a card", DEFAULT_TIERS, 50 * USD, False, 2, 500),
    ("L2 less than nothing, after refunds", DEFAULT_TIERS, -1, True, 1, 50),
]


@pytest.mark.parametrize("rule, tiers, spend, card, number, most", TIERS)
def test_historical_spend_decides_the_tier(
    rule: str, tiers: tuple[Tier, ...], spend: int, card: bool, number: int, most: int
) -> None:
    tier = tier_of(tiers, spend, card)
    assert (tier.number, tier.limit_nanos) == (number, most * USD), rule


# (rule, mode, configured dollars, the tier's most in dollars, effective dollars)
LIMITS = [
    ("L1 grows with the tier", POSTPAID, None, 50, 50),
    ("L1 grows with the tier", POSTPAID, None, 500, 500),
    ("L1 a value once set stays", POSTPAID, 200, 500, 200),
    ("L1 the least of both", POSTPAID, 200, 50, 50),
    ("L5 equality", POSTPAID, 50, 50, 50),
    ("L5 zero", POSTPAID, 0, 50, 0),
    ("L2 unlimited", POSTPAID, None, None, None),
    ("L2 unlimited, with a value", POSTPAID, 200, None, 200),
    ("L3 prepaid has none unless set", PREPAID, None, 50, None),
    ("S30", PREPAID, 200, 500, 200),
    ("S34", PREPAID, 5_000, 50, 5_000),
    ("L5 zero", PREPAID, 0, 50, 0),
    ("L3 contract", CONTRACT, 200, 50, None),
    ("L3 contract", CONTRACT, None, None, None),
]


@pytest.mark.parametrize("rule, mode, configured, most, effective", LIMITS)
def test_the_limit_in_force(
    rule: str, mode: str, configured: int | None, most: int | None, effective: int | None
) -> None:
    nanos = [None if usd is None else usd * USD for usd in (configured, most, effective)]
    assert effective_limit(mode, nanos[0], nanos[1]) == nanos[2], rule


@pytest.mark.parametrize(
    "rule, value, most, dollars",
    [
        ("S20", "200", 500, 200),
        ("S20", 200, 500, 200),
        ("L5 equality allowed", "500", 500, 500),
        ("L5 zero allowed", 0, 50, 0),
        ("S34 no tier caps it", "5000", None, 5_000),
        ("L5", "999999999", None, 999_999_999),
    ],
)
def test_a_limit_of_whole_dollars_up_to_the_tiers_most_is_accepted(
    rule: str, value: object, most: int | None, dollars: int
) -> None:
    assert check_limit(value, None if most is None else most * USD) == dollars * USD, rule


def test_a_limit_above_the_tiers_most_is_refused_and_says_what_the_most_is() -> None:
    with pytest.raises(Invalid, match=r"value is \$200, above the most your tier allows: \$50\.00"):
        check_limit("200", 50 * USD)
    with pytest.raises(Invalid, match=r"\$51"):
        check_limit(51, 50 * USD)


@pytest.mark.parametrize(
    "value", ["", "-1", -1, "1.5", 1.5, "1e3", " 5", "5\n", "²", "٥", "1" * 10, None, True, ["5"], Decimal(5)]
)
def test_anything_but_whole_dollars_is_refused_by_field(value: object) -> None:
    with pytest.raises(Invalid, match="monthlyLimit must be whole dollars") as refused:
        check_limit(value, None, "monthlyLimit")
    assert refused.value.field == "monthlyLimit"


@pytest.mark.parametrize("tiers", [DEFAULT_TIERS, OLDER_TIERS, OLDER_TIERS[::-1], (Tier(1, 0, 5 * USD),)])
def test_the_spans_of_the_tiers_are_where_spend_is_in_them(tiers: tuple[Tier, ...]) -> None:
    steps = [tier.spend_nanos for tier in tiers]
    for spend in {-USD, 10**15, *steps, *(step - 1 for step in steps), *(step + 1 for step in steps)}:
        within = [
            number
            for number in range(1, len(tiers) + 1)
            for start, end in spans_of(tiers, number)
            if (start is None or start <= spend) and (end is None or spend < end)
        ]
        assert within == [tier_of(tiers, spend, True).number], spend
    assert spans_of(tiers, 9) == []


def test_the_first_tier_begins_with_nothing_spent() -> None:
    assert spans_of(DEFAULT_TIERS, 1) == [(None, 0), (0, 50 * USD)], "L2"
    alike = (Tier(1, 0, 5 * USD), Tier(2, 0, 50 * USD))
    assert (spans_of(alike, 1), spans_of(alike, 2)) == ([(None, 0)], [(0, None)]), "below it, the first there is"


def test_without_a_payment_method_the_tier_is_number_0_from_nothing_on() -> None:
    assert tier_of(DEFAULT_TIERS, 49 * USD, False) == Tier(0, 0, 50 * USD), "L2"
