"""ASGI applications behind the server: Litestar itself, and small ones for what Litestar does not show."""

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import Any

import pytest
from litestar import Litestar, Request, get, post
from litestar.params import FromPath, FromQuery
from litestar.response import Stream

from purser.http.asgi import App, Message, Receive, Send, answer_with, lifespan
from tests.http.rig import PATIENCE_SECONDS, eventually, run, serving

HOST = b"Host: purser.test\r\n"


def ask(path: bytes, method: bytes = b"GET", body: bytes = b"", more: bytes = b"") -> bytes:
    length = b"Content-Length: %d\r\n" % len(body) if body else b""
    return b"%b %b HTTP/1.1\r\n%b%b%b\r\n%b" % (method, path, HOST, more, length, body)


# Litestar


@get("/accounts/{name:str}", sync_to_thread=False)
def show(name: FromPath[str], size: FromQuery[int] = 0) -> dict[str, Any]:
    return {"name": name, "size": size}


@post("/echo")
async def back(request: Request[Any, Any, Any]) -> bytes:
    return await request.body()


@get("/stream", sync_to_thread=False)
def streamed() -> Stream:
    async def pieces() -> AsyncIterator[bytes]:
        for n in range(3):
            yield b"%d," % n
            await asyncio.sleep(0)

    return Stream(pieces())


@get("/broken", sync_to_thread=False)
def broken() -> None:
    raise RuntimeError("planted")


def test_litestar_is_served() -> None:
    app: Any = Litestar([show, back, streamed, broken])
    body = b"x" * 5_000_000
    with serving(answer_with(app)) as running, running.peer() as peer:
        peer.send(ask(b"/accounts/ad%61?size=3"))
        reply = peer.reply()
        assert reply.headers["content-type"] == "application/json"
        assert reply.body == b'{"name":"ada","size":3}'
        peer.send(ask(b"/accounts/ada", b"HEAD"))
        assert peer.reply(bodiless=True).status == 405
        peer.send(ask(b"/stream"))
        reply = peer.reply()
        assert (reply.headers["transfer-encoding"], reply.body) == ("chunked", b"0,1,2,")
        sender = threading.Thread(target=peer.send, args=(ask(b"/echo", b"POST", body),))
        sender.start()
        assert peer.reply().body == body
        sender.join()
        peer.send(ask(b"/nowhere"))
        assert peer.reply().status == 404
        peer.send(ask(b"/broken"))
        assert peer.reply().status == 500


# What an application is told


def serve_one(app: App, request: bytes, bodiless: bool = False) -> tuple[int, dict[str, str], bytes]:
    with serving(answer_with(app)) as running, running.peer() as peer:
        peer.send(request)
        reply = peer.reply(bodiless)
        return reply.status, reply.headers, reply.body


def test_the_scope() -> None:
    seen: list[dict[str, Any]] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        seen.append({**scope, "first": await receive(), "port": scope["server"][1]})
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body"})

    status, _, body = serve_one(app, ask(b"/a%20b/%C3%A9?x=%201&y", b"POST", b"hi", b"X-Name: caf\xe9\r\n"))
    assert (status, body) == (200, b"")
    scope = seen[0]
    assert scope["type"] == "http"
    assert scope["method"] == "POST"
    assert scope["http_version"] == "1.1"
    assert scope["path"] == "/a b/é"
    assert scope["raw_path"] == b"/a%20b/%C3%A9"
    assert scope["query_string"] == b"x=%201&y"
    assert scope["client"][0] == "127.0.0.1"
    assert scope["server"] == ("127.0.0.1", scope["port"])
    assert scope["headers"] == [(b"host", b"purser.test"), (b"x-name", b"caf\xe9"), (b"content-length", b"2")]
    assert scope["first"] == {"type": "http.request", "body": b"hi", "more_body": False}
    assert "state" not in scope


def test_an_announced_length_is_kept_and_a_stream_without_one_is_chunked() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        length = [(b"Content-Length", b"6")] if scope["path"] == "/known" else []
        await send({"type": "http.response.start", "status": 200, "headers": length})
        await send({"type": "http.response.body", "body": b"abc", "more_body": True})
        await send({"type": "http.response.body", "body": b"def"})

    with serving(answer_with(app)) as running, running.peer() as peer:
        peer.send(ask(b"/known"))
        reply = peer.reply()
        assert (reply.headers["content-length"], reply.body) == ("6", b"abcdef")
        peer.send(ask(b"/unknown"))
        reply = peer.reply()
        assert (reply.headers["transfer-encoding"], reply.body) == ("chunked", b"abcdef")


def test_head_keeps_the_announced_length() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"99")]})
        await send({"type": "http.response.body"})

    status, headers, _ = serve_one(app, ask(b"/", b"HEAD"), bodiless=True)
    assert (status, headers["content-length"]) == (200, "99")


def test_a_hang_up_is_received() -> None:
    got: list[Message] = []
    over = threading.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"begun", "more_body": True})
        got.append(await receive())
        over.set()
        got.append(await receive())
        await send({"type": "http.response.body", "body": b"more"})

    with serving(answer_with(app)) as running:
        with running.peer() as peer:
            peer.send(ask(b"/"))
            peer.until(b"begun")
        assert over.wait(PATIENCE_SECONDS)
        eventually(lambda: running.server.running == 0)
    assert got == [{"type": "http.disconnect"}] * 2


def test_receive_ends_with_the_answer() -> None:
    got: list[Message] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await receive()
        listening = asyncio.ensure_future(receive())
        await asyncio.sleep(0)
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"done"})
        got.append(await listening)

    assert serve_one(app, ask(b"/"))[2] == b"done"
    assert got == [{"type": "http.disconnect"}]


def test_a_stream_to_nobody_is_stopped_by_send() -> None:
    raised: list[BaseException] = []
    over = threading.Event()

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200})
        try:
            while True:
                await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
        except OSError as error:
            raised.append(error)
        over.set()

    with serving(answer_with(app)) as running:
        peer = running.peer()
        peer.send(ask(b"/"))
        peer.until(b"\r\n\r\n")
        peer.reset()
        assert over.wait(PATIENCE_SECONDS)
    assert len(raised) == 1


@pytest.mark.parametrize("fault", ["body first", "twice", "unknown", "nothing"])
def test_an_application_out_of_step_is_a_500(fault: str) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        if fault == "body first":
            await send({"type": "http.response.body", "body": b"x"})
        elif fault == "twice":
            await send({"type": "http.response.start", "status": 200})
            await send({"type": "http.response.start", "status": 200})
        elif fault == "unknown":
            await send({"type": "websocket.accept"})

    assert serve_one(app, ask(b"/"))[0] == 500


# Lifespan


def test_lifespan_starts_serves_with_its_state_and_shuts_down() -> None:
    events: list[str] = []

    async def app(scope: Any, receive: Receive, send: Send) -> None:
        assert scope["type"] == "lifespan"
        assert (await receive())["type"] == "lifespan.startup"
        scope["state"]["greeting"] = "hello"
        events.append("up")
        await send({"type": "lifespan.startup.complete"})
        assert (await receive())["type"] == "lifespan.shutdown"
        events.append("down")
        await send({"type": "lifespan.shutdown.complete"})

    async def work() -> None:
        async with lifespan(app) as state:
            assert state == {"greeting": "hello"}
            assert events == ["up"]
        assert events == ["up", "down"]

    run(work())


def test_each_request_gets_the_state_of_its_own() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        scope["state"]["seen"] = scope["state"].get("seen", 0) + 1
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": b"%d" % scope["state"]["seen"]})

    with serving(answer_with(app, {"kept": 1})) as running:
        for _ in range(2):
            assert running.ask(ask(b"/")).body == b"1"


def test_an_application_without_lifespan() -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        assert scope["type"] == "http"

    async def work() -> None:
        async with lifespan(app) as state:
            assert state == {}

    run(work())


@pytest.mark.parametrize("phase", ["startup", "shutdown"])
def test_a_lifespan_that_fails_says_why(phase: str) -> None:
    async def app(scope: Any, receive: Receive, send: Send) -> None:
        while True:
            now = (await receive())["type"].removeprefix("lifespan.")
            if now == phase:
                await send({"type": f"lifespan.{now}.failed", "message": "planted"})
                return
            await send({"type": f"lifespan.{now}.complete"})

    async def work() -> None:
        with pytest.raises(RuntimeError, match="planted"):
            async with lifespan(app):
                assert phase == "shutdown"

    run(work())


def test_litestars_lifespan() -> None:
    events: list[str] = []
    app: Any = Litestar(
        [show],
        on_startup=[lambda: events.append("up")],
        on_shutdown=[lambda: events.append("down")],
    )

    async def work() -> None:
        async with lifespan(app):
            assert events == ["up"]

    run(work())
    assert events == ["up", "down"]
