"""An upstream that answers with whatever bytes a test gives it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager


def saying(answer: bytes) -> AbstractContextManager[str]:
    """A server that answers every request with these bytes and hangs up; its base URL."""
    return _serving(lambda line: line.sendall(answer))


def one_by_one(events: Iterable[bytes], go_on: threading.Semaphore) -> AbstractContextManager[str]:
    """A server that answers with a stream, of which each event leaves when it may go on; its base URL."""

    def say(line: socket.socket) -> None:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n")
        try:
            for event in events:
                if not go_on.acquire(timeout=2):
                    return
                line.sendall(event)
        except OSError:
            return  # cut at the end of the money

    return _serving(say)


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


def _read_request(line: socket.socket) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        got += line.recv(65536) or b"\r\n\r\n"
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += line.recv(65536) or b" " * length


def answer(status: int, body: bytes, *headers: bytes, kind: bytes = b"application/json") -> bytes:
    """A whole HTTP answer."""
    lines = [b"HTTP/1.1 %d Odd" % status, b"content-type: " + kind, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\nconnection: close\r\n\r\n" + body
