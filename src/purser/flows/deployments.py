"""Deployments: made, changed, scaled, deleted and had back; what an orchestrator reports, and what requests ask for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from purser.core import deployment as rule
from purser.core.deployment import CUSTOMER, FAILED, MOST_REPLICAS, READY, SIMULATED, Scaling
from purser.core.errors import Conflict, Invalid, NotFound, Suspended, TooMany
from purser.core.explain import suspended_message
from purser.core.ids import check_name
from purser.core.limits import PREPAID
from purser.core.period import DAY, MINUTE, format_instant
from purser.core.pricebook import in_force
from purser.core.slices import total_cost
from purser.core.usage import GPU_SECONDS
from purser.flows import fleet, metering, slices, standing
from purser.flows.fleet import Standing
from purser.store import accounts, deployments, prices
from purser.store.db import Connection
from purser.store.deployments import Deployment
from purser.store.presence import SHARED, lock_one
from purser.store.writers import Tx

_AHEAD = MINUTE  # by so much an orchestrator's clock may be ahead of this one's
_IN_USE = 5 * MINUTE  # from its last request on


@dataclass(frozen=True, slots=True)
class Report:
    """What an orchestrator says of a deployment at an instant; what it does not say is None."""

    at: int | None = None
    ready: int | None = None
    requested_at: int | None = None
    loads: Mapping[str, int] | None = None
    failed: str | None = None


def require(conn: Connection, account: str, id_: str) -> Deployment:
    """A deployment, which may be deleted; raises NotFound."""
    found = deployments.get(conn, account, id_)
    if found is None or (found.deleted and found.purge_at == found.deleted_at):
        raise NotFound(f"account {account} has no deployment {id_!r:.70}", field="deployment")
    return found


def choose_accelerator(conn: Connection, given: str | None, now: int) -> str:
    """The accelerator asked for, or the first one that has a price; raises Invalid, NotFound."""
    if given not in (None, "", "ACCELERATOR_TYPE_UNSPECIFIED"):
        return rule.check_accelerator(given)
    book = in_force(prices.list_books(conn), now)
    priced = [each for each in rule.ACCELERATORS if book is not None and GPU_SECONDS in book.models.get(each, {})]
    if not priced:
        raise NotFound("no accelerator has a price per GPU-hour yet", field="acceleratorType")
    return priced[0]


def price_an_hour(conn: Connection, of: Deployment, replicas: int, now: int) -> int:
    """What so many replicas cost in an hour at the prices in force, nano-dollars; raises NotFound without a price."""
    rate = slices.rate_of(in_force(prices.list_books(conn), now), of.accelerator)
    return total_cost(replicas * of.gpus * 3_600 * 1_000_000, rate)


def create(tx: Tx, new: Deployment) -> Deployment:
    """Make a deployment, whose first replicas are started at once.

    Raises Suspended, Conflict for a known id, TooMany over the quota of GPUs, NotFound without a price of these.
    """
    lock_one(tx.conn, SHARED, shared=True)
    row = standing.lock_open(tx, new.account)
    _require_unsuspended(tx, new.account, prepaid=row.billing_mode == PREPAID)
    check_name(new.id, "deploymentId")
    rule.check_gpus(new.gpus)
    rule.check_scaling(new.scaling)
    price_an_hour(tx.conn, new, 1, tx.now)
    before = deployments.get(tx.conn, new.account, new.id)
    if before is not None and not (before.deleted and (before.purge_at or 0) <= tx.now):
        hint = "; have it back with :undelete, or delete it with hard=true" if before.deleted else ""
        raise Conflict(f"deployment {new.id} exists{' as a deleted one' if before.deleted else ''}{hint}")
    first = new.scaling.begins_with()
    _check_quota(tx.conn, new, first)
    made = replace(new, created_at=tx.now, updated_at=tx.now, made=tx.new_id("dep"))
    if before is None:
        deployments.insert(tx.conn, made)
    else:
        deployments.put(tx.conn, made)
    it = fleet.load(tx, made)
    it.fleet = replace(it.fleet, active_at=tx.now, requested_at=tx.now, reported_at=None, stopped_for="", until_at=None)
    fleet.change(tx, it, tx.now, desired=first)
    fleet.save(tx, it)
    tx.touch(new.account)
    return it.of


def change(tx: Tx, account: str, id_: str, changed: Deployment) -> Deployment:
    """Change what a deployment is to be; its replicas follow its bounds, unless it is stopped.

    Raises NotFound, Invalid, Suspended and TooMany where more replicas than before are to run.
    """
    it = _take_up(tx, account, id_)
    rule.check_scaling(changed.scaling)
    if (changed.accelerator, changed.gpus) != (it.of.accelerator, it.of.gpus):
        raise Invalid(
            f"a deployment keeps its accelerators ({it.of.gpus} {it.of.accelerator}): make another one instead",
            field="acceleratorType" if changed.accelerator != it.of.accelerator else "acceleratorCount",
        )
    it.of = replace(changed, updated_at=tx.now, state=it.of.state, status=it.of.status)
    deployments.put(tx.conn, it.of)
    desired = it.fleet.desired
    wanted = desired if it.fleet.stopped_for else it.of.scaling.bounded(desired)
    if wanted != desired:
        _scale(tx, it, wanted)
    fleet.save(tx, it)
    return it.of


def scale(tx: Tx, account: str, id_: str, replicas: int) -> Deployment:
    """Run so many replicas from now on: none, or as many as its bounds allow.

    Raises NotFound, Invalid, Suspended and TooMany where more than before are to run.
    """
    it = _take_up(tx, account, id_)
    scaling = it.of.scaling
    if replicas and scaling.bounded(replicas) != replicas:
        raise Invalid(
            f"replicaCount must be 0, or from minReplicaCount ({scaling.least}) to maxReplicaCount ({scaling.most})",
            field="replicaCount",
        )
    _scale(tx, it, replicas)
    it.fleet = replace(it.fleet, stopped_for="" if replicas else CUSTOMER, stopped_at=None if replicas else tx.now)
    fleet.save(tx, it)
    return it.of


def delete(tx: Tx, account: str, id_: str, *, hard: bool = False, ignore_checks: bool = False) -> Deployment:
    """Delete a deployment: it stops at once. Safe to do again; a `hard` deleted one cannot be had back.

    Raises NotFound, Conflict where requests still come to it, unless these checks are ignored.
    """
    it = _take_up(tx, account, id_, deleted=True)
    if it.of.deleted:
        if hard:
            it.of = replace(it.of, purge_at=it.of.deleted_at)
            deployments.put(tx.conn, it.of)
        return it.of
    used = it.fleet.requested_at > it.of.created_at and tx.now - it.fleet.requested_at < _IN_USE
    if used and it.fleet.billable and not ignore_checks:
        raise Conflict(
            f"deployment {id_} is in use: its last request came at {format_instant(it.fleet.requested_at)}; give "
            "ignoreChecks=true to delete it all the same",
            code="FAILED_PRECONDITION",
        )
    fleet.remove(tx, it, tx.now, hard=hard)
    fleet.save(tx, it)
    tx.touch(account)
    return it.of


def undelete(tx: Tx, account: str, id_: str) -> Deployment:
    """Have a deleted deployment back, at the fewest replicas that it may have; one that is not deleted stays as it is.

    Raises NotFound, Suspended, Conflict once it is too late, TooMany over the quota of GPUs.
    """
    it = _take_up(tx, account, id_, deleted=True)
    if not it.of.deleted:
        return it.of
    standing.lock_open(tx, account)
    if (it.of.purge_at or 0) <= tx.now:
        raise Conflict(f"deployment {id_} was deleted for good", code="FAILED_PRECONDITION")
    _require_unsuspended(tx, account)
    it.of = replace(it.of, state=READY, status="", deleted_at=None, purge_at=None, updated_at=tx.now)
    deployments.put(tx.conn, it.of)
    it.fleet = replace(it.fleet, active_at=tx.now, requested_at=tx.now, stopped_for="", stopped_at=None)
    _scale(tx, it, it.of.scaling.least)
    fleet.save(tx, it)
    return it.of


def note_request(tx: Tx, account: str, id_: str) -> Standing:
    """A request came: it keeps the deployment up, or starts it (S57–S59), unless the account is suspended."""
    it = _take_up(tx, account, id_)
    it.fleet = replace(it.fleet, requested_at=tx.now, active_at=max(it.fleet.active_at, tx.now))
    if not it.fleet.desired:
        _wake(tx, it, tx.now)
    fleet.save(tx, it)
    return it


def report(tx: Tx, account: str, id_: str, told: Report) -> tuple[Standing, bool]:
    """An orchestrator says how a deployment stands; answers whether it counts, too.

    One of no later instant than the last changes nothing: it came twice, or was overtaken. Raises NotFound, Invalid for
    the future, Conflict in the simulated fleet, which nobody reports.
    """
    at = tx.now if told.at is None else told.at
    if at > tx.now + _AHEAD:
        raise Invalid("at lies in the future", field="at")
    if told.ready is not None and not 0 <= told.ready <= MOST_REPLICAS:
        raise Invalid(f"readyReplicas must be from 0 to {MOST_REPLICAS}", field="readyReplicas")
    if tx.policy.fleet == SIMULATED and (told.ready is not None or told.failed is not None):
        raise Conflict(
            'replicas are simulated here, and not reported: set fleet = "reported"', code="FAILED_PRECONDITION"
        )
    lock_one(tx.conn, SHARED, shared=True)
    standing.lock(tx, account)
    it = fleet.load(tx, require(tx.conn, account, id_))
    at = min(at, tx.now)
    if it.of.deleted or (it.fleet.reported_at is not None and at <= it.fleet.reported_at):
        return it, False
    fleet.run(tx, it, at)
    it.fleet = replace(it.fleet, reported_at=at)
    closed = metering.closed_through(tx.conn, account)
    _apply(tx, it, max(at, slices.opens_after(closed)), told)
    fleet.run(tx, it, tx.now)
    fleet.save(tx, it)
    return it, True


def _apply(tx: Tx, it: Standing, at: int, told: Report) -> None:
    if told.requested_at is not None and told.requested_at <= tx.now:
        latest = max(it.fleet.requested_at, told.requested_at)
        it.fleet = replace(it.fleet, requested_at=latest, active_at=max(it.fleet.active_at, latest))
        if not it.fleet.desired and latest == told.requested_at > (it.fleet.stopped_at or 0):
            _wake(tx, it, at)
    if told.failed is not None:
        fleet.change(tx, it, at, desired=0, ready=0)
        it.of = replace(it.of, state=FAILED, status=told.failed, updated_at=tx.now)
        deployments.put(tx.conn, it.of)
    elif told.ready is not None and told.ready != it.fleet.ready:
        fleet.change(tx, it, at, ready=told.ready)
    if told.loads is not None:
        it.fleet = replace(it.fleet, loads=told.loads)
        if it.fleet.desired:
            asked = rule.needed(it.of.scaling, it.fleet.billable, told.loads)
            wish = rule.wish(it.of.scaling, it.fleet.desired, asked, it.fleet.wish, at)
            it.fleet = replace(it.fleet, wish=wish)


# ── what all of them need ────────────────────────────────────────────────────────────────────────────────────────
def _take_up(tx: Tx, account: str, id_: str, *, deleted: bool = False) -> Standing:
    """A deployment with all that has become of it until now; raises NotFound, Conflict for a deleted one."""
    lock_one(tx.conn, SHARED, shared=True)
    standing.lock(tx, account)
    of = require(tx.conn, account, id_)
    if of.deleted and not deleted:
        raise Conflict(f"deployment {id_} is deleted; have it back with :undelete", code="FAILED_PRECONDITION")
    it = fleet.load(tx, of)
    fleet.run(tx, it, tx.now)
    fleet.save(tx, it)
    if it.of.deleted and not deleted:
        raise Conflict(f"deployment {id_} is deleted; have it back with :undelete", code="FAILED_PRECONDITION")
    return it


def _scale(tx: Tx, it: Standing, replicas: int) -> None:
    more = replicas - it.fleet.desired
    if more > 0:
        standing.lock_open(tx, it.of.account)
        _require_unsuspended(tx, it.of.account)
        _check_quota(tx.conn, it.of, more)
    fleet.change(tx, it, tx.now, desired=replicas)
    tx.touch(it.of.account)


def _wake(tx: Tx, it: Standing, at: int) -> None:
    """A request came to a deployment without replicas: it starts, if its account may and has the GPUs left."""
    first = it.of.scaling.begins_with()
    if accounts.list_open_causes(tx.conn, it.of.account) or fleet.quota_left(tx.conn, it.of) < first * it.of.gpus:
        return
    fleet.change(tx, it, at, desired=first)
    it.fleet = replace(it.fleet, stopped_for="", stopped_at=None)
    tx.touch(it.of.account)


def _require_unsuspended(tx: Tx, account: str, *, prepaid: bool | None = None) -> None:
    causes = {cause.cause: cause.why for cause in accounts.list_open_causes(tx.conn, account)}
    if causes:
        known = standing.require(tx.conn, account).billing_mode == PREPAID if prepaid is None else prepaid
        raise Suspended(suspended_message(account, causes, prepaid=known))


def _check_quota(conn: Connection, of: Deployment, replicas: int) -> None:
    """Raises TooMany where an account has too few GPUs for so many more replicas (S60)."""
    left = fleet.quota_left(conn, of)
    if replicas * of.gpus > left:
        quota, _ = deployments.get_quota(conn, of.account, of.accelerator)
        raise TooMany(
            f"{replicas} more replicas of {of.gpus} {of.accelerator} need {replicas * of.gpus} GPUs; of the quota "
            f"{rule.quota_of(of.accelerator)}, which is {quota}, {max(0, left)} are left; the operator can raise it",
            field="acceleratorCount",
            code="quota_exceeded",
        )


# ── reserved GPUs ────────────────────────────────────────────────────────────────────────────────────────────────
def reserve(tx: Tx, account: str, accelerator: str, gpus: int, start_at: int, end_at: int) -> str:
    """Keep GPUs for an account for a time, in which they are not billed on demand; answers the reservation's id."""
    standing.lock_open(tx, account)
    rule.check_accelerator(accelerator)
    if not 1 <= gpus <= 100_000:
        raise Invalid("reservedCount must be from 1 to 100000", field="reservedCount")
    if not start_at < end_at <= start_at + 3_660 * DAY:
        raise Invalid("endTime must be after startTime, and no more than ten years", field="endTime")
    id_ = tx.new_id("res")
    deployments.insert_reservation(
        *(tx.conn,),
        account=account,
        id=id_,
        accelerator=accelerator,
        gpus=gpus,
        start_at=start_at,
        end_at=end_at,
        created_at=tx.now,
    )
    _hold_anew(tx, account, accelerator)
    return id_


def end_reservation(tx: Tx, account: str, id_: str) -> None:
    """Nothing is reserved by it from now on; raises NotFound where it is not there, or has ended."""
    standing.lock(tx, account)
    if not deployments.end_reservation(tx.conn, account, id_, tx.now):
        raise NotFound(f"account {account} has no reservation {id_!r:.60} that has not ended", field="reservation")
    ended = next(each for each in deployments.list_reservations(tx.conn, account) if each.id == id_)
    _hold_anew(tx, account, ended.accelerator)


def _hold_anew(tx: Tx, account: str, accelerator: str) -> None:
    """What runs is billed until now as it was, and from now on by what is reserved now."""
    for of in reversed(deployments.list_of(tx.conn, account)):
        it = fleet.load(tx, of)
        fleet.run(tx, it, tx.now)
        if of.accelerator == accelerator:
            fleet.renew(tx, it, tx.now)
        fleet.save(tx, it)


def set_quota(tx: Tx, account: str, accelerator: str, gpus: int) -> None:
    """How many GPUs of an accelerator an account may have at once; what runs stays."""
    standing.lock(tx, account)
    if not 0 <= gpus <= 100_000:
        raise Invalid("maxValue must be from 0 to 100000 GPUs", field="maxValue")
    deployments.put_quota(tx.conn, account, accelerator, gpus, tx.now)


def default_scaling(least: int | None, most: int | None) -> tuple[int, int]:
    """The bounds of a deployment that says only one of them, or none: 0 to the larger of that and 1."""
    usual = Scaling()
    low = usual.least if least is None else least
    return low, max(low, usual.most) if most is None else most
