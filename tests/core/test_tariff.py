"""A tariff holds and charges what its rates do."""

from hypothesis import given
from hypothesis import strategies as st

from purser.core.admission import hold_nanos
from purser.core.money import Rate
from purser.core.rating import rate
from purser.core.tariff import Tariff, is_plain, tariff_of
from purser.core.usage import BATCH, CACHED, IMAGES, INPUT, MORE_TOKENS, NO_TOKENS, OUTPUT, PRIORITY, TOKENS, quantities

NANOS = st.integers(0, 200_000)
COUNTS = st.integers(0, 10**7)
PER = st.sampled_from([1, 1_000, 1_000_000])


@given(st.tuples(NANOS, NANOS, NANOS), st.tuples(PER, PER, PER), COUNTS, COUNTS, COUNTS)
def test_a_tariff_is_its_rates_without_the_rounding(
    nanos: tuple[int, int, int], per: tuple[int, int, int], fresh: int, cached: int, output: int
) -> None:
    rates = {unit: Rate(each * units, units) for unit, each, units in zip(TOKENS, nanos, per, strict=True)}
    tariff = tariff_of(rates)
    assert tariff == Tariff(*nanos)
    used = quantities(fresh + cached, cached, output)
    assert tariff.charge(fresh, cached, output) == (used, rate(used, rates))
    assert tariff.hold_nanos(fresh, output) == hold_nanos(rates, fresh, output)


def test_rates_that_need_rounding_or_are_missing_are_no_tariff() -> None:
    whole = {INPUT: Rate(200_000_000, 1_000_000), CACHED: Rate(100, 1), OUTPUT: Rate(800_000_000, 1_000_000)}
    assert tariff_of(whole) == Tariff(200, 100, 800)
    assert tariff_of({**whole, CACHED: Rate(12_500_000, 1_000_000)}) is None
    assert tariff_of({INPUT: whole[INPUT], OUTPUT: whole[OUTPUT]}) is None


@given(st.sampled_from([*MORE_TOKENS, *NO_TOKENS]))
def test_a_model_that_prices_more_than_plain_tokens_has_no_tariff(unit: str) -> None:
    plain = dict.fromkeys(TOKENS, Rate(200, 1))
    assert is_plain(plain)
    assert is_plain(plain | {BATCH[INPUT]: Rate(1, 1), PRIORITY[OUTPUT]: Rate(1, 1)})
    assert not is_plain(plain | {unit: Rate(1, 1)})
    assert tariff_of(plain | {unit: Rate(1, 1)}) is None, "H1: it would hold too little"
    assert not is_plain({IMAGES: Rate(1, 1)})
