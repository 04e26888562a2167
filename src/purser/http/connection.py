"""One client's connection: bytes in, whole requests out, answers in the order of the requests."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING, NoReturn

import httptools

from purser.http.exchange import Exchange, Request
from purser.http.head import split_target

if TYPE_CHECKING:
    from purser.http.server import Server

# The parser is fed in pieces no larger than this, so that one read cannot turn into thousands of waiting requests.
_PIECE_BYTES = 16 * 1024
# What a client sent ahead of its answers and what it sends after a refusal is kept, or read away, up to this much.
_AHEAD_BYTES = 256 * 1024
_LINGER_SECONDS = 2.0
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_WATCHED = frozenset((b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"))

# What the parser is in the middle of.
_BETWEEN, _HEAD, _BODY, _LINGER = range(4)


class _Stop(Exception):
    """Raised out of the parser's callbacks to end parsing; why is in the connection's `refused`."""


class Connection(asyncio.Protocol):
    """One client's connection. Requests are parsed and answered one after the other.

    While an answer is being produced nothing more is parsed; what the client sends meanwhile is kept, and beyond a
    bound no longer read (then a hang-up shows only when the answer is written).
    """

    __slots__ = (
        "ahead",
        "ahead_bytes",
        "body",
        "busy",
        "continue_due",
        "current",
        "drained",
        "eof",
        "fresh",
        "headers",
        "house",
        "max_head_bytes",
        "keep_alive",
        "lingered",
        "loop",
        "lost",
        "parser",
        "peer",
        "phase",
        "plain_head",
        "quiet",
        "reading",
        "refused",
        "request",
        "since",
        "stalled_bytes",
        "stalled_since",
        "target",
        "transport",
        "waiting",
    )

    transport: asyncio.Transport
    drained: asyncio.Event | None

    def __init__(self, house: "Server", loop: asyncio.AbstractEventLoop) -> None:
        self.house = house
        self.max_head_bytes = house.limits.max_head_bytes
        self.loop = loop
        self.parser: httptools.HttpRequestParser | None = httptools.HttpRequestParser(self)
        self.peer = ""
        self.phase = _BETWEEN
        self.since = loop.time()
        self.fresh = True
        self.eof = False
        self.lost = False
        self.reading = True
        self.drained = None
        self.stalled_bytes = 0
        self.stalled_since = 0.0
        self.lingered = 0
        # the message being parsed
        self.target = b""
        self.headers: list[tuple[bytes, bytes]] = []
        self.request: Request | None = None
        self.body: bytes | bytearray = b""
        self.keep_alive = True
        self.quiet = 0  # bytes fed since the message, or its last piece of body, began: bounds heads and trailers
        self.plain_head = b""  # the head again without its offer to upgrade
        self.continue_due = False
        # what is parsed and what is not
        self.busy = False
        self.current: Exchange | None = None
        self.waiting: deque[Request] = deque()
        self.ahead: deque[bytes] = deque()
        self.ahead_bytes = 0
        self.refused: tuple[int, str, str] | None = None

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TCP gives a full transport
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if isinstance(peer, tuple) else ""
        if not self.house.admit(self):
            self.refused = (503, "too_many_connections", "Too many connections are open. Try again shortly.")
            self._send_refusal()

    def data_received(self, data: bytes) -> None:
        if self.phase == _LINGER:
            self.lingered += len(data)
            if self.lingered > _AHEAD_BYTES * 4:
                self.transport.abort()
        elif self.busy:
            self._keep(data)
        else:
            if self.phase != _HEAD:
                self.since = self.loop.time()
            self._feed(data)

    def eof_received(self) -> bool:
        self.eof = True
        if self.busy:
            if self.current is not None:
                self.current.hang_up()
            return True  # a client that closed only its sending side still gets its answer
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self.eof = True
        self.house.forget(self)
        self.parser = None
        self.waiting.clear()
        self.ahead.clear()
        if self.drained is not None:
            self.drained.set()
            self.drained = None
        current, self.current = self.current, None
        if current is not None:
            current.hang_up()

    def pause_writing(self) -> None:
        self.drained = asyncio.Event()

    def resume_writing(self) -> None:
        drained, self.drained = self.drained, None
        if drained is not None:
            drained.set()
        if self.busy and self.current is None:
            self._next()

    # parsing

    def _feed(self, data: bytes) -> None:
        """Parse until a request is complete; the rest is kept for when it has been answered."""
        at = self._feed_piece(data) if len(data) <= _PIECE_BYTES else 0
        if at == len(data):
            return
        view = memoryview(data)
        while at < len(data) and not self.busy and self.refused is None:
            at += self._feed_piece(view[at : at + _PIECE_BYTES])
        if at < len(data) and self.refused is None and self.keep_alive:
            self.ahead.appendleft(data[at:])
            self.ahead_bytes += len(data) - at

    def _feed_piece(self, data: bytes | memoryview) -> int:
        """Parse one piece and answer how many of its bytes were taken: all, save behind an offer to upgrade."""
        parser = self.parser
        if parser is None:
            return len(data)
        self.quiet += len(data)
        try:
            parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade()
            return int(upgrade.args[0])
        except httptools.HttpParserError:
            if not self.keep_alive and self.phase == _BETWEEN:
                return len(data)  # bytes after the last request of a connection are not ours to read
            if self.refused is None:
                self.refused = (400, "malformed_request", "The request is not well-formed HTTP/1.1.")
        if self.quiet > self.max_head_bytes + _PIECE_BYTES and self.phase != _BETWEEN:
            self._too_long()
        if self.refused is not None and not self.busy:
            self._send_refusal()
        return len(data)

    def _decline_upgrade(self) -> None:
        """Parse the head again without its offer to upgrade: the parser takes no body behind such an offer."""
        head, self.plain_head = self.plain_head, b""
        self.parser = httptools.HttpRequestParser(self)
        self._feed_piece(head)

    def _keep(self, data: bytes) -> None:
        if self.refused is not None or not self.keep_alive:
            return
        self.ahead.append(data)
        self.ahead_bytes += len(data)
        if self.reading and self.ahead_bytes > _AHEAD_BYTES:
            self.reading = False
            self.transport.pause_reading()

    def _refuse(self, status: int, code: str, message: str) -> NoReturn:
        """Called within the parser's callbacks: nothing of this connection is parsed any more."""
        self.refused = (status, code, message)
        raise _Stop

    def _too_long(self) -> None:
        if self.refused is None:
            limit = self.max_head_bytes
            self.refused = (431, "headers_too_large", f"The request's headers exceed {limit} bytes.")

    def on_message_begin(self) -> None:
        self.phase = _HEAD
        self.headers = []
        self.target = b""
        self.body = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self.parser
        assert parser is not None
        headers = self.headers
        if self.quiet > self.max_head_bytes:
            size = len(self.target) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > self.max_head_bytes:
                self._too_long()
                raise _Stop
        version = parser.get_http_version()
        if version != "1.1" and version != "1.0":
            self._refuse(505, "unsupported_http_version", "Use HTTP/1.1.")
        method = parser.get_method().decode("ascii")
        if method == "CONNECT":
            self._refuse(405, "method_not_allowed", "This is no proxy.")
        try:
            path, query = split_target(self.target)
        except ValueError:
            self._refuse(400, "malformed_target", "The request's path is malformed.")
        self.keep_alive = keep_alive = parser.should_keep_alive()
        self.request = request = Request(method, self.target, path, query, headers, self.peer, version, keep_alive)
        self._read_framing(parser, request)
        self.headers = []  # trailers end up here, and are not looked at
        self.quiet = 0
        self.phase = _BODY

    def _read_framing(self, parser: httptools.HttpRequestParser, request: Request) -> None:
        hosts = 0
        expects = False
        body = False
        for name, value in request.headers:
            if name not in _WATCHED:
                continue
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                body = value.strip() != b"0"
                if int(value) > self.house.limits.max_body_bytes:
                    self._too_large()
            elif name == b"transfer-encoding":
                body = True
                if request.http_version == "1.0":
                    self._refuse(400, "malformed_request", "Transfer-Encoding needs HTTP/1.1.")
                if value.strip().lower() != b"chunked":
                    self._refuse(501, "unsupported_transfer_encoding", "Only the chunked coding is understood.")
            elif name == b"expect":
                expects = value.strip().lower() == b"100-continue"
            elif parser.should_upgrade():
                self.plain_head = _plain_head(request)
        if hosts != 1 and (hosts or request.http_version == "1.1"):
            self._refuse(400, "malformed_request", "Exactly one Host header is needed.")
        if expects and body and request.http_version == "1.1" and not self.plain_head:
            if self.busy:
                self.continue_due = True
            else:
                self.transport.write(_CONTINUE)

    def _too_large(self) -> NoReturn:
        limit = self.house.limits.max_body_bytes
        self._refuse(413, "request_too_large", f"The request's body exceeds {limit} bytes.")

    def on_body(self, body: bytes) -> None:
        self.quiet = 0
        held = self.body
        if not held:
            self.body = body
        elif isinstance(held, bytearray):
            held += body
        else:
            held = self.body = bytearray(held)
            held += body
        if len(self.body) > self.house.limits.max_body_bytes:
            self._too_large()

    def on_message_complete(self) -> None:
        self.phase = _BETWEEN
        if self.plain_head:
            return
        request, self.request = self.request, None
        assert request is not None
        body = self.body
        if body:
            request.body = body if isinstance(body, bytes) else bytes(body)
            self.body = b""
        self.continue_due = False
        if self.busy:
            self.waiting.append(request)
        else:
            self._begin(request)

    # answering

    def _begin(self, request: Request) -> None:
        self.busy = True
        self.fresh = False
        self.current = exchange = Exchange(request, self, self.eof)
        self.house.run(exchange)

    def exchange_ended(self, keep_alive: bool) -> None:
        """The current answer has been written to its end."""
        self.current = None
        if self.lost:
            return
        if not keep_alive:
            self.ahead.clear()
            self.waiting.clear()
            self.transport.close()
        elif self.drained is None:
            self._next()

    def _next(self) -> None:
        """Go on to what has come while the last request was being answered."""
        self.since = self.loop.time()
        if self.waiting:
            self._begin(self.waiting.popleft())
            return
        self.busy = False
        if self.refused is not None:
            self._send_refusal()
            return
        if self.continue_due:
            self.continue_due = False
            self.transport.write(_CONTINUE)
        while self.ahead and not self.busy and self.phase != _LINGER:
            data = self.ahead.popleft()
            self.ahead_bytes -= len(data)
            self._feed(data)
        if self.busy or self.phase == _LINGER:
            return
        if self.eof:
            self.transport.close()
        elif not self.reading:
            self.reading = True
            self.transport.resume_reading()

    def _send_refusal(self) -> None:
        """Say why, then read away what still comes for a moment: closing on unread bytes would lose the answer."""
        assert self.refused is not None
        self.phase = _LINGER
        self.since = self.loop.time()
        self.ahead.clear()
        self.body = b""
        self.transport.write(self.house.refusal(*self.refused))
        if self.eof:
            self.transport.close()
        else:
            self.transport.write_eof()

    def close_if_idle(self) -> None:
        """Close a connection that is between two requests."""
        if not self.busy and self.phase == _BETWEEN:
            self.transport.close()

    def sweep(self, now: float) -> None:
        """End what has taken too long by `now`, the loop's time in seconds."""
        limits = self.house.limits
        unsent = self.transport.get_write_buffer_size()
        if unsent and unsent == self.stalled_bytes:
            if now - self.stalled_since > limits.body_timeout_seconds:
                self.transport.abort()
                return
        else:
            self.stalled_bytes = unsent
            self.stalled_since = now
        if self.busy or self.transport.is_closing():
            return
        waited = now - self.since
        if self.phase == _LINGER:
            if waited > _LINGER_SECONDS:
                self.transport.abort()
        elif self.phase == _BETWEEN:
            if waited > (limits.head_timeout_seconds if self.fresh else limits.keep_alive_seconds):
                self.transport.close()
        elif self.phase == _HEAD:
            if waited > limits.head_timeout_seconds:
                self._give_up("headers")
        elif waited > limits.body_timeout_seconds:
            self._give_up("body")

    def _give_up(self, part: str) -> None:
        self.refused = (408, "request_timeout", f"The request's {part} did not come in time.")
        self._send_refusal()


def _plain_head(request: Request) -> bytes:
    """A request's head again, without its offer to upgrade."""
    first = b"%b %b HTTP/%b\r\n" % (request.method.encode(), request.target, request.http_version.encode())
    kept = [pair for pair in request.headers if pair[0] not in (b"upgrade", b"http2-settings")]
    return first + b"".join(b"%b: %b\r\n" % pair for pair in kept) + b"\r\n"
