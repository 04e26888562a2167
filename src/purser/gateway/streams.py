"""Server-sent events of a streamed answer: split, read, counted, rewritten where a rule says so (H5)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from purser.core.usage import Measured, check_untold, estimate, normalise

DONE = b"data: [DONE]\n\n"
MOST_EVENT_BYTES = 4 * 1024 * 1024
USAGE = b',"usage":{'
_BEFORE_USAGE = len(USAGE) - 1
_ANY_COUNT = 2**62
NOT_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_decode_any = msgspec.json.Decoder().decode
_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode


class Garbled(Exception):
    """The upstream's stream is not server-sent events of JSON."""


class _Delta(msgspec.Struct, gc=False):
    content: Any = None
    reasoning_content: Any = None
    reasoning: Any = None
    refusal: Any = None
    tool_calls: Any = None
    function_call: Any = None

    def is_empty(self) -> bool:
        return not (
            self.content
            or self.reasoning_content
            or self.reasoning
            or self.tool_calls
            or self.refusal
            or self.function_call
        )


class _Choice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta | None = None
    text: str | None = None
    finish_reason: str | None = None


class _Chunk(msgspec.Struct, gc=False):
    choices: list[_Choice] = []
    usage: dict[str, Any] | None = None
    model: str | None = None
    service_tier: Any = None
    error: msgspec.Raw | None = None


_decode_chunk = msgspec.json.Decoder(_Chunk).decode


class _PlainChoice(msgspec.Struct, gc=False):
    index: int = 0
    delta: _Delta = msgspec.field(default_factory=_Delta)
    text: str | None = None
    finish_reason: None = None

    def is_empty(self) -> bool:
        return not self.text and self.delta.is_empty()


class _PlainChunk(msgspec.Struct, gc=False):
    """What most chunks are: one choice that goes on. Whatever does not decode as this is read as a _Chunk."""

    choices: tuple[_PlainChoice]
    usage: UnsetType | None = UNSET
    model: str | None = None
    service_tier: Any = None
    error: None = None


decode_plain = msgspec.json.Decoder(_PlainChunk).decode


class Splitter:
    """Cuts a byte stream into events, whatever its pieces and line ends."""

    def __init__(self) -> None:
        self.waiting = b""  # what came after the last whole event

    def feed(self, data: bytes) -> list[bytes]:
        """The whole events so far, each with its closing blank line; raises Garbled where one grows too large."""
        data = self.waiting + data if self.waiting else data
        if b"\r\n\r\n" in data:
            events = self._cut(data)
        else:
            parts = data.split(b"\n\n")
            self.waiting = parts.pop()
            events = [part + b"\n\n" for part in parts]
        if len(self.waiting) > MOST_EVENT_BYTES:
            raise Garbled(f"an event of more than {MOST_EVENT_BYTES} bytes")
        return events

    def _cut(self, data: bytes) -> list[bytes]:
        events = []
        start = 0
        while True:
            at, width = _boundary(data, start)
            if at < 0:
                break
            events.append(data[start : at + width])
            start = at + width
        self.waiting = data[start:]
        return events


def _boundary(data: bytes, start: int) -> tuple[int, int]:
    plain = data.find(b"\n\n", start)
    windows = data.find(b"\r\n\r\n", start, plain if plain >= 0 else len(data))
    return (windows, 4) if windows >= 0 else (plain, 2)


def payload(event: bytes) -> bytes | None:
    """The data of an event, None for one that has none (a comment, a keep-alive)."""
    if event.startswith(b"data: ") and event.count(b"\n") <= 2:
        return event[6:].strip()
    lines = [line[5:].strip() for line in event.splitlines() if line.startswith(b"data:")]
    return b"\n".join(lines) if lines else None


@dataclass(slots=True)
class Tally:
    """What a stream has produced so far, by the engine's running counts where it sends them, else by its deltas."""

    input_bytes: int
    choices: int = 1  # as many as can come
    deltas: int = 0
    counted: int = 0  # the sum of the running counts
    calm_below: int = 0  # with fewer tokens produced the hold suffices and the next slice can wait
    running: dict[int, int] = field(default_factory=dict)
    prompt: dict[str, Any] | None = None  # the last running usage
    final: dict[str, Any] | None = None
    finished: set[int] = field(default_factory=set)
    seen: set[int] = field(default_factory=set)
    last: bytes = b""  # the last event with choices
    renamed: bool = False  # the upstream calls the model otherwise: chunks are written anew
    tier: str | None = None  # the service tier that the answer names

    @property
    def produced(self) -> int:
        """Output tokens so far, over all choices."""
        return max(self.deltas, self.counted)

    @property
    def certain(self) -> int:
        """The fewest output tokens that there can have been so far."""
        return max(self.deltas, self.counted)

    def measure(self, *, whole: bool) -> Measured | None:
        """What the stream used: its closing usage, or its running counts, or a low estimate; None for nothing.

        Raises Inconsistent where the usage contradicts itself.
        """
        if self.final is not None:
            measured = normalise(self.final)
            if measured is not None:
                return measured
        if self.prompt is not None and self.running:
            return normalise({**self.prompt, "completion_tokens": self.counted})
        if not whole and not self.seen:
            return None
        check_untold(self.final)
        return estimate(self.input_bytes, self.deltas)


class Wanted(msgspec.Struct, frozen=True, gc=False):
    """What the client gets of a stream: the model by this name, usage at the end, running counts on every chunk."""

    model: str
    usage_asked: bool
    counts_asked: bool


class Event(msgspec.Struct, frozen=True, gc=False):
    """One event as relayed: its bytes for the client (empty: left out), and whether the stream's end waits on it."""

    data: bytes
    closing: bool = False
    content: bool = False
    last: bool = False  # nothing of the stream comes after it


def read_event(event: bytes, tally: Tally, wanted: Wanted) -> Event:
    """Count an event and choose what the client gets of it; raises Garbled for one that is not a JSON chunk."""
    data = read_plain(event, tally, wanted)
    return read_any_event(event, tally, wanted) if data is None else Event(data, False, True)


def read_plain(event: bytes, tally: Tally, wanted: Wanted, below: int = _ANY_COUNT) -> bytes | None:
    """What the client gets of an event like most, which is counted; never raises.

    None, and nothing is counted, for any other, and where as many tokens as `below` would then have been produced.
    """
    if event[:7] != b"data: {" or event[-2:] != b"\n\n" or event.count(b"\n") != 2 or tally.renamed:
        return None
    if tally.running:
        return None if wanted.counts_asked else _read_counted(event, tally, wanted.model, below)
    try:
        chunk = decode_plain(event[6:])
    except NOT_JSON:
        return None
    (choice,) = chunk.choices
    if choice.index not in tally.seen or chunk.model != wanted.model or chunk.service_tier != tally.tier:
        return None
    if choice.delta.content or not choice.is_empty():
        deltas = tally.deltas + 1
        if deltas >= below:
            return None
        tally.deltas = deltas
    tally.last = event
    return event


def _read_counted(event: bytes, tally: Tally, model: str, below: int) -> bytes | None:
    """A plain chunk without its running usage, where that is its last field; None for any other."""
    at = event.rfind(USAGE)
    if at < 0 or not event.endswith(b"}\n\n"):
        return None
    data = event[:at] + b"}\n\n"
    try:  # both halves are whole objects: so the usage stands in the outermost one, and nothing follows it
        chunk = decode_plain(data[6:])
        usage = decode_object(event[at + _BEFORE_USAGE : -3])
    except NOT_JSON:
        return None
    (choice,) = chunk.choices
    index, count = choice.index, usage.get("completion_tokens")
    before = tally.running.get(index)
    if before is None or type(count) is not int or count < before:
        return None
    if chunk.model != model or chunk.service_tier != tally.tier or chunk.usage is not UNSET:
        return None
    deltas, counted = tally.deltas, tally.counted + count - before
    if choice.delta.content or not choice.is_empty():
        deltas += 1
    if max(deltas, counted) >= below:
        return None
    tally.deltas, tally.counted = deltas, counted
    tally.running[index] = count
    tally.prompt = usage
    tally.last = event
    return data


def read_any_event(event: bytes, tally: Tally, wanted: Wanted) -> Event:
    """What `read_event` answers, for events of any shape."""
    data = payload(event)
    if data is None:
        return Event(event)
    if data == b"[DONE]":
        return Event(event, closing=True, last=True)
    try:
        chunk = _decode_chunk(data)
    except NOT_JSON as error:
        raise Garbled(f"a chunk is not JSON of the expected shape: {error}") from None
    if chunk.error is not None and not chunk.choices:
        raise Garbled("the upstream reported an error in its stream")
    _count(chunk, tally)
    if chunk.choices:
        tally.last = event
    tally.renamed = chunk.model is not None and chunk.model != wanted.model
    if chunk.usage is not None and not chunk.choices:
        return Event(_renamed(data, chunk, wanted.model) if wanted.usage_asked else b"", closing=True)
    if chunk.usage is not None and not wanted.counts_asked:
        return Event(_renamed(data, chunk, wanted.model, drop_usage=True), content=True)
    if tally.renamed:
        return Event(_renamed(data, chunk, wanted.model), content=True)
    return Event(event, content=bool(chunk.choices))


def _count(chunk: _Chunk, tally: Tally) -> None:
    if isinstance(chunk.service_tier, str):
        tally.tier = chunk.service_tier
    for choice in chunk.choices:
        if choice.index not in tally.seen:
            _note_choice(tally, choice.index)
        if choice.finish_reason is not None:
            tally.finished.add(choice.index)
        if choice.text or (choice.delta is not None and not choice.delta.is_empty()):
            tally.deltas += 1
    if chunk.usage is not None:
        _count_usage(chunk.usage, chunk.choices, tally)


def _count_usage(usage: dict[str, Any], choices: list[_Choice], tally: Tally) -> None:
    count = usage.get("completion_tokens")
    if choices and isinstance(count, int) and count >= 0:
        index = choices[0].index
        tally.running[index] = max(tally.running.get(index, 0), count)
        tally.counted = sum(tally.running.values())
        tally.prompt = usage
    else:
        tally.final = usage  # beside choices it cannot be counted: measured as it is, and found wrong


def _note_choice(tally: Tally, index: int) -> None:
    if len(tally.seen) >= tally.choices:
        raise Garbled(f"more than the {tally.choices} choices that were asked for")
    tally.seen.add(index)


def _renamed(data: bytes, chunk: _Chunk, model: str, *, drop_usage: bool = False) -> bytes:
    if not drop_usage and (chunk.model is None or chunk.model == model):
        return b"data: " + data + b"\n\n"
    fields = _decode_fields(data)
    if drop_usage:
        fields.pop("usage", None)
    parts = [
        _encode(name) + b":" + (_encode(model) if name == "model" else bytes(value)) for name, value in fields.items()
    ]
    return b"data: {" + b",".join(parts) + b"}\n\n"


def with_cost(event: bytes, cost_usd: str) -> bytes:
    """A usage chunk with `usage.cost_usd` added."""
    data = payload(event)
    if data is None or data == b"[DONE]":
        return event
    fields = _decode_fields(data)
    usage = _decode_any(fields["usage"]) if "usage" in fields else None
    if not isinstance(usage, dict):
        return event
    usage["cost_usd"] = cost_usd
    parts = [
        _encode(name) + b":" + (_encode(usage) if name == "usage" else bytes(value)) for name, value in fields.items()
    ]
    return b"data: {" + b",".join(parts) + b"}\n\n"


def _last_chunk(tally: Tally) -> dict[str, Any]:
    data = payload(tally.last)
    return {} if data is None else decode_object(data)


def cut_events(tally: Tally, model: str) -> bytes:
    """The events that end a stream at its limit: finish reason "length" for every choice still open (H5)."""
    last = _last_chunk(tally)
    head = {name: last[name] for name in ("id", "object", "created", "system_fingerprint") if name in last}
    chat = last.get("object", "chat.completion.chunk") != "text_completion"
    events = b""
    for index in sorted((tally.seen or {0}) - tally.finished):
        empty: dict[str, Any] = {"delta": {}} if chat else {"text": "", "logprobs": None}
        choice = {"index": index, **empty, "finish_reason": "length"}
        events += b"data: " + _encode({**head, "model": model, "choices": [choice]}) + b"\n\n"
    return events


def usage_event(tally: Tally, model: str, measured: Measured, cost_usd: str) -> bytes:
    """A closing usage chunk of our own, where the upstream sent none."""
    last = _last_chunk(tally)
    head = {name: last[name] for name in ("id", "object", "created") if name in last}
    usage = {
        "prompt_tokens": measured.prompt_tokens,
        "completion_tokens": measured.output_tokens,
        "total_tokens": measured.prompt_tokens + measured.output_tokens,
        "prompt_tokens_details": {"cached_tokens": measured.cached_tokens},
        "cost_usd": cost_usd,
    }
    return b"data: " + _encode({**head, "model": model, "choices": [], "usage": usage}) + b"\n\n"
