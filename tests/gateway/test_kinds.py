"""Kinds of tokens through the gateway: held at the dearest, billed as what they are where the model prices it (P2)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from purser.flows import pricing
from tests.gateway.rig import Rig, model, running
from tests.gateway.upstreams import answer, saying

SPOKEN = {
    "prompt_tokens": 40,
    "completion_tokens": 20,
    "total_tokens": 60,
    "prompt_tokens_details": {"cached_tokens": 10, "audio_tokens": 25, "cache_write_tokens": 2},
    "completion_tokens_details": {"audio_tokens": 12, "reasoning_tokens": 3},
}
PLAIN = {"input": "0.20", "output": "0.80"}
APART = {**PLAIN, "cache_write_5m": "0.25", "audio_input": "3.20", "audio_output": "6.40"}
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 500}], "max_tokens": 1000}
QUOTE = {"path": "/v1/chat/completions", "body": BODY}


def priced(rig: Rig, price: dict[str, str]) -> None:
    """The model costs this from now on."""
    rig.write(lambda tx: pricing.publish(tx, {"tiny": price}))
    assert rig.eventually(lambda: "input" not in price or rig.send("/v1/quote", QUOTE).json["priceVersion"] == 2)


# (price, what is billed of the answer above, nano-dollars)
SAME = {"input_tokens": 30, "cached_input_tokens": 10, "output_tokens": 20}
SOLD = [
    (PLAIN, SAME, 30 * 200 + 10 * 100 + 20 * 800),
    (
        APART,
        {
            "input_tokens": 3,
            "cached_input_tokens": 10,
            "output_tokens": 8,
            "cache_write_5m_input_tokens": 2,
            "audio_input_tokens": 25,
            "audio_output_tokens": 12,
        },
        3 * 200 + 10 * 100 + 2 * 250 + 25 * 3_200 + 8 * 800 + 12 * 6_400,
    ),
    ({**PLAIN, "audio_input": "3.20", "image": "1"}, None, 5 * 200 + 10 * 100 + 25 * 3_200 + 20 * 800),
]


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(("price", "quantities", "nanos"), SOLD)
def test_kinds_of_tokens_are_billed_by_what_the_model_prices(
    tmp_path: Path, price: dict[str, str], quantities: dict[str, int] | None, nanos: int, streamed: bool
) -> None:
    if streamed:
        chunk: dict[str, Any] = {"model": "tiny", "choices": [{"index": 0, "delta": {"content": "Hi"}}]}
        closing = {"model": "tiny", "choices": [], "usage": SPOKEN}
        events = b"".join(b"data: " + json.dumps(part).encode() + b"\n\n" for part in (chunk, closing))
        said = answer(200, events + b"data: [DONE]\n\n", kind=b"text/event-stream")
    else:
        said = answer(200, json.dumps({"model": "tiny", "choices": [], "usage": SPOKEN}).encode())
    with saying(said) as url, running(tmp_path, models=(model("tiny", (url,)),)) as rig:
        priced(rig, price)
        got = rig.chat("hi there", stream=streamed)
        assert got.status == 200
        if not streamed:
            assert got.headers["fireworks-prompt-tokens"] == "40"
            assert got.headers["fireworks-cached-prompt-tokens"] == "10"
        assert rig.balance().spent_this_month == nanos, "P2"
        used = json.loads(rig.events()[0].quantities)
        assert quantities is None or used == quantities


def test_a_request_is_held_at_the_dearest_that_its_tokens_can_be(rig: Rig) -> None:
    priced(rig, APART)
    quote = rig.send("/v1/quote", QUOTE).json
    assert quote["holdUsd"] == "0.008256", "H1: 580 at 3.20 and 1,000 at 6.40"


def test_usage_that_contradicts_itself_is_kept_for_review(tmp_path: Path) -> None:
    wrong = {**SPOKEN, "prompt_tokens_details": {"audio_tokens": 41}}
    said = answer(200, json.dumps({"model": "tiny", "choices": [], "usage": wrong}).encode())
    with saying(said) as url, running(tmp_path, models=(model("tiny", (url,)),)) as rig:
        assert rig.chat("hi there").status == 200
        assert rig.balance().spent_this_month == 0
        assert rig.events()[0].state == "quarantined"


def test_usage_of_which_nothing_has_a_price_is_kept_for_review(tmp_path: Path) -> None:
    said = answer(200, json.dumps({"model": "tiny", "choices": [], "usage": {"search_units": 1}}).encode())
    with saying(said) as url, running(tmp_path, models=(model("tiny", (url,)),)) as rig:
        assert rig.chat("hi there").status == 200
        assert rig.balance().spent_this_month == 0, "P1: never priced at zero, and never guessed"
        assert rig.events()[0].state == "quarantined"


def test_what_is_not_sold_by_tokens_takes_no_request_for_tokens(rig: Rig) -> None:
    priced(rig, {"image": "0.04"})
    assert rig.eventually(lambda: rig.chat("hi").status == 404)
    refused = rig.chat("hi")
    assert (refused.status, refused.error["code"], refused.error["param"]) == (404, "model_not_found", "model")
    assert "no price in tokens" in refused.error["message"]
    assert rig.send("/v1/quote", QUOTE).status == 404
