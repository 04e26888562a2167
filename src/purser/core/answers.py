"""Answers to what customers ask about their money, with the account's own numbers; one text for every face (D5)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from purser.core.credits import CreditGrant
from purser.core.explain import explain_cause
from purser.core.forecast import Pace
from purser.core.invoice import DRAFT, PAID, VOID, InvoiceLine, Totals
from purser.core.limits import CONTRACT, PREPAID
from purser.core.money import format_usd
from purser.core.period import DAY, format_instant, month_end, month_of
from purser.core.standing import BLOCKED, CREDIT_DEPLETED, FAILED_PAYMENTS, LIMIT_EXCEEDED

SUSPENDED, CREDITS, INVOICE, DEPLETION, FORECAST = "suspended", "credits", "invoice", "depletion", "forecast"
TITLES = {
    SUSPENDED: "Why is my account suspended?",
    CREDITS: "Where did my credit go?",
    INVOICE: "Why is my invoice what it is?",
    DEPLETION: "What happens when my credit ends?",
    FORECAST: "When will it end at this pace?",
}
QUESTIONS = tuple(TITLES)
_NAMED_GRANTS, _FAR = 5, 3_652 * DAY


@dataclass(frozen=True, slots=True)
class Granted:
    """A grant of credit and what became of it, nano-dollars."""

    grant: CreditGrant
    used_nanos: int
    lapsed_nanos: int


@dataclass(frozen=True, slots=True)
class Bill:
    """An invoice, or a running month's bill as it stands: its figures in nano-dollars, instants None where there are
    none."""

    number: str | None
    month: str
    state: str
    totals: Totals
    remaining_nanos: int
    lines: tuple[InvoiceLine, ...]
    due_at: int | None = None
    paid_at: int | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """An account as its customer sees it at `now`: nano-dollars; `limit` is None where there is none.

    `binds` says whether credit is all that it can spend. `causes` are (cause, since when, why).
    """

    now: int
    mode: str
    has_payment_method: bool
    binds: bool
    causes: tuple[tuple[str, int, str], ...]
    credit: int
    grants: tuple[Granted, ...]
    outstanding: int
    spent: int
    limit: int | None
    held: int
    pace: Pace
    bill: Bill


@dataclass(frozen=True, slots=True)
class Answer:
    """A question, its answer in plain sentences, and the figures in it (dollars and instants as on the wire)."""

    question: str
    text: str
    figures: dict[str, str] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The question as a customer asks it."""
        return TITLES[self.question]


def answer(question: str, situation: Situation) -> Answer:
    """The answer to one of QUESTIONS."""
    sentences, figures = _ANSWERS[question](situation)
    return Answer(question, " ".join(sentences), figures)


_Said = tuple[list[str], dict[str, str]]


def _usd(nanos: int) -> str:
    return f"${format_usd(nanos)}"


def _day(at: int) -> str:
    return format_instant(at)[:10]


def _until(at: int | None) -> str:
    return "" if at is None else f", until {_day(at)}"


def _suspended(now: Situation) -> _Said:
    figures = {"spentThisMonthUsd": format_usd(now.spent), "creditUsd": format_usd(now.credit)}
    if now.limit is not None:
        figures["limitUsd"] = format_usd(now.limit)
    if not now.causes:
        return [f"It is not suspended. {_room(now)}"], figures
    said = []
    for cause, since, why in now.causes:
        words = explain_cause(cause, prepaid=now.mode == PREPAID)
        detail = f" ({why})" if why and cause in (BLOCKED, FAILED_PAYMENTS) else ""
        said.append(f"It is suspended since {_when(since)} because {words.what}{detail} [{cause}].")
        if cause == LIMIT_EXCEEDED and now.limit is not None:
            said.append(f"{_usd(now.spent)} of {_usd(now.limit)} is used in {month_of(now.now)}.")
            if now.credit:
                said.append(
                    f"{_usd(now.credit)} of credit is left: the limit counts usage whether or not credit pays for it."
                )
        elif cause == CREDIT_DEPLETED:
            granted = sum(each.grant.granted_nanos for each in now.grants)
            said.append(f"{_usd(granted)} of credit was given or bought, and {_usd(now.credit)} of it is left.")
        elif cause == FAILED_PAYMENTS:
            figures["outstandingUsd"] = format_usd(now.outstanding)
            said.append(f"{_usd(now.outstanding)} is owed.")
        said.append(words.way_back)
    return said, figures


def _when(at: int) -> str:
    return f"{format_instant(at)[:16].replace('T', ' ')} UTC"


def _room(now: Situation) -> str:
    if now.binds and now.limit is not None:
        return (
            f"It can go on until its credit ({_usd(now.credit)} is left) or this month's limit "
            f"({_usd(now.spent)} of {_usd(now.limit)} is used) is reached, whichever comes first."
        )
    if now.binds:
        return f"It can go on until its credit ends: {_usd(now.credit)} is left."
    if now.limit is not None:
        return f"It can go on until this month's limit is reached: {_usd(now.spent)} of {_usd(now.limit)} is used."
    return "Nothing bounds what it spends."


def _credits(now: Situation) -> _Said:
    granted = sum(each.grant.granted_nanos for each in now.grants)
    used, lapsed = sum(each.used_nanos for each in now.grants), sum(each.lapsed_nanos for each in now.grants)
    figures = {
        "grantedUsd": format_usd(granted),
        "usedUsd": format_usd(used),
        "lapsedUsd": format_usd(lapsed),
        "creditUsd": format_usd(now.credit),
    }
    if not now.grants:
        return ["It has never had credit."], figures
    said = [
        f"Of {_usd(granted)} of credit, usage took {_usd(used)}, {_usd(lapsed)} has lapsed and {_usd(now.credit)} is "
        "left."
    ]
    said += [
        f"{each.grant.id} ({each.grant.kind}{_until(each.grant.expires_at)}): {_usd(each.grant.granted_nanos)} on "
        f"{_day(each.grant.created_at)}, {_usd(each.used_nanos)} used, {_usd(each.lapsed_nanos)} lapsed, "
        f"{_usd(each.grant.remaining_nanos)} left."
        for each in now.grants[:_NAMED_GRANTS]
    ]
    if len(now.grants) > _NAMED_GRANTS:
        said.append(f"There are {len(now.grants) - _NAMED_GRANTS} older ones.")
    said.append("Credit is used before anything is charged: what lapses first goes first, then free before bought.")
    return said, figures


def _invoice(now: Situation) -> _Said:
    bill = now.bill
    totals = bill.totals
    figures = {
        "month": bill.month,
        "state": bill.state,
        "subtotalUsd": format_usd(totals.subtotal),
        "creditsAppliedUsd": format_usd(totals.credits_applied),
        "paymentsAppliedUsd": format_usd(totals.payments_applied),
        "carriedInUsd": format_usd(totals.carried_in),
        "carriedOutUsd": format_usd(totals.carried_out),
        "taxUsd": format_usd(totals.tax),
        "totalUsd": format_usd(totals.total),
        "amountDueUsd": format_usd(totals.amount_due),
        "remainingUsd": format_usd(bill.remaining_nanos),
    }
    if bill.number is not None:
        figures["number"] = bill.number
    if bill.state == DRAFT:
        said = [f"There is no invoice yet. If {bill.month} closed now:"]
    else:
        said = [f"Invoice {bill.number} is for {bill.month}."]
    said.append(f"Usage comes to {_usd(totals.subtotal)}{_dearest(bill.lines)}.")
    said += [
        words
        for nanos, words in (
            (totals.credits_applied, f"Credit pays {_usd(totals.credits_applied)} of it."),
            (totals.carried_in, f"{_usd(totals.carried_in)} is carried in from before."),
            (totals.tax, f"Tax is {_usd(totals.tax)}."),
            (
                totals.carried_out,
                f"{_usd(totals.carried_out)} is carried on: less than a cent, or than the least charged.",
            ),
            (totals.payments_applied, f"{_usd(totals.payments_applied)} was paid before it was issued."),
        )
        if nanos
    ]
    said.append(f"The total is {_usd(totals.total)}, and {_usd(totals.amount_due)} of it {_is_due(bill)}.")
    return said, figures


def _dearest(lines: Sequence[InvoiceLine]) -> str:
    if not lines:
        return ""
    most = max(lines, key=lambda line: line.amount_nanos)
    count = "one line" if len(lines) == 1 else f"{len(lines)} lines"
    share = "" if len(lines) == 1 else "the most is "
    what = f"{most.quantity:,} {most.unit.replace('_', ' ').replace('gpu', 'GPU')} of {most.model}"
    return f" on {count}: {share}{what} for {_usd(most.amount_nanos)}"


def _is_due(bill: Bill) -> str:
    if bill.state == DRAFT:
        return "would be charged"
    if bill.state == VOID:
        return "was due until the invoice was made void"
    if bill.state == PAID:
        return "was due, which is paid" + ("" if bill.paid_at is None else f" since {_day(bill.paid_at)}")
    due = "" if bill.due_at is None else f" since {_day(bill.due_at)}"
    return f"is due{due}; {_usd(bill.remaining_nanos)} is still to be paid"


def _depletion(now: Situation) -> _Said:
    figures = {"creditUsd": format_usd(now.credit), "billingMode": now.mode}
    if now.mode == PREPAID:
        words = explain_cause(CREDIT_DEPLETED, prepaid=True)
        return [
            f"Credit is all that this account spends: {_usd(now.credit)} is left.",
            _stops(),
            words.way_back,
        ], figures
    if now.binds:
        words = explain_cause(CREDIT_DEPLETED)
        said = [f"There is no payment method, so credit is all that it spends: {_usd(now.credit)} is left.", _stops()]
        return [*said, words.way_back], figures
    if now.mode == CONTRACT:
        return ["Nothing stops: usage beyond credit goes on the invoice of its month, by the contract."], figures
    said = ["Nothing stops: there is a payment method, and usage beyond credit is charged to it at the month's end."]
    if now.limit is not None:
        figures["limitUsd"] = format_usd(now.limit)
        left = max(0, now.limit - now.spent)
        said.append(
            f"This month that can be {_usd(left)} more at most: {_usd(now.spent)} of the limit of {_usd(now.limit)} "
            "is used."
        )
    return said, figures


def _stops() -> str:
    return "When it ends requests are refused, exactly there; nothing is owed."


def _forecast(now: Situation) -> _Said:
    month = month_of(now.now)
    end = month_end(month)
    daily, total = now.pace.daily_nanos, now.spent + now.pace.spends(end - now.now)
    figures = {"perDayUsd": format_usd(daily), "monthUsd": format_usd(total)}
    days = now.pace.span // DAY
    recent = "In the last day" if days == 1 else f"In the last {days} days"
    if not now.pace.nanos:
        return [f"{recent} nothing was spent, so nothing ends."], figures
    said = [f"{recent} {_usd(now.pace.nanos)} was spent, {_usd(daily)} a day."]
    lasts = now.pace.lasts(now.credit)
    if not now.credit:
        said.append("No credit is left.")
    elif lasts is not None and lasts < _FAR:
        figures["creditEndsAt"] = format_instant(now.now + lasts)
        then = "" if now.binds else ", and usage goes on to be charged"
        said.append(f"At this pace the {_usd(now.credit)} of credit ends on {_day(now.now + lasts)}{then}.")
    if now.limit is not None:
        said.append(_limit_reached(now, end, total, figures))
    return said, figures


def _limit_reached(now: Situation, end: int, total: int, figures: dict[str, str]) -> str:
    limit = now.limit or 0
    if now.spent >= limit:
        return f"This month's limit of {_usd(limit)} is reached."
    lasts = now.pace.lasts(limit - now.spent)
    if lasts is None or now.now + lasts >= end:
        return f"The month comes to {_usd(total)} at this pace, within its limit of {_usd(limit)}."
    figures["limitReachedAt"] = format_instant(now.now + lasts)
    return f"This month's limit of {_usd(limit)} is reached on {_day(now.now + lasts)} at this pace."


_ANSWERS = {
    SUSPENDED: _suspended,
    CREDITS: _credits,
    INVOICE: _invoice,
    DEPLETION: _depletion,
    FORECAST: _forecast,
}
