"""Accounts as the compatible API shows them, with our own causes and ways back; and who is calling."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from litestar.params import QueryParameter
from msgspec import UNSET, UnsetType

from purser.core.errors import Invalid
from purser.core.explain import explain_cause
from purser.core.limits import UNLIMITED, Tier, spans_of
from purser.core.money import format_usd
from purser.core.period import format_instant
from purser.core.policy import Policy
from purser.core.standing import STRICTEST_FIRST, UNSUSPENDED
from purser.flows import reports
from purser.inbound.api.auth import ANYONE, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.filters import read_comparisons, wrong_filter
from purser.inbound.api.routes import get
from purser.inbound.api.wire import DEFAULT_PAGE, Name, PageSize, PageToken, View, instant, read_token, write_token
from purser.store import abuse, accounts
from purser.store.accounts import Only, Order
from purser.store.db import Connection, Row

_COLUMNS = {
    "accountId": "id",
    "billingMode": "billing_mode",
    "displayName": "display_name",
    "email": "email",
    "id": "id",
    "state": "state",
}
_STATES = (UNSUSPENDED, *STRICTEST_FIRST)
_DERIVED = ("suspendState", "tier", "hasPaymentMethod")
_ORDERS = {
    f"{field}{direction}": Order(by_id=field == "id", descending=direction == " desc")
    for field in ("createTime", "id")
    for direction in ("", " asc", " desc")
}
Filter = Annotated[
    str | None,
    QueryParameter(description='Comparisons such as email = "ada@example.com" or tier = 2, joined by AND.'),
]
OrderBy = Annotated[
    str | None,
    QueryParameter(name="orderBy", description='"createTime" or "id", each also with " desc"; "createTime desc".'),
]


class CauseView(View):
    """Why an account is suspended, since when, and what lifts it."""

    cause: str
    since: str
    why: str
    way_back: str


class NextModeView(View):
    """The billing mode from an instant to come on."""

    billing_mode: str
    effective_at: str


class FlagView(View):
    """Why a person should look at an account: a rule that blocks it or finds it suspicious, or a card it shares."""

    account: str
    kind: str
    why: str
    rule: str | None
    since: str


class AccountView(View):
    """An account; `flags` are told on the operator's own routes alone."""

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
    next_billing_mode: NextModeView | None
    closing_at: str | None
    closed_at: str | None
    flags: list[FlagView] | UnsetType = UNSET


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
    operator_role: str | UnsetType = UNSET


def view_flag(row: Row) -> FlagView:
    """One flag."""
    return FlagView(row.subject, row.kind, row.why, row.rule, format_instant(row.at))


def view(conn: Connection, account: str, policy: Policy, *, flags: bool = False) -> AccountView:
    """One account; raises NotFound."""
    found = reports.view_account(conn, account, policy)
    return _view(found, abuse.list_flags(conn, [account]) if flags else None)


def _view_all(conn: Connection, rows: list[Row], policy: Policy, *, flags: bool) -> list[AccountView]:
    flagged: dict[str, list[Row]] | None = {row.id: [] for row in rows} if flags else None
    if flagged is not None:
        for flag in abuse.list_flags(conn, [*flagged]):
            flagged[flag.subject].append(flag)
    found = reports.view_accounts(conn, rows, policy)
    return [_view(each, None if flagged is None else flagged[each.row.id]) for each in found]


def _view(found: reports.AccountView, flags: list[Row] | None) -> AccountView:
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
        next_billing_mode=NextModeView(row.next_mode, format_instant(row.next_mode_at)) if row.next_mode else None,
        closing_at=instant(row.closing_at),
        closed_at=instant(row.closed_at),
        flags=UNSET if flags is None else [view_flag(flag) for flag in flags],
    )


def read_filter(text: str | None, tiers: tuple[Tier, ...]) -> Only:
    """A filter as what is meant by it; raises Invalid naming the fields that can be compared, and their values."""
    fields = {**_COLUMNS, **{name: name for name in _DERIVED}}
    given = read_comparisons(text, fields, 'email = "ada@example.com"')
    if "id" in given:
        given["id"] = given["id"].removeprefix("accounts/")
    state, tier, method = (given.pop(name, None) for name in _DERIVED)
    if state is not None and state not in _STATES:
        raise wrong_filter(f"such as suspendState = {UNSUSPENDED}; states: {', '.join(_STATES)}")
    if method not in (None, "true", "false"):
        raise wrong_filter("such as hasPaymentMethod = true, or false")
    only = Only(given, state, None if method is None else method == "true")
    return only if tier is None else _in_tier(only, tier, tiers)


def _in_tier(only: Only, tier: str, tiers: tuple[Tier, ...]) -> Only:
    """Those of a tier as well, tier 0 being tier 1 without a payment method (L2); raises Invalid."""
    numbers = [str(number) for number in range(len(tiers) + 1)]
    if tier not in (*numbers, UNLIMITED):
        raise wrong_filter(f"such as tier = 2; tiers: {', '.join(numbers)}, {UNLIMITED}")
    only = replace(only, columns={**only.columns, "unlimited": int(tier == UNLIMITED)})
    if tier == UNLIMITED:
        return only
    method = {"0": False, "1": True}.get(tier, only.has_payment_method)
    nobody = only.has_payment_method not in (None, method)
    return replace(only, has_payment_method=method, spend=[] if nobody else spans_of(tiers, max(1, int(tier))))


def list_page(
    call: Call,
    size: int | None,
    token: str | None,
    filter_: str | None,
    order_by: str | None,
    *,
    flags: bool = False,
) -> AccountList:
    """A page of the accounts that the caller may see: all for the operator, else the one of the key."""
    order = _ORDERS.get(order_by or "createTime desc")
    if order is None:
        raise Invalid(f"orderBy must be one of {', '.join(_ORDERS)}; createTime desc if not given", field="orderBy")
    only = read_filter(filter_, call.desk.policy.tiers)
    place = read_token(token, str) if order.by_id else read_token(token, int, str)
    most = size or DEFAULT_PAGE
    if not call.caller.operator:
        if only.columns.get("id", call.caller.account) != call.caller.account:
            return AccountList([], "", 0)
        only = replace(only, columns={**only.columns, "id": call.caller.account})
    with call.desk.read() as conn:
        rows = accounts.list_accounts(conn, only, order, after=place, limit=most + 1)
        last = rows[most - 1] if len(rows) > most else None
        return AccountList(
            _view_all(conn, rows[:most], call.desk.policy, flags=flags),
            "" if last is None else write_token(last.id) if order.by_id else write_token(last.created_at, last.id),
            accounts.count_accounts(conn, only),
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
    return list_page(request, page_size, page_token, filter, order_by)


@get("/v1/accounts/{account:str}", MEMBER)
def get_account(request: Call, account: Name) -> AccountView:
    """Get an account: its standing with every suspension cause and the way back, its tier and billing mode."""
    with request.desk.read() as conn:
        return view(conn, account, request.desk.policy)


@get("/v1/me", ANYONE, counted=False)  # programs ask it before they pay
def get_me(request: Call) -> Me:
    """Say whose key this is."""
    caller = request.caller
    return Me(
        account=None if caller.operator else caller.account,
        user=caller.user,
        role=caller.role,
        key_id=caller.key,
        operator=caller.operator,
        operator_role=caller.operator_role if caller.operator else UNSET,
        expire_time=instant(caller.expires_at),
    )


ROUTES = [list_accounts, get_account, get_me]
