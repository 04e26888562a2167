"""Price books: dated versions of complete rates, cached input at half, nothing free by silence (P1, P3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.errors import Invalid
from purser.core.money import Rate, format_usd, parse_usd
from purser.core.pricebook import (
    PRICE_FIELDS,
    PRICES,
    PriceBook,
    check_price,
    in_force,
    multiplier_of,
    price_of,
    priority_rates,
    read_price,
    reschedule,
    revise,
    show_price,
)
from purser.core.rating import rate
from purser.core.usage import (
    AUDIO_INPUT,
    AUDIO_MILLISECONDS,
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
    OUTPUT,
    PRIORITY,
    SEARCH_UNITS,
    TOKEN_KINDS,
    TOKENS,
    TRAINING_TOKENS,
    UNITS,
    in_batch,
    with_priority,
)
from tests.core.rates import MILLION

TINY = read_price("tiny", {"input": "0.20", "output": "0.80"})
DEAR = read_price("dear", {"input": "0.95", "cached_input": "0.16", "output": "4.00"})
EVEN = read_price("even", {"input": "2.00", "output": "2.00"})


def test_prices_are_read_as_dollars_per_million() -> None:
    assert {
        INPUT: Rate(950_000_000, MILLION),
        CACHED: Rate(160_000_000, MILLION),
        OUTPUT: Rate(4_000_000_000, MILLION),
        **{BATCH[unit]: Rate(DEAR[unit].nanos, 2 * MILLION) for unit in TOKENS},
    } == DEAR


def test_a_batch_costs_half_with_the_cached_rate_on_top() -> None:
    plain = read_price("plain", {"input": "0.15", "output": "0.60"})
    used = in_batch({INPUT: MILLION, OUTPUT: MILLION})
    assert rate(used, plain).amount_nanos == 375_000_000, "S47"
    assert rate(in_batch({CACHED: MILLION}), DEAR).amount_nanos == 80_000_000, "P4"


def test_priority_multiplies_every_rate_exactly() -> None:
    rates = read_price("swift", {"input": "0.95", "cached_input": "0.16", "output": "4.00", "priority": "1.25"})
    assert rate(with_priority({INPUT: MILLION, OUTPUT: MILLION}), rates).amount_nanos == 6_187_500_000, "P4"
    dearer = priority_rates(rates)
    assert dearer is not None
    assert rate({CACHED: MILLION}, dearer).amount_nanos == 200_000_000
    assert multiplier_of(rates) == "1.25"
    assert priority_rates(DEAR) is None
    assert multiplier_of(DEAR) is None


@pytest.mark.parametrize("times", ["0.99", "0", "101", "1.00001", "-2", "fast", 1.5])
def test_a_priority_multiplier_lies_between_1_and_100(times: object) -> None:
    with pytest.raises(Invalid, match="priority"):
        read_price("swift", {"input": "1", "output": "1", "priority": times})


def test_a_multiplied_rate_must_be_countable() -> None:
    price = {"input": "999999.999999999", "output": "1"}
    assert read_price("swift", price | {"priority": "100"}), "a whole number of nano-dollars"
    with pytest.raises(Invalid, match=r"swift\.priority makes a rate too large"):
        read_price("swift", price | {"priority": "99.9999"})


# (scenario, input price, cached_is_input, cached tokens, charge in nano-dollars)
CACHED_DEFAULTS = [
    ("S46", "0.90", False, MILLION, 450_000_000),
    ("S45", "0.95", True, MILLION, 950_000_000),
    ("P3 half of an odd nano-dollar", "0.000000001", False, 2 * MILLION, 1),
    ("P3 half of an odd nano-dollar, to even", "0.000000001", False, MILLION, 0),
    ("P3 half of an odd nano-dollar, to even", "0.000000003", False, MILLION, 2),
]


@pytest.mark.parametrize("rule, price, neutral, tokens, nanos", CACHED_DEFAULTS)
def test_cached_input_is_half_the_input_unless_it_is_billing_neutral(
    rule: str, price: str, neutral: bool, tokens: int, nanos: int
) -> None:
    rates = read_price("tiny", {"input": price, "output": "0"}, cached_is_input=neutral)
    assert rate({CACHED: tokens}, rates).amount_nanos == nanos, rule


def test_a_listed_cached_price_stands_unless_caching_is_billing_neutral() -> None:
    given_ = {"input": "0.20", "cached_input": "0.30", "output": "0.80"}
    assert read_price("tiny", given_, cached_is_input=True)[CACHED] == Rate(200_000_000, MILLION)
    assert read_price("tiny", given_)[CACHED] == Rate(300_000_000, MILLION)


@pytest.mark.parametrize(
    "given_, field",
    [
        (None, "prices.tiny"),
        ("0.20", "prices.tiny"),
        ({}, "prices.tiny.input"),
        ({"output": "0.80"}, "prices.tiny.input"),
        ({"cached_input": "0.10", "output": "0.80"}, "prices.tiny.input"),
        ({"input": "0.20"}, "prices.tiny.output"),
        ({"input": "0.20", "output": 0.8}, "prices.tiny.output"),
        ({"input": "0.20", "output": None}, "prices.tiny.output"),
        ({"input": "-0.20", "output": "0.80"}, "prices.tiny.input"),
        ({"input": "0.20", "output": "1000000.01"}, "prices.tiny.output"),
        ({"input": "0.20", "output": "0.80", "page": "1"}, "prices.tiny"),
        ({"image": "1", "page": "1"}, "prices.tiny"),
        ({"image": 1}, "prices.tiny.image"),
        ({"gpu_hour": "1000000.01"}, "prices.tiny.gpu_hour"),
    ],
)
def test_a_price_that_is_wrong_or_missing_is_refused_when_published(given_: object, field: str) -> None:
    with pytest.raises(Invalid, match=r"prices\.tiny") as refused:
        read_price("tiny", given_)
    assert refused.value.field == field, "P1"


def test_the_dearest_price_allowed_is_a_million_dollars_per_million() -> None:
    assert read_price("gold", {"input": "1000000", "output": "0"})[INPUT] == Rate(10**15, MILLION)


def test_a_revision_keeps_what_it_does_not_change_and_leaves_the_old_version_alone() -> None:
    first = revise(None, {"tiny": TINY, "dear": DEAR}, 1, 0)
    second = revise(first, {"tiny": DEAR, "new": TINY}, 2, 1_000)
    assert first == PriceBook(1, 0, {"tiny": TINY, "dear": DEAR}, frozenset(["tiny", "dear"]))
    expected = PriceBook(2, 1_000, {"tiny": DEAR, "dear": DEAR, "new": TINY}, frozenset(["tiny", "new"]))
    assert second == expected, "P1"


def test_a_revision_at_the_same_instant_names_what_that_instant_changes() -> None:
    first = revise(None, {"tiny": TINY}, 1, 7)
    assert revise(first, {"dear": DEAR}, 2, 7).named == {"tiny", "dear"}
    assert revise(first, {"dear": DEAR}, 2, 8).named == {"dear"}


def test_what_is_scheduled_changes_only_what_it_named() -> None:
    start = revise(None, {"tiny": TINY, "dear": DEAR}, 1, 0)
    tiny_later = revise(start, {"tiny": DEAR}, 2, 100)
    dear_later = revise(tiny_later, {"dear": TINY}, 3, 200)
    new = revise(start, {"dear": EVEN, "new": TINY}, 4, 50)
    fifth, sixth = reschedule(new, [start, tiny_later, dear_later])
    assert fifth == PriceBook(5, 100, {"tiny": DEAR, "dear": EVEN, "new": TINY}, frozenset(["tiny"]))
    assert sixth == PriceBook(6, 200, {"tiny": DEAR, "dear": TINY, "new": TINY}, frozenset(["dear"]))


def test_a_model_that_is_named_again_later_keeps_its_later_price_even_where_that_is_its_first() -> None:
    start = revise(None, {"tiny": TINY}, 1, 0)
    back = revise(start, {"tiny": TINY}, 2, 100)
    new = revise(start, {"tiny": DEAR}, 3, 50)
    assert reschedule(new, [start, back]) == [], "at 100 tiny costs what version 2 says, and nothing else changes"
    other = revise(new, {"new": DEAR}, 4, 60)
    assert reschedule(other, [start, back, new]) == [
        PriceBook(5, 100, {"tiny": TINY, "new": DEAR}, frozenset(["tiny"]))
    ]


Publishing = tuple[int, int, dict[str, int]]
PUBLISHINGS = st.lists(
    st.tuples(st.integers(0, 5), st.integers(0, 5), st.dictionaries(st.sampled_from("abc"), st.integers(1, 9))),
    min_size=1,
    max_size=7,
)


@given(PUBLISHINGS)
def test_at_any_time_a_model_costs_what_was_last_said_of_it_up_to_then(publishings: list[Publishing]) -> None:
    """Whatever was scheduled before: of all that has taken effect, the latest instant counts, then the latest word."""
    books: list[PriceBook] = []
    said: list[tuple[int, int, dict[str, int]]] = []
    now = 0
    for n, (later, ahead, prices) in enumerate(publishings):
        now, at = now + later, now + later + ahead
        said.append((at, n, prices))
        rates = {name: {"input_tokens": Rate(price, 1)} for name, price in prices.items()}
        new = revise(in_force([book for book in books if book.effective_at <= at], at), rates, len(books) + 1, at)
        books += [new, *reschedule(new, books)]
    assert [book.version for book in books] == list(range(1, len(books) + 1))
    for at in range(now + 12):
        expected: dict[str, int] = {}
        for effective, _, prices in sorted(said, key=lambda word: word[:2]):
            if effective <= at:
                expected |= prices
        book = in_force([book for book in books if book.effective_at <= at], at)
        models = {} if book is None else book.models
        assert {name: rates["input_tokens"].nanos for name, rates in models.items()} == expected, at


BOOKS = [PriceBook(1, 100, {}), PriceBook(2, 200, {}), PriceBook(3, 200, {}), PriceBook(4, 150, {})]


@pytest.mark.parametrize(
    "at, version", [(0, 1), (99, 1), (100, 1), (149, 1), (150, 4), (199, 4), (200, 3), (10**18, 3)]
)
def test_the_book_in_force_is_the_newest_whose_time_has_come_and_before_all_the_first(at: int, version: int) -> None:
    for books in (BOOKS, BOOKS[::-1]):
        book = in_force(iter(books), at)
        assert book is not None
        assert book.version == version, "P1, H7"


@given(st.lists(st.integers(0, 50), max_size=8), st.integers(0, 60))
def test_the_book_in_force_is_found_by_looking_at_each(instants: list[int], at: int) -> None:
    books = [PriceBook(n, effective, {}) for n, effective in enumerate(instants)]
    expected = None
    at = max([at, *sorted(instants)[:1]])
    for book in books:
        if book.effective_at <= at and (expected is None or book.effective_at >= expected.effective_at):
            expected = book
    assert in_force(books, at) == expected


@pytest.mark.parametrize(
    "price, shown",
    [
        (Rate(900, MILLION), "0.0000009"),
        (Rate(901, 2 * MILLION), "0.00000045"),
        (Rate(7_000_000_000, 3_600), "1944.444444444"),
    ],
)
def test_a_rate_is_shown_per_million(price: Rate, shown: str) -> None:
    assert show_price({INPUT: price}) == {"input": shown}


def test_all_that_is_wrong_with_a_price_is_told_at_once() -> None:
    price = {"ouput": "1", "input": 0.2, "image": "-1", "priority": "0.5", "step": "x"}
    found = [mistake.field for mistake in check_price("omni", price)]
    wrong = ("prices.omni", "prices.omni.input", "prices.omni.output", "prices.omni.image", "prices.omni.step")
    assert found == [*wrong, "prices.omni.priority"]
    assert [mistake.field for mistake in check_price("omni", None)] == ["prices.omni"]
    assert check_price("omni", EVERYTHING) == []


EVERYTHING = {
    "input": "5",
    "cached_input": "0.5",
    "output": "25",
    "cache_write_5m": "6.25",
    "cache_write_1h": "10",
    "audio_input": "32",
    "audio_output": "64",
    "image_input": "8",
    "image_output": "40",
    "image": "0.04",
    "step": "0.00013",
    "audio_minute": "0.006",
    "search": "0.002",
    "training": "3",
    "gpu_hour": "3.89",
}


def test_every_unit_has_its_price_per_so_many() -> None:
    rates = read_price("omni", EVERYTHING)
    # (unit, how much of it, what that costs)
    expected = {
        CACHE_WRITE_5M: (MILLION, 6_250_000_000),
        CACHE_WRITE_1H: (MILLION, 10_000_000_000),
        AUDIO_INPUT: (MILLION, 32_000_000_000),
        AUDIO_OUTPUT: (MILLION, 64_000_000_000),
        IMAGE_INPUT: (MILLION, 8_000_000_000),
        IMAGE_OUTPUT: (MILLION, 40_000_000_000),
        IMAGES: (1, 40_000_000),
        IMAGE_STEPS: (30, 3_900_000),
        AUDIO_MILLISECONDS: (60_000, 6_000_000),
        SEARCH_UNITS: (1, 2_000_000),
        TRAINING_TOKENS: (MILLION, 3_000_000_000),
        GPU_SECONDS: (86_400, 93_360_000_000),
    }
    for unit, (quantity, nanos) in expected.items():
        assert rate({unit: quantity}, rates).amount_nanos == nanos, f"M2, S56: {unit}"
    assert show_price(rates) == {field: format_usd(parse_usd(dollars)) for field, dollars in EVERYTHING.items()}


def test_a_unit_is_priced_per_as_many_at_every_tier() -> None:
    assert [price_of(unit) is None for unit in UNITS] == [unit == "nano_usd" for unit in UNITS]
    for tier in (BATCH, PRIORITY):
        assert all(price_of(tier[unit]) == price_of(unit) for unit in TOKEN_KINDS)
    gpu = price_of(GPU_SECONDS)
    assert gpu is not None
    assert (gpu.per, gpu.words, gpu.short) == (3_600, "per GPU-hour", "GPU-hour")


def test_tokens_of_every_kind_cost_half_in_a_batch_and_more_with_priority() -> None:
    rates = read_price("omni", EVERYTHING | {"priority": "2"})
    dearer = priority_rates(rates)
    assert dearer is not None
    for unit in TOKEN_KINDS:
        plain = rate({unit: MILLION}, rates).amount_nanos
        assert rate(in_batch({unit: MILLION}), rates).amount_nanos * 2 == plain, f"P4: {unit}"
        assert rate(with_priority({unit: MILLION}), rates).amount_nanos == 2 * plain, f"P4: {unit}"
        assert rate({unit: MILLION}, dearer).amount_nanos == 2 * plain, f"held so: {unit}"
    assert set(rates) == {unit for unit in UNITS if unit != "nano_usd"}
    assert show_price(rates)["priority"] == "2.00"


@pytest.mark.parametrize("field", ["image", "step", "audio_minute", "search", "training", "gpu_hour"])
def test_a_model_may_be_priced_without_tokens(field: str) -> None:
    rates = read_price("flux", {field: "0.04"})
    assert set(rates) == {PRICE_FIELDS[field]}
    assert show_price(rates) == {field: "0.04"}
    assert multiplier_of(rates) is None
    assert priority_rates(rates) is None


@pytest.mark.parametrize("name", [name for name in PRICES if PRICES[name].unit in TOKEN_KINDS] + ["priority"])
def test_one_price_of_tokens_asks_for_those_of_input_and_output(name: str) -> None:
    missing = "output" if name == "input" else "input"
    with pytest.raises(Invalid, match=rf"prices\.omni\.{missing} is missing") as refused:
        read_price("omni", {"image": "1", name: "1"})
    assert refused.value.field == f"prices.omni.{missing}", "P1"


def test_where_caching_is_billing_neutral_so_is_writing_to_a_cache() -> None:
    rates = read_price("omni", EVERYTHING, cached_is_input=True)
    used = {INPUT: 1, CACHED: 1, CACHE_WRITE_5M: 1, CACHE_WRITE_1H: 1}
    assert rate(used, rates).amount_nanos == 4 * 5_000, "S45"
    assert rate({AUDIO_INPUT: 1}, rates).amount_nanos == 32_000


PRICE = st.integers(0, 10**12).map(format_usd)


@given(st.fixed_dictionaries({"input": PRICE, "output": PRICE}, optional=dict.fromkeys([*PRICES][3:], PRICE)))
def test_what_is_shown_of_a_price_is_what_was_published(price: dict[str, str]) -> None:
    shown = show_price(read_price("omni", price))
    cached = shown.pop("cached_input")
    assert shown == price
    assert parse_usd(cached) == parse_usd(price["input"]) // 2, "P3"
