"""Splicing: an object's bytes with a field of ours in them, for the upstream or the client, the rest as it was sent."""

from __future__ import annotations

import msgspec

from purser.gateway.bodies import Body, Terms
from purser.gateway.shapes import CHAT, SHAPES

encode = msgspec.json.Encoder().encode


def splice(raw: bytes, fields: dict[str, msgspec.Raw], changes: dict[str, bytes]) -> bytes:
    """The object with some fields' JSON replaced or added and everything else byte for byte; `raw` where none is."""
    changes = {name: value for name, value in changes.items() if name not in fields or bytes(fields[name]) != value}
    if not changes:
        return raw
    spliced: bytes | None = raw
    for name, value in changes.items():
        if spliced is not None:
            spliced = replaced(spliced, name, fields[name], value) if name in fields else added(spliced, name, value)
    if spliced is not None and fields:
        return spliced
    parts = [encode(name) + b":" + changes.pop(name, bytes(value)) for name, value in fields.items()]
    parts += [encode(name) + b":" + value for name, value in changes.items()]
    return b"{" + b",".join(parts) + b"}"


def replaced(raw: bytes, name: str, old: bytes, new: bytes) -> bytes | None:
    """The object with another value of a field of its, whose value is spelt `old` now; None where that is not plain."""
    spelt = b'"%b"' % name.encode()
    if raw.count(spelt) != 1 or b"\\u00" in raw:  # a name may be written with escapes
        return None
    begin, _, rest = raw.partition(spelt)
    gap = len(rest) - len(rest.lstrip(b": \t\r\n"))
    old = bytes(old)
    if not rest.startswith(old, gap):
        return None
    return b"%b%b%b%b%b" % (begin, spelt, rest[:gap], new, rest[gap + len(old) :])


def added(raw: bytes, name: str, value: bytes) -> bytes:
    """The object, which has fields and not this one, with it behind them."""
    return b'%b,"%b":%b}' % (raw[: raw.rindex(b"}")], name.encode(), value)


def cap_field(kind: str, engine: str) -> str:
    """The name that an engine has for the cap of a request that names none."""
    return "max_completion_tokens" if engine == "openai" and kind == CHAT else SHAPES[kind].caps[-1]


def for_upstream(body: Body, terms: Terms, cap: int, upstream_model: str) -> bytes:
    """The body as the upstream gets it: its own name for the model, the fitted cap, usage asked for (H3, H5)."""
    changes: dict[str, bytes] = {}
    if upstream_model != body.model:
        changes["model"] = encode(upstream_model)
    if body.shape.caps:
        named = [name for name in body.shape.caps if getattr(body.named, name) is not None]
        for name in named or [cap_field(body.kind, terms.engine)]:
            changes[name] = b"%d" % cap
    if body.stream and body.shape.usage_on_request:
        options = dict(body.named.stream_options or {})
        options["include_usage"] = True
        if terms.engine == "vllm":
            options["continuous_usage_stats"] = True
        changes["stream_options"] = encode(options)
    return splice(body.raw, body.fields, changes)
