"""Metering: usage reported after the fact is always billed, once, even past the limit (H7, D6)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from msgspec.structs import replace

from purser.core import journal, lease
from purser.core.errors import Conflict, Invalid, NotFound
from purser.core.money import LARGEST_NANOS, format_usd
from purser.core.period import DAY, month_of, next_month
from purser.core.pricebook import PriceBook, in_force
from purser.core.rating import rate
from purser.core.usage import Quantities, folded
from purser.flows import standing
from purser.store import accounts, headroom, ledger, prices, usage
from purser.store.db import Connection
from purser.store.headroom import credit_key, month_key
from purser.store.presence import SHARED, lock_one
from purser.store.usage import Body, Event
from purser.store.writers import Tx

CLOSED_THROUGH = "closed_through"


@dataclass(frozen=True, slots=True)
class Reported:
    """One usage event as reported by an engine that is not behind the gateway."""

    account: str
    source: str
    id: str
    model: str
    quantities: Quantities
    occurred_at: int | None = None
    user: str | None = None
    key: str | None = None


def bill_month(tx: Tx, account: str, month: str) -> str:
    """The month on whose invoice usage of `month` goes: itself, or the open one where it is closed (D6)."""
    lock_one(tx.conn, SHARED, shared=True)
    standing.lock(tx, account)
    closed = closed_through(tx.conn, account)
    return month if month > closed else max(month_of(tx.now), next_month(closed))


def closed_through(conn: Connection, account: str) -> str:
    """The last month whose bill is made, for this account or for everybody; empty where none is."""
    return max(accounts.get_closed_through(conn, account) or "", accounts.get_meta(conn, CLOSED_THROUGH) or "")


def lock_accounts(tx: Tx, ids: Iterable[str]) -> None:
    """Before events of several accounts are recorded in one transaction: in the order in which every flow locks them.

    Unknown ids are passed over.
    """
    lock_one(tx.conn, SHARED, shared=True)
    for account in sorted(ids):
        accounts.lock_account(tx.conn, account)


def record(tx: Tx, event: Reported, books: list[PriceBook] | None = None, *, judge: bool = True) -> bool:
    """Bill one reported event; answers False for a duplicate of a known one.

    Raises NotFound for an unknown account or model, Conflict for a known id with another body, Invalid for a time
    that lies in the future or more usage than can be counted: always before anything is written, so that the
    transaction may go on with other events. Without `judge` the caller judges the account's standing afterwards.
    """
    occurred_at = tx.now if event.occurred_at is None else event.occurred_at
    if occurred_at > tx.now + DAY:
        raise Invalid("occurredAt lies more than a day in the future", field="occurredAt")
    billed_on = bill_month(tx, event.account, month_of(occurred_at))
    known = usage.get_known(tx.conn, event.account, event.source, event.id)
    books = prices.list_books(tx.conn) if books is None else books
    book = in_force(books, occurred_at)
    if book is None or event.model not in book.models:
        raise NotFound(f"model {event.model!r:.80} has no price in force at that time", field="model", code="NOT_FOUND")
    quantities = folded(event.quantities, book.models[event.model])
    charge = rate(quantities, book.models[event.model])
    month = month_of(occurred_at)
    row = Event(
        account=event.account,
        source=event.source,
        id=event.id,
        model=event.model,
        user=event.user,
        key=event.key,
        occurred_at=occurred_at,
        month=month,
        bill_month=billed_on,
        version=book.version,
        quantities=quantities,
        parts=charge.parts,
        cost_nanos=charge.amount_nanos,
        held_nanos=charge.amount_nanos,
    )
    if known is not None:
        if not _same(tx, known[0], row, event, books):
            raise Conflict(f"usage event {event.id} is known with another body; the first one stands", field="id")
        return False
    closing_at = standing.lock(tx, event.account).closing_at
    if closing_at is not None and occurred_at >= closing_at:
        standing.lock_open(tx, event.account)
    post_after(tx, row)
    if judge:
        standing.rejudge(tx, event.account)
    return True


def _same(tx: Tx, body: Body, row: Event, event: Reported, books: list[PriceBook]) -> bool:
    """Whether a known event had this body, under the prices it was rated by: they say what kinds of tokens are apart.

    One reported without a time is compared under the time it was given.
    """
    first_at, user, version = usage.get_circumstances(tx.conn, event.account, event.source, event.id)
    rates = next((book.models.get(event.model, {}) for book in books if book.version == version), {})
    row = replace(row, quantities=folded(event.quantities, rates))
    if event.occurred_at is None:
        row = replace(row, occurred_at=first_at)
    return body == row.body() and user == event.user


def _check_countable(tx: Tx, event: Event) -> None:
    row = headroom.lock_row(tx.conn, credit_key(event.account))
    taken = 0 if row is None else row.taken
    if taken + event.cost_nanos > LARGEST_NANOS:
        raise Invalid(
            f"these quantities cost ${format_usd(event.cost_nanos)}: more than one account can owe", field="quantities"
        )


def transaction_key(event: Event) -> str:
    """The fact's name; the source's own slashes are escaped, so that no two events share one."""
    source = event.source.replace("%", "%25").replace("/", "%2F")
    return f"{source}/{event.id}/settled"


def post_after(tx: Tx, event: Event) -> None:
    """Bill usage after the fact, which nothing was held for; raises Invalid, with nothing written, beyond counting."""
    _check_countable(tx, event)
    txn = transaction_key(event) if event.cost_nanos else None
    usage.insert_events(tx, [(event, txn)])
    if txn is not None:
        tx.touch(event.account)  # what remains is told by every gateway
        ledger.post(tx, event.account, journal.settled(txn, {event.bill_month: event.cost_nanos}))
    standing.ensure_month_row(tx, event.account, event.month)
    for key in (credit_key(event.account), month_key(event.account, event.month)):
        row = headroom.lock_row(tx.conn, key)
        if row is not None:
            headroom.put_row(tx.conn, key, lease.use_after(row, event.cost_nanos))
