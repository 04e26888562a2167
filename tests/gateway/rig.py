"""A gateway as served: real HTTP in front, the bundled model server behind, a real database beneath."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import uvloop

from purser.core.period import parse_instant
from purser.core.policy import Policy
from purser.flows import accounts, audit, reports, setup
from purser.flows.queue import WriteQueue
from purser.gateway.app import Gateway
from purser.gateway.models import serve_models
from purser.http.server import Server
from purser.modelserver import ModelServer
from purser.modelserver import Settings as EngineSettings
from purser.settings import ModelSettings
from purser.store import usage
from purser.store.db import Database
from purser.store.writers import Tx, Writer
from tests import databases

PRICES = {
    "tiny": {"input": "0.20", "cached_input": "0.10", "output": "0.80"},
    "dear": {"input": "20.00", "cached_input": "10.00", "output": "80.00"},
}
POLICY = Policy(requests_per_minute_unverified=6000)


class World:
    """A clock that stands still, and seeded chance."""

    def __init__(self) -> None:
        self.at = parse_instant("2026-03-01T09:00:00Z")
        self._chance = random.Random(7)

    def now(self) -> int:
        return self.at

    def wall(self) -> int:
        return time.time_ns() // 1000

    def entropy(self, bits: int) -> int:
        return self._chance.getrandbits(bits)


class Answered:
    """A response, read whole."""

    def __init__(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.status, self.headers, self.body = status, headers, body

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return dict(self.json["error"])

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON chunks of a stream."""
        lines = [line[6:] for line in self.body.decode().splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]

    @property
    def is_done(self) -> bool:
        return self.body.endswith(b"data: [DONE]\n\n")


class Rig:
    """A running gateway and what is around it; every method may be called from the test's thread."""

    def __init__(
        self,
        folder: Path,
        policy: Policy,
        models: tuple[ModelSettings, ...] | None,
        engines: int,
        trusted_proxies: tuple[str, ...] = (),
    ) -> None:
        self.world, self.policy, self._trusted = World(), policy, trusted_proxies
        self.db = Database(databases.at(folder / "purser.db"))
        self.writer = Writer(self.db, self.world, policy, host="here", pid=1)
        self._heard: list[Callable[[set[str]], None]] = []
        self.queue = WriteQueue(self.writer, on_touched=self._on_touched)
        self.write(lambda tx: setup.prepare(tx, PRICES, None))
        self.opened = self.write(lambda tx: accounts.open_account(tx, "ada", "ada@example.com"))
        self.key = self.opened.secret
        self._models, self._engine_count = models, engines
        self._started = threading.Event()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._started.wait(10)

    def _on_touched(self, touched: set[str]) -> None:
        for hear in self._heard:
            hear(touched)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._start())
        self._started.set()
        self._loop.run_forever()

    async def _start(self) -> None:
        self.engines = []
        for _ in range(self._engine_count):
            engine = ModelServer(
                EngineSettings(models=("tiny", "dear"), tokens_per_second=0, first_token_ms=0, context_tokens=8192)
            )
            await engine.start("127.0.0.1", 0)
            self.engines.append(engine)
        urls = tuple(engine.base_url for engine in self.engines)
        models = self._models or (model("tiny", urls), model("dear", urls))
        self.gateway = Gateway(
            *(self.db, self.queue, self.world, self.policy, serve_models(models)),
            resolve_url="http://here/dashboard",
            trusted_proxies=self._trusted,
        )
        self._heard.append(self.gateway.on_touched)
        self.server = Server(self.gateway.answer, at_once=self.gateway.at_once)
        await self.server.start("127.0.0.1", 0)
        self.port = self.server.port

    def close(self) -> None:
        async def stop() -> None:
            await self.server.close(2)
            await self.gateway.close()
            for engine in self.engines:
                await engine.close()

        asyncio.run_coroutine_threadsafe(stop(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self.queue.stop()
        self.writer.close()
        with self.db.read() as conn:
            found = audit.audit(conn).violations
        self.db.dispose()
        assert not found, found

    # what a test does
    def write(self, work: Callable[[Tx], Any]) -> Any:
        return self.queue.run(work)

    def run_on_loop(self, work: Coroutine[Any, Any, Any]) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(10)

    def on_loop(self, call: Callable[[], Any]) -> Any:
        async def run() -> Any:
            return call()

        return self.run_on_loop(run())

    def send(
        self, path: str, body: Any, *, headers: dict[str, str] | None = None, method: str = "POST", key: str | None = ""
    ) -> Answered:
        """One request on a connection of its own; `body` is JSON unless it is bytes; key None sends none."""
        key = self.key if key == "" else key
        return sent(self.port, path, body, headers=headers, method=method, key=key)

    def chat(self, text: str, *, headers: dict[str, str] | None = None, **more: Any) -> Answered:
        body = {"model": "tiny", "messages": [{"role": "user", "content": text}], **more}
        return self.send("/v1/chat/completions", body, headers=headers)

    def open_stream(self, text: str, **more: Any) -> Generator[bytes]:
        """A stream's lines as they come; the client hangs up when the generator is closed."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        body = {"model": "tiny", "messages": [{"role": "user", "content": text}], "stream": True, **more}
        line.request(
            "POST",
            "/v1/chat/completions",
            json.dumps(body).encode(),
            {"authorization": f"Bearer {self.key}", "content-type": "application/json"},
        )
        answer = line.getresponse()
        try:
            assert answer.status == 200
            yield from answer
        finally:
            answer.close()
            line.close()

    def balance(self, account: str = "ada") -> reports.Balance:
        held = self.on_loop(lambda: self.gateway.held_by_month(account))
        with self.db.read() as conn:
            return reports.balance(conn, account, self.policy, self.world.now(), held)

    def events(self, account: str = "ada") -> list[Any]:
        """The usage events, newest last."""
        with self.db.read() as conn:
            return usage.list_events(conn, account, limit=100_000)[::-1]

    def eventually(self, true: Callable[[], bool], seconds: float = 5.0) -> bool:
        """Whether something becomes true soon."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if true():
                return True
            time.sleep(0.01)
        return true()


def sent(
    port: int, path: str, body: Any, *, headers: dict[str, str] | None = None, method: str = "POST", key: str | None
) -> Answered:
    """One request on a connection of its own; `body` is JSON unless it is bytes; key None sends none."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    raw = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
    sends = {"content-type": "application/json", **(headers or {})}
    if key is not None:
        sends["authorization"] = f"Bearer {key}"
    with closing(line):
        line.request(method, path, raw, sends)
        with closing(line.getresponse()) as answer:
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answered(answer.status, found, answer.read())


def engine_log(rig: Rig) -> list[Any]:
    """What the engine says of each request, oldest first."""
    line = http.client.HTTPConnection("127.0.0.1", rig.engines[0].port)
    line.request("GET", "/v1/counters?requests=1000")
    found = list(json.loads(line.getresponse().read())["requests"])
    line.close()
    return found


def model(name: str, urls: tuple[str, ...], **more: Any) -> ModelSettings:
    """A model as configured for the tests."""
    values: dict[str, Any] = {"context_tokens": 8192, "max_output_tokens": 2048, "timeout_seconds": 2, **more}
    return ModelSettings(name=name, upstreams=urls, upstream_model=values.pop("upstream_model", name), **values)


@contextmanager
def running(
    folder: Path,
    policy: Policy = POLICY,
    models: tuple[ModelSettings, ...] | None = None,
    engines: int = 1,
    *,
    trusted_proxies: tuple[str, ...] = (),
) -> Iterator[Rig]:
    """A rig for one test; at its end every invariant of the books is checked."""
    rig = Rig(folder, policy, models, engines, trusted_proxies)
    try:
        yield rig
    finally:
        rig.close()
