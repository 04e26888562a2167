"""How much text a request for a message holds: the system's words and the blocks of its messages (H1)."""

from __future__ import annotations

from typing import Any

from purser.core.errors import Invalid
from purser.gateway.dialects.texts import Fields, encode, get_field, role_bytes, text_bytes

_IN_WORDS = ("tool_use", "tool_result", "thinking", "search_result")
_CALLED_BY_CLIENT = (None, "custom")  # told to the model in the request's own words
_KNOWN_TO_MODEL = ("bash_", "text_editor_", "computer_", "memory_")  # in words that we do not see


def read(fields: Fields) -> tuple[int, list[int], bool]:
    """Messages, bytes, and whether only the context bounds them."""
    opaque = _has_unseen_tools(get_field(fields, "tools"))
    system = get_field(fields, "system")
    size, unread, nested = (0, False, False) if system is None else _content(system, "system")
    if nested:
        size = max(size, len(bytes(fields["system"])))
    messages = get_field(fields, "messages")
    if not isinstance(messages, list) or not messages:
        raise Invalid(
            'messages must be a list of at least one message such as {"role": "user", "content": "Hi"}',
            field="messages",
        )
    opaque, told, nested = opaque or unread, 0, False
    for n, message in enumerate(messages):
        if not isinstance(message, dict) or not isinstance(message.get("role"), str):
            raise Invalid(f'messages[{n}] must be an object with a "role" and "content"', field=f"messages[{n}]")
        more, unread, is_nested = _content(message.get("content"), f"messages[{n}].content")
        rest = {name: value for name, value in message.items() if name not in ("content", "role")}
        told, opaque = told + more + role_bytes(message["role"]), opaque or unread
        if rest:
            told += len(encode(rest))
        nested = nested or is_nested or bool(rest)
    if nested:  # as it was sent may be longer than as we would write it
        told = max(told, len(bytes(fields["messages"])))
    return len(messages) + (system is not None), [size + told], opaque


def _content(content: Any, field: str) -> tuple[int, bool, bool]:
    """Bytes, whether it holds what is no text, and whether it is counted as JSON."""
    if isinstance(content, str):
        return text_bytes(content), False, False
    if not isinstance(content, list):
        raise Invalid(f"{field} must be a text or a list of blocks", field=field)
    size, opaque, nested = 0, False, False
    for n, block in enumerate(content):
        more, unread, is_nested = _block(block, f"{field}[{n}]")
        size, opaque, nested = size + more, opaque or unread, nested or is_nested
    return size, opaque, nested


def _block(block: Any, field: str) -> tuple[int, bool, bool]:
    kind = block.get("type") if isinstance(block, dict) else None
    if not isinstance(block, dict) or not isinstance(kind, str):
        raise Invalid(f'{field} must be a block such as {{"type": "text", "text": "Hi"}}', field=field)
    if kind == "text":
        if not isinstance(block.get("text"), str):
            raise Invalid(f"{field}.text must be a text", field=f"{field}.text")
        return text_bytes(block["text"]), False, False
    if kind not in _IN_WORDS:
        return 0, True, False  # an image, a document, what only the model server can read
    within = block.get("content")
    opaque = _content(within, f"{field}.content")[1] if isinstance(within, list) else False
    return len(encode(block)), opaque, True


def _has_unseen_tools(tools: Any) -> bool:
    """Whether a tool is told to the model in words that we do not see; raises Invalid for one that a server runs."""
    if tools is None:
        return False
    if not isinstance(tools, list):
        raise Invalid("tools must be a list", field="tools")
    unseen = False
    for n, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else tool
        if isinstance(kind, str) and kind.startswith(_KNOWN_TO_MODEL):
            unseen = True
        elif not isinstance(tool, dict) or kind not in _CALLED_BY_CLIENT:
            raise Invalid(
                f"tools[{n}] must be a tool that the client runs: what the model server's own tools read is bounded by "
                "nothing in the request",
                field=f"tools[{n}]",
            )
    return unseen
