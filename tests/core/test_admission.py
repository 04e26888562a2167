"""Admission: the most a request can cost, and the cap that fits what is left (H1–H3)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.admission import (
    FIT,
    REFUSE,
    TOKENS_PER_MESSAGE,
    TOKENS_PER_REQUEST,
    Ask,
    Held,
    affordable_tokens,
    cut_short,
    first_slice,
    fit,
    fit_whole,
    hold_nanos,
    least_nanos,
    most_input_rate,
    most_output_rate,
    wanted_nanos,
)
from purser.core.money import Rate
from purser.core.pricebook import priority_rates
from purser.core.rating import rate
from purser.core.usage import (
    BATCH,
    INPUT,
    INPUT_KINDS,
    OUTPUT,
    OUTPUT_KINDS,
    PRIORITY,
    TOKEN_KINDS,
    Measured,
    as_priced,
    in_batch,
    with_priority,
)
from tests.core.rates import MILLION, MORE_RATES, RATES, per_million

TINY = per_million(200_000_000, 100_000_000, 800_000_000)  # 200 nano-dollars a token in, 800 out
PLENTY = 2**62


def ask(
    input_tokens: int = 580,
    cap: int = 1_000,
    *,
    named: bool = True,
    choices: int = 1,
    stream: bool = False,
    policy: str = FIT,
) -> Ask:
    """A request of 580 input tokens whose client named its cap of 1,000, unless told otherwise."""
    return Ask("tiny", input_tokens, 0, cap, cap if named else None, choices, stream, policy)


# What a hold is

# (rule, rates, input tokens, output tokens, nano-dollars)
HOLDS = [
    ("H1 house §5", TINY, 580, 1_000, 916_000),
    ("H1 input only", TINY, 580, 0, 116_000),
    ("H1 nothing", TINY, 0, 0, 0),
    ("H1 no output priced", {INPUT: Rate(8_000_000, MILLION)}, 2 * MILLION, 1_000, 16_000_000),
    ("H1 cached dearer", per_million(200_000_000, 300_000_000, 800_000_000), 10, 0, 3_000),
    ("H1 rounded up", {INPUT: Rate(1, 3), OUTPUT: Rate(1, 3)}, 1, 0, 1),
    ("H1 rounded up once, not twice", {INPUT: Rate(1, 3), OUTPUT: Rate(1, 3)}, 1, 1, 1),
]


@pytest.mark.parametrize(
    "asked, cap, short",
    [
        (1_000, 255, True),
        (1_000, 256, False),
        (1_000, 1_000, False),
        (100, 99, True),
        (100, 100, False),
        (16, 16, False),
    ],
)
def test_an_answer_is_cut_short_below_what_was_asked_and_256_tokens(asked: int, cap: int, short: bool) -> None:
    assert cut_short(ask(cap=asked), Held(1, cap, cap)) is short


@pytest.mark.parametrize("rule, rates, input_tokens, output_tokens, nanos", HOLDS)
def test_a_hold_is_the_most_the_bounds_can_cost(
    rule: str, rates: dict[str, Rate], input_tokens: int, output_tokens: int, nanos: int
) -> None:
    assert hold_nanos(rates, input_tokens, output_tokens) == nanos, rule


def exact_hold(rates: dict[str, Rate], input_tokens: int, output_tokens: int) -> Fraction:
    """Input at its dearest and output, as a fraction."""
    dearest = max(Fraction(rates[unit].nanos, rates[unit].per) for unit in INPUT_KINDS if unit in rates)
    outs = [Fraction(rates[unit].nanos, rates[unit].per) for unit in OUTPUT_KINDS if unit in rates]
    return input_tokens * dearest + output_tokens * max(outs, default=Fraction(0))


@given(st.one_of(RATES, MORE_RATES), st.integers(0, 10**6), st.integers(0, 10**6))
def test_a_hold_is_the_exact_bound_rounded_up(rates: dict[str, Rate], input_tokens: int, output_tokens: int) -> None:
    assert hold_nanos(rates, input_tokens, output_tokens) == math.ceil(exact_hold(rates, input_tokens, output_tokens))
    most = most_input_rate(rates)
    assert Fraction(most.nanos, most.per) == exact_hold(rates, 1, 0)
    out = most_output_rate(rates)
    assert (Fraction(0) if out is None else Fraction(out.nanos, out.per)) == exact_hold(rates, 0, 1)


PARTS = st.lists(st.integers(0, 10**6), min_size=len(TOKEN_KINDS), max_size=len(TOKEN_KINDS))


@given(MORE_RATES, PARTS, st.sampled_from(["plain", "batch", "priority"]), st.integers(1, 40))
def test_no_mix_of_kinds_of_tokens_costs_more_than_its_hold(
    rates: dict[str, Rate], counts: list[int], tier: str, times: int
) -> None:
    """Whatever kinds an engine's usage turns out to be of, and whichever of them the model prices."""
    told = {unit: count for unit, count in zip(TOKEN_KINDS, counts, strict=True) if count}
    measured = Measured(told, estimated=False)
    used = as_priced(told, rates)
    held_at: Mapping[str, Rate] | None = rates
    if tier == "batch":
        rates |= {BATCH[unit]: Rate(rates[unit].nanos, 2 * rates[unit].per) for unit in TOKEN_KINDS if unit in rates}
        used = in_batch(used)
    elif tier == "priority":
        rates |= {
            PRIORITY[unit]: Rate(times * rates[unit].nanos, rates[unit].per) for unit in TOKEN_KINDS if unit in rates
        }
        held_at, used = priority_rates(rates), with_priority(used)
    assert held_at is not None
    hold = hold_nanos(held_at, measured.prompt_tokens, measured.output_tokens)
    assert rate(used, rates).amount_nanos <= hold, "H1, A5"
    one = ask(measured.prompt_tokens, max(1, measured.output_tokens))
    assert affordable_tokens(held_at, one, hold) >= measured.output_tokens or not measured.output_tokens, "H3"


def test_what_a_chat_template_may_add_to_a_request_and_to_each_of_its_messages() -> None:
    assert (TOKENS_PER_REQUEST, TOKENS_PER_MESSAGE) == (64, 16), "H1"


def test_a_request_is_one_choice_in_one_piece_unless_it_says_otherwise() -> None:
    assert wanted_nanos(TINY, Ask("tiny", 580, 0, 5_000, 5_000)) == hold_nanos(TINY, 580, 5_000) == 4_116_000


# Fitting at 200 in and 800 out: the input of 580 costs 116,000, and every output token 800 more.
# (rule, request, spare, left, amount, output tokens held, cap)
FITS = [
    ("H2 all fits", ask(), PLENTY, PLENTY, 916_000, 1_000, 1_000),
    ("H2 to the last nano-dollar", ask(), 916_000, 916_000, 916_000, 1_000, 1_000),
    ("H3 one short", ask(), 915_999, 915_999, 915_200, 999, 999),
    ("H3 fewest", ask(), 128_800, 128_800, 128_800, 16, 16),
    ("H3 asked for less than 16", ask(cap=3), 118_400, 118_400, 118_400, 3, 3),
    ("H3 names no cap, fits half", ask(named=False), 1_832_000, 1_832_000, 916_000, 1_000, 1_000),
    ("H3 names no cap, over half", ask(named=False), 1_831_998, 1_831_998, 915_200, 999, 999),
    ("H3 names no cap, half", ask(named=False), 916_000, 916_000, 457_600, 427, 427),
    ("H3 half is rounded down", ask(named=False), 1_830_399, 1_830_399, 914_400, 998, 998),
    ("H3 half covers not the input", ask(named=False), 200_000, 200_000, 128_800, 16, 16),
    ("H3 half of left, not of spare", ask(named=False), 500_000, 1_832_000, 500_000, 480, 480),
    ("H3 named caps are not halved", ask(), 916_000, 916_000, 916_000, 1_000, 1_000),
    ("H3 choices", ask(choices=4), 916_000, 916_000, 916_000, 250, 250),
    ("H3 choices do not split a token", ask(choices=4), 918_000, 918_000, 916_000, 250, 250),
    ("H3 refuse, fits", ask(policy=REFUSE), 916_000, 916_000, 916_000, 1_000, 1_000),
    ("H3 refuse is not halved", ask(policy=REFUSE, named=False), 916_000, 916_000, 916_000, 1_000, 1_000),
    ("H1 a stream holds a slice", ask(cap=5_000, stream=True), PLENTY, PLENTY, 935_200, 1_024, 5_000),
    ("H1 a short stream holds its cap", ask(cap=500, stream=True), PLENTY, PLENTY, 516_000, 500, 500),
    ("H3 a stream's cap is fitted", ask(cap=5_000, stream=True), 516_000, 516_000, 516_000, 500, 500),
    ("H3 a stream keeps its cap", ask(cap=5_000, stream=True), 935_200, 935_200, 935_200, 1_024, 5_000),
    ("H3 refuse, a stream is held whole", ask(stream=True, policy=REFUSE), 916_000, 916_000, 916_000, 1_000, 1_000),
    ("H1 embeddings", ask(cap=0), 116_000, 116_000, 116_000, 0, 0),
    ("H1 embeddings, the last nano-dollar", ask(cap=0, named=False), 116_000, 116_000, 116_000, 0, 0),
]


@pytest.mark.parametrize("rule, request_, spare, left, amount, tokens, cap", FITS)
def test_the_cap_is_lowered_to_what_fits(
    rule: str, request_: Ask, spare: int, left: int, amount: int, tokens: int, cap: int
) -> None:
    assert fit(TINY, request_, spare, left) == Held(amount, tokens, cap), rule


# (rule, request, spare, the least it could be admitted with)
MISFITS = [
    ("H3 under the fewest", ask(), 128_799, 128_800),
    ("H3 under what was asked", ask(cap=3), 118_399, 118_400),
    ("H2 the input alone", ask(), 115_999, 128_800),
    ("H2 nothing left", ask(), 0, 128_800),
    ("H3 no cap named", ask(named=False), 128_799, 128_800),
    ("H3 refuse, one short", ask(policy=REFUSE), 915_999, 916_000),
    ("H3 refuse, a stream one short", ask(cap=5_000, stream=True, policy=REFUSE), 4_115_999, 4_116_000),
    ("H1 embeddings", ask(cap=0), 115_999, 116_000),
    ("H3 choices", ask(choices=4), 167_199, 167_200),
    ("H1 a stream's first tokens", ask(cap=5_000, stream=True), 128_799, 128_800),
]


@pytest.mark.parametrize("rule, request_, spare, least", MISFITS)
def test_where_nothing_fits_there_is_no_hold(rule: str, request_: Ask, spare: int, least: int) -> None:
    assert fit(TINY, request_, spare, spare) is None, rule
    assert least_nanos(TINY, request_) == least, rule
    assert fit(TINY, request_, least, least) is not None, rule


@pytest.mark.parametrize(
    "left, tokens", [(115_999, -1), (116_000, 0), (116_799, 0), (116_800, 1), (916_000, 1_000), (PLENTY, 1_000)]
)
def test_the_output_tokens_affordable(left: int, tokens: int) -> None:
    assert affordable_tokens(TINY, ask(), left) == tokens, "H3"


def test_free_output_is_affordable_up_to_the_cap() -> None:
    free = per_million(200_000_000, 100_000_000, 0)
    assert affordable_tokens(free, ask(), 116_000) == 1_000
    assert affordable_tokens({INPUT: free[INPUT]}, ask(), 116_000) == 1_000
    assert fit(free, ask(), 116_000, 116_000) == Held(116_000, 1_000, 1_000)


ASKS = st.builds(
    Ask,
    model=st.just("tiny"),
    input_tokens=st.integers(0, 5_000),
    input_bytes=st.just(0),
    cap=st.one_of(st.integers(0, 40), st.integers(0, 10_000)),
    requested=st.just(None),
    choices=st.integers(1, 5),
    stream=st.booleans(),
    policy=st.sampled_from([FIT, REFUSE]),
)


@st.composite
def situations(draw: st.DrawFn) -> tuple[dict[str, Rate], Ask, int, int]:
    """Rates, a request, what can be held now (often near one of its own bounds) and all that is left."""
    rates, wish = draw(RATES), draw(ASKS)
    if draw(st.booleans()):
        wish = Ask(**{**{name: getattr(wish, name) for name in Ask.__struct_fields__}, "requested": wish.cap})
    near = draw(st.sampled_from([0, min(16, wish.cap), wish.cap // 2, min(wish.cap, 1_024), wish.cap]))
    bound = math.ceil(exact_hold(rates, wish.input_tokens, near * wish.choices))
    spare = draw(st.one_of(st.integers(0, 10**10), st.integers(-2, 2).map(lambda off: max(0, bound + off))))
    return rates, wish, spare, spare + draw(st.one_of(st.just(0), st.integers(0, 10**10), st.just(PLENTY)))


@given(situations())
def test_a_hold_fits_the_spare_and_covers_what_it_says(case: tuple[dict[str, Rate], Ask, int, int]) -> None:
    rates, wish, spare, left = case
    held = fit(rates, wish, spare, left)
    if held is None:
        return
    assert held.amount_nanos <= spare, "H2"
    assert held.amount_nanos >= exact_hold(rates, wish.input_tokens, held.output_tokens * wish.choices), "H1"
    assert min(wish.cap, 16) <= held.cap <= wish.cap, "H3"
    assert min(held.cap, 16) <= held.output_tokens <= held.cap
    if wish.policy == REFUSE:
        assert held.cap == wish.cap, "H3: refuse never lowers a cap"
    if not wish.stream or wish.policy == REFUSE:
        assert held.output_tokens == held.cap, "a plain answer, or all or nothing, is held whole"


@given(situations())
def test_a_request_is_admitted_exactly_where_its_least_hold_fits(case: tuple[dict[str, Rate], Ask, int, int]) -> None:
    rates, wish, spare, left = case
    whole = wish.policy == REFUSE
    needed = exact_hold(rates, wish.input_tokens, (wish.cap if whole else min(wish.cap, 16)) * wish.choices)
    assert least_nanos(rates, wish) == math.ceil(needed)
    assert (fit(rates, wish, spare, left) is not None) == (needed <= spare), "H2"


@given(situations())
def test_a_request_held_whole_is_held_as_fitting_would(case: tuple[dict[str, Rate], Ask, int, int]) -> None:
    rates, wish, spare, left = case
    held, fitted = fit_whole(rates, wish, spare, left), fit(rates, wish, spare, left)
    uncut = fitted is not None and fitted.cap == wish.cap
    assert held == (fitted if uncut else None) or (held is None and wish.cap <= 16), (
        "only tiny caps are looked at again"
    )


@pytest.mark.parametrize("choices", [1, 3])
@pytest.mark.parametrize("stream", [False, True])
def test_a_default_cap_is_held_whole_up_to_half_of_what_is_left(stream: bool, choices: int) -> None:
    wish = ask(cap=3_000, named=False, stream=stream, choices=choices)
    whole = hold_nanos(TINY, wish.input_tokens, 3_000 * choices)
    assert fit_whole(TINY, wish, whole, 2 * whole) == fit(TINY, wish, whole, 2 * whole) is not None
    assert fit_whole(TINY, wish, whole, 2 * whole - 1) is None
    assert fit_whole(TINY, wish, wanted_nanos(TINY, wish) - 1, 2 * whole) is None


@given(RATES, st.integers(0, 5_000), st.integers(17, 9_999), st.integers(1, 5), st.integers(1, 5), st.booleans())
def test_no_larger_cap_would_have_fitted(
    rates: dict[str, Rate], input_tokens: int, tokens: int, choices: int, times: int, named: bool
) -> None:
    wish = ask(input_tokens, 10_000, choices=choices, named=named)
    spare = math.ceil(exact_hold(rates, input_tokens, tokens * choices))
    left = times * spare
    held = fit(rates, wish, spare, left)
    assert held is not None
    assert (held.cap >= tokens) or (not named and times == 1)
    if held.cap < 10_000:
        more = exact_hold(rates, input_tokens, (held.cap + 1) * choices)
        assert more > spare or (not named and more > left // 2), "H3"


@given(situations())
def test_the_affordable_tokens_are_the_most_that_fit(case: tuple[dict[str, Rate], Ask, int, int]) -> None:
    rates, wish, left, _ = case
    tokens = affordable_tokens(rates, wish, left)
    assert (tokens == -1) == (exact_hold(rates, wish.input_tokens, 0) > left)
    assert tokens <= wish.cap
    if tokens >= 0:
        assert exact_hold(rates, wish.input_tokens, tokens * wish.choices) <= left
    if tokens < wish.cap:
        assert exact_hold(rates, wish.input_tokens, (tokens + 1) * wish.choices) > left


@given(RATES, ASKS, st.integers(1, 2_000))
def test_the_hold_wanted_is_the_whole_cap_or_a_streams_first_slice(
    rates: dict[str, Rate], wish: Ask, slice_tokens: int
) -> None:
    tokens = min(wish.cap, slice_tokens) if wish.stream and wish.policy == FIT else wish.cap
    assert first_slice(wish, wish.cap, slice_tokens) == tokens
    expected = math.ceil(exact_hold(rates, wish.input_tokens, tokens * wish.choices))
    assert wanted_nanos(rates, wish, slice_tokens) == expected, "H1"
