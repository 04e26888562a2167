"""Invoicing: a month closes, once, into an invoice of what usage cost beyond credit (D1, D2, M4)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from purser.core import journal
from purser.core.errors import Broken, Conflict, NotFound
from purser.core.invoice import (
    CONTRACTED,
    ISSUED,
    PAID,
    POSTPAID_BILLING,
    InvoiceLine,
    Totals,
    drain,
    merge_lines,
    total_up,
)
from purser.core.lease import MONTH
from purser.core.leaving import DELETING
from purser.core.limits import CONTRACT, PREPAID
from purser.core.message import INVOICE_ISSUED, INVOICE_PAID
from purser.core.money import Rate
from purser.core.period import DAY, month_end, month_of, next_month
from purser.core.rating import Part, rate_of
from purser.flows import alerts, credits, modes, outbox, profiles, standing
from purser.flows.charges import parts_of
from purser.flows.metering import CLOSED_THROUGH, closed_through
from purser.store import accounts, headroom, invoices, ledger, prices, usage
from purser.store.db import Connection, Row
from purser.store.headroom import month_key
from purser.store.presence import SHARED, lock_one
from purser.store.writers import Tx

CONTRACT_TERMS_DAYS = 30


@dataclass(frozen=True, slots=True)
class Bill:
    """A month's bill for one account, before or after it is issued."""

    month: str
    lines: list[InvoiceLine]
    totals: Totals
    owed: dict[str, int]  # what is owed and unbilled up to this month, by month


def draft(conn: Connection, account: str, month: str, minimum_charge: int) -> Bill:
    """The bill of a month as it stands: what the invoice would say if nothing more happened."""
    books = {book.version: book for book in prices.list_books(conn)}
    lines = []
    for row in usage.sum_rollups(conn, account, month):
        price = rate_of(row.unit, books[row.version].models[row.model])
        if price is None:
            raise Broken(f"price version {row.version} has no rate for {row.unit} of {row.model}")
        lines.append(
            InvoiceLine(row.month, row.model, row.unit, price.nanos, price.per, int(row.quantity), int(row.amount))
        )
    owed = {name: nanos for name, nanos in credits.get_owed(conn, account).unbilled if name <= month}
    subtotal = sum(line.amount_nanos for line in lines)
    by_credit = subtotal - credits.beyond_credit(conn, account, month)
    totals = total_up(subtotal, by_credit, invoices.get_carried(conn, account), sum(owed.values()), minimum_charge)
    return Bill(month, merge_lines(lines), totals, owed)


def close_account_month(tx: Tx, account: str, month: str) -> str | None:
    """Close one account's month; answers the invoice's id, or None where there is nothing to invoice.

    An account that closes has its last month billed before the month's end, if there is anything on its bill. Safe to
    run again: a closed month stays as it is. Raises Conflict while requests of that month still run, or where an
    earlier one waits to be closed, whose bill comes first.
    """
    row = standing.lock(tx, account)
    if month_end(month) > tx.now and row.state != DELETING:
        raise Conflict(f"{month} has not ended yet", code="FAILED_PRECONDITION")
    if row.closed_through is not None and row.closed_through >= month:
        return None
    key = month_key(account, month)
    headroom.lock_row(tx.conn, key)
    if headroom.get_spare(tx.conn, key):
        headroom.set_wanted(tx.conn, key, tx.now)
        raise Conflict(f"requests of {month} are still running for {account}, or holds of it are open", code="ABORTED")
    earlier = list_open_months(tx.conn, account, month)
    if earlier:
        raise Conflict(f"{earlier[0]} is not closed for {account}, and comes before {month}", code="ABORTED")
    if month_end(month) > tx.now and not _is_something(draft(tx.conn, account, month, 0)):
        return None
    alerts.look(tx, account, month)  # all that was used of it is known now
    credits.draw_usage(tx, account)
    accounts.update_account(tx.conn, account, closed_through=month)
    invoice = None
    mode = modes.billed(tx.conn, row, month)
    if mode != PREPAID:
        bill = draft(tx.conn, account, month, 0 if row.state == DELETING else tx.policy.minimum_charge_nanos)
        if bill.lines or (row.state == DELETING and _is_something(bill)):
            invoice = _issue(tx, row, bill, contract=mode == CONTRACT)
    standing.rejudge(tx, account)
    return invoice


def _is_something(bill: Bill) -> bool:
    """Whether a final bill says anything: what was used, or what earlier ones carried on."""
    return bool(bill.lines or bill.totals.amount_due)


def list_open_months(conn: Connection, account: str, before: str) -> list[str]:
    """The months before one whose bill an account has still to get, oldest first."""
    closed = closed_through(conn, account)
    billed = [month for month in usage.list_bill_months(conn, account, closed) if month < before]
    begun = [month for month in headroom.list_windows(conn, account, MONTH) if closed < month < before]
    return sorted({*billed, *(month for month in begun if headroom.get_spare(conn, month_key(account, month)))})


def _issue(tx: Tx, row: Row, bill: Bill, *, contract: bool) -> str:
    account, totals = row.id, bill.totals
    invoice = tx.new_id("inv")
    paid = totals.amount_due == 0
    invoices.insert_invoice(
        tx.conn,
        bill.lines,
        account=account,
        id=invoice,
        number=credits.next_number(tx, account),
        type=CONTRACTED if contract else POSTPAID_BILLING,
        state=PAID if paid else ISSUED,
        month=bill.month,
        subtotal=totals.subtotal,
        credits_applied=totals.credits_applied,
        tax=totals.tax,
        carried_in=totals.carried_in,
        carried_out=totals.carried_out,
        total=totals.total,
        payments_applied=totals.payments_applied,
        amount_due=totals.amount_due,
        issued_at=tx.now,
        due_at=tx.now + (CONTRACT_TERMS_DAYS * DAY if contract else 0),
        paid_at=tx.now if paid else None,
        next_attempt_at=None if paid or contract else tx.now,
        billed_to=profiles.encode(tx.conn, account),
    )
    if totals.amount_due:
        parts = drain(bill.owed, totals.amount_due)
        if sum(parts.values()) != totals.amount_due:
            raise Broken(f"invoice {invoice} is due {totals.amount_due} of {bill.owed}")
        ledger.post(tx, account, journal.invoiced(f"{invoice}/issued", invoice, parts))
    outbox.tell_of_invoice(tx, account, invoice, INVOICE_ISSUED)
    if paid:
        outbox.tell_of_invoice(tx, account, invoice, INVOICE_PAID)
    tx.touch(account)
    return invoice


def month_to_close(conn: Connection, now: int) -> str | None:
    """The oldest month that has ended and is not closed, None where all are."""
    closed = accounts.get_meta(conn, CLOSED_THROUGH)
    if closed is None:
        return None
    month = next_month(closed)
    return month if month_end(month) <= now else None


def list_to_close(conn: Connection, month: str) -> list[str]:
    """The accounts with usage on a month's bill that is not closed yet, or whose requests of it still run."""
    return sorted({*usage.list_unclosed(conn, month), *headroom.list_leasing(conn, month)})


def finish_month(tx: Tx, month: str) -> bool:
    """Mark a month closed for everybody; answers False where an account with usage in it is not closed yet."""
    lock_one(tx.conn, SHARED)  # from here on nobody begins to use anything of it
    if list_to_close(tx.conn, month):
        return False
    closed = accounts.get_meta(tx.conn, CLOSED_THROUGH) or ""
    if month > closed:
        accounts.set_meta(tx.conn, CLOSED_THROUGH, month)
    return True


def start_months(tx: Tx) -> None:
    """Begin billing with the month of the database's first day."""
    if accounts.get_meta(tx.conn, CLOSED_THROUGH) is None:
        month = month_of(tx.now)
        year, number = int(month[:4]), int(month[5:])
        before = f"{year - 1:04d}-12" if number == 1 else f"{year:04d}-{number - 1:02d}"
        accounts.set_meta(tx.conn, CLOSED_THROUGH, before)


def require_line(conn: Connection, account: str, invoice: str, n: int) -> tuple[Row, Row]:
    """An invoice and one of its lines; raises NotFound."""
    head = invoices.get_invoice(conn, account, invoice)
    if head is None:
        raise NotFound(f"account {account} has no invoice {invoice!r:.60}", field="invoice")
    for line in invoices.list_lines(conn, account, head.id):
        if line.n == n:
            return head, line
    raise NotFound(f"invoice {head.number} has no line {n}", field="line")


def iter_line_usage(
    conn: Connection, head: Row, line: Row, after: tuple[int, str, str] | None = None
) -> Iterator[tuple[Row, Part]]:
    """The usage events that an invoice line sums, each with its part of the line, oldest first (D2).

    The parts are rated anew from the events, to the nano-dollar. `after` is the (occurred_at, source, id)
    to go on from.
    """
    rates = {
        book.version: book.models[line.model]
        for book in prices.list_books(conn)
        if line.model in book.models
        and rate_of(line.unit, book.models[line.model]) == Rate(line.rate_nanos, line.rate_per)
    }
    found = usage.iter_line_events(conn, head.account, head.month, line.month, line.model, list(rates), after)
    for event in found:
        for part in parts_of(event, rates[event.version]):
            if part.unit == line.unit:
                yield event, part
