"""Alerts that were told and what accounts want to be told, as rows; and the spend of a month that they look at."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any

import sqlalchemy as sa

from purser.core.alerts import Alert, Wish
from purser.core.lease import MONTH
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared

_AT_ONCE = 500  # values in one statement


def insert_once(conn: Connection, account: str, month: str, alert: Alert, used: int, at: int) -> bool:
    """Note that an alert is told; answers False where it was told of this month before."""
    values = {"account": account, "month": month, "kind": alert.kind, "amount": alert.amount_nanos}
    return seals.insert_once(conn, t.alerts, {**values, "of_limit": alert.limit_nanos, "used": used, "at": at})


@Prepared
def _TOLD(account: Any, month: Any) -> sa.Select[Any]:
    c = t.alerts.c
    return sa.select(t.alerts).where(c.account == account, c.month == month).order_by(c.amount, c.kind)


def list_told(conn: Connection, account: str, month: str) -> list[Row]:
    """What was told of a month, by amount: columns of `alerts`."""
    return list(_TOLD.run(conn, account, month))


def as_alert(row: Row) -> Alert:
    """An alert that was told."""
    return Alert(row.kind, row.amount, row.of_limit)


_WISH = Prepared(lambda account: sa.select(t.notifications).where(t.notifications.c.account == account))


def get_wish(conn: Connection, account: str) -> tuple[Wish, int | None]:
    """What an account wants to be told, and since when (None: it never said)."""
    row = _WISH.run(conn, account).first()
    return (Wish(), None) if row is None else (_wish(row), int(row.updated_at))


def put_wish(conn: Connection, account: str, wish: Wish, at: int) -> None:
    """Keep what an account wants to be told."""
    values = {"thresholds": ",".join(map(str, wish.thresholds)), "forecast": int(wish.forecast), "updated_at": at}
    if not seals.insert_once(conn, t.notifications, {"account": account, **values}):
        seals.update(conn, t.notifications, t.notifications.c.account == account, **values)


def _wish(row: Row) -> Wish:
    return Wish(tuple(int(each) for each in row.thresholds.split(",") if each), bool(row.forecast))


def list_spend(conn: Connection, month: str, accounts: Collection[str] | None) -> Iterator[tuple[Row, Wish]]:
    """A month's spend of these accounts, or of all: account, used, amount, enforced, opened_at, and what each wants."""
    h, lease, a = t.headroom.c, t.leases.c, t.accounts.c
    leased = (
        sa.select(sa.func.coalesce(sa.func.sum(lease.used), 0))
        .where(lease.account == h.account, lease.kind == MONTH, lease.window == month)
        .scalar_subquery()
    )
    used = (h.used + leased).label("used")
    opened = a.created_at.label("opened_at")
    columns = (h.account, used, h.amount, h.enforced, opened, t.notifications.c.thresholds, t.notifications.c.forecast)
    query = (
        sa.select(*columns)
        .join(t.accounts, a.id == h.account)
        .outerjoin(t.notifications, t.notifications.c.account == h.account)
        .where(h.kind == MONTH, h.window == month)
    )
    parts = [None] if accounts is None else [*_parts(sorted(accounts))]
    for part in parts:
        found: Iterable[Any] = conn.execute(query if part is None else query.where(h.account.in_(part)))
        for row in found:
            yield row, Wish() if row.thresholds is None else _wish(row)


def _parts(accounts: list[str]) -> Iterator[list[str]]:
    for start in range(0, len(accounts), _AT_ONCE):
        yield accounts[start : start + _AT_ONCE]
