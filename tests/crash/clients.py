"""Clients over real HTTP: a hot account and many cold ones, plain answers and streams; some hang up or ask again."""

from __future__ import annotations

import http.client
import json
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.crash.told import AFTERWARDS, Acknowledged, Flight, Told

PRICES = {"tiny": (950, 160, 4_000), "grand": (100_000, 50_000, 100_000)}  # nanos a token: input, cached, output
CREDIT, LIMIT = "credit", "limit"
_PATH = "/v1/chat/completions"
_AGAIN = 12  # attempts of a client that asks again under the same id
_PAUSE_SECONDS = 0.05
_TIMEOUT_SECONDS = 60
_UNREAD = ("shutting_down", "too_many_connections")  # answers to a request that nobody read: they cannot name it
_BROKEN = (OSError, http.client.HTTPException)


@dataclass(frozen=True, slots=True)
class Asked:
    """One request as its client means it."""

    account: str
    id: str | None
    model: str
    tokens: int
    cap: int | None
    pace: int | None
    stream: bool
    usage_asked: bool
    leaves_after: int | None  # so many events of a stream, or milliseconds of a plain answer
    asks_again: bool

    def body(self) -> bytes:
        """The JSON body."""
        pace = "" if self.pace is None else f" [[pace={self.pace}]]"
        text = f"hello [[tokens={self.tokens}]]{pace}"
        body: dict[str, Any] = {"model": self.model, "messages": [{"role": "user", "content": text}]}
        if self.cap is not None:
            body["max_tokens"] = self.cap
        if self.stream:
            body["stream"] = True
        if self.usage_asked:
            body["stream_options"] = {"include_usage": True}
        return json.dumps(body).encode()


def draw(chance: Random, hot: str, cold: Sequence[str]) -> Asked:
    """A request of the mixture; every second one is the hot account's."""
    stream = chance.random() < 0.5
    slow = stream and chance.random() < 0.3
    tokens = chance.randint(60, 160) if slow else chance.randint(4, 40)
    leaves = None
    if chance.random() < 0.06:
        leaves = chance.randint(1, tokens) if stream else chance.randint(1, 40)
    return Asked(
        account=hot if chance.random() < 0.5 else chance.choice(cold),
        id=f"req_{uuid.UUID(int=chance.getrandbits(128)).hex}" if chance.random() < 0.7 else None,
        model="grand" if chance.random() < 0.8 else "tiny",
        tokens=tokens,
        cap=chance.randint(8, 200) if chance.random() < 0.6 else None,
        pace=chance.randint(100, 400) if slow else None,
        stream=stream,
        usage_asked=stream and chance.random() < 0.75,
        leaves_after=leaves,
        asks_again=chance.random() < 0.7,
    )


def nanos_of(model: str, usage: Mapping[str, Any]) -> int:
    """What an answer's usage costs, reckoned apart from the product."""
    cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens") or 0
    uncached = usage["prompt_tokens"] - cached
    return sum(
        count * price
        for count, price in zip((uncached, cached, usage["completion_tokens"]), PRICES[model], strict=True)
    )


def to_nanos(usd: str) -> int:
    """A decimal string of dollars as nano-dollars, exactly."""
    whole, _, fraction = usd.partition(".")
    return int(whole) * 10**9 + int(fraction.ljust(9, "0"))


class _Left(Exception):
    """The client has hung up."""


class Client(threading.Thread):
    """One client on its own thread: asks until told to stop; goes elsewhere where nobody answers."""

    def __init__(
        self,
        seed: str,
        ports: Callable[[], Sequence[int]],
        keys: Mapping[str, str],
        hot: str,
        told: Told,
        stop: threading.Event,
    ) -> None:
        super().__init__(name=f"client {seed}", daemon=True)
        self._chance, self._ports, self._keys, self._hot, self._told = Random(seed), ports, keys, hot, told
        self._cold = [account for account in keys if account != hot]
        self._stopping = stop
        self._line: http.client.HTTPConnection | None = None

    def run(self) -> None:
        """Ask again and again."""
        while not self._stopping.is_set():
            try:
                self._ask(draw(self._chance, self._hot, self._cold))
            except Exception as error:
                self._told.wonder(f"{self.name} failed: {error!r}")
                self._hang_up()
        self._hang_up()

    def _ask(self, asked: Asked) -> None:
        """One request, sent again under its id where its connection broke and it has one."""
        for _ in range(_AGAIN if asked.asks_again and asked.id is not None else 1):
            line = self._connect()
            if line is None:
                self._stopping.wait(_PAUSE_SECONDS)
                continue
            flight = Flight(asked.account, asked.id, asked.stream)
            port = line.sock.getsockname()[1]
            self._told.send(port, flight)
            try:
                if self._send(line, asked, flight):
                    return
            except _Left:
                self._told.count("hung up by their client")
                self._hang_up()
                return
            except _BROKEN:
                self._told.count("broken off")
                self._hang_up()
            finally:
                self._told.land(port)
            self._stopping.wait(_PAUSE_SECONDS)

    def _connect(self) -> http.client.HTTPConnection | None:
        """A connection to one of the ports, now and then another one; None where nobody listens."""
        if self._line is not None and (self._line.sock is None or self._chance.random() < 0.1):
            self._hang_up()
        if self._line is None:
            line = http.client.HTTPConnection("127.0.0.1", self._chance.choice(self._ports()), timeout=_TIMEOUT_SECONDS)
            try:
                line.connect()
            except OSError:
                return None
            self._line = line
        return self._line

    def _hang_up(self) -> None:
        if self._line is not None:
            self._line.close()
            self._line = None

    def _send(self, line: http.client.HTTPConnection, asked: Asked, flight: Flight) -> bool:
        """Send a request and read its answer; answers whether that is the end of it."""
        headers = {"authorization": f"Bearer {self._keys[asked.account]}", "content-type": "application/json"}
        if asked.id is not None:
            headers["x-request-id"] = asked.id
        line.request("POST", _PATH, asked.body(), headers)
        leaves_before = not asked.stream and asked.leaves_after is not None
        if leaves_before and asked.leaves_after is not None:
            line.sock.settimeout(asked.leaves_after / 1000)
        try:
            answer = line.getresponse()
        except TimeoutError:
            if leaves_before:
                raise _Left from None
            raise
        line.sock and line.sock.settimeout(_TIMEOUT_SECONDS)
        id_ = answer.getheader("x-request-id")
        if id_ is None:
            self._told.wonder(f"status {answer.status} without a request id: {answer.read()!r:.200}")
            return True
        if answer.status == 503 and json.loads(answer.read())["error"]["code"] in _UNREAD:
            self._told.count("turned away before they were read")
            return False
        self._told.begin(flight, id_)
        if answer.status != 200:
            return self._refused(asked, id_, answer)
        if "event-stream" in (answer.getheader("content-type") or ""):
            self._read_stream(asked, id_, answer)
        else:
            self._read_whole(asked, id_, answer)
        return True

    def _read_whole(self, asked: Asked, id_: str, answer: http.client.HTTPResponse) -> None:
        body = json.loads(answer.read())
        cost = answer.getheader("x-purser-cost-usd")
        if cost is None or asked.stream:
            self._told.wonder(f"request {id_} was answered without its cost, or plainly to a stream")
            return
        self._acknowledge(asked, id_, to_nanos(cost), body["usage"])
        self._told.count("plain answers acknowledged")

    def _read_stream(self, asked: Asked, id_: str, answer: http.client.HTTPResponse) -> None:
        """Read a stream; it is acknowledged with its closing usage or [DONE], even where it breaks after that."""
        events, usage, done = 0, None, False
        try:
            while line := answer.readline():
                if not line.startswith(b"data: "):
                    continue
                events += 1
                if line.startswith(b"data: [DONE]"):
                    done = True
                elif b'"cost_usd"' in line:
                    usage = json.loads(line[6:])["usage"]
                elif line.startswith(b'data: {"error"'):
                    self._told.count("streams ended by their server")
                elif events == asked.leaves_after:
                    raise _Left
        finally:
            if usage is not None:
                self._acknowledge(asked, id_, to_nanos(usage["cost_usd"]), usage)
            elif done:
                self._told.acknowledge(id_, Acknowledged(asked.account, None))
            if usage is not None or done:
                self._told.count("streams acknowledged")
        if done and asked.usage_asked and usage is None:
            self._told.wonder(f"stream {id_} ended without its cost")

    def _acknowledge(self, asked: Asked, id_: str, cost: int, usage: Mapping[str, Any]) -> None:
        self._told.acknowledge(id_, Acknowledged(asked.account, cost))
        if cost != nanos_of(asked.model, usage):
            self._told.wonder(f"request {id_} costs {nanos_of(asked.model, usage)} by its usage, but was told {cost}")

    def _refused(self, asked: Asked, id_: str, answer: http.client.HTTPResponse) -> bool:
        """Whether the client leaves it at that."""
        raw = answer.read()
        if answer.status in (402, 412):
            self._told.refuse(asked.account, LIMIT if b'"LIMIT"' in raw or b"[MONTHLY_SPEND_LIMIT" in raw else CREDIT)
            self._stopping.wait(_PAUSE_SECONDS * self._chance.random())
            return True
        if answer.status == 409:
            error = json.loads(raw)["error"]
            if error["code"] == "request_settled":
                self._told.acknowledge(id_, Acknowledged(asked.account, to_nanos(error["cost_usd"]), AFTERWARDS))
                self._told.count("told afterwards that they were served")
                return True
            self._told.count("told that they still run")
            return False
        if answer.status == 503:
            self._told.count("unavailable")
            return False
        self._told.wonder(f"request {id_} got {answer.status}: {raw!r:.300}")
        return True
