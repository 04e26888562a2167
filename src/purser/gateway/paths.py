"""The paths of the data plane."""

from __future__ import annotations

from purser.gateway.shapes import KINDS

_PREFIXES = ("/v1/", "/inference/v1/")
POSTS = {prefix + kind: kind for prefix in _PREFIXES for kind in KINDS}
QUOTES = tuple(prefix + "quote" for prefix in _PREFIXES)
_MODELS = tuple(prefix + "models" for prefix in _PREFIXES)
_WITHIN_MODELS = tuple(name + "/" for name in _MODELS)


def is_data_plane(path: str) -> bool:
    """Whether a path is of the OpenAI-compatible API, whose errors are OpenAI error objects."""
    return path in POSTS or path in _MODELS or path.startswith(_WITHIN_MODELS) or path == "/verifyApiKey"
