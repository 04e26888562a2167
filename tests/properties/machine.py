"""Random histories: whatever customers, operators, gateways and the calendar do, the product and the model agree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from msgspec.structs import replace

from purser.core.errors import Conflict, Insufficient, Invalid, PurserError
from purser.core.money import format_usd
from purser.core.period import parse_instant
from purser.core.standing import BLOCKED
from purser.flows import accounts, credits, payments, pricing
from purser.flows.metering import Reported
from purser.store import payments as payment_rows
from purser.store.usage import Event
from tests.properties.figures import differences
from tests.properties.reference import (
    BOUGHT,
    CACHED,
    CENT,
    DAY,
    GIFT,
    INPUT,
    NEVER,
    OUTPUT,
    USD,
    Account,
    Rates,
    hold_of,
)
from tests.properties.till import Counter
from tests.properties.world import World, end_of, month_of
from tests.stories.checks import check_books, check_line
from tests.stories.gateways import Request, measure
from tests.stories.scene import EXACT

BEGINS_AT = parse_instant("2026-03-30T09:00:00Z")
GATEWAYS = ("g1", "g2", "g3")
NAMES = ("ada", "bob")
TINY = "tiny"
TOLD_EVERY = 4  # steps

EDGES = (1, 2, 99_999, 100_000, 100_001, 999_999, 1_000_000, CENT - 1, CENT, USD // 2, USD, 50 * USD)
AMOUNT = st.sampled_from(EDGES) | st.integers(1, 60 * USD)
CENTS = st.integers(100, 60_000)
PICK = st.integers(0, 7)
NAME, GATEWAY = st.sampled_from(NAMES), st.sampled_from(GATEWAYS)
TOKENS = st.sampled_from((0, 1, 3)) | st.integers(0, 40_000)
SPAN = st.sampled_from((0, 1, DAY // 24, DAY, 2 * DAY, 9 * DAY, 33 * DAY)) | st.integers(0, 3 * DAY)
PRICE = st.sampled_from(("0", "0.05", "0.333333333", "20", "999.99")) | st.integers(0, 10**13).map(format_usd)


def rates_of(price: dict[str, str]) -> Rates:
    """What one token of each unit costs; a cached one half of any other."""
    given, made = Fraction(price["input"]) * 1000, Fraction(price["output"]) * 1000
    return {INPUT: given, CACHED: given / 2, OUTPUT: made}


class History(RuleBasedStateMachine):
    """One database, three gateways, two accounts, and the same in the reference model."""

    @initialize(lease=st.sampled_from((1, USD, 100 * USD)), mode=st.sampled_from(("postpaid", "prepaid", "contract")))
    def begin(self, lease: int, mode: str) -> None:
        self.scene = Counter("history", None, lease_nanos=lease)
        self.scene.begin(BEGINS_AT)
        for name in GATEWAYS:
            self.scene.use_gateway(name)
        self.model = World(BEGINS_AT, "2026-02")
        self.steps = self.count = 0
        self.named: set[str] = set()  # since the last look
        self.events: list[Event] = []  # those that were settled
        self.rates: dict[str, Rates] = {}  # of each request as it began
        self.model.prices.append((EXACT, BEGINS_AT, rates_of({"input": "0", "output": "0.001"})))
        self.publish({"input": "20", "output": "80"}, 0)
        self.open("ada", mode, USD)

    def teardown(self) -> None:
        """Every invariant holds, also once what ran is void and every lease is back; and so do all figures."""
        try:
            broken = check_books(self.scene)
            self.scene.end()
            self.model.void_all()
            broken += check_books(self.scene)
            assert not broken, "\n".join(broken)
            self.look(self.model.accounts, told=True)
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

    # ── accounts ─────────────────────────────────────────────────────────────────────────────────────────────────
    @rule(name=NAME, mode=st.sampled_from(("postpaid", "prepaid", "contract")), credit=AMOUNT)
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

    @rule(name=NAME, on=st.booleans())
    def unlimited(self, name: str, on: bool) -> None:
        name, account = self.account(name)
        self.write(lambda tx: accounts.set_unlimited(tx, name, on))
        account.unlimited = on

    @rule(name=NAME, on=st.booleans())
    def block(self, name: str, on: bool) -> None:
        name, account = self.account(name)
        if on:
            self.write(lambda tx: accounts.suspend(tx, name, BLOCKED, "spam"))
        else:
            assert self.write(lambda tx: accounts.reinstate(tx, name), Conflict) == account.blocked
        account.blocked = on

    # ── money ────────────────────────────────────────────────────────────────────────────────────────────────────
    @rule(
        name=NAME,
        amount=AMOUNT,
        kind=st.sampled_from((GIFT, BOUGHT)),
        lasts=st.none() | SPAN.map(lambda span: span + 1),
    )
    def grant(self, name: str, amount: int, kind: str, lasts: int | None) -> None:
        name, account = self.account(name)
        at = None if lasts is None else self.model.now + lasts
        self.write(lambda tx: credits.give_credit(tx, name, amount, kind=kind, expires_at=at))
        account.give(amount, kind, NEVER if at is None else at)

    @rule(name=NAME, cents=CENTS)
    def buy(self, name: str, cents: int) -> None:
        name, account = self.account(name)
        refused = self.fails(lambda: self.scene.worker.buy_credit(name, cents * CENT), Conflict, Insufficient)
        assert refused == (not account.cards or not account.cards[-1])
        if not refused:
            account.give(cents * CENT, BOUGHT)

    @rule(name=NAME, pays=st.booleans())
    def card(self, name: str, pays: bool) -> None:
        name, account = self.account(name)
        self.scene.worker.add_method(name, "pm_card_visa" if pays else "pm_card_chargeCustomerFail")
        account.cards.append(pays)
        for invoice in account.invoices:
            if invoice.failed and invoice.rest:
                invoice.again = self.model.now
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

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────
    @rule(name=NAME, gateway=GATEWAY, amount=AMOUNT, beside=st.none() | st.integers(-1, 1), share=st.integers(1, 3))
    def admit_exactly(self, name: str, gateway: str, amount: int, beside: int | None, share: int) -> None:
        """A request of so many nano-dollars, or of a part of what is left, or of one more or less than that."""
        name, account = self.account(name)
        rooms = account.rooms(self.model.month)
        if beside is not None and rooms:
            amount = max(1, min(rooms.values()) // share + beside)
        self._admit(name, account, gateway, EXACT, 0, amount)

    @rule(name=NAME, gateway=GATEWAY, given=TOKENS, made=TOKENS)
    def admit(self, name: str, gateway: str, given: int, made: int) -> None:
        name, account = self.account(name)
        self._admit(name, account, gateway, TINY, given, made)

    def _admit(self, name: str, account: Account, gateway: str, model: str, given: int, made: int) -> None:
        if account.causes(self.model.month):
            return  # refused before any money is looked at
        self.count += 1
        id_ = f"r{self.count}"
        beside = bool(self.scene.till(gateway).lessee.open_holds(name))
        rates = self.model.rates(model, self.model.now)
        amount = hold_of(rates, given, made)
        request = self.scene.admit(gateway, id_, name, model, given, made)
        assert (request is not None) == self.model.admit(account, id_, amount, beside)
        if request is not None:
            assert request.hold.amount == amount
            self.scene.requests[id_], self.rates[id_] = request, rates

    def running(self, pick: int) -> tuple[Request, list[Request]]:
        """A running request, and those of its gateway."""
        requests = list(self.scene.requests.values())
        chosen = requests[pick % len(requests)]
        return chosen, [one for one in requests if one.gateway is chosen.gateway]

    @precondition(lambda self: self.scene.requests)
    @rule(
        picks=st.lists(PICK, min_size=1, max_size=4),
        percent=st.sampled_from((0, 1, 50, 100, 120)),
        cached=PICK,
        again=st.none() | PICK,
    )
    def settle(self, picks: list[int], percent: int, cached: int, again: int | None) -> None:
        """Requests of one gateway end in one commit; the id of one is told again, of this commit or an earlier one."""
        first, own = self.running(picks[0])
        ending = list({id(one): one for one in (own[pick % len(own)] for pick in picks)}.values())
        events = [self.measure(one, percent, cached) for one in ending]
        known = [] if again is None else [(self.events + events)[again % (len(self.events) + len(events))]]
        known += [replace(event, quantities={OUTPUT: 7}, cost_nanos=event.cost_nanos // 2) for event in known]
        till = self.scene.till(self.name_of(first))
        assert till.post([*events, *known]) == [True] * len(events) + [False] * len(known)
        for one, event in zip(ending, events, strict=True):
            id_ = one.hold.id
            till.lessee.settled(one.hold, event.cost_nanos, self.model.now)
            _, account = self.account(one.hold.account)
            cost = self.model.settle(account, id_, event.model, self.rates[id_], event.quantities)
            assert cost == event.cost_nanos
            del self.scene.requests[id_]
        self.events += events

    def name_of(self, request: Request) -> str:
        """The name of a request's gateway."""
        return next(name for name, gateway in self.scene.gateways.items() if gateway is request.gateway)

    def measure(self, request: Request, percent: int, cached: int) -> Event:
        """What a request used: so much of what it asked for."""
        given, made = request.ask.input_tokens * percent // 100, request.ask.cap * percent // 100
        return measure(request, given, given * cached // 7, made)[1]

    @precondition(lambda self: self.scene.requests)
    @rule(pick=PICK)
    def void(self, pick: int) -> None:
        request, _ = self.running(pick)
        request.gateway.lessee.void(request.hold, self.model.now)
        del self.scene.requests[request.hold.id]
        del self.account(request.hold.account)[1].holds[request.hold.id]

    @rule(
        name=NAME,
        reports=st.lists(st.tuples(st.integers(0, 20), TOKENS, TOKENS, SPAN), min_size=1, max_size=3),
        exact=st.none() | AMOUNT,
    )
    def report(self, name: str, reports: list[tuple[int, int, int, int]], exact: int | None) -> None:
        """Usage after the fact, some of it long ago; the ids are few, so that many are known already."""
        name, account = self.account(name)
        events, expected = [], []
        for n, given, made, ago in reports:
            model, used = (TINY, {INPUT: given, OUTPUT: made}) if exact is None else (EXACT, {OUTPUT: exact})
            used = {unit: number for unit, number in used.items() if number}
            at = self.model.now - ago
            events.append(Reported(name, "api", f"u{n}", model, used, at))
            expected.append(self.model.report(account, f"u{n}", model, used, at))
        assert self.scene.report(events) == expected

    # ── the operator and the calendar ────────────────────────────────────────────────────────────────────────────
    @rule(given=PRICE, made=PRICE, wait=SPAN)
    def price(self, given: str, made: str, wait: int) -> None:
        self.publish({"input": given, "output": made}, wait)

    def publish(self, price: dict[str, str], wait: int) -> None:
        """Prices of TINY, in force after a while."""
        at = self.model.now + wait
        self.scene.write(lambda tx: pricing.publish(tx, {TINY: price}, at))
        self.model.prices.append((TINY, at, rates_of(price)))

    @rule(span=SPAN)
    def wait(self, span: int) -> None:
        self.scene.move(self.model.now + span)
        self.model.advance(self.model.now + span)
        self.named.update(self.model.accounts)

    @rule(before=st.integers(-1, 1), back=st.integers(0, 2))
    def wait_for_the_month(self, before: int, back: int) -> None:
        """To the end of the month, or a microsecond before or after it."""
        self.wait(max(0, end_of(self.model.month) - before - self.model.now))

    @rule()
    def close_again(self) -> None:
        """A month that is closed is closed by command, too: nothing happens; one that goes on is refused."""
        closed = self.model.closed
        if closed >= month_of(BEGINS_AT):
            assert self.scene.worker.close_month(closed) == []
        assert self.fails(lambda: self.scene.worker.close_month(self.model.month), Conflict)

    # ── gateways ─────────────────────────────────────────────────────────────────────────────────────────────────
    @rule(gateway=GATEWAY)
    def return_all(self, gateway: str) -> None:
        self.scene.till(gateway).return_all()

    @rule(gateway=GATEWAY)
    def crash(self, gateway: str) -> None:
        """A process dies; what it held is void."""
        self.forget(gateway)
        self.scene.crash(gateway)

    @rule(gateway=GATEWAY, by=GATEWAY)
    def close_alive(self, gateway: str, by: str) -> None:
        """A gateway's writer is closed while it lives, and hears of it when it wants to settle."""
        if gateway != by:
            running = [one for one in self.scene.requests.values() if one.gateway is self.scene.gateways[gateway]]
            self.forget(gateway)
            told = self.scene.close_alive(gateway, by, [self.measure(one, 100, 0) for one in running])
            assert told == [None] * len(running)

    def forget(self, gateway: str) -> None:
        """What a gateway runs will not be billed."""
        for id_, request in list(self.scene.requests.items()):
            if request.gateway is self.scene.gateways[gateway]:
                del self.account(request.hold.account)[1].holds[id_]
