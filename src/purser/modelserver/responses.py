"""Responses, as the API of that name has them: the request as a prompt, and the answer as items and typed events."""

from __future__ import annotations

import json
from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from purser.modelserver.bodies import BadRequest, GenerationBody, OutputTokens, decode, present
from purser.modelserver.generation import Choice
from purser.modelserver.prompts import Prompt, ToolCall, exact_tokens
from purser.modelserver.tokens import IMAGE_TOKENS, split_tokens

_encode = msgspec.json.encode
_TEXTS = ("input_text", "output_text", "text")


class FunctionTool(msgspec.Struct):
    """A function the model may call; `parameters` is its JSON schema."""

    name: str
    parameters: dict[str, Any] | None = None
    type: str = "function"


class ToolName(msgspec.Struct):
    """A tool choice that names the function."""

    name: str


class Reasoning(msgspec.Struct):
    """How much the model is to think."""

    effort: str | None = None


class ResponseBody(GenerationBody, kw_only=True):
    """A request for a response."""

    input: str | list[dict[str, Any]] | None = None
    instructions: str | None = None
    max_output_tokens: OutputTokens | None = None
    previous_response_id: str | None = None
    tools: Raw | UnsetType = UNSET
    tool_choice: str | ToolName | None = None
    text: Raw | UnsetType = UNSET
    reasoning: Reasoning | None = None

    @property
    def cap(self) -> int | None:
        """The most tokens asked for."""
        return self.max_output_tokens

    @property
    def usage_asked(self) -> bool:
        """A response always tells its usage."""
        return True

    @property
    def effort(self) -> str:
        """How much the model is to think."""
        return (self.reasoning and self.reasoning.effort) or "none"


def prompt_of(body: ResponseBody) -> Prompt:
    """The prompt: tools and form first, then the instructions and the items in the template's tokens."""
    tokens, texts = [b"<begin>"], [""]
    for raw in (present(body.tools), present(body.text)):
        tokens += split_tokens(raw)
    if body.previous_response_id is not None:
        tokens += [b"<kept>"] * 100
    if body.instructions is not None:
        tokens += _message("system", body.instructions, texts)
    if isinstance(body.input, str):
        tokens += _message("user", body.input, texts)
    for item in body.input if isinstance(body.input, list) else ():
        if item.get("type", "message") == "message":
            tokens += _message(str(item.get("role")), item.get("content"), texts)
        else:
            tokens += [b"<start>", b"<item>", *split_tokens(_encode(item)), b"<end>"]
    tokens += [b"<start>", b"assistant"]
    text = "\n".join(texts)
    return Prompt(tokens, text, exact_tokens(text))


def _message(role: str, content: Any, texts: list[str]) -> list[bytes]:
    tokens = [b"<start>", role.encode(), b"<content>"]
    for part in [{"type": "text", "text": content}] if isinstance(content, str) else content or []:
        if not isinstance(part, dict):
            raise BadRequest("content must be a text or a list of parts", "input")
        if part.get("type") in _TEXTS:
            texts.append(str(part.get("text")))
            tokens += split_tokens(texts[-1])
        else:
            tokens += [_encode(part)] * IMAGE_TOKENS
    return [*tokens, b"<end>"]


def call_of(body: ResponseBody) -> ToolCall | None:
    """The call that a response must make: the named function, or the first where one is required."""
    raw = present(body.tools)
    tools = decode(raw, list[FunctionTool], "tools") if raw else []
    choice = body.tool_choice
    if choice in (None, "none", "auto"):
        return None
    named = [tool for tool in tools if not isinstance(choice, ToolName) or tool.name == choice.name]
    if not named:
        raise BadRequest("tool_choice needs a function in tools", "tool_choice")
    return ToolCall(named[0].name, named[0].parameters)


def usage_of(usage: dict[str, object] | None) -> dict[str, object] | None:
    """A usage object under the names of this API."""
    names = {
        "prompt_tokens": "input_tokens",
        "completion_tokens": "output_tokens",
        "prompt_tokens_details": "input_tokens_details",
        "completion_tokens_details": "output_tokens_details",
    }
    return None if usage is None else {names.get(name, name): value for name, value in usage.items()}


class ResponseWording:
    """How one response is worded."""

    def __init__(self, answer_id: str, created: int, model: str, body: ResponseBody, *, failed: bool) -> None:
        self._id = answer_id.rpartition("-")[2]
        self._failed = failed
        self._head: dict[str, Any] = {
            "id": f"resp_{self._id}",
            "object": "response",
            "created_at": created,
            "model": model,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "error": None,
            "incomplete_details": None,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": json.loads(present(body.tools) or b"[]"),
            "temperature": 1.0,
            "top_p": 1.0,
            "metadata": {},
        }
        self._number = -1
        self._choice: Choice | None = None
        self._opened = ""  # the item that is being told: reasoning or answer

    def body(self, choices: list[Choice], usage: dict[str, object] | None) -> bytes:
        """The whole response as one JSON object."""
        return _encode(self._whole(choices[0], usage))

    def _whole(self, choice: Choice, usage: dict[str, object] | None) -> dict[str, Any]:
        output = [self._reasoning(choice)] if choice.reasoning else []
        output.append(self._answer(choice, "".join(choice.content)))
        told = {**self._head, "status": "completed", "output": output, "usage": usage_of(usage)}
        if self._failed:
            told |= {"status": "failed", "error": {"code": "server_error", "message": "the failure that was asked for"}}
        elif choice.finish_reason == "length":
            told |= {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}
        return told

    def _reasoning(self, choice: Choice) -> dict[str, Any]:
        content = [{"type": "reasoning_text", "text": "".join(choice.reasoning)}]
        return {"id": f"rs_{self._id}", "type": "reasoning", "summary": [], "content": content}

    def _answer(self, choice: Choice, text: str, status: str = "completed") -> dict[str, Any]:
        if choice.tool:
            call = {"id": f"fc_{self._id}", "type": "function_call", "call_id": f"call_{self._id}"}
            return {**call, "name": choice.tool.name, "arguments": text, "status": status}
        content = [{"type": "output_text", "text": text, "annotations": []}] if status == "completed" else []
        message = {"id": f"msg_{self._id}", "type": "message", "role": "assistant"}
        return {**message, "content": content, "status": status}

    def _event(self, kind: str, data: dict[str, Any]) -> bytes:
        self._number += 1
        told = {"type": kind, "sequence_number": self._number, **data}
        return b"event: %b\ndata: %b\n\n" % (kind.encode(), _encode(told))

    def opening(self, choice: Choice, usage: dict[str, object] | None) -> bytes:
        """The response as it begins."""
        begun = {"response": {**self._head, "status": "in_progress", "output": [], "usage": None}}
        return self._event("response.created", begun) + self._event("response.in_progress", begun)

    def delta(self, choice: Choice, step: int, usage: dict[str, object] | None) -> bytes:
        """Token number `step`; the item that it belongs to is opened before its first."""
        at = step - len(choice.reasoning)
        if at < 0:
            opened = b"" if self._opened else self._open_reasoning(choice)
            place = {"item_id": f"rs_{self._id}", "output_index": 0, "content_index": 0}
            return opened + self._event("response.reasoning_text.delta", {**place, "delta": choice.reasoning[step]})
        opened = b"" if self._opened == "answer" else self._close_reasoning(choice) + self._open_answer(choice)
        if not choice.content[at]:
            return opened
        place = {**self._place(choice), "delta": choice.content[at]}
        if choice.tool:
            return opened + self._event("response.function_call_arguments.delta", place)
        return opened + self._event("response.output_text.delta", {**place, "content_index": 0, "logprobs": []})

    def _place(self, choice: Choice) -> dict[str, Any]:
        name = "fc" if choice.tool else "msg"
        return {"item_id": f"{name}_{self._id}", "output_index": 1 if choice.reasoning else 0}

    def _open_reasoning(self, choice: Choice) -> bytes:
        self._opened = "reasoning"
        item = {**self._reasoning(choice), "content": []}
        return self._event("response.output_item.added", {"output_index": 0, "item": item})

    def _close_reasoning(self, choice: Choice) -> bytes:
        if self._opened != "reasoning":
            return b""
        return self._event("response.output_item.done", {"output_index": 0, "item": self._reasoning(choice)})

    def _open_answer(self, choice: Choice) -> bytes:
        self._opened = "answer"
        place = self._place(choice)
        item = self._answer(choice, "", "in_progress")
        opened = self._event("response.output_item.added", {"output_index": place["output_index"], "item": item})
        if choice.tool:
            return opened
        part = {"type": "output_text", "text": "", "annotations": []}
        return opened + self._event("response.content_part.added", {**place, "content_index": 0, "part": part})

    def closing(self, choice: Choice, usage: dict[str, object] | None) -> bytes:
        """The end of the answer's item."""
        self._choice = choice
        opened = b"" if self._opened == "answer" else self._close_reasoning(choice) + self._open_answer(choice)
        place, text = self._place(choice), "".join(choice.content)
        item = self._answer(choice, text)
        events = [opened]
        if choice.tool:
            told = {**place, "name": choice.tool.name, "arguments": text}
            events.append(self._event("response.function_call_arguments.done", told))
        else:
            at = {**place, "content_index": 0}
            events.append(self._event("response.output_text.done", {**at, "text": text, "logprobs": []}))
            events.append(self._event("response.content_part.done", {**at, "part": item["content"][0]}))
        whole = {"output_index": place["output_index"], "item": item}
        events.append(self._event("response.output_item.done", whole))
        return b"".join(events)

    def end(self, usage: dict[str, object] | None, *, done: bool) -> bytes:
        """The whole response, in the event that says how it ended."""
        if self._choice is None or not done:
            return b""
        told = self._whole(self._choice, usage)
        return self._event(f"response.{told['status']}", {"response": told})

    def error(self, message: str) -> bytes:
        """An error in the middle."""
        return self._event("error", {"code": "server_error", "message": message, "param": None})
