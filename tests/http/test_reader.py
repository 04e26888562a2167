"""The parsing side alone: how the bytes are cut and what noise is among them changes nothing that matters."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from purser.http.exchange import Request
from purser.http.limits import Limits
from purser.http.reader import RequestReader
from purser.http.room import Room

HOST = b"Host: purser.test\r\n"
MESSAGES = [
    b"GET /a?b HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /b HTTP/1.1\r\n" + HOST + b"Content-Length: 5\r\n\r\nhello",
    b"POST /c HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n",
    b"POST /d HTTP/1.1\r\n" + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\n{}",
    b"\r\nHEAD /e HTTP/1.1\r\n" + HOST + b"X-Name: caf\xe9\r\n\r\n",
]
NAMES = {b"host", b"content-length", b"transfer-encoding", b"connection", b"x-name"}


def read(pieces: list[bytes], limits: Limits) -> tuple[list[Request], tuple[int, str, str] | None]:
    reader = RequestReader(limits, "127.0.0.1", Room(10**9))
    for piece in pieces:
        at = 0
        while at < len(piece):
            at += reader.feed(piece[at : at + 16 * 1024])
    return list(reader.requests), reader.refused


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@given(st.lists(st.sampled_from(MESSAGES), max_size=8), st.lists(st.integers(0, 10_000), max_size=20))
def test_where_the_bytes_are_cut_does_not_matter(messages: list[bytes], places: list[int]) -> None:
    data = b"".join(messages)
    requests, refused = read(cut(data, places), Limits())
    whole, _ = read([data], Limits())
    assert refused is None
    assert len(requests) == len(messages)
    for one, other in zip(requests, whole, strict=True):
        assert (one.method, one.path, one.query) == (other.method, other.path, other.query)
        assert (one.headers, one.body) == (other.headers, other.body)
        assert {name for name, _ in one.headers} <= NAMES


@given(
    st.sampled_from(MESSAGES),
    st.integers(0, 200),
    st.binary(max_size=6),
    st.integers(0, 6),
    st.lists(st.integers(0, 10_000), max_size=5),
)
def test_noise_is_parsed_or_refused_but_never_raises(
    message: bytes, place: int, noise: bytes, dropped: int, places: list[int]
) -> None:
    data = message[:place] + noise + message[place + dropped :] + MESSAGES[0]
    requests, refused = read(cut(data, places), Limits(max_head_bytes=200, max_body_bytes=100))
    assert len(requests) <= 4
    assert refused is None or 400 <= refused[0] < 600
    for request in requests:
        assert len(request.body) <= 100
        assert all(name == name.lower() for name, _ in request.headers)
