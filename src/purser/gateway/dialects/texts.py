"""How much text a request's body holds: messages, prompts or inputs, in bytes; images are bounded otherwise (H1)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from purser.core.admission import TOKENS_PER_MESSAGE
from purser.core.errors import Invalid

MOST_PROMPTS = 2048
_TEXTS = ("text", "input_text", "output_text")
_WORDS = (*_TEXTS, "refusal")

Fields = dict[str, msgspec.Raw]
# Of a body's fields: how many messages they hold, the bytes of each prompt, and whether they hold what is no text, so
# that nothing less than the model's context bounds them. Raises Invalid naming the field that is wrong.
Reader = Callable[[Fields], tuple[int, list[int], bool]]


class Spoken(msgspec.Struct, gc=False, forbid_unknown_fields=True):
    """A message as most are."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str


_decode_said = msgspec.json.Decoder(list[Spoken]).decode
_decode_any = msgspec.json.Decoder().decode
encode = msgspec.json.Encoder().encode


def get_field(fields: Fields, name: str) -> Any:
    """A field's value, None where it is not there; raises Invalid where it cannot be read."""
    raw = fields.get(name)
    try:
        return None if raw is None else _decode_any(raw)
    except msgspec.DecodeError as error:
        raise Invalid(f"{name} cannot be read: {error}", field=name) from None


def text_bytes(text: str) -> int:
    """The UTF-8 bytes of a text; a byte-level token covers at least one."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def read_messages(fields: Fields) -> tuple[int, list[int], bool]:
    """Of a chat."""
    raw = fields.get("messages")
    if raw is not None:
        try:
            said = _decode_said(raw)
        except (msgspec.DecodeError, RecursionError):
            said = []
        if said:
            return len(said), [sum([text_bytes(one.content) for one in said])], False
    messages = get_field(fields, "messages")
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
                size += role_bytes(value)
            elif name == "content":
                more, unread = content_bytes(value, f"messages[{n}].content")
                size += more
                opaque = opaque or unread
            elif value is not None:
                size += len(encode(value))
                nested = nested or isinstance(value, dict | list)
    if nested:  # tool calls count as they were sent, which may be longer than as we would write them
        size = max(size, len(bytes(fields["messages"])))
    return len(messages), [size], opaque


def content_bytes(content: Any, field: str) -> tuple[int, bool]:
    """The bytes of a message's content, and whether it holds what is no text; raises Invalid."""
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
        if part["type"] in _WORDS and isinstance(text, str):
            size += text_bytes(text)
        elif part["type"] in _TEXTS:
            raise Invalid(f"{field}[{n}].text must be a text", field=f"{field}[{n}].text")
        else:
            opaque = True  # an image, audio or file: bounded by the model's context
    return size, opaque


def role_bytes(role: str) -> int:
    """The bytes of a role beyond what every message is counted for."""
    return max(0, text_bytes(role) - TOKENS_PER_MESSAGE)


def read_prompts(fields: Fields) -> tuple[int, list[int], bool]:
    """Of a text completion."""
    return _read_texts(fields, "prompt")


def read_inputs(fields: Fields) -> tuple[int, list[int], bool]:
    """Of embeddings."""
    return _read_texts(fields, "input")


def _read_texts(fields: Fields, name: str) -> tuple[int, list[int], bool]:
    given = get_field(fields, name)
    if isinstance(given, str):
        return 0, [text_bytes(given)], False
    if isinstance(given, list) and given:
        if len(given) > MOST_PROMPTS and not isinstance(given[0], int):
            raise Invalid(f"{name} must be at most {MOST_PROMPTS} prompts, not {len(given)}", field=name)
        if all(isinstance(item, str) for item in given):
            return 0, [text_bytes(item) for item in given], False
        if _are_tokens(given):
            return 0, [len(given)], False
        if all(isinstance(item, list) and item and _are_tokens(item) for item in given):
            return 0, [len(item) for item in given], False
    raise Invalid(f"{name} must be a text, a list of texts, or lists of token numbers", field=name)


def _are_tokens(items: list[Any]) -> bool:
    return all(isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in items)


def read_documents(fields: Fields) -> tuple[int, list[int], bool]:
    """Of a rerank: its query is read with each of its documents."""
    query = get_field(fields, "query")
    documents = get_field(fields, "documents")
    if not isinstance(documents, list) or not documents:
        raise Invalid("documents must be a list of at least one text", field="documents")
    if len(documents) > MOST_PROMPTS:
        raise Invalid(f"documents must be at most {MOST_PROMPTS}, not {len(documents)}", field="documents")
    size, opaque = _document_bytes(query, "query")
    sizes = []
    for n, document in enumerate(documents):
        more, unread = _document_bytes(document, f"documents[{n}]")
        sizes.append(size + more)
        opaque = opaque or unread
    return 0, sizes, opaque


def _document_bytes(document: Any, field: str) -> tuple[int, bool]:
    if isinstance(document, str):
        return text_bytes(document), False
    if not isinstance(document, dict):
        raise Invalid(f'{field} must be a text, or an object such as {{"text": "Hi"}}', field=field)
    return len(encode(document)), any(isinstance(value, dict | list) for value in document.values())
