"""Signing in: short signed tokens in a link, and a signed session in a cookie; nothing is stored."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass

import msgspec

from purser.core.period import SECOND
from purser.flows.access import pepper
from purser.inbound.desk import Desk
from purser.store import accounts
from purser.store.db import Connection

COOKIE = "purser_session"
SESSION_SECONDS = 12 * 3_600
LINK_SECONDS = 3_600
_LINK, _SESSION = "link", "session"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who is signed in, to which account."""

    account: str
    user: str


def sign_in_token(desk: Desk, account: str, user: str, valid_seconds: int = LINK_SECONDS) -> str:
    """A token that signs a user in when followed as /dashboard/sign-in?token=… within `valid_seconds`."""
    return _sign(desk, _LINK, Visitor(account, user), valid_seconds)


def session_token(desk: Desk, visitor: Visitor) -> str:
    """The cookie's value for a visitor who has signed in."""
    return _sign(desk, _SESSION, visitor, SESSION_SECONDS)


def read_link(desk: Desk, token: str | None) -> Visitor | None:
    """Whom a sign-in token stands for, None where it is forged, expired, or its user is gone."""
    return _read(desk, _LINK, token)


def read_session(desk: Desk, cookie: str | None) -> Visitor | None:
    """Who is signed in by a cookie."""
    return _read(desk, _SESSION, cookie)


def _wall(desk: Desk) -> int:
    return desk.queue.writer.world.wall()


def _sign(desk: Desk, purpose: str, visitor: Visitor, seconds: int) -> str:
    until = _wall(desk) + seconds * SECOND
    body = _encode(msgspec.json.encode([purpose, visitor.account, visitor.user, until]))
    with desk.read() as conn:
        return f"{body}.{_signature(conn, body)}"


def _read(desk: Desk, purpose: str, token: str | None) -> Visitor | None:
    body, dot, signature = (token or "").partition(".")
    if not dot or len(body) > 500 or not (body + signature).isascii():
        return None
    with desk.read() as conn:
        if not hmac.compare_digest(signature, _signature(conn, body)):
            return None
        try:
            found = msgspec.json.decode(_decode(body), type=tuple[str, str, str, int])
        except (binascii.Error, msgspec.DecodeError):
            return None
        if found[0] != purpose or found[3] <= _wall(desk) or accounts.get_user(conn, found[1], found[2]) is None:
            return None
    return Visitor(found[1], found[2])


def _signature(conn: Connection, body: str) -> str:
    key = hashlib.blake2b(b"dashboard", key=pepper(conn), digest_size=32).digest()
    return hmac.new(key, body.encode(), hashlib.sha256).hexdigest()


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
