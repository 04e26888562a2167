"""Reranks: the query is read with each document, and what was read is all that is billed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.gateway.rig import Answered, Rig, model, running
from tests.gateway.test_responses import used
from tests.gateway.upstreams import answer as plain
from tests.gateway.upstreams import saying

pytestmark = pytest.mark.once  # what differs here is how a request is told; it is kept like any other

PATH = "/v1/rerank"
DOCUMENTS: list[Any] = ["a kettle boils water", "tax is due in April", {"text": "water is wet"}]


def rerank(rig: Rig, documents: Any = DOCUMENTS, *, fail: str = "", **more: Any) -> Answered:
    """The documents by how much they have to do with water."""
    body = {"model": "tiny", "query": "boiling water", "documents": documents, **more}
    return rig.send(PATH, body, headers={"x-model-fail": fail} if fail else None)


@pytest.mark.parametrize("prefix", ["", "/inference"])
def test_a_rerank_is_billed_what_was_read(rig: Rig, prefix: str) -> None:
    body = {"model": "tiny", "query": "boiling water", "documents": DOCUMENTS, "top_n": 2}
    answer = rig.send(prefix + PATH, body)
    assert answer.status == 200, answer.body
    assert answer.json["results"][0]["index"] == 0
    assert len(answer.json["results"]) == 2
    [event] = rig.events()
    assert used(event) == {"input_tokens": answer.json["usage"]["prompt_tokens"]}
    assert event.cost == used(event)["input_tokens"] * 200
    assert answer.headers["x-purser-cost-usd"]
    assert rig.balance().held == 0


def test_the_query_is_held_once_for_each_document(rig: Rig) -> None:
    def held(query: str, documents: list[str]) -> int:
        body = {"model": "tiny", "query": query, "documents": documents}
        quote = rig.send("/v1/quote", {"path": PATH, "body": body})
        assert quote.status == 200, quote.body
        return round(float(quote.json["holdUsd"]) * 10**9)

    assert held("q" * 100, ["d" * 10]) == 200 * (64 + 110)
    assert held("q" * 100, ["d" * 10, "e" * 30]) == 200 * (64 + 110 + 64 + 130)


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [({"total_tokens": 21}, 21), ({"prompt_tokens": 17}, 17), ({"prompt_tokens": 9, "total_tokens": 9}, 9)],
)
def test_usage_in_either_form(tmp_path: Path, usage: dict[str, int], tokens: int) -> None:
    says = {"id": "r", "model": "x", "results": [{"index": 0, "relevance_score": 0.5}], "usage": usage}
    with (
        saying(plain(200, json.dumps(says).encode())) as url,
        running(tmp_path, models=(model("tiny", (url,)),)) as rig,
    ):
        answer = rerank(rig)
        assert answer.json["model"] == "tiny"
        assert used(rig.events()[0]) == {"input_tokens": tokens}


def test_without_usage_it_is_estimated_low(rig: Rig) -> None:
    assert rerank(rig, ["x" * 80, "y" * 80], fail="no-usage").status == 200
    [event] = rig.events()
    assert (event.estimated, used(event)) == (1, {"input_tokens": (2 * 13 + 160) // 8})


@pytest.mark.parametrize("kind", ["negative", "string"])
def test_usage_that_contradicts_itself_is_quarantined(rig: Rig, kind: str) -> None:
    assert rerank(rig, fail=f"bad-usage={kind}").status == 200
    assert [(event.state, event.cost) for event in rig.events()] == [("quarantined", 0)]


def test_a_failure_bills_nothing(rig: Rig) -> None:
    assert [rerank(rig, fail=fail).status for fail in ("status=500", "refuse", "garbage", "truncate")] == [
        500,
        502,
        502,
        502,
    ]
    assert rig.events() == []
    assert rig.balance().held == 0


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"query": None}, "query"),
    ({"query": 5}, "query"),
    ({"documents": []}, "documents"),
    ({"documents": "x"}, "documents"),
    ({"documents": [5]}, "documents[0]"),
    ({"documents": ["x"] * 2049}, "documents"),
    ({"stream": True}, "stream"),
    ({"n": 2}, "n"),
    ({"extra_body": {"documents": ["x"]}}, "extra_body.documents"),
]


@pytest.mark.parametrize(("body", "field"), REFUSED, ids=[str(body)[:40] for body, _ in REFUSED])
def test_a_bad_body_is_400_and_names_the_field(rig: Rig, body: dict[str, Any], field: str) -> None:
    answer = rig.send(PATH, {"model": "tiny", "query": "q", "documents": ["d"], **body})
    assert (answer.status, answer.error["param"]) == (400, field), answer.body
