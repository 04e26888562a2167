"""What an engine refuses: fields missing or mistyped, models it has not, contexts that are full."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.modelserver.running import CHAT, EMBEDDINGS, TEXT, Running, chat


def message(**fields: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": [fields]}


REFUSED = [
    (CHAT, {"messages": [{"role": "user", "content": "x"}]}, "model"),
    (CHAT, {"model": "tiny"}, "messages"),
    (CHAT, {"model": "tiny", "messages": []}, "messages"),
    (CHAT, {"model": "tiny", "messages": "hello"}, "messages"),
    (CHAT, message(content="x"), "messages[0].role"),
    (CHAT, message(role="robot", content="x"), "messages[0].role"),
    (CHAT, message(role="user", content=7), "messages[0].content"),
    (CHAT, message(role="user"), "messages"),
    (CHAT, message(role="user", content=[{"type": "video"}]), "messages[0].content[0].type"),
    (CHAT, message(role="user", content=[{"type": "text"}]), "messages[0].content[0].text"),
    (CHAT, chat("x", max_tokens="10"), "max_tokens"),
    (CHAT, chat("x", max_tokens=1.5), "max_tokens"),
    (CHAT, chat("x", max_tokens=-1), "max_tokens"),
    (CHAT, chat("x", max_tokens=0), "max_tokens"),
    (CHAT, chat("x", n=0), "n"),
    (CHAT, chat("x", n=129), "n"),
    (CHAT, chat("x", stream="yes"), "stream"),
    (CHAT, chat("x", stream_options={"include_usage": True}), "stream_options"),
    (CHAT, chat("x", stream=True, stream_options={"include_usage": 1}), "stream_options.include_usage"),
    (CHAT, chat("x", stop=""), "stop"),
    (CHAT, chat("x", stop=["a", 1]), "stop[1]"),
    (CHAT, chat("x", seed="s"), "seed"),
    (CHAT, chat("x", temperature=2.5), "temperature"),
    (CHAT, chat("x", top_p=-0.1), "top_p"),
    (CHAT, chat("x", reasoning_effort="vast"), "reasoning_effort"),
    (CHAT, chat("x", tools={}), "tools"),
    (CHAT, chat("x", tools=[{"type": "function"}]), "tools.[0].function"),
    (CHAT, chat("x", tool_choice="required"), "tool_choice"),
    (CHAT, chat("x", tool_choice="required", tools=[]), "tool_choice"),
    (CHAT, chat("x", response_format={"type": "yaml"}), "response_format.type"),
    (CHAT, chat("word " * 2000), "messages"),
    (CHAT, chat("x", max_tokens=1999), "messages"),
    (TEXT, {"model": "tiny"}, "prompt"),
    (TEXT, {"model": "tiny", "prompt": ""}, "prompt"),
    (TEXT, {"model": "tiny", "prompt": []}, "prompt"),
    (TEXT, {"model": "tiny", "prompt": ["a", 1]}, "prompt"),
    (TEXT, {"model": "tiny", "prompt": ["a", ""]}, "prompt"),
    (TEXT, {"model": "tiny", "prompt": [1, -2]}, "prompt[1]"),
    (TEXT, {"model": "tiny", "prompt": {"text": "a"}}, "prompt"),
    (TEXT, {"model": "tiny", "prompt": "a", "max_tokens": 0}, "max_tokens"),
    (TEXT, {"model": "tiny", "prompt": "a", "n": 3, "best_of": 2}, "best_of"),
    (TEXT, {"model": "tiny", "prompt": "a", "best_of": 2, "stream": True}, "best_of"),
    (TEXT, {"model": "tiny", "prompt": list(range(2000))}, "prompt"),
    (EMBEDDINGS, {"model": "tiny", "input": ""}, "input"),
    (EMBEDDINGS, {"model": "tiny", "input": "a", "dimensions": 0}, "dimensions"),
    (EMBEDDINGS, {"model": "tiny", "input": "a", "encoding_format": "hex"}, "encoding_format"),
    (EMBEDDINGS, {"model": "tiny", "input": list(range(2001))}, "input"),
]


@pytest.mark.parametrize(("path", "body", "param"), REFUSED)
def test_a_wrong_body_is_refused_with_the_field_that_is_wrong(
    server: Running, path: str, body: dict[str, Any], param: str
) -> None:
    status, headers, answer = server.call("POST", path, body)
    error = json.loads(answer)["error"]
    assert (status, error["type"], error["param"]) == (400, "invalid_request_error", param), answer
    assert set(error) == {"message", "type", "param", "code"}
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("body", [b"", b"{", b'"\xff"', b"[]", b"null", b"[" * 100_000, b'{"model": "\\ud800"}'])
def test_a_body_that_is_no_json_object_is_refused(server: Running, body: bytes) -> None:
    for path in (CHAT, TEXT, EMBEDDINGS):
        status, _, answer = server.call("POST", path, body)
        assert (status, json.loads(answer)["error"]["type"]) == (400, "invalid_request_error")


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat("x", model="vast")),
        (TEXT, {"model": "vast", "prompt": "x"}),
        (EMBEDDINGS, {"model": "vast", "input": "x"}),
    ],
)
def test_an_unknown_model_is_404(server: Running, path: str, body: dict[str, Any]) -> None:
    before = server.get("/v1/counters?requests=0")["models"]["unknown"]["requests_failed"]
    status, _, answer = server.call("POST", path, body)
    error = json.loads(answer)["error"]
    assert (status, error["code"], error["param"]) == (404, "model_not_found", "model")
    assert server.get("/v1/counters?requests=0")["models"]["unknown"]["requests_failed"] == before + 1


def test_a_full_context_has_its_own_code_and_the_last_token_still_fits(server: Running) -> None:
    room = 2000 - (7 + 1)
    status, _, answer = server.call("POST", CHAT, chat("x", max_tokens=room + 1))
    assert (status, json.loads(answer)["error"]["code"]) == (400, "context_length_exceeded")
    assert server.post(CHAT, chat("x", max_tokens=room))["usage"]["prompt_tokens"] == 8


def test_without_a_cap_the_context_is_the_cap(server: Running) -> None:
    answer = server.post(CHAT, chat("[[tokens=5000]]"))
    assert answer["usage"]["total_tokens"] == 2000
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/nothing", 404),
        ("POST", "/v1/nothing", 404),
        ("GET", "/v1/models/vast", 404),
        ("GET", CHAT, 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/health", 405),
        ("GET", "/v1/counters?requests=all", 400),
    ],
)
def test_other_routes_and_methods(server: Running, method: str, path: str, status: int) -> None:
    told, headers, body = server.call(method, path)
    assert told == status
    assert json.loads(body)["error"]["message"]
    assert ("allow" in headers) is (status == 405)


@pytest.mark.parametrize("headers", [{"x-model-fail": "nonsense"}, {"x-model-pace": "fast"}, {"x-model-pace": "-1"}])
def test_directions_that_are_not_understood_are_refused(server: Running, headers: dict[str, str]) -> None:
    status, _, body = server.call("POST", CHAT, chat("x"), headers)
    assert (status, json.loads(body)["error"]["param"]) == (400, next(iter(headers)))


@pytest.mark.parametrize(
    "body", [{}, {"directives": "nonsense"}, {"directives": "refuse", "times": -1}, {"directives": 3}]
)
def test_a_wrong_switch_is_refused(server: Running, body: dict[str, Any]) -> None:
    status, _, _ = server.call("POST", "/v1/fail", body)
    assert status == 400
    assert server.get("/v1/fail")["times"] == 0
