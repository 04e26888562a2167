"""Standing follows the facts: limits and enforcement are applied, suspension causes opened and lifted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from purser.core import lease, letters
from purser.core.errors import Conflict, NotFound
from purser.core.explain import explain_cause
from purser.core.invoice import FAILED
from purser.core.journal import CASH
from purser.core.lease import MONTH
from purser.core.leaving import DELETING, reopenable_until
from purser.core.limits import PREPAID, Tier, effective_limit, tier_of
from purser.core.message import DEPLETED, REINSTATED, SUSPENDED
from purser.core.period import DAY, format_instant, month_of
from purser.core.standing import (
    CREDIT_DEPLETED,
    LIMIT_EXCEEDED,
    STRICTEST_FIRST,
    Facts,
    Room,
    credit_required,
    judge,
)
from purser.flows import outbox
from purser.store import accounts, headroom, holds, invoices, ledger, payments, slices, usage
from purser.store.db import Connection, Row
from purser.store.headroom import credit_key, month_key
from purser.store.writers import Tx, list_tips


@dataclass(frozen=True, slots=True)
class Footing:
    """What an account may do at most: its tier, the month's limit in force, and whether it needs credit."""

    tier: Tier | None  # None: unlimited by the operator
    limit_nanos: int | None
    needs_credit: bool
    has_payment_method: bool
    historical_spend_nanos: int


def require(conn: Connection, account: str) -> Row:
    """The account's row; raises NotFound."""
    row = accounts.get_account(conn, account)
    if row is None:
        raise NotFound(f"there is no account {account!r:.70}", field="account")
    return row


def lock(tx: Tx, account: str) -> Row:
    """The account's row, and until this transaction ends no other flow changes what the account is and has.

    Every flow begins with it but those of the hot path, which lock single headroom rows. Raises NotFound.
    """
    row = accounts.lock_account(tx.conn, account)
    if row is None:
        raise NotFound(f"there is no account {account!r:.70}", field="account")
    return row


def lock_open(tx: Tx, account: str) -> Row:
    """As `lock`, for what begins something new; raises also Conflict where the account is closed."""
    row = lock(tx, account)
    check_open(row)
    return row


def check_open(row: Row) -> None:
    """Raises Conflict where an account is closed."""
    if row.state == DELETING:
        raise Conflict(
            f"account {row.id} was closed at {format_instant(row.closing_at)}; the operator can open it again until "
            f"{format_instant(reopenable_until(row.closing_at))}",
            code="FAILED_PRECONDITION",
        )


def footing(conn: Connection, row: Row, tiers: tuple[Tier, ...]) -> Footing:
    """Derive tier, limit and need for credit from historical spend, payment methods and billing mode (L1–L3)."""
    return _footing(row, tiers, bool(payments.list_methods(conn, row.id)), ledger.get_balance(conn, row.id, CASH))


def footings(conn: Connection, rows: Sequence[Row], tiers: tuple[Tier, ...]) -> list[Footing]:
    """As `footing`, for each of these rows of accounts."""
    accounts = [row.id for row in rows]
    with_method = payments.list_with_method(conn, accounts)
    spend = ledger.get_balance_of_each(conn, accounts, CASH)
    return [_footing(row, tiers, row.id in with_method, spend.get(row.id, 0)) for row in rows]


def _footing(row: Row, tiers: tuple[Tier, ...], has_method: bool, spend: int) -> Footing:
    tier = None if row.unlimited else tier_of(tiers, spend, has_method)
    limit = effective_limit(row.billing_mode, row.limit_nanos, tier.limit_nanos if tier else None)
    return Footing(tier, limit, credit_required(row.billing_mode, has_method), has_method, spend)


def ensure_month_row(tx: Tx, account: str, month: str) -> None:
    """Create the month's headroom row with the limit now in force."""
    key = month_key(account, month)
    if headroom.get_row(tx.conn, key) is None:
        limit = footing(tx.conn, lock(tx, account), tx.policy.tiers).limit_nanos
        headroom.insert_row(tx.conn, key, lease.Headroom(limit or 0, limit is not None))


def refresh(tx: Tx, account: str) -> None:
    """Apply whatever changed for an account: credit enforcement, this month's limit, then standing."""
    row = lock(tx, account)
    stands = footing(tx.conn, row, tx.policy.tiers)
    key = credit_key(account)
    credit = headroom.lock_row(tx.conn, key)
    if credit is not None and credit.enforced != stands.needs_credit:
        headroom.put_row(tx.conn, key, lease.change(credit, credit.amount, stands.needs_credit))
        headroom.set_refused(tx.conn, key, False)
        if stands.needs_credit:
            headroom.set_wanted(tx.conn, key, tx.now)
    for month in headroom.list_windows(tx.conn, account, MONTH):
        if month >= month_of(tx.now):
            _apply_limit(tx, account, month, stands.limit_nanos)
    rejudge(tx, account)
    tx.touch(account)


def _apply_limit(tx: Tx, account: str, month: str, limit: int | None) -> None:
    key = month_key(account, month)
    row = headroom.lock_row(tx.conn, key)
    if row is None or (row.enforced, row.amount) == (limit is not None, limit or 0):
        return
    headroom.put_row(tx.conn, key, lease.change(row, limit or 0, limit is not None))
    headroom.set_refused(tx.conn, key, False)
    if limit is not None and row.taken > limit:
        headroom.set_wanted(tx.conn, key, tx.now)


def gather(tx: Tx, account: str) -> Facts:
    """The facts that standing depends on, at this instant."""
    row = lock(tx, account)
    stands = footing(tx.conn, row, tx.policy.tiers)
    credit = headroom.lock_row(tx.conn, credit_key(account))
    credit_left = 0 if credit is None else credit.amount - headroom.get_used(tx.conn, credit_key(account))
    limit = None
    if stands.limit_nanos is not None:
        key = month_key(account, month_of(tx.now))
        headroom.lock_row(tx.conn, key)
        used = headroom.get_used(tx.conn, key)
        limit = Room(stands.limit_nanos - used, headroom.get_refused(tx.conn, key))
    grace = tx.policy.payment_grace_days * DAY
    failed = tuple(
        str(invoice.number)
        for invoice in invoices.list_unpaid(tx.conn, account)
        if invoice.state == FAILED and invoice.issued_at + grace <= tx.now
    )
    return Facts(
        mode=row.billing_mode,
        has_payment_method=stands.has_payment_method,
        credit=Room(credit_left, headroom.get_refused(tx.conn, credit_key(account))),
        limit=limit,
        failed_invoices=failed,
        blocked_reason=row.blocked_reason,
        depletion_threshold_nanos=tx.policy.depletion_threshold_nanos,
    )


def rejudge(tx: Tx, account: str) -> dict[str, str]:
    """Open the causes that now hold and lift those that no longer do; answers the causes that hold."""
    hold = judge(gather(tx, account))
    was = {row.cause: row.why for row in accounts.list_open_causes(tx.conn, account)}
    for cause, why in hold.items():
        if cause not in was:
            accounts.open_cause(tx.conn, account, cause, tx.now, why)
        elif was[cause] != why:
            accounts.renew_cause(tx.conn, account, cause, why)
    for cause in was:
        if cause not in hold:
            accounts.lift_cause(tx.conn, account, cause, tx.now)
    if hold != was:
        tx.touch(account)
        _tell(tx, account, hold, was)
    return hold


def _tell(tx: Tx, account: str, hold: dict[str, str], was: dict[str, str]) -> None:
    """Tell what opened and lifted; a new account that starts suspended has nothing to be told, nor one that closes."""
    row, now = lock(tx, account), f"{tx.writer}.{tx.seq}"
    if row.state == DELETING:
        return
    new = row.created_at == tx.now and not headroom.get_used(tx.conn, credit_key(account))
    opened, prepaid = hold.keys() - was.keys(), row.billing_mode == PREPAID
    if opened and not new:
        told = [
            {"cause": each, "why": hold[each], "wayBack": explain_cause(each, prepaid=prepaid).way_back}
            for each in STRICTEST_FIRST
            if each in hold
        ]
        state = {"suspendState": told[0]["cause"], "suspensionCauses": told}
        letter = letters.suspended(account, hold, prepaid=prepaid)
        outbox.tell(tx, account, SUSPENDED, f"suspended/{'+'.join(sorted(opened))}/{now}", state, letter)
        if CREDIT_DEPLETED in opened:
            outbox.tell(tx, account, DEPLETED, f"depleted/{now}", {})
    if was and not hold:
        outbox.tell(tx, account, REINSTATED, f"reinstated/{now}", {}, letters.reinstated(account))


def note_refusal(tx: Tx, account: str, kind: str, window: str) -> dict[str, str]:
    """A request was refused for a constraint while nothing was held: near its end that counts as depleted (U7).

    Where money is held through the API, or for a deployment, it may come back.
    """
    if holds.sum_open(tx.conn, account) or slices.sum_open(tx.conn, account):
        return rejudge(tx, account)
    key = headroom.RowKey(account, kind, window)
    headroom.set_refused(tx.conn, key, True)
    causes = rejudge(tx, account)
    if (LIMIT_EXCEEDED if kind == MONTH else CREDIT_DEPLETED) not in causes:
        headroom.set_refused(tx.conn, key, False)
    return causes


def sweep(tx: Tx, account_ids: list[str]) -> None:
    """Judge accounts anew: those that are nearly spent, and those whose month has turned."""
    for account in account_ids:
        rejudge(tx, account)


def list_touched(conn: Connection, seen: dict[int, int]) -> tuple[set[str] | None, dict[int, int]]:
    """The accounts with usage since each writer had come as far as `seen`, None for all where that is empty.

    Answers also how far each has come now.
    """
    tips = list_tips(conn)
    if not seen:
        return None, tips
    touched: set[str] = set()
    for writer, seq in tips.items():
        if seq > seen.get(writer, 0):
            touched |= usage.list_accounts_since(conn, writer, seen.get(writer, 0))
    return touched, tips


def list_to_judge(conn: Connection, now: int, dust: int, seen: dict[int, int]) -> tuple[list[str], dict[int, int]]:
    """Accounts whose standing may have to change with time or settled usage alone.

    Only accounts with usage since the last look are looked at, or all of them at the first. `seen` is how far each
    writer had come then, empty at first; answers also how far it has come now.
    """
    touched, tips = list_touched(conn, seen)
    month = month_of(now)
    nearly = headroom.list_nearly_spent(conn, dust, month, None if touched is None else sorted(touched))
    return sorted({*nearly, *accounts.list_with_stale_limit_cause(conn, month)}), tips
