"""The input bound of a hold covers what an engine counts, whatever the shape of the request (H1)."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from purser.core.errors import Invalid
from purser.gateway import bodies, splicing
from purser.gateway.bodies import Terms
from purser.gateway.shapes import CHAT, COMPLETIONS, EMBEDDINGS, MESSAGES, RERANK, RESPONSES
from purser.modelserver import messages, prompts, rerank, responses
from purser.modelserver.bodies import BadRequest, ChatBody, EmbeddingBody, TextBody, decode, token_lists
from purser.modelserver.messages import MessagesBody
from purser.modelserver.rerank import RerankBody
from purser.modelserver.responses import ResponseBody
from purser.modelserver.tokens import count_tokens

pytestmark = pytest.mark.once  # what differs here is what a request may cost; it is kept like any other

TERMS = Terms(10**9, 1000, 1, "vllm", "fit")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)
NESTED = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
PART = st.builds(lambda text: {"type": "text", "text": text}, TEXT) | st.builds(
    lambda url: {"type": "image_url", "image_url": {"url": url}}, TEXT
)
MESSAGE = st.fixed_dictionaries(
    {
        "role": st.sampled_from(["system", "developer", "user", "assistant", "tool", "function"]),
        "content": TEXT | st.lists(PART, max_size=3),
    },
    optional={
        "name": TEXT | st.none(),
        "tool_calls": st.none() | st.lists(NESTED, max_size=3),
        "tool_call_id": TEXT,
        "reasoning_content": TEXT,
    },
)
CHAT_BODY = st.fixed_dictionaries(
    {"model": st.just("tiny"), "messages": st.lists(MESSAGE, min_size=1, max_size=4)},
    optional={"tools": NESTED, "response_format": NESTED, "stop": TEXT, "metadata": NESTED, "user": TEXT},
)
WRITERS = st.sampled_from(
    [
        lambda body: json.dumps(body, ensure_ascii=False),
        lambda body: json.dumps(body, ensure_ascii=True),
        lambda body: json.dumps(body, indent=30),
        lambda body: json.dumps(body, separators=(",", ":"), ensure_ascii=False),
    ]
)


def bound(kind: str, raw: bytes) -> int:
    """What the gateway holds for the input."""
    return bodies.ask(bodies.read(kind, raw), TERMS).input_tokens


@settings(max_examples=400)
@given(CHAT_BODY, WRITERS)
def test_a_chat_is_never_more_than_its_bound(body: dict[str, Any], write: Any) -> None:
    raw = write(body).encode()
    try:
        counted = len(prompts.chat_prompt(decode(raw, ChatBody)).tokens)
    except BadRequest:
        return
    assert counted <= bound(CHAT, raw)


INPUT_PART = st.builds(
    lambda kind, text: {"type": kind, "text": text}, st.sampled_from(["input_text", "output_text"]), TEXT
)
SEEN = st.builds(lambda url: {"type": "input_image", "image_url": url}, TEXT)
ITEM = st.one_of(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(["system", "developer", "user", "assistant"]),
            "content": TEXT | st.lists(st.one_of(INPUT_PART, SEEN), max_size=3),
        },
        optional={"type": st.just("message"), "id": TEXT, "status": TEXT, "phase": NESTED},
    ),
    st.fixed_dictionaries(
        {
            "type": st.sampled_from(
                ["function_call", "function_call_output", "custom_tool_call", "reasoning", "item_reference", "other"]
            )
        },
        optional={
            "arguments": TEXT,
            "output": TEXT | st.lists(st.one_of(INPUT_PART, SEEN), max_size=2),
            "summary": NESTED,
            "id": TEXT,
        },
    ),
)
RESPONSE_BODY = st.fixed_dictionaries(
    {"model": st.just("tiny"), "input": TEXT | st.lists(ITEM, min_size=1, max_size=4)},
    optional={
        "instructions": TEXT | st.none(),
        "tools": st.lists(
            st.fixed_dictionaries({"type": st.just("function"), "name": TEXT, "parameters": NESTED}), max_size=2
        ),
        "text": NESTED,
        "previous_response_id": TEXT | st.none(),
        "metadata": NESTED,
    },
)


@settings(max_examples=400)
@given(RESPONSE_BODY, WRITERS)
def test_a_response_is_never_more_than_its_bound(body: dict[str, Any], write: Any) -> None:
    raw = write(body).encode()
    try:
        counted = len(responses.prompt_of(decode(raw, ResponseBody)).tokens)
    except BadRequest:
        return
    assert counted <= bound(RESPONSES, raw)


TEXT_BLOCK = st.builds(lambda text: {"type": "text", "text": text, "cache_control": {"type": "ephemeral"}}, TEXT)
BLOCK = st.one_of(
    TEXT_BLOCK,
    st.builds(lambda url: {"type": "image", "source": {"type": "url", "url": url}}, TEXT),
    st.builds(lambda name, given: {"type": "tool_use", "id": "t", "name": name, "input": given}, TEXT, NESTED),
    st.builds(lambda content: {"type": "tool_result", "content": content}, TEXT | st.lists(TEXT_BLOCK, max_size=2)),
    st.builds(lambda text: {"type": "thinking", "thinking": text, "signature": "x"}, TEXT),
)
TURN = st.fixed_dictionaries(
    {"role": st.sampled_from(["user", "assistant"]), "content": TEXT | st.lists(BLOCK, max_size=3)},
    optional={"name": NESTED},
)
MESSAGES_BODY = st.fixed_dictionaries(
    {"model": st.just("tiny"), "max_tokens": st.just(9), "messages": st.lists(TURN, min_size=1, max_size=4)},
    optional={
        "system": TEXT | st.lists(TEXT_BLOCK, max_size=2),
        "tools": st.lists(st.fixed_dictionaries({"name": TEXT, "input_schema": NESTED}), max_size=2),
        "stop_sequences": st.lists(TEXT, max_size=2),
    },
)


@settings(max_examples=400)
@given(MESSAGES_BODY, WRITERS)
def test_a_message_is_never_more_than_its_bound(body: dict[str, Any], write: Any) -> None:
    raw = write(body).encode()
    try:
        counted = len(messages.prompt_of(decode(raw, MessagesBody)).tokens)
    except BadRequest:
        return
    assert counted <= bound(MESSAGES, raw)


DOCUMENT = TEXT | st.fixed_dictionaries({"text": TEXT}, optional={"title": TEXT | NESTED})


@settings(max_examples=200)
@given(TEXT, st.lists(DOCUMENT, min_size=1, max_size=4), WRITERS)
def test_a_rerank_is_never_more_than_its_bound(query: str, documents: list[Any], write: Any) -> None:
    raw = write({"model": "tiny", "query": query, "documents": documents}).encode()
    counted = sum(len(tokens) for tokens in rerank.pairs_of(decode(raw, RerankBody)))
    assert counted <= bound(RERANK, raw)


def test_tool_calls_count_as_they_were_sent() -> None:
    raw = b'{"model":"tiny","messages":[{"role":"assistant","tool_calls":[{"id":' + b"\n \t" * 3000 + b"1}]}]}"
    assert len(prompts.chat_prompt(decode(raw, ChatBody)).tokens) > 2000
    assert bound(CHAT, raw) >= len(raw) - 60


@settings(max_examples=200)
@given(
    st.one_of(
        TEXT,
        st.lists(TEXT, min_size=1, max_size=5),
        st.lists(st.integers(0, 99), min_size=1, max_size=50),
        st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=9), min_size=1, max_size=4),
    ),
    WRITERS,
    st.sampled_from([COMPLETIONS, EMBEDDINGS]),
)
def test_prompts_and_inputs_are_never_more_than_their_bound(given_: Any, write: Any, kind: str) -> None:
    name = "prompt" if kind == COMPLETIONS else "input"
    raw = write({"model": "tiny", name: given_}).encode()
    try:
        if kind == COMPLETIONS:
            counted = sum(len(prompt.tokens) for prompt in prompts.text_prompts(decode(raw, TextBody)))
        else:
            items = token_lists(decode(raw, EmbeddingBody).input, "input")
            counted = sum(count_tokens(item) if isinstance(item, str) else len(item) for item in items)
    except BadRequest:
        return
    assert counted <= bound(kind, raw)


# A field whose text an engine may put into the prompt, once for each prompt (kind, fields, prompts).
IN_THE_PROMPT: list[tuple[str, dict[str, Any], int]] = [
    (CHAT, {"documents": [{"text": "x" * 5000}]}, 1),
    (CHAT, {"chat_template_kwargs": {"system": "x" * 5000}}, 1),
    (CHAT, {"functions": [{"name": "f", "description": "x" * 5000}]}, 1),
    (CHAT, {"guided_json": {"title": "x" * 5000}}, 1),
    (CHAT, {"reasoning_effort": "x" * 5000}, 1),
    (CHAT, {"tool_choice": {"type": "function", "function": {"name": "x" * 5000}}}, 1),
    (CHAT, {"prompt": "x" * 5000}, 1),
    (CHAT, {"input": "x" * 5000}, 1),
    (COMPLETIONS, {"suffix": "x" * 5000}, 3),
    (COMPLETIONS, {"messages": [{"role": "user", "content": "x" * 5000}]}, 3),
    (EMBEDDINGS, {"messages": [{"role": "user", "content": "x" * 5000}]}, 3),
    (EMBEDDINGS, {"instruction": "x" * 5000}, 3),
    (RESPONSES, {"instructions": "x" * 5000}, 1),
    (RESPONSES, {"tools": [{"type": "function", "name": "f", "description": "x" * 5000}]}, 1),
    (RESPONSES, {"text": {"format": {"type": "json_schema", "schema": {"title": "x" * 5000}}}}, 1),
    (RESPONSES, {"messages": [{"role": "user", "content": "x" * 5000}]}, 1),
    (MESSAGES, {"system": "x" * 5000}, 1),
    (RERANK, {"query": "x" * 5000}, 3),
    (RERANK, {"instruction": "x" * 5000}, 3),
    (RERANK, {"documents": [{"text": "Hi", "title": "x" * 5000}]}, 1),
    (MESSAGES, {"system": [{"type": "text", "text": "x" * 5000}]}, 1),
    (MESSAGES, {"tools": [{"name": "f", "description": "x" * 5000}]}, 1),
    (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": "x" * 5000}]}]}, 1),
    (MESSAGES, {"messages": [{"role": "user", "content": "Hi", "name": "x" * 5000}]}, 1),
    (RESPONSES, {"input": [{"role": "user", "content": "Hi", "name": "x" * 5000}]}, 1),
    (RESPONSES, {"input": [{"type": "function_call_output", "call_id": "c", "output": "x" * 5000}]}, 1),
    (RESPONSES, {"input": [{"type": "reasoning", "summary": [{"text": "x" * 5000}]}]}, 1),
]
OWN: dict[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Hi"}]},
    COMPLETIONS: {"prompt": ["Hi", "Ho", "Ha"]},
    EMBEDDINGS: {"input": ["Hi", "Ho", "Ha"]},
    RESPONSES: {"input": "Hi"},
    MESSAGES: {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 9},
    RERANK: {"query": "Hi", "documents": ["Ho", "Ha", "He"]},
}


# What no bytes of the body bound: only the context does (kind, fields).
OPAQUE: list[tuple[str, dict[str, Any]]] = [
    (CHAT, {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
    (RESPONSES, {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]}),
    (RESPONSES, {"input": [{"type": "function_call_output", "output": [{"type": "input_image", "image_url": "x"}]}]}),
    (RESPONSES, {"input": [{"type": "item_reference", "id": "x"}]}),
    (RESPONSES, {"input": [{"type": "reasoning", "summary": [], "encrypted_content": "x"}]}),
    (RESPONSES, {"previous_response_id": "x"}),
    (RESPONSES, {"conversation": {"id": "x"}}),
    (RESPONSES, {"prompt": {"id": "x"}}),
    (RESPONSES, {"tools": [{"type": "apply_patch"}]}),
    (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "x"}}]}]}),
    (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "tool_result", "content": [{"type": "image"}]}]}]}),
    (MESSAGES, {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "file"}}]}]}),
    (MESSAGES, {"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": "x"}]}]}),
    (MESSAGES, {"tools": [{"type": "bash_20250124", "name": "bash"}]}),
    (RERANK, {"documents": [{"content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}),
]


@pytest.mark.parametrize("kind, fields", OPAQUE, ids=[str(fields)[:70] for _, fields in OPAQUE])
def test_what_the_body_does_not_tell_is_bounded_by_the_context(kind: str, fields: dict[str, Any]) -> None:
    raw = msgspec.json.encode({"model": "tiny", **OWN[kind], **fields})
    assert bound(kind, raw) == TERMS.context_tokens


@pytest.mark.parametrize("kind, fields, times", IN_THE_PROMPT)
def test_whatever_may_reach_the_prompt_is_in_the_bound(kind: str, fields: dict[str, Any], times: int) -> None:
    raw = msgspec.json.encode({"model": "tiny", **OWN[kind], **fields})
    assert bound(kind, raw) >= times * 5000


def test_best_of_multiplies_the_input_too() -> None:
    raw = msgspec.json.encode({"model": "tiny", "prompt": ["x" * 100, "x" * 100]})
    many = msgspec.json.encode({"model": "tiny", "prompt": ["x" * 100, "x" * 100], "best_of": 4})
    assert bound(COMPLETIONS, many) == 4 * bound(COMPLETIONS, raw)


@pytest.mark.parametrize("name", ["n_predict", "num_predict", "max_new_tokens", "n_cmpl", "chat_template"])
def test_other_names_for_a_bound_are_refused(name: str) -> None:
    raw = msgspec.json.encode({"model": "tiny", **OWN[CHAT], "max_tokens": 5, name: 100_000})
    with pytest.raises(Invalid, match=f"{name} is not allowed"):
        bodies.read(CHAT, raw)


# Ways around a refused or reckoned field: inside another (fields, field named).
CARRIED: list[tuple[dict[str, Any], str]] = [
    ({"chat_template_kwargs": {"chat_template": "x" * 9}}, "chat_template_kwargs.chat_template"),
    ({"chat_template_kwargs": {"enable_thinking": False, "chat_template": None}}, "chat_template_kwargs.chat_template"),
    ({"extra_body": {"chat_template": "x"}}, "extra_body.chat_template"),
    (
        {"extra_body": {"chat_template_kwargs": {"chat_template": "x"}}},
        "extra_body.chat_template_kwargs.chat_template",
    ),
    ({"extra_body": {"extra_body": {"n_predict": 9000}}}, "extra_body.extra_body.n_predict"),
    ({"extra_body": {"max_tokens": 9000}}, "extra_body.max_tokens"),
    ({"extra_body": {"n": 100}}, "extra_body.n"),
    ({"options": {"num_predict": -1}}, "options.num_predict"),
    ({"vllm_xargs": {"max_tokens": 9000}}, "vllm_xargs.max_tokens"),
    ({"chat_template_kwargs": '{"chat_template": "x"}'}, "chat_template_kwargs"),
    ({"extra_body": [{"chat_template": "x"}]}, "extra_body"),
]


@pytest.mark.parametrize("fields, named", CARRIED, ids=[named for _, named in CARRIED])
@pytest.mark.parametrize("kind", [CHAT, COMPLETIONS])
def test_what_is_refused_is_refused_inside_another_field_too(kind: str, fields: dict[str, Any], named: str) -> None:
    raw = msgspec.json.encode({"model": "tiny", **OWN[kind], **fields})
    with pytest.raises(Invalid) as refused:
        bodies.read(kind, raw)
    assert refused.value.field == named


def test_a_field_of_fields_is_left_as_it_is_otherwise() -> None:
    raw = msgspec.json.encode(
        {
            "model": "tiny",
            **OWN[CHAT],
            "chat_template_kwargs": {"enable_thinking": False, "n": 3, "model": "x"},
            "extra_body": {"top_k": 5},
            "options": None,
        }
    )
    body = bodies.read(CHAT, raw)
    sent = msgspec.json.decode(splicing.for_upstream(body, TERMS, 1000, "tiny"))
    assert sent == {**msgspec.json.decode(raw), "max_tokens": 1000}


def test_a_field_of_fields_given_twice_is_refused() -> None:
    raw = b'{"model":"tiny","messages":[],"extra_body":{"chat_template":"x"},"extra_body":{}}'
    with pytest.raises(Invalid, match="extra_body is given more than once"):
        bodies.read(CHAT, raw)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_cap_beyond_the_models_most_is_fitted_and_beyond_its_context_refused(name: str) -> None:
    terms = Terms(4096, 1024, 1, "vllm", "fit")

    def asked(cap: int) -> int:
        raw = msgspec.json.encode({"model": "tiny", **OWN[CHAT], name: cap})
        return bodies.ask(bodies.read(CHAT, raw), terms).cap

    assert [asked(cap) for cap in (1, 1024, 1025, 4096)] == [1, 1024, 1024, 1024]
    for cap in (0, 4097):
        with pytest.raises(Invalid, match=f"{name} must be a whole number from 1 to 4096") as refused:
            asked(cap)
        assert refused.value.field == name


# Halves of surrogate pairs, and what only looks like one (in a text, the half named).
HALVES: list[tuple[bytes, str | None]] = [
    (rb"\ud800", r"\ud800"),
    (rb"x\uDBFFx", r"\uDBFF"),
    (rb"\udc00", r"\udc00"),
    (rb"\ud83d\ude00\ude00", r"\ude00"),
    (rb"\ud83d\ud83d\ude00", r"\ud83d"),
    (rb"\\\ud800", r"\ud800"),
    (rb"\ud83d\ude00", None),
    (rb"\\ud800", None),
    (rb"\u00e9", None),
]


@pytest.mark.parametrize("text, half", HALVES, ids=[text.decode() for text, _ in HALVES])
def test_half_of_a_surrogate_pair_is_called_by_its_name(text: bytes, half: str | None) -> None:
    raw = b'{"model":"tiny","messages":[{"role":"user","content":"' + text + b'"}]}'
    if half is None:
        assert bodies.read(CHAT, raw).model == "tiny"
        return
    with pytest.raises(Invalid) as refused:
        bodies.read(CHAT, raw)
    assert half in refused.value.message
    assert "half of a surrogate pair" in refused.value.message
    assert "truncated" not in refused.value.message


def test_a_body_that_ends_too_early_is_truncated_still() -> None:
    with pytest.raises(Invalid, match="truncated"):
        bodies.read(CHAT, rb'{"model":"tiny","messages":[{"role":"user","content":"\\ud800')


# Bodies on which a parser stumbles (what, body, field named).
STUMBLES = [
    ("deep field", b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"tools":' + b"[" * 90_000, None),
    ("deep messages", b'{"model":"tiny","messages":' + b"[" * 90_000 + b"]" * 90_000 + b"}", None),
    ("deep beside a repeated name", b'{"n":1,"x":{"n":1},"model":' + b"[" * 90_000 + b"]" * 90_000 + b"}", None),
    ("number out of range", b'{"model":"tiny","messages":[{"role":"user","content":1e999}]}', "messages"),
    (
        "cap out of range",
        b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"max_tokens":1e999}',
        "max_tokens",
    ),
    ("long integer", b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"n":' + b"9" * 5000 + b"}", "n"),
    ("options", b'{"model":"tiny","messages":[],"stream_options":{"a":1e999}}', "stream_options"),
    ("repeated in disguise", b'{"model":"tiny","messages":[],"max_tokens":5,"max\\u005ftokens":500}', "max_tokens"),
    ("too many prompts", b'{"model":"tiny","prompt":[' + b'"x",' * 3000 + b'"x"]}', "prompt"),
]


@pytest.mark.parametrize("what, raw, field", STUMBLES, ids=[what for what, _, _ in STUMBLES])
def test_a_body_that_parsers_stumble_over_is_refused_by_name(what: str, raw: bytes, field: str | None) -> None:
    kind = COMPLETIONS if b'"prompt"' in raw else CHAT
    with pytest.raises(Invalid) as refused:
        bodies.ask(bodies.read(kind, raw), TERMS)
    assert refused.value.field == field, what


def test_a_long_number_elsewhere_does_no_harm() -> None:
    raw = b'{"model":"tiny","messages":[{"role":"user","content":"x"}],"n":1,"x":{"n":' + b"1" * 5000 + b"}}"
    assert bound(CHAT, raw) > 5000


@settings(max_examples=300)
@given(st.binary(max_size=60), st.sampled_from(list(OWN)), NESTED, NESTED)
def test_no_body_is_worse_than_refused(noise: bytes, kind: str, one: Any, other: Any) -> None:
    names = ["messages", "prompt", "input", "n", "max_tokens", "stream", "stream_options", "best_of", "model"]
    names += ["max_output_tokens", "instructions", "tools", "background", "previous_response_id", "system"]
    for raw in (noise, *(msgspec.json.encode({"model": "tiny", **OWN[kind], name: one, "x": other}) for name in names)):
        try:
            asked = bodies.ask(bodies.read(kind, raw), TERMS)
        except Invalid:
            continue
        assert asked.input_tokens > 0
        assert asked.choices >= 1
