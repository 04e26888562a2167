"""Price books: immutable dated versions of every model's rates, in dollars per stated number of units (P1–P3)."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import gcd
from typing import NamedTuple

from purser.core.errors import Invalid
from purser.core.money import LARGEST_NANOS, NANOS_PER_USD, Rate, format_usd, parse_usd
from purser.core.usage import (
    AUDIO_INPUT,
    AUDIO_MILLISECONDS,
    AUDIO_OUTPUT,
    BATCH,
    CACHE_WRITE_1H,
    CACHE_WRITE_5M,
    CACHED,
    GPU_SECONDS,
    IMAGE_INPUT,
    IMAGE_OUTPUT,
    IMAGE_STEPS,
    IMAGES,
    INPUT,
    OUTPUT,
    PRIORITY,
    SEARCH_UNITS,
    TOKEN_KINDS,
    TRAINING_TOKENS,
)

MILLION = 1_000_000


class Price(NamedTuple):
    """A field of a model's price: dollars for `per` units, in words and in short."""

    unit: str
    per: int
    words: str
    short: str


_TOKENS = ("per million tokens", "1M")
PRICES = {
    "input": Price(INPUT, MILLION, *_TOKENS),
    "cached_input": Price(CACHED, MILLION, *_TOKENS),
    "output": Price(OUTPUT, MILLION, *_TOKENS),
    "cache_write_5m": Price(CACHE_WRITE_5M, MILLION, *_TOKENS),
    "cache_write_1h": Price(CACHE_WRITE_1H, MILLION, *_TOKENS),
    "audio_input": Price(AUDIO_INPUT, MILLION, *_TOKENS),
    "audio_output": Price(AUDIO_OUTPUT, MILLION, *_TOKENS),
    "image_input": Price(IMAGE_INPUT, MILLION, *_TOKENS),
    "image_output": Price(IMAGE_OUTPUT, MILLION, *_TOKENS),
    "image": Price(IMAGES, 1, "per image", "image"),
    "step": Price(IMAGE_STEPS, 1, "per step", "step"),
    "audio_minute": Price(AUDIO_MILLISECONDS, 60_000, "per minute", "minute"),
    "search": Price(SEARCH_UNITS, 1, "per search unit", "search unit"),
    "training": Price(TRAINING_TOKENS, MILLION, "per million training tokens", "1M"),
    "gpu_hour": Price(GPU_SECONDS, 3_600, "per GPU-hour", "GPU-hour"),
}
PRICE_FIELDS = {field: price.unit for field, price in PRICES.items()}
_PRICE_OF = {
    tier.get(price.unit, price.unit): price for tier in (BATCH, PRIORITY, {}) for price in PRICES.values()
}  # by unit, at whatever tier
MULTIPLIER = "priority"  # what service_tier "priority" multiplies every token's rate by, such as "1.25"
PRICE_NAMES = (*PRICES, MULTIPLIER)
_OF_TOKENS = frozenset((*(field for field, price in PRICES.items() if price.unit in TOKEN_KINDS), MULTIPLIER))
_CACHING = (CACHED, CACHE_WRITE_5M, CACHE_WRITE_1H)
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
    """Read {"input": "0.95", "cached_input"?: "0.16", "output": "4.00"} in dollars per million tokens; see PRICES.

    A model that is priced in tokens has a price for input and output; one may be priced without tokens, such as by
    the image. Without `cached_input` it is half the input rate (P3). Where `cached_is_input` (the regime in which
    caching is billing-neutral, S45) it is the input rate, whatever the price lists, and so is writing to a cache.
    Raises Invalid naming the field, such as prices.tiny.output.

    In a batch every token costs half (P4): 1,000,000 in and out at 0.15/0.60 cost $0.375. With `priority` (P4), a
    multiplier from 1 to 100, tokens served with priority have rates of their own.
    """
    rates, mistakes = _read(model, given, cached_is_input)
    if mistakes:
        raise mistakes[0]
    return rates


def check_price(model: str, given: object) -> list[Invalid]:
    """All that is wrong with a price, each naming its field, where `read_price` raises the first."""
    return _read(model, given, cached_is_input=False)[1]


def _read(model: str, given: object, cached_is_input: bool) -> tuple[dict[str, Rate], list[Invalid]]:
    where = f"prices.{model}"
    if not isinstance(given, dict):
        says = f'{where} must be an object such as {{"input": "0.20", "output": "0.80"}}'
        return {}, [Invalid(says, field=where)]
    known = ", ".join(PRICE_NAMES)
    mistakes = [
        Invalid(f"{where}.{name!s:.40} is not a price; known: {known}", field=where)
        for name in given
        if name not in PRICE_NAMES
    ]
    in_tokens = not given or not _OF_TOKENS.isdisjoint(given)
    rates: dict[str, Rate] = {}
    for name, (unit, per, words, _) in PRICES.items():
        field = f"{where}.{name}"
        try:
            if name in given:
                rates[unit] = _dollars(given[name], field, per, words)
            elif name in ("input", "output") and in_tokens:
                raise Invalid(f'{field} is missing: dollars {words}, such as "0.20"', field=field)
        except Invalid as mistake:
            mistakes.append(mistake)
    times = NANOS_PER_USD
    if MULTIPLIER in given:
        try:
            times = _multiplier(given[MULTIPLIER], f"{where}.{MULTIPLIER}")
        except Invalid as mistake:
            mistakes.append(mistake)
    if mistakes:
        return {}, mistakes
    if in_tokens:
        half = Rate(rates[INPUT].nanos, 2 * MILLION)
        rates.setdefault(CACHED, half)
        if cached_is_input:
            rates |= {unit: rates[INPUT] for unit in _CACHING if unit in rates}
    tokens = {unit: rate for unit, rate in rates.items() if unit in BATCH}
    rates |= {BATCH[unit]: Rate(rate.nanos, 2 * rate.per) for unit, rate in tokens.items()}
    if MULTIPLIER in given:
        dearer = {PRIORITY[unit]: _multiplied(rate, times // _STEP) for unit, rate in tokens.items()}
        if any(rate.nanos > LARGEST_NANOS for rate in dearer.values()):
            field = f"{where}.{MULTIPLIER}"
            return {}, [Invalid(f"{field} makes a rate too large", field=field)]
        rates |= dearer
    return rates, []


def _dollars(given: object, field: str, per: int, words: str) -> Rate:
    nanos = parse_usd(given, field)
    if nanos > _LARGEST_RATE:
        raise Invalid(f"{field} is over $1,000,000 {words}", field=field)
    return Rate(nanos, per)


def _multiplier(given: object, field: str) -> int:
    times = parse_usd(given, field)
    if not NANOS_PER_USD <= times <= 100 * NANOS_PER_USD or times % _STEP:
        raise Invalid(f'{field} must be from 1 to 100 with at most 4 decimals, such as "1.25"', field=field)
    return times


def _multiplied(rate: Rate, ten_thousandths: int) -> Rate:
    numerator, denominator = rate.nanos * ten_thousandths, 10_000
    shared = gcd(numerator, denominator)
    return Rate(numerator // shared, rate.per * (denominator // shared))


def price_of(unit: str) -> Price | None:
    """How a unit is priced, whatever its tier: dollars per how many of it; None for a sum of money."""
    return _PRICE_OF.get(unit)


def show_price(rates: Mapping[str, Rate]) -> dict[str, str]:
    """A model's rates as a price, in dollars as `read_price` takes them; an odd half of a nano-dollar is rounded down.

    So read again they are the same, but for that half.
    """
    shown = {
        field: format_usd(rates[price.unit].nanos * price.per // rates[price.unit].per)
        for field, price in PRICES.items()
        if price.unit in rates
    }
    times = multiplier_of(rates)
    return shown if times is None else {**shown, MULTIPLIER: times}


def priority_rates(rates: Mapping[str, Rate]) -> Mapping[str, Rate] | None:
    """What to hold a request at that asks for priority: the dearer rates under the plain units; None without any."""
    if PRIORITY[INPUT] not in rates:
        return None
    return {**rates, **{unit: rates[dearer] for unit, dearer in PRIORITY.items() if dearer in rates}}


def multiplier_of(rates: Mapping[str, Rate]) -> str | None:
    """The priority multiplier of a model's rates as it was published, None where it has none."""
    for unit, tier in PRIORITY.items():
        plain, dearer = rates.get(unit), rates.get(tier)
        if plain is not None and dearer is not None and plain.nanos:
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
