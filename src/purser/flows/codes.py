"""Credit codes: made by the operator, and redeemed by an account, once each, for promotional credit."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core import codes as rule
from purser.core.codes import CODE_BITS, Code
from purser.core.credits import CreditGrant
from purser.core.errors import Broken, Invalid, NotFound
from purser.core.ids import digest_key
from purser.core.period import HOUR, SECOND
from purser.flows import access, credits, standing
from purser.flows.people import TooOften
from purser.store import codes
from purser.store.writers import Tx

MOST_ATTEMPTS = 10  # of one account that fail, in an hour
_BEGINNING = 4  # characters by which a code is told from others


@dataclass(frozen=True, slots=True)
class Made:
    """A new code, which is shown this once."""

    id: str
    code: str


def make(
    tx: Tx,
    amount: int,
    *,
    redemptions: int = 1,
    expires_at: int | None = None,
    credit_days: int | None = None,
    display_name: str = "",
) -> Made:
    """A new code that gives so much credit to so many accounts; raises Invalid."""
    if len(display_name) > 64:
        raise Invalid("displayName must be at most 64 characters", field="displayName")
    code = Code(tx.new_id("code"), amount, redemptions, expires_at=expires_at, credit_days=credit_days)
    rule.check_code(code, tx.now)
    secret = rule.spell_code(tx.world.entropy(CODE_BITS))
    codes.insert_code(
        tx.conn,
        code,
        display_name=display_name,
        begins=secret[:_BEGINNING],
        digest=digest_key(rule.read_code(secret), access.pepper(tx.conn)),
        created_at=tx.now,
    )
    return Made(code.id, secret)


def end(tx: Tx, id_: str) -> None:
    """End a code: nobody redeems it any more, and what was redeemed stays. Raises NotFound."""
    if codes.get_code(tx.conn, id_) is None:
        raise NotFound(f"there is no credit code {id_!r:.60}", field="code")
    codes.end_code(tx.conn, id_, tx.now)


def redeem(tx: Tx, account: str, given: object) -> CreditGrant:
    """Redeem a code for an account, which gets promotional credit.

    Raises NotFound for one that is not known, Conflict for one that gives this account nothing, or where it is closed,
    and TooOften after many attempts that failed; whoever asks notes those with `note_failure`.
    """
    standing.lock_open(tx, account)
    wall = tx.world.wall()
    failed = codes.list_attempts(tx.conn, account, wall - HOUR, wall)  # none of a clock that was ahead
    if len(failed) >= MOST_ATTEMPTS:
        wait = max(1, -(-(failed[-MOST_ATTEMPTS] + HOUR - wall) // SECOND))
        many = f"{MOST_ATTEMPTS} credit codes of account {account} were refused within an hour"
        raise TooOften(f"{many}; try again in {-(-wait // 60)} min", wait)
    digest = digest_key(rule.read_code(given), access.pepper(tx.conn))
    found = codes.find_code(tx.conn, digest)
    before = found is not None and codes.get_redemption(tx.conn, account, found.id) is not None
    code = rule.check_offer(found, tx.now, before=before)
    if not codes.take(tx.conn, code.id):
        rule.check_offer(codes.find_code(tx.conn, digest), tx.now, before=False)  # another account was quicker
        raise Broken(f"code {code.id} can be redeemed, and cannot")
    expires_at = rule.credit_expires_at(code, tx.now)
    grant = credits.give_credit(tx, account, code.amount_nanos, expires_at=expires_at, source=code.id).grant
    if grant is None:
        raise Broken(f"code {code.id} gave no credit")
    codes.insert_redemption(tx.conn, account, code.id, grant.id, code.amount_nanos, tx.now)
    return grant


def note_failure(tx: Tx, account: str) -> None:
    """Note that a code was refused, so that nobody tries many."""
    standing.lock(tx, account)
    wall = tx.world.wall()
    codes.insert_attempt(tx.conn, account, tx.new_id("try"), wall, wall - HOUR)
