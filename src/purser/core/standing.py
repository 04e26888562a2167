"""Standing: the causes that suspend an account, derived from its facts, each with its own way back (U1–U7)."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core.limits import CONTRACT, PREPAID

UNSUSPENDED = "UNSUSPENDED"
BLOCKED = "BLOCKED_BY_ABUSE_RULE"
FAILED_PAYMENTS = "FAILED_PAYMENTS"
LIMIT_EXCEEDED = "MONTHLY_SPEND_LIMIT_EXCEEDED"
CREDIT_DEPLETED = "CREDIT_DEPLETED"
STRICTEST_FIRST = (BLOCKED, FAILED_PAYMENTS, LIMIT_EXCEEDED, CREDIT_DEPLETED)

DUST_NANOS = 100_000  # $0.0001: less than this left counts as nothing left (U7)


@dataclass(frozen=True, slots=True)
class Room:
    """What is left of one constraint, and whether a request was refused for it while nothing was held (U7)."""

    left_nanos: int
    refused: bool


@dataclass(frozen=True, slots=True)
class Facts:
    """All that standing depends on; `limit` is None where no limit applies."""

    mode: str
    has_payment_method: bool
    credit: Room
    limit: Room | None
    failed_invoices: tuple[str, ...]
    blocked_reason: str | None
    depletion_threshold_nanos: int


def credit_required(mode: str, has_payment_method: bool) -> bool:
    """Whether service needs credit: always prepaid, postpaid without a payment method, never contract."""
    return mode == PREPAID or (mode != CONTRACT and not has_payment_method)


def _spent(room: Room, threshold_nanos: int) -> bool:
    return room.left_nanos < DUST_NANOS or (room.refused and room.left_nanos < threshold_nanos)


def judge(facts: Facts) -> dict[str, str]:
    """The causes that hold now, strictest first, each with why it does."""
    causes = {}
    if facts.blocked_reason is not None:
        causes[BLOCKED] = facts.blocked_reason
    if facts.failed_invoices and facts.mode != CONTRACT:
        causes[FAILED_PAYMENTS] = "unpaid: " + ", ".join(facts.failed_invoices)
    if facts.limit is not None and _spent(facts.limit, facts.depletion_threshold_nanos):
        causes[LIMIT_EXCEEDED] = "this month's usage reached the monthly spend limit"
    if credit_required(facts.mode, facts.has_payment_method) and _spent(facts.credit, facts.depletion_threshold_nanos):
        causes[CREDIT_DEPLETED] = "credit is used up"
    return causes


def strictest(causes: list[str] | tuple[str, ...]) -> str:
    """The one state the compatible API shows (U1)."""
    return next((cause for cause in STRICTEST_FIRST if cause in causes), UNSUSPENDED)
