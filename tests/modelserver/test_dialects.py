"""The model server's responses, messages and reranks: whole and streamed they say the same, and fail as told."""

from __future__ import annotations

import json
from typing import Any

import anthropic
import openai
import pytest

from tests.modelserver.running import Running

pytestmark = pytest.mark.once

RESPONSES, MESSAGES = "/v1/responses", "/v1/messages"
TOLD = "say it [[tokens=20]]"


def body(path: str, **more: Any) -> dict[str, Any]:
    """A request in either dialect."""
    if path == RESPONSES:
        return {"model": "tiny", "input": TOLD, **more}
    return {"model": "tiny", "max_tokens": 100, "messages": [{"role": "user", "content": TOLD}], **more}


def events(server: Running, path: str, fail: str = "", **more: Any) -> list[Any]:
    """The events of a stream."""
    headers = {"x-model-fail": fail} if fail else {}
    status, _, answer = server.call("POST", path, body(path, stream=True, **more), headers)
    assert status == 200, answer
    return [json.loads(line[6:]) for line in answer.decode().splitlines() if line.startswith("data: ")]


def test_the_official_clients_hear_the_same_whole_and_streamed(server: Running) -> None:
    with openai.OpenAI(base_url=server.base_url, api_key="x", max_retries=0) as asking:
        whole = asking.responses.create(model="tiny", input=TOLD)
        with asking.responses.stream(model="tiny", input=TOLD) as told:
            for _ in told:
                continue
            assert told.get_final_response().output_text == whole.output_text != ""
    base_url = server.base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=base_url, api_key="x", max_retries=0) as asking_too:
        asked: Any = {"model": "tiny", "messages": [{"role": "user", "content": TOLD}]}
        message = asking_too.messages.create(max_tokens=50, **asked)
        with asking_too.messages.stream(max_tokens=50, **asked) as telling:
            assert (
                telling.get_final_message().content[0].model_dump()["text"] == message.content[0].model_dump()["text"]
            )
        assert asking_too.messages.count_tokens(**asked).input_tokens == (
            message.usage.input_tokens + (message.usage.cache_read_input_tokens or 0)
        )


@pytest.mark.parametrize(("path", "last"), [(RESPONSES, "response.completed"), (MESSAGES, "message_stop")])
def test_streams_end_and_break_off_as_told(server: Running, path: str, last: str) -> None:
    assert events(server, path)[-1]["type"] == last
    assert events(server, path, "no-done")[-1]["type"] != last
    assert events(server, path, "error-after=3")[-1]["type"] == "error"
    named = "response" if path == RESPONSES else "message"
    assert events(server, path, "other-model")[0][named]["model"] == "other/model"


def test_a_response_may_fail_or_be_cut_and_tells_its_usage(server: Running) -> None:
    assert events(server, RESPONSES, "failed")[-1]["response"]["usage"]["output_tokens"] == 20
    cut = events(server, RESPONSES, max_output_tokens=5)[-1]
    assert (cut["type"], cut["response"]["usage"]["output_tokens"]) == ("response.incomplete", 5)


def test_what_a_message_reads_from_the_cache_is_beside_its_input(server: Running) -> None:
    long: Any = [{"role": "user", "content": "the same long beginning " * 40}]
    first, again = (server.post(MESSAGES, body(MESSAGES, messages=long))["usage"] for _ in range(2))
    assert again["cache_read_input_tokens"] > 0
    assert again["input_tokens"] + again["cache_read_input_tokens"] == first["input_tokens"]


def test_errors_of_messages_have_their_shape(server: Running) -> None:
    blocks = [{"role": "user", "content": [{"type": "odd"}]}]
    odd: list[dict[str, Any]] = [{"messages": []}, {"model": "none"}, {"messages": blocks}]
    for wrong in odd:
        status, _, answer = server.call("POST", MESSAGES, body(MESSAGES, **wrong))
        assert status in (400, 404)
        assert json.loads(answer)["type"] == "error"


def test_a_rerank_puts_what_has_most_in_common_first(server: Running) -> None:
    asked = {
        "model": "tiny",
        "query": "boiling water",
        "documents": ["April", "boiling water", {"text": "boiling waters"}],
    }
    answer = server.post("/v1/rerank", {**asked, "top_n": 2})
    assert [found["index"] for found in answer["results"]] == [1, 2]
    assert answer["usage"]["prompt_tokens"] == answer["usage"]["total_tokens"] > 0
    assert server.call("POST", "/v1/rerank", {**asked, "documents": [{"title": "x"}]})[0] == 400
