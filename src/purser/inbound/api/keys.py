"""API keys: shown once when made, listed without their secret, ended at once (X2)."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody
from msgspec import UNSET, UnsetType

from purser.core.budget import Budget, check_period, span
from purser.core.errors import Forbidden
from purser.core.money import format_usd, parse_usd
from purser.core.period import NEVER, format_instant, parse_instant
from purser.flows import access, budgets
from purser.inbound.api import users
from purser.inbound.api.auth import ADMIN, MEMBER, SELF
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.permissions import manages
from purser.inbound.api.routes import get, patch, post
from purser.inbound.api.wire import Body, Empty, Name, PageSize, PageToken, View, instant, page
from purser.store import accounts
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_ACCOUNT = "/v1/accounts/{account:str}/apiKeys"
_USER = "/v1/accounts/{account:str}/users/{user:str}/apiKeys"


class BudgetFields(Body):
    """What a key may spend at most: `{"amountUsd": "25.00", "period": "MONTHLY"}`."""

    amount_usd: str
    period: str

    def read(self) -> Budget:
        """The budget; raises Invalid."""
        return Budget(parse_usd(self.amount_usd, "budget.amountUsd"), check_period(self.period))


class KeyFields(Body):
    """What a new key is to be like."""

    display_name: str | None = None
    expire_time: str | None = None
    budget: BudgetFields | None = None


class NewKey(Body):
    """A key to make: `{"apiKey": {…}}` as the compatible API has it, or the fields by themselves."""

    api_key: KeyFields | None = None
    display_name: str | None = None
    expire_time: str | None = None
    budget: BudgetFields | None = None


class NewAccountKey(NewKey):
    """A key to make for a user of the account, the caller where none is named."""

    user_id: str | None = None


class ChangedKey(Body):
    """What is to change about a key; its budget is taken away by null."""

    budget: BudgetFields | None


class EndedKey(Body):
    """Which key to end."""

    key_id: str


class BudgetView(View):
    """A key's budget, and what of it is spent in the current period; `endTime` is null where that does not end."""

    amount_usd: str
    period: str
    spent_usd: str
    start_time: str | None
    end_time: str | None


class KeyView(View):
    """An API key; `key` is in the answer that made it and nowhere else."""

    key_id: str
    user: str
    display_name: str
    prefix: str
    secure: bool
    email: str
    create_time: str
    expire_time: str | None
    budget: BudgetView | None
    key: str | UnsetType = UNSET


class KeyList(View):
    """A page of keys."""

    api_keys: list[KeyView]
    next_page_token: str
    total_size: int


def view(conn: Connection, row: Row, now: int, secret: str | None = None) -> KeyView:
    """One key, with its secret where it was just made."""
    owner = accounts.get_user(conn, row.account, row.user)
    return KeyView(
        key_id=row.id,
        user=row.user,
        display_name=row.display_name,
        prefix=row.prefix,
        secure=True,
        email="" if owner is None else owner.email,
        create_time=format_instant(row.created_at),
        expire_time=instant(row.expires_at),
        budget=_budget(conn, row, now),
        key=UNSET if secret is None else secret,
    )


def _budget(conn: Connection, row: Row, now: int) -> BudgetView | None:
    budget = budgets.budget_of(row)
    if budget is None:
        return None
    start, end = span(budget.window(now))
    spent = budgets.get_spent(conn, row.account, row.id, budget, now)
    return BudgetView(
        amount_usd=format_usd(budget.nanos),
        period=budget.period,
        spent_usd=format_usd(spent),
        start_time=instant(start or None),
        end_time=instant(None if end == NEVER else end),
    )


def _list(call: Call, account: str, user: str | None, size: int | None, token: str | None) -> KeyList:
    with call.desk.read() as conn:
        if user is not None:
            users.require(conn, account, user)
        rows = accounts.list_keys(conn, account, user)
        some, more = page(rows, size, token)
        now = call.desk.clock.now()
        return KeyList([view(conn, row, now) for row in some], more, len(rows))


def _make(call: Call, account: str, user: str, data: NewKey, *, dry_run: bool) -> Response[KeyView]:
    fields = data.api_key or KeyFields(data.display_name, data.expire_time, data.budget)
    where = "apiKey.expireTime" if data.api_key else "expireTime"
    expires_at = None if fields.expire_time is None else parse_instant(fields.expire_time, where)
    budget = None if fields.budget is None else fields.budget.read()

    def make(tx: Tx) -> KeyView:
        made = access.create_key(
            tx, account, user, display_name=fields.display_name or "default", expires_at=expires_at
        )
        if budget is not None:
            budgets.set_budget(tx, account, made.id, budget)
        return view(tx.conn, accounts.get_key(tx.conn, account, made.id) or _gone(), tx.now, made.secret)

    return once(call, make, dry_run=dry_run)


def _gone() -> Row:
    raise RuntimeError("a key that was just written is gone")


def _end(call: Call, account: str, user: str | None, key: str, *, dry_run: bool) -> Response[Empty]:
    def end(tx: Tx) -> Empty:
        access.revoke_key(tx, account, user, key)
        return Empty()

    return once(call, end, dry_run=dry_run)


def _own(call: Call) -> str | None:
    """Whose keys the caller may see and end: all of them (None) as an admin, else the caller's own."""
    return None if call.caller.operator or manages(call.caller.role) else call.caller.user


@get(_ACCOUNT, MEMBER)
def list_account_keys(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> KeyList:
    """List the keys of an account's users; without the role admin, the caller's own."""
    return _list(request, account, _own(request), page_size, page_token)


@post(_ACCOUNT, MEMBER)
def create_account_key(
    request: Call, account: Name, data: JSONBody[NewAccountKey], dry_run: DryRun = False
) -> Response[KeyView]:
    """Make a key for a user of the account, by default for the caller; its secret is in this answer alone."""
    own = _own(request)
    user = data.user_id or ("owner" if request.caller.operator else request.caller.user)
    if own is not None and user != own:
        raise Forbidden("this needs the role admin: you may make keys for yourself only")
    return _make(request, account, user, data, dry_run=dry_run)


@post(_ACCOUNT + "/:delete", MEMBER)
def delete_account_key(
    request: Call, account: Name, data: JSONBody[EndedKey], dry_run: DryRun = False
) -> Response[Empty]:
    """End a key at once; without the role admin, one of the caller's own."""
    return _end(request, account, _own(request), data.key_id, dry_run=dry_run)


@patch(_ACCOUNT + "/{key:str}", ADMIN)
def update_account_key(
    request: Call, account: Name, key: Name, data: JSONBody[ChangedKey], dry_run: DryRun = False
) -> Response[KeyView]:
    """Give a key a budget, or take it away with null; in force at once, and what it has spent in the period counts."""
    budget = None if data.budget is None else data.budget.read()

    def change(tx: Tx) -> KeyView:
        budgets.set_budget(tx, account, key, budget)
        return view(tx.conn, accounts.get_key(tx.conn, account, key) or _gone(), tx.now)

    return once(request, change, dry_run=dry_run)


@get(_USER, SELF)
def list_keys(
    request: Call, account: Name, user: Name, page_size: PageSize = None, page_token: PageToken = None
) -> KeyList:
    """List a user's keys."""
    return _list(request, account, user, page_size, page_token)


@post(_USER, SELF)
def create_key(
    request: Call, account: Name, user: Name, data: JSONBody[NewKey], dry_run: DryRun = False
) -> Response[KeyView]:
    """Make a key for a user; its secret is in this answer alone."""
    return _make(request, account, user, data, dry_run=dry_run)


@post(_USER + "/:delete", SELF)
def delete_key(
    request: Call, account: Name, user: Name, data: JSONBody[EndedKey], dry_run: DryRun = False
) -> Response[Empty]:
    """End one of a user's keys at once."""
    return _end(request, account, user, data.key_id, dry_run=dry_run)


ROUTES = [
    list_account_keys,
    create_account_key,
    update_account_key,
    delete_account_key,
    list_keys,
    create_key,
    delete_key,
]
