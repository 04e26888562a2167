"""Request bodies: read, checked, and bounded for the hold (H1)."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from purser.core.admission import FIT, REFUSE, TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST, Ask
from purser.core.errors import Invalid
from purser.gateway.dialects import blocks, items, texts
from purser.gateway.dialects.texts import Reader, get_field
from purser.gateway.shapes import (
    CARRIERS,
    CHAT,
    COMPLETIONS,
    COUNT_TOKENS,
    EMBEDDINGS,
    MESSAGES,
    RERANK,
    RESPONSES,
    SHAPES,
    TEMPLATE,
    Shape,
)

MOST_CHOICES = 128
PRIORITY_TIER = "priority"
COMPLETION_DEFAULT_TOKENS = 16  # what engines that follow OpenAI generate for a completion that names no cap

_READERS: dict[str, Reader] = {
    CHAT: texts.read_messages,
    COMPLETIONS: texts.read_prompts,
    EMBEDDINGS: texts.read_inputs,
    RESPONSES: items.read,
    MESSAGES: blocks.read,
    RERANK: texts.read_documents,
    COUNT_TOKENS: blocks.read,
}
_ONCE = {name: b'"%b"' % name.encode() for name in CARRIERS.union(*(shape.billed for shape in SHAPES.values()))}

# Half of an escaped surrogate pair, the other half missing; what is no escape has an even number of backslashes.
_HALF = re.compile(
    rb"(?<!\\)(?:\\\\)*(\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2})"
)


class Named(msgspec.Struct, gc=False):
    """The small fields that a bound or a price depends on, as whatever JSON they are; None where they are not there."""

    model: Any = None
    stream: Any = None
    stream_options: Any = None
    service_tier: Any = None
    n: Any = None
    best_of: Any = None
    max_completion_tokens: Any = None
    max_tokens: Any = None
    max_output_tokens: Any = None
    background: Any = None


_decode_named = msgspec.json.Decoder(Named).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode


@dataclass(frozen=True, slots=True)
class Terms:
    """What bounds a model's requests; the caller gives its own names to the fields."""

    context_tokens: int
    max_output_tokens: int
    tokens_per_byte: int
    engine: str
    policy: str


@dataclass(slots=True)
class Body:
    """A request body whose envelope is sound: an object with a model, and the fields as their own JSON."""

    shape: Shape
    raw: bytes
    fields: dict[str, msgspec.Raw]
    named: Named
    model: str
    stream: bool
    usage_asked: bool
    counts_asked: bool  # running counts on every chunk too
    priority: bool = False  # service_tier "priority" (P4); any other tier is the ordinary one

    @property
    def kind(self) -> str:
        """Which kind of request it is, as the path ends."""
        return self.shape.kind


def read(kind: str, raw: bytes) -> Body:
    """Check a body's envelope; raises Invalid naming the field and what would be right."""
    shape = SHAPES[kind]
    try:
        if not raw.isascii():
            raw.decode()
        fields = _decode_fields(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the body must be a JSON object: {_unread(raw, error)}", code="invalid_json") from None
    except RecursionError:
        raise Invalid("the body is nested too deeply", code="invalid_json") from None
    _refuse_duplicates(raw, fields)
    if not shape.odd.isdisjoint(fields):
        _check_odd(fields, shape)
    named = _read_named(raw, fields)
    model, stream, tier = named.model, named.stream, named.service_tier
    if not isinstance(model, str) or not model:
        raise Invalid("model must be the name of a model, such as one from GET /v1/models", field="model")
    if stream is not None and not isinstance(stream, bool):
        raise Invalid("stream must be true or false", field="stream")
    if stream and not shape.streamed:
        raise Invalid(f"{kind} cannot be streamed", field="stream")
    if named.background:
        _check_background(shape)
    if tier is not None and not isinstance(tier, str):
        raise Invalid('service_tier must be a text such as "priority"', field="service_tier")
    usage_asked, counts_asked = _usage_asked(named.stream_options) if shape.usage_on_request else (True, False)
    return Body(shape, raw, fields, named, model, bool(stream), usage_asked, counts_asked, tier == PRIORITY_TIER)


def _check_odd(fields: dict[str, msgspec.Raw], shape: Shape) -> None:
    for name, why in shape.refused.items():
        if name in fields:
            raise Invalid(f"{name} is not allowed: {why}", field=name)
    for name in sorted(CARRIERS & fields.keys()):
        _check_carried(name, get_field(fields, name), name, shape)


def _check_background(shape: Shape) -> None:
    if shape.kind == RESPONSES:
        why = "background must be false: money is held for a request while its client waits, and nothing is kept here"
        raise Invalid(why, field="background")


def _read_named(raw: bytes, fields: dict[str, msgspec.Raw]) -> Named:
    try:
        return _decode_named(raw)
    except (msgspec.DecodeError, RecursionError):  # one of them cannot be read: which?
        return Named(**{name: get_field(fields, name) for name in Named.__struct_fields__})


def _unread(raw: bytes, error: Exception) -> str:
    """Why JSON cannot be read; the parser takes half of a surrogate pair for an end that came too early."""
    half = _HALF.search(raw)
    if half is not None:
        return f"{half[1].decode()} is half of a surrogate pair, which is no text"
    return str(error)


def _check_carried(carrier: str, given: Any, path: str, shape: Shape) -> None:
    """Refuse in a field of fields what is refused beside it, and there what a bound is reckoned from, too."""
    if given is None:
        return
    if not isinstance(given, dict):
        raise Invalid(f"{path} must be an object", field=path)
    for name, value in given.items():
        where = f"{path}.{name}"
        if name in shape.refused and (carrier != TEMPLATE or name == "chat_template"):
            raise Invalid(f"{where} is not allowed: {shape.refused[name]}", field=where)
        if name in shape.billed and carrier != TEMPLATE:
            raise Invalid(f"{where} is not allowed: give {name} by itself", field=where)
        if name in CARRIERS:
            _check_carried(name, value, where, shape)


def _refuse_duplicates(raw: bytes, fields: Mapping[str, msgspec.Raw]) -> None:
    """A field given twice is read differently by different engines: refuse it wherever money depends on it."""
    names = _top_names(raw) if b"\\u00" in raw else None  # a name may be written with escapes
    for name in _ONCE.keys() & fields.keys():
        if names is None and raw.count(_ONCE[name]) > 1:
            names = _top_names(raw)
        if names is not None and names.count(name) > 1:
            raise Invalid(f"{name} is given more than once", field=name)


def _top_names(raw: bytes) -> list[str]:
    """The names of the outermost object, in order, duplicates kept (the standard library tells them apart)."""
    seen: list[str] = []

    def pairs(items: list[tuple[str, Any]]) -> None:
        seen[:] = [name for name, _ in items]  # the outermost object ends last

    try:
        json.loads(raw, object_pairs_hook=pairs, parse_int=str, parse_float=str)
    except RecursionError:
        raise Invalid("the body is nested too deeply", code="invalid_json") from None
    return seen


def _usage_asked(options: Any) -> tuple[bool, bool]:
    """Whether a stream is to end with its usage, and whether every chunk is to carry the counts so far."""
    if options is None:
        return False, False
    if not isinstance(options, dict) or not isinstance(options.get("include_usage", False), bool):
        raise Invalid('stream_options must be an object such as {"include_usage": true}', field="stream_options")
    asked = bool(options.get("include_usage", False))
    return asked, asked and options.get("continuous_usage_stats") is True


def ask(body: Body, terms: Terms, fit: str | None = None) -> Ask:
    """What the request could use at most (H1); raises Invalid naming the field that is wrong."""
    if fit is not None and fit not in (FIT, REFUSE):
        raise Invalid(f'x-purser-fit must be "fit" or "refuse", not {fit!r:.40}', field="x-purser-fit")
    more = body.fields.keys() - body.shape.no_text
    extra = sum(len(bytes(body.fields[name])) for name in more) if more else 0
    messages, sizes, opaque = _READERS[body.kind](body.fields)
    if body.shape.is_free:
        return Ask(model=body.model, input_tokens=0, input_bytes=0, cap=0, requested=None, policy=fit or terms.policy)
    tokens = [(size + extra) * terms.tokens_per_byte + TOKENS_PER_REQUEST for size in sizes]
    if messages:
        tokens[0] += TOKENS_PER_MESSAGE * messages
    bounded = [terms.context_tokens if opaque else min(count, terms.context_tokens) for count in tokens]
    requested, cap = _cap(body, terms)
    named = body.named
    n = 1 if named.n is None else _count(named.n, "n")
    best_of = 1 if named.best_of is None else _count(named.best_of, "best_of")
    return Ask(
        model=body.model,
        input_tokens=sum(bounded) * best_of,
        input_bytes=sum(sizes) + extra,
        cap=cap,
        requested=requested,
        choices=max(n, best_of) * len(sizes),
        stream=body.stream,
        policy=fit or terms.policy,
    )


def _cap(body: Body, terms: Terms) -> tuple[int | None, int]:
    """The output cap that a body names, and the one that goes for it."""
    caps = body.shape.caps
    if not caps:
        return None, 0
    for name in caps:
        value = getattr(body.named, name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= terms.context_tokens:
            most = f"{terms.context_tokens}, the model's context"
            raise Invalid(f"{name} must be a whole number from 1 to {most}, not {value!r:.40}", field=name)
        return value, min(value, terms.max_output_tokens)
    if body.shape.cap_needed:
        raise Invalid(f"{caps[0]} must be a whole number from 1 to {terms.context_tokens}", field=caps[0])
    if body.kind == COMPLETIONS and terms.engine not in ("llamacpp", "ollama"):
        return None, min(COMPLETION_DEFAULT_TOKENS, terms.max_output_tokens)
    return None, terms.max_output_tokens


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_CHOICES:
        raise Invalid(f"{name} must be a whole number from 1 to {MOST_CHOICES}, not {value!r:.40}", field=name)
    return value
