"""The figures that the product and the reference model must have in common, read from each of them."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from typing import Any

from purser.flows import budgets, reports
from purser.store.bulk import Statement
from purser.store.db import Connection
from purser.store.headroom import RowKey
from tests.properties.reference import NEVER, Account, Invoice
from tests.properties.till import Shop
from tests.properties.world import World

Figures = dict[str, Any]

_LEDGER = Statement("SELECT ledger, SUM(debits), SUM(credits) FROM balances WHERE account = ? GROUP BY ledger")
_CAUSES = Statement("SELECT cause FROM causes WHERE account = ? AND until_at IS NULL")
_GRANTS = Statement(
    "SELECT id, kind, expires_at, granted, remaining, lapsed FROM grants WHERE account = ? ORDER BY created_at, id"
)
_DOCUMENTS = Statement(
    "SELECT id, number, type, month, state, subtotal, credits_applied, carried_in, carried_out, total, amount_due, "
    "paid, attempts, next_attempt_at FROM invoices WHERE account = ? ORDER BY number"
)
_LINES = Statement(
    "SELECT i.number, l.month, l.model, l.unit, l.rate_nanos, l.rate_per, l.quantity, l.amount FROM invoice_lines l "
    "JOIN invoices i ON i.account = l.account AND i.id = l.invoice WHERE l.account = ?"
)
_EVENTS = Statement(
    "SELECT source, bill_month, month, COUNT(*), SUM(cost) FROM usage_events WHERE account = ? "
    "GROUP BY source, bill_month, month"
)
_LIMITS = Statement(
    'SELECT h.kind, h."window", h.enforced, h.amount, h.used + (SELECT COALESCE(SUM(l.used), 0) FROM leases l '
    'WHERE l.account = h.account AND l.kind = h.kind AND l."window" = h."window") FROM headroom h WHERE h.account = ?'
)
_RECEIPT = "PREPAID_CREDITS"


def of_books(conn: Connection, name: str, month: str, budgets: tuple[RowKey, ...]) -> Figures:
    """What an account has and owes, as the rows of the database say."""
    grants, documents = list(_GRANTS.run(conn, name)), list(_DOCUMENTS.run(conn, name))
    places = {grant[0]: n for n, grant in enumerate(grants)} | {one[0]: one[1] for one in documents}
    lines: dict[str, dict[Any, Any]] = {one[1]: {} for one in documents}
    for number, used_in, model, unit, nanos, per, quantity, amount in _LINES.run(conn, name):
        lines[number][used_in, model, unit, Fraction(nanos, per)] = [quantity, amount]
    limits = {(row[0], row[1]): row[2:] for row in _LIMITS.run(conn, name)}
    needs_credit, granted, used = limits["credit", ""]
    return {
        "causes": {row[0] for row in _CAUSES.run(conn, name)},
        "needs credit": bool(needs_credit),
        "left of credit": granted - int(used),
        "spent": {window: int(row[2]) for (kind, window), row in limits.items() if kind == "month" and row[2]},
        "limit": [row[1] if row[0] else None for (_, window), row in limits.items() if window == month],
        "left of budget": [
            max(0, row[1] - int(row[2])) for place, row in limits.items() if place in {key[1:] for key in budgets}
        ],
        "grants": [grant[1:] for grant in grants],
        "events": {row[:3]: (row[3], int(row[4])) for row in _EVENTS.run(conn, name)},
        "ledger": {
            _plain(ledger, places): int(debits) - int(credits)
            for ledger, debits, credits in _LEDGER.run(conn, name)
            if debits != credits
        },
        "documents": {one[1] for one in documents},
        "invoices": {one[1]: (*one[3:], lines[one[1]]) for one in documents if one[2] != _RECEIPT},
    }


def of_reports(scene: Shop, conn: Connection, name: str) -> Figures:
    """What the customer is told."""
    budget = scene.budgets.get(name)
    balance = reports.balance(conn, name, scene.policy, scene.world.now(), scene.held_by_month(name))
    return {
        "limit": balance.limit,
        "credit": balance.credit,
        "left of grants": [grant.remaining_nanos for grant in balance.grants],
        "spent": balance.spent_this_month,
        "headroom": balance.headroom,
        "owed": balance.outstanding,
        "spent of budget": budget and budgets.get_spent(conn, name, scene.keys[name], budget, scene.world.now()),
    }


def _plain(ledger: str, places: dict[str, object]) -> str:
    """A ledger account by the place of its grant or the number of its invoice, which the model knows too."""
    kind, _, id_ = ledger.partition(":")
    return f"{kind}:{places.get(id_, id_)}" if id_ else kind


def of_model(world: World, name: str) -> tuple[Figures, Figures]:
    """What the reference model says in place of both."""
    account = world.accounts[name]
    events: dict[Any, tuple[int, int]] = {}
    for (source, _), event in account.events.items():
        count, cost = events.get((source, event.bill, event.month), (0, 0))
        events[source, event.bill, event.month] = (count + 1, cost + event.cost)
    drawn = account.drawn()
    rooms, window = drawn.rooms(world.month), world.window(account)
    books = {
        "causes": account.causes(world.month),
        "needs credit": account.needs_credit,
        "left of credit": account.credit,
        "spent": {month: amount for month, amount in account.spent.items() if amount},
        "limit": account.limit,
        "left of budget": max(0, account.budget[0] - account.spent_by_key(window))
        if account.budget and window
        else None,
        "grants": [
            (one.kind, None if one.expires == NEVER else one.expires, one.granted, one.remaining, one.lapsed)
            for one in account.grants
        ],
        "events": events,
        "ledger": {ledger: amount for ledger, amount in _ledger(account, name).items() if amount},
        "documents": {f"{name.upper()}-{n + 1:04}" for n in range(account.documents)},
        "invoices": {f"{name.upper()}-{one.number:04}": _figures_of(one, account) for one in account.invoices},
    }
    told = {
        "limit": account.limit,
        "credit": sum(grant.remaining for grant in drawn.grants),
        "left of grants": [grant.remaining for grant in drawn.in_order() if grant.remaining],
        "spent": account.spent[world.month],
        "headroom": max(0, min(rooms.values())) if rooms else None,
        "owed": sum(drawn.owed.values()) + sum(invoice.rest for invoice in account.invoices),
        "spent of budget": window and account.spent_by_key(window),
    }
    return books, told


def _figures_of(one: Invoice, account: Account) -> tuple[Any, ...]:
    return (
        one.month,
        "FAILED" if one.failed and one.rest else "ISSUED" if one.rest else "PAID",
        *(one.subtotal, one.by_credit, one.carried_in, one.carried_out, one.total, one.due),
        *(one.paid + one.carried_on, one.attempts, one.again),
        {key[1:]: line for key, line in account.lines.items() if key[0] == one.month},
    )


def _ledger(account: Account, name: str) -> Counter[str]:
    """Every ledger account, debits less credits."""
    sums: Counter[str] = Counter(cash=account.received)
    for n, grant in enumerate(account.grants):
        sums[f"credit:{n}"] -= grant.remaining
        sums["breakage"] -= grant.lapsed
        sums["promotions"] += grant.granted if grant.kind == "promotional" else 0
    for invoice in account.invoices:
        sums[f"invoiced:{name.upper()}-{invoice.number:04}"] += invoice.rest
    for month, amount in account.pending.items():
        sums[f"usage:{month}"] += amount
    for month, amount in account.owed.items():
        sums[f"unbilled:{month}"] += amount
    for event in account.events.values():
        sums[f"revenue:{event.bill}"] -= event.cost
    return sums


def differences(scene: Shop, conn: Connection, world: World, name: str, *, told: bool) -> list[str]:
    """Every figure of an account in which they differ, in words; also what the customer is `told`, if asked."""
    books, reports_ = of_model(world, name)
    pairs = [(of_books(conn, name, world.month, scene.budget_rows(name)), books)]
    for row in ("limit", "left of budget"):  # of a month, or a budget, of which there is a row yet
        pairs[0][1][row] = [books[row]] * len(pairs[0][0][row])
    if told:
        pairs.append((of_reports(scene, conn, name), reports_))
    return [
        f"{name}: {key}: {store[key]!r} by the model {model[key]!r}"
        for store, model in pairs
        for key in store
        if store[key] != model[key]
    ]
