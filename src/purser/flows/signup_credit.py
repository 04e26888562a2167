"""Sign-up credit by the configured rule: at sign-up or with the first card, once for each card; or when a person says.

Credit that was given is never taken back: a card that has had it before withholds what was not given yet, and else
shows the operator who shares it.
"""

from __future__ import annotations

from purser.core.ids import digest_key
from purser.core.policy import WITH_CARD
from purser.flows import access, credits
from purser.store import abuse, signup_credits
from purser.store.signup_credits import AWAITING_CARD, AWAITING_REVIEW, DROPPED, GIVEN, SOURCE
from purser.store.writers import Tx

SHARED_CARD = "SHARED_CARD"


def begin(tx: Tx, account: str, amount: int, *, review: bool = False, at_once: bool = False) -> str:
    """Give a new account its credit, nano-dollars, or note what it waits for: a card, or a `review`.

    `at_once` it waits for no card, whatever the configured rule. Answers the state of it, "" where there is none.
    """
    if not amount:
        return ""
    if review or (tx.policy.signup_credit_rule == WITH_CARD and not at_once):
        state = AWAITING_REVIEW if review else AWAITING_CARD
        signup_credits.insert(tx.conn, account, amount, state, tx.now)
        return state
    credits.give_credit(tx, account, amount, source=SOURCE)
    return GIVEN


def note_card(tx: Tx, account: str, fingerprint: str) -> None:
    """A card is on file: give the credit that waits for one, unless another account has had its own with it.

    `fingerprint` is the provider's name for the card, the same at every account; "" where the card is anybody's.
    """
    waits = signup_credits.find(tx.conn, account, AWAITING_CARD)
    if not waits and not signup_credits.had(tx.conn, account):
        return
    owner = account
    if fingerprint:
        digest = digest_key(f"card {fingerprint}", access.pepper(tx.conn)).hex()
        owner = signup_credits.claim_card(tx.conn, digest, account, tx.now)
    if owner != account:
        why = f"account {owner} has had its sign-up credit with the same card"
        abuse.raise_flag(tx.conn, account, SHARED_CARD, why, None, tx.now)
        if waits:
            signup_credits.change(tx.conn, account, AWAITING_REVIEW, tx.now)
    elif waits:
        _give(tx, account, waits)


def review(tx: Tx, account: str, *, grant: bool) -> int | None:
    """Give an account the credit that waits for a person, or never; answers what was given, None if none waits."""
    waits = signup_credits.find(tx.conn, account, AWAITING_REVIEW)
    if not waits:
        return None
    if not grant:
        signup_credits.change(tx.conn, account, DROPPED, tx.now)
        return 0
    _give(tx, account, waits)
    return waits


def _give(tx: Tx, account: str, amount: int) -> None:
    signup_credits.change(tx.conn, account, GIVEN, tx.now)
    credits.give_credit(tx, account, amount, source=SOURCE)
