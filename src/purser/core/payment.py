"""Payments: their states, purposes and the days on which a failed invoice is charged again (U6)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from purser.core.period import DAY

PENDING, SENT, SUCCEEDED, DECLINED = "pending", "sent", "succeeded", "declined"
FOR_CREDIT, FOR_INVOICE = "credit", "invoice"
DEFAULT_DUNNING_DAYS = (1, 3, 5, 7)


@dataclass(frozen=True, slots=True)
class Owed:
    """What a customer owes, oldest first: (invoice id, amount) of unpaid invoices, then (month, amount) unbilled."""

    invoices: tuple[tuple[str, int], ...]
    unbilled: tuple[tuple[str, int], ...]

    @property
    def total_nanos(self) -> int:
        """All that is owed."""
        return sum(amount for _, amount in self.invoices) + sum(amount for _, amount in self.unbilled)


@dataclass(frozen=True, slots=True)
class Allocation:
    """Where a purchase goes: `to` is "invoice", "unbilled" or "credit", with the invoice's id or the month."""

    to: str
    id: str | None
    amount_nanos: int


def allocate(amount_nanos: int, owed: Owed) -> list[Allocation]:
    """Spread money received: unpaid invoices first, oldest first, then unbilled usage, the rest to credit (A7).

    $500 against $750 owed leaves $250 owed and no credit (S2).
    """
    parts = []
    for to, items in (("invoice", owed.invoices), ("unbilled", owed.unbilled)):
        for id_, owing in items:
            paid = min(owing, amount_nanos)
            if paid > 0:
                parts.append(Allocation(to, id_, paid))
                amount_nanos -= paid
    if amount_nanos:
        parts.append(Allocation("credit", None, amount_nanos))
    return parts


def paid_by_invoice(parts: list[Allocation]) -> Mapping[str, int]:
    """How much each invoice gets of an allocation."""
    return {part.id: part.amount_nanos for part in parts if part.to == "invoice" and part.id}


def next_attempt_at(issued_at: int, now: int, days: tuple[int, ...] = DEFAULT_DUNNING_DAYS) -> int | None:
    """When an invoice whose charge failed `now` is charged again: on the next of its days, None after the last.

    The days count from its issue, so attempts by hand or with a new card in between take none of them away.
    """
    return min((at for at in (issued_at + day * DAY for day in days) if at > now), default=None)
