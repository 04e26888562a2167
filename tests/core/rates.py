"""Strategies and an exact oracle for prices: rates of any shape, and what usage costs as a fraction."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction

from hypothesis import strategies as st

from purser.core.money import Rate
from purser.core.usage import CACHED, INPUT, MORE_TOKENS, OUTPUT

MILLION = 1_000_000

_NANOS = st.one_of(st.integers(0, 40), st.integers(0, 20_000_000_000))
_PER = st.one_of(st.sampled_from([1, 60, 3_600, MILLION, 2 * MILLION]), st.integers(1, 5_000_000))
RATE = st.builds(Rate, _NANOS, _PER)

#: Rates of a model: odd units, dear output or none at all, cached dearer than input or not priced by itself.
RATES = st.one_of(
    st.fixed_dictionaries({INPUT: RATE, CACHED: RATE, OUTPUT: RATE}),
    st.fixed_dictionaries({INPUT: RATE, OUTPUT: RATE}),
    st.fixed_dictionaries({INPUT: RATE, CACHED: RATE}),
)

#: Rates of a model that prices kinds of tokens apart, any of them cheaper or dearer than plain ones.
MORE_RATES = st.fixed_dictionaries({INPUT: RATE, CACHED: RATE, OUTPUT: RATE}, optional=dict.fromkeys(MORE_TOKENS, RATE))


def per_million(input_: int, cached: int, output: int) -> dict[str, Rate]:
    """Rates in nano-dollars per million tokens."""
    return {INPUT: Rate(input_, MILLION), CACHED: Rate(cached, MILLION), OUTPUT: Rate(output, MILLION)}


def exact_cost(quantities: Mapping[str, int], rates: Mapping[str, Rate]) -> Fraction:
    """Σ quantity × rate, not rounded."""
    return sum((Fraction(n * rates[unit].nanos, rates[unit].per) for unit, n in quantities.items()), Fraction(0))
