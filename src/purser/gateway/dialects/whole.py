"""What a plain answer used, whichever dialect it is in: its usage, or a low estimate from its words."""

from __future__ import annotations

from typing import Any

import msgspec

from purser.core.usage import Measured, check_untold, estimate, normalise
from purser.gateway.shapes import RERANK

_decode_object = msgspec.json.Decoder(dict[str, Any]).decode
_encode = msgspec.json.Encoder().encode
_TEXTS = ("text", "content", "reasoning_content", "thinking", "refusal", "arguments", "input")


def measure(kind: str, usage: Any, raw: bytes, input_bytes: int) -> Measured | None:
    """What the answer `raw` used: its usage, or a low estimate from bytes ÷ 8; None for one that failed at once.

    Raises Inconsistent.
    """
    measured = normalise(usage, all_is_input=kind == RERANK)
    if measured is not None:
        return measured
    check_untold(usage)
    answer = _decode_object(raw)
    words = words_bytes(answer)
    if answer.get("status") == "failed" and not words:
        return None
    return estimate(input_bytes, words // 8)


def words_bytes(answer: dict[str, Any]) -> int:
    """The bytes of an answer's words: of its choices, the items of its output, or the blocks of its content."""
    return sum(_bytes_of(answer.get(name)) for name in ("choices", "output", "content"))


def _bytes_of(parts: Any) -> int:
    total = 0
    for part in parts if isinstance(parts, list) else []:
        if not isinstance(part, dict):
            continue
        message = part.get("message")
        for told in (part, message) if isinstance(message, dict) else (part,):
            total += sum(_words(told.get(name)) for name in _TEXTS)
            total += len(_encode(told["tool_calls"])) if told.get("tool_calls") else 0
    return total


def _words(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    return len(_encode(value)) if isinstance(value, dict) and value else _bytes_of(value)
