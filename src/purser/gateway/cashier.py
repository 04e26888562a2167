"""The cashier: holds money for a request before it runs, extends, settles and releases it (H1–H8)."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from msgspec import Struct

from purser.core.admission import Ask, Held, affordable_tokens, cut_short, fit, fit_whole, least_nanos, wanted_nanos
from purser.core.errors import Broken, Conflict, PurserError, Unavailable, Unsettled
from purser.core.explain import CONSTRAINTS
from purser.core.lease import BUDGETS
from purser.core.money import Rate
from purser.core.policy import Policy
from purser.flows import requests, standing
from purser.flows.lessee import Hold, Lessee
from purser.flows.queue import WriteQueue
from purser.flows.requests import Need, Taken
from purser.gateway.deliveries import Deliveries, resolve
from purser.gateway.waiters import Waiters
from purser.store.headroom import RowKey
from purser.store.usage import Event

_T = TypeVar("_T")
log = logging.getLogger("purser.gateway")
Then = Callable[[PurserError | None], None]
_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.05, 0.4  # between looks at what other writers gave back
_RACE_SECONDS = 0.25  # so long a request may lose to others what was granted for it, whatever it waits otherwise
_UNLIMITED = 2**60


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Why a request's money could not be held: which constraint, what is left of it, what the request needs.

    `held_nanos` is what running requests of this process hold of it.
    """

    constraint: str
    left_nanos: int
    hold_nanos: int
    affordable_tokens: int
    held_nanos: int


class _Settling(Struct, eq=False):
    """One settlement on its way, and whom to tell."""

    hold: Hold
    event: Event
    then: Then


def _nothing(_: BaseException | None) -> None:
    return


class Cashier:
    """The gateway's leases and holds; every method runs on the event loop, every commit on the write queue's thread."""

    def __init__(self, queue: WriteQueue, policy: Policy, now: Callable[[], int]) -> None:
        self.lessee = Lessee()
        self._queue, self._policy, self._now = queue, policy, now
        self._loop = asyncio.get_running_loop()
        self._asking: dict[str, asyncio.Future[Taken]] = {}
        self._waiters = Waiters()
        self._on_loop = Deliveries(queue.give_up).on_loop
        self._settling: set[_Settling] = set()
        self._due: list[_Settling] = []  # of these, what this turn of the loop has settled
        self.when_anew: list[Callable[[], None]] = []  # told when the leases of this process are void
        queue.on_fenced = self._on_fenced

    # ── admission ────────────────────────────────────────────────────────────────────────────────────────────────
    def hold_at_once(
        self,
        id_: str,
        account: str,
        month: str,
        version: int,
        rates: Mapping[str, Rate],
        ask: Ask,
        budgets: tuple[RowKey, ...] = (),
    ) -> tuple[Hold, Held] | None:
        """Hold from the spare at hand, without asking the store; None where that does not settle it."""
        spare, left = self.lessee.spare_and_left(self.lessee.path(account, month, budgets))
        held = fit_whole(rates, ask, spare, left, self._policy.slice_tokens)
        if held is None:
            return None  # the store knows how much is left, and may grant more
        return self.lessee.hold(id_, account, month, version, held.amount_nanos, budgets), held

    async def hold(
        self,
        id_: str,
        account: str,
        month: str,
        version: int,
        rates: Mapping[str, Rate],
        ask: Ask,
        budgets: tuple[RowKey, ...] = (),
    ) -> tuple[Hold, Held] | Shortfall:
        """Hold the request's money, asking the store for headroom where the spare at hand is short (H2, H3).

        Waits up to `hold_wait_seconds` for money that running requests or other writers may give back, where there is
        not enough, or only enough for an answer cut short.
        """
        wanted = wanted_nanos(rates, ask, self._policy.slice_tokens)
        least = min(least_nanos(rates, ask), wanted)
        deadline, pause = None, _PAUSE_SECONDS
        while True:
            keys = self.lessee.path(account, month, budgets)
            taken = await self._top_up(account, keys, least, wanted, default_cap=ask.requested is None)
            keys = self.lessee.path(account, month, budgets)  # it may be another writer's by now
            spare, left = self.lessee.spare_and_left(keys)
            held = fit(rates, ask, spare, left, self._policy.slice_tokens)
            deadline = deadline or self._loop.time() + self._policy.hold_wait_seconds
            wait = deadline - self._loop.time()
            others = taken is not None and taken.others
            may_come = wait > 0 and (others or bool(self.lessee.open_holds(account)))
            if held is not None and not (may_come and cut_short(ask, held)):
                return self.lessee.hold(id_, account, month, version, held.amount_nanos, budgets), held
            if held is None and taken is not None and taken.short is None and wait > -_RACE_SECONDS:
                continue  # what was granted went to another request, or was recalled, before it could be held
            if not may_come:
                return await self._fall_short(account, keys, taken, wanted, rates, ask)
            await self._waiters.wait(account, min(wait, pause) if others else wait)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    async def _top_up(
        self, account: str, keys: Sequence[RowKey], least: int, wanted: int, *, default_cap: bool
    ) -> Taken | None:
        asking = self._asking.get(account)
        if asking is not None:  # one question an account at a time; then look again at what there is
            await asyncio.wait([asking])
        needs = self.lessee.needs(keys, least, wanted, self._policy.lease_nanos)
        if asking is not None and (heard := _answered_short(asking, needs)) is not None:
            return heard  # this one would be no shorter: what many ask at once is looked up once
        if not needs and default_cap:
            needs = [Need(key, 0, 0, 0) for key in keys]  # only to hear what the store has left
        return await self._take(account, needs) if needs else None

    async def _take(self, account: str, needs: Sequence[Need]) -> Taken:
        future: asyncio.Future[Taken] = self._loop.create_future()
        self._asking[account] = future
        term = self.lessee.term

        def done(taken: Any, error: BaseException | None) -> None:
            if self._asking.get(account) is future:
                del self._asking[account]
            if self.lessee.term == term:
                self.lessee.end_ask(needs)
                if error is None:
                    self.lessee.apply(taken, self._now())
            resolve(future, taken, error and _told(error))

        self.lessee.ask(needs)
        self._queue.take(needs, self._on_loop(done))
        return await self._answer(future)

    async def _answer(self, future: asyncio.Future[_T]) -> _T:
        """What the store answers, if it does in time; what comes of it later is not lost."""
        await asyncio.wait([future], timeout=self._policy.ttl_seconds)
        if not future.done():
            raise out_of_touch()
        return future.result()

    async def _fall_short(
        self,
        account: str,
        keys: Sequence[RowKey],
        taken: Taken | None,
        wanted: int,
        rates: Mapping[str, Rate],
        ask: Ask,
    ) -> Shortfall:
        told = {} if taken is None else taken.left  # by the store just now, whatever is heard of meanwhile
        lefts = {key: self._left(key, told) for key in keys}
        short = min(keys, key=lambda key: lefts[key])
        left = lefts[short]
        mine = short.kind in BUDGETS  # a budget that is spent never suspends the account (L6)
        if left < self._policy.depletion_threshold_nanos and not (mine or self.lessee.open_holds(account)):
            await self.run(lambda tx: standing.note_refusal(tx, account, short.kind, short.window))
        affordable = max(0, affordable_tokens(rates, ask, left))
        held = sum(hold.amount for hold in self.lessee.open_holds(account) if short in hold.keys)
        return Shortfall(CONSTRAINTS[short.kind], left, wanted, affordable, held)

    def _left(self, key: RowKey, told: Mapping[RowKey, int | None]) -> int:
        """What is left of one constraint as far as this process knows; a very large number where nothing limits."""
        if key not in told:
            return min(self.lessee.left([key]), _UNLIMITED)
        left = told[key]
        return _UNLIMITED if left is None else self.lessee.spare([key]) + max(0, left)

    # ── while it runs ────────────────────────────────────────────────────────────────────────────────────────────
    async def extend(self, hold: Hold, more: int, least: int) -> int:
        """Add between `least` and `more` to a running request's hold; answers how much, 0 where none fitted."""
        while not hold.lost:
            if self.lessee.extend(hold, more):
                return more
            taken = await self._top_up(hold.account, hold.keys, least, more, default_cap=False)
            added = min(more, self.lessee.spare(hold.keys))
            if added >= max(least, 1) and self.lessee.extend(hold, added):
                return added
            if least <= 0 or taken is None or taken.short is not None:
                break
        return 0

    def settle(self, hold: Hold, event: Event) -> asyncio.Future[None]:
        """Post what a request cost; done when the commit is durable. The hold ends with it, whoever still waits.

        Raises as `settle_then` tells.
        """
        future: asyncio.Future[None] = self._loop.create_future()
        self.settle_then(hold, event, partial(resolve, future, None))
        return future

    def settle_then(self, hold: Hold, event: Event, then: Then) -> None:
        """Post what a request cost; `then` is called once, with None when the commit is durable.

        Else with Conflict where a request of this id was settled before, by whichever process: this one costs nothing;
        with Unavailable where it cannot be posted: nothing may be acknowledged then.
        """
        if hold.lost:
            then(_lost())
            return
        settling = _Settling(hold, event, then)
        self._settling.add(settling)
        if not self._due:
            self._loop.call_soon(self._hand_over)
        self._due.append(settling)

    def _hand_over(self) -> None:
        """Give the write queue what was settled in one turn of the loop, which shares a commit then."""
        due, self._due = self._due, []
        kept = [settling for settling in due if not settling.hold.lost]
        if kept:
            self._queue.settle_all([settling.event for settling in kept], self._on_loop(partial(self._written, kept)))
        if len(kept) < len(due):  # the writer was closed meanwhile
            for settling in due:
                if settling.hold.lost:
                    self._tell(settling, _lost())

    def _written(self, settlings: Sequence[_Settling], new: Sequence[bool | None], error: BaseException | None) -> None:
        """Settlements are in the books (`new`), or were before (not `new`), or could not be written (None)."""
        now = self._now()
        for settling, is_new in zip(settlings, new, strict=True):
            hold, event = settling.hold, settling.event
            if is_new is None:
                self._tell(settling, _told(error or Broken("a settlement was neither written nor refused")))
                continue
            self.lessee.settled(hold, event.cost_nanos if is_new else 0, now)
            if self._waiters:
                self._waiters.release(hold.account)
            again = None
            if not is_new:
                again = Conflict(f"request {event.id} was served already", code="request_settled")
            self._tell(settling, again)

    def _tell(self, settling: _Settling, error: PurserError | None) -> None:
        """Tell whoever waits for a settlement; nobody does any more where that was told before."""
        if settling in self._settling:
            self._settling.remove(settling)
            settling.then(error)

    def void(self, hold: Hold) -> None:
        """End a request with nothing to bill."""
        self.lessee.void(hold, self._now())
        self._waiters.release(hold.account)

    # ── giving back ──────────────────────────────────────────────────────────────────────────────────────────────
    async def give_back(self, month: str, quiet_before: int, wanted: Sequence[RowKey]) -> None:
        """Return the spare of months gone, of accounts gone quiet, and of rows that others want."""
        returns = self.lessee.start_returns(month, quiet_before, wanted)
        if not returns:
            return

        term = self.lessee.term

        def ended(error: BaseException | None) -> None:
            if self.lessee.term != term:
                return
            (self.lessee.end_returns if error is None else self.lessee.undo_returns)(returns)

        await self.run(lambda tx: requests.give_back(tx, returns), ended)

    async def run(self, work: Callable[[Any], Any], ended: Callable[[BaseException | None], None] = _nothing) -> Any:
        """Any flow in a transaction of its own, awaited; `ended` is called in the order of commits."""
        future: asyncio.Future[Any] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            ended(error)
            resolve(future, result, error)

        self._queue.submit(work, self._on_loop(done))
        return await asyncio.shield(future)

    async def share(
        self, order: tuple[str, ...], work: Callable[[Any], Any], ended: Callable[[Any, Any], None] | None = None
    ) -> Any:
        """A small flow that shares its commit with whatever else is waiting, awaited; `order` as the queue has it.

        `ended` is told its result and error in any case, in the order of commits. Raises Unavailable where it could
        not be written.
        """
        future: asyncio.Future[Any] = self._loop.create_future()

        def done(result: Any, error: BaseException | None) -> None:
            if ended is not None:
                ended(result, error)
            resolve(future, result, error and _told(error))

        self._queue.share(order, work, self._on_loop(done))
        return await self._answer(future)

    # ── out of touch with the store, or closed by it ─────────────────────────────────────────────────────────────
    def check_in_touch(self) -> None:
        """Raises Unavailable where this process has not committed for the time that a lease holds (correctness §2)."""
        if not self.is_in_touch():
            raise out_of_touch()

    def is_in_touch(self) -> bool:
        """Whether this process has committed within the time that a lease holds."""
        writer = self._queue.writer
        return writer.monotonic() - writer.committed_at <= self._policy.ttl_seconds

    def silent_seconds(self) -> float:
        """For how long this process has committed nothing, counted from before the last commit was sent."""
        return self._queue.writer.monotonic() - self._queue.writer.committed_at

    def call_off_all(self) -> None:
        """End every running request; what they used is billed once the store can be reached, if this writer lasts."""
        for hold in self.lessee.all_open():
            _call_off(hold)
        settling, self._settling = self._settling, set()
        for one in settling:
            one.then(_unsettled())

    def _on_fenced(self) -> None:
        """Called on the writer's thread: behind everything that it has told."""
        self._on_loop(lambda _result, _error: self._start_anew())(None, None)

    def _start_anew(self) -> None:
        """Another process closed this one's writer: what it had set aside is void, and so are the requests on it."""
        lost = self.lessee.drop()
        for tell in self.when_anew:
            tell()
        log.error("%d running requests end unbilled: another process closed this one's writer", len(lost))
        for hold in lost:
            _call_off(hold)
        self._waiters.release_all()
        self._queue.renew()


def _answered_short(asking: asyncio.Future[Taken], needs: Sequence[Need]) -> Taken | None:
    """What another request was just told, where these needs would be told the same: there is not enough."""
    if asking.exception() is not None:
        return None
    taken = asking.result()
    left = 0 if taken.short is None else taken.left[taken.short]
    same = any(need.key == taken.short and left is not None and need.least > left for need in needs)
    return taken if same else None


def _call_off(hold: Hold) -> None:
    if hold.bearer is not None:
        hold.bearer.call_off()


def _lost() -> Unavailable:
    return Unavailable("this server had to give up the money held for this request; nothing was billed, send it again")


def out_of_touch() -> Unavailable:
    """The database has not answered for too long."""
    return Unavailable("money cannot be held safely just now: the database does not answer; try again in a moment")


def _unsettled() -> Unsettled:
    return Unsettled(
        "the request ran, but the database does not answer and its cost is not written yet: it may still be billed, "
        "once; look for its id among your requests before you send it again"
    )


def _told(error: BaseException) -> PurserError:
    """What a caller hears of a failure; of one that is ours the log has the rest."""
    if isinstance(error, PurserError):
        return error
    log.error("money cannot be held or posted: %s", error)
    return Unavailable("money cannot be held safely just now; try again in a moment")
