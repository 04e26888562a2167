"""Messages, as Anthropic's API has them: the request as a prompt, and the answer as blocks and named events."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

from purser.modelserver.bodies import BadRequest, GenerationBody, OutputTokens, decode, present
from purser.modelserver.generation import Choice
from purser.modelserver.prompts import Prompt, ToolCall, exact_tokens
from purser.modelserver.tokens import IMAGE_TOKENS, split_tokens

_encode = msgspec.json.encode
_KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
}
_REASONS = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Turn(msgspec.Struct):
    """One message."""

    role: Literal["user", "assistant"]
    content: str | list[dict[str, Any]]


class Tool(msgspec.Struct):
    """A tool the model may use; `input_schema` is its JSON schema."""

    name: str
    input_schema: dict[str, Any] | None = None


class ToolChoice(msgspec.Struct):
    """Whether a tool is to be used, and which."""

    type: Literal["auto", "any", "tool", "none"]
    name: str | None = None


class Thinking(msgspec.Struct):
    """Whether the model is to think first."""

    type: Literal["enabled", "disabled", "adaptive"]


class MessagesBody(GenerationBody, kw_only=True):
    """A request for a message."""

    messages: Annotated[list[Turn], Meta(min_length=1)]
    max_tokens: OutputTokens
    system: str | list[dict[str, Any]] | None = None
    stop_sequences: list[str] | None = None
    tools: Raw | UnsetType = UNSET
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None

    @property
    def cap(self) -> int | None:
        """The most tokens asked for."""
        return self.max_tokens

    @property
    def stops(self) -> list[str]:
        """The stop sequences, possibly none."""
        return self.stop_sequences or []

    @property
    def usage_asked(self) -> bool:
        """A message always tells its usage."""
        return True

    @property
    def effort(self) -> str:
        """How much the model is to think."""
        return "low" if self.thinking and self.thinking.type != "disabled" else "none"


class CountBody(msgspec.Struct):
    """A request to count the tokens of a message."""

    model: str
    messages: Annotated[list[Turn], Meta(min_length=1)]
    system: str | list[dict[str, Any]] | None = None
    tools: Raw | UnsetType = UNSET


def prompt_of(body: MessagesBody | CountBody) -> Prompt:
    """The prompt: tools first, then the system's words and the messages in the template's tokens."""
    tokens, texts = [b"<begin>", *split_tokens(present(body.tools))], [""]
    if body.system is not None:
        tokens += _message("system", body.system, texts)
    for turn in body.messages:
        tokens += _message(turn.role, turn.content, texts)
    tokens += [b"<start>", b"assistant"]
    text = "\n".join(texts)
    return Prompt(tokens, text, exact_tokens(text))


def _message(role: str, content: str | list[dict[str, Any]], texts: list[str]) -> list[bytes]:
    tokens = [b"<start>", role.encode(), b"<content>"]
    for block in [{"type": "text", "text": content}] if isinstance(content, str) else content:
        tokens += _block(block, texts)
    return [*tokens, b"<end>"]


def _block(block: Any, texts: list[str]) -> list[bytes]:
    kind = block.get("type") if isinstance(block, dict) else None
    if kind == "text" and isinstance(block.get("text"), str):
        texts.append(block["text"])
        return split_tokens(block["text"])
    if kind == "image":
        return [_encode(block)] * IMAGE_TOKENS
    if kind == "tool_result" and isinstance(block.get("content"), list):
        return [token for inner in block["content"] for token in _block(inner, texts)]
    if kind in ("tool_use", "tool_result", "thinking"):
        return split_tokens(_encode(block))
    raise BadRequest("content must be a text or blocks of text, images, tools or thinking", "messages")


def call_of(body: MessagesBody) -> ToolCall | None:
    """The tool that a message must use: the named one, or the first where any is wanted."""
    raw, choice = present(body.tools), body.tool_choice
    tools = decode(raw, list[Tool], "tools") if raw else []
    if choice is None or choice.type in ("auto", "none"):
        return None
    named = [tool for tool in tools if choice.type == "any" or tool.name == choice.name]
    if not named:
        raise BadRequest("tool_choice needs a tool in tools", "tool_choice")
    return ToolCall(named[0].name, named[0].input_schema)


def usage_of(usage: dict[str, Any] | None) -> dict[str, Any] | None:
    """A usage object under the names of this API, in which what was read from the cache is no part of the input."""
    if usage is None:
        return None
    details = usage.get("prompt_tokens_details") or {}
    cached, prompt = details.get("cached_tokens", 0), usage.get("prompt_tokens")
    told: dict[str, Any] = {"input_tokens": prompt - cached if isinstance(prompt, int) else prompt}
    if details:
        told |= {"cache_creation_input_tokens": 0, "cache_read_input_tokens": cached}
    if "completion_tokens" in usage:
        told["output_tokens"] = usage["completion_tokens"]
    return told


def error_body(status: int, message: str, request_id: str = "") -> bytes:
    """An error object in this API's shape."""
    kind = _KINDS.get(status, "invalid_request_error" if status < 500 else "api_error")
    return _encode({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id or None})


class MessageWording:
    """How one message is worded."""

    def __init__(self, answer_id: str, model: str, opening_usage: dict[str, Any] | None) -> None:
        self._id = answer_id.rpartition("-")[2]
        self._head = {"id": f"msg_{self._id}", "type": "message", "role": "assistant", "model": model}
        self._usage = usage_of(opening_usage)
        self._choice: Choice | None = None
        self._opened = ""

    def body(self, choices: list[Choice], usage: dict[str, object] | None) -> bytes:
        """The whole message as one JSON object."""
        choice = choices[0]
        content = [{"type": "thinking", "thinking": "".join(choice.reasoning), "signature": "x"}]
        content = (content if choice.reasoning else []) + [self._answer(choice, "".join(choice.content))]
        told = {**self._head, "content": content, **_ended(choice)}
        return _encode(told if usage is None else {**told, "usage": usage_of(usage)})

    def _answer(self, choice: Choice, text: str) -> dict[str, Any]:
        if not choice.tool:
            return {"type": "text", "text": text}
        try:
            given = json.loads(text or "{}")
        except ValueError:
            given = {}  # cut short
        return {"type": "tool_use", "id": f"toolu_{self._id}", "name": choice.tool.name, "input": given}

    def opening(self, choice: Choice, usage: dict[str, object] | None) -> bytes:
        """The message as it begins, with what was read."""
        told: dict[str, Any] = {**self._head, "content": [], "stop_reason": None, "stop_sequence": None}
        if self._usage is not None:
            told["usage"] = {**self._usage, "output_tokens": 1}
        return _event("message_start", {"message": told}) + _event("ping", {})

    def delta(self, choice: Choice, step: int, usage: dict[str, object] | None) -> bytes:
        """Token number `step`; the block that it belongs to is opened before its first."""
        at = step - len(choice.reasoning)
        if at < 0:
            opened = (
                b""
                if self._opened
                else self._open("thinking", 0, {"type": "thinking", "thinking": "", "signature": ""})
            )
            told = {"type": "thinking_delta", "thinking": choice.reasoning[step]}
            return opened + _event("content_block_delta", {"index": 0, "delta": told})
        opened = self._open_answer(choice)
        text = choice.content[at]
        if not text:
            return opened
        told = (
            {"type": "input_json_delta", "partial_json": text} if choice.tool else {"type": "text_delta", "text": text}
        )
        return opened + _event("content_block_delta", {"index": 1 if choice.reasoning else 0, "delta": told})

    def _open(self, what: str, index: int, block: dict[str, Any]) -> bytes:
        self._opened = what
        return _event("content_block_start", {"index": index, "content_block": block})

    def _open_answer(self, choice: Choice) -> bytes:
        if self._opened == "answer":
            return b""
        closed = b""
        if self._opened:
            signed = {"index": 0, "delta": {"type": "signature_delta", "signature": "x"}}
            closed = _event("content_block_delta", signed) + _event("content_block_stop", {"index": 0})
        return closed + self._open("answer", 1 if choice.reasoning else 0, self._answer(choice, ""))

    def closing(self, choice: Choice, usage: dict[str, object] | None) -> bytes:
        """The end of the answer's block."""
        self._choice = choice
        return self._open_answer(choice) + _event("content_block_stop", {"index": 1 if choice.reasoning else 0})

    def end(self, usage: dict[str, object] | None, *, done: bool) -> bytes:
        """How the message ended and all that it used, then its end."""
        if self._choice is None:
            return b""
        told: dict[str, Any] = {"delta": _ended(self._choice)}
        if usage is not None:
            told["usage"] = usage_of(usage)
        return _event("message_delta", told) + (_event("message_stop", {}) if done else b"")

    def error(self, message: str) -> bytes:
        """An error in the middle."""
        return b"event: error\ndata: " + error_body(500, message) + b"\n\n"


def _ended(choice: Choice) -> dict[str, Any]:
    return {"stop_reason": _REASONS[choice.finish_reason], "stop_sequence": None}


def _event(kind: str, data: dict[str, Any]) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode({"type": kind, **data}))
