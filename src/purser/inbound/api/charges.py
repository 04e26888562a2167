"""Charges: what one request cost and why, and which credit or balance paid it."""

from __future__ import annotations

from typing import Annotated

from litestar.params import QueryParameter

from purser.core.charges import tell
from purser.core.money import format_usd, format_usd_exact
from purser.core.period import format_instant
from purser.flows import charges
from purser.flows.charges import Explained
from purser.inbound.api.auth import MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import Name, View, unit_price

Asked = Annotated[
    str,
    QueryParameter(
        name="request",
        min_length=1,
        max_length=200,
        description="The `x-request-id` of the answer, or the id of an event reported to /v1/usage.",
    ),
]
Source = Annotated[
    str | None,
    QueryParameter(
        max_length=300,
        description="Where the usage came from, as the usage of an invoice line says it; not needed for requests, nor "
        "for events reported in our own shape.",
    ),
]


class PartView(View):
    """Usage of one unit times its rate. unitPriceUsd is the price of a single unit, exact."""

    unit: str
    quantity: int
    unit_price_usd: str
    amount_usd: str


class PaidView(View):
    """Who paid, or will pay, so much of a charge: `credit` with the grant's id, or the account's `balance`.

    `drawn` says whether the ledger has it already: credit is drawn when a month ends or credit changes, and what is
    not drawn yet may still be paid by credit that comes before.
    """

    by: str
    grant: str | None
    amount_usd: str
    drawn: bool


class PostingView(View):
    """One side of a ledger entry."""

    ledger: str
    side: str
    amount_usd: str


class EntryView(View):
    """The ledger entry that posts a charge, with those of so many usage events in all."""

    transaction: str
    at: str
    events: int
    postings: list[PostingView]


class OnInvoice(View):
    """The invoice that a charge is on, and the numbers of the lines that it is part of."""

    id: str
    number: str
    state: str
    lines: list[int]


class ChargeView(View):
    """What one request cost: usage times rate, the price book's version, who paid, the ledger entry, the invoice."""

    id: str
    source: str
    account: str
    model: str
    user: str | None
    key: str | None
    occurred_at: str
    recorded_at: str
    month: str
    bill_month: str
    state: str
    estimated: bool
    held_usd: str
    parts: list[PartView]
    charge_usd: str
    not_charged_usd: str
    price_version: int
    price_since: str
    paid_by: list[PaidView]
    entry: EntryView | None
    invoice: OnInvoice | None
    text: str


def view(found: Explained) -> ChargeView:
    """A charge as the API shows it."""
    event, charge, entry, invoice = found.event, found.charge, None, None
    if found.entry is not None:
        head, sides, events = found.entry
        postings = [
            PostingView(side.ledger, "debit" if side.side == "D" else "credit", format_usd_exact(side.amount))
            for side in sides
        ]
        entry = EntryView(head.key, format_instant(head.at), events, postings)
    if found.invoice is not None:
        invoice = OnInvoice(found.invoice.id, found.invoice.number, found.invoice.state, list(found.lines))
    return ChargeView(
        id=event.id,
        source=event.source,
        account=event.account,
        model=event.model,
        user=event.user,
        key=event.key,
        occurred_at=format_instant(event.occurred_at),
        recorded_at=format_instant(event.recorded_at),
        month=event.month,
        bill_month=event.bill_month,
        state=event.state,
        estimated=charge.estimated,
        held_usd=format_usd(event.held),
        parts=[
            PartView(
                part.unit,
                part.quantity,
                unit_price(found.rates[part.unit].nanos, found.rates[part.unit].per),
                format_usd_exact(part.amount_nanos),
            )
            for part in charge.parts
        ],
        charge_usd=format_usd_exact(event.cost),
        not_charged_usd=format_usd_exact(event.clamped),
        price_version=charge.version,
        price_since=format_instant(charge.version_since),
        paid_by=[
            PaidView(
                "balance" if payment.grant is None else "credit",
                payment.grant,
                format_usd_exact(payment.amount_nanos),
                payment.drawn,
            )
            for payment in charge.payments
        ],
        entry=entry,
        invoice=invoice,
        text=tell(charge),
    )


@get("/v1/accounts/{account:str}/charges/:explain", MEMBER, counted=False)
def explain_charge(request: Call, account: Name, asked: Asked, source: Source = None) -> ChargeView:
    """Explain what a request cost: usage times rate, price version, who paid it, ledger entry and invoice."""
    with request.desk.read() as conn:
        return view(charges.explain_charge(conn, account, asked, source))


ROUTES = [explain_charge]
