"""The gateway's front: authorises a data-plane request in memory, in the order of H6, and has it relayed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import unquote

import msgspec

from purser.core.admission import Ask
from purser.core.errors import Broken, PurserError, Unavailable
from purser.core.ids import is_request_id, make_id
from purser.core.money import format_usd
from purser.core.period import SECOND, month_of
from purser.core.policy import Policy
from purser.core.pricebook import PriceBook, priority_rates
from purser.flows import reports, requests
from purser.flows.access import Principal
from purser.flows.lessee import Hold
from purser.flows.queue import WriteQueue
from purser.gateway import bodies, refusals
from purser.gateway.cashier import Cashier, Shortfall
from purser.gateway.directory import Directory, Standing
from purser.gateway.heartbeat import Heartbeat
from purser.gateway.models import Served, describe, origins_of
from purser.gateway.passage import Counters, Passage
from purser.gateway.quote import quote
from purser.gateway.refusals import JSON, Headers, Refusal
from purser.gateway.relay import relay
from purser.http.exchange import Exchange, Request
from purser.store import headroom, usage
from purser.store.db import Database
from purser.store.writers import Fenced, World

log = logging.getLogger("purser.gateway")
_encode = msgspec.json.Encoder().encode
MOST_RUNNING = 10_000  # requests of one process; more wait in vain for the same cores
MOST_BACKLOG = 16_384  # transactions that wait; admitting more work than can be posted helps nobody
_PREFIXES = ("/v1/", "/inference/v1/")
_KINDS = (bodies.CHAT, bodies.COMPLETIONS, bodies.EMBEDDINGS)
_POSTS = {prefix + kind: kind for prefix in _PREFIXES for kind in _KINDS}
_QUOTES = tuple(prefix + "quote" for prefix in _PREFIXES)
_MODELS = tuple(prefix + "models" for prefix in _PREFIXES)


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
        reload_clock: Callable[[], None] = lambda: None,
    ) -> None:
        self.db, self.queue, self.world, self.policy, self.served = db, queue, world, policy, served
        self.resolve_url = resolve_url
        self._loop = asyncio.get_running_loop()
        self.cashier = Cashier(queue, policy, self._monotonic)
        self.directory = Directory(db, policy, world.now)
        self.counters = Counters()
        self._running = 0
        self._claimed: set[tuple[str, str]] = set()  # ids that clients gave to requests that run
        self._heartbeat = Heartbeat(db, queue, world, self.cashier, on_changes=self._forget, reload_clock=reload_clock)

    # ── routing ──────────────────────────────────────────────────────────────────────────────────────────────────
    def takes(self, request: Request) -> bool:
        """Whether a request is the gateway's; everything else is the control plane's."""
        path = request.path
        return (
            path in _POSTS
            or path in _QUOTES
            or (
                path.startswith(_MODELS) and (path in _MODELS or path.startswith(tuple(name + "/" for name in _MODELS)))
            )
            or path == "/verifyApiKey"
        )

    async def answer(self, exchange: Exchange) -> None:
        """Answer one data-plane request."""
        request = exchange.request
        request_id = self._request_id(request)
        self.counters.requests += 1
        headers: Headers = [(b"x-request-id", request_id.encode())]
        self._running += 1
        try:
            kind = _POSTS.get(request.path)
            if kind is not None and request.method == "POST":
                await self._serve(exchange, kind, request_id, headers)
            else:
                await self._answer_small(exchange, request_id, headers)
        except PurserError as error:
            self._refuse(exchange, refusals.of_error(error), request_id, headers)
        except Refusal as refusal:
            self._refuse(exchange, refusal, request_id, headers)
        except (Broken, Fenced):
            log.exception("request %s could not be carried through", request_id)
            unsafe = Unavailable("money cannot be held safely just now; try again in a moment")
            self._refuse(exchange, refusals.of_error(unsafe), request_id, headers)
        finally:
            self._running -= 1

    def _refuse(self, exchange: Exchange, refusal: Refusal, request_id: str, headers: Headers) -> None:
        self.counters.refused[refusal.status] = self.counters.refused.get(refusal.status, 0) + 1
        if exchange.started:
            exchange.abort()
            return
        exchange.answer(refusal.status, [JSON, *headers, *refusal.headers], refusal.body(request_id))

    def _request_id(self, request: Request) -> str:
        given = request.header(b"x-request-id")
        if given is not None and given.isascii() and is_request_id(given.decode()):
            return given.decode()
        return make_id("req", self.world.wall(), self.world.entropy(80))

    # ── the hot path ─────────────────────────────────────────────────────────────────────────────────────────────
    async def _serve(self, exchange: Exchange, kind: str, request_id: str, headers: Headers) -> None:
        request = exchange.request
        principal = await self._principal(request)
        if self._running > MOST_RUNNING or self.queue.backlog() > MOST_BACKLOG:
            raise Unavailable("too many requests are running here just now; try again in a second")
        standing = await self._standing(principal)
        headers += self._count(standing)
        body = bodies.read(kind, request.body)
        served = self.served.get(body.model)
        book = await self.directory.price_book()
        rates = book.models.get(body.model) if book is not None else None
        if served is None or rates is None or book is None:
            raise refusals.no_model(body.model)
        policy = request.header(b"x-purser-fit")
        ask = bodies.ask(body, served.terms, None if policy is None else policy.decode("latin-1"))
        claim = self._claim(request, principal, request_id)
        try:
            if claim is not None:
                await self._refuse_settled(*claim)
            await self._admit(exchange, principal, served, body, ask, book, request_id, headers)
        finally:
            if claim is not None:
                self._claimed.discard(claim)

    async def _admit(
        self,
        exchange: Exchange,
        principal: Principal,
        served: Served,
        body: bodies.Body,
        ask: Ask,
        book: PriceBook,
        request_id: str,
        headers: Headers,
    ) -> None:
        """Hold the request's money and have it carried through; raises Refusal where the money is short."""
        book_rates = book.models[body.model]
        dearer = priority_rates(book_rates) if body.priority else None
        rates = dearer or book_rates
        now = self.world.now()
        month = month_of(now)
        account = principal.account
        found = self.cashier.hold_at_once(request_id, account, month, book.version, rates, ask)
        if found is None:
            asked = await self.cashier.hold(request_id, account, month, book.version, rates, ask)
            if isinstance(asked, Shortfall):
                raise refusals.insufficient(asked, self._dashboard(exchange.request))
            found = asked
            await self._check_still_stands(principal, found[0])
        hold, held = found
        if (ask.requested is not None and held.cap < ask.requested) or (ask.requested is None and held.cap < ask.cap):
            headers.append((b"x-purser-max-tokens", b"%d" % held.cap))
        passage = Passage(
            exchange=exchange,
            request_id=request_id,
            principal=principal,
            served=served,
            body=body,
            ask=ask,
            rates=rates,
            book_rates=book_rates,
            hold=hold,
            held=held,
            occurred_at=now,
            headers=headers,
            cashier=self.cashier,
            counters=self.counters,
            slice_tokens=self.policy.slice_tokens,
        )
        await relay(passage)

    def _dashboard(self, request: Request) -> str:
        """The account's page, under the name by which this client reaches us."""
        host = request.header(b"host")
        if host is None or not host.isascii() or not 0 < len(host) <= 255:
            return self.resolve_url
        scheme = "https" if request.header(b"x-forwarded-proto") == b"https" else "http"
        return f"{scheme}://{host.decode()}/dashboard"

    async def _principal(self, request: Request) -> Principal:
        given = request.header(b"authorization")
        if given is not None and given[:7].lower() == b"bearer ":
            secret = given[7:].strip()
        else:
            secret = request.header(b"x-api-key") or b""
        if not secret:
            raise Refusal(401, "invalid_api_key", "No API key was sent; send Authorization: Bearer YOUR_KEY.")
        principal = await self.directory.principal(secret)
        if principal.operator:
            raise Refusal(403, "permission_denied", "The operator key runs no inference; use an account's API key.")
        return principal

    async def _standing(self, principal: Principal) -> Standing:
        standing = self.directory.known_standing(principal.account)
        if standing is None:
            standing = await self.directory.standing(principal.account)
        if standing.causes:
            raise refusals.suspended(principal.account, standing.causes, prepaid=standing.prepaid)
        return standing

    async def _check_still_stands(self, principal: Principal, hold: Hold) -> None:
        """The account may have been suspended while its request waited for money; the hold is then released."""
        try:
            await self._standing(principal)
        except BaseException:
            self.cashier.void(hold)
            raise

    def _count(self, standing: Standing) -> Headers:
        wait, remaining = self.directory.count_request(standing)
        if wait:
            raise refusals.too_many(wait, standing.requests_per_minute)
        return [
            (b"x-ratelimit-limit-requests", b"%d" % standing.requests_per_minute),
            (b"x-ratelimit-remaining-requests", b"%d" % remaining),
        ]

    def _claim(self, request: Request, principal: Principal, request_id: str) -> tuple[str, str] | None:
        """A client that names its requests gets each served once: one that is open is 409 (correctness §2).

        None where the client gave no name.
        """
        if request.header(b"x-request-id") != request_id.encode():
            return None
        claim = (principal.account, request_id)
        if claim in self._claimed or self.cashier.lessee.is_open(*claim):
            raise Refusal(409, "request_open", f"Request {request_id} is running already.")
        self._claimed.add(claim)
        return claim

    async def _refuse_settled(self, account: str, request_id: str) -> None:
        known = await asyncio.to_thread(self._known_cost, account, request_id)
        if known is not None:
            raise Refusal(
                409, "request_settled", f"Request {request_id} was served already.", cost_usd=format_usd(known)
            )

    def _known_cost(self, account: str, request_id: str) -> int | None:
        with self.db.read() as conn:
            known = usage.get_known(conn, account, "gateway", request_id)
        return None if known is None else known[1]

    # ── the small routes ─────────────────────────────────────────────────────────────────────────────────────────
    async def _answer_small(self, exchange: Exchange, request_id: str, headers: Headers) -> None:
        request = exchange.request
        path, method = request.path, request.method
        if path in _POSTS or path in _QUOTES:
            if method != "POST":
                raise Refusal(405, "method_not_allowed", f"Use POST for {path}.", headers=[(b"allow", b"POST")])
        elif method not in ("GET", "HEAD"):
            raise Refusal(405, "method_not_allowed", f"Use GET for {path}.", headers=[(b"allow", b"GET")])
        principal = await self._principal(request)
        standing = await self.directory.standing(principal.account)
        if path in _QUOTES:
            headers += self._count(standing)
            body = await self._quote(request, principal, standing)
        elif path == "/verifyApiKey":
            body = _encode({"account": principal.account, "user": principal.user, "keyId": principal.key})
        else:
            headers += self._count(standing)
            book = await self.directory.price_book()
            body = self._models(path, book)
        exchange.answer(200, [JSON, *headers], body)

    def _models(self, path: str, book: PriceBook | None) -> bytes:
        priced = book.models if book is not None else {}
        entries = {name: describe(name, model) for name, model in self.served.items() if name in priced}
        _, _, name = path.partition("/models/")
        if not name:
            return _encode({"object": "list", "data": list(entries.values())})
        entry = entries.get(name) or entries.get(unquote(name))
        if entry is None:
            raise refusals.no_model(name)
        return _encode(entry)

    async def _quote(self, request: Request, principal: Principal, standing: Standing) -> bytes:
        return _encode(
            await quote(
                request.body,
                principal.account,
                standing,
                self.served,
                await self.directory.price_book(),
                self.policy,
                self._fresh_left,
            )
        )

    async def _fresh_left(self, account: str) -> tuple[str, int]:
        """Which constraint is tightest and what is left of it, from the store and this process's own spare."""
        keys = requests.path(account, month_of(self.world.now()))

        def read() -> dict[headroom.RowKey, int | None]:
            with self.db.read() as conn:
                limit = reports.view_account(conn, account, self.policy).limit_nanos
                rows = {key: headroom.get_row(conn, key) for key in keys}
            return {  # a month's row is made by its first request
                key: limit if row is None else row.available if row.enforced else None for key, row in rows.items()
            }

        available = await asyncio.to_thread(read)
        lefts = {
            key: 2**60 if left is None else left + self.cashier.lessee.share(key).spare
            for key, left in available.items()
        }
        tightest = min(lefts, key=lambda key: lefts[key], default=keys[0])
        return tightest.kind, lefts.get(tightest, 2**60)

    # ── what others see ──────────────────────────────────────────────────────────────────────────────────────────
    def held(self, account: str) -> int:
        """What an account's running requests hold, nano-dollars."""
        return self.cashier.lessee.held(account)

    def count_control_request(self, account: str) -> int:
        """Count a control-plane request toward an account's requests per minute; the seconds to wait, or 0."""
        standing = self.directory.known_standing(account)
        if standing is None:
            standing = Standing(account, {}, False, self.policy.requests_per_minute_unverified)
            asyncio.ensure_future(self.directory.standing(account))  # noqa: RUF006 - only warms the cache
        return self.directory.count_request(standing)[0]

    def recent_requests(self, account: str) -> int:
        """How many of an account's requests the last minute counted."""
        return self.directory.recent_requests(account)

    def on_touched(self, touched: set[str]) -> None:
        """Accounts changed in a commit of this process; may be called from any thread."""
        self._loop.call_soon_threadsafe(self._forget, touched)

    def _forget(self, touched: set[str]) -> None:
        self.directory.forget(touched)
        for account in touched:
            self.cashier.lessee.forget_left(account)

    def _monotonic(self) -> int:
        """Microseconds that go on also while a manual clock stands still."""
        return int(self._loop.time() * SECOND)

    async def close(self) -> None:
        """Stop the heartbeat and close the upstream connections; running requests have ended by now."""
        await self._heartbeat.stop()
        for origin in origins_of(self.served.values()):
            await origin.close()
