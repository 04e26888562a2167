"""Slices as rows: GPU-time of a deployment that is held ahead, then billed as a usage event each."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from purser.core.period import SECOND
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection
from purser.store.prepared import Prepared

SOURCE = "deployment"  # of the usage events that slices become
OPEN, BILLED = "open", "billed"


@dataclass(frozen=True, slots=True)
class Slice:
    """GPU-time from `start_at` to `end_at` at most: of `gpus`, of which `reserved` are not billed.

    `before` is the running total at its start, GPU-microseconds at one rate; `amount` is held, nano-dollars.
    """

    account: str
    deployment: str
    n: int
    model: str
    version: int
    month: str
    start_at: int
    end_at: int
    replicas: int
    gpus: int
    reserved: int
    before: int
    amount: int

    @property
    def name(self) -> str:
        """What its usage event is called, unique in its account."""
        return f"{self.deployment}/{self.n}"

    @property
    def owner(self) -> str:
        """Who owns its leases."""
        return f"slice:{self.name}"

    @property
    def billed_gpus(self) -> int:
        """Those that are billed on demand."""
        return self.gpus - self.reserved


_NAMES = tuple(Slice.__dataclass_fields__)


def insert(conn: Connection, made: Slice) -> None:
    """A new slice, which is open."""
    seals.insert(conn, t.slices, asdict(made))


def end(conn: Connection, made: Slice, at: int, cost: int) -> None:
    """A slice ends, perhaps before its time, and is billed."""
    key = {"account": made.account, "deployment": made.deployment, "n": made.n}
    seals.change(conn, t.slices, key, state=BILLED, ended_at=at, cost=cost)


@Prepared
def _OPEN(account: Any) -> sa.Select[Any]:
    c = t.slices.c
    return sa.select(*(c[name] for name in _NAMES)).where(c.account == account, c.state == OPEN)


def list_open(conn: Connection, account: str) -> list[Slice]:
    """An account's open slices, one for each deployment that has ready replicas."""
    return [Slice(*tuple(row)) for row in _OPEN.run(conn, account)]


def get_open(conn: Connection, account: str, deployment: str) -> Slice | None:
    """A deployment's open slice, None where no replica is ready."""
    return next((each for each in list_open(conn, account) if each.deployment == deployment), None)


def sum_open(conn: Connection, account: str) -> dict[str, int]:
    """What an account's open slices set aside, nano-dollars by month."""
    sums: dict[str, int] = {}
    for each in list_open(conn, account):
        sums[each.month] = sums.get(each.month, 0) + each.amount
    return sums


def list_billed(conn: Connection, account: str, start_at: int, end_at: int) -> list[tuple[str, str, int, int]]:
    """The slices that began in a span and are billed: deployment, accelerator, start, and whole GPU-seconds."""
    c = t.slices.c
    found = conn.execute(
        sa.select(t.slices)
        .where(c.account == account, c.state == BILLED, c.start_at >= start_at, c.start_at < end_at)
        .order_by(c.start_at, c.deployment)
    )
    return [
        (row.deployment, row.model, row.start_at, (row.before + used) // SECOND - row.before // SECOND)
        for row in found
        for used in [(row.gpus - row.reserved) * (row.ended_at - row.start_at)]
    ]
