"""An upstream that answers with whatever bytes a test gives it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress


def saying(answer: bytes) -> AbstractContextManager[str]:
    """A server that answers every request with these bytes and hangs up; its base URL."""
    return _serving(lambda line: line.sendall(answer))


def one_by_one(
    events: Iterable[bytes],
    go_on: threading.Semaphore,
    head: bytes = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n",
) -> AbstractContextManager[str]:
    """A server that answers with a stream, of which each event leaves when it may go on; its base URL."""

    def say(line: socket.socket) -> None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(head)
        try:
            for event in events:
                if not go_on.acquire(timeout=2):
                    return
                line.sendall(event)
        except OSError:
            return  # cut at the end of the money

    return _serving(say)


@contextmanager
def keeping(reply: Callable[[bytes], bytes | None]) -> Iterator[str]:
    """A server that keeps its connections: it sends what `reply` says to a request, hangs up at None; its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    lines: list[socket.socket] = []

    def serve(line: socket.socket) -> None:
        with line:
            while (request := _read_request(line)) and (said := reply(request)) is not None:
                line.sendall(said)

    def accept() -> None:
        while True:
            try:
                lines.append(listener.accept()[0])
            except OSError:
                return
            threading.Thread(target=serve, args=(lines[-1],), daemon=True).start()

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for line in lines:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)


@contextmanager
def _serving(say: Callable[[socket.socket], None]) -> Iterator[str]:
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line:
                _read_request(line)
                say(line)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def _read_request(line: socket.socket) -> bytes:
    """A request's bytes; fewer where the other side hangs up."""
    got = b""
    try:
        while b"\r\n\r\n" not in got or len(got) < _whole(got):
            more = line.recv(65536)
            if not more:
                return b""
            got += more
    except OSError:
        return b""
    return got


def _whole(got: bytes) -> int:
    head, _, _ = got.lower().partition(b"\r\n\r\n")
    return len(head) + 4 + int(head.split(b"content-length: ")[1].split(b"\r\n")[0])


def completion(model: bytes, prompt: int, output: int, *headers: bytes) -> bytes:
    """A plain answer after which the connection stays."""
    usage = b'{"prompt_tokens":%d,"completion_tokens":%d}' % (prompt, output)
    body = b'{"id":"c","model":"%b","choices":[],"usage":%b}' % (model, usage)
    lines = [b"HTTP/1.1 200 OK", b"content-type: application/json", b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def answer(status: int, body: bytes, *headers: bytes, kind: bytes = b"application/json") -> bytes:
    """A whole HTTP answer."""
    lines = [b"HTTP/1.1 %d Odd" % status, b"content-type: " + kind, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\nconnection: close\r\n\r\n" + body
