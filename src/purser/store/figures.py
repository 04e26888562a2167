"""Figures for whoever watches the whole: counts and sums over every account, without naming any."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.core.invoice import FAILED, ISSUED
from purser.core.payment import PENDING, SENT
from purser.store import schema as t
from purser.store.db import Connection, Row


def _scalar(conn: Connection, query: sa.Select[Any]) -> int:
    return int(conn.execute(query).scalar_one() or 0)


def count_rows(conn: Connection) -> dict[str, int]:
    """How many there are of what grows slowly: accounts, live keys, open writers, waiting payments, price versions."""
    count = sa.func.count()
    return {
        "accounts": _scalar(conn, sa.select(count).select_from(t.accounts)),
        "api_keys": _scalar(conn, sa.select(count).select_from(t.keys).where(t.keys.c.revoked_at.is_(None))),
        "writers": _scalar(conn, sa.select(count).select_from(t.writers).where(t.writers.c.state == "open")),
        "payments_waiting": _scalar(
            conn, sa.select(count).select_from(t.payments).where(t.payments.c.state.in_((PENDING, SENT)))
        ),
        "price_books": _scalar(conn, sa.select(count).select_from(t.price_books)),
    }


def count_causes(conn: Connection) -> dict[str, int]:
    """How many accounts each cause suspends now."""
    c = t.causes.c
    found = conn.execute(sa.select(c.cause, sa.func.count()).where(c.until_at.is_(None)).group_by(c.cause))
    return {str(row[0]): int(row[1]) for row in found}


def count_invoices(conn: Connection) -> dict[str, int]:
    """How many invoices wait for their money, by state."""
    c = t.invoices.c
    counts = {ISSUED: 0, FAILED: 0}
    found = conn.execute(sa.select(c.state, sa.func.count()).where(c.state.in_((ISSUED, FAILED))).group_by(c.state))
    return counts | {str(row[0]): int(row[1]) for row in found}


def sum_money(conn: Connection) -> dict[str, int]:
    """Nano-dollars: set aside by writers and not used, and of work whose writer died before billing it."""
    lease, writer = t.leases.c, t.writers.c
    return {
        "leased": _scalar(conn, sa.select(sa.func.sum(lease.share - lease.used)).where(lease.kind == "credit")),
        "unbilled": _scalar(conn, sa.select(sa.func.sum(writer.unbilled))),
    }


def list_leases(conn: Connection, limit: int) -> list[Row]:
    """What is set aside, by account: account, kind, window, owner, share, used, since when others want spare of it."""
    c, h = t.leases.c, t.headroom.c
    query = sa.select(c.account, c.kind, c.window, c.owner, c.share, c.used, h.wanted_at).join(
        t.headroom, sa.and_(h.account == c.account, h.kind == c.kind, h.window == c.window)
    )
    return list(conn.execute(query.order_by(c.account, c.kind, c.window, c.owner).limit(limit)))


def list_writers(conn: Connection, limit: int) -> list[Row]:
    """Writers, open ones first, then newest: id, host, pid, state, seq, when last heard, what was left unbilled."""
    c = t.writers.c
    query = sa.select(c.id, c.host, c.pid, c.state, c.seq, c.heard_at, c.unbilled)
    return list(conn.execute(query.order_by(c.state.desc(), c.id.desc()).limit(limit)))
