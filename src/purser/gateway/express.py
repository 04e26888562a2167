"""The express way: what most requests are, carried through by callbacks, with no task and each thing looked up once.

It takes a chat request that `usual` can read, of a client whose head is known, for whose money the spare at hand is
enough; an answer that `usual` can read; and a client that waits for it. Whatever is otherwise, at any point, goes the
general way from there: `app` admits it, or `relay` carries it through with the hold it has and the answer that is on
its way. So nothing is refused here, and what the two ways answer, hold and bill is the same.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from purser.core.admission import FIT, Held, hold_nanos
from purser.core.errors import PurserError
from purser.core.money import format_usd
from purser.core.period import month_of
from purser.core.pricebook import PriceBook
from purser.core.rating import Charge, rate
from purser.core.tariff import tariff_of
from purser.core.usage import Quantities, quantities
from purser.flows.access import Principal
from purser.flows.lessee import Hold, remaining_of
from purser.gateway import bodies
from purser.gateway.bodies import CHAT
from purser.gateway.directory import Standing
from purser.gateway.models import Served, Target
from purser.gateway.passage import Admitted, Begun, passed_on, sent_besides, sent_on
from purser.gateway.paths import POSTS
from purser.gateway.refusals import Headers
from purser.gateway.relay import relay
from purser.gateway.splicing import added, cap_field
from purser.gateway.usual import Chat, Usage, read_answer, read_chat
from purser.http.exchange import Exchange, Request
from purser.http.head import header_lines
from purser.http.upstream import Answer
from purser.store.usage import Event

if TYPE_CHECKING:
    from purser.gateway.app import Gateway

_LINES = (
    b"%bx-request-id: %b\r\nx-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n"
    b"x-purser-headroom-usd: %b\r\nx-purser-cost-usd: %b\r\n"
    b"fireworks-prompt-tokens: %d\r\nfireworks-cached-prompt-tokens: %d\r\n"
)


class Caller:
    """What a client's head says, and who that is as of one generation of the directory."""

    __slots__ = ("generation", "heads", "principal", "secret", "standing")

    principal: Principal
    standing: Standing

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.generation = -1
        self.heads: dict[Target, bytes] = {}  # how the head for an upstream begins


class Offer:
    """A model as it is sold under one price book."""

    __slots__ = ("besides", "book", "most_tokens", "rates", "served", "tariff")

    def __init__(self, served: Served, book: PriceBook) -> None:
        self.served, self.book = served, book
        self.rates = book.models[served.name]
        self.tariff = tariff_of(self.rates)
        self.besides = header_lines(sent_besides(served))
        self.most_tokens = min(served.terms.context_tokens, served.terms.max_output_tokens)

    def hold_nanos(self, input_tokens: int, output_tokens: int) -> int:
        """The most that these bounds can cost."""
        if self.tariff is not None:
            return self.tariff.hold_nanos(input_tokens, output_tokens)
        return hold_nanos(self.rates, input_tokens, output_tokens)

    def charge(self, prompt: int, cached: int, output: int) -> tuple[Quantities, Charge]:
        """What was used, and what it costs."""
        if self.tariff is not None:
            return self.tariff.charge(prompt - cached, cached, output)
        used = quantities(prompt, cached, output)
        return used, rate(used, self.rates)


def look(request: Request) -> Caller | bool:
    """Who sends requests of this head; False where it asks for anything that is not usual."""
    given = request.header(b"authorization")
    if POSTS.get(request.path) != CHAT or request.method != "POST" or given is None or given[:7] != b"Bearer ":
        return False
    if request.header(b"x-request-id") is not None or request.header(b"x-purser-fit") is not None:
        return False
    return Caller(given[7:])


class Express:
    """The express way of one gateway."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._loop = asyncio.get_running_loop()
        self._offers: dict[str, Offer] = {}

    def take(self, exchange: Exchange) -> bool:
        """Take over a request that is one of the usual; False, and nothing has happened, for any other."""
        request, gateway = exchange.request, self._gateway
        known = request.known
        if known is None or exchange.gone or gateway.is_crowded() or not gateway.cashier.is_in_touch():
            return False
        caller = known.notes
        if caller is None:
            caller = known.notes = look(request)
        if not caller or (caller.generation != gateway.directory.generation and not self._know(caller)):
            return False
        now = gateway.world.now()
        book = gateway.directory.known_book(now)
        chat = read_chat(request.body)
        if chat is None or book is None:
            return False
        offer = self._offers.get(chat.model)
        if offer is None or offer.book is not book:
            offer = self._offer(chat.model, book)
        if offer is None:
            return False
        journey = Journey(gateway, exchange, caller, offer, now)
        if not journey.admit(chat):
            return False
        journey.set_out(chat, self._loop.time())
        return True

    def _know(self, caller: Caller) -> bool:
        """Look up who a caller is and how the account stands; False where that is not in memory, or not well."""
        directory = self._gateway.directory
        principal = directory.known_principal(caller.secret)
        if principal is None or principal.operator:
            return False
        standing = directory.known_standing(principal.account)
        if standing is None or standing.causes:
            return False
        caller.principal, caller.standing, caller.generation = principal, standing, directory.generation
        return True

    def _offer(self, model: str, book: PriceBook) -> Offer | None:
        served = self._gateway.served.get(model)
        if served is None or served.upstream_model != model or model not in book.models:
            return None
        offer = self._offers[model] = Offer(served, book)
        return offer


class Journey:
    """One request on the express way."""

    __slots__ = (
        "_answer",
        "_at",
        "_caller",
        "_cap",
        "_cost",
        "_exchange",
        "_gateway",
        "_hold",
        "_id",
        "_input_tokens",
        "_lines",
        "_offer",
        "_order",
        "_raw",
        "_remaining",
        "_settling",
        "_usage",
    )

    _answer: Answer | None  # while it is under way
    _cap: int
    _cost: int
    _hold: Hold
    _input_tokens: int
    _lines: bytes  # the answer's headers that are passed on
    _order: Sequence[Target]
    _raw: bytes
    _remaining: int  # requests, this minute
    _usage: Usage

    def __init__(self, gateway: Gateway, exchange: Exchange, caller: Caller, offer: Offer, at: int) -> None:
        self._gateway, self._exchange, self._caller, self._offer, self._at = gateway, exchange, caller, offer, at
        self._id = gateway.next_id()
        self._answer = None
        self._settling = False

    def admit(self, chat: Chat) -> bool:
        """Hold the most that the request can cost, and count it; False, and neither is done."""
        gateway, offer = self._gateway, self._offer
        terms, requested = offer.served.terms, chat.requested
        self._cap = cap = terms.max_output_tokens if requested is None else requested
        if not 0 < cap <= offer.most_tokens:
            return False
        self._input_tokens = input_tokens = chat.input_tokens(terms)
        amount = offer.hold_nanos(input_tokens, cap)
        account, month, lessee = self._caller.principal.account, month_of(self._at), gateway.cashier.lessee
        if requested is None and terms.policy == FIT and amount > lessee.left(lessee.path(account, month)) // 2:
            return False
        hold = lessee.hold_at_once(self._id, account, month, offer.book.version, amount)
        if hold is None:
            return False
        wait, self._remaining = gateway.directory.count_request(self._caller.standing)
        if wait:
            gateway.cashier.void(hold)
            return False
        self._hold = hold
        hold.bearer = self._exchange
        gateway.remaining.watch(hold)
        gateway.counters.requests += 1
        gateway.running += 1
        return True

    def set_out(self, chat: Chat, now: float) -> None:
        """Send the request on. From here on what goes wrong is for this journey to say."""
        try:
            self._send(chat, now)
        except Exception as error:
            self._fail(error)

    def _send(self, chat: Chat, now: float) -> None:
        request, served, heads = self._exchange.request, self._offer.served, self._caller.heads
        self._order = order = served.in_order(now)
        target = order[0]
        head = heads.get(target)
        if head is None:
            head = heads[target] = target.origin.head_begin("POST", f"{target.base}/{CHAT}", sent_on(request))
        body = request.body
        if chat.requested is None:
            body = added(body, cap_field(CHAT, served.terms.engine), b"%d" % self._cap)
        own = (head, self._id.encode(), self._offer.besides, len(body))
        head = b"%bx-request-id: %b\r\n%bcontent-length: %d\r\n\r\n" % own
        answer = target.origin.send_at_once(head, body, served.timeout_seconds, served.whole_seconds)
        if answer is None:
            self._go_on()
            return
        self._answer = answer
        answer.when_whole(self._heard)
        self._exchange.on_gone(self._left)

    def _left(self) -> None:
        """The client is gone, or the server stops: what that means for the request is for the general way to say."""
        try:
            if self._answer is not None:
                self._go_on()
        except Exception as error:
            self._fail(error)

    def _heard(self) -> None:
        """The answer is whole, or something is the matter with it."""
        try:
            self._read()
        except Exception as error:
            self._fail(error)

    def _read(self) -> None:
        answer = self._answer
        raw, known = (None, None) if answer is None else (answer.in_one(), answer.known)
        said = None if raw is None or known is None else read_answer(raw)
        offer, hold = self._offer, self._hold
        if answer is None or raw is None or known is None or said is None or said.model != offer.served.name:
            self._go_on()
            return
        usage = said.usage
        prompt, cached, output = usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens
        used, charge = offer.charge(prompt, cached, output)
        if prompt > self._input_tokens or output > self._cap or charge.amount_nanos > hold.amount:
            self._go_on()
            return
        if known.notes is None:
            known.notes = header_lines(passed_on(answer))
        self._lines, self._raw, self._usage, self._cost = known.notes, raw, usage, charge.amount_nanos
        self._answer, self._settling = None, True
        gateway, principal = self._gateway, self._caller.principal
        gateway.counters.settled += 1
        event = Event(
            principal.account,
            "gateway",
            self._id,
            said.model,
            principal.user,
            principal.key,
            self._at,
            hold.month,
            hold.month,
            hold.version,
            used,
            charge.parts,
            charge.amount_nanos,
            hold.amount,
        )
        gateway.cashier.settle_then(hold, event, self._settled)

    def _settled(self, error: PurserError | None) -> None:
        """The settlement is durable, or could not be made."""
        try:
            self._finish(error)
        except Exception as fault:
            self._fail(fault)

    def _finish(self, error: PurserError | None) -> None:
        gateway, hold = self._gateway, self._hold
        if error is not None:
            gateway.refuse(self._exchange, error, self._id, self._headers())
        elif gateway.remaining.is_known(hold):
            self._tell(remaining_of(hold.shares))
        else:
            self._exchange.go_on(self._tell_later)
        gateway.running -= 1

    async def _tell_later(self, _: Exchange) -> None:
        self._tell(await self._gateway.remaining.tell(self._hold))

    def _tell(self, left: int | None) -> None:
        """Answer; `left` is what the account can still spend."""
        usage = self._usage
        lines = _LINES % (
            self._lines,
            self._id.encode(),
            self._caller.standing.requests_per_minute,
            self._remaining,
            b"unlimited" if left is None else format_usd(left).encode(),
            format_usd(self._cost).encode(),
            usage.prompt_tokens,
            usage.cached_tokens,
        )
        self._exchange.answer_lines(lines, self._raw)

    def _fail(self, error: Exception) -> None:
        """A fault of our own: end as an answerer that raises it."""
        if not self._settling:
            self._gateway.cashier.void(self._hold)
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.when_whole(None)
            answer.cancel()
        self._gateway.running -= 1

        async def raise_it(_: Exchange) -> None:
            raise error

        self._exchange.go_on(raise_it)

    # ── the general way, from here ───────────────────────────────────────────────────────────────────────────────
    def _headers(self) -> Headers:
        return [
            (b"x-request-id", self._id.encode()),
            (b"x-ratelimit-limit-requests", b"%d" % self._caller.standing.requests_per_minute),
            (b"x-ratelimit-remaining-requests", b"%d" % self._remaining),
        ]

    def _go_on(self) -> None:
        """Carry the request on as any other, with its hold and with the answer that is under way."""
        gateway, exchange, offer, hold = self._gateway, self._exchange, self._offer, self._hold
        body = bodies.read(CHAT, exchange.request.body)
        ask = bodies.ask(body, offer.served.terms)
        held = Held(hold.amount, self._cap, self._cap)
        admitted = Admitted(hold, held, offer.rates, offer.rates, self._at)
        headers = self._headers()
        passage = gateway.passage(
            exchange, self._caller.principal, offer.served, body, ask, admitted, self._id, headers, None
        )
        answer, self._answer = self._answer, None
        if answer is not None:
            answer.when_whole(None)
            passage.begun, passage.sent = Begun(self._order, answer), True
        gateway.running -= 1
        exchange.go_on(lambda _: gateway.guard(exchange, self._id, headers, relay(passage)))
