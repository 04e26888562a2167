"""Answers over HTTP: their shapes, lengths and usage, streamed and whole."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from purser.modelserver.tokens import count_tokens
from tests.modelserver.running import CHAT, EMBEDDINGS, TEXT, Running, chat, text_of

TOOL = {
    "type": "function",
    "function": {
        "name": "forecast",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
        },
    },
}
OTHER_TOOL = {"type": "function", "function": {"name": "look_up"}}
WITH_USAGE = {"stream_options": {"include_usage": True}}
RUNNING_USAGE = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}


def test_a_chat_answer(server: Running) -> None:
    answer = server.post(CHAT, chat("Tell me of the harbour. [[tokens=50]]"))
    choice = answer["choices"][0]
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "tiny"
    assert (choice["index"], choice["logprobs"], choice["finish_reason"]) == (0, None, "stop")
    assert choice["message"]["role"] == "assistant"
    assert count_tokens(choice["message"]["content"]) == 50
    prompt_tokens = 7 + count_tokens("Tell me of the harbour. [[tokens=50]]")
    assert answer["usage"] == {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": 50,
        "total_tokens": prompt_tokens + 50,
        "prompt_tokens_details": {"cached_tokens": 0},
    }


def test_the_same_question_gets_the_same_answer_unless_seed_or_model_differ(server: Running) -> None:
    def say(**fields: Any) -> str:
        return str(server.post(CHAT, chat("Once more.", **fields))["choices"][0]["message"]["content"])

    assert say() == say() == say(temperature=2.0, top_p=0.1, user="ada")
    assert len({say(), say(seed=1), say(seed=2), say(model="org/small")}) == 4


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_the_cap_cuts_and_says_length(server: Running, field: str) -> None:
    whole = server.post(CHAT, chat("Go on. [[tokens=40]]"))["choices"][0]["message"]["content"]
    answer = server.post(CHAT, chat("Go on. [[tokens=40]]", **{field: 7}))
    assert answer["usage"]["completion_tokens"] == 7
    assert answer["choices"][0]["finish_reason"] == "length"
    assert whole.startswith(answer["choices"][0]["message"]["content"])
    exact = server.post(CHAT, chat("Go on. [[tokens=40]]", **{field: 40}))
    assert exact["choices"][0]["finish_reason"] == "stop"


def test_the_newer_cap_field_counts_where_both_are_given(server: Running) -> None:
    answer = server.post(CHAT, chat("Go on.", max_tokens=9, max_completion_tokens=4))
    assert answer["usage"]["completion_tokens"] == 4


@pytest.mark.parametrize(
    ("path", "body"),
    [
        (CHAT, chat("A story, please.")),
        (CHAT, chat("A story, please.", max_tokens=30, n=3)),
        (CHAT, chat("A story, please.", stop=[" the "])),
        (CHAT, chat("A story, please.", response_format={"type": "json_object"})),
        (TEXT, {"model": "tiny", "prompt": "Once", "max_tokens": 25}),
        (TEXT, {"model": "tiny", "prompt": ["Once", "Twice"], "max_tokens": 25, "n": 2, "echo": True}),
        (TEXT, {"model": "tiny", "prompt": "Only this", "max_tokens": 0, "echo": True}),
    ],
)
def test_a_stream_says_what_the_whole_answer_says(server: Running, path: str, body: dict[str, Any]) -> None:
    whole = server.post(path, body)
    chunks = server.events(path, {**body, **WITH_USAGE})
    for choice in whole["choices"]:
        said = choice["text"] if "text" in choice else choice["message"]["content"]
        assert text_of(chunks, choice["index"]) == said
        ends = [
            told["finish_reason"]
            for chunk in chunks
            for told in chunk["choices"]
            if told["index"] == choice["index"] and told["finish_reason"]
        ]
        assert ends == [choice["finish_reason"]]
    counts = ("prompt_tokens", "completion_tokens", "total_tokens")
    assert [chunks[-1]["usage"][name] for name in counts] == [whole["usage"][name] for name in counts]
    assert len({chunk["id"] for chunk in chunks}) == 1


def test_each_generated_token_is_one_delta(server: Running) -> None:
    chunks = server.events(CHAT, chat("Count. [[tokens=37]]"))
    deltas = [chunk["choices"][0]["delta"].get("content") for chunk in chunks]
    assert deltas[0] == ""
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert len([delta for delta in deltas if delta]) == 37
    assert chunks[-1]["choices"][0]["delta"] == {}
    assert all(chunk["object"] == "chat.completion.chunk" and "usage" not in chunk for chunk in chunks)


def test_the_closing_usage_stands_beside_no_choice(server: Running) -> None:
    chunks = server.events(CHAT, chat("Count. [[tokens=5]]", **WITH_USAGE))
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"]["completion_tokens"] == 5
    assert all("usage" not in chunk for chunk in chunks[:-1])


def test_running_usage_on_every_chunk(server: Running) -> None:
    chunks = server.events(CHAT, chat("Count. [[tokens=5]]", **RUNNING_USAGE))
    assert [chunk["usage"]["completion_tokens"] for chunk in chunks] == [0, 1, 2, 3, 4, 5, 5, 5]
    assert len({chunk["usage"]["prompt_tokens"] for chunk in chunks}) == 1


def test_running_usage_needs_the_closing_usage_asked_for_too(server: Running) -> None:
    chunks = server.events(CHAT, chat("Count.", stream_options={"continuous_usage_stats": True}))
    assert all("usage" not in chunk for chunk in chunks)


def test_running_usage_counts_each_choice_by_itself(server: Running) -> None:
    chunks = server.events(CHAT, chat("Count. [[tokens=3]]", n=2, **RUNNING_USAGE))
    last = {chunk["choices"][0]["index"]: chunk["usage"] for chunk in chunks[:-1]}
    assert [last[index]["completion_tokens"] for index in (0, 1)] == [3, 3]
    assert chunks[-1]["usage"]["completion_tokens"] == 6


def test_several_choices_differ_and_are_counted_together(server: Running) -> None:
    answer = server.post(CHAT, chat("Three ways. [[tokens=20]]", n=3))
    said = [choice["message"]["content"] for choice in answer["choices"]]
    assert len(set(said)) == 3
    assert answer["usage"]["completion_tokens"] == 60
    assert answer["usage"]["prompt_tokens"] == 7 + count_tokens("Three ways. [[tokens=20]]")


@pytest.mark.parametrize("stop", ["[ten]", " the", ".", "e", "zzz", [" the ", ". "]])
def test_a_stop_sequence_ends_the_text_before_itself(server: Running, stop: str | list[str]) -> None:
    whole = server.post(CHAT, chat("Stop there."))
    answer = server.post(CHAT, chat("Stop there.", stop=stop))
    text, said = (each["choices"][0]["message"]["content"] for each in (whole, answer))
    stops = [stop] if isinstance(stop, str) else stop
    found = [text.find(each) for each in stops if each in text]
    assert said == (text[: min(found)] if found else text)
    assert count_tokens(said) <= answer["usage"]["completion_tokens"] <= whole["usage"]["completion_tokens"]
    assert answer["choices"][0]["finish_reason"] == "stop"


def test_a_stop_sequence_is_counted_to_the_token_that_completes_it(server: Running) -> None:
    chunks = server.events(CHAT, chat("Stop there."))
    tokens = [chunk["choices"][0]["delta"]["content"] for chunk in chunks[1:-1]]
    stop = "".join(tokens[4:6])
    assert "".join(tokens).find(stop) == len("".join(tokens[:4]))
    answer = server.post(CHAT, chat("Stop there.", stop=stop))
    assert answer["usage"]["completion_tokens"] == 6
    assert answer["choices"][0]["message"]["content"] == "".join(tokens[:4])


@pytest.mark.parametrize(("effort", "reasoning_tokens"), [("minimal", 10), ("low", 20), ("high", 60)])
def test_reasoning_is_part_of_the_output(server: Running, effort: str, reasoning_tokens: int) -> None:
    body = chat("Think. [[tokens=80]]", reasoning_effort=effort)
    answer = server.post(CHAT, body)
    message, usage = answer["choices"][0]["message"], answer["usage"]
    assert usage["completion_tokens"] == 80
    assert usage["completion_tokens_details"] == {"reasoning_tokens": reasoning_tokens}
    assert count_tokens(message["reasoning_content"]) == reasoning_tokens
    assert count_tokens(message["content"]) == 80 - reasoning_tokens
    chunks = server.events(CHAT, {**body, **RUNNING_USAGE})
    thought = [chunk["choices"][0]["delta"].get("reasoning_content") for chunk in chunks[:-1]]
    assert "".join(filter(None, thought)) == message["reasoning_content"]
    assert text_of(chunks) == message["content"]
    assert chunks[-1]["usage"]["completion_tokens_details"] == {"reasoning_tokens": reasoning_tokens}


def test_reasoning_may_use_up_the_cap(server: Running) -> None:
    answer = server.post(CHAT, chat("Think. [[tokens=80]]", reasoning_effort="high", max_tokens=50))
    assert answer["usage"]["completion_tokens_details"] == {"reasoning_tokens": 50}
    assert answer["choices"][0]["message"]["content"] == ""
    assert answer["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize(
    ("choice", "name", "keys"),
    [
        ("required", "forecast", ["city", "days"]),
        ({"type": "function", "function": {"name": "look_up"}}, "look_up", []),
    ],
)
def test_a_tool_call_where_one_is_required(server: Running, choice: Any, name: str, keys: list[str]) -> None:
    body = chat("Weather?", tools=[TOOL, OTHER_TOOL], tool_choice=choice)
    answer = server.post(CHAT, body)
    message = answer["choices"][0]["message"]
    call = message["tool_calls"][0]
    assert answer["choices"][0]["finish_reason"] == "tool_calls"
    assert message["content"] is None
    assert (call["type"], call["function"]["name"]) == ("function", name)
    arguments = call["function"]["arguments"]
    if keys:
        assert list(json.loads(arguments)) == keys
        assert answer["usage"]["completion_tokens"] == count_tokens(arguments)
    chunks = server.events(CHAT, body)
    calls = [told for chunk in chunks for told in chunk["choices"][0]["delta"].get("tool_calls", [])]
    assert [told["function"]["name"] for told in calls if "name" in told["function"]] == [name]
    assert "".join(told["function"]["arguments"] for told in calls) == arguments
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"


def test_tools_are_read_but_not_called_unless_required(server: Running) -> None:
    plain = server.post(CHAT, chat("Weather?"))
    answer = server.post(CHAT, chat("Weather?", tools=[TOOL], tool_choice="auto"))
    assert "tool_calls" not in answer["choices"][0]["message"]
    added = answer["usage"]["prompt_tokens"] - plain["usage"]["prompt_tokens"]
    assert added == count_tokens(json.dumps([TOOL]))


def test_a_json_answer_fits_its_schema(server: Running) -> None:
    schema = TOOL["function"]["parameters"]  # type: ignore[index]
    form = {"type": "json_schema", "json_schema": {"name": "weather", "schema": schema}}
    answer = server.post(CHAT, chat("Weather?", response_format=form))
    assert list(json.loads(answer["choices"][0]["message"]["content"])) == ["city", "days"]


def test_a_repeated_prefix_is_cached_in_blocks_of_sixteen(server: Running) -> None:
    text = "A long and quite particular beginning that no other test uses, word for word. " * 4
    first = server.post(CHAT, chat(text))["usage"]
    again = server.post(CHAT, chat(text))["usage"]
    longer = server.post(CHAT, chat(text + "And then?"))["usage"]
    elsewhere = server.post(CHAT, chat(text, model="org/small"))["usage"]
    cached = [each["prompt_tokens_details"]["cached_tokens"] for each in (first, again, longer, elsewhere)]
    assert cached == [0, (first["prompt_tokens"] - 1) // 16 * 16, cached[2], 0]
    assert 0 < cached[2] < longer["prompt_tokens"]
    assert cached[2] % 16 == 0
    assert again["total_tokens"] == first["total_tokens"]


@pytest.mark.parametrize(
    ("prompt", "prompts", "prompt_tokens"),
    [("Hello, world!", 1, 6), (["one", "two, three"], 2, 5), ([1, 2, 3], 1, 3), ([[1, 2], [3]], 2, 3)],
)
def test_the_four_shapes_of_a_text_prompt(server: Running, prompt: Any, prompts: int, prompt_tokens: int) -> None:
    answer = server.post(TEXT, {"model": "tiny", "prompt": prompt})
    assert [choice["index"] for choice in answer["choices"]] == list(range(prompts))
    assert answer["object"] == "text_completion"
    assert answer["usage"]["prompt_tokens"] == prompt_tokens
    assert answer["usage"]["completion_tokens"] == 16 * prompts


def test_best_of_counts_what_it_drops(server: Running) -> None:
    body = {"model": "tiny", "prompt": "Pick one. [[tokens=10]]", "best_of": 4, "n": 2}
    headers = {"x_request_id": "best-of"}
    answer = server.post(TEXT, body, **headers)
    assert len(answer["choices"]) == 2
    assert answer["usage"]["completion_tokens"] == 40
    assert server.ended("best-of")["generated_tokens"] == 40


def test_echo_puts_the_prompt_first_and_counts_it_once(server: Running) -> None:
    answer = server.post(TEXT, {"model": "tiny", "prompt": "Once upon", "echo": True, "max_tokens": 0})
    assert answer["choices"][0]["text"] == "Once upon"
    assert answer["usage"]["completion_tokens"] == 0


def test_embeddings_are_unit_vectors_the_same_in_both_forms(server: Running) -> None:
    body = {"model": "tiny", "input": ["a calm sea", "a calm sea", "[other] words"], "dimensions": 32}
    answer = server.post(EMBEDDINGS, body)
    first, second, other = (item["embedding"] for item in answer["data"])
    assert first == second != other
    assert len(first) == 32
    assert sum(value * value for value in other) == pytest.approx(1.0, abs=1e-6)
    packed = server.post(EMBEDDINGS, {**body, "encoding_format": "base64"})["data"][2]["embedding"]
    assert list(struct.unpack("<32f", base64.b64decode(packed))) == other
    expected = 2 * count_tokens("a calm sea") + count_tokens("[other] words")
    assert answer["usage"] == {"prompt_tokens": expected, "total_tokens": expected}


@pytest.mark.parametrize(("given", "count"), [("one", 1), ([5, 6, 7], 1), ([[5], [6, 7]], 2)])
def test_the_shapes_of_an_embedding_input(server: Running, given: Any, count: int) -> None:
    answer = server.post(EMBEDDINGS, {"model": "tiny", "input": given})
    assert [item["index"] for item in answer["data"]] == list(range(count))
    assert all(len(item["embedding"]) == 64 for item in answer["data"])


def test_models_are_listed_and_found_by_name(server: Running) -> None:
    listed = server.get("/v1/models")
    assert [card["id"] for card in listed["data"]] == ["tiny", "org/small"]
    card = server.get("/v1/models/org/small")
    assert card == listed["data"][1]
    assert card["max_model_len"] == 2000
    assert server.get("/health") == {"status": "ok"}


def test_the_counters_agree_with_the_usage_that_was_told(server: Running) -> None:
    def total() -> dict[str, int]:
        counts: dict[str, int] = server.get("/v1/counters?requests=0")["total"]
        return counts

    before = total()
    text = "Reconcile this against the bill, every token of it, if you please, and to the last one."
    told = [server.post(CHAT, chat(text, n=2))["usage"] for _ in range(2)]
    told.append(server.events(CHAT, chat(text, n=3, **WITH_USAGE))[-1]["usage"])
    grown = {name: count - before[name] for name, count in total().items()}
    assert grown == {
        "prompt_tokens": sum(usage["prompt_tokens"] for usage in told),
        "cached_tokens": sum(usage["prompt_tokens_details"]["cached_tokens"] for usage in told),
        "generated_tokens": sum(usage["completion_tokens"] for usage in told),
        "requests_started": 3,
        "requests_finished": 3,
        "requests_cancelled": 0,
        "requests_failed": 0,
    }


def test_the_log_tells_what_each_request_was(server: Running) -> None:
    body = chat("Log me. [[tokens=9]]", max_tokens=5, model="org/small", **RUNNING_USAGE)
    server.events(CHAT, body, x_request_id="req_logged")
    assert server.ended("req_logged") == {
        "request_id": "req_logged",
        "model": "org/small",
        "path": CHAT,
        "stream": True,
        "max_tokens": 5,
        "usage_asked": True,
        "running_usage_asked": True,
        "prompt_tokens": 7 + count_tokens("Log me. [[tokens=9]]"),
        "cached_tokens": 0,
        "generated_tokens": 5,
        "finish_reason": "length",
        "outcome": "finished",
        "cancelled": False,
    }
    assert server.get("/v1/counters?requests=1")["requests"][0]["request_id"] == "req_logged"


def test_prometheus_metrics_are_the_same_counts(server: Running) -> None:
    server.post(CHAT, chat("Count this too."))
    models = server.get("/v1/counters?requests=0")["models"]
    status, headers, body = server.call("GET", "/metrics")
    assert status == 200
    assert headers["content-type"].startswith("text/plain")
    lines = body.decode().splitlines()
    for model, counts in models.items():
        for name, count in counts.items():
            assert f'modelserver_{name}_total{{model="{model}"}} {count}' in lines
