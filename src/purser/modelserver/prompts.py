"""Prompts as tokens: what a request gives the model to read, and what it asks to be written."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from hashlib import blake2b

from purser.modelserver.bodies import (
    BadRequest,
    ChatBody,
    Message,
    NamedTool,
    ResponseFormat,
    TextBody,
    TextPart,
    ToolSpec,
    decode,
    present,
    token_lists,
)
from purser.modelserver.tokens import IMAGE_TOKENS, split_tokens

MOST_EXACT_TOKENS = 1_000_000
_EXACT = re.compile(r"\[\[tokens=(\d{1,7})\]\]")


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt: its tokens, its text (for echo) and the exact output length its text asks for, if any."""

    tokens: list[bytes]
    text: str
    exact_tokens: int | None


@dataclass(frozen=True, slots=True)
class ToolCall:
    """The function an answer is to call, with the JSON schema of its arguments."""

    name: str
    schema: object


def exact_tokens(text: str) -> int | None:
    """The N of the last `[[tokens=N]]` in a text, at most a million."""
    found = _EXACT.findall(text)
    return min(int(found[-1]), MOST_EXACT_TOKENS) if found else None


def chat_prompt(body: ChatBody) -> Prompt:
    """The prompt of a chat: tools and answer schema first, then the messages in the template's tokens."""
    tokens = [b"<begin>"]
    texts: list[str] = []
    for raw in (present(body.tools), present(body.response_format)):
        tokens += split_tokens(raw)
    for message in body.messages:
        tokens += _message_tokens(message, texts)
    tokens += [b"<start>", b"assistant"]
    text = "\n".join(texts)
    return Prompt(tokens, text, exact_tokens(text))


def _message_tokens(message: Message, texts: list[str]) -> list[bytes]:
    if message.content is None and message.role != "assistant":
        raise BadRequest(f"content of a {message.role} message must not be null", "messages")
    tokens = [b"<start>", message.role.encode(), b"<content>"]
    if message.name:
        tokens += split_tokens(message.name)
    parts = [TextPart(message.content)] if isinstance(message.content, str) else message.content or []
    for part in parts:
        if isinstance(part, TextPart):
            texts.append(part.text)
            tokens += split_tokens(part.text)
        else:
            picture = blake2b(part.image_url.url.encode(), digest_size=16).digest()
            tokens += [picture] * IMAGE_TOKENS
    tokens += split_tokens(present(message.tool_calls))
    tokens.append(b"<end>")
    return tokens


def text_prompts(body: TextBody) -> list[Prompt]:
    """The prompts of a text completion, one for each text or list of token ids."""
    prompts: list[Prompt] = []
    for item in token_lists(body.prompt, "prompt"):
        if isinstance(item, str):
            prompts.append(Prompt(split_tokens(item), item, exact_tokens(item)))
        else:
            ids = [b"#%d" % token for token in item]
            prompts.append(Prompt(ids, b" ".join(ids).decode(), None))
    return prompts


def tool_call(body: ChatBody) -> ToolCall | None:
    """The call an answer must make: the named function, or the first tool where a call is required."""
    raw = present(body.tools)
    tools = decode(raw, list[ToolSpec], "tools") if raw else []
    choice = body.tool_choice
    if choice in (None, "none", "auto"):
        return None
    if not tools:
        raise BadRequest("tool_choice needs tools", "tool_choice")
    if isinstance(choice, NamedTool):
        named = [tool for tool in tools if tool.function.name == choice.function.name]
        if not named:
            raise BadRequest(f"tool_choice names {choice.function.name!r}, which is not in tools", "tool_choice")
        tools = named
    return ToolCall(tools[0].function.name, tools[0].function.parameters)


def answer_schema(body: ChatBody) -> object | None:
    """The JSON schema the answer is to fit, None for plain text."""
    raw = present(body.response_format)
    if not raw:
        return None
    form = decode(raw, ResponseFormat, "response_format")
    if form.type == "text":
        return None
    plain = {"type": "object", "properties": {"answer": {"type": "string"}}}
    return form.json_schema.schema if form.json_schema and form.json_schema.schema else plain


def json_tokens(value: object) -> list[str]:
    """A JSON value as the tokens the model would write it in (ASCII, with the other characters escaped)."""
    text = json.dumps(value, separators=(",", ":"))
    return [token.decode() for token in split_tokens(text)]
