"""Closing an account, with its final invoice, and opening it again within its time (A10, S79)."""

from __future__ import annotations

from purser.core import leaving as rule
from purser.core import letters
from purser.core.credits import PURCHASED
from purser.core.errors import Conflict
from purser.core.lease import MONTH
from purser.core.leaving import DELETING, READY, Blocked, Estate
from purser.core.limits import CONTRACT, PREPAID
from purser.core.message import CLOSED, CLOSING, REOPENED
from purser.core.period import format_instant, month_of, month_start, next_month
from purser.flows import access, credits, invoicing, modes, outbox, standing
from purser.flows.access import NewKey
from purser.store import accounts, deployments, headroom, holds, invoices, payments
from purser.store.db import Row
from purser.store.headroom import credit_key, month_key
from purser.store.writers import Tx


def close(tx: Tx, account: str, *, running_nanos: int = 0, give_up: bool = False) -> None:
    """Close an account: its keys end at once and nothing new begins; doing it again changes nothing.

    What runs ends, and is on the final invoice. `running_nanos` is what requests hold that are known to run. Raises
    Blocked with all that stands in the way, NotFound.
    """
    row = standing.lock(tx, account)
    if row.state == DELETING:
        return
    credits.draw_usage(tx, account)
    blockers = rule.list_blockers(_estate(tx, row, running_nanos), give_up=give_up)
    if blockers:
        raise Blocked(account, blockers)
    accounts.update_account(
        *(tx.conn, account),
        state=DELETING,
        closing_at=tx.now,
        next_mode=None,
        next_mode_at=None,
        updated_at=tx.now,
    )
    for key in accounts.list_keys(tx.conn, account, None):
        accounts.revoke_key(tx.conn, account, key.id, tx.now)
    tx.touch(account)
    until = rule.reopenable_until(tx.now)
    told = {"reopenableUntil": format_instant(until)}
    outbox.tell(tx, account, CLOSING, f"closing/{tx.now}", told, letters.closing(account, until))
    finish(tx, account)


def _estate(tx: Tx, row: Row, running_nanos: int) -> Estate:
    unbilled = credits.get_owed(tx.conn, row.id).unbilled
    invoiced = {month: owed for month, owed in unbilled if modes.billed(tx.conn, row, month) != PREPAID}
    grants = credits.remaining_grants(tx.conn, row.id)
    return Estate(
        unpaid=[(str(each.number), each.amount_due - each.paid) for each in invoices.list_unpaid(tx.conn, row.id)],
        deployments=[each.id for each in deployments.list_of(tx.conn, row.id)],
        held=sum(holds.sum_open(tx.conn, row.id).values()),
        running=running_nanos,
        # Should the card be charged for an invoice that was paid otherwise meanwhile, that is credit bought.
        buying=payments.sum_buying(tx.conn, row.id) + payments.sum_adrift(tx.conn, row.id),
        purchased=sum(grant.remaining_nanos for grant in grants if grant.kind == PURCHASED),
        to_invoice=sum(invoiced.values()),
        adrift=sum(owed for month, owed in unbilled if month not in invoiced),
        charged=row.billing_mode != CONTRACT,
        has_payment_method=row.default_payment_method is not None,
    )


def finish(tx: Tx, account: str) -> bool:
    """Go on with closing: once nothing runs any more credit lapses and the final invoice is made, once that is paid it
    is closed. Answers whether it is; safe to do again.
    """
    row = standing.lock(tx, account)
    if row.state != DELETING:
        return False
    if row.closed_at is not None:
        return True
    this_month = month_of(tx.now)
    keys = [month_key(account, month) for month in headroom.list_windows(tx.conn, account, MONTH)]
    keys = [credit_key(account), *sorted(keys)]
    for key in keys:  # whoever takes of them just now is waited for, and whoever comes next sees that it closes
        headroom.lock_row(tx.conn, key)
    leased = [key for key in keys if headroom.get_spare(tx.conn, key)]
    for key in leased:
        headroom.set_wanted(tx.conn, key, tx.now)
    if leased:
        tx.touch(account)
        return False
    credits.lapse_all(tx, account)
    for month in (*invoicing.list_open_months(tx.conn, account, this_month), this_month):
        if month < this_month or modes.billed(tx.conn, row, month) != PREPAID:
            invoicing.close_account_month(tx, account, month)
    if invoices.list_unpaid(tx.conn, account):
        return False
    accounts.update_account(tx.conn, account, closed_at=tx.now)
    tx.touch(account)
    until = rule.reopenable_until(row.closing_at)
    told = {"reopenableUntil": format_instant(until)}
    outbox.tell(tx, account, CLOSED, f"closed/{row.closing_at}", told, letters.closed(account, until))
    return True


def reopen(tx: Tx, account: str) -> NewKey | None:
    """Open an account again; answers a key for its owner, None where it is open already.

    Credit that lapsed and keys that ended stay so. Raises Conflict once its time is over, and in a month that its
    final invoice has billed.
    """
    row = standing.lock(tx, account)
    if row.state != DELETING:
        return None
    until = rule.reopenable_until(row.closing_at)
    if tx.now >= until:
        raise Conflict(
            f"account {account} was closed at {format_instant(row.closing_at)} and could be opened again until "
            f"{format_instant(until)}",
            code="FAILED_PRECONDITION",
        )
    if row.closed_through is not None and row.closed_through >= month_of(tx.now):
        opens = format_instant(month_start(next_month(row.closed_through)))
        raise Conflict(
            f"{row.closed_through} is on the final invoice of {account}; it can be opened again from {opens} on",
            code="FAILED_PRECONDITION",
        )
    accounts.update_account(tx.conn, account, state=READY, closing_at=None, closed_at=None, updated_at=tx.now)
    standing.ensure_month_row(tx, account, month_of(tx.now))
    standing.refresh(tx, account)
    outbox.tell(tx, account, REOPENED, f"reopened/{row.closing_at}", {}, letters.reopened(account))
    admins = [user.id for user in accounts.list_users(tx.conn, account) if user.role == access.ADMIN]
    return access.create_key(tx, account, access.OWNER if access.OWNER in admins else admins[0])
