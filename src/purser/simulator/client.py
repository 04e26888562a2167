"""Simulated clients: they ask, hang up, ask again, and keep their own account of what they were told."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from random import Random
from typing import TYPE_CHECKING, Any, cast

import msgspec

from purser.core.money import parse_usd
from purser.core.period import SECOND
from purser.http.exchange import Answerer, Exchange, Request
from purser.simulator.upstream import CALL_HEADER, known_head

if TYPE_CHECKING:
    from purser.simulator.plan import Item
    from purser.simulator.process import Process
    from purser.simulator.run import Run
    from purser.simulator.upstream import Work

_encode = msgspec.json.Encoder().encode
_ID = re.compile(rb"x-request-id: ([^\r]+)")
_COST_HEADER = re.compile(rb"x-purser-cost-usd: ([0-9.]+)")
_COST_FIELD = re.compile(rb'"cost_usd":"([0-9.]+)"')
_PATIENCES = (2 * SECOND, 2 * SECOND, 3 * SECOND, 13 * SECOND)  # the last is longer than a lease holds
_DELAY = SECOND // 2


class Call:
    """One thing a client wants: what it asks, what it truly takes, and what became of it."""

    def __init__(self, run: Run, item: Item, secret: str) -> None:
        self.run, self.item, self.secret = run, item, secret
        self.number, self.account = item.number, item.account
        self.random = Random((run.seed << 24) + item.number)
        has = item.values
        self.model, self.engine, self.stream = str(has["model"]), str(has["engine"]), bool(has["stream"])
        self.bytes, self.output = int(has["bytes"]), int(has["output"])
        self.prompt = self.bytes // 4 + 8  # what the model server counts; the hold is for more
        self.cap: int | None = has["cap"]
        self.chunk_pause = int(has["pause"])
        self.name = f"call-{item.number}" if has["named"] else None
        self.hang_up_at: int | None = has["hang_up"]
        self.lost_reply, self.lost_request = bool(has["lost_reply"]), bool(has["lost_request"])
        self.tries = int(has["tries"])
        self.patience = self.random.choice(_PATIENCES)
        self.answered = False
        self.arrived_at = 0
        self.works: list[Work] = []

    def begin(self) -> None:
        """Ask for the first time."""
        process = self.run.processes[self.item.process]
        self.run.tell(f"call {self.number}: {self.account} asks {process.name} for {self._words()}")
        if self.item.values["twice"] and self.name:
            other = self.run.processes[(self.item.process + 1) % len(self.run.processes)]
            self.run.timeline.after(self.random.randrange(100, 60_000), lambda: self._send(other))
            self.run.situation("a request was sent twice at once")
        self._send(process)

    def _words(self) -> str:
        what = f"{self.model}, {self.bytes} bytes, " + ("its own cap" if self.cap is None else f"cap {self.cap}")
        how = f", the model server {self.engine}" if self.engine != "obeys" else ""
        return f"{what}, {self.output} tokens{' streamed' if self.stream else ''}{how}"

    def _send(self, process: Process) -> None:
        if self.lost_request:
            self.lost_request = False
            self.run.situation("a request was lost on its way")
            self.run.timeline.after(_DELAY, self.again)
            return
        delay = self.random.randrange(200, 20_000)
        self.run.timeline.after(delay, lambda: self._arrive(process))

    def _arrive(self, process: Process) -> None:
        if not process.alive:
            self.run.timeline.after(_DELAY // 10, self.again)
            return
        self.arrived_at = self.run.timeline.now
        Line(self, process).open()

    def again(self) -> None:
        """Not answered: ask another process, as often as the client has patience."""
        if self.answered or self.tries <= 0 or self.run.over:
            return
        self.tries -= 1
        alive = [process for process in self.run.processes if process.alive]
        if alive:
            self._send(alive[self.random.randrange(len(alive))])

    def request(self) -> Request:
        """What goes over the line."""
        fields: dict[str, object] = {
            "model": self.model,
            "messages": [{"role": "user", "content": "x" * self.bytes}],
            "stream": self.stream,
        }
        if self.cap is not None:
            fields["max_tokens"] = self.cap
        if self.stream:
            fields["stream_options"] = {"include_usage": True}
        headers = [
            (b"authorization", b"Bearer " + self.secret.encode()),
            (CALL_HEADER, b"%d" % self.number),
        ]
        if self.name is not None:
            headers.append((b"x-request-id", self.name.encode()))
        request = Request("POST", b"/v1/chat/completions", "/v1/chat/completions", "", headers, "client", "1.1", True)
        request.body = _encode(fields)
        if self.number % 2:  # the others send a head that is not known
            request.known = known_head(headers)
        return request

    # ── what comes back ──────────────────────────────────────────────────────────────────────────────────────────
    def hear(self, process: Process, data: bytes, *, whole: bool) -> None:
        """An answer has come, or as much of it as came before the connection broke."""
        run = self.run
        if not data or (not whole and not self._is_complete(data)):
            run.situation("a connection broke within an answer" if data else "a connection broke before an answer")
            run.timeline.after(self.random.randrange(1_000, _DELAY), self.again)
            return
        status = int(data[9:12])
        found = _ID.search(data)
        id_ = found.group(1).decode() if found else ""
        run.situation(f"answered {status}")
        if status == 200:
            self._served(process, id_, data)
        elif status in (502, 503, 504, 429):
            run.timeline.after(self.random.randrange(10_000, _DELAY), self.again)
        elif status == 409:
            self._converged(id_, data)
        elif status in (402, 412):
            if b'"cause":"KEY"' in data:
                run.situation("answered 402 for a key's budget")
            elif b'"cause":"USER"' in data:
                run.situation("answered 402 for a user's cap")
            self.answered = True
            run.watch.refused(self, process, status)
        elif status not in (500,):
            run.blame("an answer nobody expects", f"call {self.number} was answered {data[:300]!r}")

    def _is_complete(self, data: bytes) -> bool:
        return self.stream and b"data: [DONE]" in data

    def _served(self, process: Process, id_: str, data: bytes) -> None:
        if self.stream and b"data: [DONE]" not in data:
            self.run.situation("a stream ended with an error")
            return  # it ended with an error: what came until then was billed, or nothing
        if self.stream and b'"finish_reason":"length"' in data:
            self.run.situation("a stream was cut at the limit")
        costs: Iterable[bytes] = (_COST_FIELD if self.stream else _COST_HEADER).findall(data)
        cost = max((parse_usd(text.decode(), "cost") for text in costs), default=None)
        self.answered = True
        self.run.acknowledgements.served(self, id_, cost)

    def _converged(self, id_: str, data: bytes) -> None:
        if b"request_open" in data:
            self.run.situation("a request of the same id was still running")
            self.run.timeline.after(self.random.randrange(100_000, _DELAY), self.again)
            return
        self.run.situation("a request sent again had been settled")
        found = _COST_FIELD.search(data)
        cost = parse_usd(found.group(1).decode(), "cost") if found else None
        self.answered = True
        self.run.acknowledgements.settled_before(self, id_, cost)


class Line:
    """A client's connection, as the real exchange sees it: the connection, its transport and its house in one."""

    draining = False
    date = b"date: Sun, 01 Mar 2026 00:00:00 GMT\r\n"
    drained = None

    def __init__(self, call: Call, process: Process) -> None:
        self.call, self.process = call, process
        self.lost = False
        self.ended = False
        self.transport = self.house = self
        self.exchange = Exchange(call.request(), cast(Any, self), False)
        self.task: Any = None
        self._sent: list[bytes] = []

    def open(self) -> None:
        """The request has arrived."""
        call, timeline = self.call, self.call.run.timeline
        patience = call.patience if call.hang_up_at is None else call.hang_up_at
        self._patience = timeline.after(patience, self._hang_up)
        self.process.serve(self)

    def _hang_up(self) -> None:
        if self.ended or self.lost or self.process.loop.dead:
            return
        self.call.run.situation("a client hung up")
        self.lost = True
        self.process.loop.inside(self.exchange.hang_up)
        self._over(b"", whole=False)

    def process_died(self) -> None:
        """The process is gone, and its side of the connection with it."""
        if not self.ended:
            self.lost = True
            self._over(b"".join(self._sent), whole=False)

    def answered(self) -> None:
        """The gateway is done with the request."""
        if self in self.process.lines:
            self.process.lines.remove(self)
        if not self.ended and not self.exchange.ended:
            self.call.run.blame("answer", f"call {self.call.number} ended without an answer, and its client waits")
            self._over(b"".join(self._sent), whole=False)

    def _over(self, data: bytes, *, whole: bool) -> None:
        if self.ended:
            return
        self.ended = True
        self._patience.cancel()
        call, process = self.call, self.process
        if call.lost_reply and data:
            call.lost_reply = False
            call.run.situation("an answer was lost on its way")
            data, whole = b"", False
        call.run.timeline.after(call.random.randrange(200, 20_000), lambda: call.hear(process, data, whole=whole))

    # ── the connection, its transport and its house ──────────────────────────────────────────────────────────────
    def write(self, data: bytes) -> None:
        """A piece of the answer."""
        self._sent.append(data)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Pieces of the answer."""
        self._sent += pieces

    def close(self) -> None:
        """The gateway cuts the connection."""
        self.lost = True
        self._over(b"".join(self._sent), whole=False)

    def abort(self) -> None:
        """The gateway resets the connection."""
        self.close()

    def get_extra_info(self, name: str) -> None:
        """There is no socket."""

    def exchange_ended(self, keep_alive: bool) -> None:
        """The answer is whole."""
        self._over(b"".join(self._sent), whole=True)
        if self.task is None:
            self.answered()

    def go_on(self, exchange: Exchange, answerer: Answerer) -> None:
        """Have the exchange answered by a task."""
        loop = self.process.loop

        async def answer() -> None:
            try:
                await answerer(exchange)
            except asyncio.CancelledError:
                return
            finally:
                if not loop.dead:
                    self.answered()

        self.task = loop.create_task(answer())
