"""What is read by one decode, the usual way, is read the same by the readers of everything."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.errors import Invalid
from purser.core.usage import INPUT_DETAILS, OUTPUT_DETAILS, TOKENS, Inconsistent
from purser.gateway import bodies, splicing
from purser.gateway.bodies import Terms
from purser.gateway.dialects import whole
from purser.gateway.shapes import CHAT
from purser.gateway.usual import read_answer, read_chat

TERMS = Terms(context_tokens=1000, max_output_tokens=100, tokens_per_byte=2, engine="vllm", policy="fit")
TEXTS = st.one_of(
    st.text(max_size=20), st.sampled_from(["hi", "", "né", '"max_tokens"', '{"model":1}', "\ud800", "\U0001f600"])
)
ROLES = st.sampled_from(["user", "assistant", "system", "developer", "tool", "", 7])
ODD: st.SearchStrategy[Any] = st.sampled_from([None, True, 0, 1, 2.0, -1, "x", [], {}, {"model": "x"}, 10**20, 50, 99])
FIELDS = {
    "model": st.sampled_from(["tiny", "tiny", "tiny", "", None, 3]),
    "messages": st.lists(
        st.one_of(
            st.fixed_dictionaries({"role": ROLES, "content": TEXTS}),
            st.fixed_dictionaries({"role": ROLES, "content": ODD}, optional={"name": TEXTS}),
        ),
        max_size=3,
    ),
    "max_tokens": st.one_of(st.integers(1, 120), ODD),
    "max_completion_tokens": ODD,
    "stream": st.sampled_from([False, False, None, True, 0]),
    "n": ODD,
    "temperature": ODD,
    "stop": ODD,
    "user": ODD,
    "tools": ODD,
    "service_tier": ODD,
    "extra_body": ODD,
    "stream_options": ODD,
}
PAIRS = st.one_of([st.tuples(st.just(name), values) for name, values in FIELDS.items()])
PLAIN = st.tuples(
    st.tuples(st.just("model"), st.just("tiny")),
    st.tuples(
        st.just("messages"),
        st.lists(st.fixed_dictionaries({"role": st.just("user"), "content": TEXTS}), min_size=1, max_size=3),
    ),
).map(list)


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """A body of plain fields and any others, some twice; written in any of the ways that JSON may be."""
    pairs = [*draw(PLAIN), *draw(st.lists(PAIRS, max_size=3))]
    pairs = draw(st.permutations(pairs))
    ascii_only, space = draw(st.booleans()), draw(st.sampled_from(["", " ", "\n"]))

    def spell(value: Any) -> str:
        return json.dumps(value, ensure_ascii=ascii_only, separators=(f"{space},", f":{space}"))

    inner = ",".join(f"{space}{spell(name)}{space}:{spell(value)}" for name, value in pairs)
    whole = "{" + inner + space + "}" + space
    return draw(st.sampled_from([whole, whole, whole.replace("model", "\\u006dodel")])).encode("utf-8", "surrogatepass")


@given(requests())
def test_a_usual_request_is_what_any_request_is(raw: bytes) -> None:
    chat = read_chat(raw)
    if chat is None:
        return
    body = bodies.read(CHAT, raw)
    assert (body.model, body.stream, body.priority) == (chat.model, False, False)
    try:
        ask = bodies.ask(body, TERMS)
    except Invalid:  # for its cap alone, which is looked at where the model is known
        assert chat.requested is not None
        assert not 0 < chat.requested <= TERMS.context_tokens
        return
    assert (ask.input_tokens, ask.requested) == (chat.input_tokens(TERMS), chat.requested)
    assert (ask.choices, ask.stream, ask.policy) == (1, False, "fit")
    if chat.requested is None:
        sent = splicing.added(raw, splicing.cap_field(CHAT, TERMS.engine), b"%d" % ask.cap)
        assert sent == splicing.for_upstream(body, TERMS, ask.cap, "tiny")
        assert json.loads(sent) == {**json.loads(raw), "max_tokens": TERMS.max_output_tokens}
    elif ask.cap == chat.requested:
        assert splicing.for_upstream(body, TERMS, ask.cap, "tiny") == raw


@pytest.mark.parametrize(
    "raw",
    [
        b'{"model":"tiny","messages":[{"role":"user","content":"hi"}]}',
        b'{"model":"tiny","messages":[{"role":"user","content":"n\xc3\xa9 \\"max_tokens\\""}],"max_tokens":5}',
        b' { "stream": false, "messages": [{"content": "", "role": "system"}], "model": "tiny", "top_p": 1 } ',
        b'{"model":"tiny","max_completion_tokens":9,"messages":[{"role":"developer","content":"hi"}],"user":"u"}',
    ],
)
def test_plain_requests_are_usual(raw: bytes) -> None:
    assert read_chat(raw) is not None


@pytest.mark.parametrize(
    "more",
    [
        b'"stream":true',
        b'"max_tokens":5,"max_tokens":6',
        b'"max_tokens":5,"max_tokens":null',
        b'"max_tokens":5,"max_completion_tokens":6',
        b'"stream":true,"stream":false',
        b'"model":"dear"',
        b'"messages":[{"role":"user","content":""}]',
        b'"\\u006dax_tokens":5',
        b'"n":1',
        b'"tools":[]',
        b'"user":{"model":1}',
        b'"max_tokens":5.0',
        b'"max_tokens":null',
    ],
)
def test_what_money_may_depend_on_otherwise_is_not_usual(more: bytes) -> None:
    assert read_chat(b'{"model":"tiny","messages":[{"role":"user","content":"hi"}],%b}' % more) is None


COUNTS = st.one_of(st.integers(0, 300), st.sampled_from([None, -1, True, 1.0, "1", 10**12, 10**12 + 1, 10**30]))
USAGES: st.SearchStrategy[Any] = st.one_of(
    st.fixed_dictionaries(
        {"prompt_tokens": COUNTS, "completion_tokens": COUNTS},
        optional={
            "total_tokens": COUNTS,
            "prompt_tokens_details": st.one_of(
                st.none(),
                st.just([]),
                st.fixed_dictionaries({}, optional=dict.fromkeys([*INPUT_DETAILS, "text_tokens"], COUNTS)),
            ),
            "completion_tokens_details": st.one_of(
                st.none(),
                st.just([]),
                st.fixed_dictionaries({}, optional=dict.fromkeys([*OUTPUT_DETAILS, "reasoning_tokens"], COUNTS)),
            ),
        },
    ),
    st.sampled_from([None, {}, [], "x"]),
)


@given(st.one_of(st.just("tiny"), TEXTS, st.none()), USAGES, TEXTS, st.booleans())
def test_a_usual_answer_is_what_any_answer_is(model: Any, usage: Any, words: str, ascii_only: bool) -> None:
    answer = {"id": "c", "model": model, "choices": [{"message": {"content": words}}], "usage": usage}
    raw = json.dumps(answer, ensure_ascii=ascii_only).encode("utf-8", "surrogatepass")
    said = read_answer(raw)
    if said is None:
        return
    name, prompt, cached, output = said
    measured = whole.measure(CHAT, usage, raw, 1)
    assert measured is not None
    assert not measured.estimated
    assert set(measured.quantities) <= {*TOKENS}, "what has kinds of its own is not usual"
    assert (name, prompt, cached, output) == (
        model,
        measured.prompt_tokens,
        measured.cached_tokens,
        measured.output_tokens,
    )


def test_a_plain_answer_is_usual_and_a_contradiction_is_not() -> None:
    details = b'"prompt_tokens_details":{"cached_tokens":%d}'
    said = b'{"model":"tiny","usage":{"prompt_tokens":9,"completion_tokens":3,' + details + b"}}"
    assert read_answer(said % 9) == ("tiny", 9, 9, 3)
    assert read_answer(said % 10) is None
    with pytest.raises(Inconsistent):
        whole.measure(CHAT, json.loads(said % 10)["usage"], said % 10, 1)
    assert read_answer(b'{"model":"tiny","usage":{"prompt_tokens":9,"completion_tokens":3}}') == ("tiny", 9, 0, 3)
    assert read_answer(b'{"model":"tiny"}') is None
    assert read_answer(b'{"model":"\xff","usage":{"prompt_tokens":9,"completion_tokens":3}}') is None


@pytest.mark.parametrize("field", ["audio_tokens", "image_tokens", "cache_write_tokens", "cache_creation_tokens"])
def test_an_answer_with_kinds_of_tokens_is_not_usual(field: str) -> None:
    said = b'{"model":"tiny","usage":{"prompt_tokens":9,"completion_tokens":3,"%b":{"%b":%d}}}'
    assert read_answer(said % (b"prompt_tokens_details", field.encode(), 0)) == ("tiny", 9, 0, 3)
    assert read_answer(said % (b"prompt_tokens_details", field.encode(), 1)) is None
    assert read_answer(said % (b"completion_tokens_details", field.encode(), 0)) == ("tiny", 9, 0, 3)
    read = read_answer(said % (b"completion_tokens_details", field.encode(), 1))
    assert (read is None) == (field in OUTPUT_DETAILS)


NAMES = st.sampled_from(["model", "max_tokens", "n", "a"])
VALUES = st.sampled_from([1, 20, "tiny", "model", '"model":"tiny"', None, {"model": "tiny"}, ["max_tokens"], "\u00e9"])


@given(st.dictionaries(NAMES, VALUES, min_size=1), st.dictionaries(NAMES, VALUES), st.booleans(), st.integers(0, 2))
def test_what_is_spliced_is_there_and_the_rest_as_it_was(
    fields: dict[str, Any], changes: dict[str, Any], ascii_only: bool, spaces: int
) -> None:
    gap = " " * spaces
    raw = json.dumps(fields, ensure_ascii=ascii_only, separators=(f"{gap},", f":{gap}")).encode()
    parts = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    spliced = splicing.splice(raw, parts, {name: msgspec.json.encode(value) for name, value in changes.items()})
    assert json.loads(spliced) == {**fields, **changes}
    for name in fields.keys() - changes.keys():
        assert bytes(parts[name]) in spliced


def test_what_is_spliced_leaves_the_rest_as_it_was_written() -> None:
    raw = b'{ "model" : "tiny", "x":[1,  2] ,"n":1 }\n'
    parts = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    assert splicing.splice(raw, parts, {"model": b'"my/own"'}) == raw.replace(b'"tiny"', b'"my/own"')
    assert splicing.splice(raw, parts, {"n": b"1", "model": b'"tiny"'}) is raw
    assert (
        splicing.splice(raw, parts, {"n": b"2", "max_tokens": b"5"})
        == b'{ "model" : "tiny", "x":[1,  2] ,"n":2 ,"max_tokens":5}'
    )
