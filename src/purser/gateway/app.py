"""The gateway's front: authorises a data-plane request in memory, in the order of H6, and has it relayed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any

import msgspec

from purser.core import ratelimit
from purser.core.admission import Ask
from purser.core.errors import Broken, PurserError, Unavailable
from purser.core.ids import is_request_id, make_id
from purser.core.key_checks import KeyChecks
from purser.core.period import SECOND, month_of
from purser.core.policy import Policy
from purser.core.pricebook import PriceBook, priority_rates
from purser.core.usage import INPUT
from purser.flows import requests
from purser.flows.access import Principal
from purser.flows.lessee import Hold
from purser.flows.queue import WriteQueue
from purser.gateway import bodies, dedicated, refusals
from purser.gateway.callers import Callers, dashboard_url, known_principal, require_good_standing, require_principal
from purser.gateway.cashier import Cashier, Shortfall
from purser.gateway.claims import Claim, Claims
from purser.gateway.directory import Directory, Standing
from purser.gateway.express import Express
from purser.gateway.heartbeat import Heartbeat
from purser.gateway.limiter import Counted, Limiter
from purser.gateway.meter import Meter, Reserved
from purser.gateway.models import MOST_RUNNING, Served, list_models, origins_of
from purser.gateway.passage import Admitted, Counters, Passage
from purser.gateway.paths import POSTS, QUOTES, is_data_plane, not_offered
from purser.gateway.quote import left_now, quote
from purser.gateway.refusals import JSON, Headers, Refusal
from purser.gateway.relay import relay
from purser.gateway.remaining import Remaining
from purser.http.exchange import Exchange, Request
from purser.http.room import Room
from purser.store.db import Database
from purser.store.writers import Fenced, World

log = logging.getLogger("purser.gateway")


_encode = msgspec.json.Encoder().encode
MOST_BACKLOG = 16_384  # transactions that wait; admitting more work than can be posted helps nobody
MOST_WAITING_BYTES = 256 * 1024 * 1024  # of answers that are read whole, together


class Gateway:
    """The data plane of one process. Make it on the event loop; `answer` takes the paths that `takes` says."""

    def __init__(
        self,
        db: Database,
        queue: WriteQueue,
        world: World,
        policy: Policy,
        served: dict[str, Served],
        *,
        resolve_url: str,
        trusted_proxies: tuple[str, ...] = (),
        reload_clock: Callable[[], None] = lambda: None,
    ) -> None:
        self.db, self.queue, self.world, self.policy, self.served = db, queue, world, policy, served
        self.resolve_url = resolve_url
        self._loop = asyncio.get_running_loop()
        self.cashier = Cashier(queue, policy, self._monotonic)
        self.remaining = Remaining(db, self.cashier.lessee, queue.writer, self._monotonic)
        self.claims = Claims(self.cashier)
        self.limiter = Limiter(self.cashier)
        self.meter = Meter(self.cashier)
        self._room = Room(MOST_WAITING_BYTES)
        self.directory = Directory(db, policy, world.now)
        self.key_checks = KeyChecks(policy.wrong_keys_per_minute)
        self.callers = Callers(self.directory, self.key_checks, trusted_proxies)
        self.counters = Counters()
        self.running = 0
        self._named = 0  # request ids: the process's own id and a count
        self._name = make_id("req", world.wall(), world.entropy(80)) + "-"
        self._reload_clock = reload_clock
        self.at_once = Express(self).take
        self._heartbeat = Heartbeat(
            db,
            queue,
            world,
            policy,
            self.cashier,
            self.claims,
            self.limiter,
            self.meter,
            self.remaining,
            on_changes=self._forget,
            reload_clock=reload_clock,
        )

    # ── routing ──────────────────────────────────────────────────────────────────────────────────────────────────
    def takes(self, request: Request) -> bool:
        """Whether a request is the gateway's; everything else is the control plane's."""
        return request.path in QUOTES or is_data_plane(request.path)

    async def answer(self, exchange: Exchange) -> None:
        """Answer one data-plane request."""
        request = exchange.request
        request_id, named = self._request_id(request)
        self.counters.requests += 1
        headers: Headers = [(b"x-request-id", request_id.encode())]
        kind = POSTS.get(request.path)
        if kind is not None and request.method == "POST":
            work = self._serve(exchange, kind, request_id, headers, named=named)
        else:
            work = self._answer_small(exchange, request_id, headers)
        await self.guard(exchange, request_id, headers, work)

    async def guard(
        self, exchange: Exchange, request_id: str, headers: Headers, work: Coroutine[Any, Any, None]
    ) -> None:
        """Do what answers a request; what it raises is what the client hears."""
        self.running += 1
        try:
            await work
        except (PurserError, Refusal) as error:
            self.refuse(exchange, error, request_id, headers)
        except (Broken, Fenced):
            log.exception("request %s could not be carried through", request_id)
            unsafe = Unavailable("money cannot be held safely just now; try again in a moment")
            self.refuse(exchange, unsafe, request_id, headers)
        finally:
            self.running -= 1

    def refuse(self, exchange: Exchange, error: PurserError | Refusal, request_id: str, headers: Headers) -> None:
        """Tell a client why its request is not answered."""
        refusal = error if isinstance(error, Refusal) else refusals.of_error(error)
        self.counters.refused[refusal.status] = self.counters.refused.get(refusal.status, 0) + 1
        if exchange.started:
            exchange.abort()
            return
        refusal.tell(exchange, request_id, headers)

    def _request_id(self, request: Request) -> tuple[str, bool]:
        """The request's id, and whether its client named it so."""
        given = request.header(b"x-request-id")
        if given is not None and given.isascii() and is_request_id(given.decode()):
            return given.decode(), True
        return self.next_id(), False

    def next_id(self) -> str:
        """The id of a request whose client gave it none."""
        self._named += 1
        return f"{self._name}{self._named:08x}"

    # ── the hot path ─────────────────────────────────────────────────────────────────────────────────────────────
    async def _serve(self, exchange: Exchange, kind: str, request_id: str, headers: Headers, *, named: bool) -> None:
        request = exchange.request
        principal = known_principal(self.directory, request) or await require_principal(self.callers, request)
        if self._is_crowded():
            raise Unavailable("too many requests are running here just now; try again in a second")
        self.cashier.check_in_touch()
        standing = self.directory.known_standing(principal.account)
        if standing is None or standing.causes:
            standing = await require_good_standing(self.directory, principal)
        headers += await self._count(standing)
        body = bodies.read(kind, request.body)
        served = self.served.get(body.model)
        book = self.directory.known_book(self.world.now()) or await self.directory.price_book()
        rates = book.models.get(body.model) if book is not None else None
        if served is None or rates is None or book is None:
            raise await dedicated.refuse(self.cashier, principal, body.model)
        if INPUT not in rates:
            raise refusals.not_by_tokens(body.model)
        policy = request.header(b"x-purser-fit")
        ask = bodies.ask(body, served.terms, None if policy is None else policy.decode("latin-1"))
        claim, tokens = None, None
        try:
            if standing.limits_tokens:
                most = ask.cap * ask.choices
                tokens = await self.meter.hold(principal.account, body.model, ask.input_tokens, most)
                headers += tokens.headers()
            claim = await self.claims.take(principal.account, request_id) if named else None
            admitted = self._hold_at_once(principal, body, ask, book, request_id)
            if admitted is None:
                admitted = await self._admit(request, principal, body, ask, book, request_id)
            await relay(
                self.passage(exchange, principal, served, body, ask, admitted, request_id, headers, claim, tokens)
            )
        finally:
            self.meter.release(tokens)
            if claim is not None:
                await self._end_claim(claim, exchange)

    async def _admit(
        self, request: Request, principal: Principal, body: bodies.Body, ask: Ask, book: PriceBook, request_id: str
    ) -> Admitted:
        """Hold the request's money; raises Refusal where it is short."""
        month = month_of(self.world.now())
        try:
            return await self._hold(request, principal, body, ask, book, request_id)
        except Unavailable:
            await asyncio.to_thread(self._reload_clock)
            now = self.world.now()
            if month_of(now) == month:
                raise
        # The month has turned and was closed elsewhere, before this process had heard of it.
        book = await self.directory.price_book() or book
        return await self._hold(request, principal, body, ask, book, request_id)

    async def _hold(
        self, request: Request, principal: Principal, body: bodies.Body, ask: Ask, book: PriceBook, request_id: str
    ) -> Admitted:
        at_once = self._hold_at_once(principal, body, ask, book, request_id)
        if at_once is not None:
            return at_once
        book_rates = book.models[body.model]
        rates = (priority_rates(book_rates) if body.priority else None) or book_rates
        now = self.world.now()
        asked = await self.cashier.hold(
            request_id, principal.account, month_of(now), book.version, rates, ask, principal.budget_rows(now)
        )
        if isinstance(asked, Shortfall):
            raise refusals.insufficient(asked, dashboard_url(request, self.resolve_url))
        await self._check_still_stands(principal, asked[0])
        self.remaining.watch(asked[0])
        return Admitted(*asked, rates, book_rates, now)

    def _hold_at_once(
        self, principal: Principal, body: bodies.Body, ask: Ask, book: PriceBook, request_id: str
    ) -> Admitted | None:
        """Hold from the spare at hand; None where the store has to be asked."""
        book_rates = book.models[body.model]
        rates = (priority_rates(book_rates) if body.priority else None) or book_rates
        now = self.world.now()
        budgets = principal.budget_rows(now) if principal.bounds else ()
        found = self.cashier.hold_at_once(
            request_id, principal.account, month_of(now), book.version, rates, ask, budgets
        )
        if found is None:
            return None
        self.remaining.watch(found[0])
        return Admitted(found[0], found[1], rates, book_rates, now)

    def passage(
        self,
        exchange: Exchange,
        principal: Principal,
        served: Served,
        body: bodies.Body,
        ask: Ask,
        admitted: Admitted,
        request_id: str,
        headers: Headers,
        claim: Claim | None = None,
        tokens: Reserved | None = None,
    ) -> Passage:
        """An admitted request as it is carried through."""
        cap = admitted.held.cap
        if cap < (ask.cap if ask.requested is None else ask.requested):
            headers.append((b"x-purser-max-tokens", b"%d" % cap))
        admitted.hold.bearer = exchange
        passage = Passage(
            exchange=exchange,
            request_id=request_id,
            principal=principal,
            served=served,
            body=body,
            ask=ask,
            rates=admitted.rates,
            book_rates=admitted.book_rates,
            hold=admitted.hold,
            held=admitted.held,
            occurred_at=admitted.at,
            headers=headers,
            cashier=self.cashier,
            counters=self.counters,
            remaining=self.remaining,
            room=self._room,
            slice_tokens=self.policy.slice_tokens,
        )
        if tokens is not None:
            passage.meter, passage.tokens = self.meter, tokens
        if claim is not None:
            passage.free = partial(self.claims.free, claim)
        return passage

    async def _end_claim(self, claim: Claim, exchange: Exchange) -> None:
        """Where a refusal is still to be said, its client may send the request again as soon as it has heard it."""
        if exchange.ended:
            self.claims.leave(claim)
        else:
            await self.claims.free(claim)

    def is_ready(self) -> bool:
        """Whether another request can be taken: it can be carried and posted, and the store has been heard of."""
        return not self._is_crowded() and self.cashier.is_in_touch()

    def _is_crowded(self) -> bool:
        return self.running > MOST_RUNNING or self.queue.backlog() > MOST_BACKLOG

    async def _check_still_stands(self, principal: Principal, hold: Hold) -> None:
        """The account may have been suspended while its request waited for money; the hold is then released."""
        try:
            await require_good_standing(self.directory, principal)
        except BaseException:
            self.cashier.void(hold)
            raise

    async def _count(self, standing: Standing) -> Headers:
        wait, most, left = await self.limiter.count(standing.account, standing.requests_per_minute)
        if wait:
            raise refusals.too_many(wait, most)
        return list(ratelimit.headers(most, left))

    # ── the small routes ─────────────────────────────────────────────────────────────────────────────────────────
    async def _answer_small(self, exchange: Exchange, request_id: str, headers: Headers) -> None:
        request = exchange.request
        path, method = request.path, request.method
        nothing = not_offered(path)
        if nothing is not None:
            await require_principal(self.callers, request)
            raise Refusal(404, "not_found", nothing)
        if path in POSTS or path in QUOTES:
            if method != "POST":
                raise Refusal(405, "method_not_allowed", f"Use POST for {path}.", headers=[(b"allow", b"POST")])
        elif method not in ("GET", "HEAD"):
            raise Refusal(405, "method_not_allowed", f"Use GET for {path}.", headers=[(b"allow", b"GET")])
        principal = await require_principal(self.callers, request)
        standing = await self.directory.standing(principal.account)
        if path in QUOTES:
            headers += await self._count(standing)
            body = await self._quote(request, principal, standing)
        elif path == "/verifyApiKey":
            body = _encode({"account": principal.account, "user": principal.user, "keyId": principal.key})
        else:
            headers += await self._count(standing)
            book = await self.directory.price_book()
            body = _encode(list_models(self.served, path, book.models if book is not None else {}))
        exchange.answer(200, [JSON, *headers], body)

    async def _quote(self, request: Request, principal: Principal, standing: Standing) -> bytes:
        now = self.world.now()
        keys = requests.path(principal.account, month_of(now), principal.budget_rows(now))
        book = await self.directory.price_book()

        async def left() -> tuple[str, int]:
            return await left_now(self.db, self.policy, self.remaining, principal, keys, now)

        return _encode(await quote(request.body, standing, self.served, book, self.policy, left))

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────────
    def held(self, account: str) -> int:
        """What an account's running requests hold, nano-dollars."""
        return self.cashier.lessee.held(account)

    def held_by_month(self, account: str) -> dict[str, int]:
        """The same, by the month in which each of them began."""
        return self.cashier.lessee.held_by_month(account)

    async def count_control_request(self, account: str) -> Counted:
        """Count a control-plane request toward an account's requests per minute; raises Unavailable."""
        self.cashier.check_in_touch()
        standing = await self.directory.standing(account)
        return await self.limiter.count(account, standing.requests_per_minute)

    def recent_requests(self, account: str) -> int:
        """How many of an account's requests of the last minute this process counted by itself."""
        return self.limiter.recent(account)

    def on_touched(self, touched: set[str]) -> None:
        """Accounts changed in a commit of this process; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._forget, touched)

    def _forget(self, touched: set[str] | None) -> None:
        self.directory.forget(touched)
        self.limiter.forget(touched)
        self.meter.forget(touched)
        for account in self.cashier.lessee.accounts() if touched is None else touched:
            self.cashier.lessee.forget_left(account)

    def _monotonic(self) -> int:
        """Microseconds that go on also while a manual clock stands still."""
        return int(self._loop.time() * SECOND)

    async def close(self) -> None:
        """Stop the heartbeat and close the upstream connections; running requests have ended by now."""
        await self._heartbeat.stop()
        await self.remaining.close()
        try:
            await self.claims.free_ended()
        except Unavailable:
            log.warning("ids of requests are freed when this process is gone")
        for origin in origins_of(self.served.values()):
            await origin.close()
