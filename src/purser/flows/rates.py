"""Requests per minute: which rate an account has, and how writers get and give back their shares of it (Q1)."""

from __future__ import annotations

from collections.abc import Sequence

from purser.core import ratelimit
from purser.core.policy import Policy
from purser.core.ratelimit import Given
from purser.flows import reports
from purser.store import rates
from purser.store.db import Connection
from purser.store.rates import Bucket, requests_of
from purser.store.writers import Tx


def requests_per_minute(conn: Connection, account: str, policy: Policy, now: int) -> int:
    """How many requests an account may send in a minute, as it stands (Q1); raises NotFound."""
    found = reports.view_account(conn, account, policy)
    verified = found.has_payment_method
    if verified and found.prepaid:
        verified = reports.balance(conn, account, policy, now).credit > 0
    return policy.requests_per_minute if verified else policy.requests_per_minute_unverified


def ask(tx: Tx, account: str) -> tuple[Given, int, bool]:
    """One more request than this writer's share allows: a larger share, or this one counted, or neither.

    Answers also the rate in force, and whether other writers have shares of it: falling short asks them to give back
    what they do not need. Raises NotFound.
    """
    bucket = requests_of(account)
    rate, now = rates.lock_rate(tx, bucket)
    most = requests_per_minute(tx.conn, account, tx.policy, tx.now)  # as it is behind that lock
    given = ratelimit.ask(rate, most, now, rate.share_of(tx.writer))
    if given.counted:
        rates.put_seen(tx.conn, bucket, (*rate.seen, now))
    elif given.share:
        rates.add_share(tx.conn, bucket, tx.writer, given.share)
    others = rate.is_shared_with(tx.writer)
    if others and not given.admitted:
        rates.set_wanted(tx.conn, bucket, tx.now)
    return given, most, others


def give_back(tx: Tx, returns: Sequence[tuple[Bucket, int]]) -> None:
    """Give back of this writer's shares what it has not used for a minute."""
    rates.give_back(tx.conn, tx.writer, returns)


def get_counted(conn: Connection, account: str, monotonic: int) -> int:
    """How many of an account's requests of the last minute the store has counted itself."""
    return len(rates.get_rate(conn, requests_of(account), monotonic).seen)
