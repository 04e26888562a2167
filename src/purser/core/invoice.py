"""Invoices: the totals of a month's bill, in whole cents with the remainder carried (M4, D1), and their states."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from purser.core.money import floor_cents

POSTPAID_BILLING, PREPAID_CREDITS, CONTRACTED = "POSTPAID_BILLING", "PREPAID_CREDITS", "CONTRACTED"
DRAFT, ISSUED, PAID, VOID, FAILED = "DRAFT", "ISSUED", "PAID", "VOID", "FAILED"
UNPAID = (ISSUED, FAILED)


@dataclass(frozen=True, slots=True)
class InvoiceLine:
    """One model, unit and rate of one usage month: how much of it, and what it cost."""

    month: str
    model: str
    unit: str
    rate_nanos: int
    rate_per: int
    quantity: int
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class Totals:
    """The figures of an invoice in nano-dollars: total = subtotal − credits + tax + carried in − carried out."""

    subtotal: int
    credits_applied: int
    tax: int
    carried_in: int
    carried_out: int
    total: int
    payments_applied: int
    amount_due: int


def total_up(
    subtotal: int, credits_applied: int, carried_in: int, owed: int, minimum_charge: int, *, tax: int = 0
) -> Totals:
    """Total a bill whose customer still owes exactly `owed` of it (payments made meanwhile already taken off).

    The total is whole cents rounded down and the rest is carried; what would be charged is whole cents too, never
    more than is owed; an amount due under `minimum_charge` is carried as well (M4). $83 used, $20 of credit: $63.
    """
    exact = subtotal - credits_applied + tax + carried_in
    total = floor_cents(exact)
    due = min(floor_cents(owed), total)
    if due < minimum_charge:
        total, due = total - due, 0
    return Totals(subtotal, credits_applied, tax, carried_in, exact - total, total, total - due, due)


def drain(owed_by_month: Mapping[str, int], amount: int) -> dict[str, int]:
    """Take `amount` from what is owed, oldest month first; answers how much of each month."""
    taken = {}
    for month in sorted(owed_by_month):
        part = min(owed_by_month[month], amount)
        if part > 0:
            taken[month] = part
            amount -= part
    return taken


def invoice_number(account: str, sequence: int) -> str:
    """The number printed on an invoice, gapless per account: "ADA-0001"."""
    return f"{account.upper()}-{sequence:04d}"


def merge_lines(lines: Iterable[InvoiceLine]) -> list[InvoiceLine]:
    """Sum lines of the same month, model, unit and rate, in the order of a printed invoice."""
    sums: dict[tuple[str, str, str, int, int], tuple[int, int]] = {}
    for line in lines:
        key = (line.month, line.model, line.unit, line.rate_nanos, line.rate_per)
        quantity, amount = sums.get(key, (0, 0))
        sums[key] = (quantity + line.quantity, amount + line.amount_nanos)
    return [InvoiceLine(*key, *sums[key]) for key in sorted(sums)]
