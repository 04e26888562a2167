"""Price books: immutable dated versions of every model's rates, read from dollars per million (P1–P3)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import gcd

from purser.core.errors import Invalid
from purser.core.money import LARGEST_NANOS, NANOS_PER_USD, Rate, format_usd, parse_usd
from purser.core.usage import BATCH, CACHED, INPUT, OUTPUT, PRIORITY, TOKENS

MILLION = 1_000_000
PRICE_FIELDS = {"input": INPUT, "cached_input": CACHED, "output": OUTPUT}
MULTIPLIER = "priority"  # what service_tier "priority" multiplies every rate by, such as "1.25"
PRICE_NAMES = (*PRICE_FIELDS, MULTIPLIER)
_STEP = NANOS_PER_USD // 10_000
_LARGEST_RATE = 1_000_000 * NANOS_PER_USD


@dataclass(frozen=True, slots=True)
class PriceBook:
    """One version: in force from `effective_at` until the next; models map to a rate per unit.

    `named` are the models that were published to change at that instant; all others keep their rates of before.
    """

    version: int
    effective_at: int
    models: Mapping[str, Mapping[str, Rate]]
    named: frozenset[str] = frozenset()


def read_price(model: str, given: object, *, cached_is_input: bool = False) -> dict[str, Rate]:
    """Read {"input": "0.95", "cached_input"?: "0.16", "output": "4.00"} in dollars per million tokens.

    Without `cached_input` it is half the input rate (P3). Where `cached_is_input` (the regime in which caching is
    billing-neutral, S45) it is the input rate, whatever the price lists. Raises Invalid naming the field, such as
    prices.tiny.output.

    In a batch every token costs half (P4): 1,000,000 in and out at 0.15/0.60 cost $0.375. With `priority` (P4), a
    multiplier from 1 to 100, tokens served with priority have rates of their own.
    """
    where = f"prices.{model}"
    if not isinstance(given, dict):
        raise Invalid(f'{where} must be an object such as {{"input": "0.20", "output": "0.80"}}', field=where)
    unknown = [name for name in given if name not in PRICE_NAMES]
    if unknown:
        raise Invalid(f"{where}.{unknown[0]!s:.40} is not a price; known: {', '.join(PRICE_NAMES)}", field=where)
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
    tiers = {BATCH[unit]: Rate(rate.nanos, 2 * rate.per) for unit, rate in rates.items()}
    if MULTIPLIER in given:
        field = f"{where}.{MULTIPLIER}"
        times = parse_usd(given[MULTIPLIER], field)
        if not NANOS_PER_USD <= times <= 100 * NANOS_PER_USD or times % _STEP:
            raise Invalid(f'{field} must be from 1 to 100 with at most 4 decimals, such as "1.25"', field=field)
        tiers |= {PRIORITY[unit]: _multiplied(rate, times // _STEP, field) for unit, rate in rates.items()}
    return rates | tiers


def _multiplied(rate: Rate, ten_thousandths: int, field: str) -> Rate:
    numerator, denominator = rate.nanos * ten_thousandths, 10_000
    shared = gcd(numerator, denominator)
    product = Rate(numerator // shared, rate.per * (denominator // shared))
    if product.nanos > LARGEST_NANOS:
        raise Invalid(f"{field} makes a rate too large", field=field)
    return product


def priority_rates(rates: Mapping[str, Rate]) -> Mapping[str, Rate] | None:
    """What to hold a request at that asks for priority: the dearer rates under the plain units; None without any."""
    if PRIORITY[INPUT] not in rates:
        return None
    return {**rates, **{unit: rates[PRIORITY[unit]] for unit in TOKENS}}


def multiplier_of(rates: Mapping[str, Rate]) -> str | None:
    """The priority multiplier of a model's rates as it was published, None where it has none."""
    for unit in TOKENS:
        plain, dearer = rates[unit], rates.get(PRIORITY[unit])
        if dearer is not None and plain.nanos:
            return format_usd(dearer.nanos * plain.per * NANOS_PER_USD // (plain.nanos * dearer.per))
    return None


def revise(
    book: PriceBook | None, changed: Mapping[str, Mapping[str, Rate]], version: int, effective_at: int
) -> PriceBook:
    """A new version: `changed` models over those of `book`, which keep their rates."""
    models = dict(book.models) if book else {}
    models.update(changed)
    before = book.named if book and book.effective_at == effective_at else frozenset()
    return PriceBook(version, effective_at, models, before.union(changed))


def reschedule(new: PriceBook, books: Iterable[PriceBook]) -> list[PriceBook]:
    """The versions scheduled after a `new` one, published anew over it: those that it makes different.

    Each keeps its instant and the models that it named itself; every other model keeps the rates of before, which are
    the new version's now. They are numbered on from it.
    """
    scheduled: dict[int, PriceBook] = {}
    for book in sorted(books, key=lambda book: book.version):
        if book.effective_at > new.effective_at:
            scheduled[book.effective_at] = book
    anew: list[PriceBook] = []
    before = new
    for at, book in sorted(scheduled.items()):
        models = {**before.models, **{name: book.models[name] for name in book.named}}
        if models != book.models:
            book = PriceBook(new.version + len(anew) + 1, at, models, book.named)
            anew.append(book)
        before = book
    return anew


class Timeline:
    """Which version of the price book is in force when."""

    def __init__(self, books: Iterable[PriceBook]) -> None:
        newest = {book.effective_at: book for book in sorted(books, key=lambda book: book.version)}
        self._since = sorted(newest)
        self._books = [newest[since] for since in self._since]

    def at(self, at: int) -> PriceBook | None:
        """The newest version whose effective instant has come; the first one also for what was used before it (H7)."""
        return self._books[max(0, bisect_right(self._since, at) - 1)] if self._books else None


def in_force(books: Iterable[PriceBook], at: int) -> PriceBook | None:
    """The version in force at an instant, None where there is none."""
    return Timeline(books).at(at)


def per_million(price: Rate) -> int:
    """The rate as nano-dollars per million units, for people (an odd half is rounded down)."""
    return price.nanos * MILLION // price.per
