"""What LiteLLM makes of usages: run by a Python that has LiteLLM, which the one of these tests has not.

A line in is [model, provider, shape, usage] as JSON; a line out is its cost in dollars, or why there is none.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # the prices that came with it; nothing is fetched
EMBEDDING, TRANSCRIPTION = "embedding", "transcription"


def main() -> None:
    """Answer every line."""
    litellm = importlib.import_module("litellm")
    usage_of = importlib.import_module("litellm.types.utils").Usage
    messages = importlib.import_module("litellm.llms.anthropic.chat.transformation").AnthropicConfig()
    responses = importlib.import_module("litellm.responses.utils").ResponseAPILoggingUtils
    readers: dict[str, Callable[[dict[str, Any]], Any]] = {
        "messages": lambda usage: messages.calculate_usage(usage_object=usage, reasoning_content=None),
        "responses": responses._transform_response_api_usage_to_chat_usage,
    }
    for line in sys.stdin:
        model, provider, shape, told = json.loads(line)
        given: dict[str, Any] = {"model": model, "custom_llm_provider": provider}
        try:
            if shape == "seconds":
                given |= {"call_type": TRANSCRIPTION, "audio_transcription_file_duration": told["seconds"]}
            else:
                usage = readers[shape](told) if shape in readers else usage_of(**told)
                given |= {"usage_object": usage, "call_type": EMBEDDING if shape == "embeddings" else "completion"}
                given |= {"prompt_tokens": usage.prompt_tokens, "completion_tokens": usage.completion_tokens}
            answer = {"dollars": sum(litellm.cost_per_token(**given))}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"[:200]}
        sys.stdout.write(json.dumps(answer) + "\n")


if __name__ == "__main__":
    main()
