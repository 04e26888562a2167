"""Plain answers: held, settled, billed exactly once, and refused in the order of H6."""

from __future__ import annotations

import json
import threading
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from purser.core.money import format_usd
from purser.core.policy import Policy
from purser.flows import access, accounts, credits, leaving, payments, pricing
from purser.flows.payments import Card
from tests.gateway.rig import Answered, Rig, engine_log, model, running

pytestmark = pytest.mark.once  # what differs here is the bytes of answers; it is kept like any other

VISA = Card("pm_card_visa", "visa", "4242", 12, 2034, "fp")


def check_billed(rig: Rig, answer: Answered, inp: int, cached: int, out: int) -> None:
    """The account paid for exactly these tokens, at 0.20, 0.10 and 0.80 dollars per million."""
    cost = (inp - cached) * 200 + cached * 100 + out * 800
    assert answer.headers["x-purser-cost-usd"] == format_usd(cost)
    assert rig.balance().spent_this_month == cost
    assert rig.balance().credit == 10**9 - cost
    assert rig.balance().held == 0


@pytest.mark.parametrize("prefix", ["/v1", "/inference/v1"])
def test_an_answer_is_passed_on_and_billed_what_the_engine_counted(rig: Rig, prefix: str) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "Hello [[tokens=25]]"}], "max_tokens": 100}
    answer = rig.send(f"{prefix}/chat/completions", body)
    assert answer.status == 200, answer.body
    used = answer.json["usage"]
    assert used["completion_tokens"] == 25
    assert answer.json["model"] == "tiny"
    assert answer.headers["fireworks-prompt-tokens"] == str(used["prompt_tokens"])
    assert answer.headers["fireworks-cached-prompt-tokens"] == "0"
    assert answer.headers["x-request-id"].startswith("req_")
    assert answer.headers["x-ratelimit-limit-requests"] == "6000"
    check_billed(rig, answer, used["prompt_tokens"], 0, 25)
    left = Decimal(answer.headers["x-purser-headroom-usd"])
    assert 0 < left <= Decimal("1") - Decimal(answer.headers["x-purser-cost-usd"])


def test_cached_tokens_cost_their_own_rate(rig: Rig) -> None:
    text = "the same long beginning of a prompt, again and again " * 20
    rig.chat(text, max_tokens=5)
    before = rig.balance().spent_this_month
    answer = rig.chat(text, max_tokens=5)
    used = answer.json["usage"]
    cached = used["prompt_tokens_details"]["cached_tokens"]
    assert cached > 0
    assert answer.headers["fireworks-cached-prompt-tokens"] == str(cached)
    cost = (used["prompt_tokens"] - cached) * 200 + cached * 100 + used["completion_tokens"] * 800
    assert rig.balance().spent_this_month - before == cost


def test_completions_and_embeddings_are_billed_too(rig: Rig) -> None:
    text = rig.send("/v1/completions", {"model": "tiny", "prompt": ["one [[tokens=3]]", "two [[tokens=4]]"]})
    assert text.status == 200, text.body
    spent = rig.balance().spent_this_month
    assert spent == text.json["usage"]["prompt_tokens"] * 200 + 7 * 800
    vectors = rig.send("/v1/embeddings", {"model": "tiny", "input": ["some words", "more words"]})
    assert vectors.status == 200, vectors.body
    assert rig.balance().spent_this_month - spent == vectors.json["usage"]["prompt_tokens"] * 200


def test_the_upstream_sees_its_own_name_for_the_model_and_the_customer_theirs(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        rig.gateway.served["dear"].upstream_model = "tiny"
        answer = rig.chat("hi [[tokens=2]]", model="dear")
        assert answer.json["model"] == "dear"
        assert rig.events()[0].model == "dear"


def test_an_own_request_id_is_served_once(rig: Rig) -> None:
    named = {"x-request-id": "mine-1"}
    first = rig.chat("hi", headers=named, max_tokens=3)
    again = rig.chat("hi", headers=named, max_tokens=3)
    assert (first.status, again.status) == (200, 409)
    assert again.error["code"] == "request_settled"
    assert again.error["cost_usd"] == first.headers["x-purser-cost-usd"]
    assert len(rig.events()) == 1


# ── refusals, in the order of H6 ─────────────────────────────────────────────────────────────────────────────────
def test_a_key_comes_first(rig: Rig) -> None:
    assert rig.send("/v1/chat/completions", b"not json", key=None).status == 401
    wrong = rig.send("/v1/chat/completions", b"not json", key="pk_wrong")
    assert (wrong.status, wrong.error["type"]) == (401, "authentication_error")
    assert wrong.json["request_id"] == wrong.headers["x-request-id"]


def test_a_suspended_account_hears_why_before_its_body_is_read(rig: Rig) -> None:
    rig.write(lambda tx: accounts.suspend(tx, "ada", "BLOCKED_BY_ABUSE_RULE", "odd traffic"))
    answer = rig.send("/v1/chat/completions", b"not json")
    assert (answer.status, answer.error["code"]) == (412, "PRECONDITION_FAILED")
    assert "is suspended" in answer.error["message"]
    assert answer.headers["x-should-retry"] == "false"
    rig.write(lambda tx: accounts.reinstate(tx, "ada"))
    assert rig.eventually(lambda: rig.chat("hi", max_tokens=1).status == 200, 1)


def test_a_closed_account_is_told_so_within_a_second(rig: Rig) -> None:
    """S79: its keys end, with a plain reason, which is told again and again."""
    assert rig.chat("hi", max_tokens=1).status == 200
    rig.write(lambda tx: leaving.close(tx, "ada"))
    assert rig.eventually(lambda: rig.chat("hi", max_tokens=1).status == 401, 1)
    for _ in range(2):
        told = rig.chat("hi", max_tokens=1).error
        assert told["code"] == "invalid_api_key"
        assert "account ada of this API key was closed" in told["message"]
    assert rig.eventually(lambda: rig.write(lambda tx: leaving.finish(tx, "ada"))), "what was leased comes back"


def test_a_revoked_key_is_refused_within_a_second(rig: Rig) -> None:
    assert rig.chat("hi", max_tokens=1).status == 200
    rig.write(lambda tx: access.revoke_key(tx, "ada", None, rig.opened.key_id))
    assert rig.eventually(lambda: rig.chat("hi").status == 401, 1)


def test_the_rate_comes_before_the_body(tmp_path: Path) -> None:
    with running(tmp_path, Policy(requests_per_minute_unverified=3)) as rig:
        found = [rig.send("/v1/chat/completions", b"not json") for _ in range(4)]
        assert [answer.status for answer in found] == [400, 400, 400, 429]
        assert 1 <= int(found[-1].headers["retry-after"]) <= 60
        assert found[-1].headers["x-ratelimit-remaining-requests"] == "0"


HI = [{"role": "user", "content": "Hi"}]
BAD_BODIES: list[tuple[Any, str | None]] = [
    (b"", None),
    (b"[]", None),
    (b'"text"', None),
    (b'{"model": "tiny", "messages": [', None),
    (b'{"model": "tiny", "messages": [], "temperature": NaN}', None),
    (b'{"model": "tiny\xff", "messages": []}', None),
    ({"messages": HI}, "model"),
    ({"model": 7, "messages": HI}, "model"),
    ({"model": "tiny"}, "messages"),
    ({"model": "tiny", "messages": []}, "messages"),
    ({"model": "tiny", "messages": "Hi"}, "messages"),
    ({"model": "tiny", "messages": ["Hi"]}, "messages[0]"),
    ({"model": "tiny", "messages": [{"role": "user", "content": 5}]}, "messages[0].content"),
    ({"model": "tiny", "messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
    ({"model": "tiny", "messages": HI, "max_tokens": 0}, "max_tokens"),
    ({"model": "tiny", "messages": HI, "max_tokens": -1}, "max_tokens"),
    ({"model": "tiny", "messages": HI, "max_tokens": 10**9}, "max_tokens"),
    ({"model": "tiny", "messages": HI, "max_tokens": 1.5}, "max_tokens"),
    ({"model": "tiny", "messages": HI, "max_tokens": True}, "max_tokens"),
    ({"model": "tiny", "messages": HI, "max_completion_tokens": "9"}, "max_completion_tokens"),
    ({"model": "tiny", "messages": HI, "n": 1000}, "n"),
    ({"model": "tiny", "messages": HI, "n": 0}, "n"),
    ({"model": "tiny", "messages": HI, "stream": "yes"}, "stream"),
    ({"model": "tiny", "messages": HI, "stream_options": 1}, "stream_options"),
    ({"model": "tiny", "messages": HI, "chat_template": "{{ x }}"}, "chat_template"),
    (
        b'{"model": "tiny", "messages": [{"role":"user","content":"Hi"}], "max_tokens": 5, "max_tokens": 500}',
        "max_tokens",
    ),
]


@pytest.mark.parametrize(("body", "field"), BAD_BODIES, ids=[str(body)[:60] for body, _ in BAD_BODIES])
def test_a_bad_body_is_400_names_the_field_and_costs_nothing(rig: Rig, body: Any, field: str | None) -> None:
    answer = rig.send("/v1/chat/completions", body)
    assert answer.status == 400, answer.body
    assert answer.error["param"] == field
    assert answer.error["message"]
    assert rig.balance().spent_this_month == 0
    assert rig.balance().held == 0
    assert not rig.events()


def test_an_unknown_model_is_404(rig: Rig) -> None:
    answer = rig.chat("hi", model="nope")
    assert (answer.status, answer.error["code"]) == (404, "model_not_found")


def test_a_prompt_of_ten_megabytes_is_answered_without_harm(rig: Rig) -> None:
    answer = rig.chat("x" * 10_000_000, max_tokens=1)
    assert answer.status in (400, 402), answer.body[:300]
    assert rig.balance().held == 0
    assert rig.chat("hi", max_tokens=1).status == 200


# ── money ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_does_not_fit_is_402_and_says_what_would(rig: Rig) -> None:
    answer = rig.chat("x" * 8000, model="dear", max_tokens=2000, n=20, headers={"x-purser-fit": "refuse"})
    assert answer.status == 402, answer.body
    error = answer.error
    assert (error["code"], error["cause"]) == ("insufficient_headroom", "CREDIT")
    assert error["headroom_usd"] == "1.00"
    assert Decimal(error["hold_usd"]) > 1
    assert 0 < error["affordable_output_tokens"] < 2000
    assert error["resolve_url"] == f"http://127.0.0.1:{rig.port}/dashboard"
    assert answer.headers["x-should-retry"] == "false"
    fits = rig.chat("x" * 8000, model="dear", max_tokens=error["affordable_output_tokens"], n=20)
    assert fits.status == 200, fits.body


def test_a_cap_is_fitted_to_what_is_left(rig: Rig) -> None:
    answer = rig.chat("hi [[tokens=2000]]", model="dear", max_tokens=2000, n=10)
    assert answer.status == 200, answer.body
    cap = int(answer.headers["x-purser-max-tokens"])
    assert 16 <= cap < 2000
    assert [entry["max_tokens"] for entry in engine_log(rig)] == [cap]
    assert rig.balance().credit >= 0


def test_a_request_without_a_cap_takes_at_most_half(tmp_path: Path) -> None:
    with running(tmp_path, models=None) as rig:
        rig.write(lambda tx: pricing.publish(tx, {"dear": {"input": "20.00", "output": "600.00"}}))
        answer = rig.chat("hi", model="dear")
        assert answer.status == 200, answer.body
        assert int(answer.headers["x-purser-max-tokens"]) * 600_000 <= 500_000_000


def test_an_engine_that_ignores_the_cap_is_the_operators_cost(rig: Rig) -> None:
    answer = rig.chat("hi [[tokens=500]]", max_tokens=20, n=3, headers={"x-model-fail": "ignore-cap=500"})
    assert answer.status == 200
    used = answer.json["usage"]
    assert used["completion_tokens"] == 1500
    check_billed(rig, answer, used["prompt_tokens"], 0, 3 * 20)
    event = rig.events()[0]
    assert usage_of(event) == {"input_tokens": used["prompt_tokens"], "output_tokens": 60}, "an invoice can show this"
    assert event.clamped == 0
    counted = rig.on_loop(lambda: (rig.gateway.counters.clamped, rig.gateway.counters.clamped_nanos))
    assert counted == (1, (1500 - 60) * 800)


def test_a_dollar_is_spent_to_the_last_tenth_of_a_cent_by_64_clients_and_never_exceeded(rig: Rig) -> None:
    statuses: list[int] = []

    def client() -> None:
        for model_name in ("dear", "tiny"):
            for _ in range(200):
                answer = rig.chat("burn it down [[tokens=60]]", model=model_name, max_tokens=60)
                statuses.append(answer.status)
                if answer.status != 200:
                    break

    clients = [threading.Thread(target=client) for _ in range(64)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    balance = rig.balance()
    assert set(statuses) <= {200, 402, 412}
    assert 980_000_000 <= balance.spent_this_month <= 1_000_000_000
    assert balance.credit == 1_000_000_000 - balance.spent_this_month
    assert balance.held == 0
    assert statuses.count(200) == len(rig.events())
    assert sum(event.cost for event in rig.events()) == balance.spent_this_month


def burn(rig: Rig) -> int:
    """Spend what there is, with a dear model first and then a cheap one; answers the status that ends it."""
    for name in ("dear", "tiny"):
        for _ in range(100):
            status = rig.chat("burn [[tokens=400]]", model=name, max_tokens=400).status
            if status != 200:
                break
    return rig.chat("burn [[tokens=400]]", max_tokens=400).status


def test_a_card_brings_a_depleted_account_back_within_a_second(rig: Rig) -> None:
    assert burn(rig) == 412
    rig.write(lambda tx: payments.add_method(tx, "ada", VISA))
    assert rig.eventually(lambda: rig.chat("hi", max_tokens=5).status == 200, 1)


def test_the_monthly_limit_holds_exactly(rig: Rig) -> None:
    rig.write(lambda tx: payments.add_method(tx, "ada", VISA))
    rig.write(lambda tx: accounts.set_limit(tx, "ada", "1"))
    assert burn(rig) == 412
    assert 999_000_000 <= rig.balance().spent_this_month <= 1_000_000_000
    refused = rig.chat("hi").error["message"]
    assert "MONTHLY_SPEND_LIMIT_EXCEEDED" in refused
    rig.write(lambda tx: accounts.set_limit(tx, "ada", "2"))
    assert rig.eventually(lambda: rig.chat("hi", max_tokens=5).status == 200, 1)


def test_new_prices_hold_from_the_next_request_on(rig: Rig) -> None:
    rig.chat("hi", max_tokens=5)
    rig.write(lambda tx: pricing.publish(tx, {"tiny": {"input": "2.00", "output": "8.00"}}))
    assert rig.eventually(
        lambda: (
            (answer := rig.chat("hi [[tokens=5]]", max_tokens=5)).json["usage"]["completion_tokens"] == 5
            and rig.events()[-1].version == 2
            and answer.status == 200
        ),
        1,
    )


def test_a_grant_is_there_at_once(rig: Rig) -> None:
    assert burn(rig) == 412
    rig.write(lambda tx: credits.give_credit(tx, "ada", 5_000_000_000))
    assert rig.eventually(lambda: rig.chat("hi", max_tokens=5).status == 200, 1)


# ── quotes and models ────────────────────────────────────────────────────────────────────────────────────────────
def test_a_quote_says_what_the_request_would_hold_and_takes_nothing(rig: Rig) -> None:
    body = {"model": "tiny", "messages": [{"role": "user", "content": "x" * 500}], "max_tokens": 1000}
    quote = rig.send("/v1/quote", {"path": "/v1/chat/completions", "body": body}).json
    assert quote["holdUsd"] == "0.000916"
    assert quote["admitted"] is True
    assert quote["affordableOutputTokens"] == 1000
    assert quote["priceVersion"] == 1
    assert quote["headroomUsd"] == "1.00"
    assert rig.balance().spent_this_month == 0
    dear = rig.send("/v1/quote", {"path": "chat/completions", "body": {**body, "model": "dear", "n": 100}}).json
    assert dear["admitted"] is True or dear["cause"] == "CREDIT"
    assert rig.send("/v1/quote", {"path": "/v1/images", "body": body}).status == 400
    assert rig.send("/v1/quote", {"path": "/v1/chat/completions", "body": {"model": "nope"}}).status == 404


def test_models_are_listed_and_found_by_name(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        listed = rig.send("/v1/models", None, method="GET").json
        assert [entry["id"] for entry in listed["data"]] == ["tiny", "dear"]
        assert rig.send("/v1/models/tiny", None, method="GET").json["id"] == "tiny"
        assert rig.send("/v1/models/some/path", None, method="GET").status == 404
        assert rig.send("/v1/models", None, method="POST").status == 405
        assert rig.send("/v1/chat/completions", None, method="GET").status == 405
        assert rig.send("/verifyApiKey", None, method="GET").json["account"] == "ada"


# ── upstream trouble ─────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize(
    ("directive", "status"),
    [
        ("status=500", 500),
        ("status=400", 400),
        ("status=408", 408),
        ("status=429", 429),
        ("refuse", 502),
        ("hang", 504),
        ("truncate", 502),
        ("garbage", 502),
        ("huge=40", 502),
    ],
)
def test_an_upstream_that_fails_bills_nothing(rig: Rig, directive: str, status: int) -> None:
    answer = rig.chat("hi", max_tokens=5, headers={"x-model-fail": directive})
    assert answer.status == status, answer.body[:300]
    assert "error" in answer.json
    assert rig.balance().spent_this_month == 0
    assert rig.balance().held == 0
    assert rig.chat("hi", max_tokens=5).status == 200


def test_missing_usage_is_estimated_low_and_marked(rig: Rig) -> None:
    answer = rig.chat("x" * 800 + " [[tokens=50]]", max_tokens=50, headers={"x-model-fail": "no-usage"})
    assert answer.status == 200
    event = rig.events()[0]
    assert event.estimated == 1
    text = answer.json["choices"][0]["message"]["content"]
    assert usage_of(event) == {"input_tokens": (800 + 14) // 8, "output_tokens": len(text.encode()) // 8}


def usage_of(event: Any) -> dict[str, int]:
    """An event's quantities."""
    return dict(json.loads(event.quantities))


@pytest.mark.parametrize("kind", ["negative", "cached", "huge", "string"])
def test_usage_that_contradicts_itself_is_quarantined_and_free(rig: Rig, kind: str) -> None:
    answer = rig.chat("hi", max_tokens=5, headers={"x-model-fail": f"bad-usage={kind}"})
    assert answer.status == 200
    event = rig.events()[0]
    assert (event.state, event.cost) == ("quarantined", 0)
    assert rig.on_loop(lambda: rig.gateway.counters.quarantined) == 1
    assert rig.balance().spent_this_month == 0


def test_the_next_upstream_is_tried_before_a_first_byte(tmp_path: Path) -> None:
    with running(tmp_path, engines=2) as rig:
        rig.engines[0].switch.set("refuse", None)
        found = [rig.chat("hi", max_tokens=3).status for _ in range(6)]
        assert found == [200] * 6
        rig.engines[0].switch.set("status=503", None)
        assert [rig.chat("hi", max_tokens=3).status for _ in range(6)] == [200] * 6
        assert len(rig.events()) == 12


def test_an_upstream_that_is_not_there_is_502(tmp_path: Path) -> None:
    with running(tmp_path, models=(model("tiny", ("http://127.0.0.1:9/v1",)),)) as rig:
        answer = rig.chat("hi")
        assert (answer.status, answer.error["code"]) == (502, "upstream_unreachable")
        assert rig.balance().held == 0
