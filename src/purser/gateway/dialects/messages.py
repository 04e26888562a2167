"""How streams of messages are read: named events, of which the last but one tells all that was used."""

from __future__ import annotations

from typing import Any

import msgspec

from purser.core.usage import CACHE_WRITE_1H, CACHE_WRITE_5M, Measured, estimate, normalise
from purser.gateway.dialects.reading import WordsTally, encode, event_of, renamed, rewritten
from purser.gateway.streams import NOT_JSON, Event, Garbled, Wanted, payload

_WORDS = ("text", "partial_json", "thinking")
_NULL = msgspec.Raw(b"null")


class _Told(msgspec.Struct, gc=False):
    type: str = ""
    message: msgspec.Raw = _NULL
    delta: Any = None
    usage: Any = None
    index: Any = 0


class _Message(msgspec.Struct, gc=False):
    usage: Any = None


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_message = msgspec.json.Decoder(_Message).decode


class Messages:
    """The reading of a message's events."""

    is_plain = False

    def __init__(self, tally: WordsTally, wanted: Wanted) -> None:
        self.tally, self.wanted = tally, wanted
        self._usage: dict[str, Any] = {}  # as it was told last: each figure is of all so far, and none is added
        self._open: set[int] = set()  # the blocks that have not ended

    def read(self, event: bytes) -> Event:
        """Count an event; raises Garbled for what is none, and for an error."""
        data = payload(event)
        if data is None:
            return Event(event)
        if data == b"[DONE]":
            return Event(event, closing=True, last=True)
        try:
            told = _decode_told(data)
            if told.type == "error" or not told.type:
                raise Garbled("the upstream reported an error in its stream")
            if told.type == "message_start" and bytes(told.message) != b"null":
                return self._read_start(event, data, bytes(told.message))
        except NOT_JSON as error:
            raise Garbled(f"an event is not JSON of the expected shape: {error}") from None
        delta = told.delta if isinstance(told.delta, dict) else {}
        if told.type == "content_block_delta":
            for words in [delta[name] for name in _WORDS if isinstance(delta.get(name), str) and delta[name]]:
                self.tally.note(words)
            return Event(event, content=True)
        if told.type == "message_delta":
            return self._read_delta(event, told.usage, ends=delta.get("stop_reason") is not None)
        if told.type in ("content_block_start", "content_block_stop") and isinstance(told.index, int):
            (self._open.add if told.type == "content_block_start" else self._open.discard)(told.index)
        is_last = told.type == "message_stop"
        return Event(event, closing=is_last, last=is_last)

    def _read_start(self, event: bytes, data: bytes, message: bytes) -> Event:
        self._overwrite(_decode_message(message).usage)
        under_ours = renamed(message, self.wanted.model)
        return Event(event if under_ours is None else rewritten(event, data, {"message": under_ours}))

    def _read_delta(self, event: bytes, usage: Any, *, ends: bool) -> Event:
        self._overwrite(usage)
        if isinstance(usage, dict):
            self.tally.final = self._usage
            count = usage.get("output_tokens")
            if type(count) is int:
                self.tally.counted = max(self.tally.counted, count)
        return Event(event, closing=ends, content=not ends)

    def _overwrite(self, usage: Any) -> None:
        if not isinstance(usage, dict):
            return
        self._usage |= {name: value for name, value in usage.items() if value is not None}
        if isinstance(usage.get("service_tier"), str):
            self.tally.tier = usage["service_tier"]

    def measure(self, *, whole: bool) -> Measured | None:
        """What was told in the end; before that, what was read as told and what was said as counted."""
        tally, told = self.tally, self._usage
        if whole and tally.final is not None:
            return normalise(tally.final)
        if not whole and not tally.produced:
            return None
        if not told.get("input_tokens") and not told.get("cache_read_input_tokens"):
            return estimate(tally.input_bytes, tally.certain)
        measured = normalise({**told, "output_tokens": tally.certain})
        return None if measured is None else Measured(measured.quantities, estimated=True)

    def cut(self) -> list[bytes]:
        """The ends of the blocks that are open."""
        events = [event_of("content_block_stop", {"index": index}) for index in sorted(self._open)]
        self._open.clear()
        return events

    def closed(self, withheld: list[bytes], measured: Measured | None, cost_usd: str, *, cut: bool) -> list[bytes]:
        """How the message ended, with what it cost."""
        if cut:
            why = {"stop_reason": "max_tokens", "stop_sequence": None}
            ended = event_of("message_delta", {"delta": why, "usage": _usage(measured, cost_usd)})
            return [*withheld, ended, event_of("message_stop", {})]
        return [self._with_cost(event, measured, cost_usd) for event in withheld]

    def _with_cost(self, event: bytes, measured: Measured | None, cost_usd: str) -> bytes:
        data = payload(event)
        if data is None or data == b"[DONE]":
            return event
        told = _decode_told(data)
        if told.type != "message_delta":
            return event
        usage = {**told.usage, "cost_usd": cost_usd} if isinstance(told.usage, dict) else _usage(measured, cost_usd)
        return rewritten(event, data, {"usage": encode(usage)})

    def broken(self, message: str, code: str, request_id: str, measured: Measured | None, cost_usd: str) -> bytes:
        """An error, with what was billed."""
        error = {"type": "api_error", "message": message, "code": code, "cost_usd": cost_usd}
        return event_of("error", {"error": error, "request_id": request_id})


def _usage(measured: Measured | None, cost_usd: str) -> dict[str, Any]:
    if measured is None:
        return {"input_tokens": 0, "output_tokens": 0, "cost_usd": cost_usd}
    written = measured.quantities.get(CACHE_WRITE_5M, 0) + measured.quantities.get(CACHE_WRITE_1H, 0)
    return {
        "input_tokens": measured.prompt_tokens - measured.cached_tokens - written,
        "cache_creation_input_tokens": written,
        "cache_read_input_tokens": measured.cached_tokens,
        "output_tokens": measured.output_tokens,
        "cost_usd": cost_usd,
    }
