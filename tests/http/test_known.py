"""Heads that come again: whatever is known of them, messages are read as they are parsed."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from purser.http.client import Origin, UpstreamError
from purser.http.exchange import Request
from purser.http.known import KnownHead, know
from purser.http.limits import Limits
from purser.http.reader import RequestReader
from purser.http.room import SMALL_BYTES, Room
from tests.http.rig import Peer, echo, run, serving, upstream

HEADS = [
    b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: %b\r\nX-Name: caf\xe9\r\n\r\n",
    b"POST /a HTTP/1.1\r\ncontent-length:%b\r\nHost: here\r\n\r\n",
    b"PUT /b?c HTTP/1.1\r\nHost: here\r\nX-Name: 1\r\nCONTENT-LENGTH: \t%b \r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: %b\r\nX-Name: caf\xe8\r\n\r\n",
]
# Heads of which a second message may have to be read otherwise.
ODD = [
    b"\r\nPOST /a HTTP/1.1\r\nHost: here\r\nContent-Length: %b\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: %b\r\nContent-Length: 1\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: here\r\nX-Is: \r\n\tContent-Length: 7\r\nContent-Length: %b\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: %b\r\nExpect: 100-continue\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: %b\r\nConnection: close\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: here\r\nContent-Length: %b\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    b"POST /a HTTP/1.0\r\nHost: here\r\nContent-Length: %b\r\nConnection: keep-alive\r\n\r\n",
    b"POST /a HTTP/1.1\r\nHost: here\r\nTransfer-Encoding: chunked\r\nX-Content-Length: %b\r\n\r\n",
]
SIZES = [b"%d", b"%d", b"%d", b"%d", b"0%d", b"+%d", b"%d ", b"-%d", b"%dx", b"%d,%d", b"999999999%d"]
TRAPS = [b"\r\n\r\n", b"0\r\n\r\n", HEADS[1] % b"2" + b"hi", b"x" * 400]
BODIES = st.one_of(st.binary(max_size=12), st.sampled_from(TRAPS))


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """A message: mostly one of a few heads over and over, its body as long as the head says, or not quite."""
    head, body = draw(st.sampled_from(HEADS + HEADS + ODD)), draw(BODIES)
    spelt = draw(st.sampled_from(SIZES))
    length = len(body) + draw(st.sampled_from([0, 0, 0, 0, 0, 1, -1]))
    return head % (spelt % ((length,) * spelt.count(b"%d"))) + body


Read = tuple[list[tuple[str, str, list[tuple[bytes, bytes]], bytes]], tuple[int, str, str] | None, bool]


def taken(requests: list[Request], reader: RequestReader) -> Read:
    said = [(request.method, request.path, request.headers, request.body) for request in requests]
    return said, reader.refused, reader.over


def parsed(pieces: list[bytes], limits: Limits) -> Read:
    """What the parser alone makes of it."""
    reader = RequestReader(limits, "here", Room(10**9))
    for piece in pieces:
        reader.feed(piece)
    return taken(list(reader.requests), reader)


def recognised(pieces: list[bytes], limits: Limits) -> tuple[Read, int]:
    """What a connection makes of it that knows the head of the request before; and how many it did not parse."""
    reader = RequestReader(limits, "here", Room(10**9))
    requests: list[Request] = []
    known = 0
    for piece in pieces:
        data = reader.let_go() + piece if reader.held else piece
        request = reader.take_known(data)
        if request is not None:
            requests.append(request)
            known += 1
        elif not reader.held:
            reader.feed(data)
        requests += reader.requests
        reader.requests.clear()
    if reader.held:
        reader.feed(reader.let_go())
        requests += reader.requests
    return taken(requests, reader), known


@given(st.lists(messages(), min_size=1, max_size=8), st.lists(st.integers(0, 5_000), max_size=6), st.booleans())
@example([HEADS[0] % b"2" + b"hi", HEADS[0] % b"3" + b"you", HEADS[0] % b"3" + b"yo", b"u"], [], False)
def test_requests_are_read_as_they_are_parsed(sent: list[bytes], places: list[int], by_message: bool) -> None:
    data = b"".join(sent)
    edges = [0, *itertools.accumulate(map(len, sent))] if by_message else [0, len(data)]
    edges = sorted({*edges, *(place % (len(data) + 1) for place in places)})
    pieces = [data[start:end] for start, end in itertools.pairwise(edges) if start < end]
    found, _ = recognised(pieces, Limits())
    assert found == parsed(pieces, Limits())


def test_a_head_that_comes_again_is_not_parsed_again() -> None:
    whole = [HEADS[0] % b"%d" % len(body) + body for body in (b"hi", b"you", b"\r\n\r\n", b"", b"x" * 1000)]
    assert recognised(whole, Limits())[1] == len(whole) - 1
    in_two = [piece for each in (whole[1], whole[2], whole[4]) for piece in (each[:-1], each[-1:])]
    assert recognised([whole[0], *in_two], Limits())[1] == 3
    assert recognised([*whole, HEADS[3] % b"2" + b"hi", whole[0], whole[0]], Limits())[1] == len(whole)


@pytest.mark.parametrize("head", ODD)
def test_an_odd_head_is_not_known(head: bytes) -> None:
    sent = head % b"2" + b"hi"
    assert recognised([sent, sent, sent], Limits())[1] == 0


def test_what_is_too_large_is_refused_as_ever() -> None:
    small = Limits(max_body_bytes=100)
    first, second = HEADS[0] % b"2" + b"hi", HEADS[0] % b"101" + b"x" * 101
    found, _ = recognised([first, second], small)
    assert found == parsed([first, second], small)
    assert found[1] is not None
    assert found[1][0] == 413
    large = HEADS[0] % b"%d" % (SMALL_BYTES + 1) + b"x" * (SMALL_BYTES + 1)
    assert recognised([first, large], Limits())[1] == 0, "its body takes its place in the room"


def test_a_known_head_needs_its_lines_to_end_as_the_parser_saw_them() -> None:
    fields = [(b"host", b"here"), (b"content-length", b"2")]
    assert isinstance(know(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\n\r\nhi", fields), KnownHead)
    assert know(b"POST / HTTP/1.1\nhost: here\r\ncontent-length: 2\r\n\r\nhi", fields) is None
    assert know(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\n\nhi\r\n\r\n", fields) is None
    assert know(b"POST / HTTP/1.1\r\nhost: here\r\n", fields) is None
    assert (
        know(b"POST / HTTP/1.1\r\nhost: here\r\ncontent-length: 2\r\nx: " + b"y" * 5000 + b"\r\n\r\n", fields) is None
    )


def test_answers_on_one_connection_are_each_the_requests_own() -> None:
    bodies = [b"a", b"bcd", b"", b"\r\n\r\n", b"x" * 70_000, b"ef"]
    with serving(echo) as server, server.peer() as peer:
        for body in bodies:
            peer.send(HEADS[0] % b"%d" % len(body) + body)
            assert peer.reply().body == b"POST /a ? %d " % len(body) + body
        together = b"".join(HEADS[0] % b"%d" % len(body) + body for body in bodies)
        peer.send(together)
        for body in bodies:
            assert peer.reply().body == b"POST /a ? %d " % len(body) + body


# ── answers ──────────────────────────────────────────────────────────────────────────────────────────────────────
JSON = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\nX-Name: one\r\n\r\n%b"


Say = Callable[[Peer], None]


def pieces(*sent: bytes) -> Say:
    """Sends pieces, each by itself."""

    def say(peer: Peer) -> None:
        for n, piece in enumerate(sent):
            if n:
                time.sleep(0.03)
            peer.send(piece)

    return say


def then_closes(*sent: bytes) -> Say:
    """Sends pieces and hangs up."""

    def say(peer: Peer) -> None:
        pieces(*sent)(peer)
        peer.link.close()

    return say


def answers(said: list[Say], *, knowing: bool) -> tuple[list[object], int, int]:
    """What an origin tells of answers that come one after the other, how many it knew, and its connections."""
    told: list[object] = []
    known = 0

    def script(peer: Peer) -> None:
        while said:
            try:
                peer.request()
            except (AssertionError, OSError):
                return  # the connection has been given up
            said.pop(0)(peer)

    async def work(url: str) -> None:
        nonlocal known
        origin = Origin(url)
        for _ in range(len(said)):
            if not knowing:
                origin.known = None
            try:
                answer = await origin.open("POST", "/", [], b"{}", timeout_seconds=0.4)
                told.append((answer.status, answer.headers))
                known += answer.was_known
                told.append(await answer.read(10**6))
            except UpstreamError as error:
                told.append((type(error), str(error)))
        await origin.close()

    with upstream(script) as up:
        run(work(up.url))
        return told, known, up.accepted


FIRST = pieces(JSON % (2, b"{}"))
AGAIN = JSON % (9, b'{"a":"b"}')
EVENTS = JSON.replace(b"application/json", b"text/event-stream") % (12, b"data: 1\n\ndat")


@pytest.mark.parametrize(
    ("said", "known"),
    [
        ([FIRST, pieces(AGAIN), pieces(JSON % (0, b"")), pieces(JSON % (3, b"\r\n\r")), FIRST], 4),
        ([FIRST, pieces(AGAIN[:-5], AGAIN[-5:]), pieces(AGAIN[:-9], AGAIN[-9:-4], AGAIN[-4:])], 2),
        ([pieces((JSON % (2, b"{}"))[:-2], b"{}"), pieces(AGAIN)], 1),
        ([FIRST, pieces(AGAIN[:20], AGAIN[20:]), pieces(AGAIN)], 1),
        ([FIRST, pieces(JSON % (70_000, b"x" * 70_000)), pieces(AGAIN)], 1),
        ([FIRST, pieces(AGAIN + b"more"), FIRST], 1),
        ([FIRST, then_closes(AGAIN[:-5]), FIRST], 1),
        ([FIRST, then_closes(AGAIN[:-9]), FIRST], 1),
        ([FIRST, then_closes(AGAIN[:20]), FIRST], 1),
        ([FIRST, pieces(AGAIN[:-5]), FIRST], 1),  # and then is silent
        ([FIRST, pieces(AGAIN.replace(b"200 OK", b"404 No")), pieces(AGAIN.replace(b"one", b"two"))], 0),
        ([FIRST, pieces(b"HTTP/1.1 100 Continue\r\n\r\n" + AGAIN), pieces(AGAIN)], 1),
        ([pieces(AGAIN.replace(b"X-Name: one", b"Connection: close"))] * 2, 0),
        ([pieces(EVENTS)] * 3, 0),
        ([pieces(AGAIN.replace(b"X-Name", b"Content-Length"))] * 2, 0),
    ],
)
def test_answers_are_read_as_they_are_parsed(said: list[Say], known: int) -> None:
    parsed, none, fresh = answers([*said], knowing=False)
    found, some, connections = answers([*said], knowing=True)
    assert found == parsed
    assert connections == fresh
    assert (none, some) == (0, known)
