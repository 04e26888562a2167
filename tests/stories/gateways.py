"""A gateway without HTTP: a writer, its leases, and requests admitted, settled and released as by the real one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from purser.core.admission import Ask, affordable_tokens, fit, hold_nanos, least_nanos, wanted_nanos
from purser.core.errors import Insufficient, TooMany
from purser.core.explain import CONSTRAINTS, insufficient_message
from purser.core.lease import BUDGETS
from purser.core.money import Rate
from purser.core.period import SECOND, month_of
from purser.core.policy import Policy
from purser.core.rating import Charge, rate
from purser.core.usage import Inconsistent, Measured, as_priced, normalise
from purser.flows import rates as request_rates
from purser.flows import requests, standing
from purser.flows.lessee import Hold, Lessee
from purser.flows.requests import Need
from purser.inbound.world import ManualWorld
from purser.store import headroom
from purser.store import rates as rate_rows
from purser.store.db import Database
from purser.store.usage import QUARANTINED, SETTLED, Event
from purser.store.writers import Tx, Writer
from tests.window import SlidingWindow

T = TypeVar("T")
_QUIET = 10 * SECOND
_UNLIMITED = 2**60


@dataclass(frozen=True, slots=True)
class Caller:
    """Whose request it is: a user, its key, and the budgets that it stands under."""

    user: str
    key: str | None
    budgets: tuple[headroom.RowKey, ...] = ()


@dataclass(slots=True)
class Request:
    """A running request: its hold, its bounds, and the output tokens per choice that the hold covers."""

    gateway: Gateway
    caller: Caller
    hold: Hold
    ask: Ask
    rates: Mapping[str, Rate]
    cap: int
    held_tokens: int
    admitted_at: int


class Gateway:
    """One writer with its leases and holds."""

    def __init__(
        self,
        db: Database,
        world: ManualWorld,
        policy: Policy,
        *,
        beat: Callable[[], None],
        told: Callable[[set[str]], None],
    ) -> None:
        self.db, self.world, self.policy = db, world, policy
        self._beat, self._told = beat, told
        self.writer = Writer(db, world, policy, host="story", pid=1)
        self.lessee = Lessee()
        self._shares: dict[str, tuple[int, SlidingWindow]] = {}  # of accounts' rates, and what was let through

    def run(self, work: Callable[[Tx], T]) -> T:
        """One transaction of this gateway's writer; every gateway hears of the accounts that it changed."""
        result, touched = self.writer.run_touching(work)
        self._told(touched)
        return result

    def admit(
        self,
        id_: str,
        account: str,
        version: int,
        rates: Mapping[str, Rate],
        ask: Ask,
        caller: Caller,
    ) -> Request:
        """Hold a request's money on its whole path (H1–H3); raises Insufficient where nothing fits."""
        month = month_of(self.world.now())
        keys = requests.path(account, month, caller.budgets)
        slice_tokens = self.policy.slice_tokens
        wanted = wanted_nanos(rates, ask, slice_tokens)
        least = min(least_nanos(rates, ask), wanted)
        for more in reversed(range(len(keys) + 1)):  # each row may fall short in its turn
            needs = self.lessee.needs(keys, least, wanted, self.policy.lease_nanos)
            if not needs and ask.requested is None:
                needs = [Need(key, 0, 0, 0) for key in keys]  # only to hear what the store has left
            others = self._take(needs) if needs else False
            held = fit(rates, ask, self.lessee.spare(keys), self.lessee.left(keys), slice_tokens)
            if held is not None:
                hold = self.lessee.hold(id_, account, month, version, held.amount_nanos, caller.budgets)
                return Request(self, caller, hold, ask, rates, held.cap, held.output_tokens, self.world.now())
            if not others or not more:
                break
            self._beat()  # the other gateways give back what they have to spare
        raise self._short(account, keys, wanted, rates, ask)

    def _take(self, needs: list[Need]) -> bool:
        taken = self.run(lambda tx: requests.take_headroom(tx, needs))
        self.lessee.apply(taken)
        return taken.others

    def _short(
        self, account: str, keys: tuple[headroom.RowKey, ...], wanted: int, rates: Mapping[str, Rate], ask: Ask
    ) -> Insufficient:
        short = min(keys, key=lambda key: self.lessee.left([key]))
        left = min(self.lessee.left([short]), _UNLIMITED)
        mine = short.kind in BUDGETS  # a budget that is spent never suspends the account (L6)
        if left < self.policy.depletion_threshold_nanos and not mine and not self.lessee.open_holds(account):
            self.run(lambda tx: standing.note_refusal(tx, account, short.kind, short.window))
        return Insufficient(
            insufficient_message(CONSTRAINTS[short.kind], left, wanted, max(0, affordable_tokens(rates, ask, left)))
        )

    def call(self, account: str) -> None:
        """Count a request toward its account's rate (Q1); raises TooMany. A minute is one of the machine's here."""
        now = int(self.writer.monotonic() * SECOND)
        share, window = self._shares.get(account, (0, SlidingWindow()))
        if window.admit(now, share) == 0:
            return
        for again in (False, True):
            given, most, others = self.run(lambda tx: request_rates.ask(tx, account))
            share = 0 if given.over else share + given.share
            self._shares[account] = share, window
            if given.counted or (given.share and window.admit(now, share) == 0):
                return
            if again or not others:
                break
            self._beat()  # the other gateways give back what they have not used
        raise TooMany(f"over {most} requests per minute for this account")

    def next_slice(self, request: Request) -> bool:
        """Hold a stream's next slice, or what of it is affordable; False where the stream is cut (H5)."""
        hold, ask, rates = request.hold, request.ask, request.rates
        tokens = min(request.held_tokens + self.policy.slice_tokens, request.cap)
        more = hold_nanos(rates, ask.input_tokens, tokens * ask.choices) - hold.amount
        least = hold_nanos(rates, ask.input_tokens, (request.held_tokens + 1) * ask.choices) - hold.amount
        if not self.lessee.extend(hold, more):
            needs = self.lessee.needs(hold.keys, least, more, self.policy.lease_nanos)
            if needs:
                self._take(needs)
            more = min(more, self.lessee.spare(hold.keys))
            if more < max(least, 1) or not self.lessee.extend(hold, more):
                return False
        request.held_tokens = min(tokens, affordable_tokens(rates, ask, hold.amount))
        return True

    def settle(self, request: Request, prompt: int, cached: int, output: int, **kinds: int) -> tuple[Charge, str]:
        """Post what a request used, as its upstream counted it; answers the charge and the event's state (H4, H5)."""
        charge, event = measure(request, prompt, cached, output, **kinds)
        self.run(lambda tx: requests.settle(tx, [event]))
        self.lessee.settled(request.hold, charge.amount_nanos, self.world.now())
        return charge, event.state

    def give_back(self) -> bool:
        """Return the spare that others want, of months gone and of quiet accounts; answers whether there was any."""
        with self.db.read() as conn:
            wanted = headroom.list_wanted(conn, self.writer.owner)
            rates = rate_rows.list_wanted(conn, self.writer.id)
        self._give_back_rates([bucket.account for bucket in rates if bucket == rate_rows.requests_of(bucket.account)])
        now = self.world.now()
        returns = self.lessee.start_returns(month_of(now), now - _QUIET, wanted)
        if returns:
            self.run(lambda tx: requests.give_back(tx, returns))
            self.lessee.end_returns(returns)
        return bool(returns)

    def _give_back_rates(self, accounts: list[str]) -> None:
        now, returns = int(self.writer.monotonic() * SECOND), list[tuple[rate_rows.Bucket, int]]()
        for account in accounts:
            share, window = self._shares.get(account, (0, SlidingWindow()))
            spare = window.remaining(now, share)
            if spare:
                self._shares[account] = share - spare, window
                returns.append((rate_rows.requests_of(account), spare))
        if returns:
            self.run(lambda tx: request_rates.give_back(tx, returns))


def measure(
    request: Request, prompt: int, cached: int, output: int, *, written: int = 0, heard: int = 0, spoken: int = 0
) -> tuple[Charge, Event]:
    """What a request costs that used so much as its upstream counted it, and the event to post.

    Tokens written to a cache and heard are of the prompt, spoken ones of the output.
    """
    reported = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "prompt_tokens_details": {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": heard},
        "completion_tokens_details": {"audio_tokens": spoken},
    }
    try:
        measured, state = normalise(reported) or Measured({}, estimated=True), SETTLED
    except Inconsistent:
        measured, state = Measured({}, estimated=False), QUARANTINED
    hold = request.hold
    used = as_priced(measured.quantities, request.rates)
    charge = rate(used, request.rates, hold.amount)
    event = Event(
        account=hold.account,
        source="gateway",
        id=hold.id,
        model=request.ask.model,
        user=request.caller.user,
        key=request.caller.key,
        occurred_at=request.admitted_at,
        month=hold.month,
        bill_month=hold.month,
        version=hold.version,
        quantities=used,
        parts=charge.parts,
        cost_nanos=charge.amount_nanos,
        held_nanos=hold.amount,
        clamped_nanos=charge.clamped_nanos,
        estimated=measured.estimated,
        state=state,
        budgets=hold.budgets,
    )
    return charge, event
