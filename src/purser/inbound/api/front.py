"""The front of the control plane: gives every request its id, makes verbs routable, and answers whatever breaks."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from purser.core.ids import is_request_id, make_id
from purser.http.problem import MEDIA_TYPE, render
from purser.inbound.api.call import HEADERS, PATH, REQUEST_ID
from purser.inbound.api.problem import headers_of
from purser.store.writers import World

log = logging.getLogger("purser.api")
NOWHERE = "-"
_NO_PATH = f"/{NOWHERE}/{NOWHERE}/{NOWHERE}"
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Any, Receive, Send], Awaitable[None]]


def split_verb(path: str) -> str:
    """A path whose verb is a segment of its own, as the router needs it: "/a/x:close" as "/a/x/:close"."""
    before, _, last = path.rpartition("/")
    name, colon, verb = last.partition(":")
    return f"{before}/{name}/:{verb}" if colon and name else path


def join_verb(path: str) -> str:
    """The path as callers write it."""
    return path.replace("/:", ":")


class Front:
    """An ASGI application around the router."""

    def __init__(self, app: Any, world: World) -> None:
        self.app, self.world = app, world

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answer one request; lifespan events go through as they are."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        request_id = self._request_id(scope)
        scope[REQUEST_ID] = request_id
        path = scope[PATH] = scope["path"]
        # Paths in the router's own form, and the framework's own, lead nowhere: everything has one name.
        scope["path"] = _NO_PATH if "/:" in path or path.startswith(f"/{NOWHERE}") else split_verb(path)
        if scope["method"] == "HEAD":
            scope["method"] = "GET"  # the server leaves the body out
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = list(message.get("headers", ()))
                headers += [(b"x-request-id", request_id.encode()), *scope.get(HEADERS, ())]
                message["headers"] = headers
            await send(message)

        try:
            await self.app(scope, receive, send_with_id)
        except ConnectionError:
            raise
        except Exception:
            log.exception("request %s failed", request_id)
            if started:
                raise
            await _send_failure(send_with_id, request_id)

    def _request_id(self, scope: Any) -> str:
        for name, value in scope["headers"]:
            if name == b"x-request-id" and value.isascii() and is_request_id(value.decode()):
                return str(value.decode())
        return make_id("req", self.world.wall(), self.world.entropy(80))


async def _send_failure(send: Send, request_id: str) -> None:
    body = render(500, "INTERNAL", "The request could not be answered.", request_id)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.encode(), value.encode()) for name, value in headers_of(500).items()]
    await send({"type": "http.response.start", "status": 500, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})
