"""Splicing: an object's bytes with a field of ours in them, for the upstream or the client, the rest as it was sent."""

from __future__ import annotations

import msgspec

from purser.gateway.bodies import CAP_FIELDS, CHAT, EMBEDDINGS, Body, Terms

_encode = msgspec.json.Encoder().encode


def splice(raw: bytes, fields: dict[str, msgspec.Raw], changes: dict[str, bytes]) -> bytes:
    """The object with some fields' JSON replaced or added and everything else byte for byte; `raw` where none is."""
    changes = {name: value for name, value in changes.items() if name not in fields or bytes(fields[name]) != value}
    if not changes:
        return raw
    if fields and fields.keys().isdisjoint(changes):
        for name, value in changes.items():
            raw = added(raw, name, value)
        return raw
    parts = [_encode(name) + b":" + changes.pop(name, bytes(value)) for name, value in fields.items()]
    parts += [_encode(name) + b":" + value for name, value in changes.items()]
    return b"{" + b",".join(parts) + b"}"


def added(raw: bytes, name: str, value: bytes) -> bytes:
    """The object, which has fields and not this one, with it behind them."""
    return b'%b,"%b":%b}' % (raw[: raw.rindex(b"}")], name.encode(), value)


def cap_field(kind: str, engine: str) -> str:
    """The name that an engine has for the cap of a request that names none."""
    return "max_completion_tokens" if engine == "openai" and kind == CHAT else "max_tokens"


def for_upstream(body: Body, terms: Terms, cap: int, upstream_model: str) -> bytes:
    """The body as the upstream gets it: its own name for the model, the fitted cap, usage asked for (H3, H5)."""
    changes: dict[str, bytes] = {}
    if upstream_model != body.model:
        changes["model"] = _encode(upstream_model)
    if body.kind != EMBEDDINGS:
        named = [name for name in CAP_FIELDS if getattr(body.named, name) is not None]
        for name in named or [cap_field(body.kind, terms.engine)]:
            changes[name] = b"%d" % cap
    if body.stream:
        options = dict(body.named.stream_options or {})
        options["include_usage"] = True
        if terms.engine == "vllm":
            options["continuous_usage_stats"] = True
        changes["stream_options"] = _encode(options)
    return splice(body.raw, body.fields, changes)
