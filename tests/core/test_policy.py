"""The operator's defaults are the rules' own, and a cut-over decides the billing mode (A1, A2, L2, M4, U6, U7, Q1)."""

from __future__ import annotations

import pytest

from purser.core.limits import CONTRACT, POSTPAID, PREPAID
from purser.core.period import DAY, month_start
from purser.core.policy import Policy

USD = 1_000_000_000
JUNE = month_start("2026-06")


@pytest.mark.parametrize(
    "rule, value, expected",
    [
        ("A1", Policy().signup_credit_nanos, USD),
        ("A2", Policy().default_mode, POSTPAID),
        ("A2", Policy().prepaid_from_at, None),
        ("M4", Policy().minimum_charge_nanos, USD // 2),
        ("U7", Policy().depletion_threshold_nanos, USD // 1_000),
        ("U6", Policy().dunning_days, (1, 3, 5, 7)),
        ("U6", Policy().payment_grace_days, 0),
        ("P3", Policy().cached_is_input, False),
        ("Q1", Policy().requests_per_minute, 6_000),
        ("Q1", Policy().requests_per_minute_unverified, 10),
        ("H1", Policy().slice_tokens, 1_024),
        ("L2", [(t.number, t.spend_nanos // USD) for t in Policy().tiers], [(1, 0), (2, 50), (3, 500), (4, 5_000)]),
        ("L2", [tier.limit_nanos // USD for tier in Policy().tiers], [50, 500, 5_000, 50_000]),
    ],
)
def test_the_defaults_are_the_rules_own(rule: str, value: object, expected: object) -> None:
    assert value == expected, rule


@pytest.mark.parametrize(
    "rule, policy, created_at, mode",
    [
        ("A2", Policy(), JUNE, POSTPAID),
        ("S36", Policy(prepaid_from_at=JUNE), JUNE - 1, POSTPAID),
        ("S36", Policy(prepaid_from_at=JUNE), JUNE, PREPAID),
        ("S36", Policy(prepaid_from_at=JUNE), JUNE + DAY, PREPAID),
        ("A2 from the epoch on", Policy(prepaid_from_at=0), 0, PREPAID),
        ("A2", Policy(default_mode=PREPAID), 0, PREPAID),
        ("A2", Policy(default_mode=CONTRACT, prepaid_from_at=JUNE), JUNE - 1, CONTRACT),
    ],
)
def test_accounts_from_the_cut_over_on_are_prepaid(rule: str, policy: Policy, created_at: int, mode: str) -> None:
    assert policy.mode_for(created_at) == mode, rule
