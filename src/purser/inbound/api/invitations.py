"""Invitations: an admin invites people to the account by mail, sees who has come, and takes invitations back."""

from __future__ import annotations

from litestar import Response
from litestar.params import JSONBody

from purser.core.errors import NotFound
from purser.core.period import format_instant
from purser.flows import invitations
from purser.inbound.api.auth import ADMIN
from purser.inbound.api.call import Call
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.routes import delete, get, post
from purser.inbound.api.wire import Body, Empty, Name, PageSize, PageToken, View, page
from purser.store import invitations as rows
from purser.store.db import Connection, Row
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}/invitations"


class NewInvitation(Body):
    """Whom to invite, and as what."""

    email: str
    role: str = "user"


class InvitationView(View):
    """An invitation; `user` is whom it made. Its link is in the mail alone."""

    name: str
    id: str
    email: str
    role: str
    state: str
    invited_by: str
    user: str | None
    create_time: str
    expire_time: str


class InvitationList(View):
    """A page of invitations, newest first."""

    invitations: list[InvitationView]
    next_page_token: str
    total_size: int


def view(row: Row, wall: int) -> InvitationView:
    """One invitation as it stands at an instant of wall-clock time."""
    return InvitationView(
        name=f"accounts/{row.account}/invitations/{row.id}",
        id=row.id,
        email=row.email,
        role=row.role,
        state=invitations.state_of(row, wall).upper(),
        invited_by=row.invited_by or "operator",
        user=row.user,
        create_time=format_instant(row.created_at),
        expire_time=format_instant(row.expires_at),
    )


def _get(conn: Connection, account: str, invitation: str, wall: int) -> InvitationView:
    row = rows.get(conn, account, invitation)
    if row is None:
        raise NotFound(f"account {account} has no invitation {invitation!r:.60}", field="invitation")
    return view(row, wall)


@get(_PATH, ADMIN)
def list_invitations(
    request: Call, account: Name, page_size: PageSize = None, page_token: PageToken = None
) -> InvitationList:
    """List whom the account has invited, and what came of it: PENDING, ACCEPTED, REVOKED or EXPIRED."""
    with request.desk.read() as conn:
        found = rows.list_of(conn, account)
    some, more = page(found, page_size, page_token)
    wall = request.desk.wall()
    return InvitationList([view(row, wall) for row in some], more, len(found))


@post(_PATH, ADMIN)
def create_invitation(
    request: Call, account: Name, data: JSONBody[NewInvitation], dry_run: DryRun = False
) -> Response[InvitationView]:
    """Invite somebody by mail; the link is good for seven days and once. An earlier one to the address ends."""
    caller = request.caller
    by = "" if caller.operator else caller.user

    def create(tx: Tx) -> InvitationView:
        id_ = invitations.invite(tx, account, data.email, data.role, by, request.desk.public_url)
        return _get(tx.conn, account, id_, tx.world.wall())

    return once(request, create, dry_run=dry_run)


@delete(_PATH + "/{invitation:str}", ADMIN)
def revoke_invitation(request: Call, account: Name, invitation: Name, dry_run: DryRun = False) -> Response[Empty]:
    """Take an invitation back that nobody has taken up."""

    def take_back(tx: Tx) -> Empty:
        invitations.revoke(tx, account, invitation)
        return Empty()

    return once(request, take_back, dry_run=dry_run)


ROUTES = [list_invitations, create_invitation, revoke_invitation]
