"""The words: why an account is suspended or a request refused, and the way back; one text for every face (U2, H3)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from purser.core import lease
from purser.core.money import format_usd
from purser.core.standing import (
    BLOCKED,
    CREDIT_DEPLETED,
    FAILED_PAYMENTS,
    LIMIT_EXCEEDED,
    STRICTEST_FIRST,
)


@dataclass(frozen=True, slots=True)
class Explanation:
    """A cause in plain words: what happened, and what lifts it."""

    cause: str
    what: str
    way_back: str


_WORDS = {
    BLOCKED: (
        "it was blocked under an abuse rule",
        "Only the provider can lift this: contact support with your account id.",
    ),
    FAILED_PAYMENTS: (
        "a payment failed",
        "Pay the open invoice, or add a working payment method and it is charged again at once; service resumes by "
        "itself within a second of the payment.",
    ),
    LIMIT_EXCEEDED: (
        "this month's usage reached the monthly spend limit",
        "Raise the limit if your tier allows it, move up a tier by adding credit, or wait for the new month.",
    ),
    CREDIT_DEPLETED: (
        "its credit is used up",
        "Add a payment method or credit; service resumes by itself within a second.",
    ),
}
# Prepaid, a card alone lifts nothing (A8), and credit neither raises nor resets the limit (L3).
_PREPAID_WAY_BACK = {
    CREDIT_DEPLETED: "Add credit; service resumes by itself within a second.",
    LIMIT_EXCEEDED: "Raise the limit, or wait for the new month.",
}


def explain_cause(cause: str, *, prepaid: bool = False) -> Explanation:
    """One cause in words."""
    what, way_back = _WORDS[cause]
    if prepaid:
        way_back = _PREPAID_WAY_BACK.get(cause, way_back)
    return Explanation(cause, what, way_back)


def suspended_message(account: str, causes: Mapping[str, str], *, prepaid: bool = False) -> str:
    """The 412 message: contains "is suspended", names each cause, and says what lifts it (U2)."""
    parts = []
    for cause in STRICTEST_FIRST:
        if cause in causes:
            words = explain_cause(cause, prepaid=prepaid)
            detail = f" ({causes[cause]})" if cause in (BLOCKED, FAILED_PAYMENTS) and causes[cause] else ""
            parts.append(f"{words.what}{detail} [{cause}]. {words.way_back}")
    return f"Account {account} is suspended: " + " Also: ".join(parts)


CREDIT, LIMIT, KEY, USER, GROUP = "CREDIT", "LIMIT", "KEY", "USER", "GROUP"
# As refusals name what a row stands for.
CONSTRAINTS = {
    lease.CREDIT: CREDIT,
    lease.MONTH: LIMIT,
    lease.KEY: KEY,
    lease.USER: USER,
    lease.GROUP: GROUP,
}
_CONSTRAINT = {
    CREDIT: "credit",
    LIMIT: "room under the monthly spend limit",
    KEY: "left in this API key's budget",
    USER: "left of what this user may spend in a month",
    GROUP: "left of what this user's group lets each member spend in a month",
}
_ASK = "Ask for a higher limit (purser limits ask), wait for the new month, or shorten the request."
_ADVICE = {
    CREDIT: "Add credit, or shorten the request.",
    LIMIT: "Raise the limit, or shorten the request.",
    KEY: "Raise the key's budget, wait for its next period, or shorten the request.",
    USER: _ASK,
    GROUP: _ASK,
}


def insufficient_message(
    constraint: str, left_nanos: int, hold_nanos: int, affordable_tokens: int, held_nanos: int = 0
) -> str:
    """The 402 message: which constraint, what is left, what the request needs, what would fit (H3).

    Of what running requests hold (`held_nanos`), what they do not use comes back.
    """
    is_held = held_nanos > 0
    if affordable_tokens > 0:
        advice = f"With max_tokens {affordable_tokens} or less it would be admitted."
    else:
        advice = "What it does not use comes back when it ends." if is_held else _ADVICE[constraint]
    running = f", ${format_usd(held_nanos)} is held for what is running," if is_held else ""
    return (
        f"Not enough {_CONSTRAINT[constraint]}: ${format_usd(max(0, left_nanos))} is left{running} and this request "
        f"could cost up to ${format_usd(hold_nanos)}. {advice}"
    )
