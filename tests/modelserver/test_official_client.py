"""The official OpenAI client is content with what the server says."""

from __future__ import annotations

from collections.abc import Iterator

import openai
import pytest
from openai import OpenAI

from tests.modelserver.running import Running


@pytest.fixture
def client(server: Running) -> Iterator[OpenAI]:
    with OpenAI(base_url=server.base_url, api_key="none", max_retries=0, timeout=30) as client:
        yield client


def test_chat(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny", messages=[{"role": "user", "content": "Hello. [[tokens=25]]"}], max_tokens=10
    )
    assert answer.usage is not None
    assert (answer.usage.completion_tokens, answer.choices[0].finish_reason) == (10, "length")
    assert answer.choices[0].message.content


def test_chat_stream(client: OpenAI) -> None:
    text, usage = "", None
    stream = client.chat.completions.create(
        model="org/small",
        messages=[{"role": "user", "content": "Hello. [[tokens=25]]"}],
        stream=True,
        stream_options={"include_usage": True},
    )
    for chunk in stream:
        usage = chunk.usage or usage
        text += "".join(choice.delta.content or "" for choice in chunk.choices)
    assert usage is not None
    assert usage.completion_tokens == 25
    assert text


def test_tool_call(client: OpenAI) -> None:
    answer = client.chat.completions.create(
        model="tiny",
        messages=[{"role": "user", "content": "Weather?"}],
        tools=[{"type": "function", "function": {"name": "forecast", "parameters": {"type": "object"}}}],
        tool_choice="required",
    )
    calls = answer.choices[0].message.tool_calls
    assert calls is not None
    assert calls[0].type == "function"
    assert (calls[0].function.name, calls[0].function.arguments) == ("forecast", "{}")


def test_text_completion(client: OpenAI) -> None:
    answer = client.completions.create(model="tiny", prompt=["One", "Two"], max_tokens=5, echo=True)
    assert [choice.text[:3] for choice in answer.choices] == ["One", "Two"]


def test_embeddings_come_in_base64_by_default(client: OpenAI) -> None:
    answer = client.embeddings.create(model="tiny", input=["sea", "sea"], dimensions=8)
    assert len(answer.data[0].embedding) == 8
    assert answer.data[0].embedding == answer.data[1].embedding
    assert answer.usage.prompt_tokens == 2


def test_models(client: OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny", "org/small"]
    assert client.models.retrieve("org/small").owned_by == "purser"


@pytest.mark.parametrize(
    ("directive", "error"),
    [
        ("status=400", openai.BadRequestError),
        ("status=429", openai.RateLimitError),
        ("status=503", openai.InternalServerError),
        ("refuse", openai.APIConnectionError),
    ],
)
def test_errors_are_raised_as_what_they_are(client: OpenAI, directive: str, error: type[openai.APIError]) -> None:
    with pytest.raises(error):
        client.chat.completions.create(
            model="tiny",
            messages=[{"role": "user", "content": "Hello."}],
            extra_headers={"x-model-fail": directive},
        )
