"""Messages in Anthropic's shape: held, sliced, cut, settled and refused as chats are (interface §3, H1–H6)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from purser.core.policy import Policy
from purser.flows import accounts, pricing
from tests.gateway.rig import Answered, Rig, engine_log, model, running
from tests.gateway.test_responses import kinds, used
from tests.gateway.test_streams import cost
from tests.gateway.upstreams import answer as plain
from tests.gateway.upstreams import saying

pytestmark = pytest.mark.once  # what differs here is how a request is told; it is kept like any other

PATH = "/v1/messages"


def said(text: Any) -> list[Any]:
    """One message of a user."""
    return [{"role": "user", "content": text}]


def ask(rig: Rig, text: Any, *, headers: dict[str, str] | None = None, **more: Any) -> Answered:
    """One message to a text or to blocks."""
    return rig.send(PATH, {"model": "tiny", "max_tokens": 1000, "messages": said(text), **more}, headers=headers)


def stream(rig: Rig, text: Any, **more: Any) -> Answered:
    """One streamed message."""
    return ask(rig, text, stream=True, **more)


def words(answer: Answered) -> str:
    """The text of a stream."""
    return "".join(chunk["delta"].get("text", "") for chunk in answer.chunks if chunk["type"] == "content_block_delta")


def last_delta(answer: Answered) -> Any:
    """The event that tells how a message ended."""
    assert answer.chunks[-1]["type"] == "message_stop"
    assert answer.chunks[-2]["type"] == "message_delta"
    return answer.chunks[-2]


@pytest.mark.parametrize("prefix", ["", "/inference"])
def test_a_message_is_billed_what_the_engine_counted(rig: Rig, prefix: str) -> None:
    body = {"model": "tiny", "max_tokens": 100, "system": "be brief", "messages": said("hello [[tokens=25]]")}
    answer = rig.send(prefix + PATH, body, key=None, headers={"x-api-key": rig.key, "anthropic-version": "2023-06-01"})
    assert answer.status == 200, answer.body
    assert (answer.json["usage"]["output_tokens"], answer.json["stop_reason"]) == (25, "end_turn")
    [event] = rig.events()
    assert event.cost == cost(event)
    assert used(event) == {"input_tokens": answer.json["usage"]["input_tokens"], "output_tokens": 25}
    assert answer.headers["x-purser-cost-usd"]
    assert answer.headers["fireworks-prompt-tokens"] == str(answer.json["usage"]["input_tokens"])
    assert engine_log(rig)[-1]["max_tokens"] == 100


@pytest.mark.parametrize("streamed", [False, True])
def test_cached_tokens_are_beside_the_input_and_have_their_own_rate(rig: Rig, streamed: bool) -> None:
    text = "the same long beginning of a prompt, again and again " * 20
    for _ in range(2):
        answer = ask(rig, text, max_tokens=5, stream=streamed)
    usage = last_delta(answer)["usage"] if streamed else answer.json["usage"]
    assert usage["cache_read_input_tokens"] > 0
    event = rig.events()[-1]
    assert used(event) == {
        "input_tokens": usage["input_tokens"],
        "cached_input_tokens": usage["cache_read_input_tokens"],
        "output_tokens": 5,
    }
    assert event.cost == cost(event)


def test_a_stream_tells_its_usage_and_what_it_cost(rig: Rig) -> None:
    answer = stream(rig, "hello [[tokens=40]]")
    assert answer.status == 200, answer.body
    assert kinds(answer) == [
        "message_start",
        "ping",
        "content_block_start",
        "content_block_delta",
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]
    [event] = rig.events()
    usage = last_delta(answer)["usage"]
    assert usage["output_tokens"] == used(event)["output_tokens"] == 40
    assert int(usage["cost_usd"].replace(".", "").ljust(10, "0")) == event.cost == cost(event) > 0
    assert not event.estimated
    assert words(answer) == ask(rig, "hello [[tokens=40]]").json["content"][0]["text"]


def test_the_model_has_its_customers_name(rig: Rig) -> None:
    rig.gateway.served["dear"].upstream_model = "tiny"
    for directive in ("other-model", "split", "comments"):
        answer = stream(rig, "odd [[tokens=20]]", model="dear", headers={"x-model-fail": directive})
        assert answer.chunks[0]["message"]["model"] == "dear"
        assert used(rig.events()[-1])["output_tokens"] == 20
        last_delta(answer)
    assert ask(rig, "hi", model="dear", max_tokens=2).json["model"] == "dear"


def test_tools_thinking_and_blocks_are_passed_on_and_counted(rig: Rig) -> None:
    tool = {"name": "weigh", "input_schema": {"type": "object", "properties": {"kg": {"type": "number"}}}}
    turns = [
        *said([{"type": "text", "text": "weigh it", "cache_control": {"type": "ephemeral"}}]),
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "weigh", "input": {}}]},
        *said([{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "12"}]}]),
    ]
    called = ask(rig, "", messages=turns, tools=[tool], tool_choice={"type": "any"})
    assert (called.json["stop_reason"], called.json["content"][0]["name"]) == ("tool_use", "weigh")
    streamed = stream(rig, "", messages=turns, tools=[tool], tool_choice={"type": "tool", "name": "weigh"})
    assert any(chunk.get("delta", {}).get("type") == "input_json_delta" for chunk in streamed.chunks)
    thought = stream(rig, "think [[tokens=40]]", thinking={"type": "enabled", "budget_tokens": 500})
    assert any(chunk.get("delta", {}).get("type") == "thinking_delta" for chunk in thought.chunks)
    assert used(rig.events()[-1])["output_tokens"] == 40
    picture = ask(rig, [{"type": "image", "source": {"type": "url", "url": "https://x/y.png"}}], max_tokens=3)
    assert picture.json["usage"]["input_tokens"] > 500
    assert rig.events()[-1].held >= 8192 * 200, "an image is bounded by the model's context"
    assert [event.cost for event in rig.events()] == [cost(event) for event in rig.events()]


# ── usage that is told in pieces ─────────────────────────────────────────────────────────────────────────────────
def event(kind: str, **data: Any) -> bytes:
    """One named event."""
    return f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode()


def start(**usage: Any) -> bytes:
    """The beginning of a message."""
    told = {"id": "msg_1", "type": "message", "role": "assistant", "model": "x", "content": [], "usage": usage}
    return event("message_start", message=told) + event(
        "content_block_start", index=0, content_block={"type": "text", "text": ""}
    )


DELTA = event("content_block_delta", index=0, delta={"type": "text_delta", "text": "word"})


def ended(reason: str | None, **usage: Any) -> bytes:
    """What is told of how a message ended, or goes on."""
    return event("message_delta", delta={"stop_reason": reason}, usage=usage)


WRITTEN = {"ephemeral_5m_input_tokens": 30, "ephemeral_1h_input_tokens": 70}
# (what, events, quantities, estimated)
TOLD: list[tuple[str, list[bytes], dict[str, int], bool]] = [
    (
        "each figure is of all so far, none is added",
        [
            start(input_tokens=50, output_tokens=1),
            DELTA,
            ended(None, output_tokens=5),
            DELTA,
            ended("end_turn", output_tokens=9),
        ],
        {"input_tokens": 50, "output_tokens": 9},
        False,
    ),
    (
        "the end overwrites the beginning",
        [start(input_tokens=0, output_tokens=0), DELTA, ended("end_turn", input_tokens=44, output_tokens=7)],
        {"input_tokens": 44, "output_tokens": 7},
        False,
    ),
    (
        "what was read from a cache or written to one is beside the input",
        [
            start(input_tokens=5, cache_read_input_tokens=20, cache_creation_input_tokens=100, cache_creation=WRITTEN),
            DELTA,
            ended("end_turn", input_tokens=None, output_tokens=3),
        ],
        {
            "input_tokens": 5,
            "cached_input_tokens": 20,
            "cache_write_5m_input_tokens": 30,
            "cache_write_1h_input_tokens": 70,
            "output_tokens": 3,
        },
        False,
    ),
    (
        "without an end what was said is counted",
        [start(input_tokens=50, output_tokens=1), DELTA, DELTA],
        {"input_tokens": 50, "output_tokens": 2},
        True,
    ),
]


@pytest.mark.parametrize(("what", "events", "quantities", "estimated"), TOLD, ids=[told[0] for told in TOLD])
def test_usage_that_is_told_in_pieces(
    tmp_path: Path, what: str, events: list[bytes], quantities: dict[str, int], estimated: bool
) -> None:
    text = b"".join([*events, event("content_block_stop", index=0), event("message_stop")])
    rates = {
        "input": "1.00",
        "cached_input": "0.10",
        "output": "4.00",
        "cache_write_5m": "1.25",
        "cache_write_1h": "2.00",
    }
    with saying(plain(200, text, kind=b"text/event-stream")) as url:
        with running(tmp_path, models=(model("tiny", (url,)),)) as rig:
            rig.write(lambda tx: pricing.publish(tx, {"tiny": rates}))
            quote = {"path": PATH, "body": {"model": "tiny", "max_tokens": 1, "messages": said("hi")}}
            assert rig.eventually(lambda: rig.send("/v1/quote", quote).json["priceVersion"] == 2)
            answer = stream(rig, "hello " * 100)
            assert answer.chunks[-1]["type"] == "message_stop"
            [found] = rig.events()
            assert (used(found), bool(found.estimated)) == (quantities, estimated)


# ── the limit ────────────────────────────────────────────────────────────────────────────────────────────────────
def test_a_stream_is_cut_at_the_end_of_the_money_and_ends_properly(tmp_path: Path) -> None:
    policy = Policy(requests_per_minute_unverified=6000, slice_tokens=32, signup_credit_nanos=50_000_000)
    with running(tmp_path, policy) as rig:
        answer = stream(rig, "long [[tokens=2000]] [[pace=2000]]", model="dear", max_tokens=2000)
        assert answer.status == 200, answer.body
        assert kinds(answer)[-3:] == ["content_block_stop", "message_delta", "message_stop"]
        ending = last_delta(answer)
        assert ending["delta"] == {"stop_reason": "max_tokens", "stop_sequence": None}
        [found] = rig.events()
        assert ending["usage"]["output_tokens"] == used(found)["output_tokens"]
        balance = rig.balance()
        assert 44_000_000 <= balance.spent_this_month == found.cost <= found.held <= 50_000_000
        assert balance.held == 0
        assert rig.eventually(lambda: engine_log(rig)[-1]["cancelled"], 1)


def test_an_engine_that_ignores_the_cap_is_cut_there(rig: Rig) -> None:
    answer = stream(rig, "hi", max_tokens=20, headers={"x-model-fail": "ignore-cap=500"})
    assert last_delta(answer)["delta"]["stop_reason"] == "max_tokens"
    [found] = rig.events()
    assert used(found)["output_tokens"] == 20
    assert found.cost == cost(found) <= found.held


def test_a_cap_that_does_not_fit_is_lowered_and_told(tmp_path: Path) -> None:
    policy = Policy(requests_per_minute_unverified=6000, signup_credit_nanos=20_000_000)
    with running(tmp_path, policy) as rig:
        answer = ask(rig, "hi [[tokens=5]]", model="dear", max_tokens=2000)
        assert 16 <= int(answer.headers["x-purser-max-tokens"]) == engine_log(rig)[-1]["max_tokens"] < 2000
        refused = ask(rig, "hi", model="dear", max_tokens=2000, headers={"x-purser-fit": "refuse"})
        assert (refused.status, refused.json["type"], refused.error["type"]) == (402, "error", "billing_error")
        assert refused.error["cause"] == "CREDIT"
        assert refused.error["affordable_output_tokens"] > 0
        assert refused.headers["x-should-retry"] == "false"


# ── hang-ups and failures ────────────────────────────────────────────────────────────────────────────────────────
def test_a_hang_up_cancels_the_upstream_and_bills_what_came(rig: Rig) -> None:
    asked = {"model": "tiny", "stream": True, "max_tokens": 900, "messages": said("go on [[tokens=800]] [[pace=200]]")}
    raw = json.dumps(asked).encode()
    with socket.create_connection(("127.0.0.1", rig.port)) as line:
        line.sendall(
            b"POST /v1/messages HTTP/1.1\r\nhost: here\r\nx-api-key: %b\r\ncontent-length: %d\r\n\r\n%b"
            % (rig.key.encode(), len(raw), raw)
        )
        got = 0
        while got < 8000:
            more = len(line.recv(4096))
            assert more
            got += more
    assert rig.eventually(lambda: len(rig.events()) == 1, 2)
    assert rig.eventually(lambda: engine_log(rig)[-1]["cancelled"], 1)
    [found] = rig.events()
    log = engine_log(rig)[-1]
    assert found.estimated
    assert used(found)["input_tokens"] == log["prompt_tokens"], "what was read was told in the beginning"
    assert 0 < used(found)["output_tokens"] <= log["generated_tokens"] <= used(found)["output_tokens"] + 60
    assert rig.balance().held == 0


@pytest.mark.parametrize(
    ("directive", "status", "kind"),
    [
        ("refuse", 502, "api_error"),
        ("hang", 504, "timeout_error"),
        ("garbage", 502, "api_error"),
        ("cut-after=0", 502, "api_error"),
        ("error-after=0", 502, "api_error"),
    ],
)
def test_an_upstream_that_fails_before_a_first_token_bills_nothing(
    rig: Rig, directive: str, status: int, kind: str
) -> None:
    answer = stream(rig, "hi", headers={"x-model-fail": directive})
    assert (answer.status, answer.error["type"]) == (status, kind), answer.body
    assert rig.balance().spent_this_month == rig.balance().held == 0
    assert ask(rig, "hi", headers={"x-model-fail": "status=500"}).status == 500
    assert not rig.events()


@pytest.mark.parametrize("directive", ["cut-after=10", "hang-after=10", "error-after=10"])
def test_an_upstream_that_fails_in_the_middle_bills_what_came_and_says_so(rig: Rig, directive: str) -> None:
    answer = stream(rig, "hi [[tokens=100]]", headers={"x-model-fail": directive})
    last = answer.chunks[-1]
    assert (last["type"], last["error"]["type"]) == ("error", "api_error")
    assert "what came until then was billed" in last["error"]["message"]
    [found] = rig.events()
    assert used(found)["output_tokens"] == 10
    assert found.cost == cost(found)


@pytest.mark.parametrize("streamed", [False, True])
def test_without_usage_it_is_estimated_low(rig: Rig, streamed: bool) -> None:
    answer = ask(rig, "x" * 80 + " [[tokens=30]]", stream=streamed, headers={"x-model-fail": "no-usage"})
    assert answer.status == 200
    [found] = rig.events()
    assert found.estimated == 1
    assert used(found)["input_tokens"] == (80 + 14) // 8
    assert 10 < used(found)["output_tokens"] <= 30
    if streamed:
        assert last_delta(answer)["usage"]["output_tokens"] == 30, "the end always tells"


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("kind", ["negative", "cached", "string"])
def test_usage_that_contradicts_itself_is_quarantined(rig: Rig, streamed: bool, kind: str) -> None:
    answer = ask(rig, "hi [[tokens=5]]", stream=streamed, headers={"x-model-fail": f"bad-usage={kind}"})
    assert answer.status == 200
    assert [(found.state, found.cost) for found in rig.events()] == [("quarantined", 0)]
    assert rig.balance().held == 0


def test_a_stream_without_its_last_event_is_billed_what_was_told(rig: Rig) -> None:
    answer = stream(rig, "hi [[tokens=12]]", headers={"x-model-fail": "no-done"})
    assert answer.chunks[-1]["type"] == "message_delta"
    [found] = rig.events()
    assert (found.estimated, used(found)["output_tokens"]) == (0, 12)


# ── what is refused, and how ─────────────────────────────────────────────────────────────────────────────────────
REFUSED: list[tuple[dict[str, Any], str]] = [
    ({}, "messages"),
    ({"messages": []}, "messages"),
    ({"messages": ["Hi"]}, "messages[0]"),
    ({"messages": said(5)}, "messages[0].content"),
    ({"messages": said(["Hi"])}, "messages[0].content[0]"),
    ({"messages": said([{"type": "text"}])}, "messages[0].content[0].text"),
    ({"messages": said("Hi"), "max_tokens": None}, "max_tokens"),
    ({"messages": said("Hi"), "max_tokens": 0}, "max_tokens"),
    ({"messages": said("Hi"), "system": 5}, "system"),
    ({"messages": said("Hi"), "stream": "yes"}, "stream"),
    ({"messages": said("Hi"), "max_output_tokens": 5}, "max_output_tokens"),
    ({"messages": said("Hi"), "n": 2}, "n"),
    ({"messages": said("Hi"), "mcp_servers": []}, "mcp_servers"),
    ({"messages": said("Hi"), "chat_template": "x"}, "chat_template"),
    ({"messages": said("Hi"), "tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0]"),
    ({"messages": said("Hi"), "extra_body": {"max_tokens": 9000}}, "extra_body.max_tokens"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=[str(body)[:60] for body, _ in REFUSED])
def test_a_bad_body_is_400_names_the_field_and_costs_nothing(rig: Rig, body: dict[str, Any], field: str) -> None:
    answer = rig.send(PATH, {"model": "tiny", "max_tokens": 5, **body})
    assert (answer.status, answer.error["param"]) == (400, field), answer.body
    assert answer.error["type"] == "invalid_request_error"
    assert rig.balance().held == 0
    assert not rig.events()


# (method, path, body, key, status, type)
ERRORS: list[tuple[str, str, Any, str | None, int, str]] = [
    ("POST", PATH, {}, None, 401, "authentication_error"),
    ("POST", PATH, b"{", "", 400, "invalid_request_error"),
    ("POST", PATH, {"model": "nope", "max_tokens": 1, "messages": said("x")}, "", 404, "not_found_error"),
    ("GET", PATH, None, "", 405, "invalid_request_error"),
    ("POST", PATH + "/batches", {}, "", 404, "not_found_error"),
    ("GET", "/inference/v1/messages/batches/b1", None, "", 404, "not_found_error"),
]


@pytest.mark.parametrize(("method", "path", "body", "key", "status", "kind"), ERRORS)
def test_errors_have_the_shape_of_that_api(
    rig: Rig, method: str, path: str, body: Any, key: str | None, status: int, kind: str
) -> None:
    answer = rig.send(path, body, method=method, key=key)
    assert answer.status == status, answer.body
    assert set(answer.json) == {"type", "error", "request_id"}
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert (answer.json["type"], answer.error["type"]) == ("error", kind)
    assert answer.error["message"]


def test_a_suspended_account_hears_why_before_its_body_is_read(rig: Rig) -> None:
    rig.write(lambda tx: accounts.suspend(tx, "ada", "BLOCKED_BY_ABUSE_RULE", "odd traffic"))
    answer = rig.send(PATH, b"not json")
    assert (answer.status, answer.json["type"], answer.error["code"]) == (412, "error", "PRECONDITION_FAILED")
    assert "is suspended" in answer.error["message"]


# ── counting ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_tokens_are_counted_for_nothing(rig: Rig) -> None:
    body = {"model": "tiny", "messages": said("count this")}
    counted = rig.send(PATH + "/count_tokens", body)
    assert counted.status == 200, counted.body
    assert counted.json["input_tokens"] == ask(rig, "count this", max_tokens=1).json["usage"]["input_tokens"]
    assert counted.headers["x-purser-cost-usd"] == "0.00"
    assert len(rig.events()) == 1, "the message alone"
    assert rig.send(PATH + "/count_tokens", {"model": "nope", "messages": said("x")}).status == 404
    assert rig.balance().held == 0


# ── the official client ──────────────────────────────────────────────────────────────────────────────────────────
@pytest.fixture(params=["", "/inference"])
def ada(rig: Rig, request: pytest.FixtureRequest) -> Iterator[anthropic.Anthropic]:
    """Anthropic's own client, which sends nothing again."""
    base_url = f"http://127.0.0.1:{rig.port}{request.param}"
    with anthropic.Anthropic(base_url=base_url, api_key=rig.key, max_retries=0) as client:
        yield client


def test_the_official_client_creates_streams_and_counts(rig: Rig, ada: anthropic.Anthropic) -> None:
    whole = ada.messages.create(model="tiny", max_tokens=50, messages=said("hello [[tokens=12]]"))
    assert whole.usage.output_tokens == 12
    with ada.messages.stream(model="tiny", max_tokens=50, messages=said("hello [[tokens=12]]")) as told:
        text = "".join(told.text_stream)
        final = told.get_final_message()
    assert text
    assert final.model == "tiny"
    assert (final.usage.output_tokens, final.stop_reason) == (12, "end_turn")
    assert ada.messages.count_tokens(model="tiny", messages=said("hello")).input_tokens > 3
    assert [found.cost for found in rig.events()] == [cost(found) for found in rig.events()]
    assert len(rig.events()) == 2


def test_the_official_client_hears_of_a_cut(tmp_path: Path) -> None:
    policy = Policy(requests_per_minute_unverified=6000, slice_tokens=32, signup_credit_nanos=50_000_000)
    with running(tmp_path, policy) as rig:
        base_url = f"http://127.0.0.1:{rig.port}"
        with anthropic.Anthropic(base_url=base_url, api_key=rig.key, max_retries=0) as client:
            text = "long [[tokens=2000]] [[pace=2000]]"
            with client.messages.stream(model="dear", max_tokens=2000, messages=said(text)) as told:
                final = told.get_final_message()
        assert final.stop_reason == "max_tokens"
        assert final.usage.output_tokens == used(rig.events()[0])["output_tokens"]


def test_the_official_client_knows_the_refusals(rig: Rig, ada: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError, match="nope"):
        ada.messages.create(model="nope", max_tokens=5, messages=said("hi"))
    with pytest.raises(anthropic.AuthenticationError):
        ada.with_options(api_key="pk_wrong").messages.create(model="tiny", max_tokens=5, messages=said("hi"))
    rig.write(lambda tx: accounts.suspend(tx, "ada", "BLOCKED_BY_ABUSE_RULE", "odd traffic"))
    retrying = ada.with_options(max_retries=2)
    before = rig.on_loop(lambda: rig.gateway.counters.requests)
    with pytest.raises(anthropic.APIStatusError, match="is suspended") as refused:
        retrying.messages.create(model="tiny", max_tokens=5, messages=said("hi"))
    assert refused.value.status_code == 412
    assert rig.on_loop(lambda: rig.gateway.counters.requests) == before + 1
