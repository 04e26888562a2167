"""One request and the answer to it, as the code that answers sees them."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import msgspec

from purser.http.head import STATUS_LINES, Headers, head_bytes
from purser.http.known import KnownHead

if TYPE_CHECKING:
    from purser.http.connection import Connection

log = logging.getLogger("purser.http")
Answerer = Callable[["Exchange"], Coroutine[Any, Any, None]]

# Below this a body is copied behind its head so that both leave in one write; above, the copy costs more.
_ONE_WRITE_BYTES = 64 * 1024
_BODILESS = frozenset((204, 304))


class Request(msgspec.Struct, eq=False):
    """A request, read to its end. Header names are lower-cased, values are the bytes as sent.

    `known` is its head where the next request on its connection may have the same.
    """

    method: str
    target: bytes
    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    client: str
    http_version: str
    keep_alive: bool
    body: bytes = b""
    known: KnownHead | None = None
    _firsts: dict[bytes, bytes] | None = None

    def header(self, name: bytes) -> bytes | None:
        """The first value under a lower-case name, or None."""
        firsts = self._firsts
        if firsts is None:
            self._firsts = firsts = dict(reversed(self.headers))
        return firsts.get(name)

    def again(self, headers: list[tuple[bytes, bytes]], body: bytes) -> Request:
        """A request like this one with these headers and this body."""
        request: Request = self.__copy__()  # type: ignore[attr-defined]  # a struct has it, its stub has not
        request.body = body
        if headers is not self.headers:
            request.headers = headers
            request._firsts = None
        return request


class Exchange(msgspec.Struct, eq=False):
    """One request and the answer to it.

    `gone` turns true once the client has hung up: it closed its side, or the connection is lost. What is
    written afterwards still goes out where it can, for a client that closed only its sending side and waits.
    `called_off` turns true when the server stops and waits no longer: the client is still there to be told.
    """

    request: Request
    _line: Connection
    gone: bool
    called_off: bool = False
    started: bool = False
    ended: bool = False
    # Sends what is a chunk of the chunked coding already; there while the answer is in that coding and under way, and
    # its client keeps up.
    forward: Callable[[bytes], None] | None = None
    _calls: list[Callable[[], None]] | None = None
    # These are set as the answer starts.
    _keep_alive: bool = True
    _chunked: bool = False
    _mute: bool = False
    _left: int = -1  # bytes still owed under Content-Length; -1: not counted

    @property
    def lost(self) -> bool:
        """Whether the connection is lost, so that nothing written can arrive. (A client may be `gone` before.)"""
        return self._line.lost

    @property
    def server_address(self) -> tuple[str, int] | None:
        """Host and port that the client connected to."""
        name = self._line.transport.get_extra_info("sockname")
        return (name[0], name[1]) if isinstance(name, tuple) else None

    def on_gone(self, call: Callable[[], None]) -> None:
        """Have `call` called once if the client hangs up, or the server calls the exchange off, before the answer
        ended; at once if that is so already."""
        if self.ended:
            return
        if self.gone or self.called_off:
            call()
        elif self._calls is None:
            self._calls = [call]
        else:
            self._calls.append(call)

    def start(self, status: int, headers: Headers, length: int | None = None) -> None:
        """Send the status line and headers. With `length` None the body is chunked (HTTP/1.0: until the close).

        Framing headers and Date among `headers` are left out, the server writes its own. Raises ValueError
        for a header with CR, LF or NUL or a status outside 200–599, RuntimeError when the answer has already
        started.
        """
        self._write(self._head(status, headers, length))
        self.note_flow()

    def write(self, data: bytes) -> None:
        """Send a piece of the body. Raises RuntimeError before `start` and after `end`, ValueError beyond `length`."""
        if not self.started or self.ended:
            raise RuntimeError("write before start or after end")
        if not data:
            return
        if self._left >= 0:
            if len(data) > self._left:
                raise ValueError("more body than the announced length")
            self._left -= len(data)
        if self._mute or self._line.lost:
            return
        if not self._chunked:
            self._line.transport.write(data)
        elif len(data) < _ONE_WRITE_BYTES:
            self._line.transport.write(b"%x\r\n%b\r\n" % (len(data), data))
        else:
            self._line.transport.writelines((b"%x\r\n" % len(data), data, b"\r\n"))

    @property
    def flowing(self) -> bool:
        """Whether the answer has started and not ended, and its client keeps up, so that `drain` would not wait."""
        return self.started and not self.ended and self._line.drained is None

    def note_flow(self) -> None:
        """The connection's word that its client keeps up, or does not any more, or that it is lost."""
        line = self._line
        flows = self._chunked and self.flowing and not (self._mute or line.lost)
        self.forward = line.transport.write if flows else None

    async def drain(self) -> None:
        """Wait until the client has taken enough for more to be written; returns at once when it is gone for good."""
        drained = self._line.drained
        if drained is not None:
            await drained.wait()

    def end(self, data: bytes = b"") -> None:
        """End the answer, with a last piece of body. One shorter than its announced length cuts the connection."""
        if self.ended:
            return
        if data or not self.started:
            self.write(data)
        if self._left > 0 and not self._mute:
            self.abort()
            return
        if self._chunked and not self._mute:
            self._write(b"0\r\n\r\n")
        self._finish()

    def answer(self, status: int, headers: Headers, body: bytes) -> None:
        """The whole answer in one write. Raises as `start` does."""
        head = self._head(status, headers, len(body))
        line = self._line
        if not line.lost:
            if self._mute or not body:
                line.transport.write(head)
            elif len(body) < _ONE_WRITE_BYTES:
                line.transport.write(head + body)
            else:
                line.transport.writelines((head, body))
        self._finish()

    def answer_lines(self, lines: bytes, body: bytes) -> None:
        """As `answer` with 200: `lines` are the headers as whole lines, checked before, none of them framing."""
        line, request = self._line, self.request
        if self.started or request.known is None or line.house.draining or request.method == "HEAD":
            pairs = [header.split(b": ", 1) for header in lines.split(b"\r\n")[:-1]]
            self.answer(200, [(name, value) for name, value in pairs], body)
            return
        self.started = True
        if not line.lost:
            line.transport.write(
                b"HTTP/1.1 200 OK\r\n%b%bcontent-length: %d\r\n\r\n%b" % (line.house.date, lines, len(body), body)
            )
        self._finish()

    def go_on(self, answerer: Answerer) -> None:
        """Have the rest of what an `at_once` has begun done by a task, as an answerer's is."""
        self._line.house.go_on(self, answerer)

    def abort(self) -> None:
        """Cut the connection, so that the client sees that the answer is not whole. What was written still leaves."""
        if self.ended:
            return
        line = self._line
        self.ended = True
        self.forward = None
        self._calls = None
        if line.lost:
            return
        if self.started and not self._chunked and self._left < 0:
            # A body that ends with the connection looks whole unless the connection is reset.
            peer = line.transport.get_extra_info("socket")
            if peer is not None:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            line.transport.abort()
        else:
            line.transport.close()

    def hang_up(self) -> None:
        """The connection's word that the client is gone: runs the calls left with `on_gone`."""
        if self.gone:
            return
        self.gone = True
        self._call()

    def call_off(self) -> None:
        """The server's word that it waits no longer: runs the calls left with `on_gone`."""
        self.called_off = True
        self._call()

    def _call(self) -> None:
        calls, self._calls = self._calls, None
        if calls is None or self.ended:
            return
        for call in calls:
            try:
                call()
            except Exception:
                log.exception("a call on hang-up failed")

    def _head(self, status: int, headers: Headers, length: int | None) -> bytes:
        if self.started or self.ended:
            raise RuntimeError("the answer has already started")
        first = STATUS_LINES.get(status)
        if first is None:
            raise ValueError(f"not a final status: {status}")
        house = self._line.house
        old = self.request.http_version == "1.0"
        keep_alive = self.request.keep_alive and not house.draining
        chunked = False
        lines = 3
        if status in _BODILESS:
            framing = b""
            lines = 2
        elif length is not None:
            framing = b"content-length: %d\r\n" % length
        elif old:
            framing = b""
            lines = 2
            keep_alive = False
        else:
            framing = b"transfer-encoding: chunked\r\n"
            chunked = True
        if not keep_alive:
            framing += b"connection: close\r\n"
            lines += 1
        elif old:
            framing += b"connection: keep-alive\r\n"
            lines += 1
        head = head_bytes(first + house.date, headers, framing, lines)
        self.started = True
        self._keep_alive = keep_alive
        self._chunked = chunked
        self._mute = status in _BODILESS or self.request.method == "HEAD"
        if length is not None and status not in _BODILESS:
            self._left = length
        return head

    def _write(self, data: bytes) -> None:
        if not self._line.lost:
            self._line.transport.write(data)

    def _finish(self) -> None:
        self.ended = True
        self.forward = None
        self._calls = None
        self._line.exchange_ended(self._keep_alive)
