"""Streams: passed on as they come, held in slices, settled before their end, billed exactly when they break off."""

from __future__ import annotations

import json
import re
import socket
import threading
from itertools import pairwise
from pathlib import Path
from typing import Any

import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purser.core.policy import Policy
from purser.flows import credits
from purser.gateway.streams import (
    MOST_EVENT_BYTES,
    Garbled,
    Splitter,
    Tally,
    Wanted,
    payload,
    read_any_event,
    read_event,
)
from tests.gateway.rig import Answered, Rig, engine_log, running

USAGE = {"stream_options": {"include_usage": True}}


def stream(rig: Rig, text: str, **more: Any) -> Answered:
    """One streamed chat."""
    return rig.chat(text, stream=True, **more)


def words(answer: Answered) -> str:
    """The text of a stream."""
    return "".join(choice["delta"].get("content") or "" for chunk in answer.chunks for choice in chunk["choices"])


def finish(answer: Answered) -> list[str]:
    """The finish reasons of a stream."""
    reasons = [choice.get("finish_reason") for chunk in answer.chunks for choice in chunk["choices"]]
    return [reason for reason in reasons if reason]


def cost(event: Any) -> int:
    """What an event must have cost at 0.20, 0.10 and 0.80 dollars per million."""
    used = json.loads(event.quantities)
    return int(
        used.get("input_tokens", 0) * 200
        + used.get("cached_input_tokens", 0) * 100
        + used.get("output_tokens", 0) * 800
    )


def test_a_stream_is_billed_by_usage_that_the_client_did_not_ask_for_and_does_not_see(rig: Rig) -> None:
    answer = stream(rig, "hello [[tokens=40]]", max_tokens=100)
    assert answer.status == 200, answer.body
    assert answer.is_done
    assert finish(answer) == ["stop"]
    assert not any("usage" in chunk for chunk in answer.chunks)
    assert all(chunk["choices"] for chunk in answer.chunks)
    assert answer.headers["x-purser-headroom-usd"]
    event = rig.events()[0]
    assert json.loads(event.quantities)["output_tokens"] == 40
    assert event.cost == cost(event)
    assert not event.estimated


def test_asked_for_usage_carries_the_cost(rig: Rig) -> None:
    answer = stream(rig, "hello [[tokens=40]]", **USAGE)
    closing = answer.chunks[-1]
    assert closing["choices"] == []
    assert closing["usage"]["completion_tokens"] == 40
    assert int(closing["usage"]["cost_usd"].replace(".", "").ljust(10, "0")) == rig.events()[0].cost
    assert answer.is_done


def test_the_text_is_the_same_as_without_a_stream(rig: Rig) -> None:
    whole = rig.chat("say something [[tokens=30]]").json["choices"][0]["message"]["content"]
    assert words(stream(rig, "say something [[tokens=30]]")) == whole


@pytest.mark.parametrize(
    "directive", ["split", "comments", "no-done", "usage-with-choice", "other-model", "null-usage", "no-details"]
)
@pytest.mark.parametrize("asked", [False, True])
def test_odd_but_sound_streams_are_billed_exactly(rig: Rig, directive: str, asked: bool) -> None:
    more = USAGE if asked else {}
    answer = stream(rig, "odd [[tokens=20]]", headers={"x-model-fail": directive}, **more)
    assert answer.status == 200
    event = rig.events()[0]
    assert json.loads(event.quantities)["output_tokens"] == 20
    assert event.cost == cost(event) > 0
    assert {chunk["model"] for chunk in answer.chunks} == {"tiny"}
    assert len(words(answer)) > 20


def test_a_json_answer_to_a_streamed_request_is_billed_and_passed_on(rig: Rig) -> None:
    answer = stream(rig, "hi [[tokens=7]]", headers={"x-model-fail": "no-stream"})
    assert answer.json["usage"]["completion_tokens"] == 7
    assert rig.events()[0].cost == cost(rig.events()[0])


def test_several_choices_are_counted_together(rig: Rig) -> None:
    answer = stream(rig, "three [[tokens=10]]", n=3, max_tokens=50)
    assert sorted(finish(answer)) == ["stop", "stop", "stop"]
    assert json.loads(rig.events()[0].quantities)["output_tokens"] == 30


def test_without_usage_the_deltas_are_counted(rig: Rig) -> None:
    answer = stream(rig, "x" * 80 + " [[tokens=30]]", headers={"x-model-fail": "no-usage"})
    assert answer.is_done
    event = rig.events()[0]
    assert event.estimated == 1
    assert json.loads(event.quantities) == {"input_tokens": (80 + 14) // 8, "output_tokens": 30}


def test_usage_that_contradicts_itself_is_quarantined(rig: Rig) -> None:
    answer = stream(rig, "hi [[tokens=5]]", headers={"x-model-fail": "bad-usage=negative"})
    assert answer.status == 200
    assert [(event.state, event.cost) for event in rig.events()] == [("quarantined", 0)]
    assert rig.balance().held == 0


# ── slices and the limit ─────────────────────────────────────────────────────────────────────────────────────────
def test_a_long_stream_holds_one_slice_at_a_time(tmp_path: Path) -> None:
    with running(tmp_path, Policy(requests_per_minute_unverified=6000, slice_tokens=64)) as rig:
        text = rig.open_stream("long [[tokens=600]] [[pace=400]]", model="dear", max_tokens=2000)
        next(text)
        most = 0
        for _ in text:
            most = max(most, rig.on_loop(lambda: rig.gateway.held("ada")))
        slice_cost = 64 * 80_000
        assert 600 * 80_000 < most < (600 + 128) * 80_000 + 5_000_000
        assert slice_cost * 9 < most
        assert json.loads(rig.events()[0].quantities)["output_tokens"] == 600
        assert rig.events()[0].held >= rig.events()[0].cost


@pytest.mark.parametrize("asked", [False, True])
def test_a_stream_is_cut_at_the_end_of_the_money_and_ends_properly(tmp_path: Path, asked: bool) -> None:
    with running(
        tmp_path, Policy(requests_per_minute_unverified=6000, slice_tokens=32, signup_credit_nanos=50_000_000)
    ) as rig:
        more = USAGE if asked else {}
        answer = stream(rig, "long [[tokens=2000]] [[pace=2000]]", model="dear", max_tokens=2000, **more)
        assert answer.status == 200, answer.body
        assert finish(answer) == ["length"]
        assert answer.is_done
        balance = rig.balance()
        assert 48_000_000 <= balance.spent_this_month <= 50_000_000
        assert balance.held == 0
        event = rig.events()[0]
        assert event.cost == balance.spent_this_month <= event.held
        if asked:
            assert answer.chunks[-1]["usage"]["completion_tokens"] == json.loads(event.quantities)["output_tokens"]
        assert rig.on_loop(lambda: rig.gateway.counters.cut) == 1
        assert rig.eventually(lambda: engine_log(rig)[-1]["cancelled"], 1)


def test_a_cut_stream_goes_on_when_credit_comes_in_time(tmp_path: Path) -> None:
    policy = Policy(requests_per_minute_unverified=6000, slice_tokens=32, signup_credit_nanos=30_000_000)
    with running(tmp_path, policy) as rig:
        lines = rig.open_stream("long [[tokens=600]] [[pace=300]]", model="dear", max_tokens=2000)
        next(lines)
        rig.write(lambda tx: credits.give_credit(tx, "ada", 1_000_000_000))
        text = b"".join(lines)
        assert b'"finish_reason":"stop"' in text.replace(b": ", b":")
        assert json.loads(rig.events()[0].quantities)["output_tokens"] == 600


def test_an_engine_that_ignores_the_cap_is_cut_and_clamped(rig: Rig) -> None:
    answer = stream(rig, "hi", max_tokens=20, headers={"x-model-fail": "ignore-cap=500"})
    event = rig.events()[0]
    assert finish(answer) == ["length"]
    assert json.loads(event.quantities)["output_tokens"] == 20
    assert event.cost == cost(event) <= event.held
    assert event.clamped == 0
    assert answer.is_done


def test_counts_beyond_all_bounds_are_cut_properly_and_free(rig: Rig) -> None:
    answer = stream(rig, "hi [[tokens=20]]", max_tokens=20, headers={"x-model-fail": "bad-usage=huge"}, **USAGE)
    assert answer.is_done
    assert [(event.state, event.cost) for event in rig.events()] == [("quarantined", 0)]


# ── hang-ups and failures ────────────────────────────────────────────────────────────────────────────────────────
def hang_up(rig: Rig, body: dict[str, Any], after_bytes: int) -> None:
    """Send a request and close the connection after so many bytes of the answer."""
    raw = json.dumps({"messages": [{"role": "user", "content": "go on [[tokens=800]] [[pace=200]]"}], **body}).encode()
    with socket.create_connection(("127.0.0.1", rig.port)) as line:
        line.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\nauthorization: Bearer "
            + rig.key.encode()
            + b"\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n" % len(raw)
            + raw
        )
        assert rig.eventually(lambda: len(engine_log(rig)) > 0)
        got = 0
        while got < after_bytes:
            got += len(line.recv(4096))


def test_a_hang_up_cancels_the_upstream_within_a_second_and_bills_what_was_produced(rig: Rig) -> None:
    hang_up(rig, {"model": "tiny", "stream": True}, 4000)
    assert rig.eventually(lambda: len(rig.events()) == 1, 2)
    event = rig.events()[0]
    assert rig.eventually(lambda: engine_log(rig)[-1]["cancelled"], 1)
    produced = json.loads(event.quantities)["output_tokens"]
    engine = engine_log(rig)[-1]["generated_tokens"]
    assert 0 < produced <= engine <= produced + 60
    assert not event.estimated
    assert rig.balance().held == 0


def test_a_hang_up_before_a_plain_answer_bills_the_input_alone_and_low(rig: Rig) -> None:
    hang_up(rig, {"model": "tiny"}, 0)
    assert rig.eventually(lambda: len(rig.events()) == 1, 3)
    event = rig.events()[0]
    assert (event.estimated, json.loads(event.quantities).get("output_tokens", 0)) == (1, 0)
    assert rig.eventually(lambda: engine_log(rig)[-1]["cancelled"], 1)
    assert rig.balance().held == 0


def test_clients_that_leave_at_once_leave_no_hold_behind(rig: Rig) -> None:
    raw = b'{"model": "tiny", "messages": [{"role": "user", "content": "hi"}]}'
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", rig.port)) as line:
            line.sendall(
                b"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\nauthorization: Bearer "
                + rig.key.encode()
                + b"\r\ncontent-length: %d\r\n\r\n" % len(raw)
                + raw
            )
    assert rig.eventually(lambda: rig.balance().held == 0)
    assert all(event.estimated == 1 or event.cost == cost(event) for event in rig.events())


@pytest.mark.parametrize(
    ("directive", "status"),
    [("refuse", 502), ("hang", 504), ("garbage", 502), ("status=500", 500), ("cut-after=0", 502)],
)
def test_an_upstream_that_fails_before_a_first_token_bills_nothing(rig: Rig, directive: str, status: int) -> None:
    answer = stream(rig, "hi", headers={"x-model-fail": directive})
    assert answer.status == status, answer.body
    assert rig.balance().spent_this_month == 0
    assert rig.balance().held == 0


@pytest.mark.parametrize("directive", ["cut-after=10", "hang-after=10", "error-after=10"])
def test_an_upstream_that_fails_in_the_middle_bills_what_came_and_says_so(rig: Rig, directive: str) -> None:
    answer = stream(rig, "hi [[tokens=100]]", headers={"x-model-fail": directive})
    assert answer.status == 200
    assert "error" in answer.chunks[-1]
    assert not answer.is_done
    event = rig.events()[0]
    assert json.loads(event.quantities)["output_tokens"] == 10
    assert event.cost == cost(event)
    assert rig.balance().held == 0


# ── the official client ──────────────────────────────────────────────────────────────────────────────────────────
def client_of(rig: Rig, prefix: str = "/v1") -> openai.OpenAI:
    """OpenAI's own client, pointed here."""
    return openai.OpenAI(base_url=f"http://127.0.0.1:{rig.port}{prefix}", api_key=rig.key, max_retries=2)


@pytest.mark.parametrize("prefix", ["/v1", "/inference/v1"])
def test_the_official_client_chats_streams_and_embeds(rig: Rig, prefix: str) -> None:
    with client_of(rig, prefix) as client:
        messages: Any = [{"role": "user", "content": "hello [[tokens=12]]"}]
        whole = client.chat.completions.create(model="tiny", messages=messages)
        assert whole.usage is not None
        assert whole.usage.completion_tokens == 12
        chunks = list(
            client.chat.completions.create(
                model="tiny", messages=messages, stream=True, stream_options={"include_usage": True}
            )
        )
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 12
        assert len(client.embeddings.create(model="tiny", input="words").data) == 1
        assert client.completions.create(model="tiny", prompt="go", max_tokens=4).usage is not None
        assert [entry.id for entry in client.models.list()] == ["tiny", "dear"]
    assert len(rig.events()) == 4


def test_the_official_client_sees_a_suspension_once_and_does_not_retry(tmp_path: Path) -> None:
    with (
        running(tmp_path, Policy(requests_per_minute_unverified=6000, signup_credit_nanos=0)) as rig,
        client_of(rig) as client,
    ):
        messages: Any = [{"role": "user", "content": "hello"}]
        with pytest.raises(openai.APIStatusError) as refused:
            client.chat.completions.create(model="tiny", messages=messages)
        assert refused.value.status_code == 412
        assert "is suspended" in str(refused.value)
        assert rig.on_loop(lambda: rig.gateway.counters.requests) == 1


def test_streams_of_many_clients_share_a_small_balance_without_overspending(tmp_path: Path) -> None:
    policy = Policy(requests_per_minute_unverified=6000, slice_tokens=32, signup_credit_nanos=200_000_000)
    with running(tmp_path, policy) as rig:
        threads = [
            threading.Thread(
                target=lambda: [stream(rig, "go [[tokens=300]]", model="dear", max_tokens=300) for _ in range(4)]
            )
            for _ in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        balance = rig.balance()
        assert 190_000_000 <= balance.spent_this_month <= 200_000_000
        assert balance.held == 0
        assert sum(event.cost for event in rig.events()) == balance.spent_this_month


def test_an_engine_without_running_counts_is_estimated_by_deltas_at_a_hang_up(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        terms = rig.gateway.served["tiny"].terms
        rig.gateway.served["tiny"].terms = type(terms)(
            terms.context_tokens, terms.max_output_tokens, terms.tokens_per_byte, "other", terms.policy
        )
        hang_up(rig, {"model": "tiny", "stream": True}, 4000)
        assert rig.eventually(lambda: len(rig.events()) == 1, 2)
        event = rig.events()[0]
        assert event.estimated == 1
        assert 0 < json.loads(event.quantities)["output_tokens"] <= engine_log(rig)[-1]["generated_tokens"]


# ── the short way of what most events are, and the long way of any ───────────────────────────────────────────────
COMPACT: Any = {"separators": (",", ":")}
PLAIN_USAGE = {"prompt_tokens": 9, "completion_tokens": 3}
texts = st.sampled_from(["", " owed", "a\nb", "Zoë", ',"usage":{', '{"usage":{"a":1}}', "}\n\n", "\r\n\r\n"])
deltas = st.one_of(
    st.builds(lambda text: {"content": text}, texts),
    st.builds(lambda text: {"content": None, "reasoning_content": text}, texts),
    st.sampled_from([{}, {"role": "assistant", "content": ""}, {"tool_calls": [{"index": 0}]}, {"content": 5}]),
)
choices_of_one = st.fixed_dictionaries(
    {"index": st.sampled_from([0] * 12 + [1, 1, 2])},
    optional={"delta": deltas, "text": texts, "finish_reason": st.sampled_from([None, None, "stop"]), "x": st.none()},
)
counts = st.one_of(st.integers(0, 40), st.sampled_from([-1, True, 2.5, None, 10**30]))
usages = st.one_of(
    st.builds(lambda count: {"prompt_tokens": 9, "completion_tokens": count}, counts),
    st.builds(lambda count: {"completion_tokens": count, "prompt_tokens_details": {"cached_tokens": 4}}, counts),
    st.sampled_from([None, {}, {"a": "}"}]),
)
chunks = st.builds(
    lambda head, choices, used, after: head | {"choices": choices} | used | after,
    st.sampled_from([{"model": "tiny"}] * 4 + [{}, {"model": "x/tiny"}, {"model": None}, {"usage": PLAIN_USAGE}]),
    st.one_of(st.builds(lambda choice: [choice], choices_of_one), st.lists(choices_of_one, max_size=2)),
    st.one_of(st.just({}), st.builds(lambda used: {"usage": used}, usages)),
    st.sampled_from([{}] * 5 + [{"service_tier": "priority"}, {"x": {"usage": {}}}, {"error": {}}, {"x": [1, {}]}]),
)
ODD_EVENTS = [
    b": still here\n\n",
    b"data: [DONE]\n\n",
    b'data: {"model":"tiny","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"model":"tiny","choices":[{"finish_reason":"stop"}],"usage":{"completion_tokens":@}}\n\n',
    b'data: {"model":"tiny","choices":[{"index":1,"delta":{}}],"usage":{"completion_tokens":@}}\n\n',
    b'data: {"model":"x/tiny","choices":[{"delta":{}}],"usage":{"completion_tokens":@}}\n\n',
    b'event: {"model":"tiny","choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
    b'data:{"choices":[{"index":0,"delta":{"content":"a"}}]}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],\ndata: "model":"tiny"}\n\n',
    b'data: {"choices":[{"index":0,"delta":{"content":"a"}}],\n"model":"tiny"}\n\n',
    b'data: {"model":"tiny","choices":[{"delta":{"content":"a"}}],"usage":{"completion_tokens":40}]\n\n',
    b'data: {"model":"tiny","choices":[{"delta":{}}],"x":{"y":1,"usage":{"completion_tokens":40}}}\n\n',
    b'data: {"model":"tiny","choices":[{"delta":{}}],"usage":{"completion_tokens":40},"x":{"usage":{}}}\n\n',
    b'data: {"model":"tiny","choices":[{"delta":{}}],"usage":{"completion_tokens":40},"x":[1]}\n\n',
    b'data: {"model":"tiny","choices":[{"delta":{},"finish_reason":"stop"}]}\n\n',
    b'data: {"model":"tiny","usage":null,"choices":[{"delta":{}}],"usage":{"completion_tokens":41}}\n\n',
    b'data: {"model":"tiny","us\\u0061ge":{},"choices":[{"delta":{}}],"usage":{"completion_tokens":41}}\n\n',
    b'data: {"model":"tiny","choices":[{"delta":{}}],,"usage":{"completion_tokens":40}}\n\n',
    b'data: {"model":"tiny","choices":[{"delta":null}],"usage":{"completion_tokens":40}}  \n\n',
    b"data: {,}\n\n",
]
COUNTED_END = b',"usage":{"prompt_tokens":9,"completion_tokens":@}}'  # @: more with every event
ODD_ENDS = [
    b"}",
    COUNTED_END,
    b',"usage":{"prompt_tokens":9,"completion_tokens":2}}',
    b',"usage":{"completion_tokens":true}}',
    b',"usage":null,"usage":{"completion_tokens":@}}',
    b',"usage":{"a":{"b":[{"c":"}"}]},"completion_tokens":@}}',
    b',"service_tier":"priority"}',
    b',"service_tier":"priority","usage":{"completion_tokens":@}}',
    b',"x":{"y":1,"usage":{"completion_tokens":@}}}',
    b',"usage":{"completion_tokens":@},"x":{"usage":{}}}',
    b',"usage":{"completion_tokens":@},"x":[1]}',
    b',"usage":{"completion_tokens":@}]',
]


def plain(ends: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Events as most are, with these ends."""
    return st.builds(
        lambda delta, end: b'data: {"model":"tiny","choices":[{"index":0,"delta":%b}]%b\n\n' % (delta, end),
        deltas.map(lambda delta: json.dumps(delta, **COMPACT).encode()),
        ends,
    )


ODD = [
    plain(st.sampled_from(ODD_ENDS)),
    st.builds(lambda chunk: b"data: %b\n\n" % json.dumps(chunk, **COMPACT).encode(), chunks),
    st.builds(lambda chunk: b"data: %b\n\n" % json.dumps(chunk).encode(), chunks),
    st.builds(lambda chunk: b"data: %b\r\n\r\n" % json.dumps(chunk, **COMPACT).encode(), chunks),
    st.sampled_from(ODD_EVENTS),
]
odd = st.sampled_from([0, 0, 0, 1, 2, 3, 4, 4, 4, 4]).flatmap(lambda n: ODD[n])


def numbered(events: list[bytes]) -> list[bytes]:
    """The events with running counts that grow."""
    return [event.replace(b"@", b"%d" % n) for n, event in enumerate(events, 1)]


def stream_of(opening: bytes, end: bytes) -> st.SearchStrategy[list[bytes]]:
    """Events of which most end alike."""
    most = plain(st.just(end))
    sent = st.lists(st.integers(0, 4).flatmap(lambda n: odd if n == 4 else most), min_size=3, max_size=16)
    return sent.map(lambda events: numbered([opening, *events]))


OPENING = b'data: {"model":"tiny","choices":[{"index":0,"delta":{"role":"assistant","content":""}}]%b}\n\n'
BARE, COUNTED = (OPENING % b"", b"}"), (OPENING % b',"usage":{"prompt_tokens":9,"completion_tokens":0}', COUNTED_END)
streams_sent = st.one_of(stream_of(*BARE), stream_of(*COUNTED))


def cut(text: bytes, places: list[int]) -> list[bytes]:
    """The text in pieces, which end at these places."""
    edges = sorted({0, len(text), *(place % (len(text) + 1) for place in places)})
    return [text[start:end] for start, end in pairwise(edges)]


def check_both_ways(events: list[bytes], wanted: Wanted) -> None:
    """Read the events both ways: the same is told and counted."""
    short, long = Tally(80, 2), Tally(80, 2)
    assert told(read_event, events, short, wanted) == told(read_any_event, events, long, wanted)
    assert short == long
    assert short.produced == max(short.deltas, sum(short.running.values()))


def told(read: Any, events: list[bytes], tally: Tally, wanted: Wanted) -> list[Any]:
    """What became of the events: the bytes for the client (of chunks: their fields), and how they ended."""
    found: list[Any] = []
    for raw in events:
        try:
            event = read(raw, tally, wanted)
        except Garbled as why:
            return [*found, str(why)]
        data = payload(event.data)
        fields = json.loads(data) if data and data.startswith(b"{") else event.data
        found.append((fields, event.closing, event.content, tally.produced))
    return found


@settings(max_examples=400, deadline=None)
@given(
    streams_sent,
    st.lists(st.integers(0, 5000), max_size=8),
    st.booleans(),
    st.booleans(),
)
def test_events_are_read_alike_on_the_short_way_and_the_long_one(
    sent: list[bytes], places: list[int], usage_asked: bool, counts_asked: bool
) -> None:
    text, wanted = b"".join(sent), Wanted("tiny", usage_asked, counts_asked)
    splitter, events = Splitter(), []
    for piece in cut(text, places) if places else sent:
        alone = piece.endswith(b"\n\n") and piece.count(b"\n") == 2 and not splitter.waiting
        found = splitter.feed(piece)
        assert not alone or found == [piece]  # what the relay takes for one event is one
        events += found
    expected = re.findall(rb"(?s).*?(?:\r\n\r\n|\n\n)", text)
    assert events == expected
    assert b"".join(expected) + splitter.waiting == text
    check_both_ways(events, wanted)


@pytest.mark.parametrize(("opening", "end"), [BARE, COUNTED], ids=["bare", "counted"])
@pytest.mark.parametrize("counts_asked", [False, True])
def test_each_odd_event_in_a_plain_stream_is_read_alike(opening: bytes, end: bytes, counts_asked: bool) -> None:
    start = b'data: {"model":"tiny","choices":[{"index":0,"delta":{"content":"a"}}]'
    for odd_one in [*ODD_EVENTS, *(start + odd_end + b"\n\n" for odd_end in ODD_ENDS)]:
        sent = [opening, start + end + b"\n\n", odd_one, start + end + b"\n\n", start + end + b"\n\n"]
        check_both_ways(numbered(sent), Wanted("tiny", False, counts_asked))


def test_an_event_without_end_is_refused() -> None:
    splitter = Splitter()
    assert splitter.feed(b"data: a\n\n" + b"x" * MOST_EVENT_BYTES) == [b"data: a\n\n"]
    with pytest.raises(Garbled, match="more than"):
        splitter.feed(b"x")
