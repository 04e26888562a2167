"""The product under test: the scene of the stories, whose gateways settle through the real write queue in batches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from purser.core.admission import REFUSE, Ask
from purser.core.budget import Budget
from purser.core.errors import Conflict, Insufficient, PurserError
from purser.flows import access, budgets, metering, requests
from purser.flows.budgets import row_key
from purser.flows.metering import Reported
from purser.flows.queue import WriteQueue
from purser.store.headroom import RowKey
from purser.store.usage import Event
from purser.store.writers import close_writer
from tests.stories.gateways import Caller, Gateway, Request
from tests.stories.scene import OWNER, Scene


class SteppedQueue(WriteQueue):
    """The real write queue without its thread: what waits is run when it is told to."""

    def _start(self) -> None:
        return

    def run_all(self) -> None:
        """Run everything that waits, also what comes up meanwhile."""
        while self.backlog():
            self.run_waiting()


class Till(Gateway):
    """A gateway with the real write queue; closed while it lives it drops what it held and registers anew."""

    def __init__(self, *given: Any, beat: Callable[[], None], told: Callable[[set[str]], None]) -> None:
        super().__init__(*given, beat=beat, told=told)
        self._fatal: list[BaseException] = []
        self._queue = SteppedQueue(self.writer, on_touched=told, on_fatal=self._fatal.append)
        self._queue.on_fenced = self._start_anew

    def _start_anew(self) -> None:
        self.lessee.drop()
        self._queue.renew()

    def post(self, events: Sequence[Event]) -> list[bool | None]:
        """Settle events in one commit; answers of each whether it was new, None where this writer was closed."""
        told: list[bool | None] = []
        for event in events:
            self._queue.settle(event, lambda new, error: told.append(new if error is None else None))
        self.pulse()
        return told

    def pulse(self) -> None:
        """Any transaction: the fence."""
        self._queue.submit(lambda tx: None, lambda result, error: None)
        self._queue.run_all()
        if self._fatal:
            raise self._fatal[0]

    def return_all(self) -> None:
        """Give back all that no request holds."""
        keys = [key for account in self.lessee.accounts() for key in self.lessee.turns(account)]
        returns = self.lessee.start_returns("", 0, keys)
        self.run(lambda tx: requests.give_back(tx, returns))
        self.lessee.end_returns(returns)


class Shop(Scene):
    """The stories' scene with such gateways, and a key for each account."""

    def __init__(self) -> None:
        super().__init__("history", None, lease_nanos=1)
        self.keys: dict[str, str] = {}
        self.budgets: dict[str, Budget | None] = {}

    def make_key(self, account: str) -> None:
        """Give an account its key."""
        self.keys[account] = self.write(lambda tx: access.create_key(tx, account, OWNER)).id

    def set_budget(self, account: str, budget: Budget | None) -> None:
        """Give an account's key a budget, or take it away."""
        self.write(lambda tx: budgets.set_budget(tx, account, self.keys[account], budget))
        self.budgets[account] = budget

    def use_gateway(self, name: str) -> None:
        """Send the next requests through a gateway, a new one where there is none of that name."""
        if name not in self.gateways:
            self.gateways[name] = Till(self.db, self.world, self.policy, beat=self.beat, told=self._tell)
        self.gateway = self.gateways[name]

    def budget_rows(self, account: str) -> tuple[RowKey, ...]:
        """The row of its key's budget now, if it has one."""
        budget = self.budgets.get(account)
        return () if budget is None else (row_key(account, self.keys[account], budget, self.world.now()),)

    def till(self, name: str) -> Till:
        """The gateway of that name."""
        till = self.gateways[name]
        assert isinstance(till, Till)
        return till

    def name_of(self, request: Request) -> str:
        """The name of a request's gateway."""
        return next(name for name, gateway in self.gateways.items() if gateway is request.gateway)

    def admit(
        self, name: str, id_: str, account: str, model: str, given: int, made: int, keyed: bool = False
    ) -> Request | None:
        """A request of so many tokens, perhaps with the account's key; None where it is refused for money."""
        book = self.book()
        ask = Ask(model, input_tokens=given, input_bytes=given, cap=made, requested=made, policy=REFUSE)
        caller = Caller(OWNER, self.keys[account], self.budget_rows(account)) if keyed else Caller(OWNER, None)
        try:
            return self.gateways[name].admit(id_, account, book.version, book.models[model], ask, caller)
        except Insufficient:
            return None

    def report(self, events: Sequence[Reported]) -> list[bool | None]:
        """Usage after the fact, in one commit: of each whether it was new, None where another of its id stands."""

        def told(outcome: bool | PurserError) -> bool | None:
            if isinstance(outcome, PurserError) and not isinstance(outcome, Conflict):
                raise outcome
            return None if isinstance(outcome, PurserError) else outcome

        return self.write(lambda tx: list(map(told, metering.record_all(tx, events))))

    def close_alive(self, name: str, by: str, events: Sequence[Event]) -> list[bool | None]:
        """A gateway's writer is closed by another while it lives; what became of the events that it settles then."""
        till = self.till(name)
        self.gateways[by].run(lambda tx: close_writer(tx, till.writer.id))
        told = till.post(events)
        self.requests = {id_: one for id_, one in self.requests.items() if one.gateway is not till}
        return told
