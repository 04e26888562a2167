"""The paths of the data plane."""

from __future__ import annotations

from purser.gateway.shapes import KINDS, MESSAGES, RESPONSES

_PREFIXES = ("/v1/", "/inference/v1/")
POSTS = {prefix + kind: kind for prefix in _PREFIXES for kind in KINDS}
QUOTES = tuple(prefix + "quote" for prefix in _PREFIXES)
_MODELS = tuple(prefix + "models" for prefix in _PREFIXES)
_WITHIN_MODELS = tuple(name + "/" for name in _MODELS)
_MESSAGES = tuple(prefix + MESSAGES for prefix in _PREFIXES)
# Paths of which nothing is offered but what POSTS names, and why.
_NOT_OFFERED = {
    f"{prefix}{kind}/": why
    for prefix in _PREFIXES
    for kind, why in (
        (RESPONSES, "Responses are not kept here; POST /v1/responses is all that there is of them."),
        (MESSAGES, "Nothing is kept here of messages; POST /v1/messages is all that there is of them."),
    )
}
_BEYOND = tuple(_NOT_OFFERED)


def is_data_plane(path: str) -> bool:
    """Whether a path is of the APIs of models, whose errors are error objects."""
    return path in POSTS or path in _MODELS or path.startswith((*_WITHIN_MODELS, *_BEYOND)) or path == "/verifyApiKey"


def speaks_anthropic(path: str) -> bool:
    """Whether errors at a path have the shape of Anthropic's API."""
    return path.startswith(_MESSAGES)


def not_offered(path: str) -> str | None:
    """Why there is nothing at a path, though it lies beyond one of ours."""
    if path in POSTS or not path.startswith(_BEYOND):
        return None
    return next(why for beyond, why in _NOT_OFFERED.items() if path.startswith(beyond))
