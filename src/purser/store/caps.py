"""Caps as rows: what users override, which groups they are in, and the limits that groups are given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row


def get_figures(conn: Connection, account: str, user: str) -> Row | None:
    """A user's own limit, its groups, and the account's default: limit_override, member_of, default_user_limit."""
    u, a = t.users.c, t.accounts.c
    figures: list[Any] = [u.limit_override, u.member_of, a.default_user_limit]
    joined = sa.select(*figures).join(t.accounts, a.id == u.account)
    return conn.execute(joined.where(u.account == account, u.id == user)).first()


def list_tiers(conn: Connection, account: str) -> list[Row]:
    """An account's group limits, the lowest first."""
    c = t.usage_limit_tiers.c
    live = sa.select(t.usage_limit_tiers).where(c.account == account, c.removed_at.is_(None))
    return list(conn.execute(live.order_by(c.limit_nanos, c.id)))


def put_tier(conn: Connection, account: str, tier: str, limit_nanos: int, at: int) -> None:
    """A new group limit, or one of this id that was removed, again."""
    values = {"account": account, "id": tier, "limit_nanos": limit_nanos, "created_at": at}
    if not seals.insert_once(conn, t.usage_limit_tiers, values):
        c = t.usage_limit_tiers.c
        where = (c.account == account, c.id == tier)
        seals.update(conn, t.usage_limit_tiers, *where, limit_nanos=limit_nanos, created_at=at, removed_at=None)


def update_tier(conn: Connection, account: str, tier: str, **values: int | None) -> None:
    """Change a group limit."""
    c = t.usage_limit_tiers.c
    seals.update(conn, t.usage_limit_tiers, c.account == account, c.id == tier, **values)


def list_groups(conn: Connection, account: str) -> list[Row]:
    """The groups that were ever given a limit, by name; `tier` is None where it was taken away."""
    c = t.usage_limit_groups.c
    return list(conn.execute(sa.select(t.usage_limit_groups).where(c.account == account).order_by(c.id)))


def put_group(conn: Connection, account: str, group: str, tier: str | None) -> None:
    """Give a group a limit, or take it away."""
    if not seals.insert_once(conn, t.usage_limit_groups, {"account": account, "id": group, "tier": tier}):
        c = t.usage_limit_groups.c
        seals.update(conn, t.usage_limit_groups, c.account == account, c.id == group, tier=tier)


def list_limits(conn: Connection, account: str, groups: Sequence[str]) -> list[int]:
    """What these groups are limited to, nano-dollars, as far as they are."""
    g, tier = t.usage_limit_groups.c, t.usage_limit_tiers.c
    joined = sa.select(tier.limit_nanos).join(
        t.usage_limit_groups, sa.and_(g.account == tier.account, g.tier == tier.id)
    )
    return [int(row[0]) for row in conn.execute(joined.where(g.account == account, g.id.in_(groups)))]
