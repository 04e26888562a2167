"""Requests for a higher usage limit, as the compatible API has them: made by users, decided by admins (L6)."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import Response
from litestar.params import JSONBody, QueryParameter

from purser.core.errors import Forbidden
from purser.core.period import format_instant
from purser.flows import limit_requests as flow
from purser.flows import standing
from purser.inbound.api.auth import ADMIN, MEMBER
from purser.inbound.api.billing import Money, money
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.permissions import manages
from purser.inbound.api.routes import get, post
from purser.inbound.api.usage_limits import MoneyFields
from purser.inbound.api.wire import Body, Name, PageSize, PageToken, View, instant, page
from purser.store import limit_requests as rows
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}/usageLimitIncreaseRequests"
State = Annotated[
    Literal["PENDING", "APPROVED", "REJECTED"] | None, QueryParameter(name="state", description="Those alone.")
]


class NewRequest(Body):
    """What a user asks to spend in a month, and why; an admin may ask for another user."""

    requested_limit: MoneyFields
    reason: str = ""
    user: str | None = None


class Approval(Body):
    """How much the user may spend in a month; as much as was asked for if not given."""

    limit: MoneyFields | None = None


class Rejection(Body):
    """What the user is told."""

    reason: str = ""


class RequestView(View):
    """A request for a higher limit, and what became of it; `decidedBy` is empty where that was the operator."""

    name: str
    id: str
    user: str
    requested_limit: Money
    reason: str
    state: str
    create_time: str
    decide_time: str | None
    decided_by: str | None
    approved_limit: Money | None
    answer: str


class RequestList(View):
    """A page of requests, newest first."""

    usage_limit_increase_requests: list[RequestView]
    next_page_token: str
    total_size: int


def _view(row: Row) -> RequestView:
    return RequestView(
        name=f"accounts/{row.account}/usageLimitIncreaseRequests/{row.id}",
        id=row.id,
        user=row.user,
        requested_limit=money(row.requested),
        reason=row.reason,
        state=row.state,
        create_time=format_instant(row.created_at),
        decide_time=instant(row.decided_at),
        decided_by=row.decided_by,
        approved_limit=None if row.approved is None else money(row.approved),
        answer=row.answer,
    )


def _own(call: Call) -> str | None:
    """Whose requests the caller may see: all (None) as an admin, else its own."""
    return None if call.caller.operator or manages(call.caller.role) else call.caller.user


def _by(call: Call) -> str:
    return "" if call.caller.operator else call.caller.user


def _find(conn: Connection, call: Call, account: str, id_: str) -> Row:
    row = flow.require(conn, account, id_)
    if _own(call) not in (None, row.user):
        raise Forbidden("this needs the role admin: it is another user's request")
    return row


@get(_PATH, MEMBER)
def list_limit_requests(
    request: Call, account: Name, in_state: State = None, page_size: PageSize = None, page_token: PageToken = None
) -> RequestList:
    """List the requests for a higher limit; without the role admin, the caller's own."""
    with request.desk.read() as conn:
        standing.require(conn, account)
        found = rows.list_of(conn, account, _own(request), in_state)
    some, more = page(found, page_size, page_token)
    return RequestList([_view(row) for row in some], more, len(found))


@post(_PATH, MEMBER)
def make_limit_request(
    request: Call, account: Name, data: JSONBody[NewRequest], dry_run: DryRun = False
) -> Response[RequestView]:
    """Ask to spend more in a month than the limit that is in force for a user: one request at a time."""
    user = data.user or ("owner" if request.caller.operator else request.caller.user)
    if _own(request) not in (None, user):
        raise Forbidden("this needs the role admin: you may ask for yourself only")
    limit = data.requested_limit.read("requestedLimit")

    def make(tx: Tx) -> RequestView:
        return _view(flow.require(tx.conn, account, flow.ask(tx, account, user, limit, data.reason)))

    return once(request, make, dry_run=dry_run)


@get(_PATH + "/{increase:str}", MEMBER)
def get_limit_request(request: Call, account: Name, increase: Name) -> RequestView:
    """Get a request for a higher limit."""
    with request.desk.read() as conn:
        return _view(_find(conn, request, account, increase))


@post(_PATH + "/{increase:str}/:approve", ADMIN)
def approve_limit_request(
    request: Call, account: Name, increase: Name, data: JSONBody[Approval | None] = None, dry_run: DryRun = False
) -> Response[RequestView]:
    """Give the user a limit of its own, in force at once; refused where the user may spend as much already."""
    limit = None if data is None or data.limit is None else data.limit.read("limit")

    def approve(tx: Tx) -> RequestView:
        flow.approve(tx, account, increase, limit, _by(request))
        return _view(flow.require(tx.conn, account, increase))

    return once(request, approve, dry_run=dry_run)


@post(_PATH + "/{increase:str}/:reject", ADMIN)
def reject_limit_request(
    request: Call, account: Name, increase: Name, data: JSONBody[Rejection | None] = None, dry_run: DryRun = False
) -> Response[RequestView]:
    """Leave the user's limit as it is, and tell the user so."""
    answer = "" if data is None else data.reason

    def reject(tx: Tx) -> RequestView:
        flow.reject(tx, account, increase, answer, _by(request))
        return _view(flow.require(tx.conn, account, increase))

    return once(request, reject, dry_run=dry_run)


ROUTES = [
    list_limit_requests,
    make_limit_request,
    get_limit_request,
    approve_limit_request,
    reject_limit_request,
]
