"""Random histories, the first part: accounts and money, and how product and reference model are compared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from fractions import Fraction
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from purser.core.errors import Conflict, Insufficient, Invalid, PurserError
from purser.core.limits import MODES
from purser.core.period import parse_instant
from purser.core.standing import BLOCKED
from purser.flows import accounts, credits, payments, pricing
from purser.flows.metering import Reported
from purser.store import payments as payment_rows
from purser.store.usage import Event
from tests.properties.figures import differences
from tests.properties.reference import BOUGHT, CACHED, CENT, DAY, GIFT, INPUT, NEVER, OUTPUT, USD, Account, Rates
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
AMOUNT = st.sampled_from(EDGES) | st.integers(1, 60 * USD)
PICK = st.integers(0, 7)
NAME, GATEWAY = st.sampled_from(NAMES), st.sampled_from(GATEWAYS)
SPAN = st.sampled_from((0, 1, DAY // 24, DAY, 2 * DAY, 9 * DAY)) | st.integers(0, 3 * DAY)


def rates_of(price: dict[str, str]) -> Rates:
    """What one token of each unit costs; a cached one half of any other."""
    given, made = Fraction(price["input"]) * 1000, Fraction(price["output"]) * 1000
    return {INPUT: given, CACHED: given / 2, OUTPUT: made}


class Books(RuleBasedStateMachine):
    """One database, three gateways, up to two accounts, and the same in the reference model."""

    seen: ClassVar[Counter[str]] = Counter()  # situations that histories have met

    @initialize(
        lease=st.sampled_from((1, USD, 100 * USD)),
        mode=st.sampled_from(MODES),
        credit=st.sampled_from((USD, 20 * USD)),
        cards=st.lists(st.booleans(), max_size=2),
        used=st.sampled_from((1, 3 * USD, 30 * USD)) | AMOUNT,
    )
    def begin(self, lease: int, mode: str, credit: int, cards: list[bool], used: int) -> None:
        self.scene = Shop("history", None, lease_nanos=lease)
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

    def teardown(self) -> None:
        """Every invariant holds, also once what ran is void and every lease is back; and so do all figures."""
        try:
            broken = check_books(self.scene)
            self.scene.end()
            self.model.void_all()
            broken += check_books(self.scene)
            assert not broken, "\n".join(broken)
            self.look(self.model.accounts, told=True)
            self.seen.update(self.model.situations())
        finally:
            self.scene.close()

    @invariant()
    def the_product_and_the_model_agree(self) -> None:
        """A second later, of every account that was named meanwhile; of all of them where time went by."""
        self.steps += 1
        self.look(self.named, told=self.steps % TOLD_EVERY == 0)
        self.named = set()

    def look(self, names: Iterable[str], *, told: bool) -> None:
        """Compare these accounts; now and then also what customers are told, and what gateways have in memory."""
        self.scene.beat()
        self.model.beat()
        with self.scene.db.read() as conn:
            found = [line for name in names for line in differences(self.scene, conn, self.model, name, told=told)]
        found += check_line(self.scene) if told else []
        assert not found, "\n".join(found)

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
    @rule(name=NAME, mode=st.sampled_from(MODES), credit=AMOUNT)
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
            self.named.add(name)
            self.model.accounts[name] = Account(mode)
            self.model.accounts[name].give(credit, GIFT)

    @rule(name=NAME, dollars=st.sampled_from((0, 1, 49, 50, 51, 500, 501)) | st.integers(0, 60))
    def limit(self, name: str, dollars: int) -> None:
        name, account = self.account(name)
        most = None if account.mode == "prepaid" else account.tier_limit
        done = self.write(lambda tx: accounts.set_limit(tx, name, str(dollars)), Invalid)
        assert done == (most is None or dollars * USD <= most)
        if done:
            account.cap = dollars * USD
        self.seen["a limit above the tier was refused"] += not done

    @rule(name=NAME, on=st.booleans())
    def unlimited(self, name: str, on: bool) -> None:
        name, account = self.account(name)
        self.write(lambda tx: accounts.set_unlimited(tx, name, on))
        account.unlimited = on

    @rule(name=NAME, on=st.sampled_from((False, False, True)))
    def block(self, name: str, on: bool) -> None:
        name, account = self.account(name)
        if on:
            self.write(lambda tx: accounts.suspend(tx, name, BLOCKED, "spam"))
        else:
            assert self.write(lambda tx: accounts.reinstate(tx, name), Conflict) == account.blocked
        account.blocked = on

    # ── money ────────────────────────────────────────────────────────────────────────────────────────────────────
    @rule(name=NAME, amount=AMOUNT, kind=st.sampled_from((GIFT, BOUGHT)), lasts=st.none() | SPAN.map(lambda n: n + 1))
    def grant(self, name: str, amount: int, kind: str, lasts: int | None) -> None:
        name, account = self.account(name)
        at = None if lasts is None else self.model.now + lasts
        self.write(lambda tx: credits.give_credit(tx, name, amount, kind=kind, expires_at=at))
        account.give(amount, kind, NEVER if at is None else at)

    @rule(name=NAME, cents=st.integers(100, 60_000))
    def buy(self, name: str, cents: int) -> None:
        name, account = self.account(name)
        refused = self.fails(lambda: self.scene.worker.buy_credit(name, cents * CENT), Conflict, Insufficient)
        assert refused == (not account.cards or not account.cards[-1])
        if not refused:
            account.give(cents * CENT, BOUGHT)
        self.seen["a purchase was declined"] += refused and bool(account.cards)

    @rule(name=NAME, pays=st.booleans())
    def card(self, name: str, pays: bool) -> None:
        name, account = self.account(name)
        self.scene.worker.add_method(name, "pm_card_visa" if pays else "pm_card_chargeCustomerFail")
        account.cards.append(pays)
        for invoice in account.invoices:
            if invoice.failed and invoice.rest:
                invoice.again = self.model.now
                self.seen["a new card was charged for an old invoice"] += 1
        self.model.charge_due(account)

    @rule(name=NAME, pick=PICK)
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

    @rule(name=NAME, pick=PICK)
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
