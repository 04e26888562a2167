"""Request bodies of the OpenAI dialect: read, checked, bounded for the hold, and spliced for the upstream (H1)."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import msgspec

from purser.core.admission import FIT, REFUSE, TOKENS_PER_MESSAGE, TOKENS_PER_REQUEST, Ask
from purser.core.errors import Invalid

CHAT, COMPLETIONS, EMBEDDINGS = "chat/completions", "completions", "embeddings"
MOST_CHOICES = 128
PRIORITY_TIER = "priority"
COMPLETION_DEFAULT_TOKENS = 16  # what engines that follow OpenAI generate for a completion that names no cap
CAP_FIELDS = ("max_completion_tokens", "max_tokens")

MOST_PROMPTS = 2048
_OWN_TEXT = {CHAT: "messages", COMPLETIONS: "prompt", EMBEDDINGS: "input"}

# Fields that no request may have, and why; those that are other engines' names for a bound would go past ours (H1).
_REFUSED = {
    "chat_template": "the model's own template is used",
    "n_predict": "use max_tokens",
    "num_predict": "use max_tokens",
    "max_new_tokens": "use max_tokens",
    "n_cmpl": "use n",
}

# Fields in which an engine, or what stands before it, takes further fields: they are no way around what is refused.
_TEMPLATE = "chat_template_kwargs"
_CARRIERS = frozenset(
    (_TEMPLATE, "extra_body", "extra_args", "extra_json", "options", "custom_params", "vllm_xargs", "nvext")
)

# Fields that add no text to the prompt; the JSON of every other field counts toward the input bound.
_NO_TEXT = frozenset(
    "model stream stream_options max_tokens max_completion_tokens n best_of temperature top_p "
    "top_k min_p seed frequency_penalty presence_penalty repetition_penalty length_penalty logit_bias logprobs "
    "top_logprobs echo stop stop_token_ids user metadata store service_tier parallel_tool_calls "
    "encoding_format dimensions prompt_cache_key prompt_cache_isolation_key safety_identifier ignore_eos min_tokens "
    "skip_special_tokens request_id modalities".split()
)
_BILLED = (
    "model",
    "messages",
    "prompt",
    "input",
    "stream",
    "stream_options",
    "service_tier",
    "n",
    "best_of",
    *CAP_FIELDS,
)

_ONCE = {name: b'"%b"' % name.encode() for name in _CARRIERS.union(_BILLED)}  # each as a body spells it
_ODD = _CARRIERS.union(_REFUSED)
_NO_MORE_TEXT = {kind: _NO_TEXT.union((own,)) for kind, own in _OWN_TEXT.items()}

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


class Spoken(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message as most are."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


_decode_named = msgspec.json.Decoder(Named).decode
_decode_said = msgspec.json.Decoder(list[Spoken]).decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_any = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


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

    kind: str
    raw: bytes
    fields: dict[str, msgspec.Raw]
    named: Named
    model: str
    stream: bool
    usage_asked: bool
    counts_asked: bool  # running counts on every chunk too
    priority: bool = False  # service_tier "priority" (P4); any other tier is the ordinary one


def read(kind: str, raw: bytes) -> Body:
    """Check a body's envelope; raises Invalid naming the field and what would be right."""
    try:
        if not raw.isascii():
            raw.decode()
        fields = _decode_fields(raw)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Invalid(f"the body must be a JSON object: {_unread(raw, error)}", code="invalid_json") from None
    except RecursionError:
        raise Invalid("the body is nested too deeply", code="invalid_json") from None
    _refuse_duplicates(raw, fields)
    if not _ODD.isdisjoint(fields):
        _check_odd(fields)
    named = _read_named(raw, fields)
    model, stream, tier = named.model, named.stream, named.service_tier
    if not isinstance(model, str) or not model:
        raise Invalid("model must be the name of a model, such as one from GET /v1/models", field="model")
    if stream is not None and not isinstance(stream, bool):
        raise Invalid("stream must be true or false", field="stream")
    if stream and kind == EMBEDDINGS:
        raise Invalid("embeddings cannot be streamed", field="stream")
    if tier is not None and not isinstance(tier, str):
        raise Invalid('service_tier must be a text such as "priority"', field="service_tier")
    usage_asked, counts_asked = _usage_asked(named.stream_options)
    return Body(kind, raw, fields, named, model, bool(stream), usage_asked, counts_asked, tier == PRIORITY_TIER)


def _check_odd(fields: dict[str, msgspec.Raw]) -> None:
    for name, why in _REFUSED.items():
        if name in fields:
            raise Invalid(f"{name} is not allowed: {why}", field=name)
    for name in sorted(_CARRIERS & fields.keys()):
        _check_carried(name, _get(fields, name), name)


def _read_named(raw: bytes, fields: dict[str, msgspec.Raw]) -> Named:
    try:
        return _decode_named(raw)
    except (msgspec.DecodeError, RecursionError):  # one of them cannot be read: which?
        return Named(**{name: _get(fields, name) for name in Named.__struct_fields__})


def _unread(raw: bytes, error: Exception) -> str:
    """Why JSON cannot be read; the parser takes half of a surrogate pair for an end that came too early."""
    half = _HALF.search(raw)
    if half is not None:
        return f"{half[1].decode()} is half of a surrogate pair, which is no text"
    return str(error)


def _check_carried(carrier: str, given: Any, path: str) -> None:
    """Refuse in a field of fields what is refused beside it, and there what a bound is reckoned from, too."""
    if given is None:
        return
    if not isinstance(given, dict):
        raise Invalid(f"{path} must be an object", field=path)
    for name, value in given.items():
        where = f"{path}.{name}"
        if name in _REFUSED and (carrier != _TEMPLATE or name == "chat_template"):
            raise Invalid(f"{where} is not allowed: {_REFUSED[name]}", field=where)
        if name in _BILLED and carrier != _TEMPLATE:
            raise Invalid(f"{where} is not allowed: give {name} by itself", field=where)
        if name in _CARRIERS:
            _check_carried(name, value, where)


def _get(fields: dict[str, msgspec.Raw], name: str) -> Any:
    raw = fields.get(name)
    try:
        return None if raw is None else _decode_any(raw)
    except msgspec.DecodeError as error:
        raise Invalid(f"{name} cannot be read: {error}", field=name) from None


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
    more = body.fields.keys() - _NO_MORE_TEXT[body.kind]
    extra = sum(len(bytes(body.fields[name])) for name in more) if more else 0
    prompts, sizes, opaque = _READERS[body.kind](body)
    tokens = [(size + extra) * terms.tokens_per_byte + TOKENS_PER_REQUEST for size in sizes]
    if body.kind == CHAT:
        tokens[0] += TOKENS_PER_MESSAGE * prompts
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
    if body.kind == EMBEDDINGS:
        return None, 0
    for name in CAP_FIELDS:
        value = getattr(body.named, name)
        if value is None:
            continue
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= terms.context_tokens:
            most = f"{terms.context_tokens}, the model's context"
            raise Invalid(f"{name} must be a whole number from 1 to {most}, not {value!r:.40}", field=name)
        return value, min(value, terms.max_output_tokens)
    if body.kind == COMPLETIONS and terms.engine not in ("llamacpp", "ollama"):
        return None, min(COMPLETION_DEFAULT_TOKENS, terms.max_output_tokens)
    return None, terms.max_output_tokens


def _count(value: Any, name: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MOST_CHOICES:
        raise Invalid(f"{name} must be a whole number from 1 to {MOST_CHOICES}, not {value!r:.40}", field=name)
    return value


def text_bytes(text: str) -> int:
    """The UTF-8 bytes of a text; a byte-level token covers at least one."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _read_messages(body: Body) -> tuple[int, list[int], bool]:
    raw = body.fields.get("messages")
    if raw is not None:
        try:
            said = _decode_said(raw)
        except (msgspec.DecodeError, RecursionError):
            said = []
        if said:
            return len(said), [sum([text_bytes(one.content) for one in said])], False
    messages = _get(body.fields, "messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid(
            'messages must be a list of at least one message such as {"role": "user", "content": "Hi"}',
            field="messages",
        )
    size, opaque, nested = 0, False, False
    for n, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Invalid(f'messages[{n}] must be an object with a "role" and "content"', field=f"messages[{n}]")
        for name, value in message.items():
            if name == "role":
                size += max(0, text_bytes(value) - TOKENS_PER_MESSAGE)
            elif name == "content":
                more, unread = _content_bytes(value, f"messages[{n}].content")
                size += more
                opaque = opaque or unread
            elif value is not None:
                size += len(_encode(value))
                nested = nested or isinstance(value, dict | list)
    if nested:  # tool calls count as they were sent, which may be longer than as we would write them
        size = max(size, len(bytes(body.fields["messages"])))
    return len(messages), [size], opaque


def _content_bytes(content: Any, field: str) -> tuple[int, bool]:
    if content is None:
        return 0, False
    if isinstance(content, str):
        return text_bytes(content), False
    if not isinstance(content, list):
        raise Invalid(f"{field} must be a text or a list of parts", field=field)
    size, opaque = 0, False
    for n, part in enumerate(content):
        if not isinstance(part, dict) or not isinstance(part.get("type"), str):
            raise Invalid(
                f'{field}[{n}] must be a part such as {{"type": "text", "text": "Hi"}}', field=f"{field}[{n}]"
            )
        text = part.get("text")
        if part["type"] in ("text", "input_text", "refusal") and isinstance(text, str):
            size += text_bytes(text)
        elif part["type"] in ("text", "input_text"):
            raise Invalid(f"{field}[{n}].text must be a text", field=f"{field}[{n}].text")
        else:
            opaque = True  # an image, audio or file: bounded by the model's context
    return size, opaque


def _read_prompts(name: str, body: Body) -> tuple[int, list[int], bool]:
    given = _get(body.fields, name)
    if isinstance(given, str):
        return 1, [text_bytes(given)], False
    if isinstance(given, list) and given:
        if len(given) > MOST_PROMPTS and not isinstance(given[0], int):
            raise Invalid(f"{name} must be at most {MOST_PROMPTS} prompts, not {len(given)}", field=name)
        if all(isinstance(item, str) for item in given):
            return len(given), [text_bytes(item) for item in given], False
        if _are_tokens(given):
            return 1, [len(given)], False
        if all(isinstance(item, list) and item and _are_tokens(item) for item in given):
            return len(given), [len(item) for item in given], False
    raise Invalid(f"{name} must be a text, a list of texts, or lists of token numbers", field=name)


def _are_tokens(items: list[Any]) -> bool:
    return all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in items)


_READERS: dict[str, Callable[[Body], tuple[int, list[int], bool]]] = {
    CHAT: _read_messages,
    COMPLETIONS: lambda body: _read_prompts("prompt", body),
    EMBEDDINGS: lambda body: _read_prompts("input", body),
}
