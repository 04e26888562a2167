"""The answers to what customers ask, word for word where the numbers are."""

from __future__ import annotations

from dataclasses import replace

import pytest

from purser.core.answers import (
    CREDITS,
    DEPLETION,
    FORECAST,
    INVOICE,
    QUESTIONS,
    SUSPENDED,
    Bill,
    Granted,
    Situation,
    answer,
)
from purser.core.credits import CreditGrant
from purser.core.forecast import Pace
from purser.core.invoice import DRAFT, FAILED, ISSUED, PAID, VOID, InvoiceLine, Totals
from purser.core.period import DAY, parse_instant
from purser.core.standing import BLOCKED, CREDIT_DEPLETED, FAILED_PAYMENTS, LIMIT_EXCEEDED

USD, CENT = 1_000_000_000, 10_000_000
NOW = parse_instant("2026-03-10T12:00:00Z")
OPENED = parse_instant("2026-03-01T09:00:00Z")
LINE = InvoiceLine("2026-03", "tiny", "input_tokens", 200_000, 1_000, 1_000_000, 2 * USD)
SHORT = InvoiceLine("2026-03", "tiny", "output_tokens", 800_000, 1_000, 100, 80_000)


def grant(id_: str, granted: int, left: int, *, lapsed: int = 0, expires_at: int | None = None) -> Granted:
    kept = CreditGrant(id_, "promotional", granted, left, OPENED, expires_at)
    return Granted(kept, granted - left - lapsed, lapsed)


DRAFTED = Bill(None, "2026-03", DRAFT, Totals(0, 0, 0, 0, 0, 0, 0, 0), 0, ())
NEW = Situation(
    now=NOW,
    mode="postpaid",
    has_payment_method=False,
    binds=True,
    causes=(),
    credit=60 * CENT,
    grants=(grant("grant_1", USD, 60 * CENT),),
    outstanding=0,
    spent=40 * CENT,
    limit=50 * USD,
    held=0,
    pace=Pace(40 * CENT, 4 * DAY),
    bill=DRAFTED,
)
CARD = replace(NEW, has_payment_method=True, binds=False)


@pytest.mark.parametrize("question", QUESTIONS)
def test_every_question_has_a_title_and_an_answer_in_sentences(question: str) -> None:
    found = answer(question, NEW)
    assert found.question == question
    assert found.title.endswith("?")
    assert found.text[0].isupper()
    assert found.text.endswith(".")
    assert "  " not in found.text


# ── why am I suspended ───────────────────────────────────────────────────────────────────────────────────────────
def test_not_suspended_says_what_would_end_it() -> None:
    assert answer(SUSPENDED, NEW).text == (
        "It is not suspended. It can go on until its credit ($0.60 is left) or this month's limit ($0.40 of $50.00 is "
        "used) is reached, whichever comes first."
    )
    assert answer(SUSPENDED, replace(NEW, limit=None)).text == (
        "It is not suspended. It can go on until its credit ends: $0.60 is left."
    )
    assert answer(SUSPENDED, CARD).text == (
        "It is not suspended. It can go on until this month's limit is reached: $0.40 of $50.00 is used."
    )
    assert answer(SUSPENDED, replace(CARD, limit=None)).text == "It is not suspended. Nothing bounds what it spends."


def test_suspended_at_the_limit_with_credit_left_says_that_the_limit_counts_it() -> None:
    at_limit = replace(CARD, causes=((LIMIT_EXCEEDED, NOW - DAY, ""),), spent=50 * USD)
    found = answer(SUSPENDED, at_limit)
    assert found.text == (
        "It is suspended since 2026-03-09 12:00 UTC because this month's usage reached the monthly spend limit "
        "[MONTHLY_SPEND_LIMIT_EXCEEDED]. $50.00 of $50.00 is used in 2026-03. $0.60 of credit is left: the limit "
        "counts "
        "usage whether or not credit pays for it. Raise the limit if your tier allows it, move up a tier by adding "
        "credit, or wait for the new month."
    )
    assert found.figures == {"spentThisMonthUsd": "50.00", "creditUsd": "0.60", "limitUsd": "50.00"}
    assert "credit is left" not in answer(SUSPENDED, replace(at_limit, credit=0)).text


def test_suspended_without_credit_says_how_much_there_was() -> None:
    gone = replace(NEW, causes=((CREDIT_DEPLETED, NOW, ""),), credit=0, grants=(grant("grant_1", USD, 0),))
    assert answer(SUSPENDED, gone).text == (
        "It is suspended since 2026-03-10 12:00 UTC because its credit is used up [CREDIT_DEPLETED]. $1.00 of "
        "credit was "
        "given or bought, and $0.00 of it is left. Add a payment method or credit; service resumes by itself within a "
        "second."
    )
    assert answer(SUSPENDED, replace(gone, mode="prepaid")).text.endswith(
        "Add credit; service resumes by itself within a second."
    )


def test_every_cause_is_explained_with_its_reason() -> None:
    both = replace(
        CARD,
        causes=((BLOCKED, NOW, "stolen card"), (FAILED_PAYMENTS, NOW, "invoice ADA-0001")),
        outstanding=7 * USD,
    )
    found = answer(SUSPENDED, both)
    assert "(stolen card) [BLOCKED_BY_ABUSE_RULE]. Only the provider can lift this" in found.text
    assert "(invoice ADA-0001) [FAILED_PAYMENTS]. $7.00 is owed. Pay the open invoice" in found.text
    assert found.figures["outstandingUsd"] == "7.00"


# ── where did my credit go ───────────────────────────────────────────────────────────────────────────────────────
def test_credit_is_told_grant_by_grant() -> None:
    until = parse_instant("2026-12-31T00:00:00Z")
    found = answer(
        CREDITS,
        replace(
            NEW,
            credit=9 * USD,
            grants=(grant("grant_2", 10 * USD, 9 * USD, expires_at=until), grant("grant_1", USD, 0, lapsed=30 * CENT)),
        ),
    )
    assert found.text == (
        "Of $11.00 of credit, usage took $1.70, $0.30 has lapsed and $9.00 is left. grant_2 (promotional, until "
        "2026-12-31): $10.00 on 2026-03-01, $1.00 used, $0.00 lapsed, $9.00 left. grant_1 (promotional): $1.00 on "
        "2026-03-01, $0.70 used, $0.30 lapsed, $0.00 left. Credit is used before anything is charged: what "
        "lapses first "
        "goes first, then free before bought."
    )
    assert found.figures == {"grantedUsd": "11.00", "usedUsd": "1.70", "lapsedUsd": "0.30", "creditUsd": "9.00"}


def test_many_grants_are_summed_and_the_newest_named() -> None:
    found = answer(CREDITS, replace(NEW, grants=tuple(grant(f"grant_{n}", USD, 0) for n in range(7))))
    assert found.text.startswith("Of $7.00 of credit, usage took $7.00")
    assert "grant_4 (" in found.text
    assert "grant_5 (" not in found.text
    assert "There are 2 older ones." in found.text


def test_an_account_that_never_had_credit() -> None:
    assert answer(CREDITS, replace(NEW, grants=(), credit=0)).text == "It has never had credit."


# ── why this invoice ─────────────────────────────────────────────────────────────────────────────────────────────
def bill(state: str, **more: object) -> Bill:
    totals = Totals(2 * USD + 80_000, 50 * CENT, 10 * CENT, 20 * CENT, 80_000, 180 * CENT, 30 * CENT, 150 * CENT)
    made = Bill("ADA-0001", "2026-03", state, totals, 0, (LINE, SHORT))
    return replace(made, **more)  # type: ignore[arg-type]  # fields by name


def test_an_invoice_is_derived_in_words() -> None:
    found = answer(INVOICE, replace(CARD, bill=bill(PAID, paid_at=NOW)))
    assert found.text == (
        "Invoice ADA-0001 is for 2026-03. Usage comes to $2.00008 on 2 lines: the most is 1,000,000 input tokens "
        "of tiny "
        "for $2.00. Credit pays $0.50 of it. $0.20 is carried in from before. Tax is $0.10. $0.00008 is carried "
        "on: less "
        "than a cent, or than the least charged. $0.30 was paid before it was issued. The total is $1.80, and "
        "$1.50 of it "
        "was due, which is paid since 2026-03-10."
    )
    assert found.figures == {
        "number": "ADA-0001",
        "month": "2026-03",
        "state": "PAID",
        "subtotalUsd": "2.00008",
        "creditsAppliedUsd": "0.50",
        "paymentsAppliedUsd": "0.30",
        "carriedInUsd": "0.20",
        "carriedOutUsd": "0.00008",
        "taxUsd": "0.10",
        "totalUsd": "1.80",
        "amountDueUsd": "1.50",
        "remainingUsd": "0.00",
    }


@pytest.mark.parametrize(
    ("made", "end"),
    [
        (bill(PAID), "$1.50 of it was due, which is paid."),
        (bill(ISSUED, remaining_nanos=USD), "$1.50 of it is due; $1.00 is still to be paid."),
        (
            bill(FAILED, remaining_nanos=USD, due_at=NOW),
            "$1.50 of it is due since 2026-03-10; $1.00 is still to be paid.",
        ),
        (bill(VOID), "$1.50 of it was due until the invoice was made void."),
    ],
)
def test_what_became_of_what_was_due(made: Bill, end: str) -> None:
    assert answer(INVOICE, replace(CARD, bill=made)).text.endswith(end)


def test_without_an_invoice_the_running_month_is_told() -> None:
    assert answer(INVOICE, NEW).text == (
        "There is no invoice yet. If 2026-03 closed now: Usage comes to $0.00. The total is $0.00, and $0.00 of "
        "it would "
        "be charged."
    )
    one = replace(DRAFTED, lines=(LINE,), totals=replace(DRAFTED.totals, subtotal=2 * USD, credits_applied=2 * USD))
    assert "Usage comes to $2.00 on one line: 1,000,000 input tokens of tiny for $2.00." in (
        answer(INVOICE, replace(NEW, bill=one)).text
    )


# ── what happens when my credit ends ─────────────────────────────────────────────────────────────────────────────
def test_what_happens_when_credit_ends_depends_on_how_it_is_paid() -> None:
    stops = "When it ends requests are refused, exactly there; nothing is owed."
    assert answer(DEPLETION, NEW).text == (
        f"There is no payment method, so credit is all that it spends: $0.60 is left. {stops} Add a payment method or "
        "credit; service resumes by itself within a second."
    )
    assert answer(DEPLETION, replace(CARD, mode="prepaid", binds=True)).text == (
        f"Credit is all that this account spends: $0.60 is left. {stops} Add credit; service resumes by itself "
        "within a "
        "second."
    )
    goes_on = "Nothing stops: there is a payment method, and usage beyond credit is charged to it at the month's end."
    assert answer(DEPLETION, CARD).text == (
        f"{goes_on} This month that can be $49.60 more at most: $0.40 of the limit of $50.00 is used."
    )
    assert answer(DEPLETION, replace(CARD, limit=None)).text == goes_on
    assert answer(DEPLETION, replace(CARD, mode="contract", limit=None)).text == (
        "Nothing stops: usage beyond credit goes on the invoice of its month, by the contract."
    )


# ── when will it end at this pace ────────────────────────────────────────────────────────────────────────────────
def test_credit_and_limit_are_forecast_by_the_pace() -> None:
    found = answer(FORECAST, NEW)
    assert found.text == (
        "In the last 4 days $0.40 was spent, $0.10 a day. At this pace the $0.60 of credit ends on 2026-03-16. "
        "The month "
        "comes to $2.55 at this pace, within its limit of $50.00."
    )
    assert found.figures == {"perDayUsd": "0.10", "monthUsd": "2.55", "creditEndsAt": "2026-03-16T12:00:00Z"}


def test_with_a_card_usage_goes_on_to_be_charged_until_the_limit() -> None:
    found = answer(FORECAST, replace(CARD, spent=40 * USD, pace=Pace(7 * USD, 7 * DAY)))
    assert found.text == (
        "In the last 7 days $7.00 was spent, $1.00 a day. At this pace the $0.60 of credit ends on 2026-03-11, "
        "and usage "
        "goes on to be charged. This month's limit of $50.00 is reached on 2026-03-20 at this pace."
    )
    assert found.figures["limitReachedAt"] == "2026-03-20T12:00:00Z"


def test_what_has_ended_is_not_forecast() -> None:
    found = answer(FORECAST, replace(CARD, credit=0, spent=50 * USD, pace=Pace(USD, DAY)))
    assert found.text == (
        "In the last day $1.00 was spent, $1.00 a day. No credit is left. This month's limit of $50.00 is reached."
    )
    assert "creditEndsAt" not in found.figures


def test_nothing_spent_ends_nothing() -> None:
    assert answer(FORECAST, replace(NEW, pace=Pace(0, 7 * DAY))).text == (
        "In the last 7 days nothing was spent, so nothing ends."
    )


def test_credit_that_lasts_for_decades_has_no_date() -> None:
    found = answer(FORECAST, replace(NEW, credit=10**6 * USD, limit=None, pace=Pace(CENT, DAY)))
    assert found.text == "In the last day $0.01 was spent, $0.01 a day."
