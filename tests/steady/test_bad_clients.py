"""Clients that send slowly, hang up at every stage, read nothing, send too much or come by the thousand."""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.demo.program import eventually
from tests.steady.served import PATIENCE, Served, engine, need_connections, request, serving

pytestmark = pytest.mark.once

LONG = "go on [[tokens=400]] [[pace=200]]"  # two seconds
RESET = struct.pack("ii", 1, 0)


def expect_served(server: Served, key: str, times: int = 5) -> None:
    """A good client is answered as if it were alone."""
    with server.caller(key) as caller:
        for _ in range(times):
            assert caller.chat("hello", model="tiny", max_tokens=5).status == 200


def has_more(line: socket.socket, milliseconds: int = 0) -> bool:
    """Whether there is something to read, be it the end."""
    poll = select.poll()
    poll.register(line, select.POLLIN)
    return bool(poll.poll(milliseconds))


@contextmanager
def crowd(server: Served, count: int, receive_bytes: int | None = None) -> Iterator[list[socket.socket]]:
    """So many connections; at the end they are gone."""
    with ExitStack() as stack:
        yield [stack.enter_context(contextlib.closing(server.connect(receive_bytes))) for _ in range(count)]


# ── hanging up ───────────────────────────────────────────────────────────────────────────────────────────────────
WHOLE: dict[str, Any] = {"text": LONG}
STREAM: dict[str, Any] = {"text": LONG, "stream": True}
# (what, request, how much of it is sent: all, or up to a mark and so many bytes, bytes of the answer that are read)
STAGES: list[tuple[str, dict[str, Any], tuple[bytes, int] | None, int]] = [
    ("without a word", WHOLE, (b"POST", -4), 0),
    ("within the head", WHOLE, (b"bearer", 3), 0),
    ("after the head", WHOLE, (b"\r\n\r\n", 0), 0),
    ("within the body", WHOLE, (b"\r\n\r\n", 20), 0),
    ("after a plain request", WHOLE, None, 0),
    ("after a request for a stream", STREAM, None, 0),
    ("within the head of a stream", STREAM, None, 20),
    ("within a stream", STREAM, None, 4000),
    ("near the end of a stream", STREAM, None, 9000),
]


@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
@pytest.mark.parametrize("what, asked, until, read", STAGES, ids=[stage[0] for stage in STAGES])
def test_whoever_hangs_up_pays_for_what_was_made_and_leaves_nothing_behind(
    server: Served, what: str, asked: dict[str, Any], until: tuple[bytes, int] | None, read: int, reset: bool
) -> None:
    account = f"{what.replace(' ', '-')}-{reset}".lower()
    key = server.open(account)
    raw = request(key, **asked)
    if until is not None:
        at = raw.lower().index(until[0].lower()) + len(until[0])
        raw = raw[: max(0, at + until[1])]
    for _ in range(8):
        with server.connect() as line:
            line.sendall(raw)
            got = 0
            while got < read and (data := line.recv(min(4096, read - got))):
                got += len(data)
            if reset:
                line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    expect_served(server, server.open(f"{account}-after"))
    events = server.check(account)
    assert len(events) <= (8 if until is None else 0)
    used = [json.loads(event.quantities).get("output_tokens", 0) for event in events]
    assert all(tokens <= 50 for tokens in used)
    if read > 1000:
        assert len(events) == 8
        assert all(tokens > 0 for tokens in used)


# ── reading nothing ──────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.once
def test_streams_that_nobody_reads_wait_at_their_source(server: Served) -> None:
    """Forty streams of sixteen megabytes are asked for, and not one is read."""
    key = server.open("deaf")
    expect_served(server, key)
    before = server.forget_peak()
    with crowd(server, 40, receive_bytes=4096) as lines:
        for line in lines:
            line.sendall(request(key, "gushing", stream=True, max_tokens=2000))
        assert eventually(lambda: all(has_more(line) for line in lines), PATIENCE)
        time.sleep(1)  # whatever would be kept is kept by now
        assert server.peak() - before < 80 * 2**20
        expect_served(server, server.open("reads"))
    assert eventually(lambda: len(server.events("deaf")) == 45, PATIENCE)
    events = server.check("deaf")
    assert all(0 < json.loads(event.quantities)["output_tokens"] <= 2000 for event in events)


@pytest.mark.once
def test_answers_to_requests_sent_far_ahead_come_in_their_order(server: Served) -> None:
    key = server.open("hurries")
    with server.connect() as line:
        for n in range(200):
            line.sendall(request(key, text=f"number {n} [[tokens=5]]"))
        got = b""
        while got.count(b"HTTP/1.1 200 OK") < 200 and (data := line.recv(65536)):
            got += data
    assert got.count(b"HTTP/1.1 200 OK") == 200
    assert len(server.check("hurries")) == 200


# ── sending too much ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.once
def test_large_bodies_are_bounded_together_and_small_ones_come_through(server: Served) -> None:
    """A dozen clients send thirty megabytes each and never come to the end."""
    key = server.open("large")
    expect_served(server, key)
    size = 30 * 2**20
    head = request(key)
    head = head[: head.index(b"content-length")] + b"content-length: %d\r\n\r\n" % size
    before = server.forget_peak()
    with crowd(server, 12) as lines:
        for line in lines:
            with contextlib.suppress(OSError):  # refused meanwhile
                line.sendall(head + b" " * (size - 1))
        refused = [line for line in lines if has_more(line, 200)]
        assert 0 < len(refused) < 12
        said = [line.recv(65536) for line in refused]
        assert all(b" 503 " in text and b"retry-after: 1" in text and b"too_much_waiting" in text for text in said)
        assert server.peak() - before < 350 * 2**20
        expect_served(server, key)
    assert eventually(lambda: answered(server, head + b" " * size) == 400, PATIENCE)  # nobody is in the way any more
    assert server.violations() == []


def answered(server: Served, raw: bytes) -> int:
    """The status that a request is answered with."""
    with server.connect() as line:
        with contextlib.suppress(OSError):
            line.sendall(raw)
        return int(line.recv(65536).split(b" ")[1])


# ── by the thousand ──────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.once
def test_five_thousand_connections_that_say_nothing_or_little_bother_nobody(server: Served) -> None:
    """What comes byte by byte is refused in time; whoever says nothing is let go."""
    need_connections(5_000)
    key = server.open("many")
    expect_served(server, key)
    before = server.forget_peak()
    raw = request(key)
    with crowd(server, 4800) as idle, crowd(server, 100) as slow_heads, crowd(server, 100) as slow_bodies:
        for line in slow_heads:
            line.sendall(raw[: raw.index(b"Bearer") + 9])
        for line in slow_bodies:
            line.sendall(raw[:-30])
        begun = time.monotonic()
        while not any(has_more(line) for line in slow_heads) and time.monotonic() - begun < 30:
            for line in (*slow_heads, *slow_bodies):
                with contextlib.suppress(OSError):
                    line.sendall(b"x")
            expect_served(server, key, 2)
            time.sleep(0.5)
        assert server.peak() - before < 150 * 2**20
        assert all(b" 408 " in line.recv(4096) for line in slow_heads)
        assert eventually(lambda: all(has_more(line) for line in idle[:100]), PATIENCE)
        assert all(not line.recv(4096) for line in idle[:100])
        expect_served(server, key)
    server.check("many")


@pytest.mark.once
def test_more_connections_than_allowed_are_told_when_to_come_back(tmp_path: Path) -> None:
    with engine() as sound, serving(tmp_path, {"tiny": [sound.base_url]}, max_connections=20) as server:
        key = server.open("ada")
        expect_served(server, key)
        with crowd(server, 20) as lines:
            for line in lines:
                line.sendall(b"GET /healthz HTTP/1.1\r\nhost: here\r\n\r\n")
            assert all(b" 200 OK" in line.recv(4096) for line in lines)
            with server.connect() as late:
                said = late.recv(4096)
            assert b" 503 " in said
            assert b"retry-after: 1" in said
            lines[0].close()
            assert eventually(lambda: answered(server, request(key)) == 200, PATIENCE)
        assert eventually(lambda: answered(server, request(key)) == 200, PATIENCE)
        server.check("ada")
