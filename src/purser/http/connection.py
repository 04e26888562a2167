"""One client's connection: requests are read and answered one after the other, and nobody may stall it."""

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from purser.http.exchange import Exchange, Request
from purser.http.reader import BETWEEN, HEAD, PIECE_BYTES, RequestReader
from purser.http.room import SMALL_BYTES

if TYPE_CHECKING:
    from purser.http.server import Server

# What a client sends ahead of its answers is kept up to about this much.
_AHEAD_BYTES = 256 * 1024
# After a refusal, what the client still sends is read away for so long and so much.
_LINGER_SECONDS = 2.0
_LINGER_BYTES = 1024 * 1024
# Answers to connections that are turned away before anything of theirs is read.
_TOO_MANY = (503, "too_many_connections", "Too many connections are open. Try again shortly.")
_CLOSING = (503, "shutting_down", "This server is shutting down. Try again shortly.")
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client's connection.

    While an answer is being produced nothing more is parsed; what the client sends meanwhile is kept, and beyond a
    bound no longer read (then a hang-up shows only when the answer is written).
    """

    __slots__ = (
        "_ahead",
        "_ahead_bytes",
        "_alone",
        "_began",
        "_busy",
        "_current",
        "_eof",
        "_fresh",
        "_lingered",
        "_lingering",
        "_loop",
        "_reader",
        "_reading",
        "_since",
        "_stalled_bytes",
        "_stalled_since",
        "drained",
        "house",
        "lost",
        "transport",
    )

    transport: asyncio.Transport
    _reader: RequestReader

    def __init__(self, house: "Server", loop: asyncio.AbstractEventLoop) -> None:
        self.house = house
        self.lost = False
        self.drained: asyncio.Event | None = None  # set while the client takes less than is written
        self._loop = loop
        self._since = loop.time()  # when what is waited for began; in a body, when its last piece came
        self._began = self._since  # when the present request did, or at least could not have begun before
        self._fresh = True
        self._eof = False
        self._reading = True
        self._busy = False
        self._alone = False  # nothing came behind the present request
        self._current: Exchange | None = None
        self._ahead: deque[bytes] = deque()
        self._ahead_bytes = 0
        self._lingering = False
        self._lingered = 0
        self._stalled_bytes = 0
        self._stalled_since = 0.0

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # TCP gives a full transport
        peer = transport.get_extra_info("peername")
        self._reader = RequestReader(self.house.limits, peer[0] if isinstance(peer, tuple) else "", self.house.room)
        if not self.house.admit(self):
            self._refuse(*_CLOSING if self.house.draining else _TOO_MANY)

    def data_received(self, data: bytes) -> None:
        if self._busy:
            self._keep(data)
        elif self._lingering:
            self._lingered += len(data)
            if self._lingered > _LINGER_BYTES:
                self.transport.abort()
        else:
            reader = self._reader
            if reader.held:
                data = reader.let_go() + data
            request = reader.take_known(data)
            if request is not None:
                self._alone = self._reading
                self._begin(request)
                return
            if reader.phase != HEAD:
                self._since = self._loop.time()
            if not reader.held:
                self._parse(data)
            self._go_on()

    def eof_received(self) -> bool:
        self._eof = True
        self._alone = False
        if self._busy:
            if self._current is not None:
                self._current.hang_up()
            return True  # a client that closed only its sending side still gets its answer
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost = True
        self._eof = True
        self.house.forget(self)
        self._reader.forget()
        self._ahead.clear()
        if self.drained is not None:
            self.drained.set()
            self.drained = None
        current, self._current = self._current, None
        if current is not None:
            self.house.room.leave(len(current.request.body))
            current.note_flow()
            current.hang_up()

    def pause_writing(self) -> None:
        self.drained = asyncio.Event()
        if self._current is not None:
            self._current.note_flow()

    def resume_writing(self) -> None:
        drained, self.drained = self.drained, None
        if drained is not None:
            drained.set()
        if self._current is not None:
            self._current.note_flow()
        elif self._busy and not self.lost:
            self._after_answer()

    # reading

    def _parse(self, data: bytes) -> None:
        """Parse until a request is whole; the rest is kept for when it has been answered."""
        reader = self._reader
        size = len(data)
        at = reader.feed(data) if size <= PIECE_BYTES else 0
        if at == size:
            return
        view = memoryview(data)
        while at < size and not reader.requests:
            at += reader.feed(view[at : at + PIECE_BYTES])
        if at < size:
            self._ahead.appendleft(data[at:])
            self._ahead_bytes += size - at

    def _keep(self, data: bytes) -> None:
        self._alone = False
        if self._reader.over or self._reader.refused is not None:
            return
        self._ahead.append(data)
        self._ahead_bytes += len(data)
        if self._reading and self._ahead_bytes > _AHEAD_BYTES:
            self._reading = False
            self.transport.pause_reading()

    def _go_on(self) -> None:
        """Begin with the next request if there is one; else see what is to be said or waited for."""
        reader = self._reader
        while not reader.requests and reader.refused is None and self._ahead:
            data = self._ahead.popleft()
            self._ahead_bytes -= len(data)
            self._parse(data)
        if reader.requests:
            self._begin(reader.requests.popleft())
        elif reader.refused is not None:
            self._refuse(*reader.refused)
        elif self._eof:
            self.transport.close()
        else:
            if reader.expects:
                reader.expects = False
                self.transport.write(_CONTINUE)
            if not self._reading:
                self._reading = True
                self.transport.resume_reading()

    # answering

    def _begin(self, request: Request) -> None:
        self._busy = True
        self._fresh = False
        self._current = exchange = Exchange(request, self, self._eof)
        self.house.run(exchange)

    def exchange_ended(self, keep_alive: bool) -> None:
        """The current answer has been written to its end."""
        current, self._current = self._current, None
        if self.lost or current is None:
            return
        size = len(current.request.body)
        if size > SMALL_BYTES:
            self.house.room.leave(size)
        if not keep_alive or self.house.draining:
            self._ahead.clear()
            self.transport.close()
        elif self.drained is None:
            self._after_answer()

    def _after_answer(self) -> None:
        self._busy = False
        self._since = self._began = self._loop.time()
        if not self._alone:
            self._go_on()
        self._alone = False

    def _refuse(self, status: int, code: str, message: str) -> None:
        """Say why, then read away what still comes for a moment: closing on unread bytes would lose the answer."""
        self._lingering = True
        self._since = self._loop.time()
        self._ahead.clear()
        self.transport.write(self.house.refusal(status, code, message, self._reader.target))
        if self._eof:
            self.transport.close()
        else:
            self.transport.write_eof()
            if not self._reading:
                self._reading = True
                self.transport.resume_reading()

    # time

    def call_off(self) -> None:
        """Tell whoever answers on this connection that the server waits no longer."""
        if self._current is not None:
            self._current.call_off()

    def close_if_idle(self) -> None:
        """Close a connection that is between two requests."""
        if not self._busy and self._reader.phase == BETWEEN:
            self.transport.close()

    def sweep(self, now: float) -> None:
        """End what has taken too long by `now`, the loop's time in seconds."""
        limits = self.house.limits
        unsent = self.transport.get_write_buffer_size()
        if not unsent or unsent != self._stalled_bytes:
            self._stalled_bytes = unsent
            self._stalled_since = now
        elif now - self._stalled_since > limits.body_timeout_seconds:
            self.transport.abort()
            return
        if self._busy or self.transport.is_closing():
            return
        waited = now - self._since
        phase = self._reader.phase
        if self._lingering:
            if waited > _LINGER_SECONDS:
                self.transport.abort()
        elif phase == BETWEEN:
            self._began = now
            if waited > (limits.head_timeout_seconds if self._fresh else limits.keep_alive_seconds):
                self.transport.close()
        elif phase == HEAD:
            if waited > limits.head_timeout_seconds:
                self._refuse(408, "request_timeout", "The request's headers did not come in time.")
        elif waited > limits.body_timeout_seconds or now - self._began > limits.request_timeout_seconds:
            self._refuse(408, "request_timeout", "The request's body did not come in time.")
