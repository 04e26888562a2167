"""The server seen from a raw socket: framing, order, limits, hang-ups and slow clients."""

import asyncio
import contextlib
import logging
import socket
import threading
import time
from collections.abc import Iterator

import pytest

from purser.http.head import head_bytes, split_target
from purser.http.server import Exchange, Limits
from tests.http.rig import PATIENCE_SECONDS, Peer, Running, echo, eventually, serving

HOST = b"Host: purser.test\r\n"
GET = b"GET / HTTP/1.1\r\n" + HOST + b"\r\n"


def post(body: bytes, path: bytes = b"/", more: bytes = b"") -> bytes:
    return b"POST %b HTTP/1.1\r\n%b%bContent-Length: %d\r\n\r\n%b" % (path, HOST, more, len(body), body)


@pytest.fixture(scope="module")
def echoing() -> Iterator[Running]:
    with serving(echo, limits=Limits(max_body_bytes=8 * 1024 * 1024)) as running:
        yield running


def still_answers(running: Running) -> None:
    assert running.ask(GET).status == 200


# Requests and answers


def test_a_request_is_answered(echoing: Running) -> None:
    reply = echoing.ask(post(b"hello", b"/a%20b/%C3%A9?x=1&y=%2F"))
    assert reply.status == 200
    assert reply.body.decode() == "POST /a b/é ?x=1&y=%2F 5 hello"
    assert reply.headers["date"].endswith(" GMT")
    assert "server" not in reply.headers
    assert "connection" not in reply.headers


def test_the_connection_is_kept(echoing: Running) -> None:
    with echoing.peer() as peer:
        for n in range(20):
            peer.send(post(b"%d" % n))
            assert peer.reply().body == b"POST / ? %d %d" % (len(str(n)), n)


def test_connection_close_is_kept_to(echoing: Running) -> None:
    with echoing.peer() as peer:
        peer.send(b"GET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
        reply = peer.reply()
        assert reply.headers["connection"] == "close"
        assert peer.closed()


def test_what_follows_a_last_request_is_ignored(echoing: Running) -> None:
    with echoing.peer() as peer:
        peer.send(b"GET /last HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n" + GET)
        assert peer.reply().body == b"GET /last ? 0 "
        assert peer.closed()


def test_pipelined_requests_are_answered_in_order() -> None:
    async def slow_first(exchange: Exchange) -> None:
        if exchange.request.path == "/0":
            await asyncio.sleep(0.05)
        await echo(exchange)

    with serving(slow_first) as running, running.peer() as peer:
        peer.send(b"".join(post(b"x" * n, b"/%d" % n) for n in range(50)))
        for n in range(50):
            assert peer.reply().body == b"POST /%d ? %d " % (n, n) + b"x" * n


def test_requests_sent_byte_by_byte(echoing: Running) -> None:
    with echoing.peer() as peer:
        peer.link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in post(b"hi", b"/slow") + GET:
            peer.send(bytes((byte,)))
        assert peer.reply().body == b"POST /slow ? 2 hi"
        assert peer.reply().body == b"GET / ? 0 "


def test_a_chunked_body(echoing: Running) -> None:
    head = b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    with echoing.peer() as peer:
        peer.send(head + b"3;name=value\r\nabc\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n" + GET)
        assert peer.reply().body == b"POST /c ? 19 abc0123456789abcdef"
        assert peer.reply().body == b"GET / ? 0 "


def test_trailers_do_not_become_headers() -> None:
    async def names(exchange: Exchange) -> None:
        exchange.answer(200, [], b",".join(name for name, _ in exchange.request.headers))

    head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
    with serving(names) as running, running.peer() as peer:
        peer.send(head + b"1\r\na\r\n0\r\nAuthorization: Bearer other\r\n\r\n")
        assert peer.reply().body == b"host,transfer-encoding"
        peer.send(GET)
        assert peer.reply().body == b"host"


def test_header_values_are_kept_as_bytes() -> None:
    async def show(exchange: Exchange) -> None:
        request = exchange.request
        assert request.header(b"x-none") is None
        assert request.client == "127.0.0.1"
        exchange.answer(200, [(b"x-seen", request.header(b"x-name") or b"")], request.target)

    with serving(show) as running, running.peer() as peer:
        peer.send(b"GET /%7e?q HTTP/1.1\r\n" + HOST + b"X-Name: caf\xc3\xa9 \xff\r\n\r\n")
        reply = peer.reply()
        assert reply.headers["x-seen"].encode("latin-1") == b"caf\xc3\xa9 \xff"
        assert reply.body == b"/%7e?q"


def test_head_has_headers_and_no_body(echoing: Running) -> None:
    with echoing.peer() as peer:
        peer.send(b"HEAD /h HTTP/1.1\r\n" + HOST + b"\r\n" + GET)
        reply = peer.reply(bodiless=True)
        assert reply.headers["content-length"] == str(len("HEAD /h ? 0 "))
        assert peer.reply().body == b"GET / ? 0 "


@pytest.mark.parametrize("status", [204, 304])
def test_answers_that_have_no_body(status: int) -> None:
    async def bare(exchange: Exchange) -> None:
        exchange.answer(status, [], b"never sent")

    with serving(bare) as running, running.peer() as peer:
        for _ in range(2):
            peer.send(GET)
            reply = peer.reply(bodiless=True)
            assert reply.status == status
            assert "content-length" not in reply.headers
            assert "transfer-encoding" not in reply.headers


def test_http_1_0_closes_unless_asked_to_keep(echoing: Running) -> None:
    with echoing.peer() as peer:
        peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        assert peer.reply().headers["connection"] == "keep-alive"
        peer.send(b"GET / HTTP/1.0\r\n\r\n")
        assert peer.reply().headers["connection"] == "close"
        assert peer.closed()


async def stream(exchange: Exchange) -> None:
    exchange.start(200, [(b"content-type", b"text/event-stream")])
    for n in range(5):
        exchange.write(b"data: %d\n\n" % n)
        await exchange.drain()
        await asyncio.sleep(0)
    exchange.end(b"data: [DONE]\n\n")


STREAMED = b"".join(b"data: %d\n\n" % n for n in range(5)) + b"data: [DONE]\n\n"


def test_a_stream_is_chunked() -> None:
    with serving(stream) as running, running.peer() as peer:
        for _ in range(2):
            peer.send(GET)
            reply = peer.reply()
            assert reply.headers["transfer-encoding"] == "chunked"
            assert reply.body == STREAMED


def test_a_stream_to_http_1_0_ends_with_the_connection() -> None:
    with serving(stream) as running, running.peer() as peer:
        peer.send(b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
        reply = peer.reply()
        assert reply.headers["connection"] == "close"
        assert "transfer-encoding" not in reply.headers
        assert reply.body == STREAMED


def test_a_streamed_head_has_no_body() -> None:
    with serving(stream) as running, running.peer() as peer:
        peer.send(b"HEAD / HTTP/1.1\r\n" + HOST + b"\r\n" + GET)
        assert peer.reply(bodiless=True).headers["transfer-encoding"] == "chunked"
        assert peer.reply().body == STREAMED


def test_an_offer_to_upgrade_is_declined_and_the_body_kept(echoing: Running) -> None:
    offer = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP\r\n"
    with echoing.peer() as peer:
        peer.send(post(b"{}", b"/h2c", offer) + GET)
        assert peer.reply().body == b"POST /h2c ? 2 {}"
        assert peer.reply().body == b"GET / ? 0 "
        peer.send(b"GET /ws HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert peer.reply().body == b"GET /ws ? 0 "
        large = b"z" * 100_000
        peer.send(post(large, b"/h2c", offer))
        assert peer.reply().body == b"POST /h2c ? 100000 " + large


# Large bodies and back-pressure


def test_five_megabytes_both_ways(echoing: Running) -> None:
    body = bytes(range(256)) * 4 * 5 * 1024
    with echoing.peer() as peer:
        sender = threading.Thread(target=peer.send, args=(post(body),))
        sender.start()
        reply = peer.reply()
        sender.join()
        assert reply.body == b"POST / ? %d " % len(body) + body
        peer.send(GET)
        assert peer.reply().status == 200


def test_five_megabytes_in_chunks_both_ways() -> None:
    async def back(exchange: Exchange) -> None:
        body = exchange.request.body
        exchange.start(200, [])
        for at in range(0, len(body), 300_000):
            exchange.write(body[at : at + 300_000])
            await exchange.drain()
        exchange.end()

    body = bytes(range(256)) * 4 * 5 * 1024
    pieces = b"".join(
        b"%x\r\n%b\r\n" % (len(body[at : at + 70_001]), body[at : at + 70_001]) for at in range(0, len(body), 70_001)
    )
    with serving(back) as running, running.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n")
        assert peer.reply().body == body


def test_a_client_that_does_not_read_holds_the_writer_back() -> None:
    written = 0

    async def endless(exchange: Exchange) -> None:
        nonlocal written
        exchange.start(200, [])
        while not exchange.gone:
            exchange.write(b"x" * 65536)
            written += 65536
            await exchange.drain()
        exchange.end()

    with serving(endless) as running:
        with running.peer(receive_bytes=16384) as peer:
            peer.send(GET)
            peer.until(b"\r\n\r\n")
            before = -1
            while before != written:
                before = written
                time.sleep(0.3)
            assert written < 32 * 1024 * 1024
        eventually(lambda: running.server.running == 0)


def test_an_answer_flows_from_its_start_to_its_end_while_its_client_keeps_up() -> None:
    flowing: list[tuple[bool, bool]] = []

    async def long(exchange: Exchange) -> None:
        flowing.append((exchange.flowing, exchange.forward is not None))
        exchange.start(200, [])
        flowing.append((exchange.flowing, exchange.forward is not None))
        for _ in range(1_000):
            if exchange.flowing:
                exchange.write(b"x" * 65536)
        flowing.append((exchange.flowing, exchange.forward is not None))
        await exchange.drain()
        flowing.append((exchange.flowing, exchange.forward is not None))
        exchange.end()
        flowing.append((exchange.flowing, exchange.forward is not None))

    with serving(long) as running, running.peer(receive_bytes=16384) as peer:
        peer.send(GET)
        eventually(lambda: len(flowing) == 3)
        assert 0 < len(peer.reply().body) < 32 * 1024 * 1024
        eventually(lambda: len(flowing) == 5)
        assert flowing == [(flows, flows) for flows in (False, True, False, True, False)]


def test_chunks_are_forwarded_as_they_are_framed_where_an_answer_is_in_chunks() -> None:
    forwarding: list[bool] = []

    async def answerer(exchange: Exchange) -> None:
        exchange.start(200, [], 4 if exchange.request.path == "/length" else None)
        forward = exchange.forward
        forwarding.append(forward is not None)
        if forward is not None:
            forward(b"4\r\nbody\r\n")
        else:
            exchange.write(b"body")
        exchange.end()
        assert exchange.forward is None

    with serving(answerer) as running, running.peer() as peer:
        peer.send(GET)
        assert peer.reply().body == b"body"
        peer.send(GET.replace(b"/", b"/length", 1))
        assert peer.reply().body == b"body"
        peer.send(GET.replace(b"GET", b"HEAD"))
        assert peer.reply(bodiless=True).body == b""
        peer.send(GET.replace(b"1.1", b"1.0"))
        assert peer.reply().body == b"body"
    assert forwarding == [True, False, False, False]


def test_nothing_is_forwarded_on_a_connection_that_is_lost_or_cut() -> None:
    forwarding: list[bool] = []

    async def lost(exchange: Exchange) -> None:
        exchange.start(200, [])
        while not exchange.lost:
            await asyncio.sleep(0.01)
        forwarding.append(exchange.forward is not None)
        exchange.abort()

    async def cut(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.abort()
        forwarding.append(exchange.forward is not None)

    for answerer in (lost, cut):
        with serving(answerer) as running, running.peer() as peer:
            peer.send(GET)
            peer.until(b"\r\n\r\n")
            if answerer is lost:
                peer.reset()
            eventually(lambda running=running: running.server.running == 0)  # type: ignore[misc]
    assert forwarding == [False, False]


def test_a_client_that_takes_nothing_is_cut_off_in_the_end() -> None:
    ended = threading.Event()

    async def large(exchange: Exchange) -> None:
        exchange.start(200, [])
        while not exchange.gone:
            exchange.write(b"x" * 65536)
            await exchange.drain()
        ended.set()

    with serving(large, limits=Limits(body_timeout_seconds=0.3)) as running:
        with running.peer(receive_bytes=16384) as peer:
            peer.send(GET)
            assert ended.wait(PATIENCE_SECONDS)
        eventually(lambda: running.server.connections == 0)


def test_a_client_that_takes_nothing_of_a_whole_answer_is_cut_off_too() -> None:
    async def large(exchange: Exchange) -> None:
        exchange.answer(200, [], b"x" * 20_000_000)

    with serving(large, limits=Limits(body_timeout_seconds=0.3)) as running:
        with running.peer(receive_bytes=16384) as peer:
            peer.send(b"GET / HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n")
            eventually(lambda: running.server.connections == 1)
            eventually(lambda: running.server.connections == 0)
            assert len(peer.rest()) < 20_000_000


def test_reading_pauses_when_a_client_sends_too_far_ahead() -> None:
    go_on = threading.Event()

    async def wait(exchange: Exchange) -> None:
        while not go_on.is_set():
            await asyncio.sleep(0.01)
        exchange.answer(200, [], b"")

    count = 0
    with serving(wait) as running, running.peer() as peer:
        peer.send(GET)
        eventually(lambda: running.server.running == 1)
        peer.link.settimeout(0.5)
        block = GET * 1000
        with contextlib.suppress(TimeoutError):
            while count < 64_000_000:
                count += peer.link.send(block)
        assert count < 32_000_000, "the server read on without bound"
        peer.link.settimeout(PATIENCE_SECONDS)
        go_on.set()
        whole = 1 + count // len(GET)
        reader_done = 0
        while reader_done < whole:
            assert peer.reply().status == 200
            reader_done += 1


def test_the_next_answer_waits_until_the_last_is_taken() -> None:
    began: list[str] = []

    async def large(exchange: Exchange) -> None:
        began.append(exchange.request.path)
        exchange.answer(200, [], b"x" * 20_000_000)

    with serving(large) as running, running.peer(receive_bytes=16384) as peer:
        peer.send(b"GET /1 HTTP/1.1\r\n" + HOST + b"\r\nGET /2 HTTP/1.1\r\n" + HOST + b"\r\n")
        eventually(lambda: began == ["/1"])
        time.sleep(0.1)
        assert began == ["/1"]
        assert len(peer.reply().body) == 20_000_000
        assert len(peer.reply().body) == 20_000_000
        assert began == ["/1", "/2"]


# Expect


def test_expect_100_continue(echoing: Running) -> None:
    with echoing.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n")
        assert peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"abc")
        assert peer.reply().body == b"POST / ? 3 abc"


def test_expect_with_the_body_already_there(echoing: Running) -> None:
    with echoing.peer() as peer:
        peer.send(post(b"abc", more=b"Expect: 100-continue\r\n"))
        assert peer.reply().body == b"POST / ? 3 abc"


def test_expect_behind_a_pipelined_request_is_told_after_its_answer() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.05)
        await echo(exchange)

    with serving(slow) as running, running.peer() as peer:
        expecting = b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 3\r\n\r\n"
        peer.send(GET + expecting)
        assert peer.reply().body == b"GET / ? 0 "
        assert peer.until(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.send(b"abc")
        assert peer.reply().body == b"POST / ? 3 abc"


def test_expect_with_a_body_too_large_is_refused_before_it_is_sent() -> None:
    with serving(echo, limits=Limits(max_body_bytes=10)) as running:
        reply = running.ask(b"POST / HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 11\r\n\r\n")
        assert reply.status == 413


# What is refused

SMUGGLED = b"GET /smuggled HTTP/1.1\r\n" + HOST + b"\r\n"
MALFORMED = {
    "length and chunks": post(b"0\r\n\r\n" + SMUGGLED, more=b"Transfer-Encoding: chunked\r\n"),
    "chunks and length": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n"
    % HOST,
    "two lengths": post(b"hello", more=b"Content-Length: 0\r\n"),
    "the same length twice": post(b"hello", more=b"Content-Length: 5\r\n"),
    "a list of lengths": b"POST / HTTP/1.1\r\n%bContent-Length: 5, 5\r\n\r\nhello" % HOST,
    "a signed length": b"POST / HTTP/1.1\r\n%bContent-Length: +5\r\n\r\nhello" % HOST,
    "a hexadecimal length": b"POST / HTTP/1.1\r\n%bContent-Length: 0x5\r\n\r\nhello" % HOST,
    "an empty length": b"POST / HTTP/1.1\r\n%bContent-Length: \r\n\r\nhello" % HOST,
    "a length beyond 64 bits": b"POST / HTTP/1.1\r\n%bContent-Length: 99999999999999999999\r\n\r\n" % HOST,
    "a space before the colon": b"POST / HTTP/1.1\r\n%bContent-Length : 5\r\n\r\nhello" % HOST,
    "chunked not last": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n" % HOST,
    "chunked twice": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"
    % HOST,
    "chunked in HTTP/1.0": b"POST / HTTP/1.0\r\n%bTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" % HOST,
    "a chunk size that is no number": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\nxyz\r\n" % HOST,
    "a chunk longer than its size": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n"
    % HOST,
    "a chunk size with a sign": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n+1\r\na\r\n0\r\n\r\n" % HOST,
    "a chunk size beyond 64 bits": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n1ffffffffffffffff\r\na"
    % HOST,
    "chunks with bare line feeds": b"POST / HTTP/1.1\r\n%bTransfer-Encoding: chunked\r\n\r\n1\na\n0\n\n" % HOST,
    "bare line feeds": b"GET / HTTP/1.1\nHost: purser.test\n\n",
    "a bare carriage return": b"GET / HTTP/1.1\r\n%bX-A: a\rX-B: b\r\n\r\n" % HOST,
    "a NUL in a header": b"GET / HTTP/1.1\r\n%bX-A: a\0b\r\n\r\n" % HOST,
    "a header name with a space": b"GET / HTTP/1.1\r\n%bX A: b\r\n\r\n" % HOST,
    "a header without a colon": b"GET / HTTP/1.1\r\n%bnonsense\r\n\r\n" % HOST,
    "a header beyond ASCII": b"GET / HTTP/1.1\r\n%bX-\xff: b\r\n\r\n" % HOST,
    "a folded header": b"GET / HTTP/1.1\r\n%bX-A: a\r\n  b\r\n\r\n" % HOST,
    "no host": b"GET / HTTP/1.1\r\n\r\n",
    "two hosts": b"GET / HTTP/1.1\r\n" + HOST + HOST + b"\r\n",
    "no method": b" / HTTP/1.1\r\n%b\r\n" % HOST,
    "an unknown method": b"FETCH / HTTP/1.1\r\n%b\r\n" % HOST,
    "a small method": b"get / HTTP/1.1\r\n%b\r\n" % HOST,
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
    "noise": b"\xff\xfe\x00\x01\x02",
    "a space in the target": b"GET /a b HTTP/1.1\r\n%b\r\n" % HOST,
    "a target beyond ASCII": b"GET /caf\xc3\xa9 HTTP/1.1\r\n%b\r\n" % HOST,
    "a query beyond ASCII": b"GET /?q=\xe9 HTTP/1.1\r\n%b\r\n" % HOST,
    "a control byte in the target": b"GET /\x01 HTTP/1.1\r\n%b\r\n" % HOST,
    "a target without a slash": b"GET here HTTP/1.1\r\n%b\r\n" % HOST,
    "broken percent-encoding": b"GET /%%zz HTTP/1.1\r\n%b\r\n" % HOST,
    "cut percent-encoding": b"GET /a%%4 HTTP/1.1\r\n%b\r\n" % HOST,
    "a path that is no UTF-8": b"GET /%%ff%%fe HTTP/1.1\r\n%b\r\n" % HOST,
    "NUL in the path": b"GET /a%%00b HTTP/1.1\r\n%b\r\n" % HOST,
    "a fragment": b"GET /a#b HTTP/1.1\r\n%b\r\n" % HOST,
    "a foreign scheme": b"GET ftp://purser.test/a HTTP/1.1\r\n%b\r\n" % HOST,
    "a URL without a host": b"GET http:///a HTTP/1.1\r\n%b\r\n" % HOST,
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_requests_are_refused_once(echoing: Running, name: str) -> None:
    with echoing.peer() as peer:
        peer.send(MALFORMED[name] + SMUGGLED)
        reply = peer.reply()
        assert reply.status == 400, reply
        assert reply.headers["connection"] == "close"
        assert reply.error()["type"] == "invalid_request_error"
        assert peer.closed()
    still_answers(echoing)


@pytest.mark.parametrize(
    "request_, status",
    [
        (b"CONNECT purser.test:443 HTTP/1.1\r\n" + HOST + b"\r\n", 405),
        (b"GET / HTTP/2.0\r\n" + HOST + b"\r\n", 505),
        (b"GET /\r\n" + HOST + b"\r\n", 505),
        (b"GET / HTTP/0.9\r\n" + HOST + b"\r\n", 505),
        (b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    ],
)
def test_what_is_not_offered_is_refused(echoing: Running, request_: bytes, status: int) -> None:
    with echoing.peer() as peer:
        peer.send(request_)
        reply = peer.reply()
        assert reply.status == status
        assert reply.error()["code"]
        assert peer.closed()


def test_a_refusal_waits_for_the_answers_before_it() -> None:
    async def slow(exchange: Exchange) -> None:
        await asyncio.sleep(0.05)
        await echo(exchange)

    with serving(slow) as running, running.peer() as peer:
        peer.send(GET + MALFORMED["length and chunks"] + GET)
        assert peer.reply().status == 200
        assert peer.reply().status == 400
        assert peer.closed()


def test_absolute_and_asterisk_targets(echoing: Running) -> None:
    assert echoing.ask(b"GET http://purser.test/a?b HTTP/1.1\r\n" + HOST + b"\r\n").body == b"GET /a ?b 0 "
    assert echoing.ask(b"GET http://purser.test HTTP/1.1\r\n" + HOST + b"\r\n").body == b"GET / ? 0 "
    assert echoing.ask(b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n").body == b"OPTIONS * ? 0 "
    assert echoing.ask(b"GET /a/../%2e%2E/b?c?d HTTP/1.1\r\n" + HOST + b"\r\n").body == b"GET /a/../../b ?c?d 0 "


def test_the_hook_words_the_refusals() -> None:
    def refuse(status: int, code: str, message: str, target: bytes) -> tuple[list[tuple[bytes, bytes]], bytes]:
        return [(b"x-code", code.encode()), (b"x-target", target)], message.encode()

    with serving(echo, refuse=refuse) as running:
        reply = running.ask(b"nonsense\r\n\r\n")
        assert (reply.status, reply.headers["x-code"]) == (400, "malformed_request")
        assert reply.body == b"The request is not well-formed HTTP/1.1."
        reply = running.ask(b"GET /a/%?b HTTP/1.1\r\n" + HOST + b"\r\n")
        assert (reply.status, reply.headers["x-code"]) == (400, "malformed_target")
        assert reply.headers["x-target"] == "/a/%?b"


# Sizes


def test_a_body_over_the_limit() -> None:
    with serving(echo, limits=Limits(max_body_bytes=1000)) as running:
        assert running.ask(post(b"x" * 1000)).status == 200
        reply = running.ask(post(b"x" * 1001))
        assert (reply.status, reply.error()["code"]) == (413, "request_too_large")
        chunked = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n"
        assert running.ask(chunked + b"3e9\r\n" + b"x" * 1001 + b"\r\n0\r\n\r\n").status == 413
        assert running.ask(chunked + b"1\r\nx\r\n" * 1001 + b"0\r\n\r\n").status == 413
        assert running.ask(chunked + b"1\r\nx\r\n" * 1000 + b"0\r\n\r\n").status == 200


def test_a_refused_body_is_read_away_so_that_the_answer_arrives() -> None:
    with serving(echo, limits=Limits(max_body_bytes=1000)) as running, running.peer() as peer:
        peer.send(post(b"x" * 400_000))
        assert peer.reply().status == 413
        assert peer.closed()


@pytest.mark.parametrize(
    "part",
    [
        b"X-Large: " + b"x" * 70_000 + b"\r\n\r\n",
        b"X-Many: 1\r\n" * 7_000 + b"\r\n",
        b"X-Endless: " + b"x" * 200_000,
        b"X-Many: 1\r\n" * 20_000,
    ],
)
def test_a_head_over_the_limit(echoing: Running, part: bytes) -> None:
    with echoing.peer() as peer:
        peer.send(b"GET / HTTP/1.1\r\n" + HOST + part)
        reply = peer.reply()
        assert (reply.status, reply.error()["code"]) == (431, "headers_too_large")
        assert peer.closed()


def test_a_long_target_counts_too(echoing: Running) -> None:
    assert echoing.ask(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n").status == 431
    assert echoing.ask(b"GET /" + b"x" * 60_000 + b" HTTP/1.1\r\n" + HOST + b"\r\n").status == 200


def test_a_head_under_the_limit_behind_a_large_body(echoing: Running) -> None:
    large = b"GET / HTTP/1.1\r\n" + HOST + b"X-Large: " + b"x" * 60_000 + b"\r\n\r\n"
    with echoing.peer() as peer:
        peer.send(post(b"y" * 100_000) + large)
        assert peer.reply().status == 200
        assert peer.reply().status == 200


def test_trailers_are_bounded(echoing: Running) -> None:
    head = b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    assert echoing.ask(head + b"X-Trailer: " + b"x" * 200_000).status == 431


def test_more_connections_than_allowed() -> None:
    with serving(echo, limits=Limits(max_connections=2)) as running:
        with running.peer() as first, running.peer() as second:
            for peer in (first, second):
                peer.send(GET)
                assert peer.reply().status == 200
            with running.peer() as third:
                reply = third.reply()
                assert (reply.status, reply.error()["code"]) == (503, "too_many_connections")
                assert reply.headers["retry-after"] == "1"
                assert reply.headers["connection"] == "close"
                assert third.closed()
            assert running.server.connections == 2
        eventually(lambda: running.server.connections == 0)
        still_answers(running)


def test_a_connection_accepted_just_before_the_server_closes_is_told_so() -> None:
    with serving(echo) as running, running.peer() as peer:
        peer.send(GET)
        assert peer.reply().status == 200
        running.server.draining = True
        with running.peer() as late:
            late.send(GET)
            reply = late.reply()
            assert (reply.status, reply.error()["code"]) == (503, "shutting_down")
            assert reply.headers["retry-after"] == "1"
            assert late.closed()
        running.server.draining = False
        still_answers(running)


def test_a_flood_of_connections_is_dropped() -> None:
    with serving(echo, limits=Limits(max_connections=1)) as running, contextlib.ExitStack() as stack:
        peers = [stack.enter_context(running.peer()) for _ in range(60)]
        peers[0].send(GET)
        assert peers[0].reply().status == 200
        dropped = sum(not peer.rest() for peer in peers[30:])
        assert dropped


# Slow clients


def test_slow_headers() -> None:
    with serving(echo, limits=Limits(head_timeout_seconds=0.2)) as running, running.peer() as peer:
        stop = threading.Event()

        def drip() -> None:
            with contextlib.suppress(OSError):
                for byte in b"GET / HTTP/1.1\r\nHost: purser.test\r\nX-Slow: " + b"x" * 1000:
                    peer.send(bytes((byte,)))
                    if stop.wait(0.01):
                        return

        thread = threading.Thread(target=drip)
        thread.start()
        reply = peer.reply()
        stop.set()
        thread.join()
        assert (reply.status, reply.error()["code"]) == (408, "request_timeout")


def test_a_connection_that_says_nothing_is_closed_without_a_word() -> None:
    with serving(echo, limits=Limits(head_timeout_seconds=0.2)) as running, running.peer() as peer:
        assert peer.closed()


def test_a_body_without_progress() -> None:
    with serving(echo, limits=Limits(body_timeout_seconds=0.2)) as running, running.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\nabc")
        assert peer.reply().status == 408
        assert peer.closed()


def test_a_slow_body_that_makes_progress_is_awaited() -> None:
    limits = Limits(body_timeout_seconds=1.0, head_timeout_seconds=0.5)
    with serving(echo, limits=limits) as running, running.peer() as peer:
        peer.send(b"POST / HTTP/1.1\r\n" + HOST + b"Content-Length: 10\r\n\r\n")
        for byte in b"0123456789":
            time.sleep(0.15)
            peer.send(bytes((byte,)))
        assert peer.reply().body == b"POST / ? 10 0123456789"


def test_an_idle_connection_is_closed() -> None:
    limits = Limits(keep_alive_seconds=0.2)
    with serving(echo, limits=limits) as running, running.peer() as peer:
        peer.send(GET)
        assert peer.reply().status == 200
        assert peer.closed()


def test_a_long_answer_is_not_cut_by_the_timeouts_for_requests() -> None:
    async def late(exchange: Exchange) -> None:
        await asyncio.sleep(0.5)
        await echo(exchange)

    limits = Limits(head_timeout_seconds=0.1, body_timeout_seconds=0.1, keep_alive_seconds=0.1)
    with serving(late, limits=limits) as running:
        assert running.ask(GET).status == 200


# Hang-ups


class Watching:
    """An answerer that waits for its client to hang up."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.over = threading.Event()

    async def __call__(self, exchange: Exchange) -> None:
        if exchange.request.path != "/watch":
            await echo(exchange)
            return
        gone = asyncio.Event()
        exchange.on_gone(lambda: self.calls.append("first"))
        exchange.on_gone(gone.set)
        assert not exchange.gone
        exchange.start(200, [])
        exchange.write(b"begun")
        await gone.wait()
        assert exchange.gone
        exchange.on_gone(lambda: self.calls.append("late"))
        exchange.write(b"into the void")
        await exchange.drain()
        exchange.end()
        self.over.set()


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_hang_up_is_told_at_once(how: str) -> None:
    watching = Watching()
    with serving(watching) as running:
        peer = running.peer()
        peer.send(b"GET /watch HTTP/1.1\r\n" + HOST + b"\r\n")
        peer.until(b"begun")
        if how == "reset":
            peer.reset()
        else:
            peer.link.close()
        assert watching.over.wait(PATIENCE_SECONDS)
        assert watching.calls == ["first", "late"]
        eventually(lambda: running.server.running == 0 and running.server.connections == 0)
        still_answers(running)


def test_a_client_that_closes_only_its_sending_side_gets_its_answer() -> None:
    with serving(Watching()) as running, running.peer() as peer:
        peer.send(b"GET /watch HTTP/1.1\r\n" + HOST + b"\r\n")
        peer.until(b"begun")
        peer.link.shutdown(socket.SHUT_WR)
        assert peer.rest().endswith(b"into the void\r\n0\r\n\r\n")


def test_pipelined_requests_of_a_half_closed_client_are_answered(echoing: Running) -> None:
    with echoing.peer() as peer:
        peer.send(GET * 3)
        peer.link.shutdown(socket.SHUT_WR)
        for _ in range(3):
            assert peer.reply().status == 200
        assert peer.closed()


def test_a_client_that_leaves_within_a_request(echoing: Running) -> None:
    for part in (b"GET / HT", post(b"hello")[:-2]):
        peer = echoing.peer()
        peer.send(part)
        peer.link.shutdown(socket.SHUT_WR)
        assert peer.closed()
        peer.link.close()
    still_answers(echoing)


def test_no_hang_up_is_told_after_the_end() -> None:
    calls: list[str] = []

    async def answer(exchange: Exchange) -> None:
        exchange.on_gone(lambda: calls.append("gone"))
        await echo(exchange)
        exchange.on_gone(lambda: calls.append("late"))

    with serving(answer) as running:
        assert running.ask(GET).status == 200
        eventually(lambda: running.server.connections == 0)
    assert calls == []


def test_a_call_on_hang_up_that_fails_does_not_stop_the_others(caplog: pytest.LogCaptureFixture) -> None:
    called = threading.Event()

    def planted() -> None:
        raise RuntimeError("planted")

    async def answer(exchange: Exchange) -> None:
        exchange.on_gone(planted)
        exchange.on_gone(called.set)
        exchange.start(200, [])
        while not exchange.gone:
            await asyncio.sleep(0.01)

    with serving(answer) as running:
        with running.peer() as peer:
            peer.send(GET)
            peer.until(b"\r\n\r\n")
        assert called.wait(PATIENCE_SECONDS)
        eventually(lambda: running.server.running == 0)
    assert "a call on hang-up failed" in caplog.text


# Answerers that fail


async def faulty(exchange: Exchange) -> None:
    match exchange.request.path:
        case "/raise":
            raise RuntimeError("planted")
        case "/silent":
            return
        case "/begun":
            exchange.start(200, [])
            exchange.write(b"part")
            raise RuntimeError("planted")
        case "/short":
            exchange.start(200, [], length=10)
            exchange.end(b"part")
        case "/cut":
            exchange.start(200, [])
            exchange.write(b"part")
            exchange.abort()
            assert exchange.ended
        case "/long":
            exchange.start(200, [], length=3)
            exchange.write(b"more than that")
        case "/twice":
            exchange.start(200, [])
            exchange.start(200, [])
        case "/status":
            exchange.start(101, [])
        case "/early":
            exchange.write(b"before the start")
        case "/late":
            exchange.answer(200, [], b"done")
            exchange.end()
            with pytest.raises(RuntimeError):
                exchange.write(b"after the end")


@pytest.mark.parametrize("path", ["raise", "silent", "status", "early"])
def test_an_answerer_that_fails_before_it_starts_is_a_500(path: str, caplog: pytest.LogCaptureFixture) -> None:
    with serving(faulty) as running, running.peer() as peer:
        for _ in range(2):
            peer.send(b"GET /%b HTTP/1.1\r\n%b\r\n" % (path.encode(), HOST))
            reply = peer.reply()
            assert (reply.status, reply.error()["type"]) == (500, "server_error")
            assert "planted" not in reply.body.decode()
    assert [record.name for record in caplog.records if record.levelno == logging.ERROR] == ["purser.http"] * 2


@pytest.mark.parametrize("path", ["begun", "cut", "short", "long", "twice"])
def test_an_answer_that_breaks_off_looks_broken(path: str) -> None:
    with serving(faulty) as running, running.peer() as peer:
        peer.send(b"GET /%b HTTP/1.1\r\n%b\r\n" % (path.encode(), HOST))
        _, headers = peer.head()
        body = peer.rest()
        if "content-length" in headers:
            assert len(body) < int(headers["content-length"])
        else:
            assert not body.endswith(b"0\r\n\r\n")
        if path in ("begun", "cut"):
            assert b"part" in body


def test_a_broken_answer_to_http_1_0_is_a_reset() -> None:
    with serving(faulty) as running, running.peer() as peer:
        peer.send(b"GET /cut HTTP/1.0\r\n\r\n")
        looked_whole = False
        with contextlib.suppress(ConnectionResetError):
            while peer.link.recv(65536):
                pass
            looked_whole = True
        assert not looked_whole


def test_writing_after_the_end_is_a_mistake_and_ending_twice_is_not(caplog: pytest.LogCaptureFixture) -> None:
    with serving(faulty) as running:
        assert running.ask(b"GET /late HTTP/1.1\r\n" + HOST + b"\r\n").body == b"done"
        eventually(lambda: running.server.running == 0)
    assert not caplog.records


# Headers we send


@pytest.mark.parametrize(
    "header",
    [
        (b"x-a", b"one\r\nset-cookie: two"),
        (b"x-a", b"one\ntwo"),
        (b"x-a", b"one\rtwo"),
        (b"x-a", b"one\0two"),
        (b"x-a\r\nx-b", b"one"),
        (b"x a", b"one"),
        (b"x-a:", b"one"),
        (b"", b"one"),
        (b"x-\xe9", b"one"),
    ],
)
def test_a_header_cannot_break_out_of_its_line(header: tuple[bytes, bytes]) -> None:
    said: list[type[Exception]] = []

    async def answer(exchange: Exchange) -> None:
        try:
            exchange.start(200, [(b"x-fine", b"caf\xe9"), header])
        except ValueError as error:
            said.append(type(error))
            exchange.answer(200, [], b"refused")

    with serving(answer) as running:
        assert running.ask(GET).body == b"refused"
    assert said == [ValueError]


def test_framing_headers_of_another_connection_are_left_out() -> None:
    async def answer(exchange: Exchange) -> None:
        others = [(b"Transfer-Encoding", b"chunked"), (b"content-length", b"99"), (b"Connection", b"close")]
        exchange.answer(200, [*others, (b"Keep-Alive", b"1"), (b"date", b"never"), (b"X-Kept", b"1")], b"abc")

    with serving(answer) as running, running.peer() as peer:
        for _ in range(2):
            peer.send(GET)
            first, headers = peer.head()
            assert first == "HTTP/1.1 200 OK"
            assert set(headers) == {"date", "content-length", "x-kept"}
            assert peer.take(3) == b"abc"


def test_statuses_without_a_name() -> None:
    async def answer(exchange: Exchange) -> None:
        exchange.answer(529, [], b"")

    with serving(answer) as running:
        assert running.ask(GET).status == 529


def test_the_known_names_are_bounded() -> None:
    for n in range(3000):
        head_bytes(b"", [(b"x-%d" % n, b"v")], b"", 0)
        split_target(b"/%d" % n)
    from purser.http import head

    assert len(head._begins) <= 1024
    assert len(head._targets) <= 512


# Closing


def test_closing_ends_idle_connections_and_lets_running_exchanges_end() -> None:
    go_on = threading.Event()

    async def slow(exchange: Exchange) -> None:
        while exchange.request.path == "/slow" and not go_on.is_set():
            await asyncio.sleep(0.01)
        await echo(exchange)

    with serving(slow) as running, running.peer() as busy, running.peer() as idle:
        idle.send(GET)
        assert idle.reply().status == 200
        busy.send(b"GET /slow HTTP/1.1\r\n" + HOST + b"\r\n")
        eventually(lambda: running.server.running == 1)
        closing = asyncio.run_coroutine_threadsafe(running.server.close(PATIENCE_SECONDS * 10), running.loop)
        assert idle.closed()
        assert running.server.running == 1
        with pytest.raises(ConnectionRefusedError):
            running.peer()
        go_on.set()
        reply = busy.reply()
        assert (reply.status, reply.headers["connection"]) == (200, "close")
        assert busy.closed()
        closing.result(PATIENCE_SECONDS)


def test_closing_cuts_what_outlives_the_grace() -> None:
    ended: list[str] = []

    async def endless(exchange: Exchange) -> None:
        exchange.start(200, [])
        exchange.on_gone(lambda: ended.append("gone"))
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    with serving(endless) as running, running.peer() as peer:
        peer.send(GET)
        peer.until(b"\r\n\r\n")
        running.call(running.server.close(grace_seconds=0.1))
        assert peer.closed()
    assert ended == ["gone", "cancelled"]


def test_serving_on_a_given_socket() -> None:
    async def work() -> None:
        from purser.http.server import Server

        given = socket.create_server(("127.0.0.1", 0))
        server = Server(echo)
        await server.start(sockets=[given])
        assert server.port == given.getsockname()[1]
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(GET)
        assert (await reader.readline()) == b"HTTP/1.1 200 OK\r\n"
        writer.close()
        await server.close(grace_seconds=1)

    asyncio.run(work())


def test_it_runs_on_the_standard_loop_as_well() -> None:
    async def work() -> None:
        from purser.http.server import Server

        server = Server(stream)
        await server.start()
        loop = asyncio.get_running_loop()

        def ask() -> bytes:
            with Peer(socket.create_connection(("127.0.0.1", server.port))) as peer:
                peer.send(GET)
                return peer.reply().body

        assert await loop.run_in_executor(None, ask) == STREAMED
        await server.close(grace_seconds=1)

    asyncio.run(work())
