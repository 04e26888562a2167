"""Price books: immutable dated versions of every model's rates, read from dollars per million (P1–P3)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from purser.core.errors import Invalid
from purser.core.money import NANOS_PER_USD, Rate, parse_usd
from purser.core.usage import BATCH, CACHED, INPUT, OUTPUT

MILLION = 1_000_000
PRICE_FIELDS = {"input": INPUT, "cached_input": CACHED, "output": OUTPUT}
_LARGEST_RATE = 1_000_000 * NANOS_PER_USD


@dataclass(frozen=True, slots=True)
class PriceBook:
    """One version: in force from `effective_at` until the next; models map to a rate per unit."""

    version: int
    effective_at: int
    models: Mapping[str, Mapping[str, Rate]]


def read_price(model: str, given: object, *, cached_is_input: bool = False) -> dict[str, Rate]:
    """Read {"input": "0.95", "cached_input"?: "0.16", "output": "4.00"} in dollars per million tokens.

    Without `cached_input` it is half the input rate (P3). Where `cached_is_input` (the regime in which caching is
    billing-neutral, S45) it is the input rate, whatever the price lists. Raises Invalid naming the field, such as
    prices.tiny.output.

    In a batch every token costs half (P4): 1,000,000 in and out at 0.15/0.60 cost $0.375.
    """
    where = f"prices.{model}"
    if not isinstance(given, dict):
        raise Invalid(f'{where} must be an object such as {{"input": "0.20", "output": "0.80"}}', field=where)
    unknown = [name for name in given if name not in PRICE_FIELDS]
    if unknown:
        raise Invalid(f"{where}.{unknown[0]!s:.40} is not a price; known: {', '.join(PRICE_FIELDS)}", field=where)
    rates: dict[str, Rate] = {}
    for name, unit in PRICE_FIELDS.items():
        field = f"{where}.{name}"
        if name in given:
            nanos = parse_usd(given[name], field)
            if nanos > _LARGEST_RATE:
                raise Invalid(f"{field} is over $1,000,000 per million tokens", field=field)
            rates[unit] = rates[INPUT] if name == "cached_input" and cached_is_input else Rate(nanos, MILLION)
        elif name == "cached_input" and INPUT in rates:
            rates[unit] = rates[INPUT] if cached_is_input else Rate(rates[INPUT].nanos, 2 * MILLION)
        else:
            raise Invalid(f'{field} is missing: dollars per million tokens, such as "0.20"', field=field)
    return rates | {BATCH[unit]: Rate(rate.nanos, 2 * rate.per) for unit, rate in rates.items()}


def revise(
    book: PriceBook | None, changed: Mapping[str, Mapping[str, Rate]], version: int, effective_at: int
) -> PriceBook:
    """A new version: `changed` models over those of `book`, which keep their rates."""
    models = dict(book.models) if book else {}
    models.update(changed)
    return PriceBook(version, effective_at, models)


def in_force(books: Iterable[PriceBook], at: int) -> PriceBook | None:
    """The newest version whose effective instant has come."""
    due = [book for book in books if book.effective_at <= at]
    return max(due, key=lambda book: (book.effective_at, book.version)) if due else None


def per_million(price: Rate) -> int:
    """The rate as nano-dollars per million units, for people (an odd half is rounded down)."""
    return price.nanos * MILLION // price.per
