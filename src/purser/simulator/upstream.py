"""Simulated model servers: answers at their own pace, wrong counts, silence, and connections that break."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import msgspec

from purser.core.period import SECOND
from purser.http.client import Answer, BrokenAnswer, Origin, TimedOut, Unreachable, UpstreamError
from purser.http.head import Headers
from purser.http.known import Fields, KnownHead
from purser.http.wire import NEVER

if TYPE_CHECKING:
    from purser.simulator.client import Call
    from purser.simulator.process import Process

CHUNK_TOKENS = 16
CALL_HEADER = b"x-simulated-call"
OBEYS, REFUSES, SILENT, BREAKS, GREEDY, COUNTLESS, CONTRADICTS, FAILS = (
    "obeys",
    "refuses",
    "silent",
    "breaks",
    "greedy",
    "countless",
    "contradicts",
    "fails",
)
ENGINES = (OBEYS, REFUSES, SILENT, BREAKS, GREEDY, COUNTLESS, CONTRADICTS, FAILS)
UNCOUNTED = (GREEDY, COUNTLESS, CONTRADICTS)  # what they produce is the operator's to know
_SILENCE_SECONDS = 0.7
_AHEAD = 2 * CHUNK_TOKENS  # a stream's pieces may be ahead of what the gateway has held by so many tokens
_encode = msgspec.json.Encoder().encode


class _Cap(msgspec.Struct):
    model: str
    max_tokens: int


_decode_cap = msgspec.json.Decoder(_Cap).decode


def known_head(fields: Fields) -> KnownHead:
    """A head as one that has been seen before."""
    return KnownHead(b"", b"0", b"", [*fields, (b"content-length", b"0")], 200)


class Work:
    """One request as a model server works on it: what it has read and produced, truly."""

    reading = True

    def __init__(self, process: Process, call: Call, id_: str, model: str, cap: int) -> None:
        self.process, self.call, self.id, self.model = process, call, id_, model
        self.wanted = call.output if call.engine == GREEDY else min(call.output, cap)
        self.produced = 0
        self.dropped = False
        self.answer = Answer(cast(Any, self), process.loop)

    def read_on(self) -> None:
        """The gateway reads again."""

    def drop(self) -> None:
        """The gateway has hung up."""
        self.dropped = True

    def usage(self) -> dict[str, object]:
        """What the server says it used."""
        prompt = self.call.prompt
        details = {"cached_tokens": prompt + 1 if self.call.engine == CONTRADICTS else prompt // 4}
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self.produced,
            "total_tokens": prompt + self.produced,
            "prompt_tokens_details": details,
        }

    # ── plain ────────────────────────────────────────────────────────────────────────────────────────────────────
    def answer_whole(self) -> Answer:
        """The whole answer in one piece."""
        self.produced = self.wanted
        said: dict[str, object] = {
            "id": "c",
            "object": "chat.completion",
            "created": 1,
            "model": self.model,
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "word"}, "finish_reason": "stop"}],
        }
        if self.call.engine != COUNTLESS:
            said["usage"] = self.usage()
        headers = [(b"content-type", b"application/json")]
        self.answer.known = known_head(headers)
        self.answer.begin(200, headers)
        self.answer.add(_encode(said))
        self.answer.end()
        return self.answer

    def answer_failure(self) -> Answer:
        """An error of the server's own."""
        self.answer.begin(500, [(b"content-type", b"application/json")])
        self.answer.add(b'{"error":{"message":"out of memory"}}')
        self.answer.end()
        return self.answer

    # ── streamed ─────────────────────────────────────────────────────────────────────────────────────────────────
    def begin_stream(self) -> Answer:
        """The head at once, the pieces at the server's pace."""
        self.answer.begin(200, [(b"content-type", b"text/event-stream")])
        self._soon()
        return self.answer

    def _soon(self) -> None:
        pause = self.call.chunk_pause
        self.process.run.timeline.after(pause, self._piece)

    def _piece(self) -> None:
        loop = self.process.loop
        if self.dropped or loop.dead or loop is not self.answer._loop:
            return
        if self.answer._waiting_bytes:
            self._soon()
            return
        self.process.run.watch.check_work(self, _AHEAD)
        if self.call.engine == BREAKS and self.produced * 2 >= self.wanted:
            loop.inside(lambda: self.answer.fail(BrokenAnswer("the connection was reset")))
            return
        self.produced = min(self.produced + CHUNK_TOKENS, self.wanted)
        last = self.produced >= self.wanted
        data = self._chunk("stop" if last else None)
        if last:
            if self.call.engine != COUNTLESS:
                head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": self.model}
                data += b"data: " + _encode({**head, "choices": [], "usage": self.usage()}) + b"\n\n"
            data += b"data: [DONE]\n\n"

        def send() -> None:
            self.answer.add(data)
            if last:
                self.answer.end()

        loop.inside(send)
        if not last:
            self._soon()

    def _chunk(self, finish: str | None) -> bytes:
        chunk: dict[str, object] = {
            "id": "c",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": self.model,
            "choices": [{"index": 0, "delta": {"content": "word"}, "finish_reason": finish}],
        }
        if self.call.engine not in (COUNTLESS, CONTRADICTS):
            chunk["usage"] = self.usage()
        return b"data: " + _encode(chunk) + b"\n\n"


class Upstream(Origin):
    """A pool of connections to simulated model servers, as the gateway sees it."""

    def __init__(self, process: Process) -> None:
        super().__init__("http://upstream")
        self._process = process

    async def open(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes = b"",
        *,
        timeout_seconds: float,
        whole_seconds: float = NEVER,
        on_sent: Callable[[], None] = lambda: None,
        begun: Answer | None = None,
    ) -> Answer:
        """As the real one: raises Unreachable, TimedOut."""
        if begun is not None:
            await begun.headed()
            return begun
        sent = dict(headers)
        call = self._process.run.calls[int(sent[CALL_HEADER])]
        await asyncio.sleep(call.random.randrange(500, 8_000) / SECOND)
        if call.engine == REFUSES:
            raise Unreachable("simulated: connection refused")
        on_sent()
        return await self._answer(self._arrived(call, sent[b"x-request-id"], body))

    def send_at_once(self, request: bytes, timeout_seconds: float, whole_seconds: float) -> Answer | None:
        """As the real one: three of four requests find a connection."""
        head, _, body = request.partition(b"\r\n\r\n")
        sent = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        call = self._process.run.calls[int(sent[CALL_HEADER])]
        if call.engine == REFUSES or call.random.random() < 0.25:
            return None
        self._process.run.situation("a request went the express way")
        work = self._arrived(call, sent[b"x-request-id"], body)

        async def answer() -> None:
            try:
                await self._answer(work)
            except UpstreamError as error:
                if not work.dropped:
                    work.answer.fail(error)

        self._process.loop.create_task(answer())
        return work.answer

    def _arrived(self, call: Call, id_: bytes, body: bytes) -> Work:
        asked = _decode_cap(body)
        work = Work(self._process, call, id_.decode(), asked.model, asked.max_tokens)
        self._process.run.watch.begin_work(work)
        return work

    async def _answer(self, work: Work) -> Answer:
        """Work on a request, and answer it unless the gateway has hung up meanwhile."""
        call = work.call
        if call.engine == SILENT:
            await asyncio.sleep(_SILENCE_SECONDS)
            raise TimedOut("answer")
        if call.engine == FAILS:
            await asyncio.sleep(0.01)
        elif call.stream:
            await asyncio.sleep(call.random.randrange(1_000, 30_000) / SECOND)
        else:
            await asyncio.sleep((work.wanted // CHUNK_TOKENS + 1) * call.chunk_pause / SECOND)
        if work.dropped:
            return work.answer
        if call.engine == FAILS:
            return work.answer_failure()
        return work.begin_stream() if call.stream else work.answer_whole()
