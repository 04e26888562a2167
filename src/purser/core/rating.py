"""Rating: what quantities cost at given rates, rounded once and split over the units without loss (M3)."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from purser.core.errors import Broken
from purser.core.money import LARGEST_NANOS, Rate, round_half_even
from purser.core.usage import AMOUNT, UNITS, Quantities

_BY_ITSELF = {AMOUNT: Rate(1, 1)}
_ORDER = {unit: place for place, unit in enumerate(UNITS)}.__getitem__


class Part(Struct, frozen=True, gc=False):
    """One unit's share of a charge."""

    unit: str
    quantity: int
    amount_nanos: int


class Charge(Struct, frozen=True, gc=False):
    """What a request costs; the parts' amounts sum to `amount_nanos`; `clamped_nanos` was forgiven.

    An engine may report any number of tokens: what is forgiven is counted up to LARGEST_NANOS, so that it can be kept.
    """

    amount_nanos: int
    parts: tuple[Part, ...]
    clamped_nanos: int = 0


def rate_of(unit: str, rates: Mapping[str, Rate]) -> Rate | None:
    """The rate of a unit; a sum of money has its own, whatever the book."""
    return rates.get(unit) or _BY_ITSELF.get(unit)


def rate(quantities: Quantities, rates: Mapping[str, Rate], most_nanos: int | None = None) -> Charge:
    """Price quantities: Σ quantity × rate, rounded once, half to even, to a nano-dollar.

    Each part is the difference of the rounded running total, in the order of UNITS, so that parts always sum to
    the charge. With `most_nanos` (a hold) the charge never exceeds it (H4). 8,000 prompt tokens, 7,500 of them
    cached, and 500 output tokens at 0.95/0.16/4.00 dollars per million cost $0.003675.
    Raises Broken where a unit has no rate: a book without it must have been refused when it was published (P1).
    """
    numerator, denominator, before, total = 0, 1, 0, 0
    parts: list[Part] = []
    for unit in sorted(quantities, key=_ORDER) if len(quantities) > 1 else quantities:
        quantity = quantities[unit]
        if not quantity:
            continue
        price = rate_of(unit, rates)
        if price is None:
            raise Broken(f"no rate for {unit}")
        if price.per == denominator or not parts:  # mostly all rates are for the same number of units
            numerator, denominator = numerator + quantity * price.nanos, price.per
        else:
            numerator = numerator * price.per + quantity * price.nanos * denominator
            denominator *= price.per
        total = round_half_even(numerator, denominator)
        if most_nanos is not None and total > most_nanos:
            parts.append(Part(unit, quantity, max(0, most_nanos - before)))
            before = max(before, most_nanos)
            continue
        parts.append(Part(unit, quantity, total - before))
        before = total
    return Charge(before, tuple(parts), min(total - before, LARGEST_NANOS))
