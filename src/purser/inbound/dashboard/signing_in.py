"""The pages by which people come in and leave: links asked for and followed, sign-up, and a choice of accounts."""

from __future__ import annotations

from typing import Annotated

from litestar import Response
from litestar.params import QueryParameter, URLEncodedBody
from litestar.response import Redirect

from purser.core.money import format_usd
from purser.core.people import short_name
from purser.core.policy import WITH_CARD
from purser.flows import people as links
from purser.flows.audit_log import acting
from purser.flows.people import SIGN_IN, SignedUp
from purser.inbound.api.auth import PUBLIC
from purser.inbound.api.call import Call
from purser.inbound.api.routes import get, post
from purser.inbound.dashboard.forms import (
    Fields,
    Page,
    check_form,
    enter,
    make_cookie,
    render_form,
    say,
    start_session,
    told_plainly,
    visitor_of,
)
from purser.inbound.dashboard.rendering import HEADERS
from purser.inbound.dashboard.session import COOKIE, SESSION_SECONDS, Visitor, end_session, read_link
from purser.store import people

Token = Annotated[str | None, QueryParameter(max_length=1_000)]
_SENT = (
    f"a link is on its way. It works once, within {links.LINK_MINUTES} minutes. Where {links.PER_ADDRESS} were sent "
    "within an hour and none was used, no other is sent: the last one works again instead."
)
_GONE = "This link has been used, has expired or is not whole. Ask for a new one."


def sign_in_page(call: Call, status: int, *, expired: bool = False) -> Response[str]:
    """The form that asks for a link."""
    values = {"expired": expired, "sign_up": call.desk.policy.sign_up, "provider": call.desk.identity is not None}
    return render_form(call, "sign_in.html", values, status)


@get("/dashboard/sign-in", PUBLIC, listed=False)
def sign_in(request: Call, token: Token = None) -> Page:
    """Ask for a link to sign in with; or follow one that the operator made."""
    if token is None:
        return sign_in_page(request, 200)
    visitor = read_link(request.desk, token)
    if visitor is None:
        return sign_in_page(request, 403, expired=True)
    return enter(request, Visitor(visitor.account, visitor.user))


@post("/dashboard/sign-in", PUBLIC, listed=False)
@told_plainly
def ask_to_sign_in(request: Call, data: URLEncodedBody[Fields]) -> Page:
    """Send a link, if the address is a user's."""
    check_form(request, data)
    desk, client = request.desk, request.client_address
    desk.write(lambda tx: links.ask_to_sign_in(tx, data.get("email"), client, desk.public_url))
    return say(request, "Look into your mail", f"If this address is a user's here, {_SENT}")


@get("/dashboard/sign-up", PUBLIC, listed=False)
def sign_up(request: Call) -> Page:
    """Ask for a link that opens an account."""
    if not request.desk.policy.sign_up:
        return say(request, "Sign-up is off", "The operator of this gateway opens accounts; ask them for one.", 403)
    credit = request.desk.policy.signup_credit_nanos
    with_card = request.desk.policy.signup_credit_rule == WITH_CARD
    provider = request.desk.identity is not None
    values = {"credit": format_usd(credit) if credit else None, "with_card": with_card, "provider": provider}
    return render_form(request, "sign_up.html", values)


@post("/dashboard/sign-up", PUBLIC, listed=False)
@told_plainly
def ask_to_sign_up(request: Call, data: URLEncodedBody[Fields]) -> Page:
    """Send a link that opens an account."""
    check_form(request, data)
    desk, client = request.desk, request.client_address
    desk.write(lambda tx: links.ask_to_sign_up(tx, data.get("email"), client, desk.public_url))
    return say(request, "Look into your mail", _SENT[0].upper() + _SENT[1:])


@get("/dashboard/link", PUBLIC, listed=False)
def show_link(request: Call, token: Token = None) -> Page:
    """What a mailed link is for; it is used up by the button, since programs that look through mail follow links."""
    return _show_link(request, token)


def _show_link(call: Call, token: str | None) -> Page:
    with call.desk.read() as conn:
        row = links.find_link(conn, token, call.desk.wall())
        known = [] if row is None else sorted({each.account for each in people.list_memberships(conn, row.email)})
    if row is None:
        return say(call, "Sign in", _GONE, 403)
    values = {"token": token, "email": row.email, "opens": row.purpose != SIGN_IN, "known": known}
    return render_form(call, "link.html", values)


@post("/dashboard/link", PUBLIC, listed=False)
@told_plainly
def follow_link(request: Call, data: URLEncodedBody[Fields]) -> Page:
    """Use a mailed link up: sign in, or open an account."""
    check_form(request, data)
    desk, token = request.desk, data.get("token", "")
    with desk.read() as conn:
        row = links.find_link(conn, token, desk.wall())
    if row is not None and row.purpose != SIGN_IN:
        return _open_account(request, token, row.email)
    email = desk.write(lambda tx: links.sign_in(tx, token))
    return say(request, "Sign in", _GONE, 403) if email is None else enter_as(request, email)


def _open_account(call: Call, token: str, email: str) -> Page:
    account = f"{short_name(email)}-{call.desk.queue.writer.world.entropy(40):010x}"
    with acting(call.act_of(account, "owner")):
        done: SignedUp | None = call.desk.write(lambda tx: links.sign_up(tx, token, account, call.client_address))
    if done is None:
        return say(call, "Sign up", _GONE, 403)
    if done.opened is None:
        return enter_as(call, done.email)
    visitor = Visitor(done.opened.account, done.opened.user, done.email)
    cookie = make_cookie(call, start_session(call, visitor), SESSION_SECONDS)
    credit = format_usd(done.credit_nanos) if done.credit_nanos else None
    values = {"account": account, "key": done.opened.secret, "credit": credit, "state": done.opened.credit}
    return render_form(call, "opened.html", values, cookies=[cookie])


def enter_as(call: Call, email: str) -> Page:
    """Sign a person in: to their account, or to where they choose one of several."""
    with call.desk.read() as conn:
        rows = people.list_memberships(conn, email)
    if not rows:
        return say(call, "Sign in", f"{email} is a user of no account here; ask an admin of yours to invite you.", 403)
    if len(rows) > 1:
        return enter(call, Visitor("", "", email), "/dashboard/accounts")
    return enter(call, Visitor(rows[0].account, rows[0].id, email))


def enter_or_open(call: Call, email: str) -> Page:
    """Sign a person in whose address a provider has proved; who is a user of no account may open one, by a button."""
    desk, client = call.desk, call.client_address
    with desk.read() as conn:
        known = bool(people.list_memberships(conn, email))
    if known or not desk.policy.sign_up:
        return enter_as(call, email)
    return _show_link(call, desk.write(lambda tx: links.offer_sign_up(tx, email, client)))


@get("/dashboard/accounts", PUBLIC, listed=False)
def choose_account(request: Call) -> Page:
    """The accounts that a person may switch between."""
    visitor = visitor_of(request)
    if visitor is None:
        return Redirect("/dashboard/sign-in", status_code=303, headers=HEADERS)
    with request.desk.read() as conn:
        rows = people.list_memberships(conn, visitor.email)
    return render_form(request, "accounts.html", {"rows": rows, "visitor": visitor})


@post("/dashboard/accounts", PUBLIC, listed=False)
@told_plainly
def switch_account(request: Call, data: URLEncodedBody[Fields]) -> Page:
    """Go on in another account that the person is a user of, under a session of its own."""
    check_form(request, data)
    visitor = visitor_of(request)
    if visitor is None:
        return Redirect("/dashboard/sign-in", status_code=303, headers=HEADERS)
    with request.desk.read() as conn:
        rows = people.list_memberships(conn, visitor.email)
    wanted = data.get("account"), data.get("user")
    row = next((row for row in rows if (row.account, row.id) == wanted), None)
    if row is None:
        return say(request, "That did not work", "You are no user of that account.", 404)
    return enter(request, Visitor(row.account, row.id, visitor.email, until=visitor.until))


@post("/dashboard/sign-out", PUBLIC, listed=False)
@told_plainly
def sign_out(request: Call, data: URLEncodedBody[Fields]) -> Page:
    """End the session, for every copy of its cookie."""
    check_form(request, data)
    end_session(request.desk, request.cookies.get(COOKIE))
    cookies = [make_cookie(request, "", 0)]
    return Redirect("/dashboard/sign-in", status_code=303, cookies=cookies, headers=HEADERS)


ROUTES = [
    sign_in,
    ask_to_sign_in,
    sign_up,
    ask_to_sign_up,
    show_link,
    follow_link,
    choose_account,
    switch_account,
    sign_out,
]
