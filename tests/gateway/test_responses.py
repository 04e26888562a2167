"""Responses: held, sliced, cut, settled and told as chats are, in their own events (interface §3, H1–H6)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest

from purser.core.policy import Policy
from purser.flows import accounts
from tests.gateway.rig import Answered, Rig, engine_log, model, running
from tests.gateway.test_streams import cost
from tests.gateway.upstreams import answer as plain
from tests.gateway.upstreams import saying

PATH = "/v1/responses"


def respond(rig: Rig, text: Any, *, headers: dict[str, str] | None = None, **more: Any) -> Answered:
    """One response to a text or to items."""
    return rig.send(PATH, {"model": "tiny", "input": text, **more}, headers=headers)


def stream(rig: Rig, text: Any, **more: Any) -> Answered:
    """One streamed response."""
    return respond(rig, text, stream=True, **more)


def kinds(answer: Answered) -> list[str]:
    """The types of a stream's events, each once in a row."""
    found: list[str] = []
    for chunk in answer.chunks:
        if chunk["type"] not in found[-1:]:
            found.append(chunk["type"])
    return found


def words(answer: Answered) -> str:
    """The text of a stream."""
    return "".join(chunk["delta"] for chunk in answer.chunks if chunk["type"] == "response.output_text.delta")


def used(event: Any) -> dict[str, int]:
    """The quantities of an event."""
    return dict(json.loads(event.quantities))


def check_numbered(answer: Answered) -> None:
    """The events are numbered without a gap, and named as their data are."""
    assert [chunk["sequence_number"] for chunk in answer.chunks] == list(range(len(answer.chunks)))
    named = [line[7:] for line in answer.body.decode().splitlines() if line.startswith("event: ")]
    assert named == [chunk["type"] for chunk in answer.chunks]


@pytest.mark.parametrize("prefix", ["", "/inference"])
def test_a_response_is_billed_what_the_engine_counted(rig: Rig, prefix: str) -> None:
    body = {"model": "tiny", "input": "hello [[tokens=25]]", "max_output_tokens": 100}
    answer = rig.send(prefix + PATH, body)
    assert answer.status == 200, answer.body
    assert answer.json["usage"]["output_tokens"] == 25
    [event] = rig.events()
    assert event.cost == cost(event)
    assert used(event) == {"input_tokens": answer.json["usage"]["input_tokens"], "output_tokens": 25}
    assert answer.headers["x-purser-cost-usd"]
    assert answer.headers["fireworks-prompt-tokens"] == str(answer.json["usage"]["input_tokens"])
    assert engine_log(rig)[-1]["max_tokens"] == 100


def test_cached_tokens_cost_their_own_rate(rig: Rig) -> None:
    text = "the same long beginning of a prompt, again and again " * 20
    for _ in range(2):
        answer = respond(rig, text, max_output_tokens=5)
    cached = answer.json["usage"]["input_tokens_details"]["cached_tokens"]
    assert cached == used(rig.events()[-1])["cached_input_tokens"] > 0
    assert rig.events()[-1].cost == cost(rig.events()[-1])


def test_a_stream_tells_its_usage_and_what_it_cost(rig: Rig) -> None:
    answer = stream(rig, "hello [[tokens=40]]", max_output_tokens=100)
    assert answer.status == 200, answer.body
    assert kinds(answer) == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    check_numbered(answer)
    [event] = rig.events()
    told = answer.chunks[-1]["response"]
    assert told["usage"]["output_tokens"] == used(event)["output_tokens"] == 40
    assert int(told["usage"]["cost_usd"].replace(".", "").ljust(10, "0")) == event.cost == cost(event) > 0
    assert told["output"][0]["content"][0]["text"] == words(answer)
    assert not event.estimated


def test_the_text_is_the_same_as_without_a_stream(rig: Rig) -> None:
    whole = respond(rig, "say something [[tokens=30]]").json["output"][0]["content"][0]["text"]
    assert words(stream(rig, "say something [[tokens=30]]")) == whole


def test_the_model_has_its_customers_name_in_every_event(rig: Rig) -> None:
    rig.gateway.served["dear"].upstream_model = "tiny"
    for directive in ("other-model", "split", "comments", "null-usage"):
        answer = stream(rig, "odd [[tokens=20]]", model="dear", headers={"x-model-fail": directive})
        assert {chunk["response"]["model"] for chunk in answer.chunks if "response" in chunk} == {"dear"}
        assert used(rig.events()[-1])["output_tokens"] == 20
        check_numbered(answer)
    assert respond(rig, "hi", model="dear", max_output_tokens=2).json["model"] == "dear"


def test_tools_reasoning_and_items_are_passed_on_and_counted(rig: Rig) -> None:
    tool = {
        "type": "function",
        "name": "weigh",
        "parameters": {"type": "object", "properties": {"kg": {"type": "number"}}},
    }
    items: list[Any] = [
        {"role": "user", "content": [{"type": "input_text", "text": "weigh it"}]},
        {"type": "function_call", "call_id": "c1", "name": "weigh", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "12"},
    ]
    called = stream(rig, items, tools=[tool], tool_choice="required")
    assert called.chunks[-1]["response"]["output"][0]["name"] == "weigh"
    assert "response.function_call_arguments.delta" in kinds(called)
    thought = stream(rig, "think [[tokens=40]]", reasoning={"effort": "high"})
    assert "response.reasoning_text.delta" in kinds(thought)
    assert thought.chunks[-1]["response"]["usage"]["output_tokens_details"]["reasoning_tokens"] == 30
    assert [event.cost for event in rig.events()] == [cost(event) for event in rig.events()]
    assert used(rig.events()[-1])["output_tokens"] == 40, "reasoning is inside the output (P2)"


# ── the limit ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_stream_is_cut_at_the_end_of_the_money_and_ends_as_incomplete(tmp_path: Path) -> None:
    policy = Policy(requests_per_minute_unverified=6000, slice_tokens=32, signup_credit_nanos=50_000_000)
    with running(tmp_path, policy) as rig:
        answer = stream(rig, "long [[tokens=2000]] [[pace=2000]]", model="dear", max_output_tokens=2000)
        assert answer.status == 200, answer.body
        assert kinds(answer)[-4:] == [
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.incomplete",
        ]
        check_numbered(answer)
        told = answer.chunks[-1]["response"]
        assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
        assert told["output"][0]["content"][0]["text"] == words(answer)
        assert told["output"][0]["status"] == "incomplete"
        [event] = rig.events()
        assert told["usage"]["output_tokens"] == used(event)["output_tokens"]
        balance = rig.balance()
        assert 44_000_000 <= balance.spent_this_month == event.cost <= event.held <= 50_000_000
        assert balance.held == 0
        assert rig.on_loop(lambda: rig.gateway.counters.cut) == 1
        assert rig.eventually(lambda: engine_log(rig)[-1]["cancelled"], 1)


WIDE = {"type": "object", "properties": {f"long name {n}": {"type": "string"} for n in range(300)}}
OPEN: list[tuple[int, dict[str, Any]]] = [
    (170_000_000, {"tool_choice": "required", "tools": [{"type": "function", "name": "f", "parameters": WIDE}]}),
    (12_000_000, {"reasoning": {"effort": "high"}}),
]


@pytest.mark.parametrize(("credit", "more"), OPEN, ids=["call", "thought"])
def test_a_cut_ends_whatever_item_is_open(tmp_path: Path, credit: int, more: dict[str, Any]) -> None:
    policy = Policy(requests_per_minute_unverified=6000, slice_tokens=16, signup_credit_nanos=credit)
    with running(tmp_path, policy) as rig:
        answer = stream(rig, "go [[tokens=900]] [[pace=2000]]", model="dear", max_output_tokens=900, **more)
        assert kinds(answer)[-2:] == ["response.output_item.done", "response.incomplete"]
        item = answer.chunks[-1]["response"]["output"][-1]
        assert (item["status"], item["type"]) == ("incomplete", "function_call" if "tools" in more else "reasoning")
        if "tools" in more:
            told = [chunk["delta"] for chunk in answer.chunks if chunk["type"].endswith("arguments.delta")]
            assert item["arguments"] == "".join(told) != ""
        check_numbered(answer)


def test_an_engine_that_ignores_the_cap_is_cut_there(rig: Rig) -> None:
    answer = stream(rig, "hi", max_output_tokens=20, headers={"x-model-fail": "ignore-cap=500"})
    assert answer.chunks[-1]["type"] == "response.incomplete"
    [event] = rig.events()
    assert used(event)["output_tokens"] == 20
    assert event.cost == cost(event) <= event.held


def test_a_cap_that_does_not_fit_is_lowered_and_told(tmp_path: Path) -> None:
    policy = Policy(requests_per_minute_unverified=6000, signup_credit_nanos=20_000_000)
    with running(tmp_path, policy) as rig:
        answer = respond(rig, "hi [[tokens=5]]", model="dear", max_output_tokens=2000)
        cap = int(answer.headers["x-purser-max-tokens"])
        assert 16 <= cap < 2000
        assert engine_log(rig)[-1]["max_tokens"] == cap == answer.json["max_output_tokens"]
        assert (
            respond(rig, "hi", model="dear", max_output_tokens=2000, headers={"x-purser-fit": "refuse"}).status == 402
        )


# ── hang-ups and failures ────────────────────────────────────────────────────────────────────────────────────────
def test_a_hang_up_cancels_the_upstream_and_bills_what_came(rig: Rig) -> None:
    raw = json.dumps({"model": "tiny", "stream": True, "input": "go on [[tokens=800]] [[pace=200]]"}).encode()
    with socket.create_connection(("127.0.0.1", rig.port)) as line:
        line.sendall(
            b"POST /v1/responses HTTP/1.1\r\nhost: here\r\nauthorization: Bearer %b\r\ncontent-length: %d\r\n\r\n%b"
            % (rig.key.encode(), len(raw), raw)
        )
        got = 0
        while got < 8000:
            more = len(line.recv(4096))
            assert more
            got += more
    assert rig.eventually(lambda: len(rig.events()) == 1, 2)
    assert rig.eventually(lambda: engine_log(rig)[-1]["cancelled"], 1)
    [event] = rig.events()
    assert event.estimated
    assert (
        0 < used(event)["output_tokens"] <= engine_log(rig)[-1]["generated_tokens"] <= used(event)["output_tokens"] + 60
    )
    assert rig.balance().held == 0


@pytest.mark.parametrize(
    ("directive", "status"),
    [
        ("refuse", 502),
        ("hang", 504),
        ("garbage", 502),
        ("status=500", 500),
        ("cut-after=0", 502),
        ("error-after=0", 502),
    ],
)
def test_an_upstream_that_fails_before_a_first_token_bills_nothing(rig: Rig, directive: str, status: int) -> None:
    answer = stream(rig, "hi", headers={"x-model-fail": directive})
    assert answer.status == status, answer.body
    assert rig.balance().spent_this_month == rig.balance().held == 0


@pytest.mark.parametrize("directive", ["cut-after=10", "hang-after=10", "error-after=10"])
def test_an_upstream_that_fails_in_the_middle_bills_what_came_and_says_so(rig: Rig, directive: str) -> None:
    answer = stream(rig, "hi [[tokens=100]]", headers={"x-model-fail": directive})
    last = answer.chunks[-1]
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert "what came until then was billed" in last["response"]["error"]["message"]
    [event] = rig.events()
    assert used(event)["output_tokens"] == last["response"]["usage"]["output_tokens"] == 10
    assert last["response"]["usage"]["cost_usd"] != "0.00"
    assert event.cost == cost(event)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("directive", "most"), [("failed", 100), ("no-details", 20)])
def test_usage_is_billed_however_a_response_ends(rig: Rig, streamed: bool, directive: str, most: int) -> None:
    """Completed, incomplete and failed alike (peers §4)."""
    answer = respond(
        rig, "hi [[tokens=30]]", stream=streamed, max_output_tokens=most, headers={"x-model-fail": directive}
    )
    told = answer.chunks[-1]["response"] if streamed else answer.json
    assert told["status"] == {"failed": "failed", "no-details": "incomplete"}[directive]
    [event] = rig.events()
    assert used(event)["output_tokens"] == told["usage"]["output_tokens"] == min(most, 30)
    assert event.cost == cost(event)
    assert not event.estimated


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_that_failed_at_once_is_free_and_passed_on(tmp_path: Path, streamed: bool) -> None:
    failed: dict[str, Any] = {
        "id": "resp_1",
        "object": "response",
        "model": "x",
        "status": "failed",
        "output": [],
        "usage": None,
    }
    event = (
        b"event: response.failed\ndata: "
        + json.dumps({"type": "response.failed", "response": failed}).encode()
        + b"\n\n"
    )
    says = plain(200, event, kind=b"text/event-stream") if streamed else plain(200, json.dumps(failed).encode())
    with saying(says) as url, running(tmp_path, models=(model("tiny", (url,)),)) as rig:
        answer = respond(rig, "hi", stream=streamed)
        told = answer.chunks[-1]["response"] if streamed else answer.json
        assert (answer.status, told["status"], told["model"]) == (200, "failed", "tiny")
        assert rig.events() == []
        assert rig.balance().held == 0


@pytest.mark.parametrize("streamed", [False, True])
def test_without_usage_it_is_estimated_low(rig: Rig, streamed: bool) -> None:
    answer = respond(rig, "x" * 80 + " [[tokens=30]]", stream=streamed, headers={"x-model-fail": "no-usage"})
    assert answer.status == 200
    [event] = rig.events()
    assert event.estimated == 1
    assert used(event)["input_tokens"] == (80 + 14) // 8
    assert 10 < used(event)["output_tokens"] <= 30
    if streamed:
        assert answer.chunks[-1]["response"]["usage"]["output_tokens"] == 30, "the terminal event always tells"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", ["negative", "cached", "string"])
def test_usage_that_contradicts_itself_is_quarantined(rig: Rig, streamed: bool, kind: str) -> None:
    answer = respond(rig, "hi [[tokens=5]]", stream=streamed, headers={"x-model-fail": f"bad-usage={kind}"})
    assert answer.status == 200
    assert [(event.state, event.cost) for event in rig.events()] == [("quarantined", 0)]
    assert rig.balance().held == 0


def test_a_stream_without_its_last_event_is_estimated(rig: Rig) -> None:
    answer = stream(rig, "hi [[tokens=12]]", headers={"x-model-fail": "no-done"})
    assert answer.chunks[-1]["type"] == "response.output_item.done"
    [event] = rig.events()
    assert (event.estimated, used(event)["output_tokens"]) == (1, 12)


def test_an_engine_whose_events_hold_many_tokens_is_held_ahead(tmp_path: Path) -> None:
    """Three bytes are taken for a token, so that the hold is ahead of what is told in the end."""
    policy = Policy(requests_per_minute_unverified=6000, slice_tokens=64)
    delta = {"type": "response.output_text.delta", "output_index": 0, "content_index": 0, "delta": "word " * 60}
    usage = {"input_tokens": 10, "output_tokens": 1200, "total_tokens": 1210}
    last = {
        "type": "response.completed",
        "response": {"id": "r", "model": "tiny", "status": "completed", "usage": usage},
    }
    text = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in [*[delta] * 20, last])
    with saying(plain(200, text, kind=b"text/event-stream")) as url:
        with running(tmp_path, policy, models=(model("tiny", (url,), engine="openai"),)) as rig:
            assert stream(rig, "hi", max_output_tokens=2000).chunks[-1]["type"] == "response.completed"
            [event] = rig.events()
            assert (event.cost, event.clamped) == (10 * 200 + 1200 * 800, 0)


# ── what is refused ──────────────────────────────────────────────────────────────────────────────────────────────
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "input"),
    ({"input": []}, "input"),
    ({"input": 5}, "input"),
    ({"input": [5]}, "input[0]"),
    ({"input": [{"content": "Hi"}]}, "input[0]"),
    ({"input": [{"role": "user", "content": 7}]}, "input[0].content"),
    ({"input": "Hi", "instructions": ["x"]}, "instructions"),
    ({"input": "Hi", "background": True}, "background"),
    ({"input": "Hi", "max_output_tokens": 0}, "max_output_tokens"),
    ({"input": "Hi", "max_output_tokens": "9"}, "max_output_tokens"),
    ({"input": "Hi", "max_tokens": 5}, "max_tokens"),
    ({"input": "Hi", "max_completion_tokens": 5}, "max_completion_tokens"),
    ({"input": "Hi", "n": 2}, "n"),
    ({"input": "Hi", "request_id": "resp_mine"}, "request_id"),
    ({"input": "Hi", "chat_template": "x"}, "chat_template"),
    ({"input": "Hi", "extra_body": {"max_output_tokens": 9000}}, "extra_body.max_output_tokens"),
    ({"input": "Hi", "extra_body": {"previous_response_id": "resp_1"}}, "extra_body.previous_response_id"),
    ({"input": "Hi", "tools": [{"type": "web_search"}]}, "tools[0].type"),
    ({"input": "Hi", "tools": [{"type": "mcp", "server_url": "https://x"}]}, "tools[0].type"),
    ({"input": "Hi", "tools": {}}, "tools"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=[str(body)[:60] for body, _ in REFUSED])
def test_a_bad_body_is_400_names_the_field_and_costs_nothing(rig: Rig, body: dict[str, Any], field: str) -> None:
    answer = rig.send(PATH, {"model": "tiny", **body})
    assert (answer.status, answer.error["param"]) == (400, field), answer.body
    assert rig.balance().held == 0
    assert not rig.events()


def test_a_field_that_bounds_it_twice_is_refused(rig: Rig) -> None:
    raw = b'{"model":"tiny","input":"x","max_output_tokens":5,"max_output_tokens":500}'
    assert rig.send(PATH, raw).error["param"] == "max_output_tokens"


def test_what_the_server_keeps_is_bounded_by_the_context(rig: Rig) -> None:
    """The body does not tell how much it is; no more than the model can read."""
    for more in ({"previous_response_id": "resp_1"}, {"conversation": "conv_1"}, {"prompt": {"id": "pmpt_1"}}):
        quote = rig.send(
            "/v1/quote", {"path": PATH, "body": {"model": "tiny", "max_output_tokens": 1, "input": "x", **more}}
        )
        assert quote.json["holdUsd"] == f"{(8192 * 200 + 800) / 10**9:.9f}".rstrip("0"), quote.body
    answer = respond(rig, "go on [[tokens=3]]", previous_response_id="resp_1", max_output_tokens=5)
    assert used(rig.events()[0])["input_tokens"] > 100
    assert answer.headers["x-purser-cost-usd"]


@pytest.mark.parametrize("method", ["GET", "DELETE", "POST"])
def test_responses_are_not_kept_here(rig: Rig, method: str) -> None:
    for path in ("/v1/responses/resp_1", "/inference/v1/responses/resp_1/cancel"):
        answer = rig.send(path, None if method != "POST" else {}, method=method)
        assert (answer.status, answer.error["code"]) == (404, "not_found")
        assert "not kept" in answer.error["message"]
    assert rig.send("/v1/responses/resp_1", None, method=method, key=None).status == 401
    assert rig.send(PATH, None, method="GET").status == 405


def test_refusals_come_in_the_order_of_every_request(rig: Rig) -> None:
    assert rig.send(PATH, b"not json", key=None).status == 401
    assert rig.send(PATH, b"not json").status == 400
    assert respond(rig, "hi", model="nope").status == 404
    rig.write(lambda tx: accounts.suspend(tx, "ada", "BLOCKED_BY_ABUSE_RULE", "odd traffic"))
    assert rig.send(PATH, b"not json").status == 412


# ── the official client ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(params=["/v1", "/inference/v1"])
def ada(rig: Rig, request: pytest.FixtureRequest) -> Iterator[openai.OpenAI]:
    """OpenAI's own client, which sends nothing again."""
    base_url = f"http://127.0.0.1:{rig.port}{request.param}"
    with openai.OpenAI(base_url=base_url, api_key=rig.key, max_retries=0) as client:
        yield client


def test_the_official_client_creates_and_streams(rig: Rig, ada: openai.OpenAI) -> None:
    whole = ada.responses.create(model="tiny", input="hello [[tokens=12]]", instructions="be brief")
    assert whole.output_text
    assert whole.usage is not None
    assert whole.usage.output_tokens == 12
    with ada.responses.stream(model="tiny", input="hello [[tokens=12]]") as told:
        text = "".join(event.delta for event in told if event.type == "response.output_text.delta")
        final = told.get_final_response()
    assert final.output_text == text
    assert final.usage is not None
    assert final.usage.output_tokens == 12
    assert [event.cost for event in rig.events()] == [cost(event) for event in rig.events()]


def test_the_official_client_hears_of_a_cut(tmp_path: Path) -> None:
    policy = Policy(requests_per_minute_unverified=6000, slice_tokens=32, signup_credit_nanos=50_000_000)
    with running(tmp_path, policy) as rig:
        with openai.OpenAI(base_url=f"http://127.0.0.1:{rig.port}/v1", api_key=rig.key, max_retries=0) as client:
            made = client.responses.create(
                model="dear", input="long [[tokens=2000]] [[pace=2000]]", max_output_tokens=2000, stream=True
            )
            last = list(made)[-1]
        assert last.type == "response.incomplete"
        assert last.response.incomplete_details is not None
        assert last.response.incomplete_details.reason == "max_output_tokens"
        assert last.response.usage is not None
        assert last.response.usage.output_tokens == used(rig.events()[0])["output_tokens"]
        assert last.response.output_text


def test_the_official_client_knows_the_refusals(rig: Rig, ada: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="background"):
        ada.responses.create(model="tiny", input="x", background=True)
    with pytest.raises(openai.NotFoundError, match="not kept"):
        ada.responses.retrieve("resp_1")
