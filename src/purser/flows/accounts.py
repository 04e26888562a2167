"""Accounts: opened with their sign-up credit, limited, blocked and let back in."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core import lease
from purser.core.address import check_email
from purser.core.errors import Conflict, Invalid, NotFound
from purser.core.explain import explain_cause
from purser.core.ids import check_account_id
from purser.core.limits import PREPAID, check_limit
from purser.core.modes import check_mode
from purser.core.period import month_of
from purser.core.standing import BLOCKED, STRICTEST_FIRST, credit_required
from purser.flows import abuse, access, alerts, signup_credit, standing
from purser.store import accounts, headroom
from purser.store.headroom import credit_key, month_key
from purser.store.writers import Tx


@dataclass(frozen=True, slots=True)
class Opened:
    """A new account and its owner's first key; the secret is shown this once. `credit` is what became of its credit."""

    account: str
    user: str
    key_id: str
    secret: str
    credit: str = ""


def open_account(
    tx: Tx,
    account: str,
    email: str,
    *,
    display_name: str = "",
    billing_mode: str | None = None,
    signup_credit_nanos: int | None = None,
    review: bool = False,
) -> Opened:
    """Open an account: its owner (an admin), a first key, and the sign-up credit once, by the configured rule (A1).

    Credit of an amount that is given waits for no card, and any for a person's `review` where that is asked for.
    Raises Invalid, and Conflict where the account exists or an abuse rule blocks it.
    """
    check_account_id(account)
    check_email(email)
    if len(display_name) > 64:
        raise Invalid("displayName must be at most 64 characters", field="displayName")
    abuse.check_opening(tx, account, email)
    mode = billing_mode if billing_mode is not None else tx.policy.mode_for(tx.now)
    check_mode(mode)
    new = accounts.insert_account(
        tx.conn,
        id=account,
        email=email,
        display_name=display_name,
        billing_mode=mode,
        created_at=tx.now,
        updated_at=tx.now,
        made=tx.new_id("acct"),
    )
    if not new:
        raise Conflict(f"account {account} exists already", field="id")
    headroom.insert_row(tx.conn, credit_key(account), lease.Headroom(0, credit_required(mode, False)))
    standing.ensure_month_row(tx, account, month_of(tx.now))
    access.create_user(tx, account, "owner", role="admin", email=email)
    key = access.create_key(tx, account, "owner", display_name="default")
    gift = tx.policy.signup_credit_nanos if signup_credit_nanos is None else signup_credit_nanos
    state = signup_credit.begin(tx, account, gift, review=review, at_once=signup_credit_nanos is not None)
    standing.refresh(tx, account)
    return Opened(account, "owner", key.id, key.secret, state)


def set_limit(tx: Tx, account: str, value: object) -> int | None:
    """The customer's own monthly spend limit in whole dollars (L5, S20–S22).

    Answers the instant from which it holds fully, None while money leased before may still be spent.
    Raises Invalid above the tier's maximum; the old value then stays.
    """
    row = standing.lock(tx, account)
    tier = standing.footing(tx.conn, row, tx.policy.tiers).tier
    most = None if tier is None or row.billing_mode == PREPAID else tier.limit_nanos
    nanos = check_limit(value, most)
    standing.ensure_month_row(tx, account, month_of(tx.now))
    accounts.update_account(tx.conn, account, limit_nanos=nanos, updated_at=tx.now)
    standing.refresh(tx, account)
    month = headroom.get_row(tx.conn, month_key(account, month_of(tx.now)))
    holds_at = tx.now if month is None or not month.enforced or month.taken <= month.amount else None
    accounts.update_account(tx.conn, account, limit_effective_at=holds_at)
    alerts.look(tx, account)
    return holds_at


def set_unlimited(tx: Tx, account: str, unlimited: bool) -> None:
    """Lift an account out of the tiers, or put it back (L2)."""
    standing.lock(tx, account)
    accounts.update_account(tx.conn, account, unlimited=int(unlimited), updated_at=tx.now)
    standing.refresh(tx, account)


def suspend(tx: Tx, account: str, cause: object, reason: object) -> None:
    """An operator blocks an account under an abuse rule; raises Invalid for any other cause."""
    standing.lock(tx, account)
    if cause != BLOCKED:
        raise Invalid(
            f"cause must be {BLOCKED}: the other causes follow from the account's own facts, not {cause!r:.60}",
            field="cause",
        )
    if not isinstance(reason, str) or not reason.strip() or len(reason) > 500:
        raise Invalid("reason must say why, in 1 to 500 characters", field="reason")
    accounts.update_account(tx.conn, account, blocked_reason=reason.strip(), updated_at=tx.now)
    standing.refresh(tx, account)


def reinstate(tx: Tx, account: str, cause: object = BLOCKED) -> None:
    """An operator lifts a block; causes that follow from facts are refused with what lifts them (Conflict).

    So is a block that an abuse rule would set at once again.
    """
    row = standing.lock(tx, account)
    derived = [open_.cause for open_ in accounts.list_open_causes(tx.conn, account) if open_.cause != BLOCKED]
    if cause not in STRICTEST_FIRST:
        raise Invalid(f"cause must be one of {', '.join(STRICTEST_FIRST)}, not {cause!r:.60}", field="cause")
    if cause != BLOCKED or (row.blocked_reason is None and derived):
        lifts = " ".join(
            f"{name}: {explain_cause(name, prepaid=row.billing_mode == PREPAID).way_back}"
            for name in (derived if cause == BLOCKED else [str(cause)])
        )
        raise Conflict(
            f"this cause follows from the account's facts and is lifted by them alone. {lifts}",
            code="FAILED_PRECONDITION",
        )
    if row.blocked_reason is None:
        raise Conflict(f"account {account} is not blocked", code="FAILED_PRECONDITION")
    abuse.require_unblocked(tx.conn, account, row.email)
    abuse.note_reinstated(tx, account)
    accounts.update_account(tx.conn, account, blocked_reason=None, updated_at=tx.now)
    standing.refresh(tx, account)


def require_user(tx: Tx, account: str, user: str) -> None:
    """Raises NotFound unless the account has that user."""
    if accounts.get_user(tx.conn, account, user) is None:
        raise NotFound(f"account {account} has no user {user!r:.70}", field="user")
