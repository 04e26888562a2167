"""GPU-time: held ahead by the slice on leases of the slice's own, billed on the running total (H7, M3, P6)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from purser.core import journal, lease
from purser.core import slices as rule
from purser.core.deployment import simplest
from purser.core.errors import Broken, NotFound
from purser.core.money import Rate
from purser.core.period import SECOND, month_end, month_of
from purser.core.pricebook import PriceBook, in_force
from purser.core.rating import Part
from purser.core.standing import DUST_NANOS
from purser.core.usage import GPU_SECONDS
from purser.flows import requests
from purser.flows.metering import bill_month, transaction_key
from purser.flows.requests import Need, Taken
from purser.store import deployments, headroom, ledger, prices, slices, usage
from purser.store.db import Connection, Row
from purser.store.deployments import Deployment, Fleet
from purser.store.slices import SOURCE, Slice
from purser.store.usage import Event
from purser.store.writers import Tx

_SHORT = 120 * SECOND  # a slice that short is the last one, and not renewed before it ends


@dataclass(frozen=True, slots=True)
class Short:
    """Nothing could be held; `others` says whether gateways hold spare of what fell short, which they are asked for."""

    others: bool


@dataclass(frozen=True, slots=True)
class Held:
    """A slice is open; `left_nanos` is what could be held beyond it, None where nothing limits it."""

    fleet: Fleet
    slice: Slice
    rate: Rate
    left_nanos: int | None


def rate_of(book: PriceBook | None, accelerator: str) -> Rate:
    """What a GPU-second costs; raises NotFound where the accelerator has no price."""
    found = None if book is None else book.models.get(accelerator, {}).get(GPU_SECONDS)
    if found is None:
        raise NotFound(
            f"{accelerator} has no price per GPU-hour in force; the operator publishes one with: purser prices publish "
            f"--model {accelerator} --gpu-hour 7.00",
            field="acceleratorType",
        )
    return Rate(*simplest(found.nanos, found.per))


def hold(tx: Tx, of: Deployment, fleet: Fleet, at: int) -> Held | Short:
    """Set aside what the ready replicas can cost from `at` on, for as long as a slice lasts or as the money does."""
    books = prices.list_books(tx.conn)
    book = in_force(books, at)
    price = rate_of(book, of.accelerator)
    if book is None:
        raise Broken("a price of no book")
    before = fleet.total if price == fleet.rate else 0
    gpus = fleet.billable * of.gpus
    reserved = min(gpus, free_reserved(tx.conn, of.account, of.accelerator, at))
    cuts = [each.effective_at for each in books] + _turns(tx.conn, of)
    end = rule.ends_at(at, tx.now, tx.policy.deployment_slice_seconds * SECOND, cuts)
    made = Slice(
        account=of.account,
        deployment=of.id,
        n=fleet.n + 1,
        model=of.accelerator,
        version=book.version,
        month=month_of(at),
        start_at=at,
        end_at=end,
        replicas=fleet.billable,
        gpus=gpus,
        reserved=reserved,
        before=before,
        amount=rule.bill(before, before + (gpus - reserved) * (end - at), price).cost_nanos,
    )
    taken = _take(tx, made)
    if taken.short is not None:
        left = _left(taken) or 0
        lasts = rule.lasts(before, price, left)
        if left < DUST_NANOS or lasts is None:
            return Short(taken.others)
        made = replace(made, amount=left, end_at=min(end, rule.after(at, lasts, made.billed_gpus)))
        taken = _take(tx, made)
        if taken.short is not None:
            return Short(taken.others)
    slices.insert(tx.conn, made)
    half = (max(at, tx.now) + made.end_at) // 2
    renewed = made.end_at == end and made.end_at - at > _SHORT
    stands = replace(
        fleet, n=made.n, total=before, rate=price, until_at=at, stalled_at=None, renew_at=half if renewed else None
    )
    tx.touch(of.account)
    return Held(stands, made, price, _left(taken))


def _take(tx: Tx, made: Slice) -> Taken:
    path = requests.path(made.account, made.month)
    return requests.take_headroom(tx, [Need(key, *[made.amount] * 3) for key in path], owner=made.owner)


def _left(taken: Taken) -> int | None:
    limits = [left for left in taken.left.values() if left is not None]
    return min(limits) if limits else None


def settle(tx: Tx, fleet: Fleet, open_: Slice, at: int) -> Fleet:
    """Bill an open slice for its time until `at`, and give back the rest of what it holds."""
    if not open_.start_at <= at <= open_.end_at:
        raise Broken(f"slice {open_.name} lasts from {open_.start_at} to {open_.end_at}, and is to end at {at}")
    book = next(book for book in prices.list_books(tx.conn) if book.version == open_.version)
    total = open_.before + open_.billed_gpus * (at - open_.start_at)
    found = rule.bill(open_.before, total, rate_of(book, open_.model), open_.amount)
    if found.gpu_seconds:
        # One that holds nothing does not keep its month open.
        month = open_.month if open_.amount else bill_month(tx, open_.account, open_.month)
        event = Event(
            account=open_.account,
            source=SOURCE,
            id=open_.name,
            model=open_.model,
            user=None,
            key=None,
            occurred_at=open_.start_at,
            month=open_.month,
            bill_month=month,
            version=open_.version,
            quantities={GPU_SECONDS: found.gpu_seconds},
            parts=(Part(GPU_SECONDS, found.gpu_seconds, found.cost_nanos),),
            cost_nanos=found.cost_nanos,
            held_nanos=open_.amount,
            clamped_nanos=found.clamped_nanos,
        )
        txn = transaction_key(event) if found.cost_nanos else None
        usage.insert_events(tx, [(event, txn)])
        if txn is not None:
            ledger.post(tx, event.account, journal.settled(txn, {month: found.cost_nanos}))
    _release(tx, open_, found.cost_nanos)
    slices.end(tx.conn, open_, at, found.cost_nanos)
    tx.touch(open_.account)
    return replace(fleet, total=total, until_at=at, renew_at=None)


def _release(tx: Tx, made: Slice, cost: int) -> None:
    """End a slice's leases: `cost` of each is used, the rest goes back to its row."""
    for key in sorted(requests.path(made.account, made.month)):
        row, own = headroom.lock_row(tx.conn, key), headroom.get_lease(tx.conn, key, made.owner)
        if row is None or own.share != made.amount:
            raise Broken(f"slice {made.name} has a lease of {own.share} on {key}, not of {made.amount}")
        own = lease.settle(own, cost)
        row, own = lease.give_back(row, own, own.spare)
        headroom.put_row(tx.conn, key, lease.close(row, own))
        headroom.delete_lease(tx.conn, key, made.owner)


# ── reserved GPUs ────────────────────────────────────────────────────────────────────────────────────────────────
def free_reserved(conn: Connection, account: str, accelerator: str, at: int) -> int:
    """How many of an account's reserved GPUs no open slice has at an instant."""
    spans = deployments.list_reservations(conn, account)
    reserved = sum(each.gpus for each in spans if each.accelerator == accelerator and each.start_at <= at < _end(each))
    if not reserved:
        return 0
    in_use = sum(each.reserved for each in slices.list_open(conn, account) if each.model == accelerator)
    return max(0, int(reserved) - in_use)


def _end(reservation: Row) -> int:
    return int(reservation.end_at if reservation.ended_at is None else reservation.ended_at)


def _turns(conn: Connection, of: Deployment) -> list[int]:
    """When GPUs of this kind begin and cease to be reserved."""
    spans = deployments.list_reservations(conn, of.account)
    return [at for each in spans if each.accelerator == of.accelerator for at in (each.start_at, _end(each))]


def opens_after(closed: str) -> int:
    """The first instant of which GPU-time can be billed still: that after the last month whose bill is made."""
    return month_end(closed) if closed else 0
