"""The model server of the benchmarks: canned answers at the least cost, so that what stands before it is measured.

`python -m bench.upstream --port 0` prints its port and answers until it is killed. One thread, one epoll, one send for
each piece of an answer. A body with `"stream":true` gets a stream, whose chunks come as an engine's do: a step every
`--pace-ms`, and in each step one chunk of every open stream, sent by itself. Any other POST gets JSON of about 1 KB.
The model "counted" has running usage on every chunk, as vLLM sends it when asked. GET answers what was sent so far.
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import time
from collections import deque
from dataclasses import asdict, dataclass, field

CHUNKS = 50
SENDS = CHUNKS + 1  # the usage, [DONE] and the end leave together
PROMPT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS = 120, 64, 150
JSON_BYTES = 1024
COUNTED = b'"model":"counted"'
_STREAM = b'"stream":true'
_READ_BYTES = 65536


@dataclass(slots=True)
class Counts:
    """What was sent: JSON answers, streams begun and streams whole, and the sends of all streams."""

    answers: int = 0
    begun: int = 0
    whole: int = 0
    sends: int = 0


def usage(output_tokens: int) -> dict[str, object]:
    """A usage object in the words of the API."""
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": output_tokens,
        "total_tokens": PROMPT_TOKENS + output_tokens,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
    }


def json_answer() -> bytes:
    """The JSON answer with its head."""
    message = {"role": "assistant", "content": ""}
    body = {
        "id": "chatcmpl-0",
        "object": "chat.completion",
        "created": 1760000000,
        "model": "bench",
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}],
        "usage": usage(OUTPUT_TOKENS),
    }
    short = JSON_BYTES - len(json.dumps(body, separators=(",", ":")))
    message["content"] = ("All that is owed is written down before it is spent. " * 30)[:short]
    raw = json.dumps(body, separators=(",", ":")).encode()
    return b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(raw) + raw


def stream_pieces(*, counted: bool) -> list[bytes]:
    """A stream's pieces in the order of their sends, the head with the first."""

    def event(choices: list[dict[str, object]], used: dict[str, object] | None) -> bytes:
        chunk: dict[str, object] = {"id": "chatcmpl-0", "object": "chat.completion.chunk", "created": 1760000000}
        chunk |= {"model": "counted" if counted else "bench", "choices": choices}
        if used is not None:
            chunk["usage"] = used
        return b"data: " + json.dumps(chunk, separators=(",", ":")).encode() + b"\n\n"

    pieces = []
    for n in range(CHUNKS):
        delta = {"role": "assistant", "content": ""} if n == 0 else {"content": " balance"}
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": "stop" if n == CHUNKS - 1 else None}
        pieces.append(_framed(event([choice], usage(OUTPUT_TOKENS * n // CHUNKS) if counted else None)))
    pieces.append(_framed(event([], usage(OUTPUT_TOKENS)) + b"data: [DONE]\n\n") + b"0\r\n\r\n")
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n"
    pieces[0] = head + b"x-accel-buffering: no\r\n\r\n" + pieces[0]  # nginx then passes every chunk on as it comes
    return pieces


def _framed(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


@dataclass(slots=True)
class _Server:
    listener: socket.socket
    pace_seconds: float
    epoll: select.epoll = field(default_factory=select.epoll)
    lines: dict[int, socket.socket] = field(default_factory=dict)
    unread: dict[int, bytes] = field(default_factory=dict)
    due: deque[tuple[float, int, socket.socket, list[bytes], int]] = field(default_factory=deque)
    counts: Counts = field(default_factory=Counts)
    answer: bytes = field(default_factory=json_answer)
    plain: list[bytes] = field(default_factory=lambda: stream_pieces(counted=False))
    counted: list[bytes] = field(default_factory=lambda: stream_pieces(counted=True))

    def run(self) -> None:
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        while True:
            wait = max(0.0, self.due[0][0] - time.monotonic()) if self.due else -1
            for descriptor, _ in self.epoll.poll(wait):
                if descriptor == self.listener.fileno():
                    self._accept()
                else:
                    self._read(descriptor)
            now = time.monotonic()
            while self.due and self.due[0][0] <= now:
                at, descriptor, line, pieces, n = self.due.popleft()
                if self.lines.get(descriptor) is line:
                    self._send_piece(descriptor, line, pieces, n, at)

    def _accept(self) -> None:
        line, _ = self.listener.accept()
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.lines[line.fileno()] = line
        self.epoll.register(line.fileno(), select.EPOLLIN)

    def _read(self, descriptor: int) -> None:
        line = self.lines[descriptor]
        try:
            data = line.recv(_READ_BYTES)
        except OSError:
            data = b""
        if not data:
            self._close(descriptor)
            return
        data = self.unread.pop(descriptor, b"") + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + _body_length(data[:end]):
            self.unread[descriptor] = data
        elif data.startswith(b"GET"):
            body = json.dumps(asdict(self.counts)).encode()
            self._send(descriptor, line, b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        elif _STREAM in data:
            self.counts.begun += 1
            pieces = self.counted if COUNTED in data else self.plain
            self.due.append((self._next_step(), descriptor, line, pieces, 0))
        elif self._send(descriptor, line, self.answer):
            self.counts.answers += 1

    def _next_step(self) -> float:
        now, pace = time.monotonic(), self.pace_seconds
        return (now // pace + 1) * pace if pace else now

    def _send_piece(self, descriptor: int, line: socket.socket, pieces: list[bytes], n: int, at: float) -> None:
        if not self._send(descriptor, line, pieces[n]):
            return
        self.counts.sends += 1
        if n + 1 < len(pieces):
            self.due.append((at + self.pace_seconds, descriptor, line, pieces, n + 1))
        else:
            self.counts.whole += 1

    def _send(self, descriptor: int, line: socket.socket, data: bytes) -> bool:
        try:
            line.sendall(data)
        except OSError:
            self._close(descriptor)
            return False
        return True

    def _close(self, descriptor: int) -> None:
        self.epoll.unregister(descriptor)
        self.lines.pop(descriptor).close()
        self.unread.pop(descriptor, None)


def _body_length(head: bytes) -> int:
    lowered = head.lower()
    at = lowered.find(b"\r\ncontent-length:")
    return 0 if at < 0 else int(lowered[at + 17 :].split(b"\r\n", 1)[0])


def main() -> None:
    """Answer until killed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--pace-ms", type=float, default=8.0, help="between two steps, 0: none (default: 8)")
    options = parser.parse_args()
    listener = socket.create_server(("127.0.0.1", options.port), backlog=1024)
    print(listener.getsockname()[1], flush=True)
    _Server(listener, options.pace_ms / 1000).run()


if __name__ == "__main__":
    main()
