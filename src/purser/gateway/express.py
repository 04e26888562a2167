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

from msgspec import Struct

from purser.core import ratelimit
from purser.core.admission import FIT, Held
from purser.core.errors import PurserError
from purser.core.money import format_usd
from purser.core.period import month_of
from purser.core.pricebook import PriceBook
from purser.core.tariff import is_plain
from purser.flows.access import Principal
from purser.flows.lessee import Hold
from purser.gateway import bodies
from purser.gateway.directory import Standing
from purser.gateway.meter import Reserved
from purser.gateway.models import Target
from purser.gateway.offer import Offer
from purser.gateway.passage import Admitted, Begun, passed_on, sent_on
from purser.gateway.paths import POSTS
from purser.gateway.refusals import Headers
from purser.gateway.relay import relay
from purser.gateway.shapes import CHAT
from purser.gateway.splicing import added, cap_field, encode, replaced
from purser.gateway.usual import Chat, read_answer, read_chat
from purser.http.exchange import Exchange, Request
from purser.http.head import header_lines
from purser.http.upstream import Answer
from purser.store.usage import Event

if TYPE_CHECKING:
    from purser.gateway.app import Gateway

_LINES = (
    b"%bx-request-id: %b\r\nx-ratelimit-limit-requests: %d\r\nx-ratelimit-remaining-requests: %d\r\n"
    b'ratelimit-policy: "requests";q=%d;w=60\r\nratelimit: "requests";r=%d\r\n'
    b"x-purser-headroom-usd: %b\r\nx-purser-cost-usd: %b\r\n"
    b"fireworks-prompt-tokens: %d\r\nfireworks-cached-prompt-tokens: %d\r\n"
)


_REQUEST = b"%bx-request-id: %b\r\n%bcontent-length: %d\r\n\r\n%b"


class Caller:
    """What a client's head says, and who that is as of one generation of the directory."""

    __slots__ = ("generation", "heads", "principal", "secret", "standing")

    principal: Principal
    standing: Standing

    def __init__(self, secret: bytes) -> None:
        self.secret = secret
        self.generation = -1
        self.heads: dict[Target, bytes] = {}  # how the head for an upstream begins


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
        if known is None or exchange.gone or not gateway.is_ready():
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
        journey = None if offer is None else self._admit(exchange, caller, offer, chat, now)
        if journey is None:
            return False
        journey.set_out(self._loop.time())
        return True

    def _admit(self, exchange: Exchange, caller: Caller, offer: Offer, chat: Chat, now: int) -> Journey | None:
        """Hold the most that a request can cost, and count it; None, and neither is done, where that is not plain."""
        gateway, terms, requested = self._gateway, offer.served.terms, chat.requested
        cap = terms.max_output_tokens if requested is None else requested
        if not 0 < cap <= offer.most_tokens:
            return None
        input_tokens = chat.input_tokens(terms)
        amount = offer.hold_nanos(input_tokens, cap)
        cashier, account, month = gateway.cashier, caller.principal.account, month_of(now)
        lessee, budgets = cashier.lessee, caller.principal.budget_rows(now)
        fitted = requested is None and terms.policy == FIT
        if fitted and amount > lessee.left(lessee.path(account, month, budgets)) // 2:
            return None
        id_ = gateway.next_id()
        hold = lessee.hold_at_once(id_, account, month, offer.book.version, amount, budgets)
        if hold is None:
            return None
        journey, tokens, meter = None, None, gateway.meter
        try:
            if caller.standing.limits_tokens:
                tokens = meter.hold_at_once(account, offer.served.name, input_tokens, cap)
                if tokens is None:
                    return None
            remaining = gateway.limiter.count_at_once(account)
            if remaining >= 0:
                journey = Journey(
                    gateway,
                    exchange,
                    caller.principal,
                    caller.heads,
                    offer,
                    id_.encode(),
                    now,
                    hold,
                    cap,
                    requested is not None,
                    input_tokens,
                    caller.standing.requests_per_minute,
                    remaining,
                    tokens,
                )
                gateway.remaining.watch(hold)
                hold.bearer = exchange
                gateway.counters.requests += 1
                gateway.running += 1
        finally:
            if journey is None:
                cashier.void(hold)
                meter.release(tokens)
        return journey

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
        if served is None or model not in book.models or not is_plain(book.models[model]):
            return None
        offer = self._offers[model] = Offer(served, book)
        return offer


class Journey(Struct, eq=False):
    """One request on the express way."""

    gateway: Gateway
    exchange: Exchange
    principal: Principal
    heads: dict[Target, bytes]  # its caller's
    offer: Offer
    id: bytes
    at: int
    hold: Hold
    cap: int
    names_cap: bool  # the request names its cap itself
    input_tokens: int
    most: int  # requests a minute
    remaining: int  # of these
    tokens: Reserved | None = None  # what of the account's tokens per minute it may use, where these are limited
    order: Sequence[Target] = ()
    answer: Answer | None = None  # while it is under way
    settling: bool = False
    lines: bytes = b""  # the answer's headers that are passed on
    raw: bytes = b""
    prompt_and_cached: tuple[int, int] = (0, 0)
    cost_nanos: int = 0

    def set_out(self, now: float) -> None:
        """Send the request on. From here on what goes wrong is for this journey to say."""
        try:
            self._send(now)
        except Exception as error:
            self._fail(error)

    def _send(self, now: float) -> None:
        request, served, heads = self.exchange.request, self.offer.served, self.heads
        self.order = order = served.in_order(now)
        target = order[0]
        head = heads.get(target)
        if head is None:
            head = heads[target] = target.origin.head_begin("POST", f"{target.base}/{CHAT}", sent_on(request))
        body: bytes | None = request.body
        if served.upstream_model != served.name:
            body = replaced(request.body, "model", self.offer.name, encode(served.upstream_model))
        if body is None:
            self._go_on()
            return
        if not self.names_cap:
            body = added(body, cap_field(CHAT, served.terms.engine), b"%d" % self.cap)
        sent = _REQUEST % (head, self.id, self.offer.besides, len(body), body)
        answer = target.origin.send_at_once(sent, served.timeout_seconds, self.offer.whole_seconds)
        if answer is None:
            self._go_on()
            return
        self.answer = answer
        answer.when_whole(self._heard)
        self.exchange.on_gone(self._left)

    def _left(self) -> None:
        """The client is gone, or the server stops: what that means for the request is for the general way to say."""
        try:
            if self.answer is not None:
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
        answer, offer, hold = self.answer, self.offer, self.hold
        raw, known = (None, None) if answer is None else (answer.in_one(), answer.known)
        said = None if raw is None else read_answer(raw)
        if answer is None or raw is None or known is None or said is None:
            self._go_on()
            return
        model, prompt, cached, output = said
        used, charge = offer.charge(prompt, cached, output)
        cost = charge.amount_nanos
        if model != offer.served.name:
            raw = replaced(raw, "model", encode(model), offer.name)
        if raw is None or prompt > self.input_tokens or output > self.cap or cost > hold.amount:
            self._go_on()
            return
        if known.notes is None:
            known.notes = header_lines(passed_on(answer))
        self.lines, self.raw, self.prompt_and_cached = known.notes, raw, (prompt, cached)
        self.cost_nanos = cost
        self.answer, self.settling = None, True
        gateway, principal = self.gateway, self.principal
        gateway.counters.settled += 1
        if self.tokens is not None:
            gateway.meter.settle(self.tokens, prompt, prompt - cached, output)
            self.lines += self.tokens.lines()
        event = Event(
            principal.account,
            "gateway",
            self.id.decode(),
            offer.served.name,
            principal.user,
            principal.key,
            self.at,
            hold.month,
            hold.month,
            hold.version,
            used,
            charge.parts,
            cost,
            hold.amount,
            budgets=hold.budgets,
        )
        gateway.cashier.settle_then(hold, event, self._settled)

    def _settled(self, error: PurserError | None) -> None:
        """The settlement is durable, or could not be made."""
        try:
            self._finish(error)
        except Exception as fault:
            self._fail(fault)

    def _finish(self, error: PurserError | None) -> None:
        gateway, hold = self.gateway, self.hold
        if error is not None:
            gateway.refuse(self.exchange, error, self.id.decode(), self._headers())
        else:
            is_known, left = gateway.remaining.at_once(hold)
            if is_known:
                self._tell(left)
            else:
                self.exchange.go_on(self._tell_later)
        gateway.running -= 1

    async def _tell_later(self, _: Exchange) -> None:
        self._tell(await self.gateway.remaining.tell(self.hold))

    def _tell(self, left: int | None) -> None:
        """Answer; `left` is what the account can still spend."""
        prompt, cached = self.prompt_and_cached
        lines = _LINES % (
            self.lines,
            self.id,
            self.most,
            self.remaining,
            self.most,
            self.remaining,
            b"unlimited" if left is None else format_usd(left).encode(),
            format_usd(self.cost_nanos).encode(),
            prompt,
            cached,
        )
        self.exchange.answer_lines(lines, self.raw)

    def _fail(self, error: Exception) -> None:
        """A fault of our own: end as an answerer that raises it."""
        if not self.settling:
            self.gateway.cashier.void(self.hold)
        self.gateway.meter.release(self.tokens)
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.when_whole(None)
            answer.cancel()
        self.gateway.running -= 1

        async def raise_it(_: Exchange) -> None:
            raise error

        self.exchange.go_on(raise_it)

    # ── the general way, from here ───────────────────────────────────────────────────────────────────────────────
    def _headers(self) -> Headers:
        told = [] if self.tokens is None else self.tokens.headers()
        return [(b"x-request-id", self.id), *ratelimit.headers(self.most, self.remaining), *told]

    def _go_on(self) -> None:
        """Carry the request on as any other, with its hold and with the answer that is under way."""
        gateway, exchange, offer, hold = self.gateway, self.exchange, self.offer, self.hold
        body = bodies.read(CHAT, exchange.request.body)
        ask = bodies.ask(body, offer.served.terms)
        held = Held(hold.amount, self.cap, self.cap)
        admitted = Admitted(hold, held, offer.rates, offer.rates, self.at)
        headers = self._headers()
        passage = gateway.passage(
            exchange, self.principal, offer.served, body, ask, admitted, self.id.decode(), headers, None, self.tokens
        )
        answer, self.answer = self.answer, None
        if answer is not None:
            answer.when_whole(None)
            passage.begun, passage.sent = Begun(self.order, answer), True
        gateway.running -= 1
        exchange.go_on(lambda _: gateway.guard(exchange, self.id.decode(), headers, relay(passage)))
