"""Holds as rows: money set aside through the API, its leases owned by the hold until it ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection
from purser.store.prepared import Prepared

OPEN, SETTLED, VOID, EXPIRED = "open", "settled", "void", "expired"
_NAMES = ("account", "id", "model", "version", "month", "amount", "placed_at", "expires_at", "state", "cost")
_SELECT = sa.select(*(t.holds.c[name] for name in _NAMES))


@dataclass(frozen=True, slots=True)
class Held:
    """A hold: nano-dollars at one price version and of one month; `cost` is what was billed when it was settled."""

    account: str
    id: str
    model: str
    version: int
    month: str
    amount: int
    placed_at: int
    expires_at: int
    state: str = OPEN
    cost: int | None = None


def insert_hold(conn: Connection, held: Held) -> None:
    """Write a new hold."""
    values = {name: getattr(held, name) for name in _NAMES}
    seals.insert(conn, t.holds, {name: value for name, value in values.items() if value is not None})


_ONE = Prepared(lambda id_: _SELECT.where(t.holds.c.id == id_))


def get_hold(conn: Connection, id_: str) -> Held | None:
    """A hold by its id, which no two accounts share."""
    row = _ONE.run(conn, id_).first()
    return None if row is None else Held(*tuple(row))


def end_hold(conn: Connection, held: Held, state: str, cost: int | None = None) -> None:
    """Write what became of a hold."""
    seals.change(conn, t.holds, {"account": held.account, "id": held.id}, state=state, cost=cost)


@Prepared
def _EXPIRED(now: Any, most: Any) -> sa.Select[Any]:
    c = t.holds.c
    return sa.select(c.id).where(c.state == OPEN, c.expires_at <= now).order_by(c.expires_at, c.id).limit(most)


def list_expired(conn: Connection, now: int, most: int) -> list[str]:
    """The open holds whose time is over, those first that were over first."""
    return [str(row[0]) for row in _EXPIRED.run(conn, now, most)]


@Prepared
def _NEXT_EXPIRY(now: Any) -> sa.Select[Any]:
    c = t.holds.c
    return sa.select(sa.func.min(c.expires_at)).where(c.state == OPEN, c.expires_at > now)


def get_next_expiry(conn: Connection, now: int) -> int | None:
    """The next instant after now at which an open hold expires."""
    at = _NEXT_EXPIRY.run(conn, now).scalar()
    return None if at is None else int(at)


def keeps_open(conn: Connection, month: str, now: int) -> bool:
    """Whether holds of a month, or of one before it, have not expired yet, so that it cannot be closed."""
    c = t.holds.c
    running = sa.select(c.id).where(c.state == OPEN, c.expires_at > now, c.month <= month, c.amount > 0).limit(1)
    return conn.execute(running).first() is not None


@Prepared
def _OPEN_BY_MONTH(account: Any) -> sa.Select[Any]:
    c = t.holds.c
    return sa.select(c.month, sa.func.sum(c.amount)).where(c.account == account, c.state == OPEN).group_by(c.month)


def sum_open(conn: Connection, account: str) -> dict[str, int]:
    """What an account's open holds set aside, nano-dollars by month."""
    return {str(month): int(amount) for month, amount in _OPEN_BY_MONTH.run(conn, account)}
