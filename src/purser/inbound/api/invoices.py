"""Invoices: listed with their lines, opened down to the usage they sum, paid, and previewed (D1, D2)."""

from __future__ import annotations

from itertools import islice

from litestar import Response
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody

from purser.core.errors import Invalid, NotFound
from purser.core.invoice import DRAFT, POSTPAID_BILLING, UNPAID
from purser.core.limits import CONTRACT
from purser.core.money import format_usd, format_usd_exact
from purser.core.period import format_instant, month_of
from purser.flows import invoicing, modes, payments, profiles, standing
from purser.inbound.api.auth import ADMIN, MEMBER
from purser.inbound.api.billing_profile import ProfileView
from purser.inbound.api.billing_profile import view as view_profile
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, converge, once
from purser.inbound.api.routes import get, post
from purser.inbound.api.wire import (
    DEFAULT_PAGE,
    Body,
    Name,
    PageSize,
    PageToken,
    View,
    instant,
    page,
    read_token,
    unit_price,
    write_token,
)
from purser.store import invoices
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}/invoices"


class LineView(View):
    """One line: a model and unit at one rate, of one month. unitPriceUsd is the price of a single unit, exact."""

    n: int
    model: str
    unit: str
    quantity: int
    unit_price_usd: str
    amount_usd: str
    month: str


class InvoiceView(View):
    """An invoice or receipt; its figures are those at issue, remainingUsd is what is still to be paid of it.

    carriedOnUsd is what was left of it, too little to charge: it is part of carriedInUsd on the next invoice.
    billedTo is the billing profile as it was at issue.
    """

    id: str | None
    number: str | None
    type: str
    state: str
    month: str
    subtotal_usd: str
    credits_applied_usd: str
    payments_applied_usd: str
    carried_in_usd: str
    carried_out_usd: str
    tax_usd: str
    total_usd: str
    amount_due_usd: str
    remaining_usd: str
    carried_on_usd: str
    due_at: str | None
    issued_at: str | None
    paid_at: str | None
    lines: list[LineView]
    billed_to: ProfileView | None = None


class InvoiceList(View):
    """A page of invoices and receipts."""

    invoices: list[InvoiceView]
    next_page_token: str
    total_size: int


class NewPayment(Body):
    """How to pay an invoice."""

    payment_method: str | None = None


class LineUsage(View):
    """A usage event's part of an invoice line."""

    id: str
    source: str
    occurred_at: str
    user: str | None
    quantity: int
    amount_usd: str
    event_cost_usd: str
    price_version: int
    estimated: bool


class LineUsageList(View):
    """A page of the usage events that an invoice line sums."""

    line: LineView
    events: list[LineUsage]
    next_page_token: str


def view_line(row: Row) -> LineView:
    """One line as issued."""
    return LineView(
        n=row.n,
        model=row.model,
        unit=row.unit,
        quantity=row.quantity,
        unit_price_usd=unit_price(row.rate_nanos, row.rate_per),
        amount_usd=format_usd(row.amount),
        month=row.month,
    )


def view(conn: Connection, row: Row) -> InvoiceView:
    """One invoice with its lines."""
    profile = profiles.decode(row.billed_to)
    return InvoiceView(
        id=row.id,
        number=row.number,
        type=row.type,
        state=row.state,
        month=row.month,
        subtotal_usd=format_usd(row.subtotal),
        credits_applied_usd=format_usd(row.credits_applied),
        payments_applied_usd=format_usd(row.payments_applied),
        carried_in_usd=format_usd(row.carried_in),
        carried_out_usd=format_usd(row.carried_out),
        tax_usd=format_usd(row.tax),
        total_usd=format_usd(row.total),
        amount_due_usd=format_usd(row.amount_due),
        remaining_usd=format_usd(row.amount_due - row.paid if row.state in UNPAID else 0),
        carried_on_usd=format_usd(invoices.list_carried_on(conn, row.account).get(row.id, 0)),
        due_at=instant(row.due_at),
        issued_at=instant(row.issued_at),
        paid_at=instant(row.paid_at),
        lines=[view_line(line) for line in invoices.list_lines(conn, row.account, row.id)],
        billed_to=None if profile is None else view_profile(profile),
    )


def require(conn: Connection, account: str, invoice: str) -> Row:
    """An invoice's row; raises NotFound."""
    row = invoices.get_invoice(conn, account, invoice)
    if row is None:
        raise NotFound(f"account {account} has no invoice {invoice!r:.60}", field="invoice")
    return row


@get(_PATH, MEMBER, counted=False)
def list_invoices(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> InvoiceList:
    """List an account's invoices and receipts with their lines, newest first."""
    with request.desk.read() as conn:
        rows = invoices.list_invoices(conn, account)
        some, more = page(rows, page_size, page_token)
        return InvoiceList([view(conn, row) for row in some], more, len(rows))


@get(_PATH + "/:preview", MEMBER, counted=False)
def preview_invoice(request: Call, account: Name) -> InvoiceView:
    """Show the current month's invoice as it would be if nothing more happened."""
    desk = request.desk
    month = month_of(desk.clock.now())
    with desk.read() as conn:
        mode = modes.billed(conn, standing.require(conn, account), month)
        bill = invoicing.draft(conn, account, month, desk.policy.minimum_charge_nanos)
    totals = bill.totals
    return InvoiceView(
        id=None,
        number=None,
        type="CONTRACTED" if mode == CONTRACT else POSTPAID_BILLING,
        state=DRAFT,
        month=month,
        subtotal_usd=format_usd(totals.subtotal),
        credits_applied_usd=format_usd(totals.credits_applied),
        payments_applied_usd=format_usd(totals.payments_applied),
        carried_in_usd=format_usd(totals.carried_in),
        carried_out_usd=format_usd(totals.carried_out),
        tax_usd=format_usd(totals.tax),
        total_usd=format_usd(totals.total),
        amount_due_usd=format_usd(totals.amount_due),
        remaining_usd=format_usd(totals.amount_due),
        carried_on_usd=format_usd(0),
        due_at=None,
        issued_at=None,
        paid_at=None,
        lines=[
            LineView(
                n=n,
                model=line.model,
                unit=line.unit,
                quantity=line.quantity,
                unit_price_usd=unit_price(line.rate_nanos, line.rate_per),
                amount_usd=format_usd(line.amount_nanos),
                month=line.month,
            )
            for n, line in enumerate(bill.lines, 1)
        ],
    )


@get(_PATH + "/{invoice:str}", MEMBER, counted=False)
def get_invoice(request: Call, account: Name, invoice: Name) -> InvoiceView:
    """Get an invoice or receipt with its lines."""
    with request.desk.read() as conn:
        return view(conn, require(conn, account, invoice))


_LATER = ResponseSpec(
    InvoiceView,
    description="The payment provider has not answered. The payment goes on by itself; the invoice is PAID when it is "
    "through.",
    generate_examples=False,
)


@post(_PATH + "/{invoice:str}/:pay", ADMIN, counted=False, refuses=(402,), responses={202: _LATER})
def pay_invoice(
    request: Call, account: Name, invoice: Name, data: JSONBody[NewPayment | None] = None, dry_run: DryRun = False
) -> Response[InvoiceView]:
    """Pay what is left on an invoice now, with a payment method on file; too little to charge goes on to the next.

    A dry run asks no provider: it answers what would be if the charge succeeded.
    """
    method = data.payment_method if data is not None else None

    def try_to(tx: Tx) -> InvoiceView:
        payment = payments.start_invoice_payment(tx, account, invoice, method)
        if payment is not None:
            payments.suppose_success(tx, account, payment)
        return view(tx.conn, require(tx.conn, account, invoice))

    if dry_run:
        return once(request, try_to, dry_run=True)

    def pay(payment: str | None) -> InvoiceView:
        request.desk.worker.pay_invoice(account, invoice, method, payment)
        with request.desk.read() as conn:
            return view(conn, require(conn, account, invoice))

    return converge(request, "pay", pay, goes_on=lambda invoice: invoice.state in UNPAID)


@get(_PATH + "/{invoice:str}/lines/{n:str}/usage", MEMBER, counted=False)
def list_line_usage(
    request: Call,
    account: Name,
    invoice: Name,
    n: Name,
    page_size: PageSize = None,
    page_token: PageToken = None,
) -> LineUsageList:
    """List the usage events that an invoice line sums, oldest first, each with its part of the line."""
    if not (n.isascii() and n.isdigit() and len(n) <= 9):
        raise Invalid("n must be the number of a line, a whole number from 1 up", field="n")
    place = read_token(page_token, int, str, str)
    most = page_size or DEFAULT_PAGE
    with request.desk.read() as conn:
        head, line = invoicing.require_line(conn, account, invoice, int(n))
        after = None if place is None else (place[0], place[1], place[2])
        found = list(islice(invoicing.iter_line_usage(conn, head, line, after), most + 1))
    last = found[most - 1][0] if len(found) > most else None
    return LineUsageList(
        view_line(line),
        [
            LineUsage(
                id=event.id,
                source=event.source,
                occurred_at=format_instant(event.occurred_at),
                user=event.user,
                quantity=part.quantity,
                amount_usd=format_usd_exact(part.amount_nanos),
                event_cost_usd=format_usd_exact(event.cost),
                price_version=event.version,
                estimated=bool(event.estimated),
            )
            for event, part in found[:most]
        ],
        "" if last is None else write_token(last.occurred_at, last.source, last.id),
    )


ROUTES = [list_invoices, preview_invoice, get_invoice, pay_invoice, list_line_usage]
