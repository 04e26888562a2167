"""Inference by the official client of the compatible API, unmodified but for its base URL (interface §3, facts §15)."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import fireworks
import pytest

from tests.gateway.rig import Rig

pytestmark = pytest.mark.once  # what differs here is what a client reads; it is kept like any other

TOLD = "hello [[tokens=5]]"


@pytest.fixture
def ada(rig: Rig) -> Iterator[fireworks.Fireworks]:
    """Ada's client, which sends nothing again."""
    base_url = f"http://127.0.0.1:{rig.port}"
    with fireworks.Fireworks(api_key=rig.key, account_id="ada", base_url=base_url, max_retries=0) as client:
        yield client


def said(text: str) -> list[Any]:
    return [{"role": "user", "content": text}]


def test_an_answer_and_what_it_cost(rig: Rig, ada: fireworks.Fireworks) -> None:
    told = ada.chat.completions.with_raw_response.create(model="tiny", messages=said(TOLD), max_tokens=20)
    answer = told.parse()
    assert answer.choices[0].message is not None
    assert answer.choices[0].message.content
    assert answer.usage is not None
    [event] = rig.events()
    assert answer.usage.completion_tokens == 5
    assert answer.usage.prompt_tokens is not None
    assert event.cost == answer.usage.prompt_tokens * 200 + 5 * 800
    assert Decimal(told.headers["x-purser-cost-usd"]) * 10**9 == event.cost


def test_a_stream(rig: Rig, ada: fireworks.Fireworks) -> None:
    with ada.chat.completions.create(model="tiny", messages=said(TOLD), max_tokens=20, stream=True) as stream:
        chunks = list(stream)
    text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert text
    assert chunks[-1].choices == [] or chunks[-1].choices[0].finish_reason is not None
    assert rig.eventually(lambda: len(rig.events()) == 1)


def test_a_completion(rig: Rig, ada: fireworks.Fireworks) -> None:
    answer = ada.completions.create(model="tiny", prompt=TOLD, max_tokens=20)
    assert answer.choices[0].text
    assert len(rig.events()) == 1


def test_refusals_are_the_errors_it_knows(rig: Rig, ada: fireworks.Fireworks) -> None:
    with pytest.raises(fireworks.NotFoundError, match="none"):
        ada.chat.completions.create(model="none", messages=said(TOLD))
    with pytest.raises(fireworks.AuthenticationError):
        ada.with_options(api_key="pk_wrong").chat.completions.create(model="tiny", messages=said(TOLD))
    with pytest.raises(fireworks.BadRequestError, match="max_tokens"):
        ada.chat.completions.create(model="tiny", messages=said(TOLD), max_tokens=-1)
    with pytest.raises(fireworks.APIStatusError, match=r"Not enough credit: \$1.00 is left") as refused:
        ada.chat.completions.create(
            model="dear",
            messages=said("x" * 8000),
            max_tokens=2000,
            n=20,
            extra_headers={"x-purser-fit": "refuse"},
        )
    assert refused.value.status_code == 402
    assert rig.events() == []
