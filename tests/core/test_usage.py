"""Usage becomes disjoint quantities, or is quarantined, or estimated low (P2, H5)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.errors import Invalid
from purser.core.usage import (
    AMOUNT,
    AUDIO_INPUT,
    AUDIO_OUTPUT,
    BATCH,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    CACHED,
    GPU_SECONDS,
    IMAGE_INPUT,
    IMAGE_OUTPUT,
    IMAGE_STEPS,
    IMAGES,
    INPUT,
    INPUT_KINDS,
    LARGEST_QUANTITY,
    OUTPUT,
    OUTPUT_KINDS,
    PRIORITY,
    SEARCH_UNITS,
    TOKEN_KINDS,
    TRAINING_TOKENS,
    UNITS,
    Inconsistent,
    Measured,
    as_priced,
    check_reported,
    check_untold,
    estimate,
    folded,
    in_batch,
    milliseconds,
    normalise,
    quantities,
    with_priority,
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
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"cached_tokens": "3"}},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": 11}},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": 6, "image_tokens": 5}},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": -1}},
        {"prompt_tokens": 10, "completion_tokens": 1, "prompt_tokens_details": {"audio_tokens": True}},
        {
            "prompt_tokens": 9,
            "completion_tokens": 1,
            "prompt_tokens_details": {"cached_tokens": 5, "cache_write_tokens": 5},
        },
        {"prompt_tokens": 10, "completion_tokens": 1, "completion_tokens_details": {"audio_tokens": 2}},
        {
            "prompt_tokens": 10,
            "completion_tokens": 3,
            "completion_tokens_details": {"audio_tokens": 2, "image_tokens": 2},
        },
        {"prompt_tokens": 10, "completion_tokens": 3, "completion_tokens_details": {"audio_tokens": "2"}},
        {"input_tokens": -1, "output_tokens": 3},
        {"input_tokens": 3, "output_tokens": "3"},
        {"output_tokens": 3},
        {"input_tokens": 5, "output_tokens": 1, "input_tokens_details": {"cached_tokens": 6}},
        {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": -1},
        {"input_tokens": 5, "output_tokens": 1, "cache_read_input_tokens": "4"},
        {"input_tokens": 5, "output_tokens": 1, "cache_creation_input_tokens": 1.0},
        {"input_tokens": 5, "cache_creation_input_tokens": 9, "cache_creation": {"ephemeral_1h_input_tokens": 10}},
        {"input_tokens": 5, "cache_creation": {"ephemeral_5m_input_tokens": -10}},
        {
            "input_tokens": 9,
            "input_tokens_details": {
                "audio_tokens": 3,
                "cached_tokens": 5,
                "cached_tokens_details": {"audio_tokens": 4},
            },
        },
        {
            "input_tokens": 9,
            "input_tokens_details": {
                "audio_tokens": 4,
                "image_tokens": 4,
                "cached_tokens": 5,
                "cached_tokens_details": {"audio_tokens": 3, "image_tokens": 3},
            },
        },
        {"seconds": "8.47"},
        {"seconds": True},
        {"seconds": -1},
        {"seconds": float("nan")},
        {"seconds": float("inf")},
        {"seconds": LARGEST_QUANTITY},
        {"search_units": -1},
        {"search_units": 1.5},
        {"search_units": "1"},
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


def test_only_what_tells_of_no_tokens_may_be_estimated() -> None:
    nulls = {"prompt_tokens": None, "completion_tokens": None}
    untold: list[object] = [None, [], "usage", {}, nulls, {"seconds": 3}]
    for usage in untold:
        check_untold(usage)
    for told in ({"total_tokens": 9}, {"tokens": "9"}, {"prompt_tokens": None, "total_tokens": 0}):
        with pytest.raises(Inconsistent, match="usage without its input"):
            check_untold(told)


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
        (
            {INPUT: 100, CACHED: 10, CACHE_WRITE_1H: 20, IMAGE_INPUT: 70},
            {CACHED: 10, CACHE_WRITE_1H: 20, IMAGE_INPUT: 70},
        ),
        ({OUTPUT: 9, AUDIO_OUTPUT: 8}, {OUTPUT: 1, AUDIO_OUTPUT: 8}),
        ({IMAGES: 2, IMAGE_STEPS: 60}, {IMAGES: 2, IMAGE_STEPS: 60}),
        ({GPU_SECONDS: 5, TRAINING_TOKENS: 6, SEARCH_UNITS: 0}, {TRAINING_TOKENS: 6, GPU_SECONDS: 5}),
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
        ({"pages": 1}, "quantities"),
        ({"nano_usd": 1}, "quantities"),
        ({BATCH[INPUT]: 1}, "quantities"),
        ({INPUT: 10, AUDIO_INPUT: 4, IMAGE_INPUT: 7}, "quantities.image_input_tokens"),
        ({INPUT: 10, CACHED: 10, CACHE_WRITE_5M: 1}, "quantities.cache_write_5m_input_tokens"),
        ({OUTPUT: 3, AUDIO_OUTPUT: 4}, "quantities.audio_output_tokens"),
        ({IMAGE_OUTPUT: 4}, "quantities.image_output_tokens"),
        ({IMAGES: 0.5}, "quantities.images"),
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


def test_what_is_charged_in_old_books_is_rounded_in_its_old_order() -> None:
    old = "{0} cached_{0} output_tokens batch_{0} batch_cached_{0} batch_output_tokens priority_{0} priority_cached_{0}"
    assert " ".join(UNITS[:10]) == f"{old} priority_output_tokens nano_usd".replace("{0}", "input_tokens"), "M3"
    assert len(UNITS) == len(set(UNITS))


KINDS = st.integers(0, 400)


@given(KINDS, KINDS, KINDS, KINDS, KINDS, KINDS, st.booleans(), st.integers(0, 400), st.integers(0, 400))
def test_whatever_the_details_say_each_token_is_counted_once(
    prompt: int, cached: int, written: int, audio: int, image: int, output: int, told: bool, spoken: int, of_cached: int
) -> None:
    details = {"cached_tokens": cached, "cache_write_tokens": written, "audio_tokens": audio, "image_tokens": image}
    if told:
        details["cached_tokens_details"] = {"audio_tokens": of_cached}  # type: ignore[assignment]
    usage = {
        "prompt_tokens": prompt,
        "completion_tokens": output,
        "prompt_tokens_details": details,
        "completion_tokens_details": {"audio_tokens": spoken},
    }
    wrong = cached + written > prompt or audio + image > prompt or spoken > output
    wrong = wrong or (told and of_cached > min(cached, audio))
    try:
        measured = normalise(usage)
    except Inconsistent:
        assert wrong
        return
    assert not wrong
    assert measured is not None
    used = measured.quantities
    assert all(count > 0 for count in used.values())
    assert (measured.prompt_tokens, measured.output_tokens) == (prompt, output)
    assert (used.get(CACHED, 0), used.get(CACHE_WRITE_5M, 0), used.get(AUDIO_OUTPUT, 0)) == (cached, written, spoken)
    assert used.get(AUDIO_INPUT, 0) <= audio
    assert used.get(IMAGE_INPUT, 0) <= image
    if cached + written + audio + image <= prompt and not told:
        assert (used.get(AUDIO_INPUT, 0), used.get(IMAGE_INPUT, 0)) == (audio, image), "none need be both"


SOME_UNITS = st.lists(st.sampled_from(TOKEN_KINDS), unique=True)


@given(st.dictionaries(st.sampled_from(TOKEN_KINDS), st.integers(1, 10**6)), SOME_UNITS)
def test_tokens_of_a_kind_without_a_price_are_plain_ones(used: dict[str, int], priced: list[str]) -> None:
    rates = dict.fromkeys([INPUT, OUTPUT, *priced], 1)
    found = folded(used, rates)
    assert set(found) <= set(rates)
    for plain, kinds in ((INPUT, INPUT_KINDS), (OUTPUT, OUTPUT_KINDS)):
        assert sum(found.get(unit, 0) for unit in kinds) == sum(used.get(unit, 0) for unit in kinds), "none is lost"
        for unit in kinds:
            assert unit == plain or found.get(unit, 0) == (used.get(unit, 0) if unit in rates else 0)
    assert as_priced(used, rates) == found
    both = [
        folded(at_tier(used), {tier[unit]: 1 for unit in rates})
        for at_tier, tier in ((in_batch, BATCH), (with_priority, PRIORITY))
    ]
    assert both == [in_batch(found), with_priority(found)], "P4"


def test_what_is_no_token_has_one_price_at_every_tier() -> None:
    used = {INPUT: 3, IMAGES: 2, GPU_SECONDS: 9, AMOUNT: 5}
    assert in_batch(used) == {BATCH[INPUT]: 3, IMAGES: 2, GPU_SECONDS: 9, AMOUNT: 5}
    assert with_priority(used) == {PRIORITY[INPUT]: 3, IMAGES: 2, GPU_SECONDS: 9, AMOUNT: 5}


def test_an_answer_is_sold_by_what_its_model_is_priced_by_and_never_for_nothing() -> None:
    used = {INPUT: 63, OUTPUT: 1_056, IMAGES: 1}
    assert as_priced(used, {IMAGES: 1}) == {IMAGES: 1}
    assert as_priced(used, {INPUT: 1, CACHED: 1, OUTPUT: 1}) == {INPUT: 63, OUTPUT: 1_056}
    assert as_priced({}, {IMAGES: 1}) == {}
    with pytest.raises(Inconsistent, match="the model has no price for input_tokens, output_tokens"):
        as_priced({INPUT: 63, OUTPUT: 1_056}, {IMAGES: 1})
    assert folded({AUDIO_INPUT: 1}, {IMAGES: 1}) == {AUDIO_INPUT: 1}, "there is no price that it could be folded into"


@pytest.mark.parametrize(
    "seconds, expected",
    [(9, 9_000), (8.47, 8_470), (0, 0), (0.0005, 0), (0.0015, 2), (8.470000267028809, 8_470), (1e-9, 0)],
)
def test_seconds_are_whole_milliseconds(seconds: object, expected: int) -> None:
    assert milliseconds(seconds, "seconds") == expected


def test_the_total_is_input_only_where_there_can_be_nothing_else() -> None:
    assert normalise({"total_tokens": 56}, all_is_input=True) == Measured({INPUT: 56}, estimated=False)
    assert normalise({"total_tokens": None}, all_is_input=True) is None
    with pytest.raises(Inconsistent, match="total_tokens"):
        normalise({"total_tokens": "56"}, all_is_input=True)
