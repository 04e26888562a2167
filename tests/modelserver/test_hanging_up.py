"""A client that leaves stops the model where it is, and that is counted."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from tests.modelserver.running import CHAT, TEXT, Running, chat

SLOW = {"x-model-pace": "20"}


@pytest.mark.parametrize("half", [False, True], ids=["closed", "only the sending side closed"])
def test_a_stream_whose_client_leaves_is_cancelled(server: Running, half: bool) -> None:
    request_id = f"left stream {half}"
    body = chat("Go on. [[tokens=1900]]", stream=True)
    with server.open(CHAT, body, {**SLOW, "x-request-id": request_id}) as line:
        raw = b""
        while raw.count(b'"content":') < 4:
            raw += line.recv(4096)
        if half:
            line.shutdown(socket.SHUT_WR)
            while line.recv(4096):
                pass
    entry = server.ended(request_id)
    assert (entry["outcome"], entry["cancelled"], entry["finish_reason"]) == ("cancelled", True, None)
    assert entry["prompt_tokens"] > 0
    assert 3 <= entry["generated_tokens"] < 200


def test_a_whole_answer_whose_client_leaves_is_cancelled(server: Running) -> None:
    before = server.get("/v1/counters?requests=0")["total"]
    body = {"model": "tiny", "prompt": "Go on. [[tokens=1900]]", "max_tokens": 1900}
    with server.open(TEXT, body, {**SLOW, "x-request-id": "left whole"}):
        server.once("left whole", lambda entry: entry["generated_tokens"] > 0)
    entry = server.ended("left whole")
    assert entry["outcome"] == "cancelled"
    assert 1 <= entry["generated_tokens"] < 200
    total = server.get("/v1/counters?requests=0")["total"]
    assert total["requests_cancelled"] == before["requests_cancelled"] + 1
    assert total["generated_tokens"] == before["generated_tokens"] + entry["generated_tokens"]


def test_a_client_that_leaves_before_the_first_token_has_read_nothing(server: Running) -> None:
    headers = {"x-model-fail": "slow-head=60000", "x-request-id": "left early"}
    with server.open(CHAT, chat("Go on."), headers):
        server.once("left early", lambda entry: True)
    entry = server.ended("left early")
    assert (entry["outcome"], entry["prompt_tokens"], entry["generated_tokens"]) == ("cancelled", 0, 0)


def test_a_client_that_does_not_read_holds_the_model_back(server: Running) -> None:
    body = chat("Go on.", stream=True)
    headers = {"x-model-fail": "ignore-cap=200000", "x-request-id": "not reading"}
    with server.open(CHAT, body, headers):
        counts = [-1]

        def stands_still(entry: Any) -> bool:
            counts.append(entry["generated_tokens"])
            return counts[-1] == counts[-2]

        server.once("not reading", stands_still)
        assert 0 < counts[-1] < 200_000
    assert server.ended("not reading")["outcome"] == "cancelled"


def test_the_pace_can_be_set_in_the_prompt(server: Running) -> None:
    body = chat("[[pace=20]] Go on. [[tokens=1900]]", stream=True)
    with server.open(CHAT, body, {"x-request-id": "paced"}) as line:
        raw = b""
        while raw.count(b'"content":') < 3:
            raw += line.recv(4096)
    assert server.ended("paced")["outcome"] == "cancelled"
