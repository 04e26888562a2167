"""The cast: the accounts, models, prices and rules that every run begins with."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from purser.core.budget import DAILY, MONTHLY, TOTAL, WEEKLY, Budget
from purser.core.limits import CONTRACT, POSTPAID, PREPAID
from purser.core.money import NANOS_PER_USD
from purser.core.period import DAY, parse_instant
from purser.core.policy import Policy
from purser.flows import access, accounts, budgets, credits, payments, setup
from purser.flows.payments import Card
from purser.store.db import Database
from purser.store.writers import Writer

OPENED_AT = parse_instant("2026-03-01T00:00:00Z")
MONTH_ENDS_AT = parse_instant("2026-04-01T00:00:00Z")
TINY, BIG = "tiny", "big"
PRICE_USD = {TINY: (1, 2), BIG: (100, 400)}  # per million tokens of input and of output
PRICES = {model: {"input": f"{in_}.00", "output": f"{out}.00"} for model, (in_, out) in PRICE_USD.items()}
CONTEXT_TOKENS, MOST_OUTPUT = 8_192, 512
MILLI = NANOS_PER_USD // 1_000
POLICY = Policy(
    signup_credit_nanos=0,
    slice_tokens=96,
    lease_nanos=4_000_000,
    requests_per_minute=100_000,
    requests_per_minute_unverified=100_000,
)


@dataclass(frozen=True, slots=True)
class Role:
    """An account as it begins: its billing mode, what limits it, and the model that makes it come near its limits.

    Its second key has a budget.
    """

    account: str
    mode: str
    credit_nanos: int
    limit_usd: int | None
    card: bool
    model: str
    budget: Budget


ROLES = (
    Role("hot", PREPAID, 12 * MILLI, None, False, TINY, Budget(3 * MILLI, DAILY)),
    Role("ada", POSTPAID, 20 * MILLI, None, False, TINY, Budget(2 * MILLI, TOTAL)),
    Role("bob", POSTPAID, 0, 1, True, BIG, Budget(300 * MILLI, MONTHLY)),
    Role("cyd", PREPAID, 1_400 * MILLI, 1, False, BIG, Budget(200 * MILLI, WEEKLY)),
    Role("acme", CONTRACT, 0, None, False, TINY, Budget(1 * MILLI, DAILY)),
    Role("demo", POSTPAID, 6 * MILLI, None, True, TINY, Budget(2 * MILLI, DAILY)),
)
BUDGETS = {role.account: role.budget for role in ROLES}
MODELS_BY_ACCOUNT = {role.account: role.model for role in ROLES}


class _Opening:
    """The clock and chance with which the books are opened."""

    def __init__(self) -> None:
        self._drawn = 0

    def now(self) -> int:
        return OPENED_AT

    def wall(self) -> int:
        return OPENED_AT

    def entropy(self, bits: int) -> int:
        self._drawn += 1
        return (self._drawn * 0x9E3779B97F4A7C15F39CC0605CEDC835) % (1 << bits)


@dataclass(frozen=True, slots=True)
class Keys:
    """An account's API keys: one without a budget, and one with; of this one also the id."""

    plain: str
    budgeted: str
    budgeted_id: str


def open_books(db: Database) -> dict[str, Keys]:
    """Fill empty tables with what every run begins with; answers each account's API keys."""
    writer = Writer(db, _Opening(), POLICY, host="opening", pid=1)
    writer.run(lambda tx: setup.prepare(tx, PRICES, None))
    keys = {}
    for role in ROLES:
        opened = writer.run(
            partial(
                accounts.open_account,
                account=role.account,
                email=f"{role.account}@example.com",
                billing_mode=role.mode,
                signup_credit_nanos=role.credit_nanos,
            )
        )
        limited = writer.run(partial(access.create_key, account=role.account, user="owner"))
        writer.run(partial(budgets.set_budget, account=role.account, key=limited.id, budget=role.budget))
        keys[role.account] = Keys(opened.secret, limited.secret, limited.id)
        if role.card:
            card = Card("pm_card_visa", "visa", "4242", 12, 2034, f"test_{role.account}")
            writer.run(partial(payments.add_method, account=role.account, card=card, method=f"pm_{role.account}"))
        if role.limit_usd is not None:
            writer.run(partial(accounts.set_limit, account=role.account, value=role.limit_usd))
    # Credit that lapses while the run goes on: at the turn of the month, a day later, or with the night after.
    writer.run(partial(credits.give_credit, account="demo", amount=3 * MILLI, expires_at=MONTH_ENDS_AT))
    writer.run(partial(credits.give_credit, account="ada", amount=2 * MILLI, expires_at=MONTH_ENDS_AT + DAY))
    writer.close()
    return keys
