"""The token rule, case by case, and the bounds the gateway holds money by."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.modelserver.bodies import ChatBody, decode
from purser.modelserver.prompts import chat_prompt, exact_tokens
from purser.modelserver.tokens import count_tokens, split_tokens

CASES = [
    ("", []),
    ("a", ["a"]),
    ("four", ["four"]),
    ("fives", ["five", "s"]),
    ("Hello, world!", ["Hell", "o", ",", " wor", "ld", "!"]),
    ("a  b", ["a", "  ", "b"]),
    (" .", [" ."]),
    ("x=1;y=2", ["x", "=", "1", ";", "y", "=", "2"]),
    ("\n\n\n\n\n", ["\n\n\n\n", "\n"]),
    ("snake_case", ["snak", "e", "_", "case"]),
    ("......", ["....", ".."]),
    ("2026-03-01", ["2026", "-", "03", "-", "01"]),
]


@pytest.mark.parametrize(("text", "tokens"), CASES)
def test_the_rule(text: str, tokens: list[str]) -> None:
    assert [token.decode() for token in split_tokens(text)] == tokens
    assert count_tokens(text) == len(tokens)


@pytest.mark.parametrize(
    ("text", "count"), [("é", 1), ("日本語", 3), ("🙂🙂", 2), ("naïve", 2), ("\u00a0", 1), ("\x00\x01", 1)]
)
def test_bytes_outside_ascii_count_as_letters(text: str, count: int) -> None:
    assert count_tokens(text) == count


@given(st.text())
def test_tokens_cover_one_to_four_bytes_each(text: str) -> None:
    tokens = split_tokens(text)
    assert b"".join(tokens) == text.encode()
    assert all(1 <= len(token) <= 4 for token in tokens)
    assert count_tokens(text) == len(tokens) <= len(text.encode())


messages = st.fixed_dictionaries(
    {"role": st.sampled_from(["system", "user", "tool"]), "content": st.text()},
    optional={"name": st.text(max_size=9)},
)
schemas = st.recursive(
    st.integers() | st.text() | st.floats(allow_nan=False, allow_infinity=False),
    lambda part: st.dictionaries(st.text(), part),
)


@given(st.lists(messages, min_size=1, max_size=5), st.none() | st.lists(schemas, max_size=2))
def test_a_chat_never_has_more_tokens_than_the_bytes_of_its_text_and_the_fixed_bounds(
    told: list[dict[str, str]], tools: list[Any] | None
) -> None:
    body = decode(json.dumps({"model": "tiny", "messages": told, "tools": tools}).encode(), ChatBody)
    text_bytes = sum(len(text.encode()) for message in told for text in message.values())
    text_bytes += len(json.dumps(tools)) if tools else 0
    tokens = len(chat_prompt(body).tokens)
    assert tokens <= text_bytes + 64 + 16 * len(told)


def test_a_chat_adds_four_tokens_per_message_and_three_per_request() -> None:
    told = [{"role": "system", "content": "four"}, {"role": "user", "content": "fives"}]
    body = decode(json.dumps({"model": "tiny", "messages": told}).encode(), ChatBody)
    assert len(chat_prompt(body).tokens) == 3 + (4 + 1) + (4 + 2)


def test_an_image_is_576_tokens_and_tools_count_by_their_json_as_sent() -> None:
    tools = b'[ {"function": {"name": "look"}} ]'
    plain = b'{"model":"tiny","messages":[{"role":"user","content":[{"type":"text","text":"see"},'
    picture = b'{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}'
    body = decode(plain + picture + b"," + picture + b']}],"tools":' + tools + b"}", ChatBody)
    assert len(chat_prompt(body).tokens) == 3 + 4 + 1 + 2 * 576 + count_tokens(tools)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Tell me. [[tokens=12]]", 12),
        ("[[tokens=1]] then [[tokens=0]]", 0),
        ("[[tokens=9999999]]", 1_000_000),
        ("[[tokens=-1]] [[tokens=x]] [tokens=3]", None),
    ],
)
def test_the_length_a_prompt_asks_for(text: str, tokens: int | None) -> None:
    assert exact_tokens(text) == tokens
