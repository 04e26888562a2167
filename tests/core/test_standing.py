"""Standing is derived from causes, each with its own way back (U1–U7, A4, A5, A8, A9, S5–S14, S22–S33, S37)."""

from __future__ import annotations

from dataclasses import replace
from itertools import product

import pytest

from purser.core.limits import CONTRACT, MODES, POSTPAID, PREPAID
from purser.core.standing import (
    BLOCKED,
    CREDIT_DEPLETED,
    FAILED_PAYMENTS,
    LIMIT_EXCEEDED,
    UNSUSPENDED,
    Facts,
    Room,
    credit_required,
    judge,
    strictest,
)

USD = 1_000_000_000
WELL = Facts(
    mode=POSTPAID,
    has_payment_method=True,
    credit=Room(USD, False),
    limit=Room(50 * USD, False),
    failed_invoices=(),
    blocked_reason=None,
    depletion_threshold_nanos=1_000_000,
)
NO_CREDIT, AT_LIMIT = Room(0, False), Room(0, False)


def state(facts: Facts) -> str:
    """The one state the account shows."""
    return strictest(list(judge(facts)))


# The table of U7: credit 0, nothing else wrong.
@pytest.mark.parametrize(
    "mode, card, expected",
    [
        (POSTPAID, True, UNSUSPENDED),
        (PREPAID, True, CREDIT_DEPLETED),
        (CONTRACT, True, UNSUSPENDED),
        (POSTPAID, False, CREDIT_DEPLETED),
        (PREPAID, False, CREDIT_DEPLETED),
        (CONTRACT, False, UNSUSPENDED),
    ],
)
def test_what_no_credit_means(mode: str, card: bool, expected: str) -> None:
    facts = replace(WELL, mode=mode, has_payment_method=card, credit=NO_CREDIT)
    assert state(facts) == expected, "U7"
    assert credit_required(mode, card) == (expected == CREDIT_DEPLETED), "H2"
    assert state(replace(facts, credit=Room(USD, False))) == UNSUSPENDED


# Near the end (U7): (left in nano-dollars, refused with nothing held, depleted).
DUST = [
    (-1, False, True),
    (0, False, True),
    (99_999, False, True),
    (100_000, False, False),
    (100_000, True, True),
    (999_999, True, True),
    (999_999, False, False),
    (1_000_000, True, False),
    (USD, True, False),
]


@pytest.mark.parametrize("left, refused, depleted", DUST)
def test_dust_counts_as_nothing_for_credit_and_for_the_limit(left: int, refused: bool, depleted: bool) -> None:
    room = Room(left, refused)
    assert (state(replace(WELL, has_payment_method=False, credit=room)) == CREDIT_DEPLETED) == depleted, "U7"
    assert (state(replace(WELL, limit=room)) == LIMIT_EXCEEDED) == depleted, "U7"


def test_the_depletion_threshold_is_the_operators() -> None:
    facts = replace(WELL, limit=Room(5_000_000, True), depletion_threshold_nanos=5_000_001)
    assert state(facts) == LIMIT_EXCEEDED
    assert state(replace(facts, depletion_threshold_nanos=5_000_000)) == UNSUSPENDED


# (scenario, facts, state)
SCENARIOS = [
    ("S5", replace(WELL, has_payment_method=False, credit=NO_CREDIT), CREDIT_DEPLETED),
    ("S6", replace(WELL, has_payment_method=False, credit=Room(USD // 100, False)), UNSUSPENDED),
    ("S7, S8", replace(WELL, credit=NO_CREDIT), UNSUSPENDED),
    ("S9", replace(WELL, limit=AT_LIMIT), LIMIT_EXCEEDED),
    ("S10", replace(WELL, limit=Room(USD // 100, False)), UNSUSPENDED),
    ("S13 credit does not help", replace(WELL, limit=AT_LIMIT, credit=Room(800 * USD, False)), LIMIT_EXCEEDED),
    ("S14", replace(WELL, limit=Room(200 * USD, False), credit=Room(800 * USD, False)), UNSUSPENDED),
    ("S22", replace(WELL, limit=Room(-10 * USD, False)), LIMIT_EXCEEDED),
    ("S23", replace(WELL, failed_invoices=("ADA-0001",)), FAILED_PAYMENTS),
    ("S25", replace(WELL, failed_invoices=("ADA-0001",), limit=Room(50 * USD, False)), FAILED_PAYMENTS),
    ("S26", replace(WELL, mode=PREPAID, credit=NO_CREDIT, limit=None), CREDIT_DEPLETED),
    ("S27", replace(WELL, mode=PREPAID, credit=Room(5 * USD, False), limit=None), UNSUSPENDED),
    ("S30", replace(WELL, mode=PREPAID, credit=Room(800 * USD, False), limit=AT_LIMIT), LIMIT_EXCEEDED),
    ("S31", replace(WELL, mode=PREPAID, credit=Room(1_300 * USD, False), limit=AT_LIMIT), LIMIT_EXCEEDED),
    ("S32", replace(WELL, mode=PREPAID, credit=Room(800 * USD, False), limit=Room(100 * USD, False)), UNSUSPENDED),
    ("S33", replace(WELL, mode=PREPAID, credit=NO_CREDIT, limit=Room(100 * USD, False)), CREDIT_DEPLETED),
    ("S37", replace(WELL, mode=CONTRACT, credit=NO_CREDIT, limit=None, failed_invoices=("A-1",)), UNSUSPENDED),
    ("A9 an abuse rule holds all", replace(WELL, mode=CONTRACT, limit=None, blocked_reason="spam"), BLOCKED),
    ("U1 a reason may be empty", replace(WELL, blocked_reason=""), BLOCKED),
    ("L2 unlimited", replace(WELL, limit=None, credit=NO_CREDIT), UNSUSPENDED),
]


@pytest.mark.parametrize("rule, facts, expected", SCENARIOS)
def test_scenarios(rule: str, facts: Facts, expected: str) -> None:
    assert state(facts) == expected, rule


@pytest.mark.parametrize("mode, card", list(product(MODES, [True, False])))
@pytest.mark.parametrize("blocked, failed, spent, dry", list(product([True, False], repeat=4)))
def test_every_cause_holds_or_not_by_itself(
    mode: str, card: bool, blocked: bool, failed: bool, spent: bool, dry: bool
) -> None:
    facts = replace(
        WELL,
        mode=mode,
        has_payment_method=card,
        blocked_reason="spam" if blocked else None,
        failed_invoices=("ADA-0001", "ADA-0002") if failed else (),
        limit=AT_LIMIT if spent else WELL.limit,
        credit=NO_CREDIT if dry else WELL.credit,
    )
    needs_credit = {POSTPAID: not card, PREPAID: True, CONTRACT: False}[mode]
    expected = []
    if blocked:
        expected.append(BLOCKED)
    if failed and mode != CONTRACT:
        expected.append(FAILED_PAYMENTS)
    if spent:
        expected.append(LIMIT_EXCEEDED)
    if dry and needs_credit:
        expected.append(CREDIT_DEPLETED)
    causes = judge(facts)
    assert list(causes) == expected, "U1: all causes, strictest first"
    assert strictest(expected[::-1]) == (expected[0] if expected else UNSUSPENDED), "U1"
    assert all(causes.values()), "each says why"


def test_a_failed_payment_names_its_invoices() -> None:
    facts = replace(WELL, failed_invoices=("ADA-0001", "ADA-0002"), blocked_reason="spam")
    assert judge(facts)[FAILED_PAYMENTS] == "unpaid: ADA-0001, ADA-0002"
    assert judge(facts)[BLOCKED] == "spam"
