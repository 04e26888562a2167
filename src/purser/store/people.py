"""People as rows: the users that an address is, links sent to it, who signed up, and sessions that have ended."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from purser.core.period import DAY
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row
from purser.store.signup_credits import SOURCE

KEPT_FOR = 30 * DAY
ADDRESS, MAILBOX = "address", "mailbox"


def list_memberships(conn: Connection, email: str) -> list[Row]:
    """The users that a person is, by account and id, with the account's `display_name` as `account_name`."""
    u, a = t.users.c, t.accounts.c
    query = sa.select(t.users, a.display_name.label("account_name")).join(t.accounts, a.id == u.account)
    query = query.where(u.email == email, u.email != "", u.service_account == 0)
    return list(conn.execute(query.order_by(u.account, u.id)))


# ── links ────────────────────────────────────────────────────────────────────────────────────────────────────────
def insert_link(conn: Connection, **values: Any) -> None:
    """A new link; those long past are dropped. `created_at` is wall-clock time."""
    conn.execute(sa.delete(t.links).where(t.links.c.created_at < values["created_at"] - KEPT_FOR))
    seals.insert(conn, t.links, values)


def find_link(conn: Connection, digest: bytes, wall: int) -> Row | None:
    """A link that opens something still."""
    c = t.links.c
    live = (c.digest == digest, c.used_at.is_(None), c.expires_at > wall, c.purpose != "")
    return conn.execute(sa.select(t.links).where(*live)).first()


def use_link(conn: Connection, id_: str, wall: int) -> bool:
    """Use a link up; answers False where somebody was quicker."""
    return seals.update(conn, t.links, t.links.c.id == id_, t.links.c.used_at.is_(None), used_at=wall) == 1


def end_links(conn: Connection, email: str, wall: int) -> None:
    """End every other link that was sent to an address: it is good for nothing, and does not count as followed."""
    c = t.links.c
    seals.update(conn, t.links, c.email == email, c.used_at.is_(None), c.expires_at > wall, used_at=wall, purpose="")


def list_asked(conn: Connection, since: int, client: str) -> list[int]:
    """When links were asked for from a client's address after an instant; the oldest first."""
    c = t.links.c
    only = (c.created_at > since, c.client == client)
    return [int(row[0]) for row in conn.execute(sa.select(c.created_at).where(*only).order_by(c.created_at))]


def list_unused(conn: Connection, since: int, email: str, purpose: str) -> list[str]:
    """The links of a purpose to an address, asked for after an instant, that nobody has used; the oldest first."""
    c = t.links.c
    only = (c.created_at > since, c.email == email, c.purpose == purpose, c.used_at.is_(None))
    return [str(row[0]) for row in conn.execute(sa.select(c.id).where(*only).order_by(c.created_at, c.id))]


def renew_link(conn: Connection, id_: str, client: str, until: int) -> None:
    """An unused link is good until an instant, as if it had been asked for from this client's address."""
    c = t.links.c
    seals.update(conn, t.links, c.id == id_, c.used_at.is_(None), client=client, expires_at=until)


def count_used(conn: Connection, since: int, client: str, purposes: Sequence[str]) -> int:
    """How many links of some purposes that a client's address asked for were used after an instant."""
    c = t.links.c
    used = (c.created_at > since - KEPT_FOR, c.client == client, c.purpose.in_(purposes), c.used_at > since)
    return int(conn.execute(sa.select(sa.func.count()).select_from(t.links).where(*used)).scalar_one())


# ── sign-ups ─────────────────────────────────────────────────────────────────────────────────────────────────────
def insert_signup(conn: Connection, kind: str, name: str, account: str, at: int) -> bool:
    """Note that an address or mailbox has signed up; answers False where it had before."""
    return seals.insert_once(conn, t.signups, {"kind": kind, "name": name, "account": account, "at": at})


def find_signed_up(conn: Connection, email: str) -> str | None:
    """The account that an address has signed up with, as long as it is a user there."""
    s, u = t.signups.c, t.users.c
    own = sa.exists().where(u.account == s.account, u.email == email, u.service_account == 0)
    found = sa.select(s.account).where(s.kind == ADDRESS, s.name == email, own)
    value = conn.execute(found).scalar()
    return None if value is None else str(value)


def claim_signup(conn: Connection, email: str, account: str, at: int) -> bool:
    """Note that an address signs up with an account; answers False where it has one by now that it is a user of."""
    if insert_signup(conn, ADDRESS, email, account, at):
        return True
    c = t.signups.c
    known = (c.kind == ADDRESS, c.name == email)
    before = conn.execute(sa.select(c.account).where(*known)).scalar_one()
    if find_signed_up(conn, email) is not None:
        return False
    return seals.update(conn, t.signups, *known, c.account == before, account=account, at=at) == 1


def had_credit(conn: Connection, email: str) -> bool:
    """Whether an account was opened for an address, by the operator, say, with the sign-up credit."""
    u, a, g = t.users.c, t.accounts.c, t.grants.c
    query = sa.select(a.id).join(t.users, u.account == a.id).join(t.grants, g.account == a.id)
    found = query.where(u.email == email, sa.func.lower(a.email) == email, g.source == SOURCE).limit(1)
    return conn.execute(found).first() is not None


# ── sessions ─────────────────────────────────────────────────────────────────────────────────────────────────────
def end_session(conn: Connection, id_: str, until: int, wall: int) -> None:
    """A session ends before its time; those whose time has come are forgotten."""
    conn.execute(sa.delete(t.ended_sessions).where(t.ended_sessions.c.until <= wall))
    seals.insert_once(conn, t.ended_sessions, {"id": id_, "until": until})


def is_ended(conn: Connection, id_: str) -> bool:
    """Whether a session has ended before its time."""
    return conn.execute(sa.select(t.ended_sessions.c.id).where(t.ended_sessions.c.id == id_)).first() is not None
