"""Budgets as headroom rows: made when a key or user first spends in a period, changed, and looked at (L6)."""

from __future__ import annotations

from purser.core import lease
from purser.core.budget import Bound, Budget, span
from purser.core.errors import Broken, Invalid, NotFound
from purser.core.lease import KEY, Headroom
from purser.core.money import LARGEST_NANOS
from purser.flows import caps, standing
from purser.store import accounts, headroom, spent
from purser.store.db import Connection, Row
from purser.store.headroom import RowKey
from purser.store.writers import Tx


def budget_of(row: Row) -> Budget | None:
    """The budget of a key's row."""
    return None if row.budget is None else Budget(row.budget, row.budget_period)


def row_key(account: str, subject: str, budget: Budget, at: int, *, kind: str = KEY) -> RowKey:
    """The headroom row on which a request by this key (or user), begun at this instant, must be held."""
    return RowKey(account, kind, Bound(kind, subject, budget).window(at))


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
    nanos, period = (None, None) if budget is None else (budget.nanos, budget.period)
    accounts.set_key_budget(tx.conn, account, key, nanos, period)
    for live in list_live(tx, account, KEY, key):
        apply(tx, live, budget)
    tx.touch(account)


def list_live(tx: Tx, account: str, kind: str, subject: str | None = None) -> list[RowKey]:
    """An account's rows of a kind, of one key or user or of all, whose period has not ended, in their order.

    By another process's clock a later period may have begun already: its row is one of them.
    """
    windows = headroom.list_windows(tx.conn, account, kind, subject)
    return [RowKey(account, kind, window) for window in windows if span(window.partition("/")[2])[1] > tx.now]


def apply(tx: Tx, key: RowKey, budget: Budget | None, uncounted: int | None = None) -> None:
    """Set what a row allows; nothing limits it where the budget is None, or goes by other periods.

    What does not count on it is summed here where it is not given.
    """
    row = headroom.lock_row(tx.conn, key)
    if row is None:
        return
    if budget is not None and key.window.split("/")[1] != budget.period:
        budget = None
    if budget is not None and uncounted is None:
        uncounted = spent.sum_uncounted(tx.conn, key)
    amount = 0 if budget is None else max(0, budget.nanos - (uncounted or 0))
    headroom.put_row(tx.conn, key, lease.change(row, amount, budget is not None))
    if budget is not None and row.taken > amount:
        headroom.set_wanted(tx.conn, key, tx.now)


def ensure_row(tx: Tx, key: RowKey) -> None:
    """Make the headroom row of a budget where there is none; without limit where the budget is gone meanwhile."""
    if headroom.get_row(tx.conn, key) is not None:
        return
    standing.lock(tx, key.account)
    budget = _in_force(tx.conn, key)
    room = 0 if budget is None else max(0, budget.nanos - spent.sum_uncounted(tx.conn, key))
    headroom.insert_row(tx.conn, key, Headroom(room, budget is not None))


def _in_force(conn: Connection, key: RowKey) -> Budget | None:
    """The budget that a row stands for, if that is the one in force; raises Broken where nobody has it."""
    subject, _, window = key.window.partition("/")
    if key.kind == KEY:
        row = accounts.get_key(conn, key.account, subject)
        if row is None:
            raise Broken(f"a budget without its key: {key}")
        budget = budget_of(row)
    else:
        bound = caps.get_bound(conn, key.account, subject)
        budget = bound.budget if bound is not None and bound.kind == key.kind else None
    return budget if budget is not None and window.partition("/")[0] == budget.period else None


def get_spent(conn: Connection, account: str, subject: str, budget: Budget, at: int, *, kind: str = KEY) -> int:
    """What a key, or a user, has spent in the period of this instant, settled, nano-dollars."""
    row = row_key(account, subject, budget, at, kind=kind)
    return spent.sum_uncounted(conn, row) + headroom.get_used(conn, row)


def get_left(conn: Connection, key: RowKey) -> int | None:
    """What is left of the budget that a row stands for, settled, nano-dollars; None where nothing limits."""
    budget = _in_force(conn, key)
    return None if budget is None else budget.nanos - spent.sum_uncounted(conn, key) - headroom.get_used(conn, key)
