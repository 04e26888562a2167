"""Requests for a higher cap: a user asks, and an admin of the account approves or rejects it (L6)."""

from __future__ import annotations

from purser.core import cap, letters
from purser.core.errors import Conflict, Invalid, NotFound
from purser.core.message import INCREASE_ASKED, INCREASE_DECIDED
from purser.core.people import lower
from purser.flows import outbox, standing, usage_limits
from purser.flows.caps import get_cap
from purser.store import accounts, limit_requests
from purser.store.db import Connection, Row
from purser.store.limit_requests import APPROVED, PENDING, REJECTED
from purser.store.writers import Tx

LONGEST_REASON = 500


def require(conn: Connection, account: str, id_: str) -> Row:
    """A request; raises NotFound."""
    row = limit_requests.get(conn, account, id_)
    if row is None:
        raise NotFound(f"account {account} has no request {id_!r:.60} for a higher limit", field="request")
    return row


def ask(tx: Tx, account: str, user: str, nanos: int, reason: str) -> str:
    """A user asks to spend so much in a month; the account and its admins are told. Answers the request's id.

    Raises Invalid for no more than the user may spend already, NotFound, Conflict while another one is pending.
    """
    row = standing.lock_open(tx, account)
    if accounts.get_user(tx.conn, account, user) is None:
        raise NotFound(f"account {account} has no user {user!r:.70}", field="user")
    current = get_cap(tx.conn, account, user)
    cap.check_increase(nanos, current, user, "requestedLimit")
    _check_reason(reason)
    pending = limit_requests.list_of(tx.conn, account, user, PENDING)
    if pending:
        raise Conflict(f"user {user} has asked already ({pending[0].id}); that request waits for an admin")
    id_ = tx.new_id("ulir")
    limit_requests.insert(
        tx.conn, account=account, id=id_, user=user, requested=nanos, reason=reason, created_at=tx.now
    )
    letter = letters.increase_asked(account, user, nanos, 0 if current is None else current.nanos, reason)
    for n, address in enumerate(_deciders(tx.conn, row, user)):
        outbox.write_mail(tx, account, INCREASE_ASKED, f"{id_}/asked/{n}", address, letter)
    return id_


def approve(tx: Tx, account: str, id_: str, nanos: int | None, by: str) -> None:
    """Give the user a limit of its own, of so much or as much as was asked for, in force at once; never a lower one.

    `by` is the user who decides, "" for the operator. Raises NotFound, Conflict for one that was decided before,
    Invalid for no more than the user may spend already.
    """
    row = _lock_pending(tx, account, id_)
    amount = row.requested if nanos is None else nanos
    cap.check_increase(amount, get_cap(tx.conn, account, row.user), row.user, "limit")
    groups = _member_of(tx.conn, account, row.user)
    usage_limits.set_user(tx, account, row.user, override=amount, groups=groups, keep_override=False)
    _decide(tx, row, APPROVED, by, approved=amount)


def reject(tx: Tx, account: str, id_: str, answer: str, by: str) -> None:
    """Leave the user's limit as it is. Raises NotFound, Conflict for one that was decided before, Invalid."""
    row = _lock_pending(tx, account, id_)
    _check_reason(answer)
    _decide(tx, row, REJECTED, by, answer=answer)


def _deciders(conn: Connection, account: Row, asker: str) -> list[str]:
    """The account's own address and those of its admins but the asker, each once."""
    found = {lower(account.email): account.email}
    for row in accounts.list_admins(conn, account.id):
        if row.id != asker:
            found.setdefault(row.email, row.email)
    return list(found.values())


def _lock_pending(tx: Tx, account: str, id_: str) -> Row:
    standing.lock(tx, account)
    row = require(tx.conn, account, id_)
    if row.state != PENDING:
        raise Conflict(f"request {id_} is {row.state.lower()} already", code="FAILED_PRECONDITION")
    return row


def _decide(tx: Tx, row: Row, state: str, by: str, *, approved: int | None = None, answer: str = "") -> None:
    limit_requests.decide(
        *(tx.conn, row.account, row.id),
        state=state,
        decided_at=tx.now,
        decided_by=by,
        approved=approved,
        answer=answer,
    )
    user, account = accounts.get_user(tx.conn, row.account, row.user), accounts.get_account(tx.conn, row.account)
    to = user.email if user is not None and user.email else account.email if account is not None else ""
    letter = letters.increase_decided(row.account, row.user, row.requested, approved, answer)
    outbox.write_mail(tx, row.account, INCREASE_DECIDED, f"{row.id}/decided", to, letter)


def _member_of(conn: Connection, account: str, user: str) -> list[str]:
    row = accounts.get_user(conn, account, user)
    return [] if row is None else row.member_of.split()


def _check_reason(text: str) -> None:
    if len(text) > LONGEST_REASON or not text.isprintable():
        raise Invalid(f"a reason is one line of at most {LONGEST_REASON} characters", field="reason")
