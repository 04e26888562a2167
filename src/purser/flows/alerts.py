"""Alerts: a month's spend that has come to an amount is told once, in the commit that notes that it was told (L7)."""

from __future__ import annotations

from purser.core import letters
from purser.core.alerts import Spend, Wish, list_due, reached_at
from purser.core.errors import Invalid
from purser.core.message import ALERT
from purser.core.money import LARGEST_NANOS, format_usd
from purser.core.period import format_instant, month_of
from purser.flows import outbox, standing
from purser.store import alerts as rows
from purser.store import headroom
from purser.store.db import Connection
from purser.store.headroom import month_key
from purser.store.writers import Tx

MOST_THRESHOLDS = 20


def list_to_look(conn: Connection, now: int, seen: dict[int, int]) -> tuple[list[str], dict[int, int]]:
    """The accounts of which something is to be told now; only those with usage since the last look are looked at.

    `seen` is how far each writer had come then, empty at first; answers also how far it has come now.
    """
    touched, tips = standing.list_touched(conn, seen)
    month, due = month_of(now), []
    for row, wish in rows.list_spend(conn, month, touched) if touched is None or touched else ():
        spend = Spend(month, int(row.used), row.amount if row.enforced else None, row.opened_at, now)
        if list_due(spend, wish, ()):
            told = [rows.as_alert(each) for each in rows.list_told(conn, row.account, month)]
            if list_due(spend, wish, told):
                due.append(str(row.account))
    return due, tips


def look(tx: Tx, account: str, month: str | None = None) -> int:
    """Tell what of a month, this one if not given, is to be told and was not; answers how many alerts."""
    month = month or month_of(tx.now)
    account_row = standing.require(tx.conn, account)
    row = headroom.get_row(tx.conn, month_key(account, month))
    if row is None:
        return 0
    used = headroom.get_used(tx.conn, month_key(account, month))
    spend = Spend(month, used, row.amount if row.enforced else None, account_row.created_at, tx.now)
    told = [rows.as_alert(each) for each in rows.list_told(tx.conn, account, month)]
    count, at = 0, reached_at(spend)
    for alert in list_due(spend, rows.get_wish(tx.conn, account)[0], told):
        if not rows.insert_once(tx.conn, account, month, alert, used, tx.now):
            continue
        count += 1
        data = {
            "kind": alert.kind,
            "month": month,
            "thresholdUsd": format_usd(alert.amount_nanos),
            "usedUsd": format_usd(used),
            "limitUsd": None if spend.limit_nanos is None else format_usd(spend.limit_nanos),
            "limitReachedAt": None if at is None else format_instant(at),
        }
        letter = letters.alert(account, month, alert, used, spend.limit_nanos, at)
        outbox.tell(tx, account, ALERT, f"alert/{month}/{alert.kind}/{alert.amount_nanos}", data, letter)
    return count


def set_wish(tx: Tx, account: str, thresholds: list[int] | None = None, forecast: bool | None = None) -> Wish:
    """What an account wants to be told, None: as it is; what is reached already is told at once. Raises Invalid."""
    standing.lock(tx, account)
    now = rows.get_wish(tx.conn, account)[0]
    amounts = now.thresholds if thresholds is None else tuple(sorted(set(thresholds)))
    if len(amounts) > MOST_THRESHOLDS:
        raise Invalid(f"at most {MOST_THRESHOLDS} thresholds, not {len(amounts)}", field="monthlySpendThresholds")
    wrong = [each for each in amounts if not 0 < each <= LARGEST_NANOS]
    if wrong:
        raise Invalid(f"a threshold must be above 0, not ${format_usd(wrong[0])}", field="monthlySpendThresholds")
    wish = Wish(amounts, now.forecast if forecast is None else forecast)
    rows.put_wish(tx.conn, account, wish, tx.now)
    look(tx, account)
    return wish
