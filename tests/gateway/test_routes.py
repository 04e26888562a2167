"""The data plane's routes: methods, odd paths, the headers of every billable answer and the shape of every error."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest

from purser.core.period import parse_instant
from purser.core.policy import Policy
from purser.core.pricebook import read_price, revise
from purser.flows import payments, pricing
from purser.flows.payments import Card
from tests.gateway.rig import Rig, running

pytestmark = pytest.mark.once  # what differs here is what is asked for; it is kept like any other

CHAT = "/v1/chat/completions"
HI: dict[str, Any] = {"model": "tiny", "max_tokens": 3, "messages": [{"role": "user", "content": "Hi"}]}
BILLABLE: list[tuple[str, dict[str, Any]]] = [
    (CHAT, HI),
    (CHAT, {**HI, "stream": True}),
    ("/v1/completions", {"model": "tiny", "prompt": "Hi", "max_tokens": 3}),
    ("/v1/completions", {"model": "tiny", "prompt": "Hi", "max_tokens": 3, "stream": True}),
    ("/v1/embeddings", {"model": "tiny", "input": "Hi"}),
    ("/v1/responses", {"model": "tiny", "input": "Hi", "max_output_tokens": 3}),
    ("/v1/responses", {"model": "tiny", "input": "Hi", "max_output_tokens": 3, "stream": True}),
    ("/v1/messages", HI),
    ("/v1/messages", {**HI, "stream": True}),
    ("/v1/rerank", {"model": "tiny", "query": "Hi", "documents": ["Ho", "Ha"]}),
]


@pytest.mark.parametrize("path, body", BILLABLE)
def test_every_billable_answer_has_its_headers(rig: Rig, path: str, body: dict[str, Any]) -> None:
    for prefix in ("", "/inference"):
        answer = rig.send(prefix + path, body)
        names = {
            "x-request-id",
            "x-purser-headroom-usd",
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
        }
        if not body.get("stream"):
            names |= {"x-purser-cost-usd", "fireworks-prompt-tokens", "fireworks-cached-prompt-tokens"}
        assert answer.status == 200, answer.body
        assert not names - set(answer.headers)


# (method, path, body, key, status, type, param, code)
ERRORS: list[tuple[str, str, Any, str | None, int, str, str | None, str]] = [
    ("POST", CHAT, HI, None, 401, "authentication_error", None, "invalid_api_key"),
    ("POST", CHAT, HI, "pk_nobody", 401, "authentication_error", None, "invalid_api_key"),
    ("POST", CHAT, HI, "pk_\xe9", 401, "authentication_error", None, "invalid_api_key"),
    ("POST", CHAT, b"{", "", 400, "invalid_request_error", None, "invalid_json"),
    ("POST", CHAT, {**HI, "n": 0}, "", 400, "invalid_request_error", "n", "invalid_request"),
    ("POST", CHAT, {**HI, "model": "nope"}, "", 404, "not_found_error", "model", "model_not_found"),
    ("POST", CHAT + "?x=y", {**HI, "model": "nope"}, "", 404, "not_found_error", "model", "model_not_found"),
    ("GET", CHAT, None, "", 405, "invalid_request_error", None, "method_not_allowed"),
    ("OPTIONS", CHAT, None, "", 405, "invalid_request_error", None, "method_not_allowed"),
    ("DELETE", "/v1/models/tiny", None, "", 405, "invalid_request_error", None, "method_not_allowed"),
    ("GET", "/v1/models/no/such/model", None, "", 404, "not_found_error", "model", "model_not_found"),
]


@pytest.mark.parametrize("method, path, body, key, status, kind, param, code", ERRORS)
def test_every_error_is_an_error_object(
    rig: Rig, method: str, path: str, body: Any, key: str | None, status: int, kind: str, param: str | None, code: str
) -> None:
    answer = rig.send(path, body, method=method, key=key)
    assert answer.status == status, answer.body
    assert set(answer.json) == {"error", "request_id"}
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    error = answer.error
    assert error.pop("message")
    assert error == {"type": kind, "param": param, "code": code}


# (method, body, key, status, field, code, more headers)
QUOTE_ERRORS: list[tuple[str, Any, str | None, int, str | None, str, dict[str, str]]] = [
    ("POST", b"[]", "", 400, None, "INVALID_ARGUMENT", {}),
    ("POST", {"path": "/v1/nope", "body": {}}, "", 400, "path", "INVALID_ARGUMENT", {}),
    ("POST", {"path": CHAT, "body": {**HI, "model": "nope"}}, "", 404, "model", "NOT_FOUND", {}),
    ("POST", {"path": CHAT, "body": HI}, None, 401, None, "UNAUTHENTICATED", {"www-authenticate": "Bearer"}),
    ("GET", None, "", 405, None, "INVALID_ARGUMENT", {"allow": "POST"}),
]


@pytest.mark.parametrize("path", ["/v1/quote", "/inference/v1/quote"])
@pytest.mark.parametrize("method, body, key, status, field, code, headers", QUOTE_ERRORS)
def test_a_quotes_errors_are_problems_as_in_the_rest_of_the_control_plane(
    rig: Rig,
    path: str,
    method: str,
    body: Any,
    key: str | None,
    status: int,
    field: str | None,
    code: str,
    headers: dict[str, str],
) -> None:
    answer = rig.send(path, body, method=method, key=key)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert headers.items() <= answer.headers.items()
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert answer.json["detail"]
    assert (answer.json["status"], answer.json["code"]) == (status, code)
    assert [error["field"] for error in answer.json["errors"]] == ([] if field is None else [field])


def test_a_quote_over_the_rate_says_when_to_come_back(tmp_path: Path) -> None:
    with running(tmp_path, Policy(requests_per_minute_unverified=1)) as rig:
        answer = [rig.send("/v1/quote", {"path": CHAT, "body": HI}) for _ in range(2)][1]
    assert (answer.status, answer.json["code"]) == (429, "RESOURCE_EXHAUSTED")
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["x-ratelimit-remaining-requests"] == "0"


def test_a_query_is_no_part_of_the_path(rig: Rig) -> None:
    assert rig.send(CHAT + "?api-version=1", HI).status == 200


def test_models_whose_names_hold_slashes_are_found(rig: Rig) -> None:
    for name in ("org/models/tiny", "a%2Fb"):
        served = {**rig.gateway.served}
        served[name] = next(iter(rig.gateway.served.values()))
        rig.gateway.served = served
        prices = {name: {"input": "1.00", "output": "1.00"}}
        rig.write(partial(pricing.publish, models=prices))
    assert rig.eventually(lambda: rig.send("/v1/models/org/models/tiny", None, method="GET").status == 200)
    assert rig.send("/v1/models/org%2Fmodels%2Ftiny", None, method="GET").json["id"] == "org/models/tiny"
    assert rig.send("/inference/v1/models/org/models/tiny", None, method="GET").json["id"] == "org/models/tiny"
    assert rig.send("/v1/models/a%252Fb", None, method="GET").json["id"] == "a%2Fb"
    assert len(rig.send("/v1/models/", None, method="GET").json["data"]) == 4


def test_head_answers_without_a_body(rig: Rig) -> None:
    answer = rig.send("/v1/models", None, method="HEAD")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["content-length"]) > 0


def test_which_paths_are_the_gateways(rig: Rig) -> None:
    class Asked:
        def __init__(self, path: str) -> None:
            self.path = path

    def takes(path: str) -> bool:
        return rig.gateway.takes(Asked(path))  # type: ignore[arg-type]

    ours = [CHAT, "/inference" + CHAT, "/v1/models", "/v1/models/a/b", "/v1/embeddings", "/v1/quote", "/verifyApiKey"]
    ours += ["/v1/responses", "/v1/responses/r", "/v1/messages", "/v1/messages/count_tokens", "/v1/rerank"]
    assert [path for path in ours if not takes(path)] == []
    others = ["/v1/chat/completions/", "/v1/modelsx", "/v1/accounts", "/", "/v1", "/v2/models", "/verifyApiKey/x"]
    assert [path for path in others if takes(path)] == []


def test_a_quote_at_the_beginning_of_a_month_knows_the_limit(rig: Rig) -> None:
    rig.write(lambda tx: payments.add_method(tx, "ada", Card("pm_card_visa", "visa", "4242", 12, 2034, "fp")))
    rig.world.at = parse_instant("2026-04-01T00:00:01Z")
    asked = {"path": CHAT, "body": {**HI, "model": "dear", "max_tokens": 2048, "n": 128}}
    assert rig.eventually(lambda: rig.send("/v1/quote", asked).json["headroomUsd"] == "50.00")


# ── streams under the policy "refuse" (H3) ───────────────────────────────────────────────────────────────────────
def test_a_stream_that_may_not_be_fitted_is_refused_whole_or_held_whole(rig: Rig) -> None:
    refuse = {"x-purser-fit": "refuse"}
    body: dict[str, Any] = {"model": "dear", "stream": True, "max_tokens": 2000, "n": 10}
    refused = rig.chat("go [[tokens=3]]", headers=refuse, **body)
    assert (refused.status, refused.error["code"]) == (402, "insufficient_headroom")
    affordable = refused.error["affordable_output_tokens"]
    assert 0 < affordable < 2000
    whole = rig.chat("go [[tokens=3]]", headers=refuse, **{**body, "max_tokens": affordable})
    assert whole.is_done
    assert rig.events()[0].held > 10 * affordable * 80_000, "no slices: what is promised is held"
    fitted = rig.chat("go [[tokens=3]]", **{**body, "n": 1, "max_tokens": 2000})
    assert fitted.is_done
    assert "x-purser-max-tokens" not in fitted.headers, "H5: a stream whose first slice fits keeps its cap"
    assert rig.events()[1].held < 2000 * 80_000


# ── prices at their ends ─────────────────────────────────────────────────────────────────────────────────────────
FREE = {"input": "0.00", "output": "0.00"}
FREE_OUTPUT = {"input": "1.00", "output": "0.00"}
FREE_INPUT = {"input": "0.00", "output": "1.00"}


@pytest.mark.parametrize("price", [FREE, FREE_OUTPUT, FREE_INPUT], ids=["free", "free output", "free input"])
@pytest.mark.parametrize("path, body", BILLABLE)
def test_models_that_are_partly_free_are_served(
    rig: Rig, price: dict[str, str], path: str, body: dict[str, Any]
) -> None:
    rig.write(lambda tx: pricing.publish(tx, {"tiny": price}))
    assert rig.eventually(lambda: (rig.send(path, body).status, rig.events()[-1].version) == (200, 2))
    rates = revise(None, {"tiny": read_price("tiny", price)}, 1, 0).models["tiny"]
    needed = path == "/v1/messages"
    uncapped = {
        name: value for name, value in body.items() if name not in ("max_tokens", "max_output_tokens") or needed
    }
    assert rig.send(path, uncapped).status == 200
    assert rig.balance().held == 0
    if not any(rate.nanos for rate in rates.values()):
        assert rig.events()[-1].cost == 0
