"""Closing an account: what stands in the way, and until when it can be opened again (A10, S79)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from purser.core.errors import Conflict
from purser.core.money import NANOS_PER_CENT, format_usd
from purser.core.period import month_end, month_of, next_month

READY, DELETING = "READY", "DELETING"  # the states of an account, as the compatible API calls them


@dataclass(frozen=True, slots=True)
class Blocker:
    """One thing that stands in the way: its code, what to do about it, and the nano-dollars it is about."""

    code: str
    message: str
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class Estate:
    """What an account has and owes as it is to be closed, nano-dollars.

    `unpaid` are its open invoices by number, `deployments` those that are not deleted. `to_invoice` is owed and goes on
    the final invoice, which is `charged` unless its terms say otherwise; `adrift` is owed and on no invoice to come, as
    in prepaid.
    """

    unpaid: Sequence[tuple[str, int]]
    deployments: Sequence[str]
    held: int
    running: int
    buying: int
    purchased: int
    to_invoice: int
    adrift: int
    charged: bool
    has_payment_method: bool


class Blocked(Conflict):
    """An account cannot be closed yet; the message lists every blocker."""

    def __init__(self, account: str, blockers: Sequence[Blocker]) -> None:
        listed = "; ".join(blocker.message for blocker in blockers)
        super().__init__(f"account {account} cannot be closed yet: {listed}", code="FAILED_PRECONDITION")
        self.blockers = tuple(blockers)


def list_blockers(estate: Estate, *, give_up: bool) -> list[Blocker]:
    """All that stands in the way; `give_up` means that purchased credit which is left may lapse.

    What cannot be charged or paid back, since it is less than a cent, does not.
    """
    found = [
        Blocker("UNPAID_INVOICE", f"invoice {number}: ${format_usd(nanos)} is to be paid", nanos)
        for number, nanos in estate.unpaid
    ]
    found += [
        Blocker("DEPLOYMENT", f"deployment {each} is not deleted: purser deployment delete {each}", 0)
        for each in estate.deployments
    ]
    some = (
        ("OPEN_HOLDS", estate.held, "is held through the API: settle or void these holds"),
        ("RUNNING_REQUESTS", estate.running, "is held by requests that run: try again when they have ended"),
        ("PENDING_PURCHASE", estate.buying, "of credit is being bought: wait for the payment provider's answer"),
        ("OWED", _worth(estate.adrift), "is owed and on no invoice: buy credit, which pays it first"),
    )
    found += [Blocker(code, f"${format_usd(nanos)} {words}", nanos) for code, nanos, words in some if nanos]
    if _worth(estate.to_invoice) and estate.charged and not estate.has_payment_method:
        words = "is owed and will be invoiced, with no payment method on file: add one, or buy credit"
        found.append(Blocker("NO_PAYMENT_METHOD", f"${format_usd(estate.to_invoice)} {words}", estate.to_invoice))
    if _worth(estate.purchased) and not give_up:
        words = "of credit that was bought is left: use it, have it refunded, or give it up (giveUpCredit)"
        found.append(Blocker("PURCHASED_CREDIT", f"${format_usd(estate.purchased)} {words}", estate.purchased))
    return found


def _worth(nanos: int) -> int:
    """An amount, 0 where it is less than a cent."""
    return nanos if nanos >= NANOS_PER_CENT else 0


def reopenable_until(closing_at: int) -> int:
    """An account can be opened again until the month has ended that follows the one in which it was closed."""
    return month_end(next_month(month_of(closing_at)))
