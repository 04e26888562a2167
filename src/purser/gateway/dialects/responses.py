"""How streams of responses are read: typed events, of which the last tells the whole response and what it used."""

from __future__ import annotations

from typing import Any

import msgspec

from purser.core.usage import Measured, check_untold, estimate, normalise
from purser.gateway.dialects.reading import (
    MOST_KEPT_BYTES,
    WordsTally,
    decode_fields,
    encode,
    event_of,
    renamed,
    rewritten,
)
from purser.gateway.streams import NOT_JSON, Event, Garbled, Wanted, payload

_FAILED = "response.failed"
_LAST = ("response.completed", "response.incomplete", _FAILED, "response.cancelled")
_KEPT = {  # the deltas whose words are told again where a stream is cut: the field of the item, or of its part
    "response.output_text.delta": "text",
    "response.function_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
}


_NULL = msgspec.Raw(b"null")


class _Told(msgspec.Struct, gc=False):
    type: str = ""
    response: msgspec.Raw = _NULL
    delta: Any = None
    item: Any = None
    item_id: Any = None
    output_index: Any = 0
    content_index: Any = 0
    sequence_number: Any = None


class _Response(msgspec.Struct, gc=False):
    usage: Any = None
    service_tier: Any = None


_decode_told = msgspec.json.Decoder(_Told).decode
_decode_response = msgspec.json.Decoder(_Response).decode
_decode_object = msgspec.json.Decoder(dict[str, Any]).decode


class Responses:
    """The reading of a response's events."""

    is_plain = False

    def __init__(self, tally: WordsTally, wanted: Wanted) -> None:
        self.tally, self.wanted = tally, wanted
        self._head = b"{}"  # the response as it was told last
        self._number = -1
        self._failed = False
        self._items: dict[int, dict[str, Any]] = {}  # the output as far as it is known
        self._open: set[int] = set()  # the items that are not done
        self._words: dict[tuple[int, int, str], list[str]] = {}  # of these

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
            if isinstance(told.sequence_number, int):
                self._number = told.sequence_number
            if bytes(told.response) != b"null":
                return self._read_response(event, data, told.type, bytes(told.response))
        except NOT_JSON as error:
            raise Garbled(f"an event is not JSON of the expected shape: {error}") from None
        if told.type.endswith(".delta"):
            if isinstance(told.delta, str) and told.delta:
                self._count(told, told.delta)
            return Event(event, content=True)
        if isinstance(told.item, dict) and isinstance(told.output_index, int):
            self._items[told.output_index] = told.item
            (self._open.discard if told.type.endswith(".done") else self._open.add)(told.output_index)
        return Event(event)

    def _read_response(self, event: bytes, data: bytes, kind: str, response: bytes) -> Event:
        under_ours = renamed(response, self.wanted.model)
        if under_ours is not None:
            event, response = rewritten(event, data, {"response": under_ours}), under_ours
        self._head = response
        told = _decode_response(response)
        if isinstance(told.service_tier, str):
            self.tally.tier = told.service_tier
        if kind not in _LAST:
            return Event(event)
        self._failed = kind == _FAILED
        if isinstance(told.usage, dict):
            self.tally.final = told.usage
        return Event(event, closing=True, last=True)

    def _count(self, told: _Told, words: str) -> None:
        tally = self.tally
        tally.note(words)
        field = _KEPT.get(told.type)
        if field is not None and isinstance(told.output_index, int) and tally.words_bytes <= MOST_KEPT_BYTES:
            part = told.content_index if isinstance(told.content_index, int) else 0
            self._words.setdefault((told.output_index, part, field), []).append(words)

    def measure(self, *, whole: bool) -> Measured | None:
        """What the last event told, whichever it was, else a low estimate; nothing where it failed at once."""
        measured = normalise(self.tally.final)
        if self._failed and not self.tally.deltas and not (measured and measured.output_tokens):
            return None
        if measured is not None:
            return measured
        if not whole and not self.tally.deltas:
            return None
        check_untold(self.tally.final)
        return estimate(self.tally.input_bytes, self.tally.deltas)

    def cut(self) -> list[bytes]:
        """The ends of the items that are open."""
        events = []
        for index in sorted(self._open):
            item = self._items[index] = self._as_far(index)
            place = {"item_id": item.get("id"), "output_index": index}
            for n, part in enumerate(item.get("content") or ()) if item.get("type") == "message" else ():
                at = {**place, "content_index": n}
                events.append(self._event("response.output_text.done", {**at, "text": part["text"], "logprobs": []}))
                events.append(self._event("response.content_part.done", {**at, "part": part}))
            events.append(self._event("response.output_item.done", {"output_index": index, "item": item}))
        self._open.clear()
        return events

    def _as_far(self, index: int) -> dict[str, Any]:
        item = {**self._items[index], "status": "incomplete"}
        found = {(part, field): "".join(words) for (of, part, field), words in self._words.items() if of == index}
        texts = [found[key] for key in sorted(found) if key[1] == "text"]
        if texts:
            item["content"] = [{"type": "output_text", "text": text, "annotations": []} for text in texts]
        item |= {field: words for (_, field), words in found.items() if field != "text"}
        return item

    def _event(self, kind: str, data: dict[str, object]) -> bytes:
        self._number += 1
        return event_of(kind, {"sequence_number": self._number, **data})

    def closed(self, withheld: list[bytes], measured: Measured | None, cost_usd: str, *, cut: bool) -> list[bytes]:
        """The response as it ended, with what it cost."""
        if cut:
            why: dict[str, object] = {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
            return [*withheld, self._last("response.incomplete", why, measured, cost_usd)]
        return [self._with_cost(event, measured, cost_usd) for event in withheld]

    def _with_cost(self, event: bytes, measured: Measured | None, cost_usd: str) -> bytes:
        data = payload(event)
        if data is None or data == b"[DONE]":
            return event
        usage = self.tally.final
        told = {**usage, "cost_usd": cost_usd} if usage is not None else _usage(measured, cost_usd)
        if told is None:
            return event
        response = decode_fields(bytes(_decode_told(data).response)) | {"usage": msgspec.Raw(encode(told))}
        return rewritten(event, data, {"response": encode(response)})

    def broken(self, message: str, code: str, request_id: str, measured: Measured | None, cost_usd: str) -> bytes:
        """A response that failed, and what of it was billed."""
        error = {"code": "server_error", "message": message}
        why: dict[str, object] = {"status": "failed", "error": error, "request_id": request_id}
        return self._last(_FAILED, why, measured, cost_usd)

    def _last(self, kind: str, why: dict[str, object], measured: Measured | None, cost_usd: str) -> bytes:
        output = [self._as_far(n) if n in self._open else self._items[n] for n in sorted(self._items)]
        head = _decode_object(self._head)
        told = {**head, **why, "model": self.wanted.model, "output": output, "usage": _usage(measured, cost_usd)}
        return self._event(kind, {"response": told})


def _usage(measured: Measured | None, cost_usd: str) -> dict[str, Any] | None:
    if measured is None:
        return None
    return {
        "input_tokens": measured.prompt_tokens,
        "input_tokens_details": {"cached_tokens": measured.cached_tokens},
        "output_tokens": measured.output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": measured.prompt_tokens + measured.output_tokens,
        "cost_usd": cost_usd,
    }
