"""The scene of a story: the real store and flows, gateways without HTTP, the worker with test cards, a manual clock."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import TypeVar

from purser.core.admission import FIT, REFUSE, Ask
from purser.core.errors import NotFound, PurserError, Suspended
from purser.core.explain import suspended_message
from purser.core.money import NANOS_PER_USD, Rate
from purser.core.payment import Allocation
from purser.core.period import month_end
from purser.core.policy import Policy
from purser.core.pricebook import PriceBook, in_force
from purser.core.rating import Charge
from purser.flows import pricing, reports, setup
from purser.flows.caps import get_bound
from purser.flows.codes import Made
from purser.gateway import bodies
from purser.gateway.bodies import Terms
from purser.gateway.shapes import CHAT
from purser.inbound.worker import Worker
from purser.inbound.world import ManualWorld
from purser.outbound.testpay import TestProvider
from purser.store import accounts, prices
from purser.store.db import Database
from purser.store.headroom import RowKey
from purser.store.writers import Tx, close_writer
from tests import databases
from tests.stories.gateways import Caller, Gateway, Request
from tests.stories.language import Wrong

T = TypeVar("T")
OWNER = "owner"  # the user whose requests are those that nobody else is named for
EXACT = "exact"  # the model of `spend` and `usage AMOUNT`: one nano-dollar per output token
_TERMS = Terms(context_tokens=131_072, max_output_tokens=4_096, tokens_per_byte=1, engine="vllm", policy=FIT)
_MOST_AT_ONCE = 1_000 * NANOS_PER_USD


class StoryWorld(ManualWorld):
    """A manual clock whose chance is seeded, so that a story always runs the same."""

    def __init__(self, at: int, seed: str) -> None:
        super().__init__(at)
        self._random = Random(seed)

    def wall(self) -> int:
        """The story's time."""
        return self.at

    def entropy(self, bits: int) -> int:
        """Seeded random bits."""
        return self._random.getrandbits(bits)


class StoryWorker(Worker):
    """The worker; a month with running requests stays open without waiting for them, they end later in the story."""

    beat: Callable[[], None]

    def _finish_due(self) -> None:
        self.beat()


@dataclass(slots=True)
class Outcome:
    """What a command did, for the expectations after it."""

    account: str | None = None
    user: str = OWNER
    month: str | None = None
    request: Request | None = None
    charge: Charge | None = None
    state: str | None = None
    allocation: tuple[Allocation, ...] = ()
    fresh: bool | None = None
    cut: bool = False
    refusal: PurserError | None = None


class Scene:
    """Everything a story's commands act on."""

    def __init__(self, seed: str, file: Path | None, *, lease_nanos: int) -> None:
        self.seed, self.file = seed, file
        self.policy = Policy(lease_nanos=lease_nanos)
        self.terms: dict[str, Terms] = {}
        self.accounts: list[str] = []
        self.users: list[str] = []
        self.requests: dict[str, Request] = {}
        self.gateways: dict[str, Gateway] = {}
        self.admitted: Request | None = None  # by the command under way
        self.reported = 0
        self.codes: dict[str, Made] = {}
        self.rules: dict[str, str] = {}
        self._spends = 0

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────────────
    def begin(self, at: int) -> None:
        """Start the clock, make the database, and let the first gateway and the worker run."""
        self.world = StoryWorld(at, self.seed)
        self.db = databases.with_tables() if self.file is None else Database(databases.at(self.file))
        self.use_gateway("g1")
        self.worker = StoryWorker(self.db, self.write, self.world, TestProvider())
        self.worker.beat = self.beat
        exact = {EXACT: {"input": "0", "cached_input": "0", "output": "0.001"}}
        self.write(lambda tx: setup.prepare(tx, exact, "story-operator-key-of-32-letters"))

    @property
    def begun(self) -> bool:
        """Whether the clock runs."""
        return bool(self.gateways)

    def use_gateway(self, name: str) -> None:
        """Send the next requests through a gateway, a new one where there is none of that name."""
        if name not in self.gateways:
            self.gateways[name] = Gateway(self.db, self.world, self.policy, beat=self.beat, told=self._tell)
        self.gateway = self.gateways[name]

    def crash(self, name: str) -> None:
        """A gateway dies with all it holds; its writer is closed by another and a new process takes its place."""
        dead = self.gateways.pop(name)
        self.requests = {id_: request for id_, request in self.requests.items() if request.gateway is not dead}
        self.use_gateway(name)
        self.gateway.run(lambda tx: close_writer(tx, dead.writer.id))
        dead.writer.open = False
        dead.writer.close()

    def end(self) -> None:
        """Every gateway gives back what it leased and starts anew, as after a stop; what ran is void."""
        for request in self.requests.values():
            request.gateway.lessee.void(request.hold, self.world.now())
        self.requests.clear()
        for name, gateway in list(self.gateways.items()):
            gateway.writer.close()
            del self.gateways[name]
            self.use_gateway(name)

    def close(self) -> None:
        """Close every connection."""
        for gateway in self.gateways.values():
            gateway.writer.close()
        if self.gateways:
            self.db.dispose()

    def write(self, work: Callable[[Tx], T]) -> T:
        """One transaction."""
        return self.gateway.run(work)

    def _tell(self, touched: set[str]) -> None:
        for gateway in self.gateways.values():
            for account in touched:
                gateway.lessee.forget_left(account)

    def beat(self) -> None:
        """What happens by itself within a second: the worker does what is due, gateways give back what is wanted."""
        self.worker.run_due()
        for _ in range(2):
            gave = [gateway.give_back() for gateway in self.gateways.values()]
            if not any(gave):
                return
            self.worker.run_due()

    def move(self, to: int) -> None:
        """Move the clock on, doing all that falls due on the way."""
        self.worker.advance(to)

    def end_month(self, month: str) -> None:
        """Move the clock to a month's end, where that has not come."""
        self.move(max(month_end(month), self.world.now()))

    def held(self, account: str) -> int:
        """What an account's running requests hold."""
        return sum(gateway.lessee.held(account) for gateway in self.gateways.values())

    def held_by_month(self, account: str) -> dict[str, int]:
        """The same, by the month in which each of them began."""
        held: dict[str, int] = {}
        for gateway in self.gateways.values():
            for month, amount in gateway.lessee.held_by_month(account).items():
                held[month] = held.get(month, 0) + amount
        return held

    # ── prices ───────────────────────────────────────────────────────────────────────────────────────────────────
    def set_prices(self, model: str, price: dict[str, str], from_at: int | None, most: int, context: int) -> None:
        """Publish a model's prices, and how far its requests may go: 0 leaves a bound as it is."""
        self.write(lambda tx: pricing.publish(tx, {model: price}, from_at))
        terms = self.terms.get(model, _TERMS)
        self.terms[model] = replace(
            terms, max_output_tokens=most or terms.max_output_tokens, context_tokens=context or terms.context_tokens
        )

    def book(self) -> PriceBook:
        """The price book in force."""
        with self.db.read() as conn:
            book = in_force(prices.list_books(conn), self.world.now())
        if book is None:
            raise Wrong("there are no prices yet")
        return book

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────
    def ask(
        self, id_: str, account: str, model: str, size: int, more: Mapping[str, object], fit: str | None
    ) -> Request:
        """A chat request of `size` bytes, refused in the order of H6 or admitted."""
        if id_ in self.requests:
            raise Wrong(f"request {id_} is running already")
        self._refuse_suspended(account)
        fields = {"model": model, "messages": [{"role": "user", "content": "x" * size}], **more}
        body = bodies.read(CHAT, json.dumps(fields).encode())
        rates, version = self._rates(body.model)
        ask = bodies.ask(body, self.terms.get(model, _TERMS), fit)
        self.admitted = self.requests[id_] = self.gateway.admit(
            id_, account, version, rates, ask, self._caller(account, OWNER)
        )
        return self.admitted

    def _caller(self, account: str, user: str) -> Caller:
        """A user with its newest key, if that has not ended, and what its requests stand under."""
        with self.db.read() as conn:
            if accounts.get_user(conn, account, user) is None:
                raise Wrong(f"{account} has no user {user}")
            keys, bound = accounts.list_keys(conn, account, user), get_bound(conn, account, user)
        under = () if bound is None else (RowKey(account, bound.kind, bound.window(self.world.now())),)
        return Caller(user, keys[0].id if keys else None, under)

    def _refuse_suspended(self, account: str) -> None:
        with self.db.read() as conn:
            view = reports.view_account(conn, account, self.policy)
        if view.causes:
            causes = {cause.cause: cause.why for cause in view.causes}
            raise Suspended(suspended_message(account, causes, prepaid=view.prepaid))

    def _rates(self, model: str) -> tuple[Mapping[str, Rate], int]:
        book = self.book()
        if model not in book.models:
            raise NotFound(f"The model {model!r} does not exist here", field="model", code="model_not_found")
        return book.models[model], book.version

    def take(self, id_: str) -> Request:
        """A running request, which ends now."""
        if id_ not in self.requests:
            raise Wrong(f"no request {id_} is running")
        return self.requests.pop(id_)

    def spend(self, account: str, amount: int, user: str = OWNER) -> Charge | None:
        """Use exactly `amount` nano-dollars through real holds and settlements."""
        charge = None
        while amount:
            part = min(amount, _MOST_AT_ONCE)
            amount -= part
            self._refuse_suspended(account)
            rates, version = self._rates(EXACT)
            self._spends += 1
            ask = Ask(EXACT, input_tokens=0, input_bytes=0, cap=part, requested=part, policy=REFUSE)
            caller = self._caller(account, user)
            request = self.gateway.admit(f"spend{self._spends}", account, version, rates, ask, caller)
            charge, _ = self.gateway.settle(request, 0, 0, part)
        return charge
