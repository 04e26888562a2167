"""What of an answer's usage its customer pays for: never more than the bounds and the hold (H4)."""

from __future__ import annotations

from collections.abc import Mapping

from hypothesis import given
from hypothesis import strategies as st

from purser.core.admission import hold_nanos
from purser.core.money import Rate
from purser.core.usage import (
    AUDIO_INPUT,
    AUDIO_OUTPUT,
    CACHED,
    IMAGES,
    INPUT,
    OUTPUT,
    TOKEN_KINDS,
    Measured,
    Quantities,
    as_priced,
)
from purser.gateway.clamp import within_bounds, within_hold
from tests.core.rates import MORE_RATES

COUNTS = st.integers(0, 10_000)
USED = st.dictionaries(st.sampled_from(TOKEN_KINDS), st.integers(1, 10_000))


def test_what_is_cut_is_cut_from_what_is_plain() -> None:
    assert within_bounds({INPUT: 90, CACHED: 30, OUTPUT: 5}, 100, 5) == {INPUT: 70, CACHED: 30, OUTPUT: 5}
    assert within_bounds({INPUT: 90, CACHED: 30}, 50, 0) == {INPUT: 20, CACHED: 30}
    assert within_bounds({INPUT: 90, CACHED: 30, AUDIO_INPUT: 40}, 50, 0) == {CACHED: 30, AUDIO_INPUT: 20}
    assert within_bounds({OUTPUT: 90, AUDIO_OUTPUT: 30, IMAGES: 2}, 0, 50) == {OUTPUT: 20, AUDIO_OUTPUT: 30, IMAGES: 2}


@given(MORE_RATES, USED, COUNTS, COUNTS)
def test_usage_within_its_bounds_fits_the_hold(
    rates: Mapping[str, Rate], told: Quantities, input_tokens: int, output_tokens: int
) -> None:
    used = as_priced(told, rates)
    billed = within_bounds(used, input_tokens, output_tokens)
    measured, before = Measured(billed, estimated=False), Measured(used, estimated=False)
    assert measured.prompt_tokens == min(before.prompt_tokens, input_tokens), "as many as were used, and may be billed"
    assert measured.output_tokens == min(before.output_tokens, output_tokens)
    assert all(0 < count <= used[unit] for unit, count in billed.items())
    hold = hold_nanos(rates, input_tokens, output_tokens)
    assert within_hold(billed, rates, hold, priority=False)[1].clamped_nanos == 0, "H1"


@given(MORE_RATES, USED, COUNTS, COUNTS)
def test_a_hold_that_is_too_small_is_kept_to_with_whole_tokens_of_output(
    rates: Mapping[str, Rate], told: Quantities, spare_tokens: int, less: int
) -> None:
    """The input fits; of the output, of whatever kinds, as much is left out as must be."""
    used = as_priced(told, rates)
    measured = Measured(used, estimated=False)
    hold = max(hold_nanos(rates, measured.prompt_tokens, 0), hold_nanos(rates, measured.prompt_tokens, 1) - less)
    cut, charge = within_hold(used, rates, hold, priority=False)
    assert charge.amount_nanos <= hold
    assert charge.clamped_nanos == 0, "quantities times prices are the charge"
    assert {unit: count for unit, count in cut.items() if unit in used} == cut
    assert Measured(cut, estimated=False).prompt_tokens == measured.prompt_tokens
