"""A charge: who paid it, by the order in which usage was recorded and credit drawn, and the words for it (P1, D2)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.charges import Charge, Payment, paid_by, read_payment, tell
from purser.core.period import parse_instant
from purser.core.rating import Part
from purser.core.usage import AMOUNT

USD = 10**9


def paid(*parts: tuple[str | None, int], drawn: bool = True) -> list[Payment]:
    return [Payment(grant, dollars * USD, drawn) for grant, dollars in parts]


@pytest.mark.parametrize(
    ("before", "cost", "expected"),
    [
        (0, 0, []),
        (0, 5, [("free", 5)]),
        (4, 3, [("free", 1), ("bought", 2)]),
        (5, 20, [("bought", 20)]),
        (24, 3, [("bought", 1), (None, 2)]),
        (25, 30, [(None, 30)]),
        (0, 60, [("free", 5), ("bought", 20), (None, 35)]),
    ],
)
def test_payments_follow_in_their_order(before: int, cost: int, expected: list[tuple[str | None, int]]) -> None:
    payments = paid(("free", 5), ("bought", 20), (None, 100))
    assert paid_by(before * USD, cost * USD, payments) == paid(*expected)


def test_several_draws_of_one_grant_are_one_payment_unless_some_is_to_come() -> None:
    payments = [*paid(("g", 2), ("g", 3)), *paid(("g", 4), drawn=False)]
    assert paid_by(USD, 6 * USD, payments) == [*paid(("g", 4)), *paid(("g", 2), drawn=False)]


@given(st.lists(st.integers(0, 50)), st.lists(st.tuples(st.sampled_from(["a", "b", None]), st.integers(0, 50))))
def test_whatever_was_paid_is_some_charges_and_only_once(costs: list[int], parts: list[tuple[str | None, int]]) -> None:
    payments = [Payment(grant, amount, drawn=True) for grant, amount in parts]
    before, found = 0, []
    for cost in costs:
        found += paid_by(before, cost, payments)
        before += cost
    for grant in ("a", "b", None):
        total = sum(payment.amount_nanos for payment in found if payment.grant == grant)
        there = min_of(payments, before, grant)
        assert total == there


def min_of(payments: list[Payment], nanos: int, grant: str | None) -> int:
    """What the first so many nano-dollars of payments took of one grant."""
    total = 0
    for payment in payments:
        taken = min(nanos, payment.amount_nanos)
        nanos -= taken
        total += taken if payment.grant == grant else 0
    return total


def test_a_posting_tells_who_paid() -> None:
    assert read_payment("credit:grant_1", 5) == Payment("grant_1", 5, drawn=True)
    assert read_payment("unbilled:2026-03", 5) == Payment(None, 5, drawn=True)


CHARGE = Charge(
    id="req_1",
    model="tiny",
    occurred_at=parse_instant("2026-03-01T09:00:00Z"),
    version=3,
    version_since=parse_instant("2026-02-01T00:00:00Z"),
    cost_nanos=120_000,
    clamped_nanos=0,
    estimated=False,
    quarantined=False,
    parts=(Part("input_tokens", 1_200, 24_000), Part("output_tokens", 120, 96_000)),
    payments=(
        Payment("grant_1", 100_000, drawn=True),
        Payment("grant_2", 15_000, drawn=False),
        Payment(None, 5_000, drawn=True),
    ),
    bill_month="2026-03",
    invoice=None,
)


def test_the_words() -> None:
    assert tell(CHARGE) == (
        "req_1 used tiny at 2026-03-01 09:00:00 UTC: 1,200 input tokens for $0.000024, "
        "120 output tokens for $0.000096, $0.00012 in all. "
        "It was rated by version 3 of the price book, in force since 2026-02-01 00:00 UTC. "
        "$0.0001 was paid by credit grant_1. $0.000015 is paid by credit grant_2. "
        "$0.000005 is beyond credit and goes on the invoice of 2026-03."
    )


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"invoice": "ADA-0001"}, "$0.000005 is beyond credit and is on invoice ADA-0001."),
        ({"estimated": True}, "The engine reported no usage, so it was estimated, low on purpose."),
        ({"clamped_nanos": 7_000}, "$0.000007 more was not charged: no more was held for it."),
        ({"parts": (), "payments": ()}, "req_1 used tiny at 2026-03-01 09:00:00 UTC and cost nothing."),
        ({"quarantined": True}, "nothing is billed until somebody has looked at it."),
        ({"parts": (Part(AMOUNT, 9, 9),)}, "09:00:00 UTC: $0.000000009 as reported, "),
    ],
)
def test_what_is_said_besides(changed: dict[str, object], words: str) -> None:
    assert words in tell(replace(CHARGE, **changed))  # type: ignore[arg-type]
