"""Budgets of keys as headroom rows: made when a key is first used in a period, changed, and looked at (L6)."""

from __future__ import annotations

from purser.core import lease
from purser.core.budget import Budget, span
from purser.core.errors import Broken, Invalid, NotFound
from purser.core.lease import Headroom
from purser.core.money import LARGEST_NANOS
from purser.flows import standing
from purser.store import accounts, headroom, usage
from purser.store.db import Connection, Row
from purser.store.headroom import RowKey, budget_key
from purser.store.writers import Tx


def budget_of(row: Row) -> Budget | None:
    """The budget of a key's row."""
    return None if row.budget is None else Budget(row.budget, row.budget_period)


def row_key(account: str, key: str, budget: Budget, at: int) -> RowKey:
    """The headroom row on which a request by this key, begun at this instant, must be held."""
    return budget_key(account, key, budget.window(at))


def set_budget(tx: Tx, account: str, key: str, budget: Budget | None) -> None:
    """Give a live key a budget, or take it away; in force at once, for what is held already as L5 has it.

    What the key has spent in the period counts. Raises Invalid, NotFound.
    """
    if budget is not None and not 0 <= budget.nanos <= LARGEST_NANOS:
        raise Invalid("budget.amountUsd must not be negative, and no more than can be counted", field="budget")
    standing.lock(tx, account)
    row = accounts.get_key(tx.conn, account, key)
    if row is None or row.revoked_at is not None:
        raise NotFound(f"there is no live key {key!r:.60}", field="keyId")
    before = budget_of(row)
    nanos, period = (None, None) if budget is None else (budget.nanos, budget.period)
    accounts.set_key_budget(tx.conn, account, key, nanos, period)
    if before is not None:
        _apply(tx, row_key(account, key, before, tx.now), None)
    if budget is not None:
        now = row_key(account, key, budget, tx.now)
        _apply(tx, now, _room(tx.conn, now, budget.nanos))
    tx.touch(account)


def _apply(tx: Tx, key: RowKey, amount: int | None) -> None:
    """Set what a row allows, where there is one; None takes the limit away."""
    row = headroom.lock_row(tx.conn, key)
    if row is None:
        return
    headroom.put_row(tx.conn, key, lease.change(row, amount or 0, amount is not None))
    if amount is not None and row.taken > amount:
        headroom.set_wanted(tx.conn, key, tx.now)


def ensure_row(tx: Tx, key: RowKey) -> None:
    """Make the headroom row of a budget where there is none; without limit where the budget is gone meanwhile."""
    if headroom.get_row(tx.conn, key) is not None:
        return
    standing.lock(tx, key.account)
    id_, _, window = key.window.partition("/")
    row = accounts.get_key(tx.conn, key.account, id_)
    if row is None:
        raise Broken(f"a budget without its key: {key}")
    budget = budget_of(row)
    enforced = budget is not None and window.partition("/")[0] == budget.period
    room = _room(tx.conn, key, budget.nanos) if budget is not None and enforced else 0
    headroom.insert_row(tx.conn, key, Headroom(room, enforced))


def _room(conn: Connection, key: RowKey, nanos: int) -> int:
    """What a budget allows of what counts on its row: usage from before there was the row is taken off."""
    return max(0, nanos - _sum_uncounted(conn, key))


def _sum_uncounted(conn: Connection, key: RowKey) -> int:
    id_, _, window = key.window.partition("/")
    return usage.sum_uncounted(conn, key.account, id_, *span(window), headroom.mark(key))


def get_spent(conn: Connection, account: str, key: str, budget: Budget, at: int) -> int:
    """What the key has spent in the period of this instant, settled, nano-dollars."""
    row = row_key(account, key, budget, at)
    return _sum_uncounted(conn, row) + headroom.get_used(conn, row)
