"""Events told by their bytes: what is answered, held and billed is as if each had been read."""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purser.core.policy import Policy
from purser.core.usage import Measured
from purser.gateway import streaming, streams
from purser.gateway.alike import are_words, forward_alike
from purser.gateway.streams import Tally, Wanted, read_event, read_plain
from purser.http.wire import Wire
from tests.gateway.rig import POLICY, Rig, model, running
from tests.gateway.upstreams import keeping, one_by_one

pytestmark = pytest.mark.once  # what differs here is the bytes of streams; it is kept like any other

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
NANOS = 800  # what a token costs
VARYING = re.compile(rb"req_[0-9a-z-]+|date: [^\r]*|(x-ratelimit-remaining-requests: |ratelimit: .requests.;r=)\d+")


def frame(data: bytes) -> bytes:
    """Bytes as one chunk of the chunked coding."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(delta: bytes, end: bytes = b"", head: bytes = b'"created":5,"model":"tiny"', index: int = 0) -> bytes:
    """An event as an engine sends it."""
    choice = b'{"index":%d,"delta":{%b},"finish_reason":null}' % (index, delta)
    return b'data: {"id":"c",%b,"choices":[%b]%b}\n\n' % (head, choice, end)


def word(text: bytes, **more: Any) -> bytes:
    """An event with some words."""
    return event(b'"content":"%b"' % text, **more)


ROLE = event(b'"role":"assistant","content":""')
STOP = b'data: {"id":"c","created":5,"model":"tiny","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"id":"c","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":3}}\n\n'
DONE = b"data: [DONE]\n\n"
WANTED = Wanted("tiny", False, False)


# ── the words ────────────────────────────────────────────────────────────────────────────────────────────────────
def decoded(words: bytes) -> Any:
    """What a JSON string says; None where it is none."""
    try:
        return msgspec.json.decode(b'"%b"' % words)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def test_words_are_those_that_a_json_string_may_hold() -> None:
    ones = [bytes([one]) for one in range(256)]
    twos = [one + other for one in ones for other in ones]
    more = [two + b"\x80" for two in twos] + [two + b"\xbf\x80" for two in twos] + [two + b"\xbf" * 3 for two in twos]
    taken = 0
    for words in [b"", *ones, *twos, *more]:
        if are_words(words) is not None:
            taken += 1
            assert decoded(words), words
        elif words.isascii():
            assert not decoded(words) or b"\x7f" in words, words
        else:
            assert decoded(words) is None or b"\x7f" in words, words
    assert taken > 10_000


def test_words_of_many_bytes_that_do_not_end_well_are_found_out_at_once() -> None:
    assert are_words(b"a" * 1_000_000) is not None
    assert are_words(b"a" * 1_000_000 + b"\\") is None
    assert are_words(b"\\n" * 500_000 + b'"') is None


# ── one event beside another ─────────────────────────────────────────────────────────────────────────────────────
TEMPLATES = [  # @: the words
    word(b"@"),
    word(b"@", end=b',"usage":null'),
    event(b'"content":null,"reasoning_content":"@"'),
    event(b'"content": "@", "x":"content"'),
    event(b'"content":"@","logprobs":{"content":[{"token":"@"}]}'),
    event(b'"content":"a","content":"@"'),
    event(b'"a\\"content":"@","content":"b"'),
    b'data: {"choices":[{"text":"@","index":0,"finish_reason":null}],"model":"tiny"}\n\n',
    b'data: {"choices":[{"text":"@","index":0}],"model":"tiny","service_tier":null}\n\n',
]
COUNTS = b',"usage":{"prompt_tokens":9,"completion_tokens":#}'  # #: more and more
COUNTED = [  # the same with running usage
    word(b"@", end=COUNTS),
    word(b"@", end=b',"usage":{"completion_tokens":#,"prompt_tokens_details":{"cached_tokens":4}}'),
    event(b'"content": "@"', end=b',"x":{"usage":{}}' + COUNTS),
    event(b'"reasoning":"@"', end=b',"error":null' + COUNTS),
    b'data: {"choices":[{"index":0,"text":"@"}],"model":"tiny"%b}\n\n' % COUNTS,
]
words_sent = st.one_of(
    st.sampled_from(
        [b"", b"a", b" owed", b"\xc3\xa9", b"\\n", b"\\u0041", b'"', b"\\", b"\n", b'","x":"', b"\xff", b"0"]
    ),
    st.binary(max_size=20),
    st.text(max_size=20).map(lambda text: json.dumps(text, ensure_ascii=False).encode("utf-8", "replace")[1:-1]),
)
places = st.integers(0, 400)
CHANGES: list[Callable[[bytes, int, bytes], bytes]] = [
    lambda data, _at, _some: data,
    lambda data, at, some: data[:at] + some + data[at:],
    lambda data, at, some: data[:at] + some + data[at + len(some) :],
    lambda data, at, _some: data[:at],
    lambda data, at, _some: data[at:],
    lambda data, _at, some: data + some,
    lambda data, _at, some: some + data,
    lambda data, _at, _some: data + data,
    lambda data, _at, _some: data.upper()[:3] + data[3:],
    lambda data, _at, _some: b"0" + data,
]


def opened(template: bytes) -> tuple[bytes, bytes, Tally]:
    """An event of this template, what of it is passed on, and the tally after it."""
    tally = Tally(80, 1, calm_below=50)
    counts = COUNTS.replace(b"#", b"0") if b"#" in template else b""
    read_event(event(b'"role":"assistant","content":""', end=counts), tally, WANTED)
    first = template.replace(b"@", b"so").replace(b"#", b"1")
    passed = read_plain(first, tally, WANTED)
    assert passed is not None
    return first, passed, tally


def alike(template: bytes, sent: list[bytes]) -> tuple[Any, Tally]:
    """What passes on events like this template, and the tally that it counts in."""
    first, passed, tally = opened(template)
    forward = forward_alike(first, passed, tally, SimpleNamespace(forward=sent.append))  # type: ignore[arg-type]
    assert forward is not None
    return forward, tally


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from(TEMPLATES + COUNTED),
    words_sent,
    st.sampled_from(
        [b"1", b"2", b"2", b"3", b"0", b"-1", b"2.0", b"true", b"49", b"60", b'{"a":1}', b'2,"usage":{}', b"\n2"]
    ),
    st.sampled_from(CHANGES),
    places,
    st.binary(max_size=3),
    st.booleans(),
)
def test_what_is_told_by_its_bytes_would_be_read_the_same(
    template: bytes, words: bytes, count: bytes, change: Any, at: int, some: bytes, inside: bool
) -> None:
    sent: list[bytes] = []
    forward, tally = alike(template, sent)
    like = template.replace(b"@", words).replace(b"#", count)
    data = frame(change(like, at % len(like), some)) if inside else change(frame(like), at % len(like), some)
    other, before = deepcopy(tally), deepcopy(tally)
    if not forward(data):
        assert (tally, sent) == (before, [])
        return
    body = data[data.index(b"\r\n") + 2 : -2]
    assert data == frame(body)
    passed = read_plain(body, other, WANTED, other.calm_below)
    assert passed is not None
    assert sent == [frame(passed)]
    assert ends_of(other) == ends_of(tally)
    other.last = tally.last
    assert other == tally


def ends_of(tally: Tally) -> list[bytes]:
    """What a stream that ends here is told."""
    used = Measured({}, estimated=False)
    return [streams.cut_events(tally, "tiny"), streams.usage_event(tally, "tiny", used, "1")]


@pytest.mark.parametrize("template", [*TEMPLATES[:4], *TEMPLATES[6:], *COUNTED])
@pytest.mark.parametrize("words", [b"a", b" owed", b"\\n", b"\xc3\xa9"])
def test_an_event_with_other_words_is_told(template: bytes, words: bytes) -> None:
    sent: list[bytes] = []
    forward, tally = alike(template, sent)
    assert forward(frame(template.replace(b"@", words).replace(b"#", b"3")))
    assert (tally.deltas, tally.counted) == (2, 3 if b"#" in template else 0)
    assert b"completion_tokens" not in sent[0]


def test_an_event_without_plain_words_is_like_no_other() -> None:
    for one in (word(b""), word(b"\\u0041"), event(b'"refusal":"no"'), event(b'"content":["a"]')):
        assert forward_alike(one, one, Tally(80), SimpleNamespace()) is None  # type: ignore[arg-type]


@pytest.mark.parametrize("template", [TEMPLATES[0], COUNTED[0]])
def test_nothing_is_told_beyond_what_is_held_or_while_the_client_does_not_keep_up(template: bytes) -> None:
    sent: list[bytes] = []
    first, passed, tally = opened(template)
    exchange = SimpleNamespace(forward=sent.append)
    forward = forward_alike(first, passed, tally, exchange)  # type: ignore[arg-type]
    assert forward is not None
    tally.calm_below = 3
    assert [forward(frame(first)) for _ in range(3)] == [True, False, False]
    tally.calm_below, exchange.forward = 50, None
    assert not forward(frame(first))
    assert (tally.deltas, len(sent)) == (2, 1)


def test_running_counts_are_held_for_too() -> None:
    sent: list[bytes] = []
    forward, tally = alike(COUNTED[0], sent)
    more = [frame(COUNTED[0].replace(b"@", b"so").replace(b"#", b"%d" % count)) for count in (2, 49, 50, 48, 49)]
    assert [forward(one) for one in more] == [True, True, False, False, True]
    assert (tally.deltas, tally.counted, tally.running, len(sent)) == (4, 49, {0: 49}, 3)


@pytest.mark.parametrize("count", [b'2,"usage":{}', b"2\n", b"\n2", b"true", b"2.0", b"0", b"", b"2}"])
def test_odd_running_usage_is_read(count: bytes) -> None:
    sent: list[bytes] = []
    forward, tally = alike(COUNTED[0], sent)
    before = deepcopy(tally)
    assert not forward(frame(COUNTED[0].replace(b"@", b"so").replace(b"#", count)))
    assert (tally, sent) == (before, [])


# ── whole streams, both ways ─────────────────────────────────────────────────────────────────────────────────────
W = [frame(word(text)) for text in (b"All", b" that", b" is", b" owed", b"!")]
BEGIN, FINISH = [frame(ROLE)], [frame(STOP), frame(USAGE), frame(DONE) + END]


def counts(count: bytes) -> bytes:
    """An event with running usage."""
    return frame(word(b"x", end=COUNTS.replace(b"#", count)))


def counted(first: int, beyond: int) -> list[bytes]:
    """Events with running usage, from one count to another."""
    return [counts(b"%d" % n) for n in range(first, beyond)]


COUNTS_ASKED = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}
COUNTED_BEGIN = [frame(event(b'"role":"assistant","content":""', end=COUNTS.replace(b"#", b"0"))), *counted(1, 3)]
# Each piece comes by itself.
STREAMS: dict[str, list[bytes]] = {
    "like most": [*BEGIN, *W, *FINISH],
    "several events in a chunk": [*BEGIN, *W, frame(word(b"a") + word(b"b")), *W, *FINISH],
    "several chunks in a piece": [*BEGIN, *W, W[0] + W[1], *W, W[0] + W[1] + W[2][:5], W[2][5:], *W, *FINISH],
    "an event in two chunks": [*BEGIN, *W, frame(word(b"a")[:60]), frame(word(b"a")[60:]), *W, *FINISH],
    "a chunk in many pieces": [*BEGIN, *W, *(bytes([one]) for one in W[0]), *W, *FINISH],
    "a size in two pieces": [*BEGIN, *W, W[0] + W[1][:1], W[1][1:], *W, *FINISH],
    "a chunk within a chunk": [*BEGIN, *W, b"%x\r\n" % len(W[0]), W[0], b"\r\n", *W, *FINISH],
    "escapes and other scripts": [
        *BEGIN,
        *W,
        *(frame(word(text)) for text in (b'\\n\\"', b"\xc3\xa9", b"\\u00e9", b"\xf0\x9f\x98\x80", b"\x7f")),
        *FINISH,
    ],
    "no UTF-8": [*BEGIN, *W, frame(word(b"\xff")), *W],
    "a control character": [*BEGIN, *W, frame(word(b"\x01")), *W],
    "a surrogate": [*BEGIN, *W, frame(word(b"\xed\xa0\x80")), *W],
    "no words for a while": [*BEGIN, *W, frame(word(b"")), frame(word(b"")), *W, *FINISH],
    "words that count nothing": [
        *BEGIN,
        *W,
        *(frame(event(b'"content":""', end=b',"x":{"content":"%d"}' % n)) for n in range(4)),
        *W,
        frame(STOP),
        frame(DONE) + END,
    ],
    "comments": [*BEGIN, *W, frame(b": still here\n\n"), *W, frame(b": and here\n\n") + W[0], *W, *FINISH],
    "reasoning first": [*BEGIN, *(frame(event(b'"reasoning_content":"%d"' % n)) for n in range(4)), *W, *FINISH],
    "another time": [*BEGIN, *W, *(frame(word(b"x", head=b'"created":6,"model":"tiny"')) for _ in "abc"), *W, *FINISH],
    "another name": [*BEGIN, *W, *(frame(word(b"x", head=b'"created":6,"model":"y"')) for _ in "abc"), *W, *FINISH],
    "another tier": [*BEGIN, *W, *(frame(word(b"x", end=b',"service_tier":"flex"')) for _ in "abc"), *W, *FINISH],
    "another choice": [*BEGIN, *W, *(frame(word(b"x", index=1)) for _ in "abc"), *W, *FINISH],
    "a third choice": [*BEGIN, *W, frame(word(b"x", index=1)), frame(word(b"x", index=2)), *W, *FINISH],
    "running usage": [
        *BEGIN,
        *W,
        *(frame(word(b"x", end=b',"usage":{"prompt_tokens":9,"completion_tokens":%d}' % n)) for n in range(7, 12)),
        *W,
        *FINISH,
    ],
    "running usage from the start": [*COUNTED_BEGIN, *counted(3, 9), *FINISH],
    "running usage that ends": [*COUNTED_BEGIN, *counted(3, 9), *W, *counted(9, 12), *FINISH],
    "running usage that goes back": [*COUNTED_BEGIN, *counted(3, 9), *counted(4, 6), *counted(9, 12), *FINISH],
    "running usage in odd shapes": [
        *COUNTED_BEGIN,
        *(
            one
            for odd in (b"true", b"9.5", b'9,"usage":{"a":1}', b"9\n", b"{}")
            for one in (*counted(3, 6), counts(odd))
        ),
        *counted(9, 12),
        *FINISH,
    ],
    "running usage, several chunks in a piece": [
        *COUNTED_BEGIN,
        *counted(3, 6),
        b"".join(counted(6, 9)),
        b"".join(counted(9, 12)) + counts(b"12")[:20],
        counts(b"12")[20:],
        *FINISH,
    ],
    "usage that is null": [*BEGIN, *(frame(word(b"x", end=b',"usage":null')) for _ in "abcd"), *FINISH],
    "words after the finish": [*BEGIN, *W, frame(STOP), *W, *FINISH],
    "words after the end": [*BEGIN, *W, frame(STOP), frame(USAGE), frame(DONE), *W, END],
    "an error": [*BEGIN, *W, frame(b'data: {"error":{"message":"out of memory"}}\n\n'), *W, *FINISH],
    "no JSON": [*BEGIN, *W, frame(b"data: {,}\n\n"), *W, *FINISH],
    "no end": [*BEGIN, *W, END],
    "no usage": [*BEGIN, *W, frame(STOP), frame(DONE) + END],
    "an end within an event": [*BEGIN, *W, frame(word(b"a")[:60]), END],
    "large sizes": [*BEGIN, *W, *(frame(word(b"x" * n)) for n in (4_000, 70_000, 4_000)), *W, *FINISH],
    "sizes in capitals": [*BEGIN, *(one[:2].upper() + one[2:] for one in W), *W, *FINISH],
    "sizes with a nought": [*BEGIN, *W, *(b"0" + one for one in W), *W, *FINISH],
    "sizes that are too small": [*BEGIN, *W, b"70\r\n" + W[0].split(b"\r\n", 1)[1], *W, *FINISH],
    "sizes that are too large": [*BEGIN, *W, b"%x\r\n" % (len(W[0]) - 4) + W[0].split(b"\r\n", 1)[1], *W, *FINISH],
    "no size": [*BEGIN, *W, W[0].split(b"\r\n", 1)[1], *W, *FINISH],
    "extensions": [*BEGIN, *W, *(one.replace(b"\r\n", b";a=b\r\n", 1) for one in W), *W, *FINISH],
    "trailers": [*BEGIN, *W, *FINISH[:2], frame(DONE) + b"0\r\nx: y\r\n\r\n"],
    "other line ends": [*BEGIN, *W, *(frame(word(b"x").replace(b"\n", b"\r\n")) for _ in "abc"), *W, *FINISH],
}


class Way:
    """Streams through one gateway, whose pieces come as a test says."""

    def __init__(self, rig: Rig, patch: pytest.MonkeyPatch, said: list[bytes], *, alike: bool) -> None:
        self.rig, self.said, self.forwarded, self.fed = rig, said, 0, 0
        self.pieces: list[bytes] = []
        patch.setattr(streaming, "forward_alike", self._forwarding if alike else lambda *_: None)

    def _forwarding(self, *given: Any) -> Any:
        forward = forward_alike(*given)

        def counting(data: bytes) -> bool:
            assert forward is not None
            done = forward(data)
            self.forwarded += done
            assert not done or self.rig.gateway.held("ada") >= given[2].produced * NANOS
            return done

        return forward and counting

    def play(self, pieces: list[bytes], **more: Any) -> bytes:
        """One stream, whose bytes come in these pieces: what its client gets."""
        self.said.append(HEAD + b"".join(pieces))
        self.pieces[:] = [HEAD, *pieces]
        with closing(ask(self.rig, **more)) as line:
            return rest_of(line)

    def books(self) -> Any:
        """What has been booked and counted."""
        assert self.rig.eventually(lambda: self.rig.balance().held == 0)
        counted = self.rig.on_loop(lambda: deepcopy(self.rig.gateway.counters))
        return [booked(each) for each in self.rig.events()], counted


def booked(event: Any) -> Any:
    """An event as posted, without what says when and by whom."""
    names = "model user month version quantities cost held clamped estimated state".split()
    return tuple(getattr(event, name) for name in names)


def ask(rig: Rig, *, version: bytes = b"1.1", receive_bytes: int = 0, **more: Any) -> socket.socket:
    """A client's connection on which it has asked for a stream."""
    asked = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True, **more}
    body = json.dumps(asked).encode()
    head = b"POST /v1/chat/completions HTTP/%b\r\nhost: h\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n"
    line = socket.socket()
    line.settimeout(10)
    if receive_bytes:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
    line.connect(("127.0.0.1", rig.port))
    line.sendall(head % (version, rig.key.encode(), len(body)) + b"connection: close\r\n\r\n" + body)
    return line


def rest_of(line: socket.socket) -> bytes:
    """All that a client gets, framing and all, without ids and dates."""
    heard = bytearray()
    while got := line.recv(1 << 20):
        heard += got
    return VARYING.sub(b"-", heard)


def unframed(heard: bytes) -> bytes:
    """The body of an answer in chunks."""
    at, body = heard.index(b"\r\n\r\n") + 4, []
    while at < len(heard):
        start = heard.index(b"\r\n", at) + 2
        end = start + int(heard[at : start - 2], 16)
        body.append(heard[start:end])
        at = end + 2
    return b"".join(body)


def play_in_pieces(patch: pytest.MonkeyPatch, way: Way) -> None:
    """Have what the upstream says come in pieces, and the loop turn between them."""
    received, got, pieces = Wire.data_received, bytearray(), way.pieces

    def data_received(self: Wire, data: bytes) -> None:
        got.extend(data)
        if len(got) < sum(map(len, pieces)):  # a large one comes in several reads
            return
        assert got == b"".join(pieces)
        way.fed = 0
        parts = deque(pieces)
        got.clear()

        def go_on(turns: int) -> None:
            if turns:
                self.loop.call_soon(go_on, turns - 1)
            elif not self.reading:
                self.loop.call_later(0.001, go_on, 0)
            elif parts and not self.lost:
                received(self, parts.popleft())
                way.fed += 1
                go_on(8)

        go_on(0)

    patch.setattr(Wire, "data_received", data_received)


@contextmanager
def one_way(folder: Path, patch: pytest.MonkeyPatch, policy: Policy = POLICY, *, alike: bool) -> Iterator[Way]:
    """A gateway whose streams have their alike events told by their bytes, or read one by one."""
    folder.mkdir()
    said: list[bytes] = []
    with (
        keeping(lambda _: said.pop(0)) as url,
        running(folder, policy, models=(tiny(url),)) as rig,
        patch.context() as own,
    ):
        way = Way(rig, own, said, alike=alike)
        play_in_pieces(own, way)
        way.play(STREAMS["like most"])  # what is looked up once has been
        yield way


def tiny(url: str) -> Any:
    """A model whose engine sends no running usage."""
    return model("tiny", (url,), engine="other")


@pytest.mark.once
def test_streams_are_answered_and_billed_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found: dict[bool, list[Any]] = {}
    for alike in (True, False):
        found[alike] = []
        with one_way(tmp_path / str(alike), monkeypatch, alike=alike) as way:
            for name, pieces in STREAMS.items():
                for more in (
                    {},
                    {"stream_options": {"include_usage": True}},
                    {"n": 2},
                    COUNTS_ASKED,
                    {"version": b"1.0"},
                ):
                    before = way.forwarded
                    said = way.play(pieces, **more)
                    found[alike].append((name, more, said))
                    forwarded = way.forwarded - before
                    read_each = "version" in more or (more is COUNTS_ASKED and pieces[0] is COUNTED_BEGIN[0])
                    assert (forwarded > 1) == (alike and not read_each), name
            found[alike].append(way.books())
    for one, other in zip(found[True], found[False], strict=True):
        assert one == other


@pytest.mark.once
@pytest.mark.parametrize("several", [False, True])
def test_a_stream_cut_anywhere_is_answered_and_billed_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, several: bool
) -> None:
    """Each chunk comes by itself, save that one is cut at a place; or those after the third come in two pieces."""
    pieces = [*BEGIN, *W[:4], *FINISH]
    rest = b"".join(pieces[3:])
    found: dict[bool, list[Any]] = {}
    for alike in (True, False):
        found[alike] = []
        with one_way(tmp_path / str(alike), monkeypatch, alike=alike) as way:
            for at in range(1, len(rest) if several else len(b"".join(pieces))):
                cut = [*pieces[:3], rest[:at], rest[at:]] if several else cut_at(pieces, at)
                found[alike].append(way.play(cut))
            assert (way.forwarded > len(rest)) == alike
            found[alike].append(way.books())
    for one, other in zip(found[True], found[False], strict=True):
        assert one == other


def cut_at(pieces: list[bytes], at: int) -> list[bytes]:
    """The pieces, one of them cut so that a piece ends after so many bytes."""
    parts = []
    for piece in pieces:
        parts += [part for part in (piece[: max(0, at)], piece[max(0, at) :]) if part]
        at -= len(piece)
    return parts


# ── money, and clients that leave or do not read ─────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_is_cut_at_the_end_of_the_money_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    """What is held at every event that is passed on is looked at in Way."""
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    many = [frame(word(b"word %d" % n)) for n in range(2000)]
    policy = replace(POLICY, signup_credit_nanos=1_000_000, slice_tokens=100, lease_nanos=10_000)
    found = []
    for alike in (True, False):
        with one_way(tmp_path / str(alike), monkeypatch, policy, alike=alike) as way:
            body = unframed(way.play([*BEGIN, *many, *FINISH], max_tokens=2000, **more))
            found.append((body, way.books()))
            assert (way.forwarded > 40) == alike
            assert way.rig.on_loop(lambda way=way: way.rig.gateway.counters.cut) == 1  # type: ignore[misc]
            assert 1200 < body.count(b'"content":"word') < 1250
            assert body.endswith(DONE)
    assert found[0] == found[1]


def test_a_client_that_leaves_is_billed_what_came(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = []
    for alike in (True, False):
        go_on = threading.Semaphore(0)
        with (
            one_by_one([*BEGIN, *W, *W], go_on, head=HEAD) as url,
            running(tmp_path / str(alike), models=(tiny(url),)) as rig,
            monkeypatch.context() as own,
        ):
            way = Way(rig, own, [], alike=alike)
            with closing(ask(rig)) as line:
                heard = b""
                go_on.release()
                for n in range(len(W)):
                    go_on.release()
                    while heard.count(b"data: ") < n + 2:  # the first one waits for the second
                        heard += line.recv(65536) or b"data: " * 99
            assert rig.eventually(lambda rig=rig: len(rig.events()) == 1)  # type: ignore[misc]
            go_on.release(len(W))
            assert (way.forwarded > 2) == alike
            assert json.loads(rig.events()[0].quantities)["output_tokens"] == len(W)
            found.append((VARYING.sub(b"-", heard), way.books()))
    assert found[0] == found[1]


def test_an_upstream_is_held_back_while_the_client_does_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    many = [frame(word(b"%d" % n + b"x" * 32_000)) for n in range(1000)]
    pieces = [*BEGIN, *many, *FINISH]
    found = []
    for alike in (True, False):
        with one_way(tmp_path / str(alike), monkeypatch, alike=alike) as way:
            way.said.append(HEAD + b"".join(pieces))
            way.pieces[:] = [HEAD, *pieces]
            with closing(ask(way.rig, receive_bytes=16_384)) as line:
                before = -1
                while before != way.fed:
                    before = way.fed
                    time.sleep(0.3)
                assert 0 < way.fed < 900
                body = unframed(rest_of(line))
            assert (way.forwarded > 100) == alike
            assert body == b"".join([ROLE, *(one.split(b"\r\n")[1] for one in many), STOP, DONE])
            found.append(way.books())
    assert found[0] == found[1]
