"""Service tiers: a request is held at the dearest tier it may get and billed at the one the answer names (P4)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from purser.flows import pricing
from tests.gateway.rig import Rig, model, running
from tests.gateway.upstreams import answer, saying

USAGE = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
PLAIN, DOUBLE = 10 * 200 + 5 * 800, 2 * (10 * 200 + 5 * 800)


def double_priority(rig: Rig) -> None:
    """Priority costs twice as much from now on."""
    rig.write(lambda tx: pricing.publish(tx, {"tiny": {"input": "0.20", "output": "0.80", "priority": "2"}}))
    assert rig.eventually(lambda: rig.send("/v1/quote", QUOTE).json["priceVersion"] == 2)


BODY = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 500}], "max_tokens": 1000}
QUOTE = {"path": "/v1/chat/completions", "body": {**BODY, "service_tier": "priority"}}


def test_priority_is_held_at_its_own_price(rig: Rig) -> None:
    double_priority(rig)
    assert rig.send("/v1/quote", QUOTE).json["holdUsd"] == "0.001832"
    assert rig.send("/v1/quote", {**QUOTE, "body": BODY}).json["holdUsd"] == "0.000916"


# (the tier asked for, the tier in the answer, nano-dollars)
TIERS = [
    ("priority", None, DOUBLE),
    ("priority", "priority", DOUBLE),
    ("priority", "default", PLAIN),
    ("default", None, PLAIN),
    ("flex", "priority", PLAIN),
    (None, None, PLAIN),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("asked", "named", "nanos"), TIERS)
def test_the_tier_in_the_answer_is_billed(
    tmp_path: Path, asked: str | None, named: str | None, nanos: int, streamed: bool
) -> None:
    tier = {} if named is None else {"service_tier": named}
    if streamed:
        chunk: dict[str, Any] = {"model": "tiny", "choices": [{"index": 0, "delta": {"content": "Hi"}}], **tier}
        closing = {"model": "tiny", "choices": [], "usage": USAGE}
        events = b"".join(b"data: " + json.dumps(part).encode() + b"\n\n" for part in (chunk, closing))
        said = answer(200, events + b"data: [DONE]\n\n", kind=b"text/event-stream")
    else:
        said = answer(200, json.dumps({"model": "tiny", "choices": [], "usage": USAGE, **tier}).encode())
    with saying(said) as url, running(tmp_path, models=(model("tiny", (url,)),)) as rig:
        double_priority(rig)
        wanted: dict[str, Any] = {} if asked is None else {"service_tier": asked}
        assert rig.chat("hi", stream=streamed, **wanted).status == 200
        assert rig.balance().spent_this_month == nanos


def test_without_a_multiplier_priority_costs_what_anything_does(rig: Rig) -> None:
    rig.chat("hi [[tokens=5]]", service_tier="priority")
    used = json.loads(rig.events()[0].quantities)
    assert set(used) == {"input_tokens", "output_tokens"}


def test_a_service_tier_is_a_text(rig: Rig) -> None:
    assert rig.chat("hi", service_tier=5).error["param"] == "service_tier"
