"""Prices that others publish, turned into ours exactly; what cannot be taken over is listed with the reason.

Their figures are read as decimals as they are written, and never as binary fractions.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from purser.core.money import NANOS_PER_USD, format_usd
from purser.core.pricebook import MILLION, PRICE_FIELDS, PRICE_NAMES, check_price
from purser.core.usage import BATCH
from purser.inbound.cli.failure import Failure, usage

_MINUTE = 60
_HOUR_IN_MINUTES = Fraction(1, 60)
_HALF = Fraction(1, 2)


@dataclass(frozen=True)
class LeftOut:
    """What was not taken over: a model, or one of its prices, and why."""

    model: str
    price: str | None
    reason: str


@dataclass
class Found:
    """Prices as we publish them, and what is not among them."""

    models: dict[str, dict[str, str]] = field(default_factory=dict)
    left_out: list[LeftOut] = field(default_factory=list)

    def leave(self, model: str, price: str | None, reason: str) -> None:
        """Note what is not taken over."""
        self.left_out.append(LeftOut(model, price, reason))

    def take(self, model: str, given: Mapping[str, Fraction]) -> None:
        """Take over a model's prices, in dollars by the names of ours, where they can be published so.

        Who lists one price for writing to a cache means it for whatever lifetime.
        """
        written = {"cache_write_1h": given["cache_write_5m"]} if "cache_write_5m" in given else {}
        given = written | dict(given)
        price = {name: _dollars(given[name]) for name in PRICE_NAMES if name in given}
        if not price:
            self.leave(model, None, "it has no price that could be taken over")
            return
        long = next((name for name, dollars in price.items() if dollars is None), None)
        if long is not None:
            self.leave(model, long, "its dollars are negative or have more than nine decimals")
            return
        if any(PRICE_FIELDS.get(name) in BATCH for name in price) and "input" in price:
            price.setdefault("output", "0")  # what answers with no tokens, such as embeddings, lists none
        mistakes = check_price(model, price)
        if mistakes:
            self.leave(model, None, mistakes[0].message.replace(f"prices.{model}", "its price", 1))
            return
        self.models[model] = {name: str(price[name]) for name in PRICE_NAMES if name in price}


def _dollars(exact: Fraction) -> str | None:
    nanos = exact * NANOS_PER_USD
    return format_usd(int(nanos)) if nanos.denominator == 1 and nanos >= 0 else None


# ── genai-prices ─────────────────────────────────────────────────────────────────────────────────────────────────
# Its key → ours, and what a price per its units is of one per ours.
_GENAI = {
    "input_mtok": ("input", Fraction(1)),
    "cache_read_mtok": ("cached_input", Fraction(1)),
    "output_mtok": ("output", Fraction(1)),
    "cache_write_mtok": ("cache_write_5m", Fraction(1)),
    "cache_write_5m_mtok": ("cache_write_5m", Fraction(1)),
    "cache_write_1h_mtok": ("cache_write_1h", Fraction(1)),
    "input_audio_mtok": ("audio_input", Fraction(1)),
    "output_audio_mtok": ("audio_output", Fraction(1)),
    "input_image_mtok": ("image_input", Fraction(1)),
    "output_image_mtok": ("image_output", Fraction(1)),
    "audio_hours": ("audio_minute", _HOUR_IN_MINUTES),
    "input_audio_hours": ("audio_minute", _HOUR_IN_MINUTES),
    "rerank_searches_kcount": ("search", Fraction(1, 1000)),
}


def from_genai(provider: str, models: Iterable[str], now: int) -> Found:
    """The prices of a provider in the genai-prices package, of all its models or of those named.

    A model is named by its id there, or by any name that the package knows it by, which it then has here.
    Raises Failure where the package is missing, or the provider or a model is unknown.
    """
    try:
        from genai_prices.data import providers
    except ImportError:
        then = 'pip install "purser[prices]"'
        raise Failure("the package genai-prices is not installed", then=then) from None
    known = {each.id: each for each in providers}
    if provider not in known:
        raise usage(f"{provider!r:.60} is no provider of genai-prices", f"Known: {', '.join(sorted(known))}.")
    wanted = [*models]
    found = Found()
    if not wanted:
        for model in known[provider].models:
            _take_genai(found, model.id, model, now)
    for name in wanted:
        by_id = next((model for model in known[provider].models if model.id == name), None)
        named = by_id or known[provider].find_model(name)
        if named is None:
            raise usage(f"genai-prices has no model {name!r:.80} of {provider}")
        _take_genai(found, name, named, now)
    return found


def _take_genai(found: Found, name: str, model: Any, now: int) -> None:
    at = datetime.fromtimestamp(now // 1_000_000, UTC)
    prices = _in_force(found, name, model, at)
    if prices is None:
        return
    listed = _listed(prices)
    if any(not isinstance(value, Decimal) for value in listed.values()):
        found.leave(name, None, "its price depends on how long the prompt is")
        return
    given: dict[str, Fraction] = {}
    for key, value in listed.items():
        _add(found, name, given, key, _GENAI.get(key), Fraction(value))
    for variant in model.price_variants or ():
        if variant.constraint is None or variant.constraint.active(at):
            _take_variant(found, name, given, listed, variant)
    found.take(name, given)


def _listed(prices: Any) -> dict[str, Any]:
    return {key: value for key, value in vars(prices).items() if value is not None}


def _take_variant(
    found: Found, name: str, given: dict[str, Fraction], standard: Mapping[str, Any], variant: Any
) -> None:
    """What a model costs in a batch or with priority, where that is so many times what it costs otherwise."""
    other = {key: value for key, value in _listed(variant.prices).items() if value != standard.get(key)}
    times = _times(standard, other, {key for key in standard if key.endswith("_mtok")})
    if not other or (variant.when == {"processing": "batch"} and times == _HALF):
        return
    if variant.when == {"service_tier": "priority"} and times is not None:
        given["priority"] = times
        return
    when = ", ".join(f"{key} {value}" for key, value in variant.when.items())
    batch = variant.when == {"processing": "batch"}
    found.leave(name, when, "in a batch all tokens cost half here" if batch else "it multiplies no price alike here")


def _times(plain: Mapping[str, Any], other: Mapping[str, Any], tokens: set[str]) -> Fraction | None:
    """How many times the plain prices others are, where they are that of each kind of token and of nothing else."""
    if other.keys() != tokens or not all(isinstance(each[key], Decimal) for key in tokens for each in (plain, other)):
        return None
    times = {Fraction(other[key]) / Fraction(plain[key]) if plain[key] else None for key in tokens}
    return times.pop() if len(times) == 1 else None


def _in_force(found: Found, name: str, model: Any, at: datetime) -> Any:
    """A model's prices at a time; None, and it is left out, where they depend on the time of day."""
    if not isinstance(model.prices, list):
        return model.prices
    constraints = [each.constraint for each in model.prices if each.constraint is not None]
    if not all(hasattr(constraint, "start_date") for constraint in constraints):
        found.leave(name, None, "its price depends on the time of day")
        return None
    later = sorted(constraint.start_date for constraint in constraints if not constraint.active(at))
    if later:
        found.leave(name, f"from {later[0].isoformat()}", "a price to come: import it again then")
    return model.get_prices(at)


def _add(
    found: Found, model: str, given: dict[str, Fraction], key: str, ours: tuple[str, Fraction] | None, value: Fraction
) -> None:
    """Note one price under our name for it; what we have none for is left out, unless it is nothing."""
    if ours is None:
        if value:
            found.leave(model, key, "there is no such unit here")
        return
    name, scale = ours
    if given.get(name, value * scale) != value * scale:
        found.leave(model, key, f"it is another price of {name} than one before it")
        return
    given[name] = value * scale


# ── LiteLLM's model_prices_and_context_window.json ───────────────────────────────────────────────────────────────
_PER_TOKEN = Fraction(MILLION)
_LITELLM = {
    "input_cost_per_token": ("input", _PER_TOKEN),
    "cache_read_input_token_cost": ("cached_input", _PER_TOKEN),
    "output_cost_per_token": ("output", _PER_TOKEN),
    "cache_creation_input_token_cost": ("cache_write_5m", _PER_TOKEN),
    "cache_creation_input_token_cost_above_1hr": ("cache_write_1h", _PER_TOKEN),
    "input_cost_per_audio_token": ("audio_input", _PER_TOKEN),
    "output_cost_per_audio_token": ("audio_output", _PER_TOKEN),
    "input_cost_per_image_token": ("image_input", _PER_TOKEN),
    "output_cost_per_image_token": ("image_output", _PER_TOKEN),
    "output_cost_per_image": ("image", Fraction(1)),
    "input_cost_per_query": ("search", Fraction(1)),
}
_SECONDS = ("audio_minute", Fraction(_MINUTE))
_PER_SECOND = (
    "input_cost_per_second",
    "output_cost_per_second",
)  # of audio, where a model transcribes: mostly one is 0
_TRANSCRIBES, _SAMPLE = "audio_transcription", "sample_spec"
_PRIORITY, _BATCHES = "_priority", "_batches"
_TIERS, _OFF_PEAK = "tiered_pricing", "off_peak_pricing"


def from_litellm(path: Path, provider: str | None, models: Iterable[str]) -> Found:
    """The prices in a file of LiteLLM's format, of all models in it, of a provider's, or of those named.

    Raises Failure where the file cannot be read, or a model is not in it.
    """
    document = _read_litellm(path)
    wanted = [*models]
    missing = next((name for name in wanted if name not in document), None)
    if missing is not None:
        raise usage(f"{path} has no model {missing!r:.80}")
    found = Found()
    for name, entry in document.items():
        if name == _SAMPLE or (wanted and name not in wanted):
            continue
        if isinstance(entry, dict):
            if provider in (None, entry.get("litellm_provider")):
                _take_litellm(found, name, entry)
        elif provider is None or wanted:
            found.leave(name, None, "it is no object")
    return found


def _read_litellm(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes(), parse_float=Decimal, parse_int=Decimal, parse_constant=str)
    except OSError as error:
        raise Failure(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise Failure(f"{path}: not valid JSON: {error}") from None
    if not isinstance(document, dict):
        raise Failure(f"{path}: it must hold an object with a field for each model")
    return document


def _take_litellm(found: Found, name: str, entry: Mapping[str, Any]) -> None:
    costs = {key: value for key, value in entry.items() if "cost" in key and value is not None}
    tiers = [key for key in costs if "_above_" in key and key not in _LITELLM and costs[key]]
    tiers += [_TIERS] if entry.get(_TIERS) else []
    if tiers:
        found.leave(name, None, f"its price depends on how long the prompt is ({tiers[0]})")
        return
    if entry.get(_OFF_PEAK):
        found.leave(name, None, "its price depends on the time of day")
        return
    given: dict[str, Fraction] = {}
    dearer: dict[str, Decimal] = {}
    for key, value in costs.items():
        if not isinstance(value, Decimal) or not value.is_finite():
            found.leave(name, key, "it is no number")
            continue
        plain, exact = key.removesuffix(_PRIORITY).removesuffix(_BATCHES), Fraction(value)
        if key.endswith(_PRIORITY):
            dearer[plain] = value
        elif key.endswith(_BATCHES):
            standard = costs.get(plain)
            if not isinstance(standard, Decimal) or exact != Fraction(standard) * _HALF:
                found.leave(name, key, "in a batch all tokens cost half here")
        elif key in _PER_SECOND and entry.get("mode") == _TRANSCRIBES:
            free = not any(costs.get(each) for each in _PER_SECOND)
            _add(found, name, given, key, _SECONDS if exact or free else None, exact)
        else:
            _add(found, name, given, key, _LITELLM.get(key), exact)
    _take_priority(found, name, given, dearer, costs)
    found.take(name, given)


def _take_priority(
    found: Found, name: str, given: dict[str, Fraction], dearer: Mapping[str, Decimal], costs: Mapping[str, Any]
) -> None:
    """Priority multiplies every price here: it is taken over where theirs are all so many times the plain ones."""
    tokens = {key for key in costs if key in _LITELLM and _LITELLM[key][1] == _PER_TOKEN}
    times = _times(costs, dearer, tokens)
    if times is not None and dearer:
        given["priority"] = times
    elif dearer:
        found.leave(name, "priority", "it does not multiply every price alike")
