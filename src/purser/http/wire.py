"""One connection to an upstream: a request out, an answer in, and whether another may follow."""

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import httptools

from purser.http.known import know
from purser.http.upstream import Answer, BrokenAnswer, TimedOut, Unreachable, UpstreamError

if TYPE_CHECKING:
    from purser.http.client import Origin

_MAX_INTERIM = 32
_size = re.compile(rb"([0-9a-f]{1,6})\r\n").match
NEVER = float("inf")
# Below this a body is copied behind its head so that both leave in one write; above, the copy costs more.
_ONE_WRITE_BYTES = 64 * 1024


class _Stop(Exception):
    """Raised out of the parser's callbacks to end parsing; why is in the wire's `broken`."""


def _take_chunks(data: bytes, frames: Callable[[bytes], bool]) -> bytes:
    """Have the whole chunks taken that come one behind the other in one piece; the rest of it."""
    at = 0
    while size := _size(data, at):
        end = size.end() + int(size[1], 16) + 2
        if end - at == len(data) or not frames(data[at:end]):  # one by itself has been asked about already
            break
        at = end
    return data[at:]


class Wire(asyncio.Protocol):
    """One connection to an upstream, used for one request at a time."""

    __slots__ = (
        "answer",
        "between",
        "beyond",
        "bodiless",
        "broken",
        "counted",
        "ended",
        "ends_at",
        "headers",
        "heard_at",
        "held",
        "in_head",
        "interim",
        "keep_alive",
        "loop",
        "lost",
        "origin",
        "parsed",
        "parser",
        "quiet",
        "reading",
        "received",
        "silence_seconds",
        "to_the_close",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, origin: "Origin", loop: asyncio.AbstractEventLoop) -> None:
        self.origin = origin
        self.loop = loop
        self.parser: httptools.HttpResponseParser | None = httptools.HttpResponseParser(self)
        self.answer: Answer | None = None
        self.counted = False
        self.lost = False
        self.reading = True
        self.heard_at = 0.0
        self.silence_seconds = 0.0
        self.ends_at = NEVER
        self.received = False
        self.headers: list[tuple[bytes, bytes]] = []
        self.parsed = False
        self._reset(False)

    def _reset(self, bodiless: bool) -> None:
        """Make ready for the next answer to be parsed."""
        self.bodiless = bodiless
        self.parsed = False
        self.in_head = True
        self.interim = 0
        self.to_the_close = False
        self.ended = False
        self.beyond = False
        self.keep_alive = False
        self.quiet = 0
        self.between = False  # the parser is between two chunks: whole ones need not go through it
        self.broken: UpstreamError | None = None
        self.held = b""  # the beginning of an answer whose head is known and whose body is still to come

    def send(self, head: bytes, body: bytes, bodiless: bool, silence_seconds: float, whole_seconds: float) -> Answer:
        """Write a request (head and body, in one write unless large) and answer with what its answer will fill.

        `bodiless`: the answer has no body whatever its headers say (HEAD). It is given up after so many seconds of
        silence, or altogether.
        """
        answer = self.begin(bodiless, silence_seconds, whole_seconds)
        if not body:
            self.transport.write(head)
        elif len(body) < _ONE_WRITE_BYTES:
            self.transport.write(head + body)
        else:
            self.transport.writelines((head, body))
        return answer

    def begin(self, bodiless: bool, silence_seconds: float, whole_seconds: float) -> Answer:
        """Make ready for the answer to a request that is about to be written, with bounds as `send` has them."""
        if self.parsed or self.bodiless != bodiless:
            self._reset(bodiless)
        self.received = False
        self.answer = answer = Answer(self, self.loop)
        self.silence_seconds = silence_seconds
        self.heard_at = now = self.loop.time()
        self.ends_at = now + whole_seconds
        return answer

    def drop(self) -> None:
        """Close the connection at once."""
        self.answer = None
        self.lost = True
        self.origin.left(self)
        self.transport.abort()

    def abandon(self) -> None:
        """The connection, not yet used, is not wanted any more, whether it has been made or is still being made."""
        self.lost = True
        self.origin.left(self)
        transport = getattr(self, "transport", None)
        if transport is not None:
            transport.abort()

    def give_up(self) -> None:
        """Fail the running answer: the origin is being closed."""
        self._let_go()
        self._fail((Unreachable if self.in_head else BrokenAnswer)("this origin has been closed"))

    def read_on(self) -> None:
        """Read again after the answer's reader has caught up."""
        self.reading = True
        self.heard_at = self.loop.time()
        if not self.lost:
            self.transport.resume_reading()

    def sweep(self, now: float) -> None:
        """Give the answer up if the upstream has by `now`, in the loop's time, been silent or at it for too long."""
        if self.answer is None:
            return
        if self.reading and now - self.heard_at > self.silence_seconds:
            self._let_go()
            self._fail(TimedOut("answer" if self.in_head else "body"))
        elif now > self.ends_at:
            self._let_go()
            self._fail(TimedOut("whole"))

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TCP and TLS give a full transport
        if self.lost:
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        parser, answer = self.parser, self.answer
        if answer is None or parser is None:
            self.drop()  # nothing was asked: a late error, or an upstream out of step
            return
        self.heard_at = self.loop.time()
        if self.between and answer.frames is not None:
            if answer.frames(data):
                return
            data = _take_chunks(data, answer.frames)
            if not data:
                return
        at_first = False
        if not self.received or self.held:
            self.received = at_first = True
            if self.held:
                data, self.held = self.held + data, b""
            if self._take_known(data):
                return
        self.parsed = True
        self.quiet += len(data)
        try:
            parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade):
            if not self.ended:
                self._fail(self.broken or BrokenAnswer("the upstream's answer is not well-formed HTTP"))
                return
            self.beyond = True
        if at_first and not (self.in_head or self.interim or self.bodiless):
            self._get_to_know(data, parser)
        if self.ended:
            self._finish()
        elif self.quiet > self.origin.max_head_bytes:
            self._fail(BrokenAnswer("the upstream's headers are too large"))
        elif self.between and data[-1:] != b"\n":
            self.between = False  # the next one's size has begun

    def _take_known(self, data: bytes) -> bool:
        """Take an answer whose head is known, as it would be parsed; False, and nothing is taken, for any other.

        Where some of its body is still to come it is `held`.
        """
        known, answer = self.origin.known, self.answer
        if known is None or answer is None or self.bodiless:
            return False
        body = known.body(data)
        if body is None:
            if known.is_begun(data):
                self.held = data
            return bool(self.held)
        self.answer = None
        if self.transport.get_write_buffer_size():
            self.drop()
        else:
            self.origin.give_back(self)
        answer.come(known, body)
        return True

    def _let_go(self) -> None:
        """Parse what is held: the rest does not come."""
        held, self.held = self.held, b""
        if held:
            self.data_received(held)

    def _get_to_know(self, data: bytes, parser: httptools.HttpResponseParser) -> None:
        """Remember the head of an answer of which nothing is of use before all of it is there: one in JSON."""
        answer = self.answer
        stays = self.keep_alive if self.ended else parser.should_keep_alive()
        if answer is not None and answer.status == 200 and stays:
            kind = answer.header(b"content-type") or b""
            if kind.startswith(b"application/json"):
                self.origin.known = answer.known = know(data, answer.headers, 200)

    def eof_received(self) -> bool:
        self._hang_up(None)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._hang_up(exc)
        self.lost = True
        self.parser = None
        self.origin.left(self)

    def _hang_up(self, exc: Exception | None) -> None:
        self._let_go()
        answer = self.answer
        if answer is None:
            self.origin.unlist(self)
        elif not self.received:
            self._fail(Unreachable("the upstream hung up before it answered"))
        elif self.to_the_close and exc is None:
            self.answer = None
            answer.end()
        else:
            self._fail(BrokenAnswer("the upstream hung up within its answer"))

    def _fail(self, error: UpstreamError) -> None:
        answer = self.answer
        self.drop()
        if answer is not None:
            answer.fail(error)

    def _finish(self) -> None:
        """The answer is whole: give the connection back if another request may follow, else close it."""
        answer, self.answer = self.answer, None
        reusable = self.keep_alive and not self.beyond and not self.transport.get_write_buffer_size()
        if not self.reading:
            self.read_on()
        if reusable:
            self.origin.give_back(self)
        else:
            self.drop()
        if answer is not None:
            answer.end()

    # the parser's callbacks

    def on_message_begin(self) -> None:
        if self.ended:
            self.beyond = True
        self.headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser, answer = self.parser, self.answer
        if self.ended or parser is None or answer is None:
            return
        status = parser.get_status_code()
        if status < 200:
            self.interim += 1
            if self.interim > _MAX_INTERIM or status == 101:
                self.broken = BrokenAnswer("the upstream answered with more than was asked for")
                raise _Stop
            return
        self.in_head = False
        self.quiet = 0
        headers, self.headers = self.headers, []  # trailers end up in the new one, and are not looked at
        if self.bodiless or status in (204, 304):
            self.ended = self.bodiless
        else:
            self.to_the_close = True
            for name, value in headers:
                if name == b"content-length" or (
                    name == b"transfer-encoding" and value.rstrip().lower().endswith(b"chunked")
                ):
                    self.to_the_close = False
                    break
        answer.begin(status, headers)

    def on_body(self, body: bytes) -> None:
        self.quiet = 0
        if self.ended or self.answer is None:
            return
        if not self.answer.add(body) and self.reading:
            self.reading = False
            self.transport.pause_reading()

    def on_chunk_header(self) -> None:
        self.between = False

    def on_chunk_complete(self) -> None:
        self.between = True

    def on_message_complete(self) -> None:
        if self.in_head or self.ended:
            return  # 1xx, or beyond the answer
        self.ended = True
        self.keep_alive = self.parser is not None and self.parser.should_keep_alive()
