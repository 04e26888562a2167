"""Dry runs: what a write would come to, found by doing it in transactions that are rolled back."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from purser.core.errors import Conflict
from purser.flows import invoicing
from purser.inbound.desk import Desk
from purser.inbound.world import require_ended
from purser.store import invoices
from purser.store.db import Row
from purser.store.writers import Tx

T = TypeVar("T")


class _TriedOut(Exception):
    """What was done is to be undone; what would have been answered."""

    def __init__(self, answer: object) -> None:
        super().__init__("a dry run")
        self.answer = answer


def try_out(desk: Desk, work: Callable[[Tx], T]) -> T:
    """Do a write whose transaction is rolled back; answers, or raises, what the write would."""

    def undone(tx: Tx) -> None:
        raise _TriedOut(work(tx))

    try:
        desk.write(undone)
    except _TriedOut as tried:
        answer: T = tried.answer  # type: ignore[assignment]
        return answer
    raise AssertionError("a dry run ends by what it raises")


def try_close_month(desk: Desk, month: str) -> tuple[list[Row], list[str]]:
    """The invoices that closing a month would leave, before any is charged, and whose requests of it still run.

    Raises Conflict and Unavailable as the closing does.
    """
    require_ended(desk.clock, month)
    with desk.read() as conn:
        todo = invoicing.list_to_close(conn, month)
        found = invoices.list_of_month(conn, month)
    waiting = []
    for account in todo:
        try:
            made = try_out(desk, lambda tx, account=account: _close(tx, account, month))  # type: ignore[misc]
        except Conflict:
            waiting.append(account)
        else:
            found += [] if made is None else [made]
    return found, waiting


def _close(tx: Tx, account: str, month: str) -> Row | None:
    """The invoice that closing an account's month would make, its earlier months closed before it."""
    for earlier in invoicing.list_open_months(tx.conn, account, month):
        invoicing.close_account_month(tx, account, earlier)
    made = invoicing.close_account_month(tx, account, month)
    return None if made is None else invoices.get_invoice(tx.conn, account, made)
