"""The pages of an account's people: who they are, inviting them, and taking an invitation up."""

from __future__ import annotations

from litestar.params import URLEncodedBody
from litestar.response import Redirect

from purser.flows import access, invitations
from purser.flows.audit_log import acting
from purser.inbound.api import invitations as invitation_routes
from purser.inbound.api.auth import PUBLIC
from purser.inbound.api.call import Call
from purser.inbound.api.permissions import manages
from purser.inbound.api.routes import get, post
from purser.inbound.dashboard.forms import (
    Fields,
    Page,
    admin_of,
    check_form,
    enter,
    render_form,
    say,
    told_plainly,
    visitor_of,
)
from purser.inbound.dashboard.rendering import HEADERS
from purser.inbound.dashboard.session import Visitor
from purser.inbound.dashboard.signing_in import Token
from purser.store import accounts
from purser.store import invitations as rows

_SHOWN = 50
_GONE = "This invitation has been taken up or revoked, or has expired. Ask whoever sent it for a new one."


@get("/dashboard/invitation", PUBLIC, listed=False)
def show_invitation(request: Call, token: Token = None) -> Page:
    """What an invitation's link is for."""
    with request.desk.read() as conn:
        row = invitations.find(conn, token, request.desk.wall())
    if row is None:
        return say(request, "Invitation", _GONE, 403)
    values = {"token": token, "account": row.account, "role": row.role, "email": row.email}
    return render_form(request, "invitation.html", values)


@post("/dashboard/invitation", PUBLIC, listed=False)
@told_plainly
def take_up_invitation(request: Call, data: URLEncodedBody[Fields]) -> Page:
    """Become a user of the account, and be signed in there."""
    check_form(request, data)
    desk, token = request.desk, data.get("token", "")
    with desk.read() as conn:
        row = invitations.find(conn, token, desk.wall())
        user = "" if row is None else invitations.name_user(conn, row)
    if row is None:
        return say(request, "Invitation", _GONE, 403)
    with acting(request.act_of(row.account, user)):
        done = desk.write(lambda tx: invitations.take_up(tx, token, user))
    if done is None:
        return say(request, "Invitation", _GONE, 403)
    return enter(request, Visitor(done.account, done.user, done.email))


@get("/dashboard/people", PUBLIC, listed=False)
def show_people(request: Call) -> Page:
    """The users of the account, and for an admin its invitations."""
    visitor = visitor_of(request)
    if visitor is None or not visitor.account:
        return Redirect("/dashboard/accounts", status_code=303, headers=HEADERS)
    wall = request.desk.wall()
    with request.desk.read() as conn:
        users = accounts.list_users(conn, visitor.account)
        admin = any(row.id == visitor.user and manages(row.role) for row in users)
        found = rows.list_of(conn, visitor.account)[:_SHOWN] if admin else []
    values = {
        "visitor": visitor,
        "users": users,
        "admin": admin,
        "roles": access.ROLES,
        "invitations": [invitation_routes.view(row, wall) for row in found],
    }
    return render_form(request, "people.html", values)


@post("/dashboard/people", PUBLIC, listed=False)
@told_plainly
def invite(request: Call, data: URLEncodedBody[Fields]) -> Page:
    """Invite somebody by mail."""
    visitor = admin_of(request, data)
    email, role, url = data.get("email"), data.get("role", ""), request.desk.public_url
    with acting(request.act_of(visitor.account, visitor.user)):
        request.desk.write(lambda tx: invitations.invite(tx, visitor.account, email, role, visitor.user, url))
    return Redirect("/dashboard/people", status_code=303, headers=HEADERS)


@post("/dashboard/people/revoke", PUBLIC, listed=False)
@told_plainly
def revoke(request: Call, data: URLEncodedBody[Fields]) -> Page:
    """Take an invitation back."""
    visitor = admin_of(request, data)
    invitation = data.get("invitation", "")
    with acting(request.act_of(visitor.account, visitor.user)):
        request.desk.write(lambda tx: invitations.revoke(tx, visitor.account, invitation))
    return Redirect("/dashboard/people", status_code=303, headers=HEADERS)


ROUTES = [show_invitation, take_up_invitation, show_people, invite, revoke]
