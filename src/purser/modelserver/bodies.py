"""Request bodies as values, checked before any work starts, and the error objects for what is wrong."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, TypeVar

import msgspec
from msgspec import UNSET, Meta, Raw, UnsetType

MOST_CHOICES = 128
MOST_DIMENSIONS = 4_096
MOST_TOKENS = 1_000_000_000

T = TypeVar("T")
Count = Annotated[int, Meta(ge=1, le=MOST_CHOICES)]
OutputTokens = Annotated[int, Meta(ge=0, le=MOST_TOKENS)]
StopText = Annotated[str, Meta(min_length=1)]
TokenId = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Prompts = str | list[str | TokenId | list[TokenId]]
Temperature = Annotated[float, Meta(ge=0, le=2)]
Share = Annotated[float, Meta(ge=0, le=1)]


class BadRequest(Exception):
    """A request that is refused before any work: an HTTP status and an OpenAI error object."""

    def __init__(self, message: str, param: str | None = None, status: int = 400, code: str | None = None):
        super().__init__(message)
        self.message = message
        self.param = param
        self.status = status
        self.code = code

    @property
    def body(self) -> bytes:
        """The error object as JSON."""
        return error_body(self.status, self.message, self.param, self.code)


def error_body(status: int, message: str, param: str | None = None, code: str | None = None) -> bytes:
    """An OpenAI error object as JSON."""
    kinds = {401: "authentication_error", 404: "not_found_error", 429: "rate_limit_error"}
    kind = kinds.get(status, "invalid_request_error" if status < 500 else "server_error")
    return msgspec.json.encode({"error": {"message": message, "type": kind, "param": param, "code": code}})


class ImageUrl(msgspec.Struct):
    """Where an image is: an address or a data URL."""

    url: str


class TextPart(msgspec.Struct, tag_field="type", tag="text"):
    """A text in a message's content."""

    text: str


class ImagePart(msgspec.Struct, tag_field="type", tag="image_url"):
    """An image in a message's content."""

    image_url: ImageUrl


class Message(msgspec.Struct):
    """One message of a chat."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[TextPart | ImagePart] | None = None
    name: str | None = None
    tool_calls: Raw | UnsetType = UNSET


class StreamOptions(msgspec.Struct):
    """What a stream tells beside the text; running counts need `include_usage` too, as in vLLM."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class FunctionName(msgspec.Struct):
    """The name in a tool choice."""

    name: str


class NamedTool(msgspec.Struct):
    """A tool choice that names the function."""

    function: FunctionName


class FunctionSpec(msgspec.Struct):
    """A function the model may call; `parameters` is its JSON schema."""

    name: str
    parameters: dict[str, Any] | None = None


class ToolSpec(msgspec.Struct):
    """A tool the model may call."""

    function: FunctionSpec
    type: Literal["function"] = "function"


class JsonSchema(msgspec.Struct):
    """The schema an answer is to fit."""

    schema: dict[str, Any] | None = None


class ResponseFormat(msgspec.Struct):
    """The form an answer is to have."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


class GenerationBody(msgspec.Struct, kw_only=True):
    """The fields that chat and text completions share."""

    model: str
    n: Count | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: StopText | list[StopText] | None = None
    seed: int | None = None
    temperature: Temperature | None = None
    top_p: Share | None = None

    @property
    def stops(self) -> list[str]:
        """The stop sequences, possibly none."""
        return [self.stop] if isinstance(self.stop, str) else self.stop or []

    @property
    def usage_asked(self) -> bool:
        """Whether a stream is to close with a usage chunk."""
        return bool(self.stream and self.stream_options and self.stream_options.include_usage)

    @property
    def running_usage_asked(self) -> bool:
        """Whether every chunk of a stream is to carry usage."""
        options = self.stream_options
        return self.usage_asked and options is not None and bool(options.continuous_usage_stats)


class ChatBody(GenerationBody, kw_only=True):
    """A chat completion request."""

    messages: Annotated[list[Message], Meta(min_length=1)]
    max_tokens: OutputTokens | None = None
    max_completion_tokens: OutputTokens | None = None
    tools: Raw | UnsetType = UNSET
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    response_format: Raw | UnsetType = UNSET
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high"] | None = None

    @property
    def cap(self) -> int | None:
        """The most tokens asked for; `max_completion_tokens` where both are given."""
        return self.max_tokens if self.max_completion_tokens is None else self.max_completion_tokens


class TextBody(GenerationBody, kw_only=True):
    """A text completion request."""

    prompt: Prompts
    max_tokens: OutputTokens | None = 16
    best_of: Count | None = None
    echo: bool | None = None

    @property
    def cap(self) -> int | None:
        """The most tokens asked for; 16 where the field is left out, as the API has it."""
        return self.max_tokens


class EmbeddingBody(msgspec.Struct, kw_only=True):
    """An embedding request."""

    model: str
    input: Prompts
    dimensions: Annotated[int, Meta(ge=1, le=MOST_DIMENSIONS)] | None = None
    encoding_format: Literal["float", "base64"] | None = None


class FailBody(msgspec.Struct):
    """What `POST /v1/fail` takes; `times` left out: once, null: until set again."""

    directives: str
    times: Annotated[int, Meta(ge=0)] | None = 1


_MISSING = re.compile(r"missing required field `([^`]+)`")


def decode(data: bytes | Raw, kind: type[T], within: str = "") -> T:
    """A JSON text as a value of that kind; BadRequest names the field that is missing or mistyped."""
    try:
        return msgspec.json.decode(data, type=kind)
    except msgspec.ValidationError as wrong:
        text = str(wrong)
        names = [within]
        if at := re.search(r" - at `\$\.?([^`]*)`", text):
            names.append(at[1])
        if missing := _MISSING.search(text):
            names.append(missing[1])
        raise BadRequest(text, ".".join(filter(None, names)) or None) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as wrong:
        raise BadRequest(f"the body is not valid JSON: {wrong}", within or None) from None


def present(raw: Raw | UnsetType) -> bytes:
    """A field kept as the bytes that were sent; empty where it is left out or null."""
    data = b"" if isinstance(raw, UnsetType) else bytes(raw)
    return b"" if data == b"null" else data


def token_lists(prompts: Prompts, field: str) -> list[str | list[int]]:
    """One text or list of token ids per prompt, from the API's four shapes; BadRequest if mixed or empty."""
    if isinstance(prompts, str):
        several: list[str | list[int]] = [prompts]
    elif prompts and all(isinstance(item, int) for item in prompts):
        several = [[item for item in prompts if isinstance(item, int)]]
    else:
        several = [item for item in prompts if not isinstance(item, int)]
        kinds = {type(item) for item in prompts}
        if len(kinds) > 1:
            raise BadRequest(f"{field} must be all texts, all token ids or all lists of token ids", field)
    if not several or not all(several):
        raise BadRequest(f"{field} must not be empty", field)
    return several
