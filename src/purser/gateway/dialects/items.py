"""How much text a request for a response holds: its instructions and its input, a text or a list of items (H1).

What the model server has kept (a response before this one, a conversation, a prompt) is no longer than the model's
context, which is the bound then, as it is for images.
"""

from __future__ import annotations

from typing import Any

from purser.core.errors import Invalid
from purser.gateway.dialects.texts import Fields, content_bytes, encode, get_field, role_bytes, text_bytes

_KEPT = ("previous_response_id", "conversation", "prompt")
_IN_WORDS = frozenset("function_call function_call_output custom_tool_call custom_tool_call_output reasoning".split())
_CALLED_BY_CLIENT = ("function", "custom")  # told to the model in the request's own words
_KNOWN_TO_MODEL = ("local_shell", "apply_patch", "computer_use_preview", "computer")  # in words that we do not see


def read(fields: Fields) -> tuple[int, list[int], bool]:
    """Messages, bytes, and whether only the context bounds them."""
    kept = any(get_field(fields, name) is not None for name in _KEPT)
    size, messages = _instructions(fields)
    opaque = _has_unseen_tools(get_field(fields, "tools")) or kept
    given = get_field(fields, "input")
    if isinstance(given, str):
        return messages + 1, [size + text_bytes(given)], opaque
    if given is None and kept:
        return messages, [size], opaque
    if not isinstance(given, list) or not (given or kept):
        raise Invalid(
            'input must be a text, or a list of items such as {"role": "user", "content": "Hi"}', field="input"
        )
    told, nested = 0, False
    for n, item in enumerate(given):
        more, unread, is_nested = _item(item, f"input[{n}]")
        told, opaque, nested = told + more, opaque or unread, nested or is_nested
    if nested:  # as it was sent may be longer than as we would write it
        told = max(told, len(bytes(fields["input"])))
    return messages + len(given), [size + told], opaque


def _instructions(fields: Fields) -> tuple[int, int]:
    given = get_field(fields, "instructions")
    if given is None:
        return 0, 0
    if not isinstance(given, str):
        raise Invalid("instructions must be a text", field="instructions")
    return text_bytes(given), 1


def _item(item: Any, field: str) -> tuple[int, bool, bool]:
    """Bytes, whether it holds what is no text, and whether it is counted as JSON."""
    kind = item.get("type", "message") if isinstance(item, dict) else None
    if not isinstance(item, dict) or not isinstance(kind, str):
        raise Invalid(f'{field} must be an item such as {{"role": "user", "content": "Hi"}}', field=field)
    if kind == "message":
        if not isinstance(item.get("role"), str):
            raise Invalid(f'{field} must have a "role" and "content"', field=field)
        size, opaque = content_bytes(item.get("content"), f"{field}.content")
        size += role_bytes(item["role"])
        rest = {name: value for name, value in item.items() if name not in ("content", "type", "role")}
        return size + (len(encode(rest)) if rest else 0), opaque, bool(rest)
    if kind not in _IN_WORDS:
        return len(encode(item)), True, True
    output = item.get("output")
    opaque = content_bytes(output, f"{field}.output")[1] if isinstance(output, list) else False
    return len(encode(item)), opaque or item.get("encrypted_content") is not None, True


def _has_unseen_tools(tools: Any) -> bool:
    """Whether a tool is told to the model in words that we do not see; raises Invalid for one that a server runs."""
    if tools is None:
        return False
    if not isinstance(tools, list):
        raise Invalid("tools must be a list", field="tools")
    unseen = False
    for n, tool in enumerate(tools):
        kind = tool.get("type") if isinstance(tool, dict) else None
        if kind in _KNOWN_TO_MODEL:
            unseen = True
        elif kind not in _CALLED_BY_CLIENT:
            raise Invalid(
                f"tools[{n}].type must be one of {', '.join((*_CALLED_BY_CLIENT, *_KNOWN_TO_MODEL))}: what the model "
                "server's own tools read is bounded by nothing in the request",
                field=f"tools[{n}].type",
            )
    return unseen
