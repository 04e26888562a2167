"""A pool of kept-alive connections to one upstream HTTP server."""

import asyncio
import errno
import ssl
from collections import deque
from collections.abc import Callable
from urllib.parse import urlsplit

from purser.http.head import Headers, head_bytes, header_lines, is_token
from purser.http.known import KnownHead
from purser.http.upstream import Answer, BrokenAnswer, Crowded, TimedOut, TooLarge, Unreachable, UpstreamError
from purser.http.wire import NEVER, Wire

__all__ = ["Answer", "BrokenAnswer", "Crowded", "Origin", "TimedOut", "TooLarge", "Unreachable", "UpstreamError"]

_SWEEP_SECONDS = 1.0
_KEPT_FIRSTS = 256
_NO_MORE = (errno.EMFILE, errno.ENFILE, errno.EADDRNOTAVAIL, errno.ENOBUFS, errno.ENOMEM)  # of ours, not of theirs
_WITH_LENGTH = frozenset(("POST", "PUT", "PATCH"))


class Origin:
    """One upstream, by scheme, host and port. Connections are opened as needed, up to `max_connections`, and kept.

    Raises ValueError for a URL that is not `http(s)://host[:port]`. `tls` replaces the default TLS settings
    (the system's certificate authorities). An idle connection is closed after `idle_seconds`.
    """

    def __init__(
        self,
        url: str,
        *,
        max_connections: int = 1000,
        connect_timeout_seconds: float = 5.0,
        idle_seconds: float = 30.0,
        max_head_bytes: int = 64 * 1024,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.username is not None:
            raise ValueError(f"not an origin like http://host:port: {url!r}")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise ValueError(f"an origin has no path: {url!r}")
        self.url = url
        self.host = parts.hostname
        self.port = parts.port or (443 if parts.scheme == "https" else 80)
        self.max_connections = max_connections
        self.connect_timeout_seconds = connect_timeout_seconds
        self.idle_seconds = idle_seconds
        self.max_head_bytes = max_head_bytes
        self.known: KnownHead | None = None  # how the last answer in JSON began
        self._tls = tls
        if parts.scheme == "https" and tls is None:
            self._tls = ssl.create_default_context()
        self._host_line = b"host: " + parts.netloc.encode("ascii") + b"\r\n"
        self._firsts: dict[tuple[str, str], bytes] = {}
        self._loop: asyncio.AbstractEventLoop | None = None
        self._open = 0
        self._closed = False
        self._idle: dict[Wire, float] = {}  # and since when; the last used is used first
        self._wires: set[Wire] = set()
        self._waiters: deque[asyncio.Future[None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._sweep_seconds = _SWEEP_SECONDS

    @property
    def connections(self) -> int:
        """How many connections are open or being opened."""
        return self._open

    @property
    def idle(self) -> int:
        """How many connections wait for a request."""
        return len(self._idle)

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
        """Send a request and answer once the upstream's status line and headers have come.

        `timeout_seconds` is the longest silence allowed between two reads from the upstream, here and in the
        body; `whole_seconds` the longest time to the body's end. A connection is waited for as long as making one may
        take. Host, Content-Length and connection headers are written here; those among `headers` are left
        out. A request that meets a kept connection which the upstream has just closed is sent once more, on a
        new one, if not a byte of an answer had come. `on_sent` is called once the request has gone out (a connection
        was there to take it). `begun` is what `send_at_once` answered for this very request, whose answer is then
        waited for. Raises Unreachable, TimedOut (of it Crowded), BrokenAnswer; ValueError
        for a method, target or header that would not stay on its line.
        """
        head = self._request_head(method, target, headers, body)
        bodiless = method == "HEAD"
        wire = self._take_idle() if begun is None else None
        reused = wire is not None or begun is not None
        while True:
            if begun is not None:
                answer, begun = begun, None
            else:
                if wire is None:
                    wire, reused = await self._connection(timeout_seconds, fresh=reused)
                self._watch(timeout_seconds)
                answer = wire.send(head, body, bodiless, timeout_seconds, whole_seconds)
                on_sent()
            try:
                await answer.headed()
                return answer
            except Unreachable:
                if not reused or self._closed:
                    raise
                wire = None
            except asyncio.CancelledError:
                answer.cancel()
                raise

    def head_begin(self, method: str, target: str, headers: Headers) -> bytes:
        """A request's head, to which further lines may be put, for `send_at_once`. Raises as `open`."""
        first = self._firsts.get((method, target)) or self._first_lines(method, target)
        return first + header_lines(headers)

    def send_at_once(self, request: bytes, timeout_seconds: float, whole_seconds: float) -> Answer | None:
        """Send a request, given as all its bytes, on a kept connection; of its answer nothing may have come yet.

        None where no connection is free just now. Where the answer fails, or is not whole when it is told of
        (`when_whole`), `open` takes it on.
        """
        wire = self._take_idle()
        if wire is None:
            return None
        if self._timer is None or timeout_seconds < self._sweep_seconds * 4:
            self._watch(timeout_seconds)
        answer = wire.begin(False, timeout_seconds, whole_seconds)
        wire.transport.write(request)
        return answer

    async def close(self) -> None:
        """Close all connections; running answers fail with BrokenAnswer, or Unreachable if they had not begun."""
        self._closed = True
        for wire in tuple(self._wires):
            if wire.answer is None:
                wire.drop()
            else:
                wire.give_up()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        await asyncio.sleep(0)  # the transports close on the loop's next turn

    def _request_head(self, method: str, target: str, headers: Headers, body: bytes) -> bytes:
        first = self._firsts.get((method, target))
        if first is None:
            first = self._first_lines(method, target)
        if body or method in _WITH_LENGTH:
            return head_bytes(first, headers, b"content-length: %d\r\n" % len(body), 3)
        return head_bytes(first, headers, b"", 2)

    def _first_lines(self, method: str, target: str) -> bytes:
        if not is_token(method):
            raise ValueError(f"not a method: {method!r}")
        if not target.startswith("/") or not target.isascii() or not target.isprintable() or " " in target:
            raise ValueError(f"not a target: {target!r}")
        first = f"{method} {target} HTTP/1.1\r\n".encode("ascii") + self._host_line
        if len(self._firsts) < _KEPT_FIRSTS:
            self._firsts[method, target] = first
        return first

    # connections

    def _take_idle(self) -> Wire | None:
        while self._idle:
            wire, _ = self._idle.popitem()
            if not wire.lost and not wire.transport.is_closing():
                return wire
        return None

    async def _connection(self, timeout_seconds: float, *, fresh: bool) -> tuple[Wire, bool]:
        """A connection to send on and whether it was used before, waiting for one to be free. `fresh`: a new one."""
        loop = self._loop = self._loop or asyncio.get_running_loop()
        deadline = loop.time() + min(timeout_seconds, self.connect_timeout_seconds)
        while self._open >= self.max_connections and not self._closed:
            if fresh and self._idle:
                self._idle.popitem()[0].drop()
                continue
            await self._turn(loop, deadline)
            wire = None if fresh else self._take_idle()
            if wire is not None:
                return wire, True
        if self._closed:
            raise Unreachable("this origin has been closed")
        return await self._connect(loop), False

    async def _turn(self, loop: asyncio.AbstractEventLoop, deadline: float) -> None:
        """Wait until a connection has been given back or closed."""
        waiter: asyncio.Future[None] = loop.create_future()
        self._waiters.append(waiter)
        timer = loop.call_at(deadline, _late, waiter)
        try:
            await waiter
        except BaseException:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            else:
                self._wake_next()  # it was this one's turn; the next takes it
            raise
        finally:
            timer.cancel()

    async def _connect(self, loop: asyncio.AbstractEventLoop) -> Wire:
        wire = Wire(self, loop)
        wire.counted = True
        self._open += 1
        name = self.host if self._tls is not None else None
        task = loop.create_task(
            loop.create_connection(lambda: wire, self.host, self.port, ssl=self._tls, server_hostname=name)
        )
        try:
            await asyncio.wait((task,), timeout=self.connect_timeout_seconds)
            if not task.done():
                raise TimedOut("connect")
            try:
                task.result()
            except (OSError, UnicodeError) as error:
                if isinstance(error, OSError) and error.errno in _NO_MORE:
                    raise Crowded("connect") from error
                raise Unreachable(f"the upstream cannot be reached: {error}") from error
            if wire.lost:
                raise Unreachable("the upstream hung up at once")
        except BaseException:
            wire.abandon()
            task.cancel()
            raise
        self._wires.add(wire)
        return wire

    # for wires

    def give_back(self, wire: Wire) -> None:
        """A connection may take another request."""
        if self._closed:
            wire.drop()
            return
        self._idle[wire] = wire.heard_at
        self._wake_next()

    def unlist(self, wire: Wire) -> None:
        """An idle connection may take no further request."""
        self._idle.pop(wire, None)

    def left(self, wire: Wire) -> None:
        """A connection is closed."""
        self._idle.pop(wire, None)
        self._wires.discard(wire)
        if wire.counted:
            wire.counted = False
            self._open -= 1
            self._wake_next()

    def _wake_next(self) -> None:
        while self._waiters:
            waiter = self._waiters.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    # time

    def _watch(self, timeout_seconds: float) -> None:
        """See to it that silence is noticed: one timer per origin, not one per request."""
        if timeout_seconds < self._sweep_seconds * 4:
            self._sweep_seconds = max(0.02, timeout_seconds / 4)
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
        if self._timer is None and self._loop is not None:
            self._timer = self._loop.call_later(self._sweep_seconds, self._sweep)

    def _sweep(self) -> None:
        self._timer = None
        loop = self._loop
        if loop is None:
            return
        now = loop.time()
        for wire, since in tuple(self._idle.items()):
            if now - since < self.idle_seconds:
                break
            wire.drop()
        for wire in tuple(self._wires):
            wire.sweep(now)
        if len(self._idle) == len(self._wires):
            self._sweep_seconds = min(_SWEEP_SECONDS, max(0.02, self.idle_seconds / 4))
        if self._wires:
            self._timer = loop.call_later(self._sweep_seconds, self._sweep)


def _late(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_exception(Crowded("connect"))
