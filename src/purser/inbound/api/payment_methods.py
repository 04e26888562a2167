"""Payment methods: added by the provider's token, listed without it, removed."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody

from purser.core.errors import NotFound
from purser.core.period import format_instant
from purser.flows import payments, standing
from purser.inbound.api.auth import ADMIN, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, converge, once
from purser.inbound.api.routes import delete, get, post
from purser.inbound.api.wire import Body, Empty, Name, View
from purser.store import payments as rows
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}/paymentMethods"


class NewMethod(Body):
    """A payment method to add, as the provider's token."""

    token: str


class CardView(View):
    """A card in public."""

    brand: str
    last4: str
    exp_month: int
    exp_year: int


class MethodView(View):
    """A payment method on file."""

    id: str
    card: CardView
    default: bool
    created_at: str


class MethodList(View):
    """The payment methods on file, newest first."""

    payment_methods: list[MethodView]
    default_payment_method_id: str | None


def view(row: Row, default: str | None) -> MethodView:
    """One payment method."""
    card = CardView(row.brand, row.last4, row.exp_month, row.exp_year)
    return MethodView(row.id, card, row.id == default, format_instant(row.created_at))


def _get(conn: Connection, account: str, method: str, *, removed: bool = False) -> MethodView:
    row = rows.get_method(conn, account, method, removed=removed)
    if row is None:
        raise NotFound(f"account {account} has no payment method {method!r:.60}", field="paymentMethod")
    return view(row, standing.require(conn, account).default_payment_method)


@get(_PATH, MEMBER, counted=False)
def list_methods(request: Call, account: Name) -> MethodList:
    """List the payment methods on file."""
    with request.desk.read() as conn:
        default = standing.require(conn, account).default_payment_method
        return MethodList([view(row, default) for row in rows.list_methods(conn, account)], default)


@post(_PATH, ADMIN, counted=False, refuses=(402,))
def add_method(
    request: Call, account: Name, data: JSONBody[NewMethod], dry_run: DryRun = False
) -> Response[MethodView]:
    """Add a payment method; it becomes the default, and what failed to be paid is charged to it at once (U6)."""

    desk = request.desk
    if dry_run:
        card = desk.worker.look_at_card(account, data.token)
        return once(request, lambda tx: _get(tx.conn, account, payments.add_method(tx, account, card)), dry_run=True)

    def add(method: str | None) -> MethodView:
        added = desk.worker.add_method(account, data.token, method)
        with desk.read() as conn:
            return _get(conn, account, added, removed=True)  # a repeated request may come after the removal

    return converge(request, "pm", add)


@get(_PATH + "/{method:str}", MEMBER, counted=False)
def get_method(request: Call, account: Name, method: Name) -> MethodView:
    """Get a payment method."""
    with request.desk.read() as conn:
        return _get(conn, account, method)


@delete(_PATH + "/{method:str}", ADMIN, counted=False)
def remove_method(request: Call, account: Name, method: Name, dry_run: DryRun = False) -> Response[Empty]:
    """Take a payment method off file; the newest one left becomes the default."""

    def remove(tx: Tx) -> Empty:
        payments.remove_method(tx, account, method)
        return Empty()

    return once(request, remove, dry_run=dry_run)


ROUTES = [list_methods, add_method, get_method, remove_method]
