"""A tariff: a model's rates where each is a whole number of nano-dollars a token, so that nothing needs rounding."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from purser.core.money import Rate
from purser.core.rating import Charge, Part
from purser.core.usage import CACHED, INPUT, OUTPUT, Quantities


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
        quantities: Quantities = {}
        parts: tuple[Part, ...] = ()
        amount = 0
        if fresh:
            quantities[INPUT] = fresh
            amount = fresh * self.input_nanos
            parts = (Part(INPUT, fresh, amount),)
        if cached:
            quantities[CACHED] = cached
            nanos = cached * self.cached_nanos
            parts += (Part(CACHED, cached, nanos),)
            amount += nanos
        if output:
            quantities[OUTPUT] = output
            nanos = output * self.output_nanos
            parts += (Part(OUTPUT, output, nanos),)
            amount += nanos
        return quantities, Charge(amount, parts)


def tariff_of(rates: Mapping[str, Rate]) -> Tariff | None:
    """The tariff of a model's rates; None where one of them is missing or no whole number a token."""
    nanos = []
    for unit in (INPUT, CACHED, OUTPUT):
        rate = rates.get(unit)
        if rate is None or rate.nanos % rate.per:
            return None
        nanos.append(rate.nanos // rate.per)
    return Tariff(*nanos)
