"""Admission: the most a request can cost, and the output cap that fits what is left (H1–H3)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from purser.core.money import Rate
from purser.core.usage import CACHED, INPUT, MORE_INPUT, MORE_OUTPUT, OUTPUT

TOKENS_PER_REQUEST = 64
TOKENS_PER_MESSAGE = 16
SLICE_TOKENS = 1024
FEWEST_TOKENS = 16  # fitting never goes below this, or below what was asked where that is less
GOOD_TOKENS = 256  # an answer is not fitted below this while waiting may bring more
FIT, REFUSE = "fit", "refuse"
_OTHER_INPUT = (CACHED, *MORE_INPUT)


class Ask(Struct, frozen=True, gc=False):
    """What a request could use at most: tokens of input, tokens of output per choice, and choices.

    `requested` is the cap the client named, None where it named none; `cap` is that or the model's own maximum.
    `choices` multiplies the output: prompts × max(n, best_of).
    """

    model: str
    input_tokens: int
    input_bytes: int
    cap: int
    requested: int | None
    choices: int = 1
    stream: bool = False
    policy: str = FIT


class Held(Struct, frozen=True, gc=False):
    """An admitted request's hold: how many output tokens per choice it covers and what it may cost."""

    amount_nanos: int
    output_tokens: int
    cap: int


def most_input_rate(rates: Mapping[str, Rate]) -> Rate:
    """The dearest rate an input token may get: fresh, cached, written to a cache, of audio or of an image."""
    most = rates[INPUT]
    for unit in _OTHER_INPUT:
        rate = rates.get(unit)
        if rate is not None and rate.nanos * most.per > most.nanos * rate.per:
            most = rate
    return most


def most_output_rate(rates: Mapping[str, Rate]) -> Rate | None:
    """The dearest rate an output token may get; None where there is none, as of embeddings."""
    most = rates.get(OUTPUT)
    for unit in MORE_OUTPUT:
        rate = rates.get(unit)
        if rate is not None and (most is None or rate.nanos * most.per > most.nanos * rate.per):
            most = rate
    return most


def hold_nanos(rates: Mapping[str, Rate], input_tokens: int, output_tokens: int) -> int:
    """The most these bounds can cost, rounded up: 580 input and 1,000 output tokens at 0.20/0.80 hold $0.000916."""
    most, out = most_input_rate(rates), most_output_rate(rates)
    numerator, denominator = input_tokens * most.nanos, most.per
    if out is not None and out.per == denominator:
        numerator += output_tokens * out.nanos
    elif out is not None and output_tokens:
        numerator = numerator * out.per + output_tokens * out.nanos * denominator
        denominator *= out.per
    return -(-numerator // denominator)


def affordable_tokens(rates: Mapping[str, Rate], ask: Ask, left_nanos: int) -> int:
    """The output tokens per choice that `left_nanos` pays for after the input, at most the cap; −1 if not the input."""
    if hold_nanos(rates, ask.input_tokens, 0) > left_nanos:
        return -1
    out = most_output_rate(rates)
    if out is None or not out.nanos:
        return ask.cap
    most = most_input_rate(rates)
    budget = left_nanos * most.per - ask.input_tokens * most.nanos
    tokens = budget * out.per // (most.per * out.nanos * ask.choices)
    return min(ask.cap, tokens)


def fewest_tokens(ask: Ask) -> int:
    """The smallest output cap fitting may come down to (H3)."""
    return min(ask.cap, FEWEST_TOKENS)


def first_slice(ask: Ask, cap: int, slice_tokens: int = SLICE_TOKENS) -> int:
    """The output tokens per choice to hold at first: one slice of a stream, else all.

    A stream under the policy "refuse" is held whole: its client wants all of it or nothing, and no cut in the middle.
    """
    return min(cap, slice_tokens) if ask.stream and ask.policy == FIT else cap


def wanted_nanos(rates: Mapping[str, Rate], ask: Ask, slice_tokens: int = SLICE_TOKENS) -> int:
    """The hold the request would like."""
    return hold_nanos(rates, ask.input_tokens, first_slice(ask, ask.cap, slice_tokens) * ask.choices)


def least_nanos(rates: Mapping[str, Rate], ask: Ask) -> int:
    """The smallest hold with which the request may still be admitted."""
    tokens = ask.cap if ask.policy == REFUSE else fewest_tokens(ask)
    return hold_nanos(rates, ask.input_tokens, tokens * ask.choices)


def cut_short(ask: Ask, held: Held) -> bool:
    """Whether a cap was fitted so low that most answers would end in the middle."""
    return held.cap < min(ask.cap, GOOD_TOKENS)


def fit_whole(
    rates: Mapping[str, Rate], ask: Ask, spare_nanos: int, left_nanos: int, slice_tokens: int = SLICE_TOKENS
) -> Held | None:
    """What `fit` chooses where `spare_nanos` holds the request as it is asked for; None where it would be cut."""
    tokens = first_slice(ask, ask.cap, slice_tokens)
    amount = whole = hold_nanos(rates, ask.input_tokens, tokens * ask.choices)
    if amount > spare_nanos:
        return None
    if ask.requested is None and ask.policy == FIT:
        if tokens < ask.cap:
            whole = hold_nanos(rates, ask.input_tokens, ask.cap * ask.choices)
        if whole > left_nanos // 2:
            return None
    return Held(amount, tokens, ask.cap)


def fit(
    rates: Mapping[str, Rate], ask: Ask, spare_nanos: int, left_nanos: int, slice_tokens: int = SLICE_TOKENS
) -> Held | None:
    """Choose the hold and the output cap for a request, or None where nothing fits.

    `spare_nanos` can be held now; `left_nanos` (≥ spare) is all the headroom left. A request that named no cap and
    whose default bound exceeds half of what is left is fitted to half, so that several can run at once. A stream
    whose first slice fits keeps the cap it named: it goes on as long as the next slice can be held (H5).
    """
    cap = ask.cap
    fewest = fewest_tokens(ask)
    if ask.requested is None and ask.policy == FIT:
        half = max(fewest, affordable_tokens(rates, ask, left_nanos // 2))
        cap = min(cap, half)
    tokens = first_slice(ask, cap, slice_tokens)
    amount = hold_nanos(rates, ask.input_tokens, tokens * ask.choices)
    if amount > spare_nanos:
        if ask.policy == REFUSE:
            return None
        tokens = min(tokens, affordable_tokens(rates, ask, spare_nanos))
        if tokens < fewest:
            return None
        cap = tokens
        amount = hold_nanos(rates, ask.input_tokens, tokens * ask.choices)
    return Held(amount, tokens, cap)
