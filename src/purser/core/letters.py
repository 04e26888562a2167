"""Letters: the words of the mails that an account gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from purser.core.alerts import FORECAST, Alert
from purser.core.explain import suspended_message
from purser.core.money import format_usd
from purser.core.period import format_instant


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail's subject, one line, and its text."""

    subject: str
    text: str


def suspended(account: str, causes: Mapping[str, str], *, prepaid: bool) -> Letter:
    """The account is suspended: why, and what lifts it (U5)."""
    return Letter(f"Account {account} is suspended", suspended_message(account, causes, prepaid=prepaid) + "\n")


def reinstated(account: str) -> Letter:
    """The account is served again."""
    return Letter(
        f"Account {account} is reinstated", f"Account {account} is no longer suspended: requests are served again.\n"
    )


def closing(account: str, until: int) -> Letter:
    """Somebody has closed the account: its keys have ended; `until` is when it can no longer be opened again."""
    return Letter(
        f"Account {account} is being closed",
        f"Account {account} is being closed: its API keys have ended, and nothing new begins. Once nothing runs, what "
        "is left of its credit lapses, and what is owed comes on its final invoice.\n\n"
        f"The operator can open it again until {format_instant(until)}. Ask for that if you did not want this.\n",
    )


def closed(account: str, until: int) -> Letter:
    """The account is closed, with nothing left to pay."""
    return Letter(
        f"Account {account} is closed",
        f"Account {account} is closed, and nothing is left to pay. The operator can open it again until "
        f"{format_instant(until)}.\n",
    )


def reopened(account: str) -> Letter:
    """The account is open again."""
    return Letter(
        f"Account {account} is open again",
        f"Account {account} is open again. Keys that ended and credit that lapsed when it was closed stay so.\n",
    )


def issued(account: str, number: str, month: str, total_nanos: int, due_nanos: int, *, receipt: bool) -> Letter:
    """An invoice, or the receipt of a purchase (D3)."""
    total = f"${format_usd(total_nanos)}"
    if receipt:
        return Letter(
            f"Receipt {number}: {total}", f"Account {account} bought credit for {total}. This is receipt {number}.\n"
        )
    due = f"${format_usd(due_nanos)} is due." if due_nanos else "Nothing is due."
    return Letter(f"Invoice {number}: {total}", f"Account {account}: invoice {number} for {month} is {total}. {due}\n")


def alert(account: str, month: str, found: Alert, used_nanos: int, limit_nanos: int | None, at: int | None) -> Letter:
    """Usage came to an amount, or at this pace will (L7); `at` is when the limit is reached at this pace."""
    used, amount = f"${format_usd(used_nanos)}", f"${format_usd(found.amount_nanos)}"
    pace = f" At this pace the limit is reached on {format_instant(at)[:10]}." if at is not None else ""
    of = f" of its monthly limit of ${format_usd(limit_nanos)}" if limit_nanos is not None else ""
    if found.kind == FORECAST:
        subject = f"Account {account}: at this pace the limit of {amount} is reached before the month ends"
    elif found.limit_nanos is not None:
        subject = f"Account {account} has used 80 % of its limit for {month}"
    else:
        subject = f"Account {account} has used {amount} in {month}"
    ends = " At the limit the account is suspended until that is raised or the month ends." if of else ""
    return Letter(subject, f"Account {account} has used {used}{of} in {month}.{pace}{ends}\n")


def link(url: str, minutes: int, *, opens_account: bool) -> Letter:
    """A link to sign in or to sign up with."""
    what = "opens your account" if opens_account else "signs you in"
    subject = "Open your account" if opens_account else "Sign in"
    return Letter(
        subject,
        f"This link {what}; it works once, within {minutes} minutes:\n\n{url}\n\n"
        "If you did not ask for it you can ignore this mail: nothing happens unless the link is followed.\n",
    )


def invited(account: str, role: str, by: str, url: str, until: int) -> Letter:
    """An invitation to an account; `until` is the instant when it expires."""
    return Letter(
        f"You are invited to account {account}",
        f"{by} invites you to account {account}, as {role}. This link takes the invitation up, until "
        f"{format_instant(until)[:10]}:\n\n{url}\n\nIf you want no part in it you can ignore this mail.\n",
    )


def increase_asked(account: str, user: str, wanted_nanos: int, now_nanos: int, reason: str) -> Letter:
    """A user asks to spend more in a month than its limit allows."""
    wanted, now = f"${format_usd(wanted_nanos)}", f"${format_usd(now_nanos)}"
    why = f"\nThe reason given: {reason}\n" if reason else ""
    return Letter(
        f"Account {account}: user {user} asks for a limit of {wanted} a month",
        f"User {user} of account {account} may spend {now} a month, and asks for {wanted}.\n{why}\n"
        "An admin of the account approves or rejects it: purser limits requests\n",
    )


def increase_decided(account: str, user: str, wanted_nanos: int, approved_nanos: int | None, answer: str) -> Letter:
    """What became of a user's request to spend more; None where it was rejected."""
    wanted, why = f"${format_usd(wanted_nanos)}", f"\n{answer}\n" if answer else ""
    if approved_nanos is None:
        subject = f"Account {account}: your request for {wanted} a month is rejected"
        return Letter(subject, f"User {user} of account {account} keeps its limit.\n{why}")
    approved = f"${format_usd(approved_nanos)}"
    subject = f"Account {account}: your limit is {approved} a month"
    return Letter(subject, f"User {user} of account {account} may spend {approved} a month from now on.\n{why}")


def deployment_warning(account: str, deployment: str, at: int) -> Letter:
    """The money for a deployment lasts until then only, at the present pace."""
    return Letter(
        f"Account {account}: deployment {deployment} stops at about {_minute(at)} UTC",
        f"At the pace at which the deployments of account {account} run, the money for {deployment} lasts until about "
        f"{_minute(at)} UTC. Then it goes to zero replicas, so that nothing is spent beyond the limit or the credit. "
        "Raise the limit or add credit before to keep it running, or scale it down.\n",
    )


def deployment_stopped(account: str, deployment: str, why: str | None) -> Letter:
    """A deployment went to zero replicas: for want of money, or since the account is suspended (None)."""
    return Letter(
        f"Account {account}: deployment {deployment} is stopped",
        f"Deployment {deployment} of account {account} is at zero replicas, and costs nothing any more: "
        f"{why or 'the account is suspended'}. It does not start again by itself: scale it, or send it a request, once "
        "that is over.\n",
    )


def deployment_deleted(account: str, deployment: str) -> Letter:
    """A deployment without requests was deleted."""
    return Letter(
        f"Account {account}: deployment {deployment} is deleted",
        f"Deployment {deployment} of account {account} got no request for 7 days and may have no replica, so it is "
        f"deleted. For 60 days it can be had back: purser deployment undelete {deployment}\n",
    )


def _minute(at: int) -> str:
    return format_instant(at)[:16].replace("T", " ")
