"""Checks of limits: headroom rows, leases and writers add up, and agree with usage and credit in the books."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from operator import attrgetter

from purser.store.checks import Findings, Invariant, each, headroom_row, usd
from purser.store.db import Connection

_A1_ROWS = """
SELECT account, kind, "window", amount, enforced, taken, used, over, unbilled FROM headroom
WHERE taken < 0 OR used < 0 OR over < 0 OR unbilled < 0
   OR (enforced <> 0 AND taken > amount + over)
   OR over > CASE WHEN taken > amount THEN taken - amount ELSE 0 END
"""
_A1_LEASES = """
SELECT account, kind, "window", owner, share, used FROM leases WHERE used < 0 OR used > share
"""


def _within_bounds(conn: Connection, found: Findings) -> None:
    found.count(conn, "headroom", "leases")
    for row in each(conn, _A1_ROWS):
        kind = "enforced" if row.enforced else "not enforced"
        found.blame(
            headroom_row(row),
            f"out of bounds: taken {usd(row.taken)} of an amount of {usd(row.amount)} ({kind}) with {usd(row.over)} "
            f"allowed over it, used {usd(row.used)}, unbilled {usd(row.unbilled)}",
        )
    for row in each(conn, _A1_LEASES):
        found.blame(headroom_row(row), f"the lease of {row.owner} used {usd(row.used)} of a share of {usd(row.share)}")


_A6 = """
SELECT * FROM (
    SELECT h.account, h.kind, h."window", h.taken, h.used, COALESCE(SUM(l.share), 0) AS shares, COUNT(l.owner) AS leases
    FROM headroom h LEFT JOIN leases l ON l.account = h.account AND l.kind = h.kind AND l."window" = h."window"
    GROUP BY h.account, h.kind, h."window", h.taken, h.used
) s WHERE taken <> used + shares
"""
_A6_STRAY = """
SELECT l.account, l.kind, l."window", l.owner, l.share FROM leases l
LEFT JOIN headroom h ON h.account = l.account AND h.kind = l.kind AND h."window" = l."window"
WHERE h.account IS NULL
"""


def _taken_is_used_and_shared(conn: Connection, found: Findings) -> None:
    found.count(conn, "headroom", "leases")
    for row in each(conn, _A6):
        adds_up = row.used + int(row.shares)
        found.blame(
            headroom_row(row),
            f"taken is {usd(row.taken)}, but used {usd(row.used)} and the shares of {row.leases} leases "
            f"({usd(row.shares)}) make {usd(adds_up)}: a difference of {usd(row.taken - adds_up)}",
        )
    for row in each(conn, _A6_STRAY):
        found.blame(headroom_row(row), f"{row.owner} has a share of {usd(row.share)} of a headroom row that is gone")


_A7_BEYOND = """
SELECT f.account, f.name, f.writer, f.seq, w.id, w.seq AS last FROM (
    SELECT account, 'usage event ' || source || '/' || id AS name, writer, seq FROM usage_events
    UNION ALL SELECT account, 'transaction ' || key, writer, seq FROM transactions
) f LEFT JOIN writers w ON w.id = f.writer WHERE w.id IS NULL OR f.seq > w.seq
"""
_A7_COMMITS = """
SELECT c.writer, c.n, c.seq, w.id, w.seq AS last FROM commits c LEFT JOIN writers w ON w.id = c.writer
WHERE w.id IS NULL OR c.seq > w.seq
"""
_A7_LEASES = """
SELECT l.account, l.kind, l."window", l.owner, l.share FROM leases l
JOIN writers w ON l.owner = 'writer:' || w.id WHERE w.state = 'closed'
"""


def _nothing_by_closed_writers(conn: Connection, found: Findings) -> None:
    found.count(conn, "usage_events", "transactions", "commits", "leases")
    for row in each(conn, _A7_BEYOND):
        found.blame(f"account {row.account}, {row.name}", _written_beyond(row.writer, row.seq, row.id, row.last))
    for row in each(conn, _A7_COMMITS):
        found.blame(f"writer {row.writer}, commit {row.n}", _written_beyond(row.writer, row.seq, row.id, row.last))
    for row in each(conn, _A7_LEASES):
        found.blame(headroom_row(row), f"{row.owner} is closed and still owns a lease with a share of {usd(row.share)}")


def _written_beyond(writer: int, seq: int, known: int | None, last: int | None) -> str:
    if known is None:
        return f"written by writer {writer}, which does not exist"
    return f"written by writer {writer} at its step {seq}, but it was closed or stopped at step {last}"


_C6 = """
SELECT l.account, l.kind, l."window", l.owner, l.share, l.used FROM leases l
LEFT JOIN writers w ON l.owner = 'writer:' || w.id AND w.state = 'open'
LEFT JOIN holds h ON h.account = l.account AND h.id = l.owner AND h.state = 'open'
LEFT JOIN slices s ON s.account = l.account AND l.owner = 'slice:' || s.deployment || '/' || s.n AND s.state = 'open'
WHERE w.id IS NULL AND h.id IS NULL AND s.n IS NULL
"""


_STATES = "SELECT id, state FROM writers WHERE state NOT IN ('open', 'closed')"


def _leases_have_owners(conn: Connection, found: Findings) -> None:
    found.count(conn, "leases")
    for row in each(conn, _STATES):
        found.blame(f"writer {row.id}", f"its state {row.state!r} is neither open nor closed")
    for row in each(conn, _C6):
        found.blame(
            headroom_row(row),
            f"a lease with a share of {usd(row.share)}, {usd(row.used)} of it used, belongs to {row.owner}, which is "
            f"no open writer, hold or slice: nobody will give it back",
        )


_PATH = 2  # limits that a hold is set aside on: credit and the month's
_HOLDS = """
SELECT h.account, h.id, h.amount, h.cost, h.state, COUNT(l.owner) AS leases, e.cost AS billed FROM holds h
LEFT JOIN leases l ON l.account = h.account AND l.owner = h.id AND l.share = h.amount AND l.used = 0
    AND (l.kind = 'credit' OR l.kind = 'month' AND l."window" = h.month)
LEFT JOIN usage_events e ON e.account = h.account AND e.source = 'hold' AND e.id = h.id
GROUP BY h.account, h.id, h.amount, h.cost, h.state, e.cost
"""


def _holds_hold(conn: Connection, found: Findings) -> None:
    for row in each(conn, _HOLDS):
        found.rows += 1
        where = f"account {row.account}, hold {row.id}"
        if row.state == "open" and row.leases != _PATH:
            found.blame(where, f"it is open, but its {usd(row.amount)} are set aside on {row.leases} of {_PATH} limits")
        billed, cost = (row.billed, row.cost) if row.state == "settled" else (row.billed or 0, row.cost or 0)
        if billed is None or billed != cost:
            found.blame(where, f"it is {row.state} at {usd(cost or 0)}, but its usage event costs {usd(billed or 0)}")


_USED = """
SELECT * FROM (
    SELECT account, kind, "window", SUM(used) AS used, SUM(cost) AS cost FROM (
        SELECT account, kind, "window", used, 0 AS cost FROM headroom WHERE kind IN ('credit', 'month')
        UNION ALL SELECT account, kind, "window", used, 0 FROM leases WHERE kind IN ('credit', 'month')
        UNION ALL SELECT account, 'credit', '', 0, cost FROM usage_events WHERE state = 'settled'
        UNION ALL SELECT account, 'month', month, 0, cost FROM usage_events WHERE state = 'settled'
    ) f GROUP BY account, kind, "window"
) s WHERE used <> cost
"""
_BUDGETS = """
SELECT account, kind || ':' || "window" AS marks, used, 0 AS cost FROM headroom WHERE kind NOT IN ('credit', 'month')
UNION ALL SELECT account, kind || ':' || "window", used, 0 FROM leases WHERE kind NOT IN ('credit', 'month')
UNION ALL SELECT account, budgets, 0, SUM(cost) FROM usage_events WHERE state = 'settled' AND budgets IS NOT NULL
GROUP BY account, budgets ORDER BY account
"""
_CREDIT = """
SELECT * FROM (
    SELECT account, SUM(room) AS room, SUM(remaining) AS remaining, SUM(pending) AS pending FROM (
        SELECT account, amount - used AS room, 0 AS remaining, 0 AS pending FROM headroom WHERE kind = 'credit'
        UNION ALL SELECT account, -used, 0, 0 FROM leases WHERE kind = 'credit'
        UNION ALL SELECT account, 0, remaining, 0 FROM grants
        UNION ALL SELECT account, 0, 0, debits - credits FROM balances WHERE substr(ledger, 1, 6) = 'usage:'
    ) f GROUP BY account
) s WHERE room <> remaining - pending
"""


def _differ(used: int, cost: int) -> str:
    return (
        f"the limit counts {usd(used)} as used, but the usage events cost {usd(cost)}: "
        f"a difference of {usd(used - cost)}"
    )


def _limits_agree_with_books(conn: Connection, found: Findings) -> None:
    found.count(conn, "headroom")
    for row in each(conn, _USED):
        found.blame(headroom_row(row), _differ(row.used, row.cost))
    for account, rows in groupby(each(conn, _BUDGETS), attrgetter("account")):
        used, cost = Counter[str](), Counter[str]()
        for row in rows:
            for mark in row.marks.split():
                used[mark] += row.used
                cost[mark] += int(row.cost)
        for mark in sorted(used):
            if used[mark] != cost[mark]:
                found.blame(f"account {account}, {mark.replace(':', ' ', 1)}", _differ(used[mark], cost[mark]))
    for row in each(conn, _CREDIT):
        books = row.remaining - row.pending
        found.blame(
            f"account {row.account}, credit",
            f"{usd(row.room)} of credit may still be used, but by the books it is {usd(books)}: the grants have "
            f"{usd(row.remaining)} remaining and {usd(row.pending)} of usage waits to be drawn from them",
        )


CHECKS = (
    Invariant("A1", "No limit is taken beyond its amount, no lease used beyond its share", _within_bounds),
    Invariant("A6", "What is taken of a limit is what was used plus the leases on it", _taken_is_used_and_shared),
    Invariant("A7", "Nothing was written by a closed writer", _nothing_by_closed_writers),
    Invariant("C6", "Every lease belongs to an open writer, hold or slice", _leases_have_owners),
    Invariant("holds", "Every open hold is set aside, every settled one billed", _holds_hold),
    Invariant("headroom", "Limits and credit agree with usage and the books", _limits_agree_with_books),
)
