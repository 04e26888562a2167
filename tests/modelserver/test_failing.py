"""Each failure directive as a client meets it."""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any

import pytest

from purser.modelserver.tokens import count_tokens
from tests.modelserver.running import CHAT, EMBEDDINGS, TEXT, Running, chat, text_of

ASKED = {"stream": True, "stream_options": {"include_usage": True}}
STORY = chat("A story. [[tokens=20]]")
STREAM = {**STORY, **ASKED}
PATHS: list[tuple[str, dict[str, Any]]] = [
    (CHAT, STORY),
    (CHAT, STREAM),
    (TEXT, {"model": "tiny", "prompt": "Once"}),
    (EMBEDDINGS, {"model": "tiny", "input": "Once"}),
]


def fail(directives: str, request_id: str = "") -> dict[str, str]:
    return {"x-model-fail": directives, "x-request-id": request_id}


def read_until(line: socket.socket, mark: bytes) -> bytes:
    """What comes until the mark has come; AssertionError if the connection ends before."""
    data = b""
    while mark not in data:
        piece = line.recv(65536)
        assert piece, data
        data += piece
    return data


def all_of(line: socket.socket) -> bytes:
    """What comes until the connection ends."""
    data = b""
    with line:
        while piece := line.recv(65536):
            data += piece
    return data


def deltas(raw: bytes) -> int:
    """How many non-empty content deltas there are in raw bytes."""
    return raw.count(b'"delta":{"content":')


def usage_of(server: Running, directives: str) -> list[Any]:
    """The usage of a whole answer and of a stream under these directives, None where there is none."""
    whole = server.post(CHAT, STORY, directives)
    chunks = server.events(CHAT, STREAM, directives)
    told = [chunk["usage"] for chunk in chunks if chunk.get("usage") is not None]
    assert len(told) <= 1
    assert text_of(chunks) == whole["choices"][0]["message"]["content"]
    return [whole.get("usage"), told[0] if told else None]


@pytest.mark.parametrize("status", [400, 408, 429, 500, 502, 503, 599])
@pytest.mark.parametrize(("path", "body"), PATHS)
def test_status(server: Running, path: str, body: dict[str, Any], status: int) -> None:
    told, headers, answer = server.call("POST", path, body, fail(f"status={status}"))
    assert told == status
    assert json.loads(answer)["error"]["message"]
    assert headers.get("retry-after") == ("1" if status in (429, 503) else None)


def test_a_failing_status_comes_before_the_body_is_looked_at(server: Running) -> None:
    status, _, _ = server.call("POST", CHAT, b"{", fail("status=503"))
    assert status == 503


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_refuse(server: Running, path: str, body: dict[str, Any]) -> None:
    with pytest.raises(http.client.RemoteDisconnected):
        server.call("POST", path, body, fail("refuse", "refused"))
    assert server.ended("refused")["outcome"] == "failed"


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_hang_until_the_client_leaves(server: Running, path: str, body: dict[str, Any]) -> None:
    with server.open(path, body, fail("hang", f"hung {path}")) as line:
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
        assert server.logged(f"hung {path}")["outcome"] == "running"
    entry = server.ended(f"hung {path}")
    assert (entry["outcome"], entry["prompt_tokens"], entry["generated_tokens"]) == ("cancelled", 0, 0)


@pytest.mark.parametrize("count", [0, 1, 7, 20, 500])
def test_hang_after(server: Running, count: int) -> None:
    sent = min(count, 20)
    with server.open(CHAT, STREAM, fail(f"hang-after={count}", f"hang-after {count}")) as line:
        raw = read_until(line, b'"role"')
        while deltas(raw) < sent:
            raw += line.recv(65536)
        line.settimeout(0.2)
        with pytest.raises(TimeoutError):
            line.recv(1)
    assert deltas(raw) == sent
    assert b'finish_reason":"' not in raw
    entry = server.ended(f"hang-after {count}")
    assert (entry["outcome"], entry["generated_tokens"]) == ("cancelled", sent)


@pytest.mark.parametrize("count", [0, 1, 7, 20, 500])
def test_cut_after(server: Running, count: int) -> None:
    raw = all_of(server.open(CHAT, STREAM, fail(f"cut-after={count}", f"cut-after {count}")))
    assert deltas(raw) == min(count, 20)
    assert not raw.endswith(b"0\r\n\r\n")
    assert b"[DONE]" not in raw
    assert b'finish_reason":"' not in raw
    entry = server.ended(f"cut-after {count}")
    assert (entry["outcome"], entry["generated_tokens"]) == ("failed", min(count, 20))


def test_cut_after_in_a_whole_answer_cuts_its_body(server: Running) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        server.call("POST", CHAT, STORY, fail("cut-after=3"))
    with pytest.raises(json.JSONDecodeError):
        json.loads(caught.value.partial)


def test_error_after(server: Running) -> None:
    chunks = server.events(CHAT, STREAM, "error-after=4")
    assert text_of(chunks[:-1]) == text_of(server.events(CHAT, {**STORY, "max_tokens": 4}))
    assert chunks[-1]["error"]["type"] == "server_error"
    status, _, _ = server.call("POST", CHAT, STORY, fail("error-after=4"))
    assert status == 500


@pytest.mark.parametrize(("path", "body"), [PATHS[0], PATHS[2], PATHS[3]])
def test_truncate(server: Running, path: str, body: dict[str, Any]) -> None:
    with pytest.raises(http.client.IncompleteRead) as caught:
        server.call("POST", path, body, fail("truncate"))
    assert caught.value.expected == 100
    assert json.loads(caught.value.partial)["model"] == "tiny"


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_garbage(server: Running, path: str, body: dict[str, Any]) -> None:
    status, headers, answer = server.call("POST", path, body, fail("garbage"))
    assert status == 200
    lines = answer.split(b"\n\n")[:2] if "stream" in body else [answer]
    assert headers["content-type"].startswith("text/event-stream" if "stream" in body else "application/json")
    for line in lines:
        with pytest.raises(json.JSONDecodeError):
            json.loads(line.removeprefix(b"data: "))


@pytest.mark.parametrize(("directive", "megabytes"), [("huge=2", 2), ("huge", 100)])
def test_huge(server: Running, directive: str, megabytes: int) -> None:
    answer = server.post(CHAT, STORY, directive)
    plain = server.post(CHAT, STORY)
    padding, text = "x" * megabytes * 1_000_000, plain["choices"][0]["message"]["content"]
    assert answer["choices"][0]["message"]["content"] == padding + text
    assert answer["usage"]["completion_tokens"] == 20
    if megabytes == 2:
        assert text_of(server.events(CHAT, STREAM, directive)) == padding + text


def test_no_usage(server: Running) -> None:
    assert usage_of(server, "no-usage") == [None, None]
    running = {"include_usage": True, "continuous_usage_stats": True}
    chunks = server.events(CHAT, {**STREAM, "stream_options": running}, "no-usage")
    assert all("usage" not in chunk for chunk in chunks)
    assert "usage" not in server.post(EMBEDDINGS, {"model": "tiny", "input": "Once"}, "no-usage")


def test_null_usage(server: Running) -> None:
    chunks = server.events(CHAT, STREAM, "null-usage")
    assert all(chunk["usage"] is None for chunk in chunks[:-1])
    assert chunks[-1]["usage"]["completion_tokens"] == 20


def test_no_details(server: Running) -> None:
    for usage in usage_of(server, "no-details"):
        assert set(usage) == {"prompt_tokens", "completion_tokens", "total_tokens"}


def test_bad_usage(server: Running) -> None:
    for usage in usage_of(server, "bad-usage=negative"):
        assert usage["prompt_tokens"] < 0
        assert usage["completion_tokens"] < 0
    for usage in usage_of(server, "bad-usage=cached"):
        assert usage["prompt_tokens_details"]["cached_tokens"] > usage["prompt_tokens"]
    for usage in usage_of(server, "bad-usage=huge"):
        assert usage["completion_tokens"] == 10**15
    for usage in usage_of(server, "bad-usage=string"):
        assert usage["completion_tokens"] == "20"
    for usage in usage_of(server, "bad-usage=missing-field"):
        assert set(usage) == {"prompt_tokens", "total_tokens", "prompt_tokens_details"}


def test_bad_usage_of_embeddings(server: Running) -> None:
    body = {"model": "tiny", "input": "Once"}
    told = {kind: server.post(EMBEDDINGS, body, f"bad-usage={kind}")["usage"] for kind in ("negative", "cached")}
    assert told["negative"] == {"prompt_tokens": -1, "total_tokens": -1}
    assert told["cached"]["prompt_tokens_details"]["cached_tokens"] > 1
    missing = server.post(EMBEDDINGS, body, "bad-usage=missing-field")["usage"]
    assert missing == {"total_tokens": 1}


def test_usage_with_choice(server: Running) -> None:
    chunks = server.events(CHAT, {**STREAM, "n": 2}, "usage-with-choice")
    beside = [chunk for chunk in chunks if "usage" in chunk]
    assert len(beside) == 1
    assert beside[0]["choices"][0]["finish_reason"] == "stop"
    assert beside[0]["usage"]["completion_tokens"] == 40
    assert chunks[-1] is beside[0]


def test_no_done(server: Running) -> None:
    _, _, body = server.call("POST", CHAT, STREAM, fail("no-done"))
    events = body.decode().rstrip().split("\n\n")
    assert "[DONE]" not in body.decode()
    assert json.loads(events[-1].removeprefix("data: "))["usage"]["completion_tokens"] == 20


def test_no_stream(server: Running) -> None:
    status, headers, body = server.call("POST", CHAT, STREAM, fail("no-stream"))
    assert (status, headers["content-type"]) == (200, "application/json")
    assert json.loads(body)["object"] == "chat.completion"


@pytest.mark.parametrize(
    ("directive", "text", "tokens"),
    [
        ("ignore-cap", "Go on.", 4096),
        ("ignore-cap", "Go on. [[tokens=90]]", 90),
        ("ignore-cap=3000", "Go on. [[tokens=90]]", 3000),
    ],
)
def test_ignore_cap(server: Running, directive: str, text: str, tokens: int) -> None:
    body = chat(text, max_tokens=5)
    answer = server.post(CHAT, body, directive)
    assert answer["usage"]["completion_tokens"] == tokens
    assert count_tokens(answer["choices"][0]["message"]["content"]) == tokens
    chunks = server.events(CHAT, {**body, **ASKED}, directive)
    assert chunks[-1]["usage"]["completion_tokens"] == tokens


def test_other_model(server: Running) -> None:
    assert server.post(CHAT, STORY, "other-model")["model"] == "other/model"
    assert {chunk["model"] for chunk in server.events(CHAT, STREAM, "other-model")} == {"other/model"}
    assert server.post(EMBEDDINGS, {"model": "tiny", "input": "x"}, "other-model")["model"] == "other/model"


def test_slow_head_only_delays(server: Running) -> None:
    assert server.post(CHAT, STORY, "slow-head=50")["choices"] == server.post(CHAT, STORY)["choices"]


def test_split(server: Running) -> None:
    _, _, body = server.call("POST", CHAT, STREAM, fail("split"))
    assert body.count(b"\n") == body.count(b"\r\n")
    events = [line.removeprefix("data: ") for line in body.decode().split("\r\n\r\n") if line]
    assert events.pop() == "[DONE]"
    assert text_of([json.loads(event) for event in events]) == text_of(server.events(CHAT, STREAM))
    raw = all_of(server.open(CHAT, STREAM, {**fail("split"), "Connection": "close"}))
    sizes = {int(line, 16) for line in raw.split(b"\r\n") if line.isdigit() and len(line) == 1}
    assert {1, 3, 7, 5, 2} <= sizes


def test_comments(server: Running) -> None:
    _, _, body = server.call("POST", CHAT, STREAM, fail("comments"))
    lines = [line for line in body.decode().split("\n\n") if line]
    assert lines[0::2] == [": keep-alive"] * (len(lines) // 2)
    assert lines.pop() == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[1::2]]
    assert text_of(chunks) == text_of(server.events(CHAT, STREAM))


def test_several_directives_together(server: Running) -> None:
    raw = all_of(server.open(CHAT, STREAM, fail("comments,other-model,no-usage,cut-after=2")))
    assert raw.count(b"other/model") == 3
    assert raw.count(b": keep-alive") == 3


def test_directives_in_the_prompt_and_those_of_the_header_first(server: Running) -> None:
    body = chat("[[fail=status=418]] [[tokens=3]]")
    assert server.call("POST", CHAT, body)[0] == 418
    assert server.call("POST", CHAT, body, fail("status=503"))[0] == 503
    assert server.call("POST", CHAT, body, fail(""))[0] == 200


def test_the_switch_fails_the_next_requests_of_anyone(server: Running) -> None:
    status, _, _ = server.call("POST", "/v1/fail", {"directives": "status=503", "times": 2})
    assert status == 200
    assert server.call("POST", CHAT, STORY, fail("status=500"))[0] == 500
    assert server.get("/v1/fail") == {"directives": "status=503", "times": 2}
    told = [server.call("POST", path, body)[0] for path, body in PATHS]
    assert told == [503, 503, 200, 200]


def test_the_switch_can_stay_on(server: Running) -> None:
    server.post("/v1/fail", {"directives": "status=500", "times": None})
    assert [server.call("POST", CHAT, STORY)[0] for _ in range(5)] == [500] * 5
    server.post("/v1/fail", {"directives": ""})
    assert server.call("POST", CHAT, STORY)[0] == 200
