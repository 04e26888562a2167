"""Usage as disjoint quantities: an engine's usage object made non-overlapping, checked, or estimated (P2, H5)."""

from __future__ import annotations

from typing import Any

from msgspec import Struct

from purser.core.errors import Invalid

INPUT = "input_tokens"
CACHED = "cached_input_tokens"
OUTPUT = "output_tokens"
TOKENS = (INPUT, CACHED, OUTPUT)
BATCH = {unit: f"batch_{unit}" for unit in TOKENS}  # the same tokens, used in a batch (P4)
PRIORITY = {unit: f"priority_{unit}" for unit in TOKENS}  # the same tokens, served before others (P4)
AMOUNT = "nano_usd"  # what is charged as a sum of money: a nano-dollar each, in every price book
UNITS = (*TOKENS, *BATCH.values(), *PRIORITY.values(), AMOUNT)  # the order in which a charge's parts are rounded
LARGEST_QUANTITY = 10**12

Quantities = dict[str, int]  # unit → count above zero, units disjoint


class Inconsistent(Exception):
    """An engine's usage contradicts itself: it is quarantined and never billed."""


class Measured(Struct, frozen=True, gc=False):
    """What a request used and whether it was counted by the engine or estimated by us."""

    quantities: Quantities
    estimated: bool

    @property
    def prompt_tokens(self) -> int:
        """Input tokens with the cached ones."""
        return self.quantities.get(INPUT, 0) + self.quantities.get(CACHED, 0)

    @property
    def cached_tokens(self) -> int:
        """Input tokens read from the engine's cache."""
        return self.quantities.get(CACHED, 0)

    @property
    def output_tokens(self) -> int:
        """Output tokens."""
        return self.quantities.get(OUTPUT, 0)


def quantities(prompt: int, cached: int, output: int) -> Quantities:
    """Disjoint quantities of `prompt` tokens, `cached` of which were read from cache, and `output` tokens."""
    counts = ((INPUT, prompt - cached), (CACHED, cached), (OUTPUT, output))
    return {unit: count for unit, count in counts if count}


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Inconsistent(f"{name} is {value!r:.40}, not a whole number")
    if not 0 <= value <= LARGEST_QUANTITY:
        raise Inconsistent(f"{name} is {value}, outside 0 to {LARGEST_QUANTITY}")
    return value


def normalise(usage: Any) -> Measured | None:
    """Read an OpenAI usage object as disjoint quantities.

    Answers None where there is nothing usable (no object, or no token counts at all).
    Raises Inconsistent where the numbers contradict each other: negative, not whole, more cached than prompt.
    """
    if not isinstance(usage, dict):
        return None
    prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens")
    details = usage.get("prompt_tokens_details")
    if (
        type(prompt) is int
        and type(output) is int
        and details is None
        and 0 <= prompt <= LARGEST_QUANTITY
        and 0 <= output <= LARGEST_QUANTITY
    ):  # as most are
        return Measured(quantities(prompt, 0, output), estimated=False)
    if prompt is None and output is None:
        return None
    if prompt is None:
        raise Inconsistent("prompt_tokens is missing beside completion_tokens")
    prompt = _count(prompt, "prompt_tokens")
    if output is None:  # embeddings report none; elsewhere the total tells
        total = usage.get("total_tokens")
        output = 0 if total is None else _count(total, "total_tokens") - prompt
    output = _count(output, "completion_tokens")
    cached = details.get("cached_tokens") if isinstance(details, dict) else None
    cached = 0 if cached is None else _count(cached, "cached_tokens")
    if cached > prompt:
        raise Inconsistent(f"cached_tokens {cached} is more than prompt_tokens {prompt}")
    return Measured(quantities(prompt, cached, output), estimated=False)


def estimate(input_bytes: int, output_tokens: int) -> Measured:
    """A low estimate where the engine reported none: a token per eight bytes of input (H5)."""
    return Measured(quantities(input_bytes // 8, 0, output_tokens), estimated=True)


def check_reported(given: object, field: str = "quantities") -> Quantities:
    """Read metered quantities as reported by an operator: `input_tokens` includes the cached ones.

    Raises Invalid naming the field.
    """
    if not isinstance(given, dict) or not given:
        raise Invalid(f'{field} must be an object such as {{"input_tokens": 120, "output_tokens": 40}}', field=field)
    for unit, count in given.items():
        if unit not in TOKENS:
            raise Invalid(f"{field}.{unit!s:.40} is not a unit; known: {', '.join(TOKENS)}", field=field)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= LARGEST_QUANTITY:
            raise Invalid(
                f"{field}.{unit} must be a whole number from 0 to {LARGEST_QUANTITY}", field=f"{field}.{unit}"
            )
    prompt, cached, output = given.get(INPUT, 0), given.get(CACHED, 0), given.get(OUTPUT, 0)
    if cached > prompt:
        raise Invalid(
            f"{field}.{CACHED} ({cached}) is more than {field}.{INPUT} ({prompt}), which includes it",
            field=f"{field}.{CACHED}",
        )
    return quantities(prompt, cached, output)


def in_batch(used: Quantities) -> Quantities:
    """The same quantities as used in a batch, which has its own price (P4)."""
    return {BATCH[unit]: count for unit, count in used.items()}


def with_priority(used: Quantities) -> Quantities:
    """The same quantities as served with priority, which may have its own price (P4)."""
    return {PRIORITY[unit]: count for unit, count in used.items()}
