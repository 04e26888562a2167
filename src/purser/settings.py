"""Settings: what the operator configures about the process and each model, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model as configured; `upstreams` are base URLs such as http://127.0.0.1:8000/v1."""

    name: str
    upstreams: tuple[str, ...]
    upstream_model: str
    context_tokens: int
    max_output_tokens: int
    engine: str = "vllm"
    tokens_per_byte: int = 1
    fit: str = "fit"
    timeout_seconds: int = 600
    upstream_key: str | None = None
