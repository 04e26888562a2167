"""The double-entry journal: which ledger accounts each fact debits and credits, always in balance.

Every ledger account belongs to one customer, so nothing is shared between customers:

    cash                 money received                    credit:GRANT     credit owed to the customer
    usage:MONTH          used, not yet drawn or owed       promotions       free credit given
    unbilled:MONTH       owed beyond credit, no invoice    revenue:MONTH    what usage earned
    invoiced:INVOICE     owed on an issued invoice         breakage         credit that lapsed
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from purser.core.credits import PURCHASED, Draw
from purser.core.errors import Broken

CASH, PROMOTIONS, BREAKAGE = "cash", "promotions", "breakage"
CARRIED_ON = "/carried"  # ends the key of what is carried on from an issued invoice
DEBIT_NORMAL = ("cash", "usage", "unbilled", "invoiced", "promotions")


def credit_account(grant: str) -> str:
    """The liability for one credit grant."""
    return f"credit:{grant}"


def usage_account(month: str) -> str:
    """What was used on a month's bill and is not yet drawn from credit or owed."""
    return f"usage:{month}"


def unbilled_account(month: str) -> str:
    """What is owed beyond credit for a month and is on no invoice yet."""
    return f"unbilled:{month}"


def invoiced_account(invoice: str) -> str:
    """What is owed on an issued invoice."""
    return f"invoiced:{invoice}"


def revenue_account(month: str) -> str:
    """What a month's usage earned."""
    return f"revenue:{month}"


@dataclass(frozen=True, slots=True)
class Posting:
    """One side of a transaction: an amount above zero, debited or credited to a ledger account."""

    ledger: str
    debit: bool
    amount_nanos: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """A balanced set of postings; `key` is the name of the fact, so the same fact cannot post twice."""

    key: str
    kind: str
    postings: tuple[Posting, ...]


def balanced(key: str, kind: str, debits: Mapping[str, int], credits: Mapping[str, int]) -> Transaction:
    """A transaction of the given sides, zero amounts left out; raises Broken unless it balances."""
    postings = tuple(
        [Posting(ledger, True, amount) for ledger, amount in debits.items() if amount]
        + [Posting(ledger, False, amount) for ledger, amount in credits.items() if amount]
    )
    total = sum(posting.amount_nanos if posting.debit else -posting.amount_nanos for posting in postings)
    if total or any(posting.amount_nanos <= 0 for posting in postings):
        raise Broken(f"transaction {key} does not balance: {postings}")
    return Transaction(key, kind, postings)


def settled(key: str, by_month: Mapping[str, int]) -> Transaction:
    """Usage of one account settled in one commit, by the month on whose bill it goes."""
    return balanced(
        key,
        "settled",
        {usage_account(month): amount for month, amount in by_month.items()},
        {revenue_account(month): amount for month, amount in by_month.items()},
    )


def drawn(key: str, month: str, draws: Iterable[Draw], beyond_nanos: int) -> Transaction:
    """Usage of a month paid from credit grants, and what is owed beyond them."""
    debits = {credit_account(draw.grant): draw.amount_nanos for draw in draws}
    debits[unbilled_account(month)] = beyond_nanos
    return balanced(key, "drawn", debits, {usage_account(month): sum(debits.values())})


def granted(key: str, grant: str, amount_nanos: int) -> Transaction:
    """Free credit given."""
    return balanced(key, "granted", {PROMOTIONS: amount_nanos}, {credit_account(grant): amount_nanos})


def received(key: str, amount_nanos: int, owed: Mapping[str, int], grant: str | None) -> Transaction:
    """Money received: it pays what is owed (ledger accounts and amounts), the rest becomes a grant's credit (A7)."""
    rest = amount_nanos - sum(owed.values())
    credits = dict(owed)
    if rest:
        if grant is None:
            raise Broken(f"{key}: {rest} received beyond what is owed, with no grant to take it")
        credits[credit_account(grant)] = rest
    return balanced(key, PURCHASED if grant else "paid", {CASH: amount_nanos}, credits)


def carried_on(invoice: str, month: str, amount_nanos: int) -> Transaction:
    """The rest of an issued invoice, too little to charge, is owed as unbilled again until the next invoice (M4)."""
    debits, credits = {unbilled_account(month): amount_nanos}, {invoiced_account(invoice): amount_nanos}
    return balanced(f"{invoice}{CARRIED_ON}", "carried", debits, credits)


def lapsed(key: str, grant: str, amount_nanos: int) -> Transaction:
    """Credit that expired unused."""
    return balanced(key, "lapsed", {credit_account(grant): amount_nanos}, {BREAKAGE: amount_nanos})


def invoiced(key: str, invoice: str, by_month: Mapping[str, int]) -> Transaction:
    """What is owed moves onto an issued invoice."""
    credits = {unbilled_account(month): amount for month, amount in by_month.items()}
    return balanced(key, "invoiced", {invoiced_account(invoice): sum(credits.values())}, credits)
