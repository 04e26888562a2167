"""Small books: a writer, prices, and accounts that have used something."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

from purser.core.period import parse_instant
from purser.core.policy import Policy
from purser.flows import accounts, audit, metering, setup
from purser.flows.metering import Reported
from purser.flows.payments import Card
from purser.store.writers import Tx, Writer
from tests import databases

VISA = Card("pm_card_visa", "visa", "4242", 12, 2034, "fp")
USD = 10**9


class World:
    """A clock that stands still, and seeded chance."""

    def __init__(self) -> None:
        self.at = parse_instant("2026-03-01T09:00:00Z")
        self._chance = random.Random(7)

    def now(self) -> int:
        return self.at

    def wall(self) -> int:
        return self.at

    def entropy(self, bits: int) -> int:
        return self._chance.getrandbits(bits)


@contextmanager
def open_books(policy: Policy | None = None, *, audited: bool = True) -> Iterator[tuple[Writer, World]]:
    """Books with a model `tiny` at one dollar a token in and out; at the end every invariant is checked."""
    db, world = databases.with_tables(), World()
    writer = Writer(db, world, policy or Policy(), host="here", pid=1)
    writer.run(lambda tx: setup.prepare(tx, {"tiny": {"input": "1000000.00", "output": "1000000.00"}}, None))
    yield writer, world
    with db.read() as conn:
        found = audit.audit(conn).violations if audited else []
    writer.close()
    db.dispose()
    assert not found, found


def open_account(tx: Tx, account: str, mode: str = "postpaid", credit: int = 0) -> None:
    """An account with so much sign-up credit."""
    accounts.open_account(tx, account, f"{account}@example.com", billing_mode=mode, signup_credit_nanos=credit)


def use(tx: Tx, account: str, dollars: int, id_: str = "u1") -> None:
    """Usage after the fact for so many dollars."""
    metering.record(tx, Reported(account, "api", id_, "tiny", {"input_tokens": dollars}))
