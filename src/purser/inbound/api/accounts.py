"""Accounts as the compatible API shows them, with our own causes and ways back; and who is calling."""

from __future__ import annotations

import re
from typing import Annotated

from litestar.params import QueryParameter

from purser.core.errors import Invalid
from purser.core.explain import explain_cause
from purser.core.limits import UNLIMITED
from purser.core.money import format_usd
from purser.core.period import format_instant
from purser.core.policy import Policy
from purser.flows import reports
from purser.inbound.api.auth import ANYONE, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get
from purser.inbound.api.wire import DEFAULT_PAGE, Name, PageSize, PageToken, View, instant, read_token, write_token
from purser.store import accounts
from purser.store.db import Connection, Row

_COLUMNS = {
    "accountId": "id",
    "billingMode": "billing_mode",
    "displayName": "display_name",
    "email": "email",
    "id": "id",
    "state": "state",
}
_COMPARISON = re.compile(r'\s*(\w+)\s*(?:=|:)\s*("(?:[^"\\]|\\.)*"|[^\s"]+)\s*\Z')
Filter = Annotated[
    str | None, QueryParameter(description='Comparisons such as email = "ada@example.com", joined by AND.')
]
OrderBy = Annotated[
    str | None, QueryParameter(name="orderBy", description='"createTime desc" (the default) or "createTime".')
]


class CauseView(View):
    """Why an account is suspended, since when, and what lifts it."""

    cause: str
    since: str
    why: str
    way_back: str


class AccountView(View):
    """An account."""

    name: str
    id: str
    display_name: str
    email: str
    state: str
    suspend_state: str
    suspension_causes: list[CauseView]
    tier: int | str
    billing_mode: str
    account_type: str
    has_payment_method: bool
    historical_spend_usd: str
    create_time: str
    update_time: str


class AccountList(View):
    """A page of accounts."""

    accounts: list[AccountView]
    next_page_token: str
    total_size: int


class Me(View):
    """Who is calling."""

    account: str | None
    user: str
    role: str
    key_id: str
    operator: bool
    expire_time: str | None


def view(conn: Connection, account: str, policy: Policy) -> AccountView:
    """One account; raises NotFound."""
    found = reports.view_account(conn, account, policy)
    row = found.row
    return AccountView(
        name=f"accounts/{row.id}",
        id=row.id,
        display_name=row.display_name,
        email=row.email,
        state=row.state,
        suspend_state=found.suspend_state,
        suspension_causes=[
            CauseView(
                cause=cause.cause,
                since=format_instant(cause.since_at),
                why=cause.why,
                way_back=explain_cause(cause.cause, prepaid=found.prepaid).way_back,
            )
            for cause in found.causes
        ],
        tier=UNLIMITED if found.tier is None else found.tier.number,
        billing_mode=row.billing_mode,
        account_type=row.account_type,
        has_payment_method=found.has_payment_method,
        historical_spend_usd=format_usd(found.historical_spend_nanos),
        create_time=format_instant(row.created_at),
        update_time=format_instant(row.updated_at),
    )


def read_filter(text: str | None) -> dict[str, str]:
    """A filter as columns and values; raises Invalid naming the fields that can be compared."""
    equal: dict[str, str] = {}
    for part in re.split(r"\s+AND\s+", text or ""):
        if not part.strip():
            continue
        found = _COMPARISON.match(part)
        column = _COLUMNS.get(found[1]) if found else None
        if found is None or column is None or column in equal:
            raise Invalid(
                'filter must be comparisons such as email = "ada@example.com", joined by AND; '
                f"fields: {', '.join(_COLUMNS)}",
                field="filter",
            )
        value = found[2]
        equal[column] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
        if column == "id":
            equal[column] = equal[column].removeprefix("accounts/")
    return equal


def list_page(call: Call, size: int | None, token: str | None, filter_: str | None, order: str | None) -> AccountList:
    """A page of all accounts, for the operator."""
    if order not in (None, "", "createTime", "createTime asc", "createTime desc"):
        raise Invalid('orderBy must be "createTime desc" or "createTime"', field="orderBy")
    equal = read_filter(filter_)
    place = read_token(token, int, str)
    most = size or DEFAULT_PAGE
    with call.desk.read() as conn:
        rows: list[Row] = accounts.list_accounts(
            conn,
            after=None if place is None else (place[0], place[1]),
            limit=most + 1,
            oldest_first=order in ("createTime", "createTime asc"),
            **equal,
        )
        return AccountList(
            [view(conn, row.id, call.desk.policy) for row in rows[:most]],
            write_token(rows[most - 1].created_at, rows[most - 1].id) if len(rows) > most else "",
            accounts.count_accounts(conn, **equal),
        )


@get("/v1/accounts", ANYONE)
def list_accounts(
    request: Call,
    page_size: PageSize = None,
    page_token: PageToken = None,
    filter: Filter = None,
    order_by: OrderBy = None,
) -> AccountList:
    """List the accounts that the key belongs to; all of them with the operator's key."""
    if request.caller.operator:
        return list_page(request, page_size, page_token, filter, order_by)
    equal = read_filter(filter)
    read_token(page_token, int, str)
    with request.desk.read() as conn:
        row = accounts.get_account(conn, request.caller.account)
        fits = row is not None and all(getattr(row, name) == value for name, value in equal.items())
        found = [view(conn, request.caller.account, request.desk.policy)] if fits else []
    return AccountList(found, "", len(found))


@get("/v1/accounts/{account:str}", MEMBER)
def get_account(request: Call, account: Name) -> AccountView:
    """Get an account: its standing with every suspension cause and the way back, its tier and billing mode."""
    with request.desk.read() as conn:
        return view(conn, account, request.desk.policy)


@get("/v1/me", ANYONE)
def get_me(request: Call) -> Me:
    """Say whose key this is."""
    caller = request.caller
    return Me(
        account=None if caller.operator else caller.account,
        user=caller.user,
        role=caller.role,
        key_id=caller.key,
        operator=caller.operator,
        expire_time=instant(caller.expires_at),
    )


ROUTES = [list_accounts, get_account, get_me]
