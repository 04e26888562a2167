"""Random histories, the second part: requests at several gateways, usage after the fact, and the calendar."""

from __future__ import annotations

from dataclasses import replace

from msgspec.structs import replace as replace_struct

from purser.core.errors import Conflict
from purser.core.money import format_usd
from purser.flows.metering import Reported
from purser.store.usage import Event
from tests.properties.books import AMOUNT, BEGINS_AT, GATEWAY, NAME, PICK, SPAN, TINY, Books
from tests.properties.chance import FLAG, among, between, either, several, step, together
from tests.properties.reference import CENT, INPUT, OUTPUT, USD, Account, hold_of
from tests.properties.world import end_of, month_of
from tests.stories.checks import check_books
from tests.stories.gateways import Gateway, Request, measure
from tests.stories.scene import EXACT

TOKENS = either(among(0, 1, 3), between(0, 40_000))
PRICE = either(
    among("0", "0.05", "0.333333333", "20", "999.99"), lambda random: format_usd(int(10 ** random.uniform(0, 13)))
)
AGAIN = either(among(None), PICK)
# A request of so many nano-dollars at a gateway; or of a part of what is left, or of one more or less than that.
NEARLY = USD // 2_000  # little enough to count as the end of credit or a limit
ASKED = together(GATEWAY, AMOUNT, among(None, None, None, -NEARLY, -1, 0, 0, 1), among(1, 1, 2, 3))


class Histories(Books):
    """Everything that can happen."""

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────
    @step(weight=6, name=NAME, asked=several(ASKED, 1, 3), keyed=among(False, True, True))
    def admit_exactly(self, name: str, asked: list[tuple[str, int, int | None, int]], keyed: bool) -> None:
        name, account = self.account(name)
        for gateway, amount, beside, share in asked:
            rooms = account.rooms(self.model.month, self.model.window(account) if keyed else None)
            if beside is not None and rooms:
                amount = max(1, min(rooms.values()) // share + beside)
            self.admit(name, account, gateway, EXACT, 0, amount, keyed)

    @step(weight=3, name=NAME, asked=several(together(GATEWAY, TOKENS, TOKENS), 1, 3), keyed=among(False, True, True))
    def admit_tokens(self, name: str, asked: list[tuple[str, int, int]], keyed: bool) -> None:
        name, account = self.account(name)
        for gateway, given, made in asked:
            self.admit(name, account, gateway, TINY, given, made, keyed)

    @step(weight=3, name=NAME, gateway=GATEWAY, amount=AMOUNT, percent=among(99, 100), keyed=among(False, True, True))
    def spend(self, name: str, gateway: str, amount: int, percent: int, keyed: bool) -> None:
        """A request that ends at once; a small amount stands for all that is left."""
        name, account = self.account(name)
        rooms = account.rooms(self.model.month, self.model.window(account) if keyed else None)
        if amount < CENT // 10 and rooms:
            amount = max(1, min(rooms.values()))
        request = self.admit(name, account, gateway, EXACT, 0, amount, keyed)
        if request is not None:
            self.end(request.gateway, [request], percent, 0, [])

    @step(name=NAME, gateway=GATEWAY)
    def spend_nearly_all(self, name: str, gateway: str) -> None:
        """Little is left, and more than that is asked for."""
        name, account = self.account(name)
        rooms = account.rooms(self.model.month)
        if rooms and min(rooms.values()) > NEARLY:
            self.spend(name, gateway, min(rooms.values()) - NEARLY, 100, False)
            self.admit(name, account, gateway, EXACT, 0, NEARLY + 1)

    def admit(
        self, name: str, account: Account, gateway: str, model: str, given: int, made: int, keyed: bool = False
    ) -> Request | None:
        """A request of so many tokens, perhaps with the account's key, which is held or refused."""
        if account.causes(self.model.month):
            return None  # refused before any money is looked at
        self.count += 1
        id_ = f"r{self.count}"
        beside = bool(self.scene.till(gateway).lessee.open_holds(name))
        rates = self.model.rates(model, self.model.now)
        amount = hold_of(rates, given, made)
        request = self.scene.admit(gateway, id_, name, model, given, made, keyed)
        assert (request is not None) == self.model.admit(account, id_, amount, beside, keyed)
        self.seen["a request was refused for money"] += request is None
        if request is not None:
            assert request.hold.amount == amount
            self.scene.requests[id_], self.rates[id_] = request, rates
            rooms = account.rooms(self.model.month)
            self.seen["the last nano-dollar was held"] += bool(rooms) and min(rooms.values()) == 0
            self.seen["several gateways ran requests of one account"] += (
                len({id(one.gateway) for one in self.scene.requests.values() if one.hold.account == name}) > 1
            )
        return request

    def running(self, pick: int) -> tuple[Request, list[Request]]:
        """A running request, and those of its gateway."""
        requests = list(self.scene.requests.values())
        chosen = requests[pick % len(requests)]
        return chosen, [one for one in requests if one.gateway is chosen.gateway]

    @step(
        weight=4,
        ready=lambda books: books.scene.requests,
        picks=several(PICK, 1, 4),
        percent=among(0, 1, 50, 100, 120),
        cached=PICK,
        again=AGAIN,
    )
    def settle(self, picks: list[int], percent: int, cached: int, again: int | None) -> None:
        """Requests of one gateway end in one commit; perhaps one is told twice, and an earlier one otherwise."""
        first, own = self.running(picks[0])
        ending = list({id(one): one for one in (own[pick % len(own)] for pick in picks)}.values())
        known = self.events[again % len(self.events)] if again is not None and self.events else None
        self.end(first.gateway, ending, percent, cached, [] if known is None else [known])

    def end(self, gateway: Gateway, ending: list[Request], percent: int, cached: int, known: list[Event]) -> None:
        """These requests of a gateway end in one commit; other ids are told with them that are known."""
        events = [self.measure(one, percent, cached) for one in ending]
        known = [replace_struct(event, quantities={OUTPUT: 7}, cost_nanos=event.cost_nanos // 2) for event in known]
        again = [*known, events[0]] if known else []
        till = self.scene.till(self.scene.name_of(ending[0]))
        assert till.post([*events, *again]) == [True] * len(events) + [False] * len(again)
        for one, event in zip(ending, events, strict=True):
            id_ = one.hold.id
            gateway.lessee.settled(one.hold, event.cost_nanos, self.model.now)
            _, account = self.account(one.hold.account)
            cost = self.model.settle(account, id_, event.model, self.rates[id_], event.quantities)
            assert cost == event.cost_nanos
            del self.scene.requests[id_]
            self.seen["a cost was clamped to its hold"] += event.clamped_nanos > 0
            self.seen["a request was settled in the month after its own"] += one.hold.month < self.model.month
        self.events += events
        self.seen["several requests were settled at once"] += len(events) > 1
        self.seen["a settlement was told again"] += bool(known)

    def measure(self, request: Request, percent: int, cached: int) -> Event:
        """What a request used: so much of what it asked for."""
        given, made = request.ask.input_tokens * percent // 100, request.ask.cap * percent // 100
        return measure(request, given, given * cached // 7, made)[1]

    @step(ready=lambda books: books.scene.requests, pick=PICK)
    def void(self, pick: int) -> None:
        request, _ = self.running(pick)
        request.gateway.lessee.void(request.hold, self.model.now)
        del self.scene.requests[request.hold.id]
        del self.account(request.hold.account)[1].holds[request.hold.id]

    @step(
        name=NAME,
        used=several(together(TOKENS, TOKENS, SPAN), 1, 3),
        exact=either(among(None, CENT), AMOUNT),
        again=AGAIN,
    )
    def report(self, name: str, used: list[tuple[int, int, int]], exact: int | None, again: int | None) -> None:
        """Usage after the fact, some of it long ago; perhaps one is told again, as it was and otherwise."""
        new = []
        if exact == CENT:  # little is left to pay at the end of the month
            exact = max(0, self.account(name)[1].credit) + 30 * CENT
        for given, made, ago in used:
            self.count += 1
            model, quantities = (TINY, {INPUT: given, OUTPUT: made}) if exact is None else (EXACT, {OUTPUT: exact})
            quantities = {unit: number for unit, number in quantities.items() if number}
            new.append(Reported(name, "api", f"u{self.count}", model, quantities, self.model.now - ago))
        known = [] if again is None else [(self.reports + new)[-1 - again % len(self.reports + new)]]
        self.tell([*new, *known, *(replace(one, quantities={OUTPUT: 7}) for one in known)])

    # ── the operator and the calendar ────────────────────────────────────────────────────────────────────────────
    @step(weight=1, given=PRICE, made=PRICE, wait=SPAN)
    def price(self, given: str, made: str, wait: int) -> None:
        self.publish({"input": given, "output": made}, wait)

    @step(weight=3, span=SPAN)
    def wait(self, span: int) -> None:
        self.scene.move(self.model.now + span)
        self.model.advance(self.model.now + span)
        self.named.update(self.model.accounts)

    @step(weight=3, before=between(-1, 1), months=between(0, 1), calm=FLAG)
    def wait_for_the_month(self, before: int, months: int, calm: bool) -> None:
        """To the end of the month, or a microsecond before or after it, or of the next one; perhaps all ends first."""
        while calm and self.scene.requests:
            first, own = self.running(0)
            self.end(first.gateway, own, 100, 0, [])
        end = end_of(month_of(end_of(self.model.month))) if months else end_of(self.model.month)
        self.wait(max(0, end - before - self.model.now))

    @step(weight=1)
    def close_again(self) -> None:
        """A month that is closed is closed by command, too: nothing happens; one that goes on is refused."""
        if self.model.closed >= month_of(BEGINS_AT):
            assert self.scene.worker.close_month(self.model.closed) == []
        assert self.fails(lambda: self.scene.worker.close_month(self.model.month), Conflict)

    @step(weight=1)
    def audit(self) -> None:
        """Beside what runs, nothing is wrong."""
        broken = check_books(self.scene)
        assert not broken, "\n".join(broken)

    # ── gateways ─────────────────────────────────────────────────────────────────────────────────────────────────
    @step(weight=1, gateway=GATEWAY)
    def return_all(self, gateway: str) -> None:
        self.scene.till(gateway).return_all()

    @step(weight=1, ready=lambda books: books.scene.requests, gateway=GATEWAY)
    def crash(self, gateway: str) -> None:
        """A process dies; what it held is void."""
        self.seen["a process died with requests running"] += self.forget(gateway)
        self.scene.crash(gateway)

    @step(weight=1, ready=lambda books: books.scene.requests, gateway=GATEWAY, by=GATEWAY)
    def close_alive(self, gateway: str, by: str) -> None:
        """A gateway's writer is closed while it lives, and hears of it when it wants to settle."""
        if gateway != by:
            running = [one for one in self.scene.requests.values() if one.gateway is self.scene.gateways[gateway]]
            self.seen["a live writer was closed with requests running"] += self.forget(gateway)
            told = self.scene.close_alive(gateway, by, [self.measure(one, 100, 0) for one in running])
            assert told == [None] * len(running)

    def forget(self, gateway: str) -> bool:
        """What a gateway runs will not be billed; answers whether there was anything."""
        running = [one.hold for one in self.scene.requests.values() if one.gateway is self.scene.gateways[gateway]]
        for hold in running:
            del self.account(hold.account)[1].holds[hold.id]
        return bool(running)


SITUATIONS = (
    "a limit above the tier was refused",
    "a purchase was declined",
    "a new card was charged for an old invoice",
    "the last card was removed",
    "an invoice was paid by hand",
    "a request was refused for money",
    "the last nano-dollar was held",
    "several gateways ran requests of one account",
    "a cost was clamped to its hold",
    "a request was settled in the month after its own",
    "several requests were settled at once",
    "a settlement was told again",
    "usage was reported again with another body",
    "usage was reported again",
    "a process died with requests running",
    "a live writer was closed with requests running",
    "a month waited for its last request",
    "credit was kept for what held it",
    "a refusal near the end suspended",
    "a budget refused a request",
    "a budget changed with requests running",
    "a request was settled after its budget's period",
    "usage of a closed month came late",
    "suspended: BLOCKED_BY_ABUSE_RULE",
    "suspended: FAILED_PAYMENTS",
    "suspended: MONTHLY_SPEND_LIMIT_EXCEEDED",
    "suspended: CREDIT_DEPLETED",
    "credit lapsed",
    "credit of several kinds was drawn",
    "an invoice was issued",
    "an invoice was paid by credit alone",
    "an invoice failed",
    "an invoice failed and was paid",
    "too little to charge was carried",
    "a fraction of a cent was carried",
    "the rest of an invoice was carried on",
)
