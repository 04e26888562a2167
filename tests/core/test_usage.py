"""Usage becomes disjoint quantities, or is quarantined, or estimated low (P2, H5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.errors import Invalid
from purser.core.usage import (
    CACHED,
    INPUT,
    LARGEST_QUANTITY,
    OUTPUT,
    Inconsistent,
    check_reported,
    estimate,
    normalise,
    quantities,
)

TOKENS = st.integers(0, LARGEST_QUANTITY)

# (rule, the engine's usage object, uncached input, cached input, output)
NORMAL = [
    ("P2", {"prompt_tokens": 12, "completion_tokens": 3}, 12, 0, 3),
    (
        "S44",
        {"prompt_tokens": 8000, "completion_tokens": 500, "prompt_tokens_details": {"cached_tokens": 7500}},
        500,
        7500,
        500,
    ),
    ("P2", {"prompt_tokens": 9, "completion_tokens": 0, "prompt_tokens_details": {"cached_tokens": 9}}, 0, 9, 0),
    ("S48", {"prompt_tokens": 2_000_000, "total_tokens": 2_000_000}, 2_000_000, 0, 0),
    ("S48", {"prompt_tokens": 5, "completion_tokens": None}, 5, 0, 0),
    ("P2", {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": None}, 5, 0, 1),
    ("P2", {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {}}, 5, 0, 1),
    ("P2", {"prompt_tokens": 5, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": None}}, 5, 0, 1),
    (
        "P2 reasoning is inside output",
        {"prompt_tokens": 5, "completion_tokens": 7, "completion_tokens_details": {"reasoning_tokens": 6}},
        *(5, 0, 7),
    ),
    ("P2", {"prompt_tokens": 0, "completion_tokens": 0}, 0, 0, 0),
    ("H5 the total tells the output", {"prompt_tokens": 5, "total_tokens": 9}, 5, 0, 4),
    ("H5 a reported output stands", {"prompt_tokens": 5, "completion_tokens": 1, "total_tokens": 9}, 5, 0, 1),
]


@pytest.mark.parametrize("rule, usage, uncached, cached, output", NORMAL)
def test_an_engines_usage_is_made_disjoint(
    rule: str, usage: dict[str, object], uncached: int, cached: int, output: int
) -> None:
    measured = normalise(usage)
    assert measured is not None
    expected = {INPUT: uncached, CACHED: cached, OUTPUT: output}
    assert measured.quantities == {unit: count for unit, count in expected.items() if count}, rule
    assert (measured.prompt_tokens, measured.cached_tokens) == (uncached + cached, cached)
    assert measured.output_tokens == output
    assert not measured.estimated


@pytest.mark.parametrize(
    "usage", [None, [], "usage", 7, {}, {"total_tokens": 9}, {"prompt_tokens": None, "completion_tokens": None}]
)
def test_usage_without_any_count_is_no_usage(usage: object) -> None:
    assert normalise(usage) is None, "H5"


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": -1, "completion_tokens": 3},
        {"prompt_tokens": 3, "completion_tokens": -1},
        {"completion_tokens": 3},
        {"prompt_tokens": None, "completion_tokens": 3},
        {"prompt_tokens": 1.5, "completion_tokens": 3},
        {"prompt_tokens": "12", "completion_tokens": 3},
        {"prompt_tokens": True, "completion_tokens": 3},
        {"prompt_tokens": 3, "completion_tokens": 2.0},
        {"prompt_tokens": 5, "total_tokens": 4},
        {"prompt_tokens": 5, "total_tokens": "9"},
        {"prompt_tokens": LARGEST_QUANTITY + 1, "completion_tokens": 0},
        {"prompt_tokens": 3, "completion_tokens": LARGEST_QUANTITY + 1},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 11}},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": -1}},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": 0.5}},
    ],
)
def test_usage_that_contradicts_itself_is_never_billed(usage: dict[str, object]) -> None:
    with pytest.raises(Inconsistent):
        normalise(usage)


@given(TOKENS, TOKENS, TOKENS)
def test_quantities_are_disjoint_positive_and_sum_to_what_was_used(one: int, other: int, output: int) -> None:
    cached, prompt = sorted((one, other))
    found = quantities(prompt, cached, output)
    assert sum(found.values()) == prompt + output
    assert found.get(CACHED, 0) == cached
    assert all(count > 0 for count in found.values())


@pytest.mark.parametrize("input_bytes, tokens", [(0, 0), (7, 0), (8, 1), (800, 100), (807, 100)])
def test_an_estimate_is_low_on_purpose_and_says_so(input_bytes: int, tokens: int) -> None:
    found = estimate(input_bytes, 5)
    assert found.estimated, "H5"
    assert (found.prompt_tokens, found.cached_tokens, found.output_tokens) == (tokens, 0, 5)


@pytest.mark.parametrize(
    "given_, expected",
    [
        ({INPUT: 120, OUTPUT: 40}, {INPUT: 120, OUTPUT: 40}),
        ({INPUT: 120, CACHED: 100}, {INPUT: 20, CACHED: 100}),
        ({OUTPUT: 7}, {OUTPUT: 7}),
        ({INPUT: 0}, {}),
        ({INPUT: LARGEST_QUANTITY}, {INPUT: LARGEST_QUANTITY}),
    ],
)
def test_reported_input_includes_the_cached(given_: dict[str, int], expected: dict[str, int]) -> None:
    assert check_reported(given_) == expected, "P2, H7"


@pytest.mark.parametrize(
    "given_, field",
    [
        (None, "quantities"),
        ({}, "quantities"),
        ([INPUT, 3], "quantities"),
        ({"images": 1}, "quantities"),
        ({1: 1}, "quantities"),
        ({INPUT: -1}, "quantities.input_tokens"),
        ({INPUT: 1.0}, "quantities.input_tokens"),
        ({OUTPUT: "4"}, "quantities.output_tokens"),
        ({OUTPUT: True}, "quantities.output_tokens"),
        ({OUTPUT: LARGEST_QUANTITY + 1}, "quantities.output_tokens"),
        ({INPUT: 10, CACHED: 11}, "quantities.cached_input_tokens"),
        ({CACHED: 1}, "quantities.cached_input_tokens"),
    ],
)
def test_wrong_reported_quantities_are_refused_by_field(given_: object, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_reported(given_)
    assert refused.value.field == field
