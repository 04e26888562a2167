"""What the model says: the same for the same seed, of the length asked for, and readable."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.modelserver.text import Picks, compose, sample_json
from purser.modelserver.tokens import split_tokens

MANY = 1_000_000


def test_the_same_seed_says_the_same_and_another_something_else() -> None:
    first, _ = compose(Picks(b"ada"), None, MANY)
    again, _ = compose(Picks(b"ada"), None, MANY)
    other, _ = compose(Picks(b"bob"), None, MANY)
    assert first == again != other


def test_the_text_of_a_seed_stays_what_it_is_from_version_to_version() -> None:
    words, _ = compose(Picks(b"purser"), 12, MANY)
    assert "".join(words) == "Every tree watches without the pocket lig"


@given(st.binary())
def test_a_natural_answer_is_20_to_400_tokens_of_whole_sentences(seed: bytes) -> None:
    tokens, complete = compose(Picks(seed), None, MANY)
    assert complete
    assert 20 <= len(tokens) <= 400
    text = "".join(tokens)
    assert re.fullmatch(r"[A-Z][a-z ,]*\.(( |\n\n)[A-Z][a-z ,]*\.)*", text)
    assert [token.decode() for token in split_tokens(text)] == tokens


@given(st.binary(), st.integers(0, 1500), st.integers(0, 1500))
def test_an_exact_length_is_met_unless_the_cap_comes_first(seed: bytes, exact: int, most: int) -> None:
    tokens, complete = compose(Picks(seed), exact, most)
    assert len(tokens) == min(exact, most)
    assert complete is (exact <= most)


@given(st.binary(), st.integers(0, 500))
def test_a_capped_answer_is_the_beginning_of_the_whole_one(seed: bytes, most: int) -> None:
    whole, _ = compose(Picks(seed), None, MANY)
    capped, complete = compose(Picks(seed), None, most)
    assert capped == whole[:most]
    assert complete is (len(whole) <= most)


SCHEMA = {
    "type": "object",
    "properties": {
        "city": {"type": "string"},
        "days": {"type": "integer"},
        "unit": {"enum": ["C", "F"]},
        "kind": {"const": "forecast"},
        "wind": {"type": ["number", "null"]},
        "rain": {"type": "boolean"},
        "note": {"type": "null"},
        "places": {"type": "array", "items": {"properties": {"name": {"type": "string"}}}},
    },
}


@given(st.binary())
def test_a_json_value_fits_its_schema(seed: bytes) -> None:
    value = sample_json(SCHEMA, Picks(seed))
    assert isinstance(value, dict)
    assert list(value) == list(SCHEMA["properties"])
    assert isinstance(value["city"], str)
    assert isinstance(value["days"], int)
    assert value["unit"] in ("C", "F")
    assert value["kind"] == "forecast"
    assert isinstance(value["wind"], int)
    assert isinstance(value["rain"], bool)
    assert value["note"] is None
    assert isinstance(value["places"][0]["name"], str)


@pytest.mark.parametrize(
    "schema", [None, {}, {"type": []}, {"enum": []}, {"type": "object"}, {"type": "array"}, {"type": "odd"}]
)
def test_a_schema_that_says_little_still_gets_a_value(schema: object) -> None:
    assert sample_json(schema, Picks(b"")) == sample_json(schema, Picks(b""))


def test_a_schema_within_itself_ends() -> None:
    schema: dict[str, object] = {"type": "object"}
    schema["properties"] = {"inner": schema}
    value, depth = sample_json(schema, Picks(b"")), 0
    while isinstance(value, dict) and value:
        value, depth = value["inner"], depth + 1
    assert (value, depth) == ({}, 8)
