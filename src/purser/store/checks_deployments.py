"""Checks of deployments: every slice is held while it is open and billed once, and the running totals run on."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby

from purser.core.deployment import simplest
from purser.core.money import Rate
from purser.core.period import SECOND
from purser.core.slices import total_cost
from purser.core.usage import GPU_SECONDS
from purser.store.checks import Findings, Invariant, each, usd
from purser.store.db import Connection, Row
from purser.store.prices import list_books
from purser.store.slices import BILLED, OPEN, SOURCE
from purser.store.usage import decode_quantities

_PATH = 2  # limits that a slice is set aside on: credit and the month's
_Rates = Mapping[tuple[int, str], Rate]
_HELD = """
SELECT s.account, s.deployment, s.n, s.amount, COUNT(l.owner) AS leases FROM slices s
LEFT JOIN leases l ON l.account = s.account AND l.owner = 'slice:' || s.deployment || '/' || s.n
    AND l.share = s.amount AND l.used = 0 AND (l.kind = 'credit' OR l.kind = 'month' AND l."window" = s.month)
WHERE s.state = 'open' GROUP BY s.account, s.deployment, s.n, s.amount
"""
_BILLED = f"""
SELECT s.*, e.cost AS billed, e.quantities, e.occurred_at, e.month AS usage_month FROM slices s
LEFT JOIN usage_events e ON e.account = s.account AND e.source = '{SOURCE}' AND e.id = s.deployment || '/' || s.n
ORDER BY s.account, s.deployment, s.n
"""
_LOOSE = f"""
SELECT e.account, e.id FROM usage_events e
LEFT JOIN slices s ON s.account = e.account AND s.deployment || '/' || s.n = e.id AND s.state = 'billed'
WHERE e.source = '{SOURCE}' AND s.n IS NULL
"""
_STANDS = """
SELECT r.account, r.deployment, r.desired, r.ready, r.n, r.stalled_at, d.gpus, d.state, s.gpus AS has,
    (SELECT MAX(x.n) FROM slices x WHERE x.account = r.account AND x.deployment = r.deployment) AS last
FROM replicas r LEFT JOIN deployments d ON d.account = r.account AND d.id = r.deployment
LEFT JOIN slices s ON s.account = r.account AND s.deployment = r.deployment AND s.state = 'open'
"""


def _slices_hold(conn: Connection, found: Findings) -> None:
    for row in each(conn, _HELD):
        if row.leases != _PATH:
            found.blame(_name(row), f"it is open, but its {usd(row.amount)} are set aside on {row.leases} of 2 limits")
    rates: _Rates = {
        (book.version, model): Rate(*simplest(units[GPU_SECONDS].nanos, units[GPU_SECONDS].per))
        for book in list_books(conn)
        for model, units in book.models.items()
        if GPU_SECONDS in units
    }
    for _, rows in groupby(each(conn, _BILLED), lambda row: (row.account, row.deployment)):
        before: Row | None = None
        for row in rows:
            found.rows += 1
            _check_slice(found, row, before, rates)
            before = row
    for row in each(conn, _LOOSE):
        found.blame(f"account {row.account}, usage event {SOURCE}/{row.id}", "no slice of a deployment was billed so")


def _name(row: Row) -> str:
    return f"account {row.account}, slice {row.deployment}/{row.n}"


def _check_slice(found: Findings, row: Row, last: Row | None, rates: _Rates) -> None:
    where, rate = _name(row), rates.get((row.version, row.model))
    if rate is None:
        found.blame(where, f"price version {row.version} has no price per GPU-hour of {row.model}")
        return
    expected = 0
    if last is not None:
        if last.state == OPEN or row.start_at < last.ended_at:
            found.blame(where, f"it began at {row.start_at}, before the one before it had ended ({last.ended_at})")
            return
        if rates.get((last.version, last.model)) == rate:
            expected = _total(last)
    if row.before != expected:
        found.blame(where, f"its running total begins at {row.before}, and the one before it ended at {expected}")
    if row.state == OPEN:
        return
    if row.state != BILLED or not row.start_at <= row.ended_at <= row.end_at:
        found.blame(where, f"it is {row.state}, of {row.start_at} to {row.end_at}, ended at {row.ended_at}")
        return
    after = _total(row)
    seconds = after // SECOND - row.before // SECOND
    cost = min(row.amount, total_cost(after, rate) - total_cost(row.before, rate))
    used = {} if row.quantities is None else decode_quantities(row.quantities)
    if (row.cost, row.billed or 0, used.get(GPU_SECONDS, 0)) != (cost, cost, seconds):
        found.blame(
            where,
            f"it ran for {seconds} GPU-seconds, which cost {usd(cost)} of the {usd(row.amount)} held, but it says "
            f"{usd(row.cost)}, and its usage event {used.get(GPU_SECONDS, 0)} GPU-seconds for {usd(row.billed or 0)}",
        )
    if row.quantities is not None and (row.occurred_at, row.usage_month) != (row.start_at, row.month):
        found.blame(where, f"its usage event is of {row.occurred_at} in {row.usage_month}, not of its own start")


def _total(row: Row) -> int:
    """The running total at a slice's end."""
    return int(row.before) + (int(row.gpus) - int(row.reserved)) * (int(row.ended_at) - int(row.start_at))


def _replicas_run(conn: Connection, found: Findings) -> None:
    for row in each(conn, _STANDS):
        found.rows += 1
        where = f"account {row.account}, deployment {row.deployment}"
        if row.state is None:
            found.blame(where, "its replicas are there, and it is not")
            continue
        runs = min(row.desired, row.ready)
        if runs and row.state == "DELETED":
            found.blame(where, f"it is deleted, and {runs} of its replicas run")
        has = 0 if row.has is None else row.has
        if has != (0 if row.stalled_at is not None else runs * row.gpus):
            found.blame(where, f"{runs} replicas run, of {row.gpus} GPUs each, and {has} GPUs are held for")
        if row.n != (row.last or 0):
            found.blame(where, f"it counts {row.n} slices, and the last one is number {row.last or 0}")


CHECKS = (
    Invariant("slices", "GPU-time is held while it runs, and billed once, by its running total", _slices_hold),
    Invariant("replicas", "Every replica that is ready and wanted has its slice", _replicas_run),
)
