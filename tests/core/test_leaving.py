"""Closing an account: every blocker by itself and all in one answer, and until when it can be opened again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from purser.core.leaving import Blocked, Estate, list_blockers, reopenable_until
from purser.core.money import NANOS_PER_CENT, NANOS_PER_USD
from purser.core.period import format_instant, parse_instant

NOTHING = Estate((), (), 0, 0, 0, 0, 0, 0, charged=True, has_payment_method=False)
ALL = Estate(
    (("ADA-0001", NANOS_PER_USD), ("ADA-0002", 2 * NANOS_PER_USD)),
    deployments=("llama", "qwen"),
    held=3 * NANOS_PER_USD,
    running=4 * NANOS_PER_USD,
    buying=5 * NANOS_PER_USD,
    purchased=6 * NANOS_PER_USD,
    to_invoice=7 * NANOS_PER_USD,
    adrift=8 * NANOS_PER_USD,
    charged=True,
    has_payment_method=False,
)


def codes(estate: Estate, *, give_up: bool = False) -> list[str]:
    return [blocker.code for blocker in list_blockers(estate, give_up=give_up)]


def test_nothing_stands_in_the_way_of_a_clean_account() -> None:
    assert codes(NOTHING) == []
    assert codes(replace(NOTHING, to_invoice=NANOS_PER_USD, has_payment_method=True)) == []
    assert codes(replace(NOTHING, to_invoice=NANOS_PER_USD, charged=False)) == []


def test_everything_is_listed_at_once() -> None:
    found = list_blockers(ALL, give_up=False)
    assert [blocker.code for blocker in found] == [
        *(
            "UNPAID_INVOICE",
            "UNPAID_INVOICE",
            "DEPLOYMENT",
            "DEPLOYMENT",
            "OPEN_HOLDS",
            "RUNNING_REQUESTS",
            "PENDING_PURCHASE",
            "OWED",
        ),
        *("NO_PAYMENT_METHOD", "PURCHASED_CREDIT"),
    ]
    assert [blocker.amount_nanos // NANOS_PER_USD for blocker in found] == [1, 2, 0, 0, 3, 4, 5, 8, 7, 6]
    message = Blocked("ada", found).message
    for blocker in found:
        assert blocker.message in message
    assert message.startswith("account ada cannot be closed yet: invoice ADA-0001: $1.00 is to be paid; invoice ADA-00")


@pytest.mark.parametrize(
    ("estate", "code"),
    [
        ({"unpaid": (("ADA-0001", 1),)}, "UNPAID_INVOICE"),
        ({"deployments": ("llama",)}, "DEPLOYMENT"),
        ({"held": 1}, "OPEN_HOLDS"),
        ({"running": 1}, "RUNNING_REQUESTS"),
        ({"buying": 1}, "PENDING_PURCHASE"),
        ({"adrift": NANOS_PER_CENT}, "OWED"),
        ({"to_invoice": NANOS_PER_CENT}, "NO_PAYMENT_METHOD"),
        ({"purchased": NANOS_PER_CENT}, "PURCHASED_CREDIT"),
    ],
)
def test_each_by_itself(estate: dict[str, Any], code: str) -> None:
    assert codes(replace(NOTHING, **estate)) == [code]


@pytest.mark.parametrize("name", ["adrift", "to_invoice", "purchased"])
def test_what_is_less_than_a_cent_stands_in_nobodys_way(name: str) -> None:
    less: dict[str, Any] = {name: NANOS_PER_CENT - 1}
    assert codes(replace(NOTHING, **less)) == []


def test_purchased_credit_may_be_given_up_and_nothing_else() -> None:
    assert codes(replace(NOTHING, purchased=NANOS_PER_USD), give_up=True) == []
    assert codes(ALL, give_up=True) == codes(ALL)[:-1]


@pytest.mark.parametrize(
    ("closed", "until"),
    [("2026-03-01", "2026-05-01"), ("2026-03-31", "2026-05-01"), ("2026-12-05", "2027-02-01")],
)
def test_until_when_it_can_be_opened_again(closed: str, until: str) -> None:
    at = reopenable_until(parse_instant(f"{closed}T00:00:00Z"))
    assert format_instant(at) == f"{until}T00:00:00Z"
