"""What these tests run against: our server in a thread, raw sockets for any bytes, upstreams that follow a script."""

import asyncio
import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

import uvloop

from purser.http.server import Answerer, Exchange, Limits, Refuse, Server, refuse_in_json

PATIENCE_SECONDS = 20.0
T = TypeVar("T")


def run(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end on the loop that production uses."""
    return uvloop.run(work)


def eventually(true: Callable[[], object], what: str = "") -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end, f"never came true: {what or true}"
        time.sleep(0.005)


@dataclass
class Reply:
    """One answer as a client sees it."""

    status: int
    headers: dict[str, str]
    body: bytes

    def error(self) -> dict[str, Any]:
        """The OpenAI error object in the body."""
        whole = json.loads(self.body)
        assert set(whole) == {"error", "request_id"}
        error = whole["error"]
        assert set(error) == {"message", "type", "param", "code"}
        assert isinstance(error, dict)
        return error


class Peer:
    """One end of a TCP connection, to send and read any bytes."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.link.settimeout(PATIENCE_SECONDS)
        self.kept = b""

    def __enter__(self) -> "Peer":
        return self

    def __exit__(self, *_: object) -> None:
        self.link.close()

    def send(self, data: bytes) -> None:
        self.link.sendall(data)

    def more(self) -> bool:
        """Read on; False at the end."""
        try:
            data = self.link.recv(65536)
        except ConnectionResetError:
            return False
        self.kept += data
        return bool(data)

    def take(self, size: int) -> bytes:
        while len(self.kept) < size:
            assert self.more(), f"the connection ended after {self.kept!r}"
        data, self.kept = self.kept[:size], self.kept[size:]
        return data

    def until(self, mark: bytes) -> bytes:
        while mark not in self.kept:
            assert self.more(), f"the connection ended after {self.kept!r}"
        return self.take(self.kept.index(mark) + len(mark))

    def rest(self) -> bytes:
        """All that comes until the other side closes."""
        while self.more():
            pass
        data, self.kept = self.kept, b""
        return data

    def closed(self) -> bool:
        """Whether the other side has closed without another byte."""
        return self.rest() == b""

    def head(self) -> tuple[str, dict[str, str]]:
        first, *lines = self.until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
        return first, {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}

    def reply(self, bodiless: bool = False) -> Reply:
        """The next answer: by its length, its chunks, or to the close."""
        first, headers = self.head()
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        if bodiless:
            body = b""
        elif "content-length" in headers:
            body = self.take(int(headers["content-length"]))
        elif headers.get("transfer-encoding") == "chunked":
            body = b""
            while size := int(self.until(b"\r\n"), 16):
                body += self.take(size)
                assert self.take(2) == b"\r\n"
            assert self.take(2) == b"\r\n"
        else:
            body = self.rest()
        return Reply(int(status), headers, body)

    def request(self) -> tuple[str, dict[str, str], bytes]:
        """The next request: its first line, headers and body."""
        first, headers = self.head()
        return first, headers, self.take(int(headers.get("content-length", "0")))

    def reset(self) -> None:
        """Close so that the other side gets a reset."""
        self.link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.link.close()


class Running:
    """A server in a thread of its own."""

    def __init__(self, server: Server, loop: asyncio.AbstractEventLoop) -> None:
        self.server = server
        self.loop = loop
        self.port = server.port

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine on the server's loop."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(PATIENCE_SECONDS)

    def peer(self, receive_bytes: int | None = None) -> Peer:
        link = socket.socket()
        if receive_bytes is not None:
            link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        try:
            link.connect(("127.0.0.1", self.port))
        except OSError:
            link.close()
            raise
        return Peer(link)

    def ask(self, request: bytes) -> Reply:
        """Send a whole request on a connection of its own."""
        with self.peer() as peer:
            peer.send(request)
            return peer.reply()


@contextlib.contextmanager
def serving(answerer: Answerer, *, limits: Limits | None = None, refuse: Refuse = refuse_in_json) -> Iterator[Running]:
    """Our server on a free port, on a loop in a thread."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    server = Server(answerer, limits=limits, refuse=refuse)
    try:
        asyncio.run_coroutine_threadsafe(server.start(), loop).result(PATIENCE_SECONDS)
        running = Running(server, loop)
        try:
            yield running
        finally:
            running.call(server.close(0))
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def echo(exchange: Exchange) -> None:
    """Says what was asked: method, path, query and size of the body, then the body."""
    request = exchange.request
    said = f"{request.method} {request.path} ?{request.query} {len(request.body)} ".encode()
    exchange.answer(200, [(b"content-type", b"text/plain")], said + request.body)


Script = Callable[[Peer], None]


class Upstream:
    """A server that follows a script per connection, the last one for all further connections."""

    def __init__(self, scripts: tuple[Script, ...]) -> None:
        self.scripts = scripts
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self.accepted = 0
        self.failures: list[BaseException] = []
        self.threads = [threading.Thread(target=self._accept)]
        self.threads[0].start()

    def _accept(self) -> None:
        while True:
            try:
                link, _ = self.listener.accept()
            except OSError:
                return
            script = self.scripts[min(self.accepted, len(self.scripts) - 1)]
            self.accepted += 1
            thread = threading.Thread(target=self._follow, args=(script, link))
            self.threads.append(thread)
            thread.start()

    def _follow(self, script: Script, link: socket.socket) -> None:
        with Peer(link) as peer:
            try:
                script(peer)
            except BaseException as failure:
                self.failures.append(failure)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for thread in self.threads:
            thread.join(PATIENCE_SECONDS)


@contextlib.contextmanager
def upstream(*scripts: Script) -> Iterator[Upstream]:
    """An upstream; a script that fails fails the test."""
    up = Upstream(scripts)
    try:
        yield up
    finally:
        up.close()
    if up.failures:
        raise up.failures[0]


def says(*answers: bytes) -> Script:
    """Answers each request in turn with the given bytes, then closes."""

    def script(peer: Peer) -> None:
        for answer in answers:
            peer.request()
            peer.send(answer)

    return script
