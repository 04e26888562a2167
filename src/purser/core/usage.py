"""Usage as disjoint quantities: an engine's usage object made non-overlapping, checked, or estimated (P2, H5)."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import ROUND_HALF_EVEN, Decimal
from numbers import Real
from typing import Any, NamedTuple

from msgspec import Struct

from purser.core.errors import Invalid

INPUT = "input_tokens"
CACHED = "cached_input_tokens"
OUTPUT = "output_tokens"
CACHE_WRITE_5M, CACHE_WRITE_1H = "cache_write_5m_input_tokens", "cache_write_1h_input_tokens"
AUDIO_INPUT, AUDIO_OUTPUT = "audio_input_tokens", "audio_output_tokens"
IMAGE_INPUT, IMAGE_OUTPUT = "image_input_tokens", "image_output_tokens"
IMAGES, IMAGE_STEPS = "images", "image_steps"
AUDIO_MILLISECONDS = "audio_milliseconds"
SEARCH_UNITS = "search_units"  # of a rerank
TRAINING_TOKENS = "training_tokens"
GPU_SECONDS = "gpu_seconds"
TOKENS = (INPUT, CACHED, OUTPUT)  # every model that is priced in tokens has a rate for these
MORE_INPUT = (CACHE_WRITE_5M, CACHE_WRITE_1H, AUDIO_INPUT, IMAGE_INPUT)  # of the input where a model prices them
MORE_OUTPUT = (AUDIO_OUTPUT, IMAGE_OUTPUT)
INPUT_KINDS, OUTPUT_KINDS = (INPUT, CACHED, *MORE_INPUT), (OUTPUT, *MORE_OUTPUT)
MORE_TOKENS = (*MORE_INPUT, *MORE_OUTPUT)
TOKEN_KINDS = (*TOKENS, *MORE_TOKENS)
NO_TOKENS = (IMAGES, IMAGE_STEPS, AUDIO_MILLISECONDS, SEARCH_UNITS, TRAINING_TOKENS, GPU_SECONDS)  # at one tier alone
BATCH = {unit: f"batch_{unit}" for unit in TOKEN_KINDS}  # the same tokens, used in a batch (P4)
PRIORITY = {unit: f"priority_{unit}" for unit in TOKEN_KINDS}  # the same tokens, served before others (P4)
AMOUNT = "nano_usd"  # what is charged as a sum of money: a nano-dollar each, in every price book
UNITS = (  # the order in which a charge's parts are rounded: what is new goes behind, so that old charges stay
    *(tier[unit] for tier in ({unit: unit for unit in TOKENS}, BATCH, PRIORITY) for unit in TOKENS),
    AMOUNT,
    *(tier[unit] for tier in ({unit: unit for unit in MORE_TOKENS}, BATCH, PRIORITY) for unit in MORE_TOKENS),
    *NO_TOKENS,
)
REPORTED = (*TOKEN_KINDS, *NO_TOKENS)  # what the metering API takes
# Where a model does not price a kind of token, its tokens are of the plain kind (P2).
_PLAIN_OF = {CACHED: INPUT, **dict.fromkeys(MORE_INPUT, INPUT), **dict.fromkeys(MORE_OUTPUT, OUTPUT)}
PLAIN_OF = {
    **_PLAIN_OF,
    **{tier[unit]: tier[plain] for tier in (BATCH, PRIORITY) for unit, plain in _PLAIN_OF.items()},
}
LARGEST_QUANTITY = 10**12
_USUAL = frozenset(TOKENS)
_ORDER = {unit: place for place, unit in enumerate(UNITS)}.__getitem__

Quantities = dict[str, int]  # unit → count above zero, units disjoint


# ── what engines call them: docs/meters.md shows these tables ────────────────────────────────────────────────────
class Form(NamedTuple):
    """How a family of APIs names what a request used: all of its input and output, and the objects of their details."""

    apis: str
    input: str
    output: str
    input_details: tuple[str, ...]
    output_details: tuple[str, ...]


FORMS = (
    Form(
        "chat/completions, completions, embeddings, rerank",
        "prompt_tokens",
        "completion_tokens",
        ("prompt_tokens_details",),
        ("completion_tokens_details",),
    ),
    Form(
        "responses, images, transcriptions, messages",
        "input_tokens",
        "output_tokens",
        ("input_tokens_details", "input_token_details"),
        ("output_tokens_details", "output_token_details"),
    ),
)
INPUT_DETAILS = {  # counted in the input
    "cached_tokens": CACHED,
    "cache_write_tokens": CACHE_WRITE_5M,
    "cache_creation_tokens": CACHE_WRITE_5M,
    "audio_tokens": AUDIO_INPUT,
    "image_tokens": IMAGE_INPUT,
}
CACHED_DETAILS = "cached_tokens_details"  # which of the cached tokens are audio, and which of an image
OUTPUT_DETAILS = {"audio_tokens": AUDIO_OUTPUT, "image_tokens": IMAGE_OUTPUT}  # counted in the output
CACHE_READ, CACHE_CREATION, BY_LIFETIME = "cache_read_input_tokens", "cache_creation_input_tokens", "cache_creation"
OUTSIDE = {CACHE_READ: CACHED, CACHE_CREATION: CACHE_WRITE_5M}  # of messages: beside input_tokens, not in them
LIFETIMES = {"ephemeral_5m_input_tokens": CACHE_WRITE_5M, "ephemeral_1h_input_tokens": CACHE_WRITE_1H}
SEARCHES, SECONDS = "search_units", "seconds"
BY_THEMSELVES = {SEARCHES: SEARCH_UNITS, SECONDS: AUDIO_MILLISECONDS}


class Inconsistent(Exception):
    """An engine's usage contradicts itself: it is quarantined and never billed."""


class Measured(Struct, frozen=True, gc=False):
    """What a request used and whether it was counted by the engine or estimated by us."""

    quantities: Quantities
    estimated: bool

    @property
    def prompt_tokens(self) -> int:
        """Input tokens of every kind, with the cached ones."""
        used = self.quantities
        if used.keys() <= _USUAL:
            return used.get(INPUT, 0) + used.get(CACHED, 0)
        return sum(used.get(unit, 0) for unit in INPUT_KINDS)

    @property
    def cached_tokens(self) -> int:
        """Input tokens read from the engine's cache."""
        return self.quantities.get(CACHED, 0)

    @property
    def output_tokens(self) -> int:
        """Output tokens of every kind."""
        used = self.quantities
        return used.get(OUTPUT, 0) if used.keys() <= _USUAL else sum(used.get(unit, 0) for unit in OUTPUT_KINDS)


def quantities(prompt: int, cached: int, output: int) -> Quantities:
    """Disjoint quantities of `prompt` tokens, `cached` of which were read from cache, and `output` tokens."""
    counts = ((INPUT, prompt - cached), (CACHED, cached), (OUTPUT, output))
    return {unit: count for unit, count in counts if count}


def _in_order(counts: Mapping[str, int]) -> Quantities:
    return {unit: counts[unit] for unit in sorted(counts, key=_ORDER) if counts[unit]}


def _count(value: object, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise Inconsistent(f"{name} is {value!r:.40}, not a whole number")
    if not 0 <= value <= LARGEST_QUANTITY:
        raise Inconsistent(f"{name} is {value}, outside 0 to {LARGEST_QUANTITY}")
    return value


def _count_in(given: Mapping[str, Any], name: str) -> int:
    value = given.get(name)
    return 0 if value is None else _count(value, name)


def normalise(usage: Any, *, all_is_input: bool = False) -> Measured | None:
    """Read an engine's usage object as disjoint quantities, of every kind that it tells; see `as_priced`.

    It is that of OpenAI's chat, completions, responses, embeddings, images and transcriptions, of Anthropic's
    messages, or of a rerank, whose only figure may be the total: then `all_is_input`.
    Answers None where there is nothing usable (no object, or no counts at all).
    Raises Inconsistent where the numbers contradict each other: negative, not whole, more cached than prompt, or
    details that are together more than what they are details of.
    """
    if not isinstance(usage, dict):
        return None
    prompt, output = usage.get("prompt_tokens"), usage.get("completion_tokens")
    details = usage.get("prompt_tokens_details")
    if (
        type(prompt) is int
        and type(output) is int
        and "completion_tokens_details" not in usage
        and 0 <= prompt <= LARGEST_QUANTITY
        and 0 <= output <= LARGEST_QUANTITY
    ):  # as most are
        if details is None:
            return Measured(quantities(prompt, 0, output), estimated=False)
        cached = details.get("cached_tokens") if type(details) is dict and len(details) == 1 else None
        if type(cached) is int and 0 <= cached <= prompt:
            return Measured(quantities(prompt, cached, output), estimated=False)
    first, second = FORMS
    if prompt is not None or output is not None:
        return Measured(_in_order(_read(usage, first)), estimated=False)
    counts: dict[str, int] = {}
    if usage.get(second.input) is not None or usage.get(second.output) is not None:
        counts = _read(usage, second)
    elif all_is_input and usage.get("total_tokens") is not None:
        counts = {INPUT: _count(usage["total_tokens"], "total_tokens")}
    if usage.get(SEARCHES) is not None:
        counts[SEARCH_UNITS] = _count(usage[SEARCHES], SEARCHES)
    if usage.get(SECONDS) is not None:
        counts[AUDIO_MILLISECONDS] = milliseconds(usage[SECONDS], SECONDS)
    return Measured(_in_order(counts), estimated=False) if counts else None


def _read(usage: dict[str, Any], form: Form) -> dict[str, int]:
    if usage.get(form.input) is None:
        raise Inconsistent(f"{form.input} is missing beside {form.output}")
    total, output = _count(usage[form.input], form.input), usage.get(form.output)
    if output is None:  # embeddings report none; elsewhere the total tells
        both = usage.get("total_tokens")
        output = 0 if both is None else _count(both, "total_tokens") - total
    counts = _split_output(_count(output, form.output), _details(usage, form.output_details), form.output)
    if form.input == "input_tokens" and any(usage.get(name) is not None for name in (*OUTSIDE, BY_LIFETIME)):
        return counts | {INPUT: total} | _beside_input(usage)
    return counts | _split_input(total, _details(usage, form.input_details), form.input)


def _details(usage: Mapping[str, Any], names: tuple[str, ...]) -> Mapping[str, Any]:
    return next((usage[name] for name in names if isinstance(usage.get(name), dict)), {})


def _split_output(total: int, details: Mapping[str, Any], name: str) -> dict[str, int]:
    """Audio and images apart; reasoning and predictions, accepted or not, are of the rest, as text is."""
    counts = {unit: _count_in(details, field) for field, unit in OUTPUT_DETAILS.items()}
    rest = total - sum(counts.values())
    if rest < 0:
        raise Inconsistent(f"the details of {name} {total} are {total - rest} together")
    return {OUTPUT: rest, **counts}


def _split_input(total: int, details: Mapping[str, Any], name: str) -> dict[str, int]:
    """Cached, written to a cache, audio and images apart, each token once.

    Tokens of audio or an image may be cached, too: then they are cached ones. Where the engine does not tell how many
    of them are, it is as few as its figures allow.
    """
    counts = dict.fromkeys(INPUT_KINDS, 0)
    for field, unit in INPUT_DETAILS.items():
        counts[unit] = counts[unit] or _count_in(details, field)
    cached, written = counts[CACHED], counts[CACHE_WRITE_5M]
    audio, image = counts[AUDIO_INPUT], counts[IMAGE_INPUT]
    if cached > total:
        raise Inconsistent(f"cached_tokens {cached} is more than {name} {total}")
    if cached + written > total or audio + image > total:
        raise Inconsistent(f"the details of {name} {total} are more together: {dict(details)!r:.200}")
    of_cached = details.get(CACHED_DETAILS)
    if isinstance(of_cached, dict):
        audio -= _count_in(of_cached, "audio_tokens")
        image -= _count_in(of_cached, "image_tokens")
        if min(audio, image) < 0 or counts[AUDIO_INPUT] + counts[IMAGE_INPUT] - audio - image > cached:
            raise Inconsistent(f"{CACHED_DETAILS} are more than what they are of: {dict(details)!r:.200}")
    room = total - cached - written
    audio -= min(audio, max(0, audio + image - room))
    image = min(image, room - audio)
    counts |= {INPUT: room - audio - image, AUDIO_INPUT: audio, IMAGE_INPUT: image}
    return counts


def _beside_input(usage: Mapping[str, Any]) -> dict[str, int]:
    """What the messages API tells beside `input_tokens`: what was read from a cache and written to one.

    What is not told by lifetime was written for 5 minutes, as it is unless a request says otherwise.
    """
    by_lifetime = _details(usage, (BY_LIFETIME,))
    counts = {unit: _count_in(by_lifetime, field) for field, unit in LIFETIMES.items()}
    told = sum(counts.values())
    if usage.get(CACHE_CREATION) is not None:
        written = _count_in(usage, CACHE_CREATION)
        if told > written:
            raise Inconsistent(f"{BY_LIFETIME} tells {told} tokens, and {CACHE_CREATION} {written}")
        counts[CACHE_WRITE_5M] += written - told
    return {CACHED: _count_in(usage, CACHE_READ), **counts}


def milliseconds(seconds: object, name: str) -> int:
    """Seconds as an engine tells them, perhaps with a fraction, in whole milliseconds, half to even.

    Raises Inconsistent.
    """
    if isinstance(seconds, bool) or not isinstance(seconds, Real | Decimal):
        raise Inconsistent(f"{name} is {seconds!r:.40}, not a number")
    exact = Decimal(str(seconds))
    if not exact.is_finite() or not 0 <= exact * 1000 <= LARGEST_QUANTITY:
        raise Inconsistent(f"{name} is {seconds}, outside 0 to {LARGEST_QUANTITY // 1000}")
    return int((exact * 1000).to_integral_value(ROUND_HALF_EVEN))


def folded(used: Quantities, rates: Mapping[str, object]) -> Quantities:
    """The same tokens with those of a kind that the rates do not price among the plain ones (P2).

    5,000 input tokens and 1,000 written to a cache are 6,000 of a model that has no price for writing.
    """
    if used.keys() <= rates.keys():  # as mostly
        return used
    counts: dict[str, int] = {}
    for unit, count in used.items():
        plain = PLAIN_OF.get(unit, unit)
        unit = plain if unit not in rates and plain in rates else unit
        counts[unit] = counts.get(unit, 0) + count
    return _in_order(counts)


def as_priced(used: Quantities, rates: Mapping[str, object]) -> Quantities:
    """What an engine told, in what its model is sold by: an answer with an image and its tokens may be sold by either.

    Raises Inconsistent where nothing of it is: what cannot be priced is never billed at zero (P1).
    """
    counts = folded(used, rates)
    if counts.keys() <= rates.keys():
        return counts
    priced = {unit: count for unit, count in counts.items() if unit in rates}
    if not priced:
        raise Inconsistent(f"the model has no price for {', '.join(counts)}")
    return priced


def check_untold(usage: Any) -> None:
    """Only what tells of no tokens may be estimated: raises Inconsistent where it tells of some and of no input."""
    if isinstance(usage, dict) and any("token" in str(name) and told is not None for name, told in usage.items()):
        raise Inconsistent(f"usage without its input: {usage!r:.120}")


def estimate(input_bytes: int, output_tokens: int) -> Measured:
    """A low estimate where the engine reported none: a token per eight bytes of input (H5)."""
    return Measured(quantities(input_bytes // 8, 0, output_tokens), estimated=True)


def check_reported(given: object, field: str = "quantities") -> Quantities:
    """Read metered quantities as reported by an operator: input and output tokens include those of every kind.

    Raises Invalid naming the field.
    """
    if not isinstance(given, dict) or not given:
        raise Invalid(f'{field} must be an object such as {{"input_tokens": 120, "output_tokens": 40}}', field=field)
    for unit, count in given.items():
        if unit not in REPORTED:
            raise Invalid(f"{field}.{unit!s:.40} is not a unit; known: {', '.join(REPORTED)}", field=field)
        if isinstance(count, bool) or not isinstance(count, int) or not 0 <= count <= LARGEST_QUANTITY:
            raise Invalid(
                f"{field}.{unit} must be a whole number from 0 to {LARGEST_QUANTITY}", field=f"{field}.{unit}"
            )
    counts = dict(given)
    for plain, kinds in ((INPUT, INPUT_KINDS[1:]), (OUTPUT, MORE_OUTPUT)):
        rest = total = given.get(plain, 0)
        for unit in kinds:
            rest -= given.get(unit, 0)
            if rest < 0:
                raise Invalid(
                    f"{field}.{unit} ({given[unit]}) is more than {field}.{plain} ({total}), which includes it"
                    + ("" if given[unit] > total else ", has left beside the others"),
                    field=f"{field}.{unit}",
                )
        counts[plain] = rest
    return _in_order(counts)


def in_batch(used: Quantities) -> Quantities:
    """The same quantities as used in a batch, which has its own price for tokens (P4)."""
    return {BATCH.get(unit, unit): count for unit, count in used.items()}


def with_priority(used: Quantities) -> Quantities:
    """The same quantities as served with priority, which may have its own price for tokens (P4)."""
    return {PRIORITY.get(unit, unit): count for unit, count in used.items()}
