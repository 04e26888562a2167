"""Bytes in, requests out: the parsing side of a client's connection, and what it refuses to parse."""

from collections import deque
from typing import NoReturn

import httptools

from purser.http.exchange import Request
from purser.http.head import split_target
from purser.http.known import KnownHead, know
from purser.http.limits import Limits
from purser.http.room import SMALL_BYTES, Room

# One call of `feed` takes no more than this, so that one read cannot turn into thousands of waiting requests.
PIECE_BYTES = 16 * 1024

# What the reader is in the middle of.
BETWEEN, HEAD, BODY = range(3)

_WATCHED = frozenset((b"content-length", b"expect", b"host", b"transfer-encoding", b"upgrade"))


class _Stop(Exception):
    """Raised out of the parser's callbacks to end parsing; why is in `refused`."""


class RequestReader:
    """Parses one connection's bytes into `requests`, whole ones in their order.

    What is malformed, too large or not understood sets `refused` (status, code, message), and nothing more is
    parsed. `over`: the last request said that none follows it. `expects`: the client waits for a 100 Continue.
    Bodies take their place in `room`; whoever takes a request off `requests` makes that of its body free in the end.
    `target` is the newest request's, as far as it was read. A request with the head of the one before is not parsed
    again: `take_known`.
    """

    __slots__ = (
        "_body",
        "_headers",
        "_keep_alive",
        "_known",
        "_last",
        "_limits",
        "_max_head_bytes",
        "_parser",
        "_peer",
        "_plain_head",
        "_quiet",
        "_request",
        "_room",
        "expects",
        "held",
        "over",
        "phase",
        "refused",
        "requests",
        "target",
    )

    def __init__(self, limits: Limits, peer: str, room: Room) -> None:
        self.requests: deque[Request] = deque()
        self.refused: tuple[int, str, str] | None = None
        self.over = False
        self.expects = False
        self.phase = BETWEEN
        self._limits = limits
        self._max_head_bytes = limits.max_head_bytes
        self._peer = peer
        self._room = room
        self._parser = httptools.HttpRequestParser(self)
        self.target = b""
        self._headers: list[tuple[bytes, bytes]] = []
        self._request: Request | None = None
        self._body: bytes | bytearray = b""
        self._keep_alive = True
        self._plain_head = b""  # a head again, without its offer to upgrade
        self._known: KnownHead | None = None  # of the last request, and that request
        self._last: Request | None = None
        self.held = b""  # a request with that head whose body is still to come
        # Bytes fed since the message, or its last piece of body, began: this bounds heads and trailers.
        self._quiet = 0

    def feed(self, data: bytes | memoryview) -> int:
        """Parse at most PIECE_BYTES and answer how many were taken: all, save behind an offer to upgrade."""
        if self.over or self.refused is not None:
            return len(data)
        at_first = self.phase == BETWEEN and not self.requests
        self._quiet += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._decline_upgrade()
            return int(upgrade.args[0])
        except httptools.HttpParserError:
            if not self.over:  # bytes after the last request of a connection are not ours to read
                self._note(400, "malformed_request", "The request is not well-formed HTTP/1.1.")
        if self._quiet > self._max_head_bytes + PIECE_BYTES and self.phase != BETWEEN:
            self._note_large_head()
        if at_first and type(data) is bytes:
            self._get_to_know(data)
        return len(data)

    # a head that comes again

    def _get_to_know(self, data: bytes) -> None:
        """Remember the head of a request that came by itself, its head in one piece."""
        if self._limits.max_body_bytes < SMALL_BYTES:
            return
        request = self.requests[0] if len(self.requests) == 1 else self._request
        self._known = None
        if request is not None and request.keep_alive and request.http_version == "1.1":
            self._known = request.known = know(data, request.headers)
            self._last = request.again(request.headers, b"")

    def take_known(self, data: bytes) -> Request | None:
        """The request that `data` is where its head is the one before's, as it would be parsed; None for any other.

        Where some of its body is still to come it is `held`: the next bytes belong behind it.
        """
        known, last = self._known, self._last
        if known is None or last is None or self.phase != BETWEEN:
            return None
        body = known.body(data)
        if body is not None:
            return last.again(known.fields(len(body)), body)
        if known.is_begun(data):
            self.held = data
            self.phase = BODY
        return None

    def let_go(self) -> bytes:
        """What is held, for the bytes that have come to be put behind it."""
        held, self.held = self.held, b""
        self.phase = BETWEEN
        return held

    def forget(self) -> None:
        """Drop all that was read: the connection is gone."""
        for body in (*[request.body for request in self.requests], self._body):
            self._room.leave(len(body))
        self.requests.clear()
        self._body = b""
        # The parser holds this reader's methods, and would keep both alive until the next garbage collection.
        del self._parser

    def _decline_upgrade(self) -> None:
        """Parse the head again without its offer to upgrade: the parser takes no body behind such an offer."""
        head, self._plain_head = self._plain_head, b""
        self._parser = httptools.HttpRequestParser(self)
        self.feed(head)

    def _note(self, status: int, code: str, message: str) -> None:
        """The first reason to refuse stands."""
        if self.refused is None:
            self.refused = (status, code, message)

    def _refuse(self, status: int, code: str, message: str) -> NoReturn:
        self._note(status, code, message)
        raise _Stop

    def _note_large_head(self) -> None:
        self._note(431, "headers_too_large", f"The request's headers exceed {self._max_head_bytes} bytes.")

    def _refuse_large_body(self) -> NoReturn:
        limit = self._limits.max_body_bytes
        self._refuse(413, "request_too_large", f"The request's body exceeds {limit} bytes.")

    # the parser's callbacks

    def on_message_begin(self) -> None:
        self.phase = HEAD
        self._headers = []
        self.target = b""
        self._body = b""

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value))

    def on_headers_complete(self) -> None:
        parser = self._parser
        headers = self._headers
        if self._quiet > self._max_head_bytes:
            size = len(self.target) + sum(len(name) + len(value) + 4 for name, value in headers)
            if size > self._max_head_bytes:
                self._note_large_head()
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
        self._keep_alive = keep_alive = parser.should_keep_alive()
        request = Request(method, self.target, path, query, headers, self._peer, version, keep_alive)
        self._read_framing(request)
        self._request = request
        self._headers = []  # trailers end up here, and are not looked at
        self._quiet = 0
        self.phase = BODY

    def _read_framing(self, request: Request) -> None:
        """Look at the headers that say how the message goes on. The parser has refused the contradictory ones."""
        hosts = 0
        expects = False
        body = False
        for name, value in request.headers:
            if name not in _WATCHED:
                continue
            if name == b"host":
                hosts += 1
            elif name == b"content-length":
                body = True
                if int(value) > self._limits.max_body_bytes:
                    self._refuse_large_body()
            elif name == b"transfer-encoding":
                body = True
                if request.http_version == "1.0":
                    self._refuse(400, "malformed_request", "Transfer-Encoding needs HTTP/1.1.")
                if value.strip().lower() != b"chunked":
                    self._refuse(501, "unsupported_transfer_encoding", "Only the chunked coding is understood.")
            elif name == b"expect":
                expects = value.strip().lower() == b"100-continue"
            elif self._parser.should_upgrade():
                self._plain_head = _plain_head(request)
        if hosts != 1 and (hosts or request.http_version == "1.1"):
            self._refuse(400, "malformed_request", "Exactly one Host header is needed.")
        self.expects = expects and body and request.http_version == "1.1" and not self._plain_head

    def on_body(self, body: bytes) -> None:
        self._quiet = 0
        held = self._body
        size = len(held) + len(body)
        if size > self._limits.max_body_bytes:
            self._refuse_large_body()
        if size > SMALL_BYTES and not self._room.grow(len(held), size):
            self._refuse(503, "too_much_waiting", "Too much is being sent to this server. Try again shortly.")
        if not held:
            self._body = body
        else:
            if not isinstance(held, bytearray):
                held = self._body = bytearray(held)
            held += body

    def on_message_complete(self) -> None:
        self.phase = BETWEEN
        self.expects = False
        request, self._request = self._request, None
        if self._plain_head or request is None:
            return
        body = self._body
        if body:
            request.body = body if isinstance(body, bytes) else bytes(body)
            self._body = b""
        self.over = not self._keep_alive
        self.requests.append(request)


def _plain_head(request: Request) -> bytes:
    """A request's head again, without its offer to upgrade."""
    first = b"%b %b HTTP/%b\r\n" % (request.method.encode(), request.target, request.http_version.encode())
    kept = [pair for pair in request.headers if pair[0] not in (b"upgrade", b"http2-settings")]
    return first + b"".join(b"%b: %b\r\n" % pair for pair in kept) + b"\r\n"
