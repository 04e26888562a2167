"""Every price that can be taken over from the genai-prices package, beside what the package itself makes of usage.

The package reads the engine's object by itself, too: nothing of ours stands between it and its sum.
"""

from __future__ import annotations

import warnings
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from random import Random
from typing import Any

from genai_prices.data import providers
from genai_prices.types import ModelInfo, Provider, Usage

from purser.core.usage import AUDIO_INPUT, AUDIO_MILLISECONDS, CACHED, IMAGE_INPUT, INPUT, OUTPUT
from purser.inbound.cli import price_sources
from tests.prices.differences import Reason, Sale, Tally, sell
from tests.prices.usages import told

NOW = 1_790_000_000_000_000  # 2026-09-21
AT = datetime.fromtimestamp(NOW // 1_000_000, UTC)
BATCH = {"processing": "batch"}
# Our shape → whose object that is, and what they call its form.
READERS = {
    "chat": ("openai", "chat"),
    "writes": ("openai", "chat"),
    "speech": ("openai", "chat"),
    "responses": ("openai", "responses"),
    "realtime": ("openai", "realtime"),
    "images": ("openai", "images"),
    "messages": ("anthropic", "default"),
    "embeddings": ("openai", "embeddings"),
    "seconds": ("openai", "live"),
}
_TOKENS = ("chat", "responses", "messages", "writes", "embeddings")
_RARER = 10
_READ_BY = {provider.id: provider for provider in providers}
_MILLION, _THOUSAND, _TEN_SECONDS = 1_000_000, 1_000, 10_000
_DECIMALS = Fraction(1, 10**18)  # of their 28 digits


# ── why they come to another sum ─────────────────────────────────────────────────────────────────────────────────
def _inputs(sale: Sale, *names: str) -> Fraction:
    """A count in the details of the input, whatever they are called."""
    families = ("prompt_tokens_details", "input_tokens_details", "input_token_details")
    return sum((sale.detail(family, *names) for family in families), Fraction(0))


def _no_price_for_cached(sale: Sale) -> None:
    """Cached tokens are what they would be without a cache, plain, spoken or of an image, and not half of plain."""
    if "cached_input" in sale.price or not sale.halves_cached:
        return
    sale.rates[CACHED] = sale.rates[INPUT]
    for unit, name in ((AUDIO_INPUT, "audio_tokens"), (IMAGE_INPUT, "image_tokens")):
        if unit in sale.rates:
            cached = _inputs(sale, name) - sale.counts.get(unit, 0)
            sale.counts[CACHED] = sale.counts.get(CACHED, Fraction(0)) - cached
            sale.counts[unit] = sale.counts.get(unit, Fraction(0)) + cached


def _cached_kinds(sale: Sale) -> None:
    """Cached speech and cached images have prices of their own."""
    for kind in ("audio", "image"):
        price = sale.listed.get(f"cache_{kind}_read_mtok")
        if price is not None:
            cached = _inputs(sale, "cached_tokens_details", f"{kind}_tokens")
            sale.counts[CACHED] = sale.counts.get(CACHED, Fraction(0)) - cached
            sale.counts[f"cached {kind}"] = cached
            sale.rates[f"cached {kind}"] = Fraction(price) / _MILLION


def _reasoning(sale: Sale) -> None:
    """Reasoning has a price of its own."""
    price = sale.listed.get("output_reasoning_mtok")
    if price is not None and sale.told.shape != "realtime":
        tokens = sale.detail("completion_tokens_details", "reasoning_tokens")
        tokens += sale.detail("output_tokens_details", "reasoning_tokens")
        sale.counts[OUTPUT] = sale.counts.get(OUTPUT, Fraction(0)) - tokens
        sale.counts["reasoning"], sale.rates["reasoning"] = tokens, Fraction(price) / _MILLION


def _request(sale: Sale) -> None:
    """Each request costs something besides its tokens."""
    price = sale.listed.get("requests_kcount")
    if price is not None:
        sale.counts["request"], sale.rates["request"] = Fraction(1), Fraction(price) / _THOUSAND


def _parts_of_milliseconds(sale: Sale) -> None:
    if AUDIO_MILLISECONDS in sale.rates and sale.told.shape == "seconds":
        sale.counts[AUDIO_MILLISECONDS] = Fraction(Decimal(repr(sale.told.usage["seconds"]))) * _THOUSAND


def _ten_seconds(sale: Sale) -> None:
    if sale.model.startswith("groq: ") and sale.counts.get(AUDIO_MILLISECONDS):
        sale.counts[AUDIO_MILLISECONDS] = max(sale.counts[AUDIO_MILLISECONDS], Fraction(_TEN_SECONDS))


REASONS = (
    Reason("cached tokens of a model that lists no price for them", _no_price_for_cached),
    Reason("cached speech and images with prices of their own", _cached_kinds),
    Reason("reasoning with a price of its own", _reasoning),
    Reason("a price for each request", _request),
    Reason("seconds to less than a millisecond", _parts_of_milliseconds),
    Reason("a provider's least length of audio", _ten_seconds),
)
UNTOLD = "speech and cached tokens, and not how much of the one is the other: they make no sum"


# ── the comparison ───────────────────────────────────────────────────────────────────────────────────────────────
def compare(seed: int, rounds: int) -> Tally:
    """Every model that can be taken over, with `rounds` usages of each shape that it is likely to have."""
    chance, tally = Random(seed), Tally()
    for provider in providers:
        found = price_sources.from_genai(provider.id, (), NOW)
        left = {(one.model, one.price) for one in found.left_out}
        for model in provider.models:
            price = found.models.get(model.id)
            if price is not None:
                in_batches = (
                    model.get_prices(AT, BATCH) != model.get_prices(AT) and (model.id, "processing batch") not in left
                )
                _compare(tally, chance, provider, model, price, rounds, in_batches)
    return tally


def _shapes(chance: Random, price: dict[str, str], rounds: int) -> list[str]:
    """Of what few models are priced by, more."""
    shapes = list(_TOKENS)
    if {"audio_input", "audio_output", "image_input", "image_output"} & price.keys():
        shapes += ["speech", "realtime", "images"] * 3
    if "audio_minute" in price:
        shapes += ["seconds"] * 9
    return chance.choices(shapes, k=rounds * (_RARER if len(shapes) > len(_TOKENS) else 1))


def _compare(
    tally: Tally,
    chance: Random,
    provider: Provider,
    model: ModelInfo,
    price: dict[str, str],
    rounds: int,
    in_batches: bool,
) -> None:
    listed = {key: value for key, value in vars(model.get_prices(AT)).items() if value is not None}
    for shape in _shapes(chance, price, rounds):
        batch = in_batches and chance.random() < 0.5
        sale = sell(f"{provider.id}: {model.id}", price, listed, told(chance, shape), batch=batch)
        try:
            theirs = _theirs(provider, model, sale)
        except ValueError as refused:
            if shape != "speech" or "cache_audio_read" not in str(refused):
                tally.unexplained.append(f"{sale.model}: {sale.told}: {refused}")
            tally.refuse(sale, UNTOLD)
        else:
            tally.compare(sale, theirs, REASONS, _DECIMALS)


def _theirs(provider: Provider, model: ModelInfo, sale: Sale) -> Decimal:
    reader, form = READERS[sale.told.shape]
    usage = read(reader, form, sale.told.usage)
    context = BATCH if sale.batch else None
    return model.calc_price(usage, provider, genai_request_timestamp=AT, price_context=context).total_price


def read(reader: str, form: str, usage: dict[str, Any]) -> Usage:
    """What they read in an engine's object."""
    whole = {"response": {"usage": usage}} if form == "realtime" else {"usage": usage}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _READ_BY[reader].extract_usage(whole, api_flavor=form)[1]
