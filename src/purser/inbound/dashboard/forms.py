"""Forms: pages whose forms carry a token of the browser's own cookie, and the check of what comes back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any

from litestar import Response
from litestar.datastructures import Cookie
from litestar.response import Redirect

from purser.core.errors import Forbidden, PurserError
from purser.inbound.api.call import Call
from purser.inbound.api.permissions import manages
from purser.inbound.api.problem import headers_of
from purser.inbound.dashboard.rendering import HEADERS, render_page
from purser.inbound.dashboard.session import (
    COOKIE,
    FORM_COOKIE,
    SESSION_SECONDS,
    Visitor,
    end_session,
    form_token,
    is_form_of,
    read_session,
    session_token,
)
from purser.store import accounts

_BITS = 128
Fields = dict[str, str]
Page = Response[str] | Redirect


def make_cookie(call: Call, value: str, seconds: int, name: str = COOKIE) -> Cookie:
    """A cookie for the dashboard alone, which no script reads and no other site's forms send along."""
    secure = call.headers.get("x-forwarded-proto", "") == "https" or call.desk.public_url.startswith("https://")
    return Cookie(name, value=value, path="/dashboard", max_age=seconds, httponly=True, samesite="lax", secure=secure)


def visitor_of(call: Call) -> Visitor | None:
    """Who is signed in."""
    return read_session(call.desk, call.cookies.get(COOKIE))


def render_form(
    call: Call, template: str, values: Mapping[str, object], status: int = 200, cookies: list[Cookie] | None = None
) -> Response[str]:
    """A page with `form`, the token that its forms carry; a browser without a cookie is given one for that."""
    token, more = _token(call)
    page = render_page(template, {"form": token, **values}, status)
    for each in [*more, *(cookies or [])]:
        page.set_cookie(each)
    return page


def _token(call: Call) -> tuple[str, list[Cookie]]:
    cookie = _own_cookie(call)
    if cookie is not None:
        return form_token(call.desk, cookie), []
    fresh = f"{call.desk.queue.writer.world.entropy(_BITS):032x}"
    return form_token(call.desk, fresh), [make_cookie(call, fresh, SESSION_SECONDS, FORM_COOKIE)]


def _own_cookie(call: Call) -> str | None:
    """What this browser's forms are bound to: its session where it has one, else a cookie for that alone."""
    if visitor_of(call) is not None:
        return call.cookies.get(COOKIE)
    given = call.cookies.get(FORM_COOKIE, "")
    return given if len(given) == _BITS // 4 else None


def check_form(call: Call, fields: Fields) -> None:
    """Raises Forbidden unless a form is from a page that this browser was given."""
    if not is_form_of(call.desk, _own_cookie(call), fields.get("form", "")):
        raise Forbidden("this form is from an older page; go back, load the page again and send it once more")


def admin_of(call: Call, fields: Fields) -> Visitor:
    """Who has sent a form that is for admins; raises Forbidden."""
    check_form(call, fields)
    visitor = visitor_of(call)
    if visitor is None or not visitor.account:
        raise Forbidden("you are signed out; sign in again")
    if not is_admin(call, visitor):
        raise Forbidden("this needs the role admin")
    return visitor


def is_admin(call: Call, visitor: Visitor) -> bool:
    """Whether somebody manages the account that they are signed in to."""
    with call.desk.read() as conn:
        row = accounts.get_user(conn, visitor.account, visitor.user)
    return row is not None and manages(row.role)


def enter(call: Call, visitor: Visitor, to: str = "/dashboard") -> Redirect:
    """Sign somebody in under a session of its own: whatever cookie the browser had is good no more."""
    value = start_session(call, visitor)
    return Redirect(to, status_code=303, cookies=[make_cookie(call, value, SESSION_SECONDS)], headers=HEADERS)


def start_session(call: Call, visitor: Visitor) -> str:
    """The new session's cookie; the one that the browser had ends."""
    end_session(call.desk, call.cookies.get(COOKIE))
    return session_token(call.desk, visitor)


def say(call: Call, title: str, text: str, status: int = 200, retry_after: int | None = None) -> Response[str]:
    """A page that says one thing."""
    page = render_page("said.html", {"title": title, "text": text, "bad": status >= 400}, status)
    if status == 429:
        page.headers.update(headers_of(status, retry_after))
    return page


def told_plainly(answer: Callable[..., Page]) -> Callable[..., Page]:
    """The same page, which says in words for people what a form's answer was refused for."""

    @wraps(answer)
    def tell(request: Call, **given: Any) -> Page:
        try:
            return answer(request, **given)
        except PurserError as error:
            words = error.message[:1].upper() + error.message[1:]
            return say(request, "That did not work", f"{words}.", error.status, getattr(error, "retry_after", None))

    return tell
