"""Deployments as rows: what each is to be, and how its replicas stand; reserved GPUs and quotas of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import sqlalchemy as sa

from purser.core.deployment import DEFAULT_QUOTA, DELETED, Scaling, Wish
from purser.core.money import Rate
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared

_decode = msgspec.json.Decoder(dict[str, int]).decode
_encode = msgspec.json.Encoder(order="deterministic").encode


@dataclass(frozen=True, slots=True)
class Deployment:
    """A deployment as it is to be; instants in microseconds."""

    account: str
    id: str
    base_model: str
    accelerator: str
    gpus: int  # of each replica
    scaling: Scaling
    created_at: int
    updated_at: int
    display_name: str = ""
    description: str = ""
    more: str = "{}"
    state: str = "CREATING"
    status: str = ""
    created_by: str = ""
    deleted_at: int | None = None
    purge_at: int | None = None
    made: str = ""

    @property
    def deleted(self) -> bool:
        """Whether it is gone, perhaps to be had back."""
        return self.state == DELETED


_NO_RATE = Rate(0, 1)


@dataclass(frozen=True, slots=True)
class Fleet:
    """How a deployment's replicas stand, and what they have used so far, in GPU-microseconds at one rate.

    `until_at` is how far they are billed; `stalled_at`, by wall-clock time, since when money for them is waited for.
    """

    account: str
    deployment: str
    active_at: int
    requested_at: int
    desired: int = 0
    ready: int = 0
    ready_at: int | None = None
    reported_at: int | None = None
    loads: Mapping[str, int] = field(default_factory=dict)
    wish: Wish | None = None
    stopped_for: str = ""
    stopped_at: int | None = None
    warned_at: int | None = None
    n: int = 0
    total: int = 0
    rate: Rate = _NO_RATE
    until_at: int | None = None
    stalled_at: int | None = None
    look_at: int | None = None
    due_at: int | None = None
    renew_at: int | None = None

    @property
    def billable(self) -> int:
        """Ready replicas that are wanted still: from a scale-down on nobody pays for what it takes to stop (P6)."""
        return min(self.ready, self.desired)


# ── what each is to be ───────────────────────────────────────────────────────────────────────────────────────────
_PLAIN = (
    *("account", "id", "base_model", "accelerator", "gpus", "created_at", "updated_at"),
    *("display_name", "description", "more", "state", "status", "created_by", "deleted_at", "purge_at", "made"),
)


def _values(given: Deployment) -> dict[str, Any]:
    scaling = given.scaling
    return {
        **{name: getattr(given, name) for name in _PLAIN},
        "min_replicas": scaling.least,
        "max_replicas": scaling.most,
        "up_window": scaling.up_window,
        "down_window": scaling.down_window,
        "zero_window": scaling.zero_window,
        "load_targets": _encode(scaling.targets).decode(),
    }


def _read(row: Row) -> Deployment:
    scaling = Scaling(
        *(row.min_replicas, row.max_replicas, row.up_window, row.down_window, row.zero_window),
        targets=_decode(row.load_targets),
    )
    return Deployment(scaling=scaling, **{name: getattr(row, name) for name in _PLAIN})


def insert(conn: Connection, new: Deployment) -> None:
    """A new deployment."""
    seals.insert(conn, t.deployments, _values(new))


def put(conn: Connection, changed: Deployment) -> None:
    """Write all of a deployment that is there."""
    values = _values(changed)
    seals.change(conn, t.deployments, {"account": values.pop("account"), "id": values.pop("id")}, **values)


@Prepared
def _ONE(account: Any, id_: Any) -> sa.Select[Any]:
    c = t.deployments.c
    return sa.select(t.deployments).where(c.account == account, c.id == id_)


def get(conn: Connection, account: str, id_: str) -> Deployment | None:
    """One deployment."""
    row = _ONE.run(conn, account, id_).first()
    return None if row is None else _read(row)


def list_of(conn: Connection, account: str, *, deleted: bool = False) -> list[Deployment]:
    """An account's deployments, newest first; deleted ones only where these are asked for."""
    c = t.deployments.c
    query = sa.select(t.deployments).where(c.account == account)
    if not deleted:
        query = query.where(c.state != DELETED)
    return [_read(row) for row in conn.execute(query.order_by(c.made.desc()))]


# ── how its replicas stand ───────────────────────────────────────────────────────────────────────────────────────
_STANDS = (
    *("account", "deployment", "desired", "ready", "ready_at", "active_at", "requested_at", "reported_at"),
    *(
        "stopped_for",
        "stopped_at",
        "warned_at",
        "n",
        "total",
        "until_at",
        "stalled_at",
        "look_at",
        "due_at",
        "renew_at",
    ),
)


@Prepared
def _FLEET(account: Any, id_: Any) -> sa.Select[Any]:
    c = t.replicas.c
    return sa.select(t.replicas).where(c.account == account, c.deployment == id_)


def get_fleet(conn: Connection, account: str, id_: str) -> Fleet | None:
    """How a deployment's replicas stand."""
    row = _FLEET.run(conn, account, id_).first()
    return None if row is None else _fleet(row)


def _fleet(row: Row) -> Fleet:
    wish = None if row.wished is None else Wish(row.wished, row.wished_at)
    rate = Rate(row.rate_nanos, row.rate_per)
    return Fleet(loads=_decode(row.loads), wish=wish, rate=rate, **{name: getattr(row, name) for name in _STANDS})


def list_fleets(conn: Connection, account: str) -> dict[str, Fleet]:
    """How the replicas of an account's deployments stand, by deployment."""
    found = conn.execute(sa.select(t.replicas).where(t.replicas.c.account == account))
    return {row.deployment: _fleet(row) for row in found}


def put_fleet(conn: Connection, fleet: Fleet) -> None:
    """Write how a deployment's replicas stand, whether or not it was there."""
    values: dict[str, Any] = {name: getattr(fleet, name) for name in _STANDS[2:]}
    values |= {
        "loads": _encode(fleet.loads).decode(),
        "wished": None if fleet.wish is None else fleet.wish.replicas,
        "wished_at": None if fleet.wish is None else fleet.wish.since_at,
        "rate_nanos": fleet.rate.nanos,
        "rate_per": fleet.rate.per,
    }
    there = {"account": fleet.account, "deployment": fleet.deployment}
    if not seals.change(conn, t.replicas, there, **values):
        seals.insert(conn, t.replicas, {**there, **values})


# ── what is due ──────────────────────────────────────────────────────────────────────────────────────────────────
@Prepared
def _DUE(now: Any) -> sa.CompoundSelect[Any]:
    c, k = t.replicas.c, t.causes.c
    by_time = sa.select(c.account).where(c.due_at <= now)
    to_renew = sa.select(c.account).where(c.renew_at <= now)
    suspended = sa.select(c.account).where(
        c.desired > 0, sa.exists().where(k.account == c.account, k.until_at.is_(None))
    )
    return sa.union(by_time, to_renew, suspended)


def list_due(conn: Connection, now: int) -> list[str]:
    """The accounts of whose deployments something changes by itself, is to be held, or is to stop."""
    return sorted(str(row[0]) for row in _DUE.run(conn, now))


def list_running(conn: Connection, _now: int) -> list[str]:
    """The accounts of which some replica is wanted."""
    c = t.replicas.c
    return [str(row[0]) for row in conn.execute(sa.select(c.account).distinct().where(c.desired > 0))]


@Prepared
def _NEXT_DUE(now: Any) -> sa.Select[Any]:
    c = t.replicas.c
    return sa.select(sa.func.min(c.due_at)).where(c.due_at > now)


def get_next_due(conn: Connection, now: int) -> int | None:
    """The next instant after now at which something changes by itself."""
    at = _NEXT_DUE.run(conn, now).scalar()
    return None if at is None else int(at)


# ── reserved GPUs and quotas ─────────────────────────────────────────────────────────────────────────────────────
def insert_reservation(conn: Connection, **values: int | str) -> None:
    """GPUs that an account has for a time."""
    seals.insert(conn, t.reservations, values)


def end_reservation(conn: Connection, account: str, id_: str, at: int) -> bool:
    """Nothing is reserved by it from then on; answers False where it is not there or has ended."""
    c = t.reservations.c
    where = (c.account == account, c.id == id_, c.ended_at.is_(None), c.end_at > at)
    return seals.update(conn, t.reservations, *where, ended_at=at) == 1


def list_reservations(conn: Connection, account: str) -> Sequence[Row]:
    """All that was ever reserved for an account, newest first."""
    c = t.reservations.c
    return conn.execute(sa.select(t.reservations).where(c.account == account).order_by(c.id.desc())).all()


def get_quota(conn: Connection, account: str, accelerator: str) -> tuple[int, int | None]:
    """How many GPUs of an accelerator an account may have, and when the operator said so (None: the default)."""
    c = t.gpu_quotas.c
    row = conn.execute(sa.select(t.gpu_quotas).where(c.account == account, c.accelerator == accelerator)).first()
    return (DEFAULT_QUOTA, None) if row is None else (int(row.gpus), int(row.updated_at))


def put_quota(conn: Connection, account: str, accelerator: str, gpus: int, now: int) -> None:
    """How many GPUs of an accelerator an account may have from now on."""
    key = {"account": account, "accelerator": accelerator}
    if not seals.change(conn, t.gpu_quotas, key, gpus=gpus, updated_at=now):
        seals.insert(conn, t.gpu_quotas, {**key, "gpus": gpus, "updated_at": now})


def is_waiting(conn: Connection) -> bool:
    """Whether money for some ready replicas is waited for, which others have set aside and may not need."""
    return (
        conn.execute(sa.select(t.replicas.c.account).where(t.replicas.c.stalled_at.is_not(None)).limit(1)).first()
        is not None
    )
