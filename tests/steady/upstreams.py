"""Upstreams that misbehave, by the model that is asked for: dead, flapping, trickling, talking nonsense or too much."""

from __future__ import annotations

import contextlib
import json
import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_flaps, _noise = random.Random(5), random.Random(7)
Behaviour = Callable[[socket.socket], None]
USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
WHOLE = json.dumps({"model": "tiny", "choices": [], "usage": USAGE}).encode()
JSON_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n\r\n"
DELTA = b'data: {"model":"tiny","choices":[{"index":0,"delta":{"content":"word "}}]}\n\n'
MEGABYTE = b"x" * 2**20


def chunk(data: bytes) -> bytes:
    """One chunk of a chunked body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


@contextmanager
def behaving(behave: Behaviour) -> Iterator[str]:
    """A server that reads a request on each connection and then behaves so; its base URL."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=512)
    threads: list[threading.Thread] = []

    def follow(line: socket.socket) -> None:
        with line, contextlib.suppress(OSError):
            line.settimeout(60)
            _read_request(line)
            behave(line)

    def accept() -> None:
        while True:
            try:
                line, _ = listener.accept()
            except OSError:
                return
            threads.append(threading.Thread(target=follow, args=(line,), daemon=True))
            threads[-1].start()

    accepting = threading.Thread(target=accept, daemon=True)
    accepting.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/v1"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        accepting.join(5)
        for thread in threads:
            thread.join(5)


def _read_request(line: socket.socket) -> None:
    got = b""
    while b"\r\n\r\n" not in got:
        got += _more(line)
    head, _, body = got.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += _more(line)


def _more(line: socket.socket) -> bytes:
    data = line.recv(65536)
    if not data:
        raise ConnectionResetError("the gateway has gone")
    return data


def silent(line: socket.socket) -> None:
    """Takes the request and never says a word."""
    with contextlib.suppress(OSError):
        line.recv(1)


def trickling_whole(line: socket.socket) -> None:
    """A plain answer, a byte at a time, without end."""
    line.sendall(JSON_HEAD + b"content-length: 100000\r\n\r\n")
    while True:
        line.sendall(b" ")
        time.sleep(0.2)


def trickling_stream(line: socket.socket) -> None:
    """A stream of words, slowly, without end."""
    line.sendall(SSE_HEAD + CHUNKED)
    while True:
        line.sendall(chunk(DELTA))
        time.sleep(0.2)


def flapping(line: socket.socket) -> None:
    """Answers, resets, says half of an answer, or is busy, as it comes."""
    how = _flaps.randrange(4)
    if how == 0:
        line.sendall(JSON_HEAD + b"content-length: %d\r\n\r\n" % len(WHOLE) + WHOLE)
    elif how == 1:
        line.sendall(JSON_HEAD + b"content-length: %d\r\n\r\n" % len(WHOLE) + WHOLE[:20])
    elif how == 2:
        line.sendall(b"HTTP/1.1 503 Busy\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")


def garbage(line: socket.socket) -> None:
    """Noise, with or without a proper beginning."""
    noise = _noise.randbytes(_noise.randrange(1, 20_000))
    beginnings = (b"", b"HTTP/1.1 ", JSON_HEAD, JSON_HEAD + CHUNKED, SSE_HEAD + CHUNKED, SSE_HEAD + b"\r\ndata: ")
    line.sendall(_noise.choice(beginnings) + noise)


def much_announced(line: socket.socket) -> None:
    """A hundred megabytes, as announced."""
    line.sendall(JSON_HEAD + b"content-length: %d\r\n\r\n" % (100 * 2**20))
    for _ in range(100):
        line.sendall(MEGABYTE)


def much_in_chunks(line: socket.socket) -> None:
    """A hundred megabytes, nobody knows how many beforehand."""
    line.sendall(JSON_HEAD + CHUNKED)
    for _ in range(100):
        line.sendall(chunk(MEGABYTE))


def much_in_one_event(line: socket.socket) -> None:
    """A stream whose first event has a hundred megabytes."""
    line.sendall(SSE_HEAD + CHUNKED + chunk(b"data: "))
    for _ in range(100):
        line.sendall(chunk(MEGABYTE))


def much_in_many_events(line: socket.socket) -> None:
    """A stream of a hundred megabytes of comments, then an answer."""
    line.sendall(SSE_HEAD + CHUNKED)
    comment = b": " + b"x" * 65_000 + b"\n\n"
    for _ in range(1600):
        line.sendall(chunk(comment))
    closing = b'data: {"model":"tiny","choices":[],"usage":' + json.dumps(USAGE).encode() + b"}\n\ndata: [DONE]\n\n"
    line.sendall(chunk(DELTA + closing) + b"0\r\n\r\n")


def gushing(line: socket.socket) -> None:
    """A stream of long words as fast as they are taken, without end."""
    line.sendall(SSE_HEAD + CHUNKED)
    words = chunk(DELTA.replace(b"word ", b"word " * 2000) * 8)
    while True:
        line.sendall(words)
