"""Bills are whole cents rounded down, the rest is carried, and nothing is lost over the months (M4, D1, A6, A7)."""

from __future__ import annotations

from dataclasses import astuple, dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.invoice import UNPAID, InvoiceLine, Totals, drain, invoice_number, merge_lines, total_up
from purser.core.payment import Owed, allocate

CENT = 10_000_000
USD = 100 * CENT
MINIMUM = 50 * CENT
HALF = CENT // 2

# (rule, subtotal, credits, carried in, owed, minimum charge, total, payments, due, carried out)
BILLS = [
    ("S1", 83 * USD, 20 * USD, 0, 63 * USD, MINIMUM, 63 * USD, 0, 63 * USD, 0),
    ("S11", 327 * CENT, USD, 0, 227 * CENT, MINIMUM, 227 * CENT, 0, 227 * CENT, 0),
    ("A6 wholly covered", 5 * USD, 5 * USD, 0, 0, MINIMUM, 0, 0, 0, 0),
    ("M4 rounded down", USD + HALF, 0, 0, USD + HALF, MINIMUM, USD, 0, USD, HALF),
    ("M4 to the last nano-dollar", USD + CENT - 1, 0, 0, USD + CENT - 1, MINIMUM, USD, 0, USD, CENT - 1),
    ("M4 carried in", USD + HALF, 0, HALF, USD + CENT, MINIMUM, USD + CENT, 0, USD + CENT, 0),
    ("M4 under the minimum", 49 * CENT + 9, 0, 0, 49 * CENT + 9, MINIMUM, 0, 0, 0, 49 * CENT + 9),
    ("M4 the minimum itself", 50 * CENT, 0, 0, 50 * CENT, MINIMUM, 50 * CENT, 0, 50 * CENT, 0),
    ("M4 over it together", 25 * CENT, 0, 30 * CENT, 55 * CENT, MINIMUM, 55 * CENT, 0, 55 * CENT, 0),
    ("M4 the account closes", 30 * CENT + 1, 0, 0, 30 * CENT + 1, 0, 30 * CENT, 0, 30 * CENT, 1),
    ("A7 paid in part meanwhile", 83 * USD, 20 * USD, 0, 13 * USD, MINIMUM, 63 * USD, 50 * USD, 13 * USD, 0),
    ("A7 paid meanwhile", 83 * USD, 20 * USD, 0, 0, MINIMUM, 63 * USD, 63 * USD, 0, 0),
    ("A7, M4 a small rest", 83 * USD, 0, 0, 30 * CENT, MINIMUM, 8270 * CENT, 8270 * CENT, 0, 30 * CENT),
    ("A7 a carried rest paid", USD, 0, 30 * CENT, USD, MINIMUM, 130 * CENT, 30 * CENT, USD, 0),
    ("M4 never more than is owed", USD + HALF, 0, HALF, USD + HALF, MINIMUM, USD + CENT, CENT, USD, 0),
]


@pytest.mark.parametrize(
    "rule, subtotal, credits_applied, carried_in, owed, minimum, total, payments, due, carried_out", BILLS
)
def test_the_totals_of_a_bill(
    rule: str,
    subtotal: int,
    credits_applied: int,
    carried_in: int,
    owed: int,
    minimum: int,
    total: int,
    payments: int,
    due: int,
    carried_out: int,
) -> None:
    expected = Totals(subtotal, credits_applied, 0, carried_in, carried_out, total, payments, due)
    assert total_up(subtotal, credits_applied, carried_in, owed, minimum) == expected, rule


def expect_whole(totals: Totals, owed: int, minimum: int) -> None:
    """What is true of the totals of every bill."""
    exact = totals.subtotal - totals.credits_applied + totals.tax + totals.carried_in
    assert totals.total == exact - totals.carried_out, "M4"
    assert totals.amount_due == totals.total - totals.payments_applied, "D1"
    assert (totals.total % CENT, totals.amount_due % CENT) == (0, 0), "M4: whole cents"
    assert min(totals.carried_out, totals.payments_applied, totals.amount_due) >= 0
    assert totals.carried_out < max(CENT, minimum + CENT), "M4: only what cannot be charged is carried"
    assert totals.amount_due <= owed, "M4: never rounded against the customer"
    assert totals.amount_due == 0 or totals.amount_due >= minimum


AMOUNT = st.one_of(st.integers(0, 3 * CENT), st.integers(0, 100 * USD))


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT, AMOUNT, st.sampled_from([0, MINIMUM]))
def test_the_totals_of_any_bill_agree(
    beyond: int, by_credit: int, tax: int, carried_in: int, paid: int, minimum: int
) -> None:
    owed = max(0, beyond + tax + carried_in - paid)
    totals = total_up(beyond + by_credit, by_credit, carried_in, owed, minimum, tax=tax)
    expect_whole(totals, owed, minimum)
    if paid == 0:
        assert totals.payments_applied == 0
        assert totals.carried_out == owed - totals.amount_due


@dataclass
class Customer:
    """A postpaid customer's money over the months, kept with plain sums beside what is tested."""

    unbilled: dict[str, int] = field(default_factory=dict)
    unpaid: dict[str, int] = field(default_factory=dict)
    credit: int = 0
    carried: int = 0
    used: int = 0
    from_credit: int = 0
    charged: int = 0
    paid_before_invoice: int = 0
    payments_shown: int = 0

    def use(self, month: str, nanos: int) -> int:
        """Usage, from credit as far as there is any; answers how much of it."""
        drawn = min(self.credit, nanos)
        self.credit -= drawn
        self.unbilled[month] = self.unbilled.get(month, 0) + nanos - drawn
        self.used += nanos
        self.from_credit += drawn
        return drawn

    def buy(self, nanos: int) -> None:
        """Credit bought, which pays what is owed first."""
        for part in allocate(nanos, Owed(tuple(self.unpaid.items()), tuple(sorted(self.unbilled.items())))):
            match part.to:
                case "credit":
                    self.credit += part.amount_nanos
                case "invoice":
                    self.unpaid[str(part.id)] -= part.amount_nanos
                case _:
                    self.unbilled[str(part.id)] -= part.amount_nanos
                    self.paid_before_invoice += part.amount_nanos

    def close(self, month: str, subtotal: int, by_credit: int, minimum: int) -> None:
        """The month's invoice."""
        owed = sum(self.unbilled.values())
        totals = total_up(subtotal, by_credit, self.carried, owed, minimum)
        expect_whole(totals, owed, minimum)
        parts = drain(self.unbilled, totals.amount_due)
        assert sum(parts.values()) == totals.amount_due, "every cent due is owed for some month"
        for name, nanos in parts.items():
            self.unbilled[name] -= nanos
        self.unpaid[month] = totals.amount_due
        self.carried = totals.carried_out
        self.charged += totals.amount_due
        self.payments_shown += totals.payments_applied


STEPS = st.lists(st.tuples(st.sampled_from(["use", "use", "buy"]), AMOUNT), max_size=5)


@given(st.lists(STEPS, max_size=12), st.sampled_from([0, MINIMUM]))
def test_over_the_months_what_is_charged_and_what_remains_is_what_was_used(
    months: list[list[tuple[str, int]]], minimum: int
) -> None:
    customer, bought = Customer(), False
    for number, steps in enumerate(months, 1):
        month, subtotal, by_credit = f"2026-{number:02d}", 0, 0
        for what, nanos in steps:
            if what == "buy":
                customer.buy(nanos)
                bought = True
            else:
                subtotal += nanos
                by_credit += customer.use(month, nanos)
        if not subtotal:
            continue
        customer.close(month, subtotal, by_credit, minimum)
        remains = sum(customer.unbilled.values())
        received = customer.from_credit + customer.paid_before_invoice + customer.charged
        assert received + remains == customer.used, "M4: never dropped, never charged twice"
        assert received <= customer.used, "M4: never rounded against the customer"
        assert remains < max(CENT, minimum) + CENT, "and it does not pile up"
        assert abs(customer.payments_shown - customer.paid_before_invoice) < CENT, "D1: shown to the cent"
        if not bought:
            assert remains == customer.carried, "what is carried is what remains"


# drain: (owed by month, amount, from each)
DRAINS = [
    ({"2026-03": 5, "2026-02": 3}, 4, {"2026-02": 3, "2026-03": 1}),
    ({"2026-03": 5, "2026-02": 3}, 3, {"2026-02": 3}),
    ({"2026-03": 5, "2026-02": 0}, 5, {"2026-03": 5}),
    ({"2027-01": 5, "2026-12": 3}, 8, {"2026-12": 3, "2027-01": 5}),
    ({"2026-03": 5}, 0, {}),
    ({}, 0, {}),
    ({"2026-03": 5}, 9, {"2026-03": 5}),
]


@pytest.mark.parametrize("owed, amount, parts", DRAINS)
def test_the_oldest_month_is_invoiced_first(owed: dict[str, int], amount: int, parts: dict[str, int]) -> None:
    assert drain(owed, amount) == parts


@pytest.mark.parametrize(
    "account, sequence, number", [("ada", 1, "ADA-0001"), ("acme-2", 42, "ACME-2-0042"), ("ada", 10_000, "ADA-10000")]
)
def test_the_number_on_an_invoice(account: str, sequence: int, number: str) -> None:
    assert invoice_number(account, sequence) == number, "D1"


def test_an_invoice_is_unpaid_while_issued_or_failed() -> None:
    assert set(UNPAID) == {"ISSUED", "FAILED"}


def line(
    quantity: int,
    amount_nanos: int,
    *,
    month: str = "2026-03",
    model: str = "tiny",
    unit: str = "input_tokens",
    rate_nanos: int = 200,
    rate_per: int = 1_000_000,
) -> InvoiceLine:
    """A line of March's input tokens of one model, unless told otherwise."""
    return InvoiceLine(month, model, unit, rate_nanos, rate_per, quantity, amount_nanos)


def test_lines_of_the_same_month_model_unit_and_rate_are_one() -> None:
    assert merge_lines([line(2, 20), line(3, 31), line(0, 0)]) == [line(5, 51)], "D1"


@pytest.mark.parametrize(
    "other",
    [
        line(1, 1, month="2026-02"),
        line(1, 1, model="small"),
        line(1, 1, unit="cached_input_tokens"),
        line(1, 1, rate_nanos=199),
        line(1, 1, rate_per=1),
    ],
)
def test_lines_that_differ_in_one_of_these_stay_apart_in_printed_order(other: InvoiceLine) -> None:
    assert merge_lines([line(2, 20), other, line(3, 30)]) == [other, line(5, 50)], "D1, D6"


LINES = st.lists(
    st.builds(
        line,
        st.integers(0, 9),
        st.integers(0, 9),
        model=st.sampled_from(["tiny", "small"]),
        rate_nanos=st.integers(1, 2),
    ),
    max_size=10,
)


@given(LINES)
def test_merging_keeps_every_quantity_and_amount(lines: list[InvoiceLine]) -> None:
    merged = merge_lines(lines)
    for key in {astuple(one)[:5] for one in lines}:
        [found] = [one for one in merged if astuple(one)[:5] == key]
        same = [one for one in lines if astuple(one)[:5] == key]
        assert found.quantity == sum(one.quantity for one in same), "D2"
        assert found.amount_nanos == sum(one.amount_nanos for one in same), "C5"
    assert len(merged) == len({astuple(one)[:5] for one in lines})
    assert [astuple(one) for one in merged] == sorted(astuple(one) for one in merged)
