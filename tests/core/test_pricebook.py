"""Price books: dated versions of complete rates, cached input at half, nothing free by silence (P1, P3)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.errors import Invalid
from purser.core.money import Rate
from purser.core.pricebook import (
    PriceBook,
    in_force,
    multiplier_of,
    per_million,
    priority_rates,
    read_price,
    reschedule,
    revise,
)
from purser.core.rating import rate
from purser.core.usage import BATCH, CACHED, INPUT, OUTPUT, TOKENS, in_batch, with_priority
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
        ({"input": "0.20", "output": "0.80", "image": "1"}, "prices.tiny"),
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
    "price, nanos",
    [(Rate(900, MILLION), 900), (Rate(901, 2 * MILLION), 450), (Rate(7_000_000_000, 3_600), 1944444444444)],
)
def test_a_rate_is_shown_per_million(price: Rate, nanos: int) -> None:
    assert per_million(price) == nanos
