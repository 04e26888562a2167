"""A charge explained: what was used, at which price, and which credit or balance paid it (P1, D2)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from purser.core import journal
from purser.core.charges import Charge, Payment, paid_by, read_payment
from purser.core.errors import Broken, NotFound
from purser.core.invoice import PREPAID_CREDITS
from purser.core.money import Rate
from purser.core.pricebook import PriceBook
from purser.core.rating import Part, rate, rate_of
from purser.flows import credits
from purser.store import charges as rows
from purser.store import invoices, prices, usage
from purser.store.db import Connection, Row
from purser.store.slices import SOURCE

SOURCES = ("gateway", "api", "hold", SOURCE)  # where an id is looked for if nothing else is said


@dataclass(frozen=True, slots=True)
class Explained:
    """A usage event, its charge, the rate of each of its units, the ledger's entry, and the invoice with its lines.

    `entry` is the transaction, its postings, and how many usage events it posts; None for what cost nothing.
    `lines` are the numbers of the invoice's lines that this charge is part of.
    """

    event: Row
    charge: Charge
    rates: dict[str, Rate]
    entry: tuple[Row, list[Row], int] | None
    invoice: Row | None
    lines: tuple[int, ...]


def explain_charge(conn: Connection, account: str, id_: str, source: str | None = None) -> Explained:
    """Explain what a request, or an event reported under `source`, cost. Raises NotFound."""
    places = SOURCES if source is None else (source,)
    found = (rows.get_event(conn, account, place, id_) for place in places)
    event = next((each for each in found if each is not None), None)
    if event is None:
        where = "" if source is None else f" from {source!r:.60}"
        raise NotFound(f"account {account} has no usage {id_!r:.80}{where}", field="request", code="NOT_FOUND")
    book = next((each for each in prices.list_books(conn) if each.version == event.version), None)
    if book is None:
        raise Broken(f"usage event {event.source}/{event.id} of {account} was rated by no price book")
    quarantined = event.state == usage.QUARANTINED
    rates = _rates(book, event)
    parts = () if quarantined else parts_of(event, rates)
    entry, payments = None, list[Payment]()
    if event.txn is not None:
        head, sides = rows.get_entry(conn, account, event.txn)
        entry = head, sides, rows.count_in(conn, event, head)
        payments = _payments(conn, event, head)
    invoice, lines = _invoice(conn, event, rates)
    charge = Charge(
        id=event.id,
        model=event.model,
        occurred_at=event.occurred_at,
        version=book.version,
        version_since=book.effective_at,
        cost_nanos=event.cost,
        clamped_nanos=event.clamped,
        estimated=bool(event.estimated),
        quarantined=quarantined,
        parts=parts,
        payments=tuple(payments),
        bill_month=event.bill_month,
        invoice=None if invoice is None else invoice.number,
    )
    return Explained(event, charge, rates, entry, invoice, lines)


def parts_of(event: Row, rates: Mapping[str, Rate]) -> tuple[Part, ...]:
    """What a charge is made of; a slice of a deployment is rated on its running total (M3), and of one unit."""
    used = usage.decode_quantities(event.quantities)
    if event.source == SOURCE:
        return tuple(Part(unit, count, event.cost) for unit, count in used.items())
    return rate(used, rates, event.held).parts


def _rates(book: PriceBook, event: Row) -> dict[str, Rate]:
    model, used = book.models.get(event.model, {}), usage.decode_quantities(event.quantities)
    return {unit: found for unit in used if (found := rate_of(unit, model)) is not None}


def _payments(conn: Connection, event: Row, entry: Row) -> list[Payment]:
    """Who paid a charge: what was drawn for its month, and behind that what would be drawn now."""
    ledger = journal.usage_account(event.bill_month)
    drawn = [read_payment(name, amount) for name, amount in rows.list_drawn(conn, event.account, ledger)]
    due, beyond = credits.project(conn, event.account)[1].get(event.bill_month, ([], 0))
    to_come = [Payment(part.grant, part.amount_nanos, drawn=False) for part in due]
    to_come.append(Payment(None, beyond, drawn=False))
    return paid_by(rows.sum_before(conn, event, entry, ledger), event.cost, [*drawn, *to_come])


def _invoice(conn: Connection, event: Row, rates: dict[str, Rate]) -> tuple[Row | None, tuple[int, ...]]:
    """The invoice of the month on whose bill an event is, where it is made, and its lines that the event is part of."""
    of_month = (
        row
        for row in invoices.list_invoices(conn, event.account)
        if row.month == event.bill_month and row.type != PREPAID_CREDITS
    )
    invoice = next(of_month, None)
    if invoice is None or not event.cost:
        return None, ()
    mine = {(event.month, event.model, unit, found.nanos, found.per) for unit, found in rates.items()}
    lines = [
        line.n
        for line in invoices.list_lines(conn, event.account, invoice.id)
        if (line.month, line.model, line.unit, line.rate_nanos, line.rate_per) in mine
    ]
    return (invoice, tuple(lines)) if lines else (None, ())
