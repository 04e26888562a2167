"""The model server's routes, and the server itself, to embed in an event loop or to run alone."""

from __future__ import annotations

import asyncio
import hmac
import sys
import time
from dataclasses import dataclass
from urllib.parse import parse_qs

from msgspec import json

from purser.http.server import Exchange, Limits, Server
from purser.modelserver import messages
from purser.modelserver.answers import BODIES, Model, Work, pace_of
from purser.modelserver.bodies import BadRequest, FailBody, decode, error_body
from purser.modelserver.counters import LOG_REQUESTS, Counters, RequestRecord
from purser.modelserver.delivery import JSON, Pace
from purser.modelserver.failures import Failures, FailureSwitch, failures_in_prompt, parse_failures

_COUNT = "/v1/messages/count_tokens"
_READING = ("/v1/embeddings", "/v1/rerank")
_WORK = frozenset((*BODIES, *_READING))
_READ = frozenset(("/health", "/metrics", "/v1/counters", "/v1/models", "/v1/fail"))
_MODEL = "/v1/models/"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a model server is started with.

    `tokens_per_second` is per stream, 0 without any waiting; `cache_blocks` of 16 tokens are remembered per
    model; `fail` are directives for the first `fail_times` requests (None: for all); with `api_key` every
    `/v1` route needs it as bearer key.
    """

    models: tuple[str, ...] = ("tiny",)
    tokens_per_second: float = 400.0
    first_token_ms: int = 20
    context_tokens: int = 32_768
    cache_blocks: int = 65_536
    api_key: str | None = None
    fail: str = ""
    fail_times: int | None = None


class ModelServer:
    """A model server in this process: `start` it, use `port` and `base_url`, `close` it.

    ValueError if the settings' failure directives are not understood.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.counters = Counters(list(self.settings.models))
        self.switch = FailureSwitch(self.settings.fail, self.settings.fail_times)
        self._created = int(time.time())
        self._pace = Pace(self.settings.tokens_per_second, self.settings.first_token_ms / 1000)
        self._work = Work(
            [
                Model(name, self.settings.context_tokens, self.settings.cache_blocks, self.counters)
                for name in self.settings.models
            ],
            self.counters,
        )
        self._server = Server(self.answer, limits=Limits())
        self._host = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen on host and port; 0 takes a free one."""
        await self._server.start(host, port)
        self._host = f"[{host}]" if ":" in host else host

    @property
    def port(self) -> int:
        """The port listened on."""
        return self._server.port

    @property
    def base_url(self) -> str:
        """What a client takes as its base URL, `/v1` included."""
        return f"http://{self._host}:{self.port}/v1"

    async def close(self, grace_seconds: float = 0.0) -> None:
        """Stop listening; running answers get the grace to end, then their connections are cut."""
        await self._server.close(grace_seconds)

    async def answer(self, exchange: Exchange) -> None:
        """Answer one request."""
        request = exchange.request
        try:
            self._check_key(exchange)
            if request.path in _WORK and request.method == "POST":
                await self._answer_work(exchange)
            elif request.path == _COUNT and request.method == "POST":
                self._work.count(exchange)
            elif request.path == "/v1/fail" and request.method == "POST":
                told = decode(request.body, FailBody)
                self._set_failures(told)
                exchange.answer(200, JSON, self._switch_body())
            else:
                self._answer_read(exchange)
        except BadRequest as wrong:
            named = request.path.startswith("/v1/messages")
            body = messages.error_body(wrong.status, wrong.message) if named else wrong.body
            exchange.answer(wrong.status, JSON, body)

    def _check_key(self, exchange: Exchange) -> None:
        key = self.settings.api_key
        if key is None or not exchange.request.path.startswith("/v1/"):
            return
        given = exchange.request.header(b"authorization") or b""
        if exchange.request.path.startswith("/v1/messages"):
            given = given or b"Bearer " + (exchange.request.header(b"x-api-key") or b"")
        if not hmac.compare_digest(given, b"Bearer " + key.encode()):
            raise BadRequest("Incorrect API key provided.", status=401, code="invalid_api_key")

    def _failures(self, exchange: Exchange) -> Failures:
        header = exchange.request.header(b"x-model-fail")
        try:
            if header is not None:
                return parse_failures(header.decode("latin-1"))
            return failures_in_prompt(exchange.request.body) or self.switch.take()
        except ValueError as wrong:
            raise BadRequest(str(wrong), "x-model-fail") from None

    def _set_failures(self, told: FailBody) -> None:
        try:
            self.switch.set(told.directives, told.times)
        except ValueError as wrong:
            raise BadRequest(str(wrong), "directives") from None

    def _switch_body(self) -> bytes:
        return json.encode({"directives": self.switch.directives, "times": self.switch.times_left})

    async def _answer_work(self, exchange: Exchange) -> None:
        """A request to the model. One whose client leaves is stopped where it is and counted as cancelled."""
        request = exchange.request
        failures = self._failures(exchange)
        pace = pace_of(request, self._pace)
        request_id = (request.header(b"x-request-id") or b"").decode("latin-1")
        record = RequestRecord(request_id, "", request.path, stream=False)
        task = asyncio.current_task()

        def stop() -> None:
            if task is not None:
                task.cancel()

        exchange.on_gone(stop)
        try:
            if request.path == "/v1/embeddings":
                await self._work.embed(exchange, record, failures)
            elif request.path == "/v1/rerank":
                await self._work.rerank(exchange, record, failures)
            else:
                await self._work.complete(exchange, record, failures, pace)
        except asyncio.CancelledError:
            self.counters.end(record, "cancelled")
            exchange.abort()
            if not exchange.gone:
                raise
        except BaseException:
            self.counters.end(record, "failed")
            raise

    def _answer_read(self, exchange: Exchange) -> None:
        path, method = exchange.request.path, exchange.request.method
        known = path in _READ or path.startswith(_MODEL)
        if path in _WORK or (known and method not in ("GET", "HEAD")):
            allowed = b"POST" if path in _WORK else b"GET"
            wrong = error_body(405, f"{method} is not allowed here")
            exchange.answer(405, [*JSON, (b"allow", allowed)], wrong)
        elif path == "/health":
            exchange.answer(200, JSON, b'{"status":"ok"}')
        elif path == "/metrics":
            kind = b"text/plain; version=0.0.4; charset=utf-8"
            exchange.answer(200, [(b"content-type", kind)], self.counters.as_prometheus())
        elif path == "/v1/counters":
            exchange.answer(200, JSON, self.counters.as_json(self._log_length(exchange.request.query)))
        elif path == "/v1/fail":
            exchange.answer(200, JSON, self._switch_body())
        elif path == "/v1/models":
            cards = [self._card(name) for name in self._work.models]
            exchange.answer(200, JSON, json.encode({"object": "list", "data": cards}))
        elif path.startswith(_MODEL):
            name = self._work.model(path.removeprefix(_MODEL)).name
            exchange.answer(200, JSON, json.encode(self._card(name)))
        else:
            raise BadRequest(f"there is nothing at {path}", status=404, code="not_found")

    def _card(self, name: str) -> dict[str, object]:
        return {
            "id": name,
            "object": "model",
            "created": self._created,
            "owned_by": "purser",
            "max_model_len": self.settings.context_tokens,
        }

    @staticmethod
    def _log_length(query: str) -> int:
        """How many requests of the log `?requests=N` asks for."""
        given = parse_qs(query).get("requests", [str(LOG_REQUESTS)])[-1]
        if not given.isascii() or not given.isdigit():
            raise BadRequest("requests takes a whole number", "requests")
        return int(given)


async def serve(host: str, port: int, settings: Settings | None = None) -> None:
    """Run a model server until the task is cancelled; says where on standard output once it listens."""
    server = ModelServer(settings)
    await server.start(host, port)
    announce(server)
    try:
        await asyncio.Event().wait()
    finally:
        await server.close()


def announce(server: ModelServer) -> None:
    """The line that says the server is ready: its address and its models."""
    sys.stdout.write(f"modelserver ready on {server.base_url} models {','.join(server.settings.models)}\n")
    sys.stdout.flush()
