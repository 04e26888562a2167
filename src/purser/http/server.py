"""An HTTP/1.1 server: listens, bounds its clients, and has each request answered by one coroutine."""

import asyncio
import json
import logging
import secrets
import socket
import time
from collections.abc import Callable, Sequence

from purser.http.connection import Connection
from purser.http.exchange import Answerer, Exchange, Request
from purser.http.head import STATUS_LINES, Headers, date_line, head_bytes
from purser.http.limits import Limits
from purser.http.room import Room

__all__ = ["Answerer", "Exchange", "Limits", "Refuse", "Request", "Server", "refuse_in_json"]

log = logging.getLogger("purser.http")

AtOnce = Callable[[Exchange], bool]
Refuse = Callable[[int, str, str, bytes], tuple[Headers, bytes]]

_RETRY_AFTER = b"retry-after: 1\r\n"
# How long running exchanges get for their last words at the end of the grace, and then to notice that they were cut.
_LAST_WORDS_SECONDS = 1.0


def refuse_in_json(status: int, code: str, message: str, target: bytes) -> tuple[Headers, bytes]:
    """Headers and body of an answer the server gives by itself, as an OpenAI error object."""
    request_id = "req_" + secrets.token_hex(12)
    kind = "invalid_request_error" if status < 500 else "server_error"
    error = {"message": message, "type": kind, "param": None, "code": code}
    body = json.dumps({"error": error, "request_id": request_id}).encode()
    return [(b"content-type", b"application/json"), (b"x-request-id", request_id.encode())], body


class Server:
    """An HTTP/1.1 server. `answerer` is run as one task per request.

    An exception out of it is logged; the client gets a 500, or a cut connection if the answer had started. So
    does an answerer that returns without having ended its answer. A client that hangs up does not cancel the
    task: see `Exchange.on_gone`. `refuse` gives headers and body of the answers the server makes itself:
    (status, code, message, target), the target as far as it was read.

    `at_once` is asked first: where it answers True it has taken the exchange over and answers it by callbacks, without
    a task; what of it turns out to need one goes on with `Exchange.go_on`.
    """

    def __init__(
        self,
        answerer: Answerer,
        *,
        at_once: AtOnce = lambda _: False,
        limits: Limits | None = None,
        refuse: Refuse = refuse_in_json,
    ) -> None:
        self.limits = limits or Limits()
        self.room = Room(max(self.limits.max_waiting_bytes, 2 * self.limits.max_body_bytes))
        self.draining = False
        self.date = b""
        self._answerer, self._at_once = answerer, at_once
        self._refuse = refuse
        self._connections: set[Connection] = set()
        self._turned_away: set[Connection] = set()
        self._tasks: dict[Exchange, asyncio.Task[None]] = {}
        self._servers: list[asyncio.Server] = []
        self._timer: asyncio.TimerHandle | None = None

    @property
    def port(self) -> int:
        """The port of the first address listened on."""
        return int(self._servers[0].sockets[0].getsockname()[1])

    @property
    def connections(self) -> int:
        """How many connections are open, those turned away left out."""
        return len(self._connections)

    @property
    def running(self) -> int:
        """How many answerers are running, those without a task left out."""
        return len(self._tasks)

    async def start(
        self,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        sockets: Sequence[socket.socket] = (),
        backlog: int = 1024,
    ) -> None:
        """Listen on host and port (0: any free one, see `port`) or on the given bound sockets."""
        self._loop = loop = asyncio.get_running_loop()
        self._sweep()

        def connection() -> Connection:
            return Connection(self, loop)

        if sockets:
            for each in sockets:
                self._servers.append(await loop.create_server(connection, sock=each, backlog=backlog))
        else:
            self._servers.append(await loop.create_server(connection, host, port, backlog=backlog))

    async def close(self, grace_seconds: float) -> None:
        """Stop listening, close idle connections, let running exchanges end until the grace is over, then cut them.

        Those that are cut are called off before, so that they can say so.
        """
        self.draining = True
        for server in self._servers:
            server.close()
        for connection in tuple(self._connections):
            connection.close_if_idle()
        await self._all_done(grace_seconds)
        for connection in tuple(self._connections):
            connection.call_off()
        for exchange in tuple(self._tasks):
            exchange.call_off()
        await self._all_done(_LAST_WORDS_SECONDS)
        for connection in (*self._connections, *self._turned_away):
            connection.transport.abort()
        await self._all_done(_LAST_WORDS_SECONDS)
        left = list(self._tasks.values())
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def _all_done(self, seconds: float) -> None:
        """Wait until no answerer runs and no connection is open, at most so long."""
        end = self._loop.time() + seconds
        while (self._tasks or self._connections) and self._loop.time() < end:
            await asyncio.sleep(0.01)

    # for connections

    def admit(self, connection: Connection) -> bool:
        """Count a new connection; False when there are too many (or the server is closing)."""
        if len(self._connections) < self.limits.max_connections and not self.draining:
            self._connections.add(connection)
            return True
        if len(self._turned_away) > 16 + self.limits.max_connections // 8:
            connection.transport.abort()
        self._turned_away.add(connection)
        return False

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._connections.discard(connection)
        self._turned_away.discard(connection)

    def run(self, exchange: Exchange) -> None:
        """Have an exchange answered, by a task of its own where it cannot be at once."""
        try:
            if self._at_once(exchange):
                return
        except Exception:
            log.exception("an exchange could not be taken over")
            self._give_up(exchange, None)
            return
        self.go_on(exchange, self._answerer)

    def go_on(self, exchange: Exchange, answerer: Answerer) -> None:
        """Have an exchange answered by a task of its own."""
        self._tasks[exchange] = self._loop.create_task(self._answer(exchange, answerer))

    def refusal(self, status: int, code: str, message: str, target: bytes) -> bytes:
        """A whole answer of the server's own, after which the connection closes."""
        headers, body = self._refuse(status, code, message, target)
        last = b"content-length: %d\r\nconnection: close\r\n" % len(body)
        lines = 4
        if status == 503:
            last += _RETRY_AFTER
            lines += 1
        return head_bytes(STATUS_LINES[status] + self.date, headers, last, lines) + body

    async def _answer(self, exchange: Exchange, answerer: Answerer) -> None:
        try:
            await answerer(exchange)
            if not exchange.ended:
                self._give_up(exchange, "an answerer returned without ending its answer")
        except Exception:
            log.exception("an answerer failed")
            self._give_up(exchange, None)
        except asyncio.CancelledError:
            exchange.abort()
            raise
        finally:
            self._tasks.pop(exchange, None)

    def _give_up(self, exchange: Exchange, complaint: str | None) -> None:
        if exchange.ended:
            return
        if exchange.gone:
            exchange.abort()
            return
        if complaint is not None:
            log.error(complaint)
        if exchange.started:
            exchange.abort()
        else:
            message = "The request could not be answered."
            headers, body = self._refuse(500, "internal_error", message, exchange.request.target)
            exchange.answer(500, headers, body)

    def _sweep(self) -> None:
        """Once a second at most: renew the Date, end what has taken too long. No request has its own timer."""
        limits = self.limits
        shortest = min(limits.head_timeout_seconds, limits.body_timeout_seconds, limits.keep_alive_seconds)
        self._timer = self._loop.call_later(max(0.02, min(1.0, shortest / 4)), self._sweep)
        self.date = date_line(time.time())
        now = self._loop.time()
        for connection in (*self._connections, *self._turned_away):
            connection.sweep(now)
