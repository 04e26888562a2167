"""A passage: one admitted request on its way through, its money, its upstream and its headers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

from purser.core.admission import Ask, Held, affordable_tokens, hold_nanos
from purser.core.errors import Broken
from purser.core.money import Rate, format_usd
from purser.core.rating import Charge, rate
from purser.core.usage import OUTPUT, Inconsistent, Measured, Quantities, as_priced, with_priority
from purser.flows.access import Principal
from purser.flows.lessee import Hold
from purser.gateway import splicing
from purser.gateway.bodies import PRIORITY_TIER, Body
from purser.gateway.cashier import Cashier
from purser.gateway.clamp import within_bounds, within_hold
from purser.gateway.meter import Meter, Reserved
from purser.gateway.models import Served, Target
from purser.gateway.refusals import Headers, Refusal, unavailable
from purser.gateway.remaining import Remaining
from purser.gateway.shapes import CHAT, COUNT_TOKENS, MESSAGES
from purser.http.client import Answer, Crowded, TimedOut, TooLarge, Unreachable, UpstreamError
from purser.http.exchange import Exchange, Request
from purser.http.room import Room
from purser.store.usage import QUARANTINED, SETTLED, Event

log = logging.getLogger("purser.gateway")
# An upstream that does not want us: its operator's affair and ours, never a fault of the customer's key or account.
REFUSED_US = (401, 402, 403, 407, 412)
_NEXT_TRIED = (502, 503, 504, *REFUSED_US)
_NOT_SENT = frozenset(
    b"authorization x-api-key cookie host content-length accept-encoding connection transfer-encoding expect "
    b"x-request-id x-purser-fit x-forwarded-for forwarded upgrade te proxy-authorization".split()
)
_NOT_PASSED = frozenset(
    b"connection content-length transfer-encoding keep-alive set-cookie server date x-request-id "
    b"alt-svc strict-transport-security".split()
)

_OURS = (b"x-purser-", b"fireworks-", b"x-ratelimit-", b"ratelimit")  # what is ours to say, and no upstream's


@dataclass(slots=True)
class Counters:
    """What the gateway counted since it started, for /metrics and for alarms."""

    requests: int = 0
    refused: dict[int, int] = field(default_factory=dict)
    settled: int = 0
    voided: int = 0
    estimated: int = 0
    clamped: int = 0
    clamped_nanos: int = 0
    quarantined: int = 0
    cut: int = 0
    hung_up: int = 0

    def ended(self) -> dict[str, int]:
        """How many requests ended which way: a settled one may also have been estimated, or clamped to its hold."""
        names = ("settled", "voided", "estimated", "clamped", "quarantined")
        return {name: getattr(self, name) for name in names}


class Admitted(NamedTuple):
    """A request's money: its hold, its cap, the rates it is held at and those of the book, and when that was."""

    hold: Hold
    held: Held
    rates: Mapping[str, Rate]
    book_rates: Mapping[str, Rate]
    at: int


class Begun(NamedTuple):
    """A request that has been sent: the upstreams in the order to try, and the answer that the first is to fill."""

    order: Sequence[Target]
    answer: Answer


class Bill(NamedTuple):
    """What a request is billed: usage within its bounds, the charge, and a future that is done when it is durable."""

    measured: Measured
    charge: Charge
    settled: asyncio.Future[None]

    @property
    def cost_usd(self) -> str:
        """The charge as answers tell it."""
        return format_usd(self.charge.amount_nanos)


async def _nothing_to_free() -> None:
    return


class Passage(msgspec.Struct, eq=False):
    """One admitted request on its way through."""

    exchange: Exchange
    request_id: str
    principal: Principal
    served: Served
    body: Body
    ask: Ask
    rates: Mapping[str, Rate]  # what the hold is reckoned at: the dearest that the request may get
    book_rates: Mapping[str, Rate]
    hold: Hold
    held: Held
    occurred_at: int
    headers: Headers
    cashier: Cashier
    counters: Counters
    remaining: Remaining
    room: Room
    slice_tokens: int
    meter: Meter | None = None  # where the account's tokens per minute are limited
    tokens: Reserved | None = None  # what of them this request may use
    free: Callable[[], Awaitable[None]] = _nothing_to_free  # frees the request's id before a client hears of its end
    opening: bool = True
    sent: bool = False  # an upstream has the request
    ended: bool = False  # the hold is settled or void, or its settlement is on the way
    answer: Answer | None = None
    begun: Begun | None = None  # where the request has been sent already

    def is_abandoned(self) -> bool:
        """Whether the client has hung up."""
        return self.exchange.gone

    def hang_up(self, task: asyncio.Task[Any]) -> None:
        """The client is gone, or the server stops: cancel the upstream at once."""
        self.counters.hung_up += self.exchange.gone
        if self.opening:
            task.cancel()
        elif self.answer is not None:
            self.answer.cancel()

    # ── money ────────────────────────────────────────────────────────────────────────────────────────────────────
    def bill(self, measured: Measured, tier: str | None = None) -> Bill:
        """Settle what was used at the service tier that the answer names, within what was held for it (H4)."""
        try:
            used = as_priced(measured.quantities, self.book_rates)
        except Inconsistent as why:
            return Bill(Measured({}, estimated=False), Charge(0, ()), self.quarantine(why))
        if OUTPUT in used and not self.body.shape.caps:
            used = {unit: count for unit, count in used.items() if unit != OUTPUT}
        priority = self.rates is not self.book_rates and tier in (None, PRIORITY_TIER)
        billed = within_bounds(used, self.ask.input_tokens, self.held.cap * self.ask.choices)
        charge = rate(with_priority(billed) if priority else billed, self.book_rates, self.hold.amount)
        if charge.clamped_nanos:
            billed, charge = within_hold(billed, self.book_rates, self.hold.amount, priority=priority)
        if billed is not used:
            self._count_clamped(with_priority(used) if priority else used, charge)
        self.counters.settled += 1
        if self.meter is not None and self.tokens is not None:
            counted = Measured(billed, measured.estimated)
            prompt = counted.prompt_tokens
            self.meter.settle(self.tokens, prompt, prompt - counted.cached_tokens, counted.output_tokens)
        if measured.estimated:
            self.counters.estimated += 1
        quantities = with_priority(billed) if priority else billed
        event = self._event(quantities, charge, estimated=measured.estimated, state=SETTLED)
        return Bill(Measured(billed, measured.estimated), charge, self._settle(event))

    def _count_clamped(self, used: Quantities, charge: Charge) -> None:
        over = rate(used, self.book_rates, charge.amount_nanos).clamped_nanos
        self.counters.clamped += 1
        self.counters.clamped_nanos += over
        log.warning("request %s used more than its bounds; %s is the operator's", self.request_id, format_usd(over))

    def quarantine(self, why: Inconsistent) -> asyncio.Future[None]:
        """Usage that contradicts itself is kept for review and not billed; the future is done when that is durable."""
        self.counters.quarantined += 1
        log.error("request %s quarantined: %s", self.request_id, why)
        if self.meter is not None:
            self.meter.release(self.tokens)
        return self._settle(self._event({}, Charge(0, ()), estimated=False, state=QUARANTINED))

    def _settle(self, event: Event) -> asyncio.Future[None]:
        if self.ended:
            raise Broken(f"request {self.request_id} ends twice")
        self.ended = True
        return self.cashier.settle(self.hold, event)

    def void(self) -> None:
        """Nothing was produced: release the hold. Nothing where it has ended."""
        if self.ended:
            return
        self.ended = True
        self.counters.voided += 1
        if self.meter is not None:
            self.meter.release(self.tokens)
        self.cashier.void(self.hold)

    def _event(self, quantities: dict[str, int], charge: Charge, *, estimated: bool, state: str) -> Event:
        return Event(
            account=self.principal.account,
            source="gateway",
            id=self.request_id,
            model=self.served.name,
            user=self.principal.user,
            key=self.principal.key,
            occurred_at=self.occurred_at,
            month=self.hold.month,
            bill_month=self.hold.month,
            version=self.hold.version,
            quantities=quantities,
            parts=charge.parts,
            cost_nanos=charge.amount_nanos,
            held_nanos=self.hold.amount,
            clamped_nanos=charge.clamped_nanos,
            estimated=estimated,
            state=state,
            budgets=self.hold.budgets,
        )

    # ── upstream ─────────────────────────────────────────────────────────────────────────────────────────────────
    async def open(self) -> Answer:
        """The first upstream that answers; the next one is tried where one fails before a first byte.

        Where none does better, the last real answer is passed on rather than another's silence.
        """
        served, loop = self.served, asyncio.get_running_loop()
        body = splicing.for_upstream(self.body, served.terms, self.held.cap, served.upstream_model)
        headers = self._headers_sent()
        order, begun = self.begun or (served.in_order(loop.time()), None)
        kept: Answer | None = None
        failure: UpstreamError = Unreachable("no upstream")
        try:
            for target in order:
                first, begun = begun, None
                try:
                    answer = await target.origin.open(
                        "POST",
                        f"{target.base}/{self.body.kind}",
                        headers,
                        body,
                        timeout_seconds=served.timeout_seconds,
                        whole_seconds=served.whole_seconds,
                        on_sent=self._note_sent,
                        begun=first,
                    )
                except UpstreamError as error:
                    failure = error
                    self._rest(target, str(error))
                    if isinstance(error, TimedOut) and error.phase != "connect":
                        break  # it may be at work: nobody else is to do the same
                    continue
                if answer.status not in _NEXT_TRIED:
                    return answer
                self._rest(target, f"it answered {answer.status}")
                kept = _better(answer, kept)
            if kept is None:
                raise failure
            answer, kept = kept, None
            return answer
        finally:
            if kept is not None:
                kept.cancel()

    def _rest(self, target: Target, why: str) -> None:
        """Try others first for a while; said once in that while."""
        if self.served.rest(target, asyncio.get_running_loop().time()):
            log.warning("upstream %s of model %s rests: %s", target.origin.url, self.served.name, why)

    def _note_sent(self) -> None:
        self.sent = True

    def _headers_sent(self) -> Headers:
        headers = sent_on(self.exchange.request)
        headers.append((b"x-request-id", self.request_id.encode()))
        return headers + sent_besides(self.served, self.body.kind)

    def refusal(self, error: UpstreamError) -> Refusal:
        """What the client hears of an upstream that failed before anything was sent."""
        return called_off(self.hold) if self.exchange.called_off else upstream_refusal(error)

    def answer_headers(self, answer: Answer) -> Headers:
        """The upstream's headers that are passed on, and ours."""
        return passed_on(answer) + self.headers

    async def headroom_header(self) -> tuple[bytes, bytes]:
        """What the account can still spend, as a header (H2)."""
        left = await self.remaining.tell(self.hold)
        return (b"x-purser-headroom-usd", b"unlimited" if left is None else format_usd(left).encode())


def sent_on(request: Request) -> Headers:
    """A client's headers that the upstream gets; behind them its request's id."""
    return [pair for pair in request.headers if pair[0] not in _NOT_SENT]


def sent_besides(served: Served, kind: str = CHAT) -> Headers:
    """What every request to a model's upstreams has besides; the key of Anthropic's own API has a header of its own."""
    headers: Headers = [(b"accept-encoding", b"identity")]
    if served.authorization is not None and served.terms.engine == "other" and kind in (MESSAGES, COUNT_TOKENS):
        headers.append((b"x-api-key", served.authorization.removeprefix(b"Bearer ")))
    elif served.authorization is not None:
        headers.append((b"authorization", served.authorization))
    return headers


def passed_on(answer: Answer) -> Headers:
    """An upstream's headers that the client gets."""
    return [pair for pair in answer.headers if pair[0] not in _NOT_PASSED and not pair[0].startswith(_OURS)]


def _better(answer: Answer, kept: Answer | None) -> Answer:
    """Which of two answers that are no use to pass on in the end: the later one, but rather none that refuses us."""
    if kept is not None and answer.status in REFUSED_US and kept.status not in REFUSED_US:
        answer, kept = kept, answer
    if kept is not None:
        kept.cancel()
    return answer


def called_off(hold: Hold) -> Refusal:
    """503: this process ends before the request has, or cannot hold its money any longer."""
    why = "This server had to give up the money it held" if hold.lost else "This server is stopping"
    return unavailable(f"{why}; nothing was billed. Send the request again.")


def upstream_refusal(error: UpstreamError) -> Refusal:
    if isinstance(error, Crowded):
        return unavailable("The model server is busy; nothing was billed. Try again in a second.")
    if isinstance(error, TimedOut):
        status, code = (504, "upstream_timeout") if error.phase != "connect" else (502, "upstream_unreachable")
        return Refusal(status, code, "The model server did not answer in time; nothing was billed.")
    if isinstance(error, Unreachable):
        return Refusal(502, "upstream_unreachable", "The model server cannot be reached; nothing was billed.")
    if isinstance(error, TooLarge):
        return Refusal(502, "upstream_too_large", "The model server's answer was too large; nothing was billed.")
    return Refusal(502, "upstream_broken", "The model server's answer was broken; nothing was billed.")


def tokens_nanos(passage: Passage, output_tokens: int) -> int:
    """The hold that covers so many output tokens per choice."""
    return hold_nanos(passage.rates, passage.ask.input_tokens, output_tokens * passage.ask.choices)


def tokens_within(passage: Passage, nanos: int) -> int:
    """The output tokens per choice that a hold of `nanos` covers."""
    return affordable_tokens(passage.rates, passage.ask, nanos)
