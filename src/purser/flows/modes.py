"""Changing how an account pays: at once, or at an instant to come (A2, S36–S38)."""

from __future__ import annotations

from purser.core.errors import Invalid
from purser.core.modes import billed_mode, change_at, check_mode
from purser.core.period import format_instant, month_end, month_of, month_start
from purser.flows import alerts, credits, standing
from purser.flows.metering import closed_through
from purser.store import accounts, modes
from purser.store.db import Connection, Row
from purser.store.writers import Tx


def set_mode(tx: Tx, account: str, mode: str, at: int | None = None) -> None:
    """An account pays in `mode` from `at` on, at once where that is None; the last word on what is to come counts.

    What it owes it goes on owing. Raises Invalid for an unknown mode or an instant that has passed, NotFound.
    """
    row = standing.lock_open(tx, account)
    check_mode(mode)
    if at is not None and at < tx.now:
        raise Invalid(f"effectiveAt has passed: now it is {format_instant(tx.now)}", field="effectiveAt")
    if at is not None and at > tx.now:
        accounts.update_account(tx.conn, account, next_mode=mode, next_mode_at=at, updated_at=tx.now)
        tx.touch(account)
        return
    if row.next_mode is not None:
        accounts.update_account(tx.conn, account, next_mode=None, next_mode_at=None, updated_at=tx.now)
    _switch(tx, row, mode, tx.now)


def change_due(tx: Tx, account: str) -> bool:
    """Make the change whose instant has come; answers False where there is none.

    One that comes late, as after a stop, is of this month, since the bills of those before may be made.
    """
    row = standing.lock(tx, account)
    if row.next_mode_at is None or row.next_mode_at > tx.now:
        return False
    accounts.update_account(tx.conn, account, next_mode=None, next_mode_at=None, updated_at=tx.now)
    _switch(tx, row, row.next_mode, max(row.next_mode_at, month_start(month_of(tx.now))))
    return True


def _switch(tx: Tx, row: Row, mode: str, at: int) -> None:
    """Draw from credit what was used so far, then pay otherwise: credit, limit and causes follow the new mode.

    A month whose bill is made stays as it was billed, whatever the time is here: another process's clock may be ahead,
    and this change may have waited for the closing of the month.
    """
    if row.billing_mode == mode:
        return
    closed = closed_through(tx.conn, row.id)
    at = max(at, month_end(closed)) if closed else at
    credits.draw_usage(tx, row.id)
    standing.ensure_month_row(tx, row.id, month_of(tx.now))
    before = modes.list_changes(tx.conn, row.id)
    change = change_at(at, row.billing_mode, mode, before[-1] if before else None)
    modes.insert_change(tx.conn, row.id, len(before) + 1, change)
    accounts.update_account(tx.conn, row.id, billing_mode=mode, updated_at=tx.now)
    standing.refresh(tx, row.id)
    alerts.look(tx, row.id)


def billed(conn: Connection, row: Row, month: str) -> str:
    """In which mode an account's month is billed; prepaid ones have no invoice."""
    return billed_mode(modes.list_changes(conn, row.id), row.billing_mode, month)
