"""Letters: the words of the mails that an account gets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from purser.core.explain import suspended_message
from purser.core.money import format_usd


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


def issued(account: str, number: str, month: str, total_nanos: int, due_nanos: int, *, receipt: bool) -> Letter:
    """An invoice, or the receipt of a purchase (D3)."""
    total = f"${format_usd(total_nanos)}"
    if receipt:
        return Letter(
            f"Receipt {number}: {total}", f"Account {account} bought credit for {total}. This is receipt {number}.\n"
        )
    due = f"${format_usd(due_nanos)} is due." if due_nanos else "Nothing is due."
    return Letter(f"Invoice {number}: {total}", f"Account {account}: invoice {number} for {month} is {total}. {due}\n")
