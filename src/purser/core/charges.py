"""A charge and who paid it: usage of a month is paid in the order of its recording, by credit as it is drawn."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from purser.core.money import format_usd
from purser.core.period import format_instant
from purser.core.rating import Part
from purser.core.usage import AMOUNT


@dataclass(frozen=True, slots=True)
class Payment:
    """So much was paid by a credit grant; by none it is the balance, which the month's invoice asks for.

    `drawn` says whether the ledger has it already: credit is drawn when a month ends, or when credit changes.
    """

    grant: str | None
    amount_nanos: int
    drawn: bool


def read_payment(ledger: str, amount_nanos: int) -> Payment:
    """What a posting of a draw says: out of a grant's credit, or onto what is owed."""
    kind, _, subject = ledger.partition(":")
    return Payment(subject if kind == "credit" else None, amount_nanos, drawn=True)


def paid_by(before_nanos: int, cost_nanos: int, payments: Iterable[Payment]) -> list[Payment]:
    """Of payments in their order those for a charge that was recorded after `before_nanos` of other charges.

    $3 after $4, paid by $5 of one grant and then $20 of another: $1 of the first and $2 of the second.
    """
    found: list[Payment] = []
    for payment in payments:
        passed = min(before_nanos, payment.amount_nanos)
        before_nanos -= passed
        amount = min(cost_nanos, payment.amount_nanos - passed)
        cost_nanos -= amount
        if not amount:
            continue
        last = found[-1] if found else None
        if last is not None and (last.grant, last.drawn) == (payment.grant, payment.drawn):
            found[-1] = Payment(last.grant, last.amount_nanos + amount, last.drawn)
        else:
            found.append(Payment(payment.grant, amount, payment.drawn))
    return found


@dataclass(frozen=True, slots=True)
class Charge:
    """A usage event as it was rated, and what became of its cost; nano-dollars and microseconds UTC."""

    id: str
    model: str
    occurred_at: int
    version: int
    version_since: int
    cost_nanos: int
    clamped_nanos: int
    estimated: bool
    quarantined: bool
    parts: tuple[Part, ...]
    payments: tuple[Payment, ...]
    bill_month: str
    invoice: str | None


def tell(charge: Charge) -> str:
    """A charge in plain sentences."""
    head = f"{charge.id} used {charge.model} at {format_instant(charge.occurred_at)[:19].replace('T', ' ')} UTC"
    if charge.quarantined:
        return (
            f"{head}. What the engine reported contradicts itself: nothing is billed until somebody has looked at it."
        )
    if not charge.parts:
        return f"{head} and cost nothing."
    parts = ", ".join(_part(part) for part in charge.parts)
    said = [f"{head}: {parts}, {_usd(charge.cost_nanos)} in all."]
    said.append(
        f"It was rated by version {charge.version} of the price book, in force since {_when(charge.version_since)}."
    )
    if charge.estimated:
        said.append("The engine reported no usage, so it was estimated, low on purpose.")
    if charge.clamped_nanos:
        said.append(f"{_usd(charge.clamped_nanos)} more was not charged: no more was held for it.")
    said += [_paid(payment, charge) for payment in charge.payments]
    return " ".join(said)


def _part(part: Part) -> str:
    if part.unit == AMOUNT:
        return f"{_usd(part.amount_nanos)} as reported"
    return f"{part.quantity:,} {part.unit.replace('_', ' ')} for {_usd(part.amount_nanos)}"


def _paid(payment: Payment, charge: Charge) -> str:
    amount = _usd(payment.amount_nanos)
    if payment.grant is not None:
        return f"{amount} {'was' if payment.drawn else 'is'} paid by credit {payment.grant}."
    if charge.invoice is None:
        return f"{amount} is beyond credit and goes on the invoice of {charge.bill_month}."
    return f"{amount} is beyond credit and is on invoice {charge.invoice}."


def _usd(nanos: int) -> str:
    return f"${format_usd(nanos)}"


def _when(at: int) -> str:
    return f"{format_instant(at)[:16].replace('T', ' ')} UTC"
