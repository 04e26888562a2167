"""Money received pays what is owed first, and a failed invoice is charged again on its days (A7, U6, S2–S4)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.payment import Allocation, Owed, allocate, next_attempt_at, paid_by_invoice
from purser.core.period import DAY, month_start

USD = 1_000_000_000
AT = month_start("2026-04")

# (scenario, received in dollars, unpaid invoices, unbilled months, where it goes)
PURCHASES = [
    ("S2", 500, {"inv_1": 750}, {}, [("invoice", "inv_1", 500)]),
    ("S3", 500, {"inv_1": 300}, {}, [("invoice", "inv_1", 300), ("credit", None, 200)]),
    ("S4", 500, {"inv_1": 500}, {}, [("invoice", "inv_1", 500)]),
    ("S2 unbilled", 500, {}, {"2026-03": 750}, [("unbilled", "2026-03", 500)]),
    (
        "A7 oldest invoice first, then unbilled, then credit",
        500,
        {"inv_1": 200, "inv_2": 100},
        {"2026-03": 50, "2026-04": 40},
        [
            ("invoice", "inv_1", 200),
            ("invoice", "inv_2", 100),
            ("unbilled", "2026-03", 50),
            ("unbilled", "2026-04", 40),
            ("credit", None, 110),
        ],
    ),
    (
        "A7 the second invoice in part, nothing to unbilled",
        250,
        {"inv_1": 200, "inv_2": 100},
        {"2026-03": 50},
        [("invoice", "inv_1", 200), ("invoice", "inv_2", 50)],
    ),
    ("A7 nothing owed", 500, {}, {}, [("credit", None, 500)]),
    ("A7 a paid one takes nothing", 5, {"inv_1": 0}, {"2026-03": 0}, [("credit", None, 5)]),
]


@pytest.mark.parametrize("rule, received, invoices, unbilled, parts", PURCHASES)
def test_a_purchase_pays_what_is_owed_first(
    rule: str,
    received: int,
    invoices: dict[str, int],
    unbilled: dict[str, int],
    parts: list[tuple[str, str | None, int]],
) -> None:
    owed = Owed(
        tuple((id_, usd * USD) for id_, usd in invoices.items()),
        tuple((month, usd * USD) for month, usd in unbilled.items()),
    )
    assert allocate(received * USD, owed) == [Allocation(to, id_, usd * USD) for to, id_, usd in parts], rule
    assert owed.total_nanos == (sum(invoices.values()) + sum(unbilled.values())) * USD


AMOUNTS = st.lists(st.integers(0, 100), max_size=5)


@given(st.integers(0, 600), AMOUNTS, AMOUNTS)
def test_money_received_is_spread_without_loss(received: int, invoices: list[int], unbilled: list[int]) -> None:
    owed = Owed(
        tuple((f"inv_{n}", amount) for n, amount in enumerate(invoices)),
        tuple((f"2026-{n + 1:02d}", amount) for n, amount in enumerate(unbilled)),
    )
    parts = allocate(received, owed)
    assert sum(part.amount_nanos for part in parts) == received
    assert all(part.amount_nanos > 0 for part in parts)
    assert sum(part.amount_nanos for part in parts if part.to == "credit") == max(0, received - owed.total_nanos), "A7"
    paid = {part.id: part.amount_nanos for part in parts}
    queue = [*owed.invoices, *owed.unbilled]
    for place, (id_, amount) in enumerate(queue):
        assert paid.get(id_, 0) <= amount
        if any(paid.get(later) for later, _ in queue[place + 1 :]):
            assert paid.get(id_, 0) == amount, "A7: oldest first"
    assert paid_by_invoice(parts) == {id_: paid[id_] for id_, _ in owed.invoices if id_ in paid}


@pytest.mark.parametrize(
    "failed_after, days, again",
    [
        (0, (1, 3), 1),
        (DAY - 1, (1, 3), 1),
        (DAY, (1, 3), 3),
        (2 * DAY, (1, 3), 3),
        (3 * DAY, (1, 3), None),
        (9 * DAY, (1, 3), None),
        (0, (), None),
    ],
)
def test_a_failed_invoice_is_charged_again_on_its_days(
    failed_after: int, days: tuple[int, ...], again: int | None
) -> None:
    assert next_attempt_at(AT, AT + failed_after, days) == (None if again is None else AT + again * DAY), "U6"


def test_the_days_of_dunning_are_1_3_5_and_7() -> None:
    attempts = [next_attempt_at(AT, AT + day * DAY) for day in (0, 1, 3, 5, 7)]
    assert attempts == [AT + DAY, AT + 3 * DAY, AT + 5 * DAY, AT + 7 * DAY, None], "U6"
