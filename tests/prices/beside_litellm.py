"""Every price that can be taken over from LiteLLM's own map of prices, beside what LiteLLM makes of usage.

LiteLLM is heavy, so it is installed by itself (`make test-prices`) and asked by lines: see `litellm_costs`.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from random import Random
from typing import Any

from purser.core.usage import AUDIO_MILLISECONDS, CACHED, INPUT, OUTPUT
from purser.inbound.cli import price_sources
from tests.prices import litellm_costs
from tests.prices.differences import Reason, Sale, Tally, sell
from tests.prices.usages import told

PRICES = "lib/python*/site-packages/litellm/model_prices_and_context_window_backup.json"
ANSWERS = {"chat", "completion", "responses"}
FLOAT = Fraction(1, 10**12)  # of a sum: theirs is one of a few products of binary fractions
_HALF_CACHED = {"fireworks_ai"}  # of whose models cached tokens cost half there, too, unless listed
_THOUSAND = 1_000


# ── why they come to another sum ─────────────────────────────────────────────────────────────────────────────────
def _provider(sale: Sale) -> str:
    return str(sale.listed["litellm_provider"])


def _no_price_for_cached(sale: Sale) -> None:
    if "cached_input" not in sale.price and sale.halves_cached and _provider(sale) not in _HALF_CACHED:
        sale.rates[CACHED] = sale.rates[INPUT]


def _reasoning(sale: Sale) -> None:
    price = sale.listed.get("output_cost_per_reasoning_token")
    if price is not None:
        tokens = sale.detail("completion_tokens_details", "reasoning_tokens")
        tokens += sale.detail("output_tokens_details", "reasoning_tokens")
        sale.counts[OUTPUT] = sale.counts.get(OUTPUT, Fraction(0)) - tokens
        sale.counts["reasoning"], sale.rates["reasoning"] = tokens, Fraction(price)


def _parts_of_milliseconds(sale: Sale) -> None:
    if AUDIO_MILLISECONDS in sale.rates and sale.told.shape == "seconds":
        sale.counts[AUDIO_MILLISECONDS] = Fraction(sale.told.usage["seconds"]) * _THOUSAND


REASONS = (
    Reason("cached tokens of a model that lists no price for them", _no_price_for_cached),
    Reason("reasoning with a price of its own", _reasoning),
    Reason("seconds to less than a millisecond", _parts_of_milliseconds),
)
OTHER_ENTRY = "a model's name taken for that of another entry"


def _looked_up(name: str, provider: str, entries: Mapping[str, Any]) -> str:
    """The entry that they take a name for: that with the provider's name before it, once, where there is one."""
    prefix = f"{provider}/"
    while name.removeprefix(prefix).startswith(prefix):
        name = name.removeprefix(prefix)
    with_provider = name if name.startswith(prefix) else prefix + name
    return with_provider if with_provider in entries else name


def _taken_for(entries: Mapping[str, Any], models: Mapping[str, dict[str, str]]) -> Reason:
    def change(sale: Sale) -> None:
        other = _looked_up(sale.model, _provider(sale), entries)
        if other != sale.model and other in models:
            entry = sell(other, models[other], entries[other], sale.told)
            sale.rates, sale.listed, sale.price = entry.rates, entry.listed, entry.price

    return Reason(OTHER_ENTRY, change)


# ── the comparison ───────────────────────────────────────────────────────────────────────────────────────────────
def compare(installed: Path, seed: int, rounds: int) -> Tally:
    """Every model whose answers can be taken over, with `rounds` usages each; LiteLLM is installed in a venv."""
    chance, tally = Random(seed), Tally()
    file = next(installed.glob(PRICES))
    entries: dict[str, Any] = json.loads(file.read_bytes())
    found = price_sources.from_litellm(file, None, ())
    sales = [
        sell(name, price, entries[name], told(chance, shape))
        for name, price in found.models.items()
        for shape in _shapes(chance, entries[name].get("mode"), price, rounds)
    ]
    reasons = (_taken_for(entries, found.models), *REASONS)
    for sale, answer in zip(sales, _ask(installed, sales), strict=True):
        if "dollars" in answer:
            theirs = Fraction(answer["dollars"])
            tally.compare(sale, theirs, reasons, FLOAT * max(theirs, sale.dollars))
        else:
            tally.unexplained.append(f"{sale.model}: {sale.told}: {answer['error']}")
    return tally


def _shapes(chance: Random, mode: str | None, price: dict[str, str], rounds: int) -> list[str]:
    if mode == "audio_transcription" and "audio_minute" in price:
        return ["seconds"] * rounds
    if mode == "embedding":
        return ["embeddings"] * rounds
    if mode not in ANSWERS or "input" not in price:
        return []
    shapes = ["chat", "responses", "messages", "writes"]
    if {"audio_input", "audio_output"} & price.keys():
        shapes += ["speech"] * 4
    return chance.choices(shapes, k=rounds)


def _ask(installed: Path, sales: list[Sale]) -> list[dict[str, Any]]:
    lines = [json.dumps([sale.model, _provider(sale), sale.told.shape, sale.told.usage]) for sale in sales]
    program = [str(installed.absolute() / "bin" / "python"), litellm_costs.__file__]
    done = subprocess.run(program, input="\n".join(lines), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
