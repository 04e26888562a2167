"""Abuse rules: made and ended by the operator, asked at every sign-up, and applied to the accounts that they cover."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from purser.core import abuse as rule
from purser.core.abuse import BLOCKED, SUSPICIOUS, Rule
from purser.core.errors import Conflict, Forbidden, Invalid, NotFound
from purser.flows import audit_log, signup_credit, standing
from purser.store import abuse, accounts
from purser.store.audit_log import Act
from purser.store.db import Connection
from purser.store.presence import ABUSE, lock_one
from purser.store.writers import Tx

AT_ONCE = 50  # accounts that are judged in the transaction that changes the rules; the worker goes on with the others
SHARED_CARD = signup_credit.SHARED_CARD
_BY_THE_WORKER = Act("", "purser", "", "abuse rules")
_REFUSED = (
    "no account can be opened and no link is sent this way; if you think that it should be possible, ask the operator "
    "of this gateway"
)


@dataclass(frozen=True, slots=True)
class Changed:
    """A rule that was made or ended, and how many accounts it covers, whatever other rules say of them."""

    rule: str
    accounts: int


# ── the operator's ───────────────────────────────────────────────────────────────────────────────────────────────
def add(tx: Tx, type_: object, target: object, designation: object, reason: object) -> Changed:
    """Make a rule; accounts that it blocks are suspended. Raises Invalid, and Conflict where one stands for that."""
    lock_one(tx.conn, ABUSE)
    told = rule.read_target(type_, target)
    rule.check_designation(designation)
    if not isinstance(reason, str) or not reason.strip() or len(reason) > 500:
        raise Invalid("reason must say why, in 1 to 500 characters", field="reason")
    made = Rule(tx.new_id("abuse"), str(type_), told, str(designation), reason.strip())
    for other in abuse.find_rules(tx.conn, {made.type: [[told]]}):
        raise Conflict(f"{other.name} says {other.designation} of it already; end that rule first", field="target")
    abuse.insert_rule(tx.conn, made, tx.now)
    return Changed(made.id, _apply(tx, made))


def end(tx: Tx, id_: str) -> Changed:
    """End a rule, which lets nobody back in; who was exempt by it may be blocked by another now. Raises NotFound."""
    lock_one(tx.conn, ABUSE)
    row = abuse.get_rule(tx.conn, id_)
    if row is None:
        raise NotFound(f"there is no abuse rule {id_!r:.60}", field="rule")
    if not abuse.end_rule(tx.conn, id_, tx.now):
        return Changed(id_, 0)
    return Changed(id_, _apply(tx, abuse.read(row)))


def _apply(tx: Tx, changed: Rule) -> int:
    """Judge the accounts that a rule covers: some at once, the others soon. Answers how many they are."""
    covered = abuse.list_covered(tx.conn, changed)
    for account in covered[AT_ONCE:]:
        abuse.insert_due(tx.conn, account)
    for account in covered[:AT_ONCE]:
        enforce(tx, account)
    return len(covered)


def enforce(tx: Tx, account: str) -> None:
    """Suspend an account that a rule blocks, or flag one that is suspicious; what was done already stays."""
    row = standing.lock(tx, account)
    abuse.delete_due(tx.conn, account)
    found = _judge(tx.conn, account=account, addresses=[row.email])
    if found is None or found.designation not in (BLOCKED, SUSPICIOUS):
        return
    abuse.raise_flag(tx.conn, account, found.designation, found.reason, found.id, tx.now)
    if found.designation == BLOCKED and row.blocked_reason is None:
        accounts.update_account(tx.conn, account, blocked_reason=f"rule {found.id}", updated_at=tx.now)
        standing.refresh(tx, account)


def enforce_later(tx: Tx, account: str) -> None:
    """The same for an account that had to wait; told in the audit log as Purser's own doing."""
    audit_log.told(_BY_THE_WORKER, lambda tx: enforce(tx, account))(tx)


def _judge(
    conn: Connection, *, account: str = "", addresses: Sequence[str] = (), clients: Sequence[str] = ()
) -> Rule | None:
    about = rule.candidates(account=account, addresses=addresses, clients=clients)
    return rule.judge(abuse.find_rules(conn, about), about)


def require_unblocked(conn: Connection, account: str, email: str) -> None:
    """Raises Conflict, naming the rule, where a rule blocks an account of that address still."""
    found = _judge(conn, account=account, addresses=[email])
    if found is not None and found.designation == BLOCKED:
        raise Conflict(
            f"abuse rule {found.name} blocks account {account}: end that rule first, or add one that says ALLOWED of "
            "the account",
            code="FAILED_PRECONDITION",
        )


def clear_flags(tx: Tx, account: str, *, grant_credit: bool) -> int:
    """A person has looked at an account: its flags go, and credit that waited for this is given, or is not.

    Answers what was given, nano-dollars. A block stays. Raises NotFound, Conflict where nothing is to be looked at.
    """
    standing.lock(tx, account)
    cleared = abuse.clear_flags(tx.conn, account, (SUSPICIOUS, SHARED_CARD), tx.now)
    given = signup_credit.review(tx, account, grant=grant_credit)
    if not cleared and given is None:
        raise Conflict(f"account {account} has no flag, and no credit that waits", code="FAILED_PRECONDITION")
    return given or 0


def note_reinstated(tx: Tx, account: str) -> None:
    """An account is let back in."""
    abuse.clear_flags(tx.conn, account, (BLOCKED,), tx.now)


# ── sign-up ──────────────────────────────────────────────────────────────────────────────────────────────────────
def check_network(conn: Connection, client: str) -> None:
    """Raises Forbidden where no links are sent at the request of a client's network address."""
    _refuse(_judge(conn, clients=[client]))


def check_sign_up(tx: Tx, email: str, *clients: str) -> Rule | None:
    """The rule by which a sign-up is suspicious, if any; no rule changes until this transaction ends.

    Raises Forbidden where it is blocked, in words that name no rule.
    """
    lock_one(tx.conn, ABUSE, shared=True)
    found = _judge(tx.conn, addresses=[email], clients=clients)
    _refuse(found)
    return found if found is not None and found.designation == SUSPICIOUS else None


def _refuse(found: Rule | None) -> None:
    if found is not None and found.designation == BLOCKED:
        raise Forbidden(_REFUSED)


def check_opening(tx: Tx, account: str, email: str) -> None:
    """Raises Conflict, naming the rule, where an account that is to be opened would be blocked."""
    lock_one(tx.conn, ABUSE, shared=True)
    found = _judge(tx.conn, account=account, addresses=[email])
    if found is not None and found.designation == BLOCKED:
        raise Conflict(
            f"abuse rule {found.name} blocks it: add a rule that says ALLOWED of the account {account} first",
            field="id" if found.type == rule.ACCOUNT else "email",
            code="FAILED_PRECONDITION",
        )


def flag_sign_up(tx: Tx, account: str, by: Rule) -> None:
    """An account was opened though a rule finds that suspicious."""
    abuse.raise_flag(tx.conn, account, SUSPICIOUS, by.reason, by.id, tx.now)
