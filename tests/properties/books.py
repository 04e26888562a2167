"""Random histories, the first part: accounts and money, and how product and reference model are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from typing import Any

from purser.core.budget import DAILY, PERIODS, Budget
from purser.core.errors import Conflict, Insufficient, Invalid, PurserError
from purser.core.limits import MODES, POSTPAID
from purser.core.period import parse_instant
from purser.core.policy import Policy
from purser.core.standing import BLOCKED
from purser.flows import accounts, credits, payments, pricing
from purser.flows.metering import Reported
from purser.store import payments as payment_rows
from purser.store.usage import Event
from tests import databases
from tests.properties.chance import FLAG, among, between, either, several, step
from tests.properties.figures import differences
from tests.properties.reference import (
    BOUGHT,
    CACHED,
    CENT,
    DAY,
    DEPLETION,
    GIFT,
    INPUT,
    NEVER,
    OUTPUT,
    USD,
    Account,
    Rates,
    window_of,
)
from tests.properties.till import Shop
from tests.properties.world import World
from tests.stories.checks import check_books, check_line
from tests.stories.scene import EXACT

BEGINS_AT = parse_instant("2026-03-30T09:00:00Z")
GATEWAYS = ("g1", "g2", "g3")
NAMES = ("ada", "bob")
TINY = "tiny"
TOLD_EVERY = 4  # steps

EDGES = (1, 99_999, 100_000, 100_001, 999_999, 1_000_000, CENT - 1, CENT, USD // 2, USD, 50 * USD)
AMOUNT = either(among(*EDGES), between(1, 60 * USD))
PICK = between(0, 7)
NAME, GATEWAY = among(*NAMES), among(*GATEWAYS)
SPAN = either(among(0, 1, DAY // 24, DAY, 2 * DAY, 9 * DAY), between(0, 3 * DAY))
WAYS = ("by hand", "with a card", "with money received")
BEGINNING = {
    "lease": among(1, USD, 100 * USD),
    "mode": among(POSTPAID, *MODES),
    "credit": among(USD, 20 * USD),
    "cards": several(FLAG, 0, 2),
    "used": either(among(1, 3 * USD, 30 * USD), AMOUNT),
}


def rates_of(price: dict[str, str]) -> Rates:
    """What one token of each unit costs; a cached one half of any other."""
    given, made = Fraction(price["input"]) * 1000, Fraction(price["output"]) * 1000
    return {INPUT: given, CACHED: given / 2, OUTPUT: made}


class Books:
    """One database, three gateways, up to two accounts, and the same in the reference model."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()  # situations that it has met
        self.exits = ExitStack()
        self.exits.enter_context(databases.dropped_afterwards())
        self.scene = Shop()
        self.exits.callback(self.scene.close)

    def begin(self, lease: int, mode: str, credit: int, cards: list[bool], used: int) -> None:
        self.scene.policy = Policy(lease_nanos=lease)
        self.scene.begin(BEGINS_AT)
        for name in GATEWAYS:
            self.scene.use_gateway(name)
        self.model = World(BEGINS_AT, "2026-02")
        self.steps = self.count = 0
        self.named: set[str] = set()  # since the last look
        self.events: list[Event] = []  # those that were settled
        self.rates: dict[str, Rates] = {}  # of each request as it began
        self.reports: list[Reported] = []  # those that were billed
        self.model.prices.append((EXACT, BEGINS_AT, rates_of({"input": "0", "output": "0.001"})))
        self.publish({"input": "20", "output": "80"}, 0)
        self.open("ada", mode, credit)
        for pays in cards:
            self.card("ada", pays)
        self.tell([Reported("ada", "api", "u0", EXACT, {OUTPUT: used}, BEGINS_AT)])

    def end_all(self) -> None:
        """Every invariant holds, also once what ran is void and every lease is back; and so do all figures."""
        broken = check_books(self.scene)
        self.scene.end()
        self.model.void_all()
        broken += check_books(self.scene)
        assert not broken, "\n".join(broken)
        self.look(self.model.accounts, told=True)
        self.seen.update(self.model.situations())

    def close(self) -> None:
        """Remove the database."""
        self.exits.close()

    def compare(self) -> None:
        """A second later, every account that was named meanwhile; all of them where time went by."""
        self.steps += 1
        self.look(self.named, told=self.steps % TOLD_EVERY == 0)
        self.named = set()

    def look(self, names: Iterable[str], *, told: bool) -> None:
        """Compare these accounts; now and then also what customers are told, and what gateways have in memory."""
        self.scene.beat()
        self.model.beat()
        for name in names:
            causes = self.model.accounts[name].causes(self.model.month)
            self.seen.update(f"suspended: {cause}" for cause in causes)
        with self.scene.db.read() as conn:
            found = [line for name in names for line in differences(self.scene, conn, self.model, name, told=told)]
        found += check_line(self.scene) if told else []
        assert not found, "\n".join(found)

    def unpaid(self) -> list[tuple[str, int]]:
        """Invoices on which something is to be paid: whose, and which of theirs."""
        accounts = self.model.accounts.items()
        return [(name, n) for name, account in accounts for n, one in enumerate(account.invoices) if one.rest]

    def fails(self, work: Callable[[], object], *kinds: type[PurserError]) -> bool:
        """Whether it is refused in one of these ways."""
        try:
            work()
        except kinds:
            return True
        return False

    def write(self, work: Callable[[Any], object], *kinds: type[PurserError]) -> bool:
        """One transaction; answers whether it was done rather than refused."""
        return not self.fails(lambda: self.scene.write(work), *kinds)

    def account(self, name: str) -> tuple[str, Account]:
        """The account of that name, or the one there is."""
        name = name if name in self.model.accounts else NAMES[0]
        self.named.add(name)
        return name, self.model.accounts[name]

    def publish(self, price: dict[str, str], wait: int) -> None:
        """Prices of TINY, in force after a while."""
        at = self.model.now + wait
        self.scene.write(lambda tx: pricing.publish(tx, {TINY: price}, at))
        self.model.prices.append((TINY, at, rates_of(price)))

    def tell(self, events: list[Reported]) -> None:
        """Usage after the fact, in one commit: billed, or known, or known with another body."""
        named = [replace(event, account=self.account(event.account)[0]) for event in events]
        expected = [
            self.model.report(self.model.accounts[one.account], one.id, one.model, one.quantities, one.occurred_at or 0)
            for one in named
        ]
        assert self.scene.report(named) == expected
        self.reports += [one for one, new in zip(named, expected, strict=True) if new]
        self.seen["usage was reported again with another body"] += None in expected
        self.seen["usage was reported again"] += False in expected

    # ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────
    @step(ready=lambda books: len(books.model.accounts) < len(NAMES), name=NAME, mode=among(*MODES), credit=AMOUNT)
    def open(self, name: str, mode: str, credit: int) -> None:
        done = self.write(
            lambda tx: accounts.open_account(
                tx, name, f"{name}@example.com", billing_mode=mode, signup_credit_nanos=credit
            ),
            Conflict,
        )
        assert done == (name not in self.model.accounts)
        if done:
            self.scene.accounts.append(name)
            self.scene.make_key(name)
            self.named.add(name)
            self.model.accounts[name] = Account(mode)
            self.model.accounts[name].give(credit, GIFT)

    @step(name=NAME, dollars=either(among(None, 0, 1, 49, 50, 51, 500, 501), between(0, 60)))
    def limit(self, name: str, dollars: int | None) -> None:
        """A limit of so much, or not much more than was spent."""
        name, account = self.account(name)
        dollars = account.spent[self.model.month] // USD + 1 if dollars is None else dollars
        most = None if account.mode == "prepaid" else account.tier_limit
        done = self.write(lambda tx: accounts.set_limit(tx, name, str(dollars)), Invalid)
        assert done == (most is None or dollars * USD <= most)
        if done:
            account.cap = dollars * USD
        self.seen["a limit above the tier was refused"] += not done

    @step(weight=3, name=NAME, amount=either(among(None, CENT, USD), AMOUNT), period=among(None, None, *PERIODS))
    def budget(self, name: str, amount: int | None, period: str | None) -> None:
        """Give the account's key a budget, or take it away; left alone where requests run that would not count."""
        name, account = self.account(name)
        period = period or (account.budget[1] if account.budget else DAILY)
        new = None if amount is None else (amount, period)
        running = {account.keyed[id_][1] for id_ in account.holds if id_ in account.keyed}
        if new is None or running <= {window_of(period, self.model.now)}:
            self.scene.set_budget(name, new and Budget(*new))
            account.budget = new
            self.seen["a budget changed with requests running"] += bool(running)

    @step(weight=1, name=NAME, on=FLAG)
    def unlimited(self, name: str, on: bool) -> None:
        name, account = self.account(name)
        self.write(lambda tx: accounts.set_unlimited(tx, name, on))
        account.unlimited = on

    @step(weight=1, name=NAME, on=among(False, False, True))
    def block(self, name: str, on: bool) -> None:
        name, account = self.account(name)
        if on:
            self.write(lambda tx: accounts.suspend(tx, name, BLOCKED, "spam"))
        else:
            assert self.write(lambda tx: accounts.reinstate(tx, name), Conflict) == account.blocked
        account.blocked = on

    def suspended(self) -> list[str]:
        """The accounts that are."""
        return [name for name, account in self.model.accounts.items() if account.causes(self.model.month)]

    @step(weight=6, ready=lambda books: books.suspended(), pick=PICK)
    def rescue(self, pick: int) -> None:
        """A suspended account can go on, so that more happens to it."""
        names = self.suspended()
        name = names[pick % len(names)]
        account = self.model.accounts[name]
        if account.blocked:
            self.block(name, False)
        elif account.needs_credit and account.credit < DEPLETION:
            self.grant(name, 5 * USD - account.credit, BOUGHT, None)
        elif account.limit is not None and account.limit - account.spent[self.model.month] < DEPLETION:
            self.unlimited(name, True)
            self.limit(name, account.spent[self.model.month] // USD + 2)
        else:
            self.card(name, True)

    # ── money ────────────────────────────────────────────────────────────────────────────────────────────────────
    @step(name=NAME, amount=AMOUNT, kind=among(GIFT, BOUGHT), lasts=either(among(None), SPAN))
    def grant(self, name: str, amount: int, kind: str, lasts: int | None) -> None:
        name, account = self.account(name)
        at = None if lasts is None else self.model.now + lasts + 1
        self.write(lambda tx: credits.give_credit(tx, name, amount, kind=kind, expires_at=at))
        account.give(amount, kind, NEVER if at is None else at)

    @step(name=NAME, cents=between(100, 60_000))
    def buy(self, name: str, cents: int) -> None:
        name, account = self.account(name)
        refused = self.fails(lambda: self.scene.worker.buy_credit(name, cents * CENT), Conflict, Insufficient)
        assert refused == (not account.cards or not account.cards[-1])
        if not refused:
            account.give(cents * CENT, BOUGHT)
        self.seen["a purchase was declined"] += refused and bool(account.cards)

    @step(name=NAME, pays=FLAG)
    def card(self, name: str, pays: bool) -> None:
        name, account = self.account(name)
        self.scene.worker.add_method(name, "pm_card_visa" if pays else "pm_card_chargeCustomerFail")
        account.cards.append(pays)
        for invoice in account.invoices:
            if invoice.failed and invoice.rest:
                invoice.again = self.model.now
                self.seen["a new card was charged for an old invoice"] += 1
        self.model.charge_due(account)

    @step(weight=1, name=NAME, pick=PICK)
    def uncard(self, name: str, pick: int) -> None:
        name, account = self.account(name)
        if account.cards:
            with self.scene.db.read() as conn:
                methods = [row.id for row in payment_rows.list_methods(conn, name)][::-1]
            place = pick % len(methods)
            self.write(lambda tx: payments.remove_method(tx, name, methods[place]))
            account.draw()
            del account.cards[place]
            self.seen["the last card was removed"] += not account.cards

    @step(name=NAME, pick=PICK)
    def pay(self, name: str, pick: int) -> None:
        name, account = self.account(name)
        if account.invoices:
            chosen = account.invoices[pick % len(account.invoices)]
            number = f"{name.upper()}-{chosen.number:04}"
            worker = self.scene.worker
            refused = self.fails(lambda: worker.pay_invoice(name, number), Conflict, Insufficient)
            if not chosen.rest or not account.cards:
                assert refused
            else:
                assert refused == account.try_charge(chosen, self.model.now)
                self.seen["an invoice was paid by hand"] += not refused

    @step(weight=6, ready=lambda books: books.unpaid(), pick=PICK, way=among(*WAYS), short=among(0, 30, 30))
    def catch_up(self, pick: int, way: str, short: int) -> None:
        """An invoice is paid, or is with a new card or by a purchase, if not all of it."""
        unpaid = self.unpaid()
        name, number = unpaid[pick % len(unpaid)]
        if way == "by hand":
            account = self.model.accounts[name]
            if account.mode == "contract":
                self.card(name, True)
            elif account.cards and not account.cards[-1]:
                self.uncard(name, len(account.cards) - 1)
            self.pay(name, number)
        elif way == "with a card":
            self.card(name, True)
        else:
            cents = self.model.accounts[name].invoices[number].rest // CENT - short
            self.grant(name, max(1, cents) * CENT, BOUGHT, None)
