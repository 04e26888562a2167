"""Checks of usage: every charge re-derived from its quantities and price, posted once, and summed alike everywhere."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from operator import attrgetter

import msgspec

from purser.core.errors import Broken
from purser.core.money import Rate
from purser.core.period import DAY, HOUR, SECOND, format_instant
from purser.core.rating import Charge, Part, rate
from purser.core.slices import bill
from purser.core.usage import GPU_SECONDS, UNITS
from purser.store import spent
from purser.store.bulk import Statement
from purser.store.checks import Findings, Invariant, each, each_abreast, usd
from purser.store.db import Connection, Row
from purser.store.prices import list_books
from purser.store.slices import SOURCE
from purser.store.usage import QUARANTINED, SETTLED, decode_quantities

_STATES = (SETTLED, QUARANTINED)
_Rates = dict[tuple[int, str], Mapping[str, Rate]]  # by version and model
_Sums = dict[tuple[object, ...], list[int]]  # a roll-up's key → quantity, amount, events

_EVENTS = """
SELECT account, source, id, model, occurred_at, month, bill_month, version, quantities, cost, held, clamped, state,
    writer
FROM usage_events ORDER BY account
"""
_ROLLUPS = Statement(
    "SELECT bill_month, month, hour_at, model, unit, version, writer, quantity, amount, events FROM rollups "
    "WHERE account = ?"
)
_STRAY_ROLLUPS = """
SELECT DISTINCT r.account FROM rollups r WHERE NOT EXISTS (SELECT 1 FROM usage_events e WHERE e.account = r.account)
"""


def _charges_derive(conn: Connection, found: Findings) -> None:
    rates: _Rates = {(book.version, model): book.models[model] for book in list_books(conn) for model in book.models}
    account, sums = "", _Sums()
    for row in each_abreast(conn, _EVENTS):
        found.rows += 1
        if row.account != account:
            _check_rollups(conn, found, account, sums)
            account, sums = row.account, _Sums()
        charge = _check_event(conn, found, row, rates)
        if charge is not None:
            _add(sums, row, charge)
    _check_rollups(conn, found, account, sums)
    for row in each_abreast(conn, _STRAY_ROLLUPS):
        _check_rollups(conn, found, row.account, _Sums())


def _check_event(conn: Connection, found: Findings, row: Row, rates: _Rates) -> Charge | None:
    where = f"account {row.account}, usage event {row.source}/{row.id}"
    if row.cost > row.held or row.cost < 0 or row.clamped < 0:
        found.blame(where, f"billed {usd(row.cost)} of a hold of {usd(row.held)}, {usd(row.clamped)} forgiven")
    if row.state not in _STATES:
        found.blame(where, f"its state {row.state!r} is none of {', '.join(_STATES)}")
    if row.state != SETTLED:
        return None  # quarantined for its quantities; that it bills nothing is C1's affair
    if row.bill_month < row.month:
        found.blame(where, f"usage of {row.month} is on the bill of {row.bill_month}, an earlier month")
    price = rates.get((row.version, row.model))
    if price is None:
        found.blame(where, f"price version {row.version} has no model {row.model}")
        return None
    try:
        quantities = decode_quantities(row.quantities)
        if any(unit not in UNITS or number < 0 for unit, number in quantities.items()):
            raise Broken(f"quantities {row.quantities} are not counts of {', '.join(UNITS)}")
        charge = rate(quantities, price, row.held)
        if row.source == SOURCE:
            charge = _by_running_total(conn, row, quantities, price)
    except (msgspec.DecodeError, Broken) as error:
        found.blame(where, f"it cannot be rated: {error}")
        return None
    if (row.cost, row.clamped) != (charge.amount_nanos, charge.clamped_nanos):
        found.blame(
            where,
            f"billed {usd(row.cost)} and forgiven {usd(row.clamped)}, but {row.quantities} at price version "
            f"{row.version} within a hold of {usd(row.held)} cost {usd(charge.amount_nanos)} with "
            f"{usd(charge.clamped_nanos)} forgiven",
        )
    return charge


_BEFORE = Statement("SELECT before FROM slices WHERE account = ? AND deployment = ? AND n = ?")


def _by_running_total(conn: Connection, row: Row, used: Mapping[str, int], price: Mapping[str, Rate]) -> Charge:
    """What a slice of a deployment costs: the difference that its GPU-seconds make to the total before it (M3)."""
    deployment, _, n = row.id.rpartition("/")
    began = _BEFORE.run(conn, row.account, deployment, int(n) if n.isdecimal() else 0).fetchone()
    if began is None or used.keys() != {GPU_SECONDS} or GPU_SECONDS not in price:
        raise Broken("it is of no slice of a deployment")
    before = began[0] // SECOND * SECOND
    found = bill(before, before + used[GPU_SECONDS] * SECOND, price[GPU_SECONDS], row.held)
    return Charge(found.cost_nanos, (Part(GPU_SECONDS, found.gpu_seconds, found.cost_nanos),), found.clamped_nanos)


def _add(sums: _Sums, row: Row, charge: Charge) -> None:
    hour_at = row.occurred_at - row.occurred_at % HOUR
    for part in charge.parts:
        key = (row.bill_month, row.month, hour_at, row.model, part.unit, row.version, row.writer)
        total = sums.setdefault(key, [0, 0, 0])
        total[0] += part.quantity
        total[1] += part.amount_nanos
        total[2] += 1


def _check_rollups(conn: Connection, found: Findings, account: str, sums: _Sums) -> None:
    for kept in _ROLLUPS.run(conn, account):
        key, figures = tuple(kept)[:7], list(tuple(kept)[7:])
        events = sums.pop(key, [0, 0, 0])
        if figures != events:
            found.blame(_rollup_name(account, key), _differ(figures, events))
    for key, events in sums.items():
        found.blame(_rollup_name(account, key), _differ([0, 0, 0], events))


def _rollup_name(account: str, key: tuple[object, ...]) -> str:
    bill_month, month, hour_at, model, unit, version, writer = key
    return (
        f"account {account}, roll-up {bill_month}/{month}/{hour_at}/{model}/{unit} "
        f"at price version {version} by writer {writer}"
    )


def _differ(figures: list[int], events: list[int]) -> str:
    return (
        f"it says {figures[0]} units for {usd(figures[1])} in {figures[2]} events, but the usage events make "
        f"{events[0]} units for {usd(events[1])} in {events[2]} events"
    )


_C1_POSTED = """
SELECT * FROM (
    SELECT account, txn, bill_month, SUM(cost) AS cost, SUM(events) AS events, SUM(posted) AS posted FROM (
        SELECT account, txn, bill_month, cost, 1 AS events, 0 AS posted FROM usage_events WHERE txn IS NOT NULL
        UNION ALL
        SELECT p.account, p.key, substr(p.ledger, 7), 0, 0, p.amount
        FROM transactions t JOIN postings p ON p.account = t.account AND p.key = t.key
        WHERE t.kind = 'settled' AND p.side = 'D' AND substr(p.ledger, 1, 6) = 'usage:'
    ) f GROUP BY account, txn, bill_month
) s WHERE cost <> posted
"""
_C1_LOOSE = """
SELECT account, source, id, cost, state, txn FROM usage_events
WHERE (state = 'settled' AND cost <> 0 AND txn IS NULL) OR (state <> 'settled' AND (cost <> 0 OR txn IS NOT NULL))
"""
_C1_APART = """
SELECT e.account, e.source, e.id, e.txn FROM usage_events e
JOIN transactions t ON t.account = e.account AND t.key = e.txn
WHERE t.kind <> 'settled' OR t.writer <> e.writer OR t.seq <> e.seq
"""


def _posted_once(conn: Connection, found: Findings) -> None:
    found.count(conn, "usage_events")
    for row in each(conn, _C1_POSTED):
        found.blame(
            f"account {row.account}, transaction {row.txn}",
            f"{row.events} usage events of the bill of {row.bill_month} that it posts cost {usd(row.cost)}, but "
            f"{usd(row.posted)} is in the books",
        )
    for row in each(conn, _C1_LOOSE):
        words = f"posted by {row.txn}" if row.txn else "posted by no transaction"
        found.blame(
            f"account {row.account}, usage event {row.source}/{row.id}",
            f"it is {row.state}, costs {usd(row.cost)} and is {words}",
        )
    for row in each(conn, _C1_APART):
        found.blame(
            f"account {row.account}, usage event {row.source}/{row.id}",
            f"transaction {row.txn}, which it names, is not a settlement of the same commit",
        )


_C5 = """
SELECT * FROM (
    SELECT account, month, SUM(cost) AS cost, SUM(posted) AS posted, SUM(earned) AS earned, SUM(rolled) AS rolled FROM (
        SELECT account, bill_month AS month, cost, 0 AS posted, 0 AS earned, 0 AS rolled
        FROM usage_events WHERE state = 'settled'
        UNION ALL SELECT account, bill_month, 0, 0, 0, amount FROM rollups
        UNION ALL SELECT account, substr(ledger, 9), 0, 0, credits - debits, 0
        FROM balances WHERE substr(ledger, 1, 8) = 'revenue:'
        UNION ALL SELECT p.account, substr(p.ledger, 7), 0, p.amount, 0, 0
        FROM transactions t JOIN postings p ON p.account = t.account AND p.key = t.key
        WHERE t.kind = 'settled' AND p.side = 'D' AND substr(p.ledger, 1, 6) = 'usage:'
    ) f GROUP BY account, month
) s WHERE cost <> posted OR cost <> earned OR cost <> rolled
"""
_C5_BILLED = """
SELECT * FROM (
    SELECT i.account, i.number, i.month,
        (SELECT COALESCE(SUM(l.amount), 0) FROM invoice_lines l WHERE l.account = i.account AND l.invoice = i.id)
            AS lines,
        (SELECT COALESCE(SUM(e.cost), 0) FROM usage_events e
            WHERE e.account = i.account AND e.bill_month = i.month AND e.state = 'settled') AS cost
    FROM invoices i WHERE i.type <> 'PREPAID_CREDITS'
) s WHERE lines <> cost
"""


def _sums_agree(conn: Connection, found: Findings) -> None:
    found.count(conn, "usage_events", "rollups", "invoice_lines")
    for row in each(conn, _C5):
        found.blame(
            f"account {row.account}, bill of {row.month}",
            f"usage events cost {usd(row.cost)}, postings say {usd(row.posted)}, revenue {usd(row.earned)} and "
            f"roll-ups {usd(row.rolled)}; all four must be the same",
        )
    for row in each(conn, _C5_BILLED):
        found.blame(
            f"account {row.account}, invoice {row.number}",
            f"its lines sum to {usd(row.lines)}, but the usage on the bill of {row.month} cost {usd(row.cost)}",
        )


_SPENT = f"""
SELECT s.account, s.kind, s.subject, s.day_at, s.counted, s.amount, '' AS key FROM spent s
UNION ALL
SELECT e.account, '', e."user", e.occurred_at - e.occurred_at % {DAY}, e.budgets, SUM(e.cost), e.key
FROM usage_events e JOIN spent_through t ON t.writer = e.writer AND e.seq <= t.seq
WHERE e.state = 'settled' AND e.key IS NOT NULL
GROUP BY e.account, e."user", e.key, e.occurred_at - e.occurred_at % {DAY}, e.budgets
ORDER BY account
"""
_SPENT_BEYOND = """
SELECT t.writer, t.seq, w.seq AS last FROM spent_through t LEFT JOIN writers w ON w.id = t.writer
WHERE w.id IS NULL OR t.seq > w.seq
"""


def _spent_follows(conn: Connection, found: Findings) -> None:
    for account, rows in groupby(each(conn, _SPENT), attrgetter("account")):
        kept, made = dict[spent.Place, int](), dict[spent.Place, int]()
        for row in rows:
            found.rows += 1
            if row.kind:
                kept[account, row.kind, row.subject, row.day_at, row.counted] = row.amount
            else:
                spent.add(made, [(account, row.subject, row.key, row.day_at, row.counted, row.amount)])
        for place in sorted(kept.keys() | made.keys()):
            if kept.get(place, 0) != made.get(place, 0):
                _, kind, subject, day_at, counted = place
                toward = f", counted by {counted}" if counted else ""
                found.blame(
                    f"account {account}, spent by {kind} {subject} on {format_instant(day_at)[:10]}{toward}",
                    f"it says {usd(kept.get(place, 0))}, but the usage events make {usd(made.get(place, 0))}",
                )
    for row in each(conn, _SPENT_BEYOND):
        last = "which does not exist" if row.last is None else f"which has come to {row.last}"
        found.blame(f"writer {row.writer}", f"what was spent has its events through {row.seq}, {last}")


CHECKS = (
    Invariant("A4", "Every charge is its quantities at their price, within its hold; roll-ups match", _charges_derive),
    Invariant("C1", "Every charge is in the books exactly once", _posted_once),
    Invariant("C5", "Usage, postings, revenue, roll-ups and invoice lines sum to the same", _sums_agree),
    Invariant("spent", "What each key and user has spent by the day is what its requests cost", _spent_follows),
)
