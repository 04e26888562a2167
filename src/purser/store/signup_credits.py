"""Sign-up credit that was not given at once, as rows, and the cards that had it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection
from purser.store.prepared import Prepared

AWAITING_CARD, AWAITING_REVIEW, GIVEN, DROPPED = "awaiting_card", "awaiting_review", "given", "dropped"
SOURCE = "sign-up"  # of its grants


def insert(conn: Connection, account: str, amount: int, state: str, at: int) -> None:
    """Credit that an account is not given when it is opened; `amount` in nano-dollars."""
    row = {"account": account, "amount": amount, "state": state, "at": at, "changed_at": at}
    seals.insert(conn, t.signup_credits, row)


@Prepared
def _AMOUNT(account: Any, state: Any) -> sa.Select[Any]:
    c = t.signup_credits.c
    return sa.select(c.amount).where(c.account == account, c.state == state)


def find(conn: Connection, account: str, state: str) -> int:
    """What credit of an account is in that state, nano-dollars; 0 where there is none."""
    return int(_AMOUNT.run(conn, account, state).scalar() or 0)


def change(conn: Connection, account: str, state: str, at: int) -> None:
    """It has come to another state."""
    seals.update(conn, t.signup_credits, t.signup_credits.c.account == account, state=state, changed_at=at)


@Prepared
def _GIVEN(account: Any) -> sa.Select[Any]:
    g = t.grants.c
    return sa.select(g.id).where(g.account == account, g.source == SOURCE).limit(1)


def had(conn: Connection, account: str) -> bool:
    """Whether an account was given its sign-up credit."""
    return bool(_GIVEN.run(conn, account))


def claim_card(conn: Connection, digest: str, account: str, at: int) -> str:
    """The account that a card counts for: this one, unless another has had sign-up credit with it before."""
    if seals.insert_once(conn, t.credited_cards, {"digest": digest, "account": account, "at": at}):
        return account
    c = t.credited_cards.c
    return str(conn.execute(sa.select(c.account).where(c.digest == digest)).scalar_one())
