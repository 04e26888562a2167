"""One text for every face: why an account is suspended or a request refused, and the way back (U1, U2, H3, A8, L3)."""

from __future__ import annotations

from itertools import chain, combinations

import pytest

from purser.core.explain import CREDIT, LIMIT, explain_cause, insufficient_message, suspended_message
from purser.core.standing import BLOCKED, CREDIT_DEPLETED, FAILED_PAYMENTS, LIMIT_EXCEEDED, STRICTEST_FIRST

# (rule, cause, prepaid, words that must be there, words that must not)
WAYS_BACK = [
    ("A4", CREDIT_DEPLETED, False, ["payment method", "credit"], []),
    ("A8 a card alone lifts nothing", CREDIT_DEPLETED, True, ["Add credit"], ["payment method"]),
    ("L4", LIMIT_EXCEEDED, False, ["Raise the limit", "tier", "new month"], []),
    ("L3 credit raises nothing", LIMIT_EXCEEDED, True, ["Raise the limit", "new month"], ["tier", "credit"]),
    ("U6", FAILED_PAYMENTS, False, ["Pay the open invoice", "payment method"], []),
    ("U6", FAILED_PAYMENTS, True, ["Pay the open invoice"], []),
    ("U1", BLOCKED, False, ["contact support"], ["Pay", "limit"]),
]


@pytest.mark.parametrize("rule, cause, prepaid, present, absent", WAYS_BACK)
def test_each_cause_says_what_lifts_it(
    rule: str, cause: str, prepaid: bool, present: list[str], absent: list[str]
) -> None:
    words = explain_cause(cause, prepaid=prepaid)
    assert words.cause == cause
    assert words.what, rule
    assert [text for text in present if text not in words.way_back] == [], rule
    assert [text for text in absent if text in words.way_back] == [], rule


SETS = list(chain.from_iterable(combinations(STRICTEST_FIRST, size) for size in range(1, 5)))


@pytest.mark.parametrize("prepaid", [True, False])
@pytest.mark.parametrize("held", SETS)
def test_a_suspended_account_is_told_every_cause_strictest_first(held: tuple[str, ...], prepaid: bool) -> None:
    message = suspended_message("ada", dict.fromkeys(reversed(held), "detail"), prepaid=prepaid)
    assert message.startswith("Account ada is suspended: "), "U2"
    places = [message.index(f"[{cause}]") for cause in held]
    assert places == sorted(places), "U1"
    for cause in STRICTEST_FIRST:
        assert (cause in message) == (cause in held)
        assert (explain_cause(cause, prepaid=prepaid).way_back in message) == (cause in held)


def test_the_message_of_a_failed_payment_in_full() -> None:
    message = suspended_message("ada", {FAILED_PAYMENTS: "unpaid: ADA-0001"})
    assert message == (
        "Account ada is suspended: a payment failed (unpaid: ADA-0001) [FAILED_PAYMENTS]. Pay the open invoice, or add "
        "a working payment method and it is charged again at once; service resumes by itself within a second of the "
        "payment."
    )


# (constraint, left, hold, affordable tokens, message)
REFUSALS = [
    (
        *(CREDIT, 500_000, 916_000, 480),
        "Not enough credit: $0.0005 is left and this request could cost up to $0.000916. "
        "With max_tokens 480 or less it would be admitted.",
    ),
    (
        *(CREDIT, 0, 916_000, 0),
        "Not enough credit: $0.00 is left and this request could cost up to $0.000916. "
        "Add credit, or shorten the request.",
    ),
    (
        *(LIMIT, -5, 916_000, -1),
        "Not enough room under the monthly spend limit: $0.00 is left and this request could cost up to $0.000916. "
        "Raise the limit, or shorten the request.",
    ),
]


@pytest.mark.parametrize("constraint, left, hold, tokens, message", REFUSALS)
def test_a_refusal_says_which_constraint_what_is_left_and_what_would_fit(
    constraint: str, left: int, hold: int, tokens: int, message: str
) -> None:
    assert insufficient_message(constraint, left, hold, tokens) == message, "H3"


def test_a_refusal_while_money_is_only_held_says_so() -> None:
    assert insufficient_message(CREDIT, 100_000, 916_000, 0, 2_000_000) == (
        "Not enough credit: $0.0001 is left, $0.002 is held for what is running, and this request could cost up to "
        "$0.000916. What it does not use comes back when it ends."
    ), "H3"
    assert "With max_tokens 3 or less it would be admitted." in insufficient_message(CREDIT, 1, 2, 3, 4)
