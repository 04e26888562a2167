"""Sessions: signed in a cookie with who is signed in to which account, and the tokens that forms carry."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import msgspec

from purser.core.period import SECOND
from purser.flows.access import pepper
from purser.flows.people import is_persons
from purser.inbound.desk import Desk
from purser.store import accounts, people
from purser.store.db import Connection

COOKIE, FORM_COOKIE = "purser_session", "purser_form"
SESSION_SECONDS = 12 * 3_600
LINK_SECONDS = 3_600
_LINK, _SESSION, _ERRAND = "link", "session", "errand"
_ID_BITS = 128
_LONGEST = 1_000


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in, to which account; `account` and `user` are "" for a person who has yet to choose one.

    `email` is the address by which a person is known, "" for who came by the operator's own link.
    """

    account: str
    user: str
    email: str = ""
    session: str = ""
    until: int = 0


@dataclass(frozen=True, slots=True)
class Errand:
    """What a browser that goes to a sign-in provider brings back; `until` is wall-clock time."""

    state: str
    nonce: str
    verifier: str
    until: int


def errand_token(desk: Desk, errand: Errand) -> str:
    """A cookie's value for an errand."""
    return _sign(desk, _ERRAND, Visitor(errand.state, errand.nonce, errand.verifier), errand.until)


def read_errand(desk: Desk, cookie: str | None) -> Errand | None:
    """The errand of a cookie; None where it is forged or late."""
    found = _open(desk, _ERRAND, cookie)
    return None if found is None else Errand(found.account, found.user, found.email, found.until)


def sign_in_token(desk: Desk, account: str, user: str, valid_seconds: int = LINK_SECONDS) -> str:
    """A token that signs a user in when followed as /dashboard/sign-in?token=… within `valid_seconds`."""
    return _sign(desk, _LINK, Visitor(account, user), desk.wall() + valid_seconds * SECOND)


def session_token(desk: Desk, visitor: Visitor) -> str:
    """The cookie's value for a visitor who has signed in or switched accounts: never the same twice.

    A session that goes on ends when it would have.
    """
    until = visitor.until or desk.wall() + SESSION_SECONDS * SECOND
    fresh = f"{desk.queue.writer.world.entropy(_ID_BITS):032x}"
    return _sign(desk, _SESSION, Visitor(visitor.account, visitor.user, visitor.email, fresh), until)


def read_link(desk: Desk, token: str | None) -> Visitor | None:
    """Whom a sign-in token stands for, None where it is forged, expired, or its user is gone."""
    return _read(desk, _LINK, token)


def read_session(desk: Desk, cookie: str | None) -> Visitor | None:
    """Who is signed in by a cookie; None where it is forged, expired or ended, or its user is no longer theirs."""
    return _read(desk, _SESSION, cookie)


def end_session(desk: Desk, cookie: str | None) -> None:
    """Sign out: the cookie opens nothing from now on, nor does a copy of it."""
    visitor = read_session(desk, cookie)
    if visitor is not None:
        wall = desk.wall()
        desk.write(lambda tx: people.end_session(tx.conn, visitor.session, visitor.until, wall))


def form_token(desk: Desk, cookie: str) -> str:
    """What a form carries: only our own page can know it for the cookie that its browser sends."""
    with desk.read() as conn:
        return _signature(conn, f"form:{cookie}")


def is_form_of(desk: Desk, cookie: str | None, token: str) -> bool:
    """Whether a form came from our own page, in the browser that has this cookie."""
    return bool(cookie) and token.isascii() and hmac.compare_digest(token, form_token(desk, cookie or ""))


def _sign(desk: Desk, purpose: str, visitor: Visitor, until: int) -> str:
    told = [purpose, visitor.account, visitor.user, until, visitor.email, visitor.session]
    body = _encode(msgspec.json.encode(told))
    with desk.read() as conn:
        return f"{body}.{_signature(conn, body)}"


def _read(desk: Desk, purpose: str, token: str | None) -> Visitor | None:
    visitor = _open(desk, purpose, token)
    if visitor is None:
        return None
    with desk.read() as conn:
        return visitor if _is_there(conn, visitor) else None


def _open(desk: Desk, purpose: str, token: str | None) -> Visitor | None:
    """What a token says, whole and in time; whether it still holds is another matter."""
    body, dot, signature = (token or "").partition(".")
    if not dot or len(body) > _LONGEST or not (body + signature).isascii():
        return None
    with desk.read() as conn:
        if not hmac.compare_digest(signature, _signature(conn, body)):
            return None
    try:
        found = msgspec.json.decode(_decode(body), type=tuple[str, str, str, int, str, str])
    except (binascii.Error, msgspec.DecodeError):
        return None
    if found[0] != purpose or found[3] <= desk.wall():
        return None
    return Visitor(found[1], found[2], found[4], found[5], found[3])


def _is_there(conn: Connection, visitor: Visitor) -> bool:
    if visitor.session and people.is_ended(conn, visitor.session):
        return False
    if not visitor.account:
        return visitor.email != ""
    row = accounts.get_user(conn, visitor.account, visitor.user)
    return row is not None and (not visitor.email or is_persons(row, visitor.email))


def _signature(conn: Connection, body: str) -> str:
    key = hashlib.blake2b(b"dashboard", key=pepper(conn), digest_size=32).digest()
    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
