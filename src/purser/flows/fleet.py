"""The replicas of deployments: what becomes of them by itself, in its order, with their GPU-time held ahead and billed.

Whatever changes how many are ready and wanted ends the open slice at that instant and opens the next. Nothing runs on
without a slice: where none can be held, a deployment goes to zero.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

from purser.core import deployment as rule
from purser.core import letters
from purser.core.deployment import CREATING, DELETED, FAILED, OUT_OF_MONEY, READY, SIMULATED, SLOW_START, UNDELETABLE
from purser.core.message import DEPLOYMENT_DELETED, DEPLOYMENT_STOPPED, DEPLOYMENT_WARNING
from purser.core.period import HOUR, SECOND, format_instant
from purser.core.slices import look_at as look_at_of
from purser.core.slices import total_cost
from purser.core.standing import strictest
from purser.flows import outbox, slices, standing
from purser.flows.slices import Held
from purser.store import accounts, deployments
from purser.store import slices as slice_rows
from purser.store.db import Connection
from purser.store.deployments import Deployment, Fleet
from purser.store.presence import SHARED, lock_one
from purser.store.slices import Slice
from purser.store.writers import Tx

_NO_MONEY = "no money could be held for it"


@dataclass(slots=True)
class Standing:
    """A deployment under way in a transaction: what it is to be, how its replicas stand, and its open slice."""

    of: Deployment
    fleet: Fleet
    open: Slice | None


def catch_up(tx: Tx, account: str) -> None:
    """All that has become of an account's deployments by itself until now; safe to do again."""
    lock_one(tx.conn, SHARED, shared=True)
    standing.lock(tx, account)
    for each in reversed(deployments.list_of(tx.conn, account)):
        under_way = load(tx, each)
        run(tx, under_way, tx.now)
        save(tx, under_way)


def bring_up(tx: Tx, account: str) -> None:
    """As `catch_up`, and what runs is billed until now: whoever moves the clock sees what that has cost."""
    catch_up(tx, account)
    for each in slice_rows.list_open(tx.conn, account):
        of = deployments.get(tx.conn, account, each.deployment)
        if of is not None and each.start_at < tx.now:
            under_way = load(tx, of)
            renew(tx, under_way, tx.now)
            save(tx, under_way)


def load(tx: Tx, of: Deployment) -> Standing:
    """How a deployment stands, whose account is locked."""
    fleet = deployments.get_fleet(tx.conn, of.account, of.id)
    if fleet is None:
        fleet = Fleet(of.account, of.id, of.created_at, of.created_at)
    return Standing(of, fleet, slice_rows.get_open(tx.conn, of.account, of.id))


def save(tx: Tx, it: Standing) -> None:
    """Write how it stands, and when it is to be looked at again."""
    due = [] if it.of.deleted else [at for happens, at in _events(tx, it) if happens is not _go_on]
    if it.open is not None and it.fleet.look_at is not None:
        due.append(it.fleet.look_at)
    stalled = it.fleet.stalled_at is not None
    it.fleet = replace(it.fleet, due_at=tx.now if stalled else min(due, default=None))
    deployments.put_fleet(tx.conn, it.fleet)


# ── what happens by itself ───────────────────────────────────────────────────────────────────────────────────────
_Event = Callable[[Tx, Standing, int], None]


def run(tx: Tx, it: Standing, until: int) -> None:
    """What becomes of it by itself until an instant, each at its time; the caller saves it."""
    while not it.of.deleted:
        ahead = [_suspension(tx, it), *_events(tx, it)]
        happens, at = min((each for each in ahead if each is not None), key=lambda each: each[1], default=(None, 0))
        if happens is None or at > until:
            break
        happens(tx, it, at)
    fleet = it.fleet
    if it.open is not None and fleet.renew_at is not None and fleet.renew_at <= until == tx.now < it.open.end_at:
        _go_on(tx, it, tx.now)
    elif it.open is None and fleet.billable and fleet.until_at is not None:
        _begin(tx, it, fleet.until_at)  # money was waited for


def _events(tx: Tx, it: Standing) -> list[tuple[_Event, int]]:
    """What is to come, and when; of what happens at the same instant the first comes first."""
    of, fleet = it.of, it.fleet
    ahead: list[tuple[_Event, int | None]] = [(_delete_idle, rule.deleted_at(of.scaling, fleet.requested_at))]
    if fleet.desired:
        ahead.append((_go_idle, rule.idle_at(of.scaling, fleet.active_at)))
    if fleet.wish is not None and fleet.desired:
        ahead.append((_fulfil, rule.wish_due_at(of.scaling, fleet.desired, fleet.wish)))
    ahead.append((_get_ready, fleet.ready_at))
    if of.state == CREATING and fleet.desired and not of.status and not fleet.ready:
        ahead.append((_tell_slow, fleet.active_at + SLOW_START))
    if it.open is not None:
        ahead.append((_go_on, it.open.end_at))
    return [(happens, at) for happens, at in ahead if at is not None]


def _suspension(tx: Tx, it: Standing) -> tuple[_Event, int] | None:
    """An account's suspension stops what runs at the instant of its first cause (U5, S61)."""
    if not it.fleet.desired and it.open is None:
        return None
    causes = accounts.list_open_causes(tx.conn, it.of.account)
    if not causes:
        return None
    why = strictest([cause.cause for cause in causes])
    since = min(int(cause.since_at) for cause in causes)
    begun = it.open.start_at if it.open is not None else it.fleet.until_at or since
    return partial(_stop, why=why), max(since, begun)


def _go_on(tx: Tx, it: Standing, at: int) -> None:
    """Its slice is over, or is renewed: it is billed, and the next one held."""
    _close(tx, it, at)
    if it.fleet.billable and not accounts.list_open_causes(tx.conn, it.of.account):
        _begin(tx, it, at)


def renew(tx: Tx, it: Standing, at: int) -> None:
    """End the open slice and hold another one: what it is billed by has changed."""
    if it.open is not None:
        _go_on(tx, it, at)


def _get_ready(tx: Tx, it: Standing, at: int) -> None:
    it.fleet = replace(it.fleet, ready_at=None)
    change(tx, it, at, ready=it.fleet.desired)


def _fulfil(tx: Tx, it: Standing, at: int) -> None:
    wish = it.fleet.wish
    it.fleet = replace(it.fleet, wish=None)
    if wish is not None:
        room = (quota_left(tx.conn, it.of) + it.of.gpus * it.fleet.desired) // it.of.gpus
        change(tx, it, at, desired=min(wish.replicas, max(room, it.fleet.desired)))


def _go_idle(tx: Tx, it: Standing, at: int) -> None:
    change(tx, it, at, desired=0)


def _tell_slow(tx: Tx, it: Standing, at: int) -> None:
    it.of = replace(it.of, status="no replica is ready after an hour: it has probably crashed", updated_at=at)
    deployments.put(tx.conn, it.of)


def _delete_idle(tx: Tx, it: Standing, at: int) -> None:
    remove(tx, it, at)
    told = {"deployment": it.of.id, "reason": "IDLE"}
    letter = letters.deployment_deleted(it.of.account, it.of.id)
    outbox.tell(tx, it.of.account, DEPLOYMENT_DELETED, f"deployment/{it.of.id}/deleted/{at}", told, letter)


# ── how many there are ───────────────────────────────────────────────────────────────────────────────────────────
def change(tx: Tx, it: Standing, at: int, *, desired: int | None = None, ready: int | None = None) -> None:
    """From `at` on so many replicas are wanted, or ready; their GPU-time is billed and held accordingly.

    In the simulated fleet those that are wanted and not there are ready after a while, those in excess gone at once.
    What is billed stays: a change from before that counts from then on.
    """
    was = it.fleet
    at = max(at, at if was.until_at is None else was.until_at)
    fleet = replace(
        was, desired=was.desired if desired is None else desired, ready=was.ready if ready is None else ready
    )
    if tx.policy.fleet == SIMULATED:
        fleet = replace(fleet, ready=fleet.billable)
        if fleet.ready == fleet.desired:
            fleet = replace(fleet, ready_at=None)
        elif fleet.desired > was.desired or fleet.ready_at is None:
            fleet = replace(fleet, ready_at=at + tx.policy.replica_ready_seconds * SECOND)
    if fleet.ready and not was.ready:
        fleet = replace(fleet, active_at=max(at, fleet.active_at))
    differs = fleet.billable != was.billable
    if differs:
        _close(tx, it, at)
        fleet = replace(fleet, total=it.fleet.total, rate=it.fleet.rate, renew_at=None, until_at=at, stalled_at=None)
    it.fleet = replace(fleet, wish=None if fleet.desired != was.desired else fleet.wish)
    if fleet.ready and it.of.state in (CREATING, FAILED):
        it.of = replace(it.of, state=READY, status="", updated_at=at)
        deployments.put(tx.conn, it.of)
    if differs and fleet.billable:
        _begin(tx, it, at)


def remove(tx: Tx, it: Standing, at: int, *, hard: bool = False) -> None:
    """It is deleted: nothing of it runs from then on, and for a while it can be had back."""
    change(tx, it, at, desired=0)
    it.fleet = replace(it.fleet, ready=0, ready_at=None, wish=None)
    purge = at if hard else at + UNDELETABLE
    it.of = replace(it.of, state=DELETED, deleted_at=at, purge_at=purge, updated_at=at)
    deployments.put(tx.conn, it.of)


def _stop(tx: Tx, it: Standing, at: int, why: str) -> None:
    """It goes to zero for want of money or for a suspension, until somebody scales it or a request comes."""
    change(tx, it, at, desired=0)
    it.fleet = replace(it.fleet, stopped_for=why, stopped_at=at, stalled_at=None, warned_at=None)
    told = {"deployment": it.of.id, "reason": why}
    letter = letters.deployment_stopped(it.of.account, it.of.id, _NO_MONEY if why == OUT_OF_MONEY else None)
    outbox.tell(tx, it.of.account, DEPLOYMENT_STOPPED, f"deployment/{it.of.id}/stopped/{it.fleet.n}/{at}", told, letter)


def _close(tx: Tx, it: Standing, at: int) -> None:
    if it.open is not None:
        it.fleet = slices.settle(tx, it.fleet, it.open, at)
        it.open = None
        standing.rejudge(tx, it.of.account)


def _begin(tx: Tx, it: Standing, at: int) -> None:
    """Hold the next slice, wait for what others may give back of it, or stop."""
    held = slices.hold(tx, it.of, it.fleet, at)
    if isinstance(held, Held):
        it.fleet, it.open = held.fleet, held.slice
        lasts = _lasts(tx, it, held)
        warning = tx.policy.deployment_warning_seconds * SECOND
        look_at = look_at_of(held.slice.end_at, tx.now, lasts, warning)
        it.fleet = replace(it.fleet, look_at=held.slice.end_at if held.fleet.renew_at is None else look_at)
        _warn(tx, it, held, lasts if lasts is not None and lasts <= warning else None)
        return
    wall = tx.world.wall()
    since = wall if it.fleet.stalled_at is None else it.fleet.stalled_at
    if held.others and wall < since + tx.policy.hold_wait_seconds * SECOND:
        it.fleet = replace(it.fleet, until_at=at, stalled_at=since)
        return
    causes = standing.rejudge(tx, it.of.account)
    _stop(tx, it, at, strictest(list(causes)) if causes else OUT_OF_MONEY)


def _lasts(tx: Tx, it: Standing, held: Held) -> int | None:
    """For how long the money lasts from now on, as the account's deployments run now; None where nothing limits it."""
    if held.left_nanos is None or not held.rate.nanos or not held.slice.billed_gpus:
        return None
    gpus = sum(each.billed_gpus for each in slice_rows.list_open(tx.conn, it.of.account))
    an_hour = max(1, total_cost(gpus * HOUR, held.rate))
    return held.slice.end_at - tx.now + held.left_nanos * HOUR // an_hour


def _warn(tx: Tx, it: Standing, held: Held, lasts: int | None) -> None:
    """Tell, once, that the money lasts for a while only; None where it lasts longer than is worth a warning."""
    if lasts is None:
        it.fleet = replace(it.fleet, warned_at=None)
    elif it.fleet.warned_at is None:
        it.fleet = replace(it.fleet, warned_at=tx.now)
        until = tx.now + max(0, lasts)
        told = {"deployment": it.of.id, "stopsAt": format_instant(until)}
        letter = letters.deployment_warning(it.of.account, it.of.id, until)
        outbox.tell(
            tx, it.of.account, DEPLOYMENT_WARNING, f"deployment/{it.of.id}/warning/{held.slice.n}", told, letter
        )


# ── quotas ───────────────────────────────────────────────────────────────────────────────────────────────────────
def gpus_in_use(conn: Connection, account: str, accelerator: str) -> int:
    """The GPUs of an accelerator that an account's replicas have, or are being started on."""
    fleets = deployments.list_fleets(conn, account)
    return sum(
        fleets[each.id].desired * each.gpus
        for each in deployments.list_of(conn, account)
        if each.accelerator == accelerator and each.id in fleets
    )


def quota_left(conn: Connection, of: Deployment) -> int:
    """How many more GPUs of its accelerator its account may have; below zero where the quota was lowered."""
    quota, _ = deployments.get_quota(conn, of.account, of.accelerator)
    return quota - gpus_in_use(conn, of.account, of.accelerator)
