"""A tariff: a model's rates where each is a whole number of nano-dollars a token, so that nothing needs rounding."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from purser.core.money import Rate
from purser.core.rating import Charge, Part
from purser.core.usage import CACHED, INPUT, MORE_TOKENS, NO_TOKENS, OUTPUT, TOKENS, Quantities, quantities

_MORE = (*MORE_TOKENS, *NO_TOKENS)


class Tariff(Struct, frozen=True, gc=False):
    """Nano-dollars for a token of each unit. What it answers is what `hold_nanos` and `rate` answer for its rates."""

    input_nanos: int
    cached_nanos: int
    output_nanos: int

    def hold_nanos(self, input_tokens: int, output_tokens: int) -> int:
        """The most that these bounds can cost."""
        dearest = self.input_nanos if self.input_nanos > self.cached_nanos else self.cached_nanos
        return input_tokens * dearest + output_tokens * self.output_nanos

    def charge(self, fresh: int, cached: int, output: int) -> tuple[Quantities, Charge]:
        """The disjoint quantities of so many tokens, and what they cost."""
        nanos = (fresh * self.input_nanos, cached * self.cached_nanos, output * self.output_nanos)
        amount = nanos[0] + nanos[1] + nanos[2]
        if fresh and cached and output:
            parts = (Part(INPUT, fresh, nanos[0]), Part(CACHED, cached, nanos[1]), Part(OUTPUT, output, nanos[2]))
            return {INPUT: fresh, CACHED: cached, OUTPUT: output}, Charge(amount, parts)
        used = quantities(fresh + cached, cached, output)
        by_unit = dict(zip(TOKENS, nanos, strict=True))
        return used, Charge(amount, tuple([Part(unit, count, by_unit[unit]) for unit, count in used.items()]))


def is_plain(rates: Mapping[str, Rate]) -> bool:
    """Whether a model is priced by tokens of input, cached input and output, and by nothing else."""
    return INPUT in rates and rates.keys().isdisjoint(_MORE)


def tariff_of(rates: Mapping[str, Rate]) -> Tariff | None:
    """The tariff of a model's rates; None where one of them is missing or no whole number a token.

    None, too, for a model that prices more kinds of tokens, of which a tariff knows nothing.
    """
    if not is_plain(rates):
        return None
    nanos = []
    for unit in TOKENS:
        rate = rates.get(unit)
        if rate is None or rate.nanos % rate.per:
            return None
        nanos.append(rate.nanos // rate.per)
    return Tariff(*nanos)
