"""Caps of people, looked at: which limit is in force for a user, and what its requests stand under (L6)."""

from __future__ import annotations

from purser.core import cap
from purser.core.budget import Bound
from purser.core.cap import Cap
from purser.store import caps
from purser.store.db import Connection


def find(conn: Connection, account: str, override: int | None, member_of: str, default: int | None) -> Cap | None:
    """The cap in force by a user's own limit, its groups and the account's default."""
    limits = caps.list_limits(conn, account, member_of.split()) if override is None and member_of else ()
    return cap.effective(override, limits, default)


def get_cap(conn: Connection, account: str, user: str) -> Cap | None:
    """The cap in force for a user; None where nothing limits it."""
    row = caps.get_figures(conn, account, user)
    return None if row is None else find(conn, account, row.limit_override, row.member_of, row.default_user_limit)


def get_bound(conn: Connection, account: str, user: str) -> Bound | None:
    """What a request by this user stands under, if anything."""
    found = get_cap(conn, account, user)
    return None if found is None else found.bound(user)
