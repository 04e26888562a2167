"""Balance, credit, its purchase and the receipts: an account's money at a glance (A3, A7, D3)."""

from __future__ import annotations

from collections.abc import Sequence

from litestar import Response
from litestar.openapi import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from purser.core.credits import CreditGrant
from purser.core.invoice import PREPAID_CREDITS
from purser.core.money import format_usd, format_usd_exact, parse_usd
from purser.core.payment import SUCCEEDED, Allocation
from purser.core.period import DAY, format_instant
from purser.flows import credits, payments, reports
from purser.inbound.api.auth import ADMIN, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, converge, once
from purser.inbound.api.routes import get, post
from purser.inbound.api.wire import Body, Name, PageSize, PageToken, View, instant, page, usd
from purser.store import credits as grant_rows
from purser.store import invoices
from purser.store import payments as payment_rows
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}"
_DONE, _PENDING = "SUCCEEDED", "PENDING"  # what callers see of a payment's state


class GrantView(View):
    """What remains of a credit grant."""

    id: str
    kind: str
    remaining_usd: str
    expires_at: str | None


class Runway(View):
    """How long the credit lasts at the pace of the last seven days, or of those that the account is there."""

    days: int
    until: str


class BalanceView(View):
    """An account's money at this instant."""

    credit_usd: str
    grants: list[GrantView]
    outstanding_usd: str
    spent_this_month_usd: str
    limit_usd: str | None
    held_usd: str
    headroom_usd: str | None
    runway: Runway | None


class CreditView(View):
    """A credit grant with all that became of it."""

    id: str
    kind: str
    granted_usd: str
    remaining_usd: str
    used_usd: str
    lapsed_usd: str
    created_at: str
    expires_at: str | None
    source: str


class CreditList(View):
    """A page of credit grants."""

    credit_usd: str
    credits: list[CreditView]
    next_page_token: str
    total_size: int


class AllocationView(View):
    """Where a part of a payment went: onto an invoice, an unbilled month, or into credit."""

    to: str
    amount_usd: str
    id: str | UnsetType = UNSET


class NewPurchase(Body):
    """Credit to buy."""

    amount_usd: str
    payment_method: str | None = None


class PurchaseView(View):
    """Credit bought: what was paid, where it went, and the receipt's id; while PENDING neither is known yet."""

    id: str
    state: str
    amount_usd: str
    allocation: list[AllocationView]
    receipt: str | None


class ReceiptView(View):
    """The receipt of money received for credit."""

    id: str
    number: str
    amount_usd: str
    issued_at: str
    payment: str | None
    allocation: list[AllocationView]


class ReceiptList(View):
    """A page of receipts."""

    receipts: list[ReceiptView]
    next_page_token: str
    total_size: int


def view_grant(grant: CreditGrant) -> GrantView:
    """A grant as the balance shows it."""
    return GrantView(grant.id, grant.kind, format_usd(grant.remaining_nanos), instant(grant.expires_at))


def view_balance(call: Call, conn: Connection, account: str) -> BalanceView:
    """An account's balance; raises NotFound."""
    desk = call.desk
    now = desk.clock.now()
    found = reports.balance(conn, account, desk.policy, now, desk.held(account))
    days = found.runway_days
    ends_at = None if days is None else min(now + days * DAY, _END_OF_TIME)
    return BalanceView(
        credit_usd=format_usd(found.credit),
        grants=[view_grant(grant) for grant in found.grants],
        outstanding_usd=format_usd(found.outstanding),
        spent_this_month_usd=format_usd_exact(found.spent_this_month),
        limit_usd=usd(found.limit),
        held_usd=format_usd(found.held),
        headroom_usd=usd(found.headroom),
        runway=None if days is None or ends_at is None else Runway(days, format_instant(ends_at)),
    )


_END_OF_TIME = 253_370_764_800_000_000  # the year 9999 begins


def view_allocation(parts: Sequence[Allocation]) -> list[AllocationView]:
    """Where money went, line by line."""
    return [AllocationView(part.to, format_usd(part.amount_nanos), part.id or UNSET) for part in parts]


def view_receipt(conn: Connection, row: Row, payment: Row | None) -> ReceiptView:
    """One receipt, with the payment it stands for where one was made through a provider."""
    parts = (
        credits.read_allocation(conn, row.account, row.id)
        if payment is None
        else credits.decode_allocation(payment.allocation)
    )
    return ReceiptView(
        id=row.id,
        number=row.number,
        amount_usd=format_usd(row.total),
        issued_at=format_instant(row.issued_at),
        payment=None if payment is None else payment.id,
        allocation=view_allocation(parts),
    )


def list_receipt_rows(conn: Connection, account: str) -> list[Row]:
    """An account's receipts, newest first."""
    return [row for row in invoices.list_invoices(conn, account) if row.type == PREPAID_CREDITS]


@get(_PATH + "/balance", MEMBER, counted=False)
def get_balance(request: Call, account: Name) -> BalanceView:
    """Get an account's credit, what it owes, has spent this month, holds for running requests, and may still spend."""
    with request.desk.read() as conn:
        return view_balance(request, conn, account)


@get(_PATH + "/credits", MEMBER, counted=False)
def list_credits(request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None) -> CreditList:
    """List an account's credit grants, newest first, with what remains of each."""
    with request.desk.read() as conn:
        rows = grant_rows.list_grant_rows(conn, account)
        left = {grant.id: grant.remaining_nanos for grant in credits.remaining_grants(conn, account)}
    some, more = page(rows, page_size, page_token)
    return CreditList(
        format_usd(sum(left.values())),
        [
            CreditView(
                id=row.id,
                kind=row.kind,
                granted_usd=format_usd(row.granted),
                remaining_usd=format_usd(left.get(row.id, 0)),
                used_usd=format_usd(row.granted - row.lapsed - left.get(row.id, 0)),
                lapsed_usd=format_usd(row.lapsed),
                created_at=format_instant(row.created_at),
                expires_at=instant(row.expires_at),
                source=row.source,
            )
            for row in some
        ],
        more,
        len(rows),
    )


_LATER = ResponseSpec(
    PurchaseView,
    description="The payment provider has not answered. The payment goes on by itself: do not buy again. "
    "Sent again with the same Idempotency-Key, the request tells how it ended; so does its receipt.",
    generate_examples=False,
)


@post(_PATH + "/credits/:purchase", ADMIN, counted=False, refuses=(402,), responses={202: _LATER})
def purchase_credits(
    request: Call, account: Name, data: JSONBody[NewPurchase], dry_run: DryRun = False
) -> Response[PurchaseView]:
    """Buy credit with a payment method on file; it pays what is owed first (A7).

    A dry run asks no provider: it answers what would be if the charge succeeded.
    """
    amount = parse_usd(data.amount_usd, "amountUsd")

    def bought(row: Row) -> PurchaseView:
        parts = credits.decode_allocation(row.allocation)
        state = _DONE if row.state == SUCCEEDED else _PENDING
        return PurchaseView(row.id, state, format_usd(row.amount), view_allocation(parts), row.receipt)

    def buy(payment: str | None) -> PurchaseView:
        return bought(request.desk.worker.buy_credit(account, amount, data.payment_method, payment))

    def try_to(tx: Tx) -> PurchaseView:
        payment = payments.start_purchase(tx, account, amount, data.payment_method)
        return bought(payments.suppose_success(tx, account, payment))

    if dry_run:
        return once(request, try_to, dry_run=True)
    return converge(request, "pay", buy, goes_on=lambda bought: bought.state == _PENDING)


@get(_PATH + "/receipts", MEMBER, counted=False)
def list_receipts(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> ReceiptList:
    """List the receipts of credit bought, newest first, each with where the money went."""
    with request.desk.read() as conn:
        rows = list_receipt_rows(conn, account)
        paid = payment_rows.list_receipted(conn, account)
        some, more = page(rows, page_size, page_token)
        return ReceiptList([view_receipt(conn, row, paid.get(row.id)) for row in some], more, len(rows))


ROUTES = [get_balance, list_credits, purchase_credits, list_receipts]
