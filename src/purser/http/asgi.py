"""A bridge from ASGI 3 to this server, so that an ASGI application can be served beside the hot path."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

from purser.http.exchange import Exchange
from purser.http.server import Answerer

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]

_VERSIONS = {"version": "3.0", "spec_version": "2.4"}


def answer_with(app: App, state: dict[str, Any] | None = None) -> Answerer:
    """An answerer that hands each request to an ASGI application. `state` is what `lifespan` gave."""

    async def answer(exchange: Exchange) -> None:
        bridge = _Bridge(exchange)
        await app(_scope(exchange, state), bridge.receive, bridge.send)

    return answer


@asynccontextmanager
async def lifespan(app: App) -> AsyncIterator[dict[str, Any]]:
    """Start the application, give its state, and shut it down at the end; nothing if it has no lifespan.

    Raises RuntimeError with the application's words when its start-up or shutdown fails.
    """
    inbox: asyncio.Queue[Message] = asyncio.Queue()
    outbox: asyncio.Queue[Message] = asyncio.Queue()
    state: dict[str, Any] = {}

    async def run() -> None:
        try:
            await app({"type": "lifespan", "asgi": _VERSIONS, "state": state}, inbox.get, outbox.put)
        finally:
            outbox.put_nowait({"type": "gone"})

    task = asyncio.get_running_loop().create_task(run())

    async def phase(name: str) -> str:
        inbox.put_nowait({"type": f"lifespan.{name}"})
        said = await outbox.get()
        if said["type"] == f"lifespan.{name}.failed":
            raise RuntimeError(f"the application's {name} failed: {said.get('message', '')}")
        return str(said["type"])

    try:
        supported = await phase("startup") != "gone"
        yield state
        if supported:
            await phase("shutdown")
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _scope(exchange: Exchange, state: dict[str, Any] | None) -> dict[str, Any]:
    request = exchange.request
    path, _, query = request.target.partition(b"?")
    scope: dict[str, Any] = {
        "type": "http",
        "asgi": _VERSIONS,
        "http_version": request.http_version,
        "method": request.method,
        "scheme": "http",
        "path": request.path,
        "raw_path": path,
        "query_string": query,
        "root_path": "",
        "headers": request.headers,
        "client": (request.client, 0) if request.client else None,
        "server": exchange.server_address,
    }
    if state is not None:
        scope["state"] = state.copy()
    return scope


class _Bridge:
    """One exchange seen through `receive` and `send`."""

    __slots__ = ("_exchange", "_head", "_over", "_received")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._received = False
        self._head: Message | None = None
        self._over: asyncio.Event | None = None

    async def receive(self) -> Message:
        exchange = self._exchange
        if not self._received:
            self._received = True
            return {"type": "http.request", "body": exchange.request.body, "more_body": False}
        if not exchange.gone and not exchange.ended:
            if self._over is None:
                self._over = asyncio.Event()
                exchange.on_gone(self._over.set)
            await self._over.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        """Pass a message on. Raises OSError when more is to follow and the client can no longer be reached."""
        exchange = self._exchange
        kind = message["type"]
        if kind == "http.response.start":
            if self._head is not None:
                raise RuntimeError("the response has already started")
            self._head = message
            return
        if kind != "http.response.body":
            raise RuntimeError(f"unexpected message: {kind}")
        if self._head is None:
            raise RuntimeError("a body before the start of the response")
        body = bytes(message.get("body", b""))
        more = message.get("more_body", False)
        if not exchange.started:
            self._start(self._head, body, more)
        elif more:
            exchange.write(body)
        else:
            exchange.end(body)
        if not more:
            if self._over is not None:
                self._over.set()
            return
        await exchange.drain()
        if exchange.lost:
            raise ConnectionResetError("the client is gone")

    def _start(self, head: Message, body: bytes, more: bool) -> None:
        exchange = self._exchange
        headers = [(bytes(name), bytes(value)) for name, value in head.get("headers", ())]
        length = next((int(value) for name, value in headers if name.lower() == b"content-length"), None)
        if not more and (length is None or exchange.request.method != "HEAD"):
            exchange.answer(head["status"], headers, body)
            return
        exchange.start(head["status"], headers, length)
        if more:
            exchange.write(body)
        else:
            exchange.end(body)
