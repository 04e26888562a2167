"""The upstream client against scripted upstreams: reuse, retries, broken answers, silence, back-pressure."""

import asyncio
import contextlib
import socket
import ssl
import threading
import time
from collections.abc import Coroutine, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import trustme
from hypothesis import given, settings
from hypothesis import strategies as st

from purser.http.client import BrokenAnswer, Origin, TimedOut, TooLarge, Unreachable, UpstreamError
from purser.http.server import Exchange
from tests.http.rig import PATIENCE_SECONDS, Peer, Script, Upstream, echo, run, says, serving, upstream
from tests.ports import free_port

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
LIMIT = 32 * 1024 * 1024


async def get(origin: Origin, path: str = "/", timeout_seconds: float = PATIENCE_SECONDS) -> bytes:
    answer = await origin.open("GET", path, [], timeout_seconds=timeout_seconds)
    return await answer.read(LIMIT)


async def turns(true: Any) -> None:
    """Let the loop go on until something holds."""
    end = time.monotonic() + PATIENCE_SECONDS
    while not true():
        assert time.monotonic() < end
        await asyncio.sleep(0.005)


def with_origin(up: Upstream, work: Any, **settings: Any) -> None:
    """Run `work` with an origin for the upstream, and close it."""

    async def whole() -> None:
        origin = Origin(up.url, **settings)
        try:
            await work(origin)
        finally:
            await origin.close()
        assert origin.connections == 0

    run(whole())


def expect_failure(kind: type[UpstreamError], *scripts: Script, **settings: Any) -> UpstreamError:
    """What `open` and `read` raise against the scripts."""
    caught: list[UpstreamError] = []

    async def work(origin: Origin) -> None:
        with pytest.raises(kind) as info:
            await get(origin)
        caught.append(info.value)
        await turns(lambda: origin.connections == 0)

    with upstream(*scripts) as up:
        with_origin(up, work, **settings)
    return caught[0]


# Requests and answers


def test_a_request_arrives_as_it_was_meant() -> None:
    def script(peer: Peer) -> None:
        first, headers, body = peer.request()
        assert first == "POST /v1/chat?x=%20 HTTP/1.1"
        assert list(headers) == ["host", "authorization", "x-name", "content-length"]
        assert headers["host"] == f"127.0.0.1:{peer.link.getsockname()[1]}"
        assert headers["x-name"] == "caf\xe9"
        assert (headers["content-length"], body) == ("5", b"hello")
        peer.send(b"HTTP/1.1 201 Made\r\nX-Name: caf\xe9\r\nX-Name: two\r\nContent-Length: 2\r\n\r\nok")
        peer.rest()

    async def work(origin: Origin) -> None:
        framing = [(b"Host", b"other"), (b"Connection", b"close"), (b"Content-Length", b"1"), (b"Expect", b"x")]
        headers = [*framing, (b"authorization", b"Bearer key"), (b"x-name", b"caf\xe9")]
        answer = await origin.open("POST", "/v1/chat?x=%20", headers, b"hello", timeout_seconds=5)
        assert answer.status == 201
        assert answer.headers == [(b"x-name", b"caf\xe9"), (b"x-name", b"two"), (b"content-length", b"2")]
        assert answer.header(b"x-name") == b"caf\xe9"
        assert answer.header(b"x-none") is None
        assert await answer.read(LIMIT) == b"ok"
        assert await answer.chunk() == b""

    with upstream(script) as up:
        with_origin(up, work)


def test_a_post_without_a_body_says_so() -> None:
    def script(peer: Peer) -> None:
        assert peer.request()[1]["content-length"] == "0"
        peer.send(OK)
        assert "content-length" not in peer.request()[1]
        peer.send(OK)
        peer.rest()

    async def work(origin: Origin) -> None:
        assert await (await origin.open("POST", "/", [], timeout_seconds=5)).read(LIMIT) == b"ok"
        assert await get(origin) == b"ok"

    with upstream(script) as up:
        with_origin(up, work)


@pytest.mark.parametrize(
    "method, target, header",
    [
        ("GET", "/a b", (b"x", b"y")),
        ("GET", "/a\r\nx: y", (b"x", b"y")),
        ("GET", "/é", (b"x", b"y")),
        ("GET", "a", (b"x", b"y")),
        ("GE T", "/", (b"x", b"y")),
        ("", "/", (b"x", b"y")),
        ("GET", "/", (b"x", b"y\r\nhost: other")),
        ("GET", "/", (b"x:", b"y")),
    ],
)
def test_a_request_cannot_break_out_of_its_lines(method: str, target: str, header: tuple[bytes, bytes]) -> None:
    async def work() -> None:
        origin = Origin("http://127.0.0.1:9")
        with pytest.raises(ValueError):  # noqa: PT011 - the kind is the promise
            await origin.open(method, target, [header], timeout_seconds=1)
        assert origin.connections == 0

    run(work())


@pytest.mark.parametrize(
    "url", ["ftp://a", "//a", "a:80", "http://", "http://a/v1", "http://a?x", "http://u:p@a", "http://a:x", "http://é"]
)
def test_an_origin_is_scheme_host_and_port(url: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the kind is the promise
        Origin(url)


def test_ports_by_scheme() -> None:
    assert (Origin("http://a").port, Origin("https://a/").port, Origin("http://[::1]:81").port) == (80, 443, 81)
    assert Origin("http://[::1]:81").host == "::1"


def test_five_megabytes_both_ways() -> None:
    body = bytes(range(256)) * 4 * 5 * 1024

    async def work(port: int) -> None:
        origin = Origin(f"http://127.0.0.1:{port}")
        for _ in range(2):
            answer = await origin.open("POST", "/", [], body, timeout_seconds=PATIENCE_SECONDS)
            assert await answer.read(LIMIT) == b"POST / ? %d " % len(body) + body
        assert origin.connections == 1
        await origin.close()

    with serving(echo) as running:
        run(work(running.port))


# Bodies


@pytest.mark.parametrize(
    "answer, body",
    [
        (OK, b"ok"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", b""),
        (CHUNKED + b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n", b"abcde"),
        (CHUNKED + b"1\r\na\r\n0\r\nX-Trailer: 1\r\n\r\n", b"a"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", b""),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + OK, b"ok"),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 102 Processing\r\n\r\n" + OK, b"ok"),
    ],
)
def test_bodies_after_which_the_connection_is_kept(answer: bytes, body: bytes) -> None:
    async def work(origin: Origin) -> None:
        for _ in range(3):
            reply = await origin.open("GET", "/", [], timeout_seconds=5)
            assert reply.status >= 200
            assert (b"link", b"</a>") not in reply.headers
            assert await reply.read(LIMIT) == body
        assert (origin.connections, origin.idle, up.accepted) == (1, 1, 1)

    with upstream(says(answer, answer, answer)) as up:
        with_origin(up, work)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n\r\nto the close",
        b"HTTP/1.0 200 OK\r\n\r\nto the close",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nto the close",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 12\r\n\r\nto the close",
        b"HTTP/1.0 200 OK\r\nContent-Length: 12\r\n\r\nto the close",
    ],
)
def test_bodies_after_which_it_is_not(answer: bytes) -> None:
    async def work(origin: Origin) -> None:
        for _ in range(2):
            assert await get(origin) == b"to the close"
        assert up.accepted == 2

    with upstream(says(answer)) as up:
        with_origin(up, work)


def test_a_body_byte_by_byte() -> None:
    def script(peer: Peer) -> None:
        peer.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(2):
            peer.request()
            for byte in CHUNKED + b"3\r\nabc\r\n0\r\n\r\n":
                peer.send(bytes((byte,)))

    async def work(origin: Origin) -> None:
        assert await get(origin) == b"abc"
        assert await get(origin) == b"abc"
        assert origin.connections == 1

    with upstream(script) as up:
        with_origin(up, work)


def test_head_has_no_body_whatever_it_announces() -> None:
    async def work(origin: Origin) -> None:
        for _ in range(2):
            answer = await origin.open("HEAD", "/", [], timeout_seconds=5)
            assert answer.header(b"content-length") == b"99"
            assert await answer.read(LIMIT) == b""

    with upstream(says(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")) as up:
        with_origin(up, work)


def in_chunks(chunks: Sequence[bytes], go_on: threading.Semaphore) -> Script:
    """An answer that waits after each of its chunks until it may go on."""

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for chunk in chunks:
            peer.send(b"%x\r\n%b\r\n" % (len(chunk), chunk))
            assert go_on.acquire(timeout=PATIENCE_SECONDS)
        peer.send(b"0\r\n\r\n")
        peer.rest()

    return script


def test_chunks_come_as_they_are_sent() -> None:
    go_on = threading.Semaphore(0)
    chunks = [b"data: %d\n" % n for n in range(5)]

    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS)
        for chunk in chunks:
            assert await answer.chunk() == chunk
            go_on.release()
        assert await answer.chunk() == b""
        assert await answer.chunk() == b""
        assert origin.idle == 1

    with upstream(in_chunks(chunks, go_on)) as up:
        with_origin(up, work)


def test_a_tap_takes_what_comes_while_the_reader_waits() -> None:
    go_on = threading.Semaphore(0)

    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS)
        tapped: list[bytes] = []

        def tap(piece: bytes) -> bool:
            if piece == b"3":
                return False
            tapped.append(piece)
            go_on.release()
            return True

        assert await answer.chunk() == b"0", "what came before the tap"
        answer.tap = tap
        go_on.release()
        assert await answer.chunk() == b"3", "what the tap does not want"
        assert tapped == [b"1", b"2"]
        answer.tap = None
        go_on.release()
        assert await answer.chunk() == b"4"
        go_on.release()
        assert await answer.chunk() == b""

    with upstream(in_chunks([b"0", b"1", b"2", b"3", b"4"], go_on)) as up:
        with_origin(up, work)


def test_whole_chunks_need_not_be_parsed_while_the_reader_waits() -> None:
    go_on = threading.Semaphore(0)

    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS)
        tapped: list[bytes] = []

        def frames(data: bytes) -> bool:
            if data in (b"1\r\n5\r\n", b"1\r\n7\r\n"):
                return False
            tapped.append(data)
            go_on.release()
            return True

        def tap(piece: bytes) -> bool:
            tapped.append(piece)
            answer.frames = frames if piece != b"5" else None
            go_on.release()
            return piece != b"7"

        assert await answer.chunk() == b"0"
        answer.tap = tap
        go_on.release()
        assert await answer.chunk() == b"7"
        assert answer.frames is None, "whoever reads on decides anew"
        assert tapped == [b"1", b"1\r\n2\r\n", b"1\r\n3\r\n", b"1\r\n4\r\n", b"5", b"6", b"7"]
        answer.tap = None
        assert await answer.chunk() == b""
        assert origin.idle == 1

    with upstream(in_chunks([b"%d" % n for n in range(8)], go_on)) as up:
        with_origin(up, work)


def test_an_upstream_whose_chunks_are_not_parsed_is_heard_all_the_same() -> None:
    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=0.6)
        taken = 0

        def tap(_: bytes) -> bool:
            answer.frames = frames
            return True

        def frames(_: bytes) -> bool:
            nonlocal taken
            taken += 1
            return True

        assert await answer.chunk() == b"first"
        answer.tap = tap
        with pytest.raises(TimedOut) as info:
            await answer.chunk()
        assert (taken, info.value.phase) == (11, "body")

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED + b"5\r\nfirst\r\n")
        for _ in range(12):
            time.sleep(0.1)
            peer.send(b"4\r\nmore\r\n")
        peer.rest()

    with upstream(script) as up:
        with_origin(up, work)


sizes = st.integers(0, 0x123).map(lambda n: b"x\r\n" * (n // 3) + b"y" * (n % 3))
written = st.lists(
    st.tuples(
        st.one_of(
            sizes, st.sampled_from([b"1\r\na\r\n", b"\r\n", b"0\r\n\r\n", b"6\r\n1\r\na\r\n\r\n", b"1", b"a"])
        ).filter(len),
        st.sampled_from([b"%x", b"%x", b"%x", b"%X", b"0%x", b"%x;a=b"]),
    ),
    max_size=8,
)


@settings(max_examples=300, deadline=None)
@given(written, st.lists(st.integers(1, 400), max_size=12), st.sampled_from([b"", b"x: y\r\n", b"0: 1\r\n"]), st.data())
def test_a_chunk_is_only_taken_whole_for_what_it_is(
    chunks: list[tuple[bytes, bytes]], cuts: list[int], trailer: bytes, data: st.DataObject
) -> None:
    """Whatever the pieces, what is taken as whole chunks and what is parsed are together the body."""
    framed = [size % len(chunk) + b"\r\n" + chunk + b"\r\n" for chunk, size in chunks]
    whole = b"".join(framed)
    if data.draw(st.booleans()):  # most chunks by themselves, some in pieces
        edges = {len(b"".join(framed[:n])) for n in range(len(framed))} | {
            place % (len(whole) + 1) for place in cuts[:2]
        }
    else:
        edges = {place % (len(whole) + 1) for place in cuts}
    pieces = [whole[start:end] for start, end in pairwise(sorted({0, len(whole), *edges}))]

    assert body_of([*pieces, b"0\r\n" + trailer + b"\r\n"]) == b"".join(chunk for chunk, _ in chunks)


@pytest.mark.parametrize(
    ("pieces", "body"),
    [
        ([b"1\r\na\r\n", b"1\r\nb\r\n"], b"ab"),
        ([b"1\r\na\r\n", b"1\r\nb\r\n1\r\nc\r\n"], b"abc"),
        ([b"1\r\na\r\n", b"6\r\n", b"1\r\nb\r\n", b"\r\n"], b"a1\r\nb\r\n"),
        ([b"1\r\na\r\n1", b"1\r\nb\r\n", b"0123456789abcd\r\n"], b"ab\r\n0123456789abcd"),
        ([b"1\r\na\r\n", b"1\r\nb\r\n1", b"1\r\nb\r\n", b"0123456789abcd\r\n"], b"abb\r\n0123456789abcd"),
        ([b"1\r\na", b"\r\n", b"1\r\nb\r", b"\n", b"1\r\nc\r\n"], b"abc"),
        ([b"1\r\na\r\n", b"1\r\n", b"1\r\n1\r\n", b"b\r\n"], b"a1b"),
        ([b"1\r\na\r\n", b"1;", b"1\r\nb\r\n"], b"ab"),
    ],
)
def test_what_looks_like_a_chunk_is_none_within_another(pieces: list[bytes], body: bytes) -> None:
    assert body_of([*pieces, b"0\r\n\r\n"]) == body


def body_of(pieces: list[bytes]) -> bytes:
    """The body of an answer in these pieces, as a tap gets it while the reader waits, whole chunks as they come."""
    got: list[bytes] = []

    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS)

        def tap(piece: bytes) -> bool:
            got.append(piece)
            answer.frames = frames
            return True

        def frames(whole: bytes) -> bool:
            size, _, chunk = whole.partition(b"\r\n")
            if size != b"%x" % (len(chunk) - 2) or chunk[-2:] != b"\r\n" or size == b"0":
                return False
            got.append(chunk[:-2])
            return True

        answer.tap = tap
        reading = asyncio.ensure_future(answer.chunk())
        await asyncio.sleep(0)
        wire = answer._wire
        assert wire is not None
        for piece in pieces:
            wire.data_received(piece)
        assert await reading == b""
        assert origin.idle == 1

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        peer.rest()

    with upstream(script) as up:
        with_origin(up, work)
    return b"".join(got)


def test_the_rest_of_a_body_can_be_read_at_once() -> None:
    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=5)
        assert await answer.chunk() == b"abc"
        go_on.set()
        assert await answer.read(5) == b"defgh"

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED + b"3\r\nabc\r\n")
        assert go_on.wait(PATIENCE_SECONDS)
        peer.send(b"3\r\ndef\r\n2\r\ngh\r\n0\r\n\r\n")
        peer.rest()

    go_on = threading.Event()
    with upstream(script) as up:
        with_origin(up, work)


def test_an_upstream_is_held_back_while_nobody_reads() -> None:
    size = 64 * 1024 * 1024
    sent = 0

    def script(peer: Peer) -> None:
        nonlocal sent
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        while sent < size:
            peer.send(b"x" * 65536)
            sent += 65536
        peer.rest()

    async def work(origin: Origin) -> None:
        # The silence that counts is the upstream's, not that of a slow reader.
        answer = await origin.open("GET", "/", [], timeout_seconds=1.0)
        before = -1
        while before != sent:
            before = sent
            await asyncio.sleep(0.5)
        assert sent < size // 2
        await asyncio.sleep(1.0)
        received = 0
        while piece := await answer.chunk():
            assert len(piece) < 1024 * 1024
            received += len(piece)
        assert received == size

    with upstream(script) as up:
        with_origin(up, work)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
        CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n",
        CHUNKED + b"3e9\r\n" + b"x" * 1001 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * 1001,
    ],
)
def test_a_body_larger_than_the_caller_takes(answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(answer)
        peer.rest()

    async def work(origin: Origin) -> None:
        reply = await origin.open("GET", "/", [], timeout_seconds=5)
        with pytest.raises(TooLarge):
            await reply.read(1000)

    with upstream(script) as up:
        with_origin(up, work)


def test_a_body_exactly_as_large_as_the_caller_takes() -> None:
    async def work(origin: Origin) -> None:
        assert await (await origin.open("GET", "/", [], timeout_seconds=5)).read(2) == b"ok"

    with upstream(says(OK)) as up:
        with_origin(up, work)


# Broken answers


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfour",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
        CHUNKED,
        CHUNKED + b"4\r\nfo",
        CHUNKED + b"4\r\nfour\r\n",
        CHUNKED + b"4\r\nfour\r\n0\r\n",
        CHUNKED + b"4\r\nfour\r\n0\r\nX-Trailer: 1\r\n",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"2\r\nfour\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Len",
        b"H",
        b"HTTP/1.1 100 Continue\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok!",
        b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok",
        b"HTTP/1.1 99 Odd\r\n\r\n",
        b"HTTP/3.7 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-A: a\0b\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        b"HTTP/1.1 200 OK\r\nX-Large: " + b"x" * 200_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX-Endless: " + b"x" * 200_000,
        b"HTTP/1.1 200 OK\r\n" + b"X-Many: 1\r\n" * 20_000,
        CHUNKED + b"0\r\nX-Trailer: " + b"x" * 200_000,
    ],
)
def test_an_answer_that_is_not_whole_and_well_formed(answer: bytes) -> None:
    def script(peer: Peer) -> None:
        peer.request()
        with contextlib.suppress(OSError):
            peer.send(answer)

    expect_failure(BrokenAnswer, script)


def test_a_reset_within_a_body_to_the_close_is_no_end() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(b"HTTP/1.1 200 OK\r\n\r\npart")
        assert came.wait(PATIENCE_SECONDS)
        peer.reset()

    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=5)
        assert await answer.chunk() == b"part"
        came.set()
        with pytest.raises(BrokenAnswer):
            await answer.chunk()

    came = threading.Event()
    with upstream(script) as up:
        with_origin(up, work)


def test_what_came_before_the_break_is_given_out_first() -> None:
    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=5)
        await turns(lambda: origin.connections == 0)
        assert await answer.chunk() == b"abcde"
        for _ in range(2):
            with pytest.raises(BrokenAnswer):
                await answer.chunk()

    with upstream(says(CHUNKED + b"3\r\nabc\r\n2\r\nde\r\n")) as up:
        with_origin(up, work)


@pytest.mark.parametrize("beyond", [OK, b"noise", b"\x00", b"HTTP/1.1 200 OK\r\n"])
def test_bytes_beyond_the_answer_end_the_connection_and_reach_nobody(beyond: bytes) -> None:
    async def work(origin: Origin) -> None:
        assert await get(origin) == b"ok"
        assert origin.idle == 0
        assert await get(origin) == b"ok"
        assert up.accepted == 2

    with upstream(says(OK + beyond)) as up:
        with_origin(up, work)


def test_bytes_that_nobody_asked_for_end_an_idle_connection() -> None:
    async def work(origin: Origin) -> None:
        assert await get(origin) == b"ok"
        assert origin.idle == 1
        unasked.set()
        await turns(lambda: origin.connections == 0)
        assert await get(origin) == b"ok"
        assert up.accepted == 2

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        assert unasked.wait(PATIENCE_SECONDS)
        peer.send(b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n")
        peer.rest()

    unasked = threading.Event()
    with upstream(script, says(OK)) as up:
        with_origin(up, work)


# Connections that die


def test_nobody_listens() -> None:
    async def work() -> None:
        origin = Origin(f"http://127.0.0.1:{free_port()}")
        for _ in range(2):
            with pytest.raises(Unreachable):
                await get(origin)
        assert origin.connections == 0

    run(work())


def test_a_name_that_does_not_resolve() -> None:
    async def work() -> None:
        for host in ("purser-nowhere.invalid", "a..b", "x" * 70):
            with pytest.raises(Unreachable):
                await get(Origin(f"http://{host}:80"))

    run(work())


def test_a_fresh_connection_that_dies_without_a_byte_is_not_retried() -> None:
    def script(peer: Peer) -> None:
        peer.request()

    async def work(origin: Origin) -> None:
        with pytest.raises(Unreachable):
            await get(origin)
        assert up.accepted == 1

    with upstream(script) as up:
        with_origin(up, work)


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_kept_connection_that_turns_out_closed_is_retried_once(how: str) -> None:
    def stale(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()  # the second request arrives, and is met with a hang-up
        if how == "reset":
            peer.reset()

    bodies: list[bytes] = []

    def fresh(peer: Peer) -> None:
        bodies.append(peer.request()[2])
        peer.send(OK)
        peer.rest()

    async def work(origin: Origin) -> None:
        assert await get(origin) == b"ok"
        answer = await origin.open("POST", "/", [], b"again", timeout_seconds=5)
        assert await answer.read(LIMIT) == b"ok"
        assert (up.accepted, bodies) == (2, [b"again"])

    with upstream(stale, fresh) as up:
        with_origin(up, work)


def test_a_retry_goes_to_a_new_connection_and_is_the_only_one() -> None:
    def stale(peer: Peer) -> None:
        peer.request()
        together.wait(PATIENCE_SECONDS)
        peer.send(OK)
        peer.more()

    def dead(peer: Peer) -> None:
        peer.request()

    async def work(origin: Origin) -> None:
        assert list(await asyncio.gather(get(origin), get(origin))) == [b"ok", b"ok"]
        assert origin.idle == 2
        with pytest.raises(Unreachable):
            await get(origin)
        assert up.accepted == 3  # two that were kept, one for the retry
        assert origin.idle == 1

    together = threading.Barrier(2)
    with upstream(stale, stale, dead) as up:
        with_origin(up, work)


def test_a_kept_connection_that_dies_within_an_answer_is_not_retried() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        peer.send(b"H")

    async def work(origin: Origin) -> None:
        assert await get(origin) == b"ok"
        with pytest.raises(BrokenAnswer):
            await get(origin)
        assert up.accepted == 1

    with upstream(script) as up:
        with_origin(up, work)


def test_a_retry_when_all_connections_are_taken() -> None:
    def stale(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()

    async def work(origin: Origin) -> None:
        assert await get(origin) == b"ok"
        assert await get(origin) == b"ok"
        assert up.accepted == 2

    with upstream(stale, says(OK)) as up:
        with_origin(up, work, max_connections=1)


def test_a_retry_does_not_take_a_connection_that_another_has_used() -> None:
    def stale(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        peer.request()
        waits.wait(PATIENCE_SECONDS)

    def used(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        assert peer.closed()

    async def work(origin: Origin) -> None:
        assert await get(origin) == b"ok"
        retried = asyncio.create_task(get(origin))
        await asyncio.sleep(0.05)
        other = asyncio.create_task(get(origin))
        await asyncio.sleep(0.05)
        waits.set()
        assert await other == b"ok"
        assert await retried == b"ok"
        assert up.accepted == 3

    waits = threading.Event()
    with upstream(stale, used, says(OK)) as up:
        with_origin(up, work, max_connections=1)


def test_an_idle_connection_closed_by_the_upstream_is_forgotten() -> None:
    async def work(origin: Origin) -> None:
        assert await get(origin) == b"ok"
        await turns(lambda: origin.connections == 0)
        assert await get(origin) == b"ok"

    with upstream(says(OK)) as up:
        with_origin(up, work)


def test_an_idle_connection_is_closed_in_time() -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(OK)
        assert peer.closed()
        closed.set()

    async def work(origin: Origin) -> None:
        assert await get(origin, timeout_seconds=0.5) == b"ok"
        assert origin.idle == 1
        await turns(closed.is_set)
        assert origin.connections == 0

    with upstream(script) as up:
        with_origin(up, work, idle_seconds=0.1)


def test_an_answer_that_overtakes_its_request_ends_the_connection() -> None:
    def script(peer: Peer) -> None:
        peer.head()
        peer.send(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\n\r\n")
        answered.wait(PATIENCE_SECONDS)

    async def work(origin: Origin) -> None:
        answer = await origin.open("POST", "/", [], b"x" * 20_000_000, timeout_seconds=5)
        assert answer.status == 413
        assert await answer.read(LIMIT) == b""
        assert origin.idle == 0
        answered.set()

    answered = threading.Event()
    with upstream(script) as up:
        with_origin(up, work)


# Silence


def holds(*parts: bytes) -> Script:
    """Sends the parts, then nothing until the client hangs up."""

    def script(peer: Peer) -> None:
        peer.request()
        for part in parts:
            peer.send(part)
        assert peer.closed()

    return script


@pytest.mark.parametrize(
    "said, phase",
    [(b"", "answer"), (b"HTTP/1.1 200 OK\r\n", "answer"), (CHUNKED, "body"), (CHUNKED + b"1\r\na\r\n", "body")],
)
def test_an_upstream_that_falls_silent(said: bytes, phase: str) -> None:
    async def work(origin: Origin) -> None:
        with pytest.raises(TimedOut) as info:
            await get(origin, timeout_seconds=0.2)
        assert info.value.phase == phase
        assert origin.connections == 0

    with upstream(holds(said)) as up:
        with_origin(up, work)


def test_a_slow_upstream_that_goes_on_is_awaited() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        for _ in range(10):
            time.sleep(0.1)
            peer.send(b"1\r\nx\r\n")
        peer.send(b"0\r\n\r\n")
        peer.rest()

    async def work(origin: Origin) -> None:
        assert await get(origin, timeout_seconds=0.8) == b"x" * 10

    with upstream(script) as up:
        with_origin(up, work)


def test_a_connection_that_is_not_made_in_time() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(4)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.1", port))

        async def work() -> None:
            origin = Origin(f"http://127.0.0.1:{port}", connect_timeout_seconds=0.2)
            with pytest.raises(TimedOut) as info:
                await get(origin)
            assert info.value.phase == "connect"
            assert origin.connections == 0

        run(work())
        for each in waiting:
            each.close()


def test_one_request_that_falls_silent_does_not_end_the_others() -> None:
    go_on = threading.Event()

    def late(peer: Peer) -> None:
        peer.request()
        assert go_on.wait(PATIENCE_SECONDS)
        peer.send(OK)
        peer.rest()

    async def work(origin: Origin) -> None:
        patient = asyncio.create_task(get(origin, timeout_seconds=PATIENCE_SECONDS))
        await turns(lambda: up.accepted == 1)
        with pytest.raises(TimedOut):
            await get(origin, timeout_seconds=0.1)
        go_on.set()
        assert await patient == b"ok"

    with upstream(late, holds()) as up:
        with_origin(up, work)


# The pool


def test_no_more_connections_than_allowed() -> None:
    most = running_now = 0

    async def slow(exchange: Exchange) -> None:
        nonlocal most, running_now
        running_now += 1
        most = max(most, running_now)
        await asyncio.sleep(0.01)
        running_now -= 1
        exchange.answer(200, [], exchange.request.target)

    async def work(port: int) -> None:
        origin = Origin(f"http://127.0.0.1:{port}", max_connections=3)
        got = await asyncio.gather(*(get(origin, f"/{n}") for n in range(30)))
        assert got == [b"/%d" % n for n in range(30)]
        assert origin.connections <= 3
        await origin.close()

    with serving(slow) as running:
        run(work(running.port))
    assert most <= 3


def test_waiting_for_a_connection_is_bounded_and_can_be_given_up() -> None:
    async def work(origin: Origin) -> None:
        taken = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS)
        with pytest.raises(TimedOut) as info:
            await get(origin, timeout_seconds=0.1)
        assert info.value.phase == "connect"
        waiting = asyncio.create_task(get(origin))
        given_up = asyncio.create_task(get(origin))
        last = asyncio.create_task(get(origin))
        await asyncio.sleep(0.05)
        given_up.cancel()
        with pytest.raises(asyncio.CancelledError):
            await given_up
        taken.cancel()
        assert await waiting == b"ok"
        assert await last == b"ok"
        assert up.accepted == 2

    with upstream(holds(CHUNKED), says(OK, OK)) as up:
        with_origin(up, work, max_connections=1)


def test_a_turn_given_up_as_it_comes_goes_to_the_next() -> None:
    async def work(origin: Origin) -> None:
        taken = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS)
        first = asyncio.create_task(get(origin))
        second = asyncio.create_task(get(origin))
        await asyncio.sleep(0.05)
        taken.cancel()
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        assert await second == b"ok"

    with upstream(holds(CHUNKED), says(OK)) as up:
        with_origin(up, work, max_connections=1)


# Hanging up


def test_cancelling_closes_the_upstreams_socket_at_once() -> None:
    closed = threading.Event()

    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED + b"1\r\na\r\n")
        peer.rest()
        closed.set()

    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=5)
        assert await answer.chunk() == b"a"
        reading = asyncio.create_task(answer.chunk())
        await asyncio.sleep(0)
        answer.cancel()
        answer.cancel()
        assert origin.connections == 0
        await turns(closed.is_set)
        with pytest.raises(BrokenAnswer):
            await reading

    with upstream(script) as up:
        with_origin(up, work)


def test_cancelling_while_the_upstream_floods() -> None:
    def script(peer: Peer) -> None:
        peer.request()
        peer.send(CHUNKED)
        with contextlib.suppress(ConnectionError):
            while True:
                peer.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        hung_up.set()

    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=5)
        await asyncio.sleep(0.2)
        answer.cancel()
        await turns(hung_up.is_set)
        assert origin.connections == 0

    hung_up = threading.Event()
    with upstream(script) as up:
        with_origin(up, work)


def test_cancelling_a_whole_answer_keeps_its_connection() -> None:
    async def work(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=5)
        assert await answer.read(LIMIT) == b"ok"
        answer.cancel()
        assert origin.idle == 1
        assert await answer.chunk() == b""

    with upstream(says(OK)) as up:
        with_origin(up, work)


@pytest.mark.parametrize("said", [b"", CHUNKED])
def test_a_cancelled_task_hangs_up_if_it_says_so(said: bytes) -> None:
    async def relay(origin: Origin) -> None:
        answer = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS)
        try:
            await answer.chunk()
        finally:
            answer.cancel()

    async def work(origin: Origin) -> None:
        task = asyncio.create_task(relay(origin))
        await turns(lambda: up.accepted == 1)
        await asyncio.sleep(0.05)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert origin.connections == 0

    with upstream(holds(said)) as up:
        with_origin(up, work)


def test_a_task_cancelled_while_connecting_leaves_nothing_open() -> None:
    async def work(origin: Origin) -> None:
        for turns_taken in range(6):
            task = asyncio.create_task(get(origin))
            for _ in range(turns_taken):
                await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        await turns(lambda: origin.connections == 0)

    def patient(peer: Peer) -> None:
        peer.rest()

    with upstream(patient) as up:
        with_origin(up, work)


def test_closing_an_origin_fails_what_runs_and_what_comes() -> None:
    async def work(origin: Origin) -> None:
        begun = await origin.open("GET", "/", [], timeout_seconds=PATIENCE_SECONDS)
        reading = asyncio.create_task(begun.chunk())
        unanswered = asyncio.create_task(get(origin))
        await turns(lambda: up.accepted == 2)
        waiting = asyncio.create_task(get(origin))
        await asyncio.sleep(0.05)
        await origin.close()
        outcomes: list[Coroutine[Any, Any, Any] | asyncio.Task[Any]] = [unanswered, waiting, get(origin)]
        for outcome in outcomes:
            with pytest.raises(Unreachable):
                await outcome
        with pytest.raises(BrokenAnswer):
            await reading

    with upstream(holds(CHUNKED), holds()) as up:
        with_origin(up, work, max_connections=2)


# TLS and the standard loop


def test_it_runs_on_the_standard_loop_as_well() -> None:
    async def work() -> None:
        origin = Origin(up.url)
        assert await get(origin) == b"ok"
        with pytest.raises(BrokenAnswer):
            await get(origin)
        await origin.close()

    with upstream(says(OK, b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")) as up:
        asyncio.run(work())


def test_a_server_without_tls_is_unreachable_by_https() -> None:
    def script(peer: Peer) -> None:
        with contextlib.suppress(OSError):
            peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    async def work() -> None:
        origin = Origin(up.url.replace("http:", "https:"))
        with pytest.raises(Unreachable):
            await get(origin)
        assert origin.connections == 0

    with upstream(script) as up:
        run(work())


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key, a certificate for localhost, and that of the authority which made it, in one file."""
    authority, both = trustme.CA(), tmp_path_factory.mktemp("tls") / "both.pem"
    both.write_bytes(
        authority.issue_cert("localhost").private_key_and_cert_chain_pem.bytes() + authority.cert_pem.bytes()
    )
    return both


def over_tls(certificate: Path, script: Script) -> Script:
    def wrapped(peer: Peer) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        try:
            link = context.wrap_socket(peer.link, server_side=True)
        except OSError:
            return  # the client did not trust us
        with Peer(link) as inner:
            script(inner)

    return wrapped


def test_tls_with_a_known_certificate(certificate: Path) -> None:
    async def work() -> None:
        tls = ssl.create_default_context(cafile=str(certificate))
        origin = Origin(f"https://localhost:{up.port}", tls=tls)
        for _ in range(2):
            assert await get(origin) == b"ok"
        with pytest.raises(BrokenAnswer):
            await get(origin)
        assert up.accepted == 1
        await origin.close()

    part = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart"
    with upstream(over_tls(certificate, says(OK, OK, part))) as up:
        run(work())


def test_tls_with_an_unknown_certificate_or_another_name(certificate: Path) -> None:
    async def work() -> None:
        known = ssl.create_default_context(cafile=str(certificate))
        for origin in (Origin(f"https://localhost:{up.port}"), Origin(f"https://127.0.0.1:{up.port}", tls=known)):
            with pytest.raises(Unreachable):
                await get(origin)
            assert origin.connections == 0

    with upstream(over_tls(certificate, says(OK))) as up:
        run(work())
