"""An upstream that answers with whatever bytes a test gives it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def saying(answer: bytes) -> Iterator[str]:
    """A server that answers every request with these bytes and hangs up; its base URL."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            with line:
                _read_request(line)
                line.sendall(answer)

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
