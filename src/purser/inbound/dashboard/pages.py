"""The pages: the overview of one account, and the style sheet."""

from __future__ import annotations

from litestar import Response
from litestar.params import URLEncodedBody
from litestar.response import Redirect

from purser.core.invoice import PREPAID_CREDITS
from purser.core.money import format_usd
from purser.core.period import format_instant, month_of
from purser.flows.audit_log import acting
from purser.inbound.api import accounts as account_routes
from purser.inbound.api import credits as credit_routes
from purser.inbound.api import invoices as invoice_routes
from purser.inbound.api.auth import PUBLIC
from purser.inbound.api.call import Call
from purser.inbound.api.credit_codes import redeem_for
from purser.inbound.api.routes import get, post
from purser.inbound.dashboard.forms import (
    Fields,
    Page,
    admin_of,
    is_admin,
    render_form,
    say,
    told_plainly,
    visitor_of,
)
from purser.inbound.dashboard.rendering import HEADERS, read_static
from purser.inbound.dashboard.session import Visitor
from purser.inbound.dashboard.signing_in import sign_in_page
from purser.store import invoices, payments

_SHOWN = 12
_NANOS = 1_000_000_000


@get("/", PUBLIC, listed=False)
def root() -> Redirect:
    """To the dashboard."""
    return Redirect("/dashboard", status_code=303)


@get("/dashboard/style.css", PUBLIC, listed=False)
def get_style() -> Response[bytes]:
    """The style sheet."""
    headers = {"cache-control": "max-age=300", "x-content-type-options": "nosniff"}
    return Response(read_static("style.css"), media_type="text/css", headers=headers)


@get("/dashboard", PUBLIC, listed=False)
def overview(request: Call) -> Page:
    """One account at a glance: its standing, credit, spend, invoices and receipts."""
    visitor = visitor_of(request)
    if visitor is None:
        return sign_in_page(request, 401)
    if not visitor.account:
        return Redirect("/dashboard/accounts", status_code=303, headers=HEADERS)
    return render_form(request, "overview.html", _figures(request, visitor))


@post("/dashboard/redeem", PUBLIC, listed=False)
@told_plainly
def redeem(request: Call, data: URLEncodedBody[Fields]) -> Page:
    """Redeem a credit code for the account."""
    visitor = admin_of(request, data)
    with acting(request.act_of(visitor.account, visitor.user)):
        grant = redeem_for(request.desk, visitor.account, data.get("code"))
    until = "" if grant.expires_at is None else f", until {format_instant(grant.expires_at)}"
    return say(request, "Redeemed", f"This code gave ${format_usd(grant.granted_nanos)} of credit{until}.")


def _figures(call: Call, visitor: Visitor) -> dict[str, object]:
    desk, account = call.desk, visitor.account
    now, admin = desk.clock.now(), is_admin(call, visitor)
    with desk.read() as conn:
        shown = account_routes.view(conn, account, desk.policy)
        balance = credit_routes.view_balance(call, conn, account)
        rows = invoices.list_invoices(conn, account)
        bills = [row for row in rows if row.type != PREPAID_CREDITS][:_SHOWN]
        paid = payments.list_receipted(conn, account)
        receipts = [row for row in rows if row.type == PREPAID_CREDITS][:_SHOWN]
        return {
            "account": shown,
            "balance": balance,
            "month": month_of(now),
            "now": format_instant(now),
            "spent": _cents(balance.spent_this_month_usd),
            "user": visitor.user,
            "admin": admin,
            "invoices": [invoice_routes.view(conn, row) for row in bills],
            "receipts": [credit_routes.view_receipt(conn, row, paid.get(row.id)) for row in receipts],
        }


def _cents(usd: str) -> str:
    """Dollars with nine decimals as people like to read them."""
    units, _, fraction = usd.partition(".")
    return format_usd(int(units) * _NANOS + int(fraction))


ROUTES = [root, get_style, overview, redeem]
