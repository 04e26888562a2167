"""Users of an account, as the compatible API shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from litestar import Response
from litestar.params import JSONBody, QueryParameter

from purser.core.errors import Forbidden, Invalid, NotFound
from purser.core.period import format_instant
from purser.flows import access
from purser.inbound.api.auth import ADMIN, MEMBER
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import get, patch, post
from purser.inbound.api.wire import Body, Name, PageSize, PageToken, Text, View, page
from purser.store import accounts
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}/users"
UserId = Annotated[str | None, QueryParameter(name="userId", description='The new user\'s id, such as "bot".')]


class NewUser(Body):
    """A user to create; a service account may hold scopes, which the operator alone grants."""

    user_id: str | None = None
    role: str = "user"
    email: str = ""
    display_name: Text = ""
    service_account: bool = False
    scopes: tuple[str, ...] = ()


class ChangedUser(Body):
    """What is to change of a user; `serviceAccount` may be sent along as it is."""

    role: str | None = None
    display_name: Text | None = None
    email: str | None = None
    service_account: bool | None = None
    scopes: tuple[str, ...] | None = None


class UserView(View):
    """A user of an account."""

    name: str
    id: str
    role: str
    email: str
    display_name: str
    service_account: bool
    scopes: list[str]
    state: str
    create_time: str
    update_time: str


class UserList(View):
    """A page of users."""

    users: list[UserView]
    next_page_token: str
    total_size: int


def view(row: Row) -> UserView:
    """One user."""
    return UserView(
        name=f"accounts/{row.account}/users/{row.id}",
        id=row.id,
        role=row.role,
        email=row.email,
        display_name=row.display_name,
        service_account=bool(row.service_account),
        scopes=list(access.scopes_of(row)),
        state="READY",
        create_time=format_instant(row.created_at),
        update_time=format_instant(row.updated_at),
    )


def require(conn: Connection, account: str, user: str) -> Row:
    """A user's row; raises NotFound."""
    row = accounts.get_user(conn, account, user)
    if row is None:
        raise NotFound(f"account {account} has no user {user!r:.70}", field="user")
    return row


def _check_grant(call: Call, wanted: Sequence[str], held: Sequence[str]) -> None:
    """Scopes are the operator's to give; an admin may only take them away."""
    if not call.caller.operator and not set(wanted) <= set(held):
        raise Forbidden(
            "scopes are granted by the operator alone; an account's key does not grant them", field="scopes"
        )


@get(_PATH, MEMBER)
def list_users(request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None) -> UserList:
    """List an account's users."""
    with request.desk.read() as conn:
        rows = accounts.list_users(conn, account)
    some, more = page(rows, page_size, page_token)
    return UserList([view(row) for row in some], more, len(rows))


@post(_PATH, ADMIN)
def create_user(
    request: Call, account: Name, data: JSONBody[NewUser], user_id: UserId = None, dry_run: DryRun = False
) -> Response[UserView]:
    """Create a user; a service account is a user with `serviceAccount`.

    The operator may give a service account the scope `metering`: its keys then report usage of its own account.
    """
    id_ = user_id if user_id is not None else data.user_id
    if id_ is None:
        raise Invalid("userId is missing: give it in the query, such as ?userId=bot", field="userId")
    _check_grant(request, data.scopes, ())

    def create(tx: Tx) -> UserView:
        access.create_user(
            tx,
            account,
            id_,
            role=data.role,
            email=data.email,
            display_name=data.display_name,
            service_account=data.service_account,
            scopes=data.scopes,
        )
        return view(require(tx.conn, account, id_))

    return once(request, create, dry_run=dry_run)


@get(_PATH + "/{user:str}", MEMBER)
def get_user(request: Call, account: Name, user: Name) -> UserView:
    """Get a user."""
    with request.desk.read() as conn:
        return view(require(conn, account, user))


@patch(_PATH + "/{user:str}", ADMIN)
def update_user(
    request: Call, account: Name, user: Name, data: JSONBody[ChangedUser], dry_run: DryRun = False
) -> Response[UserView]:
    """Change a user's role, display name, e-mail address or scopes. An account keeps at least one admin."""

    def change(tx: Tx) -> UserView:
        row = require(tx.conn, account, user)
        if data.service_account not in (None, bool(row.service_account)):
            raise Invalid(
                "serviceAccount cannot change: a person stays one, and so does a program; create another user",
                field="serviceAccount",
            )
        _check_grant(request, data.scopes or (), access.scopes_of(row))
        access.update_user(
            tx, account, user, role=data.role, display_name=data.display_name, email=data.email, scopes=data.scopes
        )
        return view(require(tx.conn, account, user))

    return once(request, change, dry_run=dry_run)


ROUTES = [list_users, create_user, get_user, update_user]
