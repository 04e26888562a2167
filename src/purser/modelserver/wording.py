"""Answers in the API's words: JSON bodies, and the events of a stream, for chat and text completions."""

from __future__ import annotations

import msgspec

from purser.modelserver.bodies import error_body
from purser.modelserver.generation import Choice

DONE = b"data: [DONE]\n\n"

_encode = msgspec.json.encode


def event(data: object) -> bytes:
    """One server-sent event with a JSON value."""
    return b"data: " + _encode(data) + b"\n\n"


class Wording:
    """How one request's answers are worded: its id, time, model name, and whether it is a chat."""

    def __init__(self, answer_id: str, created: int, model: str, *, chat: bool, null_usage: bool = False) -> None:
        self.chat = chat
        self.answer_id = answer_id
        self._whole = {
            "id": answer_id,
            "object": "chat.completion" if chat else "text_completion",
            "created": created,
            "model": model,
        }
        part = dict(self._whole)
        if chat:
            part["object"] = "chat.completion.chunk"
        self._part = part
        self._front = b"data: " + _encode(part)[:-1] + b',"choices":['
        self._back = b'],"usage":null}\n\n' if null_usage else b"]}\n\n"

    def body(self, choices: list[Choice], usage: dict[str, object] | None) -> bytes:
        """The whole answer as one JSON object."""
        told = [self._message(choice) if self.chat else self._text(choice) for choice in choices]
        answer: dict[str, object] = {**self._whole, "choices": told}
        if usage is not None:
            answer["usage"] = usage
        return _encode(answer)

    def _message(self, choice: Choice) -> dict[str, object]:
        text = "".join(choice.content)
        message: dict[str, object] = {"role": "assistant", "content": text}
        if choice.reasoning:
            message["reasoning_content"] = "".join(choice.reasoning)
        if choice.tool:
            call = {"id": self._call_id(choice), "type": "function"}
            message["content"] = None
            message["tool_calls"] = [{**call, "function": {"name": choice.tool.name, "arguments": text}}]
        return {
            "index": choice.index,
            "message": message,
            "logprobs": None,
            "finish_reason": choice.finish_reason,
        }

    def _text(self, choice: Choice) -> dict[str, object]:
        text = choice.echo + "".join(choice.content)
        return {
            "index": choice.index,
            "text": text,
            "logprobs": None,
            "finish_reason": choice.finish_reason,
        }

    def _call_id(self, choice: Choice) -> str:
        return f"call_{self.answer_id.rpartition('-')[2]}_{choice.index}"

    def opening(self, choice: Choice, usage: dict[str, object] | None) -> bytes:
        """What a choice's stream begins with: the role, and the tool call's name; an echoed prompt."""
        if not self.chat:
            return self._chunk(choice.index, choice.echo, usage) if choice.echo else b""
        first = self._chunk(choice.index, {"role": "assistant", "content": None if choice.tool else ""}, usage)
        if not choice.tool:
            return first
        call = {"index": 0, "id": self._call_id(choice), "type": "function"}
        named = {**call, "function": {"name": choice.tool.name, "arguments": ""}}
        return first + self._chunk(choice.index, {"tool_calls": [named]}, usage)

    def delta(self, choice: Choice, step: int, usage: dict[str, object] | None) -> bytes:
        """Token number `step` of a choice; empty bytes where it has no text (from a stop sequence on)."""
        at = step - len(choice.reasoning)
        if at < 0:
            return self._chunk(choice.index, {"reasoning_content": choice.reasoning[step]}, usage)
        text = choice.content[at]
        if not text:
            return b""
        if not self.chat:
            return self._chunk(choice.index, text, usage)
        if choice.tool:
            piece = {"tool_calls": [{"index": 0, "function": {"arguments": text}}]}
            return self._chunk(choice.index, piece, usage)
        return self._chunk(choice.index, {"content": text}, usage)

    def closing(self, choice: Choice, usage: dict[str, object] | None) -> bytes:
        """The end of a choice, with its finish reason."""
        return self._chunk(choice.index, {} if self.chat else "", usage, choice.finish_reason)

    def end(self, usage: dict[str, object] | None, *, done: bool) -> bytes:
        """The usage of the whole request, beside no choice, where it is told, then the end."""
        told = b"" if usage is None else event({**self._part, "choices": [], "usage": usage})
        return told + DONE if done else told

    def error(self, message: str) -> bytes:
        """An error in the middle."""
        return b"data: " + error_body(500, message) + b"\n\n" + DONE

    def _chunk(
        self,
        index: int,
        content: object,
        usage: dict[str, object] | None,
        finish_reason: str | None = None,
    ) -> bytes:
        told = {
            "index": index,
            "delta" if self.chat else "text": content,
            "logprobs": None,
            "finish_reason": finish_reason,
        }
        back = self._back if usage is None else b'],"usage":' + _encode(usage) + b"}\n\n"
        return self._front + _encode(told) + back
