"""Holds by API: money set aside for work that runs elsewhere, settled with what it used, or given back (transition 9).

A hold owns a lease on every row of its path, as a writer does, so that the money is nobody else's while it is open.
When its time is over the money goes back by itself; settled later, it is usage after the fact (H7).
"""

from __future__ import annotations

from dataclasses import dataclass

from purser.core import journal, lease
from purser.core.errors import Broken, Conflict, Invalid, NotFound
from purser.core.lease import MONTH
from purser.core.limits import PREPAID
from purser.core.money import format_usd
from purser.core.period import SECOND, month_of
from purser.core.pricebook import PriceBook, in_force
from purser.core.rating import Charge, rate, rate_of
from purser.core.usage import AMOUNT, Quantities, folded
from purser.flows import requests, standing
from purser.flows.metering import bill_month, post_after, transaction_key
from purser.flows.requests import Need, Taken
from purser.store import accounts, headroom, holds, ledger, prices, usage
from purser.store.db import Connection
from purser.store.holds import EXPIRED, OPEN, SETTLED, VOID, Held
from purser.store.presence import SHARED, lock_one
from purser.store.usage import Event
from purser.store.writers import Tx

SOURCE = "hold"  # of the usage events that holds become
LONGEST_SECONDS, USUAL_SECONDS = 86_400, 600


@dataclass(frozen=True, slots=True)
class Refused:
    """Why money could not be held: the causes that suspend the account, or the constraint that fell short."""

    hold_nanos: int
    held_nanos: int  # by holds through the API, of what fell short
    causes: dict[str, str]
    prepaid: bool = False
    taken: Taken | None = None


def check_seconds(given: object) -> int:
    """How long a hold may last; raises Invalid."""
    if given is None:
        return USUAL_SECONDS
    if isinstance(given, bool) or not isinstance(given, int) or not 1 <= given <= LONGEST_SECONDS:
        raise Invalid(
            f"ttlSeconds must be a whole number from 1 to {LONGEST_SECONDS}, not {given!r:.40}", field="ttlSeconds"
        )
    return given


def place(tx: Tx, id_: str, account: str, model: str, most: Quantities, seconds: int) -> Held | Refused:
    """Hold what `most` costs at the price now in force; the same id again answers the same hold.

    Raises NotFound for an unknown account or a model without a price, Conflict for an id that holds something else.
    """
    lock_one(tx.conn, SHARED, shared=True)
    row = standing.lock(tx, account)
    book = in_force(prices.list_books(tx.conn), tx.now)
    if book is None or model not in book.models:
        raise NotFound(f"model {model!r:.80} has no price in force", field="model", code="NOT_FOUND")
    amount = _charge(book, model, most).amount_nanos
    known = holds.get_hold(tx.conn, id_)
    if known is not None:
        if (known.account, known.model) != (account, model):
            raise Conflict(f"hold {id_} is known for something else", field="id")
        return known
    standing.lock_open(tx, account)
    causes = {cause.cause: cause.why for cause in accounts.list_open_causes(tx.conn, account)}
    if causes:
        return Refused(amount, 0, causes, row.billing_mode == PREPAID)
    month = month_of(tx.now)
    needs = [Need(key, amount, amount, amount) for key in requests.path(account, month)]
    taken = requests.take_headroom(tx, needs, owner=id_)
    if taken.short is not None:
        held_by_month = holds.sum_open(tx.conn, account)
        held_nanos = held_by_month.get(month, 0) if taken.short.kind == MONTH else sum(held_by_month.values())
        return Refused(amount, held_nanos, {}, taken=taken)
    held = Held(account, id_, model, book.version, month, amount, tx.now, tx.now + seconds * SECOND)
    holds.insert_hold(tx.conn, held)
    tx.touch(account)
    return held


def require(conn: Connection, id_: str, own: str | None = None) -> Held:
    """A hold; raises NotFound for an unknown one, and for another account's than `own` where that is given."""
    held = holds.get_hold(conn, id_)
    if held is None or own not in (None, held.account):
        raise NotFound(f"hold {id_!r:.80} does not exist", code="NOT_FOUND")
    return held


def settle(tx: Tx, id_: str, used: Quantities, own: str | None = None) -> Held:
    """Bill what the work used, at the prices of when it was held, and give back the rest; answers the hold as it is.

    Safe to do again. Raises NotFound, Conflict for one that was given back or settled otherwise, Invalid for more
    than it holds.
    """
    held = _lock(tx, id_, own)
    if held.state == VOID:
        raise Conflict(f"hold {id_} was given back; report what was used to /v1/usage", code="FAILED_PRECONDITION")
    books = {book.version: book for book in prices.list_books(tx.conn)}
    used = folded(used, books[held.version].models[held.model])
    charge = _charge(books[held.version], held.model, used)
    if held.state == SETTLED:
        known = usage.get_known(tx.conn, held.account, SOURCE, held.id)
        if known is None or known[0] != _event(held, used, charge, held.month).body():
            raise Conflict(
                f"hold {id_} was settled at ${format_usd(held.cost or 0)} for something else; the first one stands",
                code="FAILED_PRECONDITION",
            )
        return held
    if held.state == OPEN and held.expires_at <= tx.now and charge.amount_nanos > held.amount:
        held = _end(tx, held, EXPIRED)  # its time was over, and nobody had come round to it
    if held.state == OPEN:
        if charge.amount_nanos > held.amount:
            raise Invalid(
                f"that costs ${format_usd(charge.amount_nanos)}, and ${format_usd(held.amount)} is held; settle what "
                f"is held, and report the rest to /v1/usage",
                field="amountUsd" if AMOUNT in used else "quantities",
            )
        # One that holds nothing does not keep its month open.
        billed_on = held.month if held.amount else bill_month(tx, held.account, held.month)
        _bill(tx, _event(held, used, charge, billed_on))
        _release(tx, held, charge.amount_nanos)
    else:
        billed_on = bill_month(tx, held.account, held.month)
        post_after(tx, _event(held, used, charge, billed_on))
    holds.end_hold(tx.conn, held, SETTLED, charge.amount_nanos)
    standing.rejudge(tx, held.account)
    tx.touch(held.account)
    return require(tx.conn, id_)


def void(tx: Tx, id_: str, own: str | None = None) -> Held:
    """Give back what is held, with nothing to bill; safe to do again. Raises NotFound, Conflict for a settled one."""
    held = _lock(tx, id_, own)
    if held.state == SETTLED:
        raise Conflict(f"hold {id_} was settled at ${format_usd(held.cost or 0)}", code="FAILED_PRECONDITION")
    return _end(tx, held, VOID) if held.state == OPEN else held


def expire(tx: Tx, id_: str) -> None:
    """Give back what a hold has whose time is over; nothing where it ended otherwise."""
    held = _lock(tx, id_, None)
    if held.state == OPEN and held.expires_at <= tx.now:
        _end(tx, held, EXPIRED)


def _end(tx: Tx, held: Held, state: str) -> Held:
    _release(tx, held, 0)
    holds.end_hold(tx.conn, held, state)
    tx.touch(held.account)
    return require(tx.conn, held.id)


def _lock(tx: Tx, id_: str, own: str | None) -> Held:
    account = require(tx.conn, id_, own).account
    lock_one(tx.conn, SHARED, shared=True)
    standing.lock(tx, account)
    return require(tx.conn, id_)


def _charge(book: PriceBook, model: str, used: Quantities) -> Charge:
    rates = book.models[model]
    used = folded(used, rates)
    missing = [unit for unit in used if rate_of(unit, rates) is None]
    if missing:
        raise NotFound(f"model {model!r:.80} has no price for {', '.join(missing)}", field="quantities")
    return rate(used, rates)


def _event(held: Held, used: Quantities, charge: Charge, billed_on: str) -> Event:
    return Event(
        account=held.account,
        source=SOURCE,
        id=held.id,
        model=held.model,
        user=None,
        key=None,
        occurred_at=held.placed_at,
        month=held.month,
        bill_month=billed_on,
        version=held.version,
        quantities=used,
        parts=charge.parts,
        cost_nanos=charge.amount_nanos,
        held_nanos=max(held.amount, charge.amount_nanos),
    )


def _bill(tx: Tx, event: Event) -> None:
    txn = transaction_key(event) if event.cost_nanos else None
    usage.insert_events(tx, [(event, txn)])
    if txn is not None:
        ledger.post(tx, event.account, journal.settled(txn, {event.bill_month: event.cost_nanos}))


def _release(tx: Tx, held: Held, cost: int) -> None:
    """End a hold's leases: `cost` of each is used, the rest goes back to its row."""
    for key in sorted(requests.path(held.account, held.month)):
        row, own = headroom.lock_row(tx.conn, key), headroom.get_lease(tx.conn, key, held.id)
        if row is None or own.share != held.amount:
            raise Broken(f"hold {held.id} has a lease of {own.share} on {key}, not of {held.amount}")
        own = lease.settle(own, cost)
        row, own = lease.give_back(row, own, own.spare)
        headroom.put_row(tx.conn, key, lease.close(row, own))
        headroom.delete_lease(tx.conn, key, held.id)
