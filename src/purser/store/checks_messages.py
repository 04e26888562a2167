"""Checks of what was told: every alert was reached, and has its mail; every message is as its state says."""

from __future__ import annotations

from purser.store.checks import Findings, Invariant, each, usd
from purser.store.db import Connection

_ALERTS = """
SELECT * FROM (
    SELECT a.account, a.month, a.kind, a.amount, a.used, COALESCE((
        SELECT h.used FROM headroom h WHERE h.account = a.account AND h.kind = 'month' AND h."window" = a.month
    ), 0) + COALESCE((
        SELECT SUM(l.used) FROM leases l WHERE l.account = a.account AND l.kind = 'month' AND l."window" = a.month
    ), 0) AS now, (
        SELECT COUNT(*) FROM outbox o WHERE o.account = a.account
        AND o.fact = 'alert/' || a.month || '/' || a.kind || '/' || a.amount || '@mail'
    ) AS mails, a.at <= COALESCE((SELECT CAST(m.value AS BIGINT) FROM meta m WHERE m.name = 'outbox_pruned'), 0)
        AS pruned FROM alerts a
) s WHERE used > now OR (kind = 'spend' AND used < amount) OR (mails = 0 AND NOT pruned)
"""
_MESSAGES = """
SELECT account, id, state FROM outbox WHERE CASE state
    WHEN 'pending' THEN due_at IS NULL OR sent_at IS NOT NULL
    WHEN 'sent' THEN due_at IS NOT NULL OR sent_at IS NULL
    ELSE due_at IS NOT NULL OR failure IS NULL END
"""


def _alerts_were_reached_and_told(conn: Connection, found: Findings) -> None:
    found.count(conn, "alerts", "outbox")
    for row in each(conn, _ALERTS):
        found.blame(
            f"account {row.account}, alert {row.month} {row.kind} {usd(row.amount)}",
            f"it was told at {usd(row.used)} with {row.mails} mails, and the month has come to {usd(row.now)}",
        )
    for row in each(conn, _MESSAGES):
        found.blame(f"account {row.account}, message {row.id}", f"it is {row.state}, which its times do not say")


CHECKS = (Invariant("L7", "Every alert was reached and has its mail", _alerts_were_reached_and_told),)
