"""Upstreams that answer what no engine should: billed or refused cleanly, never a fault of ours, never a hold left."""

from __future__ import annotations

import http.client
import json
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.rig import model, running
from tests.gateway.upstreams import answer, saying

pytestmark = pytest.mark.once  # what differs here is the upstreams' oddities; it is kept like any other

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
WHOLE = json.dumps({"model": "tiny", "choices": [], "usage": USAGE}).encode()
EVENTS = (
    b'data: {"model":"tiny","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
    b'data: {"model":"tiny","choices":[],"usage":' + json.dumps(USAGE).encode() + b"}\n\ndata: [DONE]\n\n"
)
DEEP = b'{"model":"tiny","choices":[],"more":' + b"[" * 5000 + b"]" * 5000 + b"}"
SSE = b"text/event-stream"

# (what, answer, streamed, status, nano-dollars billed)
ODD = [
    ("as it should be", answer(200, WHOLE), False, 200, 10 * 200 + 5 * 800),
    ("another success", answer(201, WHOLE), False, 200, 10 * 200 + 5 * 800),
    ("another success, streamed", answer(206, EVENTS, kind=SSE), True, 200, 10 * 200 + 5 * 800),
    ("no content", answer(204, b""), False, 502, 0),
    ("no such status", answer(999, b"{}"), False, 502, 0),
    ("a status below", answer(600, b"{}"), True, 502, 0),
    ("a redirect", answer(302, b"{}"), False, 302, 0),
    ("nested too deeply", answer(200, DEEP), False, 502, 0),
    ("nested too deeply, streamed", answer(200, b"data: " + DEEP + b"\n\n", kind=SSE), True, 502, 0),
    ("not UTF-8", answer(200, b'{"model":"tiny\xff"}'), False, 502, 0),
    ("not UTF-8, streamed", answer(200, b'data: {"model":"tiny\xff"}\n\n', kind=SSE), True, 502, 0),
    ("no JSON at all", answer(200, b"<html>"), False, 502, 0),
    ("odd bytes in a header", answer(200, WHOLE, b"x-odd: \xff\xfe"), False, 200, 10 * 200 + 5 * 800),
    ("a stream of nothing", answer(200, b"", kind=SSE), True, 200, 0),
]


CHUNK = b'data: {"model":"tiny","choices":[{"index":0,"delta":{"content":"Hi"}}],"usage":%s}\n\n'
HUGE = json.dumps({"prompt_tokens": 10, "completion_tokens": 10**13}).encode()


@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_cut_for_its_huge_counts_ends_as_streams_do(tmp_path: Path, asked: bool) -> None:
    says = answer(200, CHUNK % HUGE + b"data: [DONE]\n\n", kind=SSE)
    more: dict[str, Any] = {"stream_options": {"include_usage": True}} if asked else {}
    with saying(says) as url, running(tmp_path, models=(model("tiny", (url,)),)) as rig:
        found = rig.chat("Hi", max_tokens=50, stream=True, **more)
        assert found.status == 200
        assert [choice["finish_reason"] for choice in found.chunks[-1]["choices"]] == ["length"]
        assert found.is_done
        assert [(event.state, event.cost) for event in rig.events()] == [("quarantined", 0)]
        assert rig.balance().held == 0


def endless(event: bytes) -> bytes:
    """A stream that says the same for a megabyte, and never ends."""
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n" + event * (2**20 // len(event))


FIRST = b'data: {"model":"tiny","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'
MANY = b"".join(
    b'data: {"model":"tiny","choices":[{"index":%d,"delta":{"content":"Hi"}}]}\n\n' % index for index in range(20_000)
)
CLOSING = b'data: {"model":"tiny","choices":[],"usage":' + json.dumps(USAGE).encode() + b"}\n\n"

# (what, answer, status, whether it ends with [DONE], output tokens of each event)
ENDLESS = [
    ("comments", endless(b": still there\n\n"), 200, False, [0]),
    ("usage again and again", endless(CLOSING), 502, False, []),
    ("ends again and again", endless(FIRST + CLOSING + b"data: [DONE]\n\n"), 200, True, [5]),
    ("no end of an event", endless(b"data: x"), 502, False, []),
    ("more choices than were asked for", answer(200, MANY, kind=SSE), 200, False, [1]),
]


@pytest.mark.parametrize("what, says, status, done, tokens", ENDLESS, ids=[endless[0] for endless in ENDLESS])
def test_a_stream_without_end_is_not_kept_in_memory(
    tmp_path: Path, what: str, says: bytes, status: int, done: bool, tokens: list[int]
) -> None:
    with saying(says) as url, running(tmp_path, models=(model("tiny", (url,)),)) as rig:
        found = rig.chat("Hi", max_tokens=50, stream=True)
        assert (found.status, found.is_done) == (status, done), what
        assert [json.loads(event.quantities).get("output_tokens", 0) for event in rig.events()] == tokens
        assert rig.balance().held == 0


@pytest.mark.parametrize("what, says, streamed, status, cost", ODD, ids=[odd[0] for odd in ODD])
def test_an_odd_upstream_is_billed_or_refused_cleanly(
    tmp_path: Path, what: str, says: bytes, streamed: bool, status: int, cost: int
) -> None:
    with saying(says) as url, running(tmp_path, models=(model("tiny", (url,)),)) as rig:
        found = rig.chat("Hi", max_tokens=50, stream=streamed)
        assert found.status == status, what
        assert found.headers["x-request-id"]
        if status >= 500:
            assert found.error["type"] == "api_error"
            assert found.json["request_id"] == found.headers["x-request-id"]
        assert rig.balance().spent_this_month == cost
        assert rig.balance().held == 0
        assert rig.on_loop(lambda: rig.gateway.cashier.lessee.count_open()) == 0


def test_what_an_upstream_says_of_money_is_not_passed_on(tmp_path: Path) -> None:
    theirs = (b"x-purser-cost-usd: 99.00", b"x-purser-headroom-usd: 5.00", b"fireworks-prompt-tokens: 1", b"x-own: 1")
    with saying(answer(200, WHOLE, *theirs)) as url, running(tmp_path, models=(model("tiny", (url,)),)) as rig:
        headers = {"authorization": f"Bearer {rig.key}"}
        body = {"model": "tiny", "max_tokens": 50, "messages": [{"role": "user", "content": "Hi"}]}
        with closing(http.client.HTTPConnection("127.0.0.1", rig.port, timeout=10)) as line:
            line.request("POST", "/v1/chat/completions", json.dumps(body).encode(), headers)
            with closing(line.getresponse()) as found:
                passed = [(name.lower(), value) for name, value in found.getheaders()]
        ours = {"x-purser-cost-usd": "0.000006", "fireworks-prompt-tokens": "10", "x-own": "1"}
        for name, value in ours.items():
            assert [given for header, given in passed if header == name] == [value]
        assert len([1 for header, _ in passed if header == "x-purser-headroom-usd"]) == 1
