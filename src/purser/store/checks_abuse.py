"""Checks of abuse guards: sign-up credit is given once and as noted, and accounts that a rule names are blocked."""

from __future__ import annotations

from purser.store.checks import Findings, Invariant, each, usd
from purser.store.db import Connection

_MANY = """
SELECT account, COUNT(*) AS counted FROM grants WHERE source = 'sign-up' GROUP BY account HAVING COUNT(*) > 1
"""
_NOTED = """
SELECT s.account, s.amount, s.state, g.granted FROM signup_credits s
LEFT JOIN grants g ON g.account = s.account AND g.source = 'sign-up'
WHERE (s.state = 'given') <> (g.id IS NOT NULL) OR g.granted <> s.amount
"""
_FREE = """
SELECT r.id, a.id AS account FROM abuse_rules r JOIN accounts a ON a.id = r.target
WHERE r.type = 'ACCOUNT' AND r.designation = 'BLOCKED' AND r.ended_at IS NULL AND a.blocked_reason IS NULL
    AND NOT EXISTS (SELECT 1 FROM abuse_due d WHERE d.subject = a.id)
"""


def _guards_hold(conn: Connection, found: Findings) -> None:
    found.count(conn, "abuse_rules", "signup_credits", "credited_cards")
    for row in each(conn, _MANY):
        found.blame(f"account {row.account}", f"its sign-up credit was given {row.counted} times")
    for row in each(conn, _NOTED):
        given = "none was given" if row.granted is None else f"{usd(row.granted)} were given"
        found.blame(f"account {row.account}, sign-up credit", f"{usd(row.amount)} is {row.state}, and {given}")
    for row in each(conn, _FREE):
        found.blame(f"account {row.account}", f"abuse rule {row.id} blocks it, and it is not blocked")


CHECKS = (Invariant("abuse", "Sign-up credit is given once, and abuse rules are in force", _guards_hold),)
