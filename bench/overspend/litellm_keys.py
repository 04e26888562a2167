"""The keys of LiteLLM in this benchmark: `sk-NAME-NANOS` is a key whose budget is that many nano-dollars.

LiteLLM imports it as its custom authentication; nothing here imports it.
"""

from __future__ import annotations

from typing import Any

from litellm.proxy._types import UserAPIKeyAuth, hash_token  # type: ignore[import-not-found]


async def authenticate(request: Any, api_key: str) -> Any:
    """Who a key is and what it may spend, as a virtual key of LiteLLM's database would say."""
    budget_nanos = int(api_key.rpartition("-")[2])
    return UserAPIKeyAuth(api_key=api_key, token=hash_token(api_key), max_budget=budget_nanos / 10**9, spend=0.0)
