"""A request's money: headroom taken for a lease, settled with its usage in one commit, given back (correctness §2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from purser.core import journal, lease
from purser.core.errors import Broken, Invalid, Unavailable
from purser.core.lease import BUDGETS, MONTH, Lease
from purser.core.leaving import DELETING
from purser.core.money import LARGEST_NANOS
from purser.core.period import month_of
from purser.core.standing import DUST_NANOS
from purser.flows import budgets, credits, standing
from purser.flows.metering import bill_month, closed_through
from purser.store import accounts, headroom, ledger, usage
from purser.store.headroom import RowKey, credit_key, month_key
from purser.store.presence import SHARED, lock_one
from purser.store.usage import Event
from purser.store.writers import Tx

_NONE = Lease()
_SHARE_OF_REST = 4  # a lease beyond the need takes at most this fraction of what is left, so that others find some


@dataclass(frozen=True, slots=True)
class Need:
    """What a writer needs on one headroom row: at least `least` more, `wanted` if there, `most` if plenty."""

    key: RowKey
    least: int
    wanted: int
    most: int


@dataclass(frozen=True, slots=True)
class Taken:
    """What came of a grant: given per row (none where any row fell short), and what is left to grant per row.

    `left` is None on rows that are not enforced. `others` says whether somebody else holds spare of a short row.
    """

    given: dict[RowKey, int]
    left: dict[RowKey, int | None]
    short: RowKey | None = None
    others: bool = False


def path(account: str, month: str, budgets: Sequence[RowKey] = ()) -> tuple[RowKey, ...]:
    """The headroom rows a request must be held on: its account's credit and month, and the budgets it stands under."""
    return (credit_key(account), month_key(account, month), *budgets)


def take_headroom(tx: Tx, needs: Sequence[Need], owner: str | None = None) -> Taken:
    """Take headroom for this writer's leases, or a hold's, on every row of a path, or on none (transition 2).

    Raises Invalid for more than can be counted, Unavailable for a month, or an account, that is closed.
    """
    account, owner = needs[0].key.account, owner or tx.owner
    months = [need.key.window for need in needs if need.key.kind == MONTH]
    if months:
        lock_one(tx.conn, SHARED, shared=True)  # so that none of them is closed for everybody meanwhile
    for month in months:
        standing.ensure_month_row(tx, account, month)
    for need in needs:
        if need.key.kind in BUDGETS:
            budgets.ensure_row(tx, need.key)
    due = accounts.get_account(tx.conn, account)
    if due is not None and due.next_expiry_at is not None and due.next_expiry_at <= tx.now:
        credits.expire(tx, account)
    keys = sorted(needs, key=lambda item: item.key)
    granted, place = lease.grant_path([_asked(tx, need, owner) for need in keys])
    _refuse_closed(tx, account, months)
    left = {
        need.key: made.row.available if made.row.enforced else None for need, made in zip(keys, granted, strict=True)
    }
    if place is not None:
        short = keys[place].key
        own = headroom.get_lease(tx.conn, short, tx.owner) if owner == tx.owner else _NONE
        others = headroom.get_writers_spare(tx.conn, short) > own.spare
        if others:
            headroom.set_wanted(tx.conn, short, tx.now)
        return Taken({}, left, short, others)
    given = {}
    for need, made in zip(keys, granted, strict=True):
        headroom.put_row(tx.conn, need.key, made.row, enough=bool(made.given))
        headroom.put_lease(tx.conn, need.key, owner, made.lease)
        given[need.key] = made.given or 0
    return Taken(given, left)


def _asked(tx: Tx, need: Need, owner: str) -> lease.Asked:
    """What is needed on one row, which is locked; raises Invalid for more than can be counted."""
    row = headroom.lock_row(tx.conn, need.key)
    if row is None:
        raise Broken(f"no headroom row {need.key}")
    plenty = need.most if not row.enforced else min(need.most, row.available // _SHARE_OF_REST)
    countable = LARGEST_NANOS - row.taken
    if not row.enforced and need.least > countable:
        raise Invalid("this request could cost more than one account can owe; ask for less at once")
    held = headroom.get_lease(tx.conn, need.key, owner)
    return lease.Asked(row, held, need.least, min(max(need.wanted, plenty), countable))


def _refuse_closed(tx: Tx, account: str, months: Sequence[str]) -> None:
    """What is used of a month must be on its bill; a request of its last instant may come too late for that.

    Looked at with the rows locked, as the closing of a month and that of an account lock them: what either has ended by
    then begins no more, and what began before is waited for. Another process's clock may be ahead.
    """
    row = accounts.get_account(tx.conn, account)
    if row is not None and row.state == DELETING:
        raise Unavailable(f"account {account} has just been closed")
    closed = closed_through(tx.conn, account) if months else ""
    late = next((month for month in months if month <= closed), None)
    if late is not None:
        raise Unavailable(f"{late} has just been closed; sent again, the request belongs to the month after")


def give_back(tx: Tx, returns: Iterable[tuple[RowKey, int]]) -> None:
    """Return spare of this writer's leases (transition 5).

    A lease with nothing spare holds nothing: what it used is folded into its row, and it ends. Nobody is asked for more
    where no other writer has spare; else those that have not heard of it yet are still to give theirs.
    """
    for key, spare in sorted(returns):
        row, held = headroom.lock_row(tx.conn, key), headroom.get_lease(tx.conn, key, tx.owner)
        if row is None:
            raise Broken(f"no headroom row {key}")
        row, held = lease.give_back(row, held, spare)
        if held.spare:
            headroom.put_row(tx.conn, key, row)
            headroom.put_lease(tx.conn, key, tx.owner, held)
        else:
            headroom.put_row(tx.conn, key, lease.close(row, held))
            headroom.delete_lease(tx.conn, key, tx.owner)
        if headroom.get_writers_spare(tx.conn, key) == held.spare:
            headroom.set_wanted(tx.conn, key, None)


def settle(tx: Tx, events: Sequence[Event]) -> None:
    """Settle requests of this writer: usage events, one journal entry per account, and the leases they use.

    Every event's cost lies within a hold on this writer's own leases, so no row is shared with other writers.
    Where a lease runs dry, standing is judged in the same commit.
    """
    for account in sorted(_settle(tx, events)):
        standing.rejudge(tx, account)


def settle_and_take(tx: Tx, events: Sequence[Event], asked: Sequence[Sequence[Need]]) -> list[Taken]:
    """What many requests want of one commit: some are settled, for others headroom is taken, which is answered.

    Accounts are gone through in the order in which every flow locks them.
    """
    if asked:
        lock_one(tx.conn, SHARED, shared=True)  # before any account's row, as in every flow
    dry = _settle(tx, events) if events else set()
    takes: dict[str, list[int]] = {}
    for n, needs in enumerate(asked):
        takes.setdefault(needs[0].key.account, []).append(n)
    taken: dict[int, Taken] = {}
    for account in sorted({*dry, *takes}):
        if account in dry:
            standing.rejudge(tx, account)
        for n in takes.get(account, ()):
            taken[n] = take_headroom(tx, asked[n])
    return [taken[n] for n in range(len(asked))]


def _settle(tx: Tx, events: Sequence[Event]) -> set[str]:
    """Answers the accounts of which a lease ran dry."""
    by_account: dict[str, list[Event]] = {}
    for event in events:
        # A request that held nothing does not keep its month open.
        kept = event if event.held_nanos else _on_open_bill(tx, event)
        own = by_account.get(kept.account)
        if own is None:
            by_account[kept.account] = [kept]
        else:
            own.append(kept)
    entries, posted = [], []
    costs: dict[tuple[str, str, tuple[RowKey, ...]], int] = {}  # by account, month and budgets
    for account, own in sorted(by_account.items()):
        sums: dict[str, int] = {}
        first = f"{own[0].id}/settled"
        for event in own:
            cost = event.cost_nanos
            posted.append((event, first if cost else None))
            if cost:  # nothing held: there may be no row
                month, bill_month = event.month, event.bill_month
                sums[bill_month] = sums.get(bill_month, 0) + cost
                place = (account, month, event.budgets)
                costs[place] = costs.get(place, 0) + cost
        if sums:
            entries.append((account, journal.settled(first, sums)))
    usage.insert_events(tx, posted)
    ledger.post_all(tx, entries)
    return _use_leases(tx, costs)


def _on_open_bill(tx: Tx, event: Event) -> Event:
    """Where the bill of a request that held nothing is made, it goes on the open one."""
    made = accounts.get_closed_through(tx.conn, event.account) or ""  # of an account that closes, also this month's
    if event.month >= month_of(tx.now) and event.month > made:
        return event
    return replace(event, bill_month=bill_month(tx, event.account, event.month))


def _use_leases(tx: Tx, by_path: Mapping[tuple[str, str, tuple[RowKey, ...]], int]) -> set[str]:
    """Use the leases for what an account's requests of a month and of budgets cost; answers whose leases ran dry."""
    costs: dict[RowKey, int] = {}
    for place, cost in by_path.items():
        for key in path(*place):
            costs[key] = costs.get(key, 0) + cost
    if not costs:
        return set()
    held = headroom.get_leases(tx.conn, costs, tx.owner)
    used = {key: lease.settle(held.get(key, _NONE), cost) for key, cost in costs.items()}
    headroom.use_leases(tx.conn, used, tx.owner)
    return {key.account for key, left in used.items() if left.spare < DUST_NANOS}
