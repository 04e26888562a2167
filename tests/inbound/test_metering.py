"""Usage reported after the fact: billed once for ever, whatever it comes in (H7, C2, C3)."""

from __future__ import annotations

from typing import Any

import pytest

from tests.inbound.house import House

BATCH = {"content-type": "application/cloudevents-batch+json"}
SINGLE = {"content-type": "application/cloudevents+json"}


def event(id_: str, account: str = "ada", **more: Any) -> dict[str, Any]:
    quantities = {"input_tokens": 1_000, "output_tokens": 10}
    return {"id": id_, "account": account, "model": "tiny", "quantities": quantities, **more}


def cloud_event(id_: str, **more: Any) -> dict[str, Any]:
    return {
        "specversion": "1.0",
        "id": id_,
        "source": "/engines/1",
        "type": "com.example.usage",
        "subject": "ada",
        "time": "2026-03-01T09:00:00Z",
        "data": {"model": "tiny", "quantities": {"input_tokens": 1_000}},
        **more,
    }


def test_one_event_is_billed_once(house: House) -> None:
    house.open("ada")
    first = house.operator.post("/v1/usage", event("e1"))
    assert first.json == {"accepted": 1, "duplicates": 0, "rejected": []}
    again = house.operator.post("/v1/usage", event("e1"))
    assert again.json == {"accepted": 0, "duplicates": 1, "rejected": []}
    assert house.balance("ada")["spentThisMonthUsd"] == "0.000208000"


@pytest.mark.parametrize("time", [None, "2026-03-01T09:00:00Z"])
def test_a_known_id_with_another_body_is_a_conflict(house: House, time: str | None) -> None:
    house.open("ada")
    more = {} if time is None else {"occurredAt": time}
    house.operator.post("/v1/usage", event("e1", **more))
    other = event("e1", **more) | {"quantities": {"input_tokens": 5}}
    answer = house.operator.post("/v1/usage", other)
    assert (answer.status, answer.json["code"]) == (409, "ALREADY_EXISTS")
    assert answer.headers["content-type"] == "application/problem+json"
    (rejected,) = answer.json["rejected"]
    assert (rejected["index"], rejected["id"], rejected["error"]["code"]) == (0, "e1", "ALREADY_EXISTS")
    listed = house.operator.post("/v1/usage", [event("e2"), other])
    assert listed.status == 200
    assert (listed.json["accepted"], [row["index"] for row in listed.json["rejected"]]) == (1, [1])
    assert house.operator.post("/v1/usage", [other]).status == 409
    assert house.balance("ada")["spentThisMonthUsd"] == "0.000416000"


def test_whose_usage_it_is_belongs_to_the_body(house: House) -> None:
    house.open("ada")
    assert house.operator.post("/v1/usage", event("e1", user="bob")).json["accepted"] == 1
    assert house.operator.post("/v1/usage", event("e1", user="bob")).json["duplicates"] == 1
    for other in (event("e1"), event("e1", user="cyd")):
        assert house.operator.post("/v1/usage", other).status == 409


def test_a_retry_without_a_time_is_a_duplicate_even_later(house: House) -> None:
    house.open("ada")
    house.operator.post("/v1/usage", event("e1"))
    house.advance("2026-03-05T00:00:00Z")
    assert house.operator.post("/v1/usage", event("e1")).json["duplicates"] == 1


def test_what_is_wrong_in_a_list_undoes_nothing_else(house: House) -> None:
    house.open("ada")
    events = [
        event("e1"),
        event("e2", account="nobody"),
        event("e3", model="none"),
        event("e4") | {"quantities": {"input_tokens": -1}},
        event("e5", occurredAt="2026-03-09T00:00:00Z"),
        event("e6", occurredAt="yesterday"),
        event("e1"),
        "not an event",
        {"account": "ada"},
        event("e7", colour="red"),
        event("e8") | {"quantities": {"output_tokens": 10**12}},
        event("e9"),
    ]
    answer = house.operator.post("/v1/usage", events).json
    assert (answer["accepted"], answer["duplicates"]) == (3, 1)
    errors = {row["index"]: (row["id"], row["error"]["code"], row["error"].get("field")) for row in answer["rejected"]}
    assert errors == {
        1: ("e2", "NOT_FOUND", "account"),
        2: ("e3", "NOT_FOUND", "model"),
        3: ("e4", "INVALID_ARGUMENT", "quantities.input_tokens"),
        4: ("e5", "INVALID_ARGUMENT", "occurredAt"),
        5: ("e6", "INVALID_ARGUMENT", "occurredAt"),
        7: (None, "INVALID_ARGUMENT", None),
        8: (None, "INVALID_ARGUMENT", "id"),
        9: ("e7", "INVALID_ARGUMENT", "colour"),
    }
    assert house.audit() == []


def test_more_than_an_account_can_owe_is_refused(house: House) -> None:
    house.open("ada")
    house.operator.post("/operator/v1/prices", {"models": {"dear": {"input": "1000000.00", "output": "1.00"}}})
    body = event("e1", model="dear") | {"quantities": {"input_tokens": 10**12}}
    answer = house.operator.post("/v1/usage", body)
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "quantities")
    for n in range(6):
        house.operator.post("/v1/usage", event(f"m{n}", model="dear") | {"quantities": {"input_tokens": 10**9}})
    assert house.operator.get("/v1/accounts/ada/balance").status == 200
    assert house.audit() == []


def test_a_list_of_a_thousand_is_the_most(house: House) -> None:
    house.open("ada")
    events = [event(f"e{n}") for n in range(1_001)]
    refused = house.operator.post("/v1/usage", events)
    assert refused.status == 400
    assert "1,000" in refused.json["detail"]
    assert house.operator.post("/v1/usage", []).status == 400
    assert house.operator.post("/v1/usage", events[:1_000]).json["accepted"] == 1_000
    assert house.balance("ada")["spentThisMonthUsd"] == "0.208000000"


def test_cloud_events_singly_and_in_batches(house: House) -> None:
    house.open("ada")

    def send(body: Any, headers: dict[str, str]) -> Any:
        return house.operator.post("/v1/usage", body, headers).json

    assert send(cloud_event("c1"), SINGLE)["accepted"] == 1
    assert send(cloud_event("c1"), SINGLE)["duplicates"] == 1
    batch = [cloud_event("c1"), cloud_event("c2"), cloud_event("c1", source="/engines/2"), cloud_event("c3", type="")]
    answer = send(batch, BATCH)
    assert (answer["accepted"], answer["duplicates"]) == (2, 1)
    assert answer["rejected"][0]["error"]["field"] == "type"
    named = cloud_event("c4", subject="someone", data={"account": "ada", "model": "tiny", "quantities": {}})
    assert send([named], BATCH)["rejected"][0]["error"]["field"] == "data.quantities"
    assert house.balance("ada")["spentThisMonthUsd"] == "0.000600000"


# ── CloudEvents in HTTP's binary mode: the attributes are headers, the body is the data ──────────────────────────────
USED = {"model": "tiny", "quantities": {"input_tokens": 1_000}}


def attributes(id_: str, **more: str) -> dict[str, str]:
    named = {"specversion": "1.0", "id": id_, "source": "/engines/1", "type": "com.example.usage", "subject": "ada"}
    return {f"ce-{name}": value for name, value in {**named, "time": "2026-03-01T09:00:00Z", **more}.items()}


def test_a_cloud_event_in_binary_mode_is_the_same_event_as_in_structured_mode(house: House) -> None:
    house.open("ada")
    assert house.operator.post("/v1/usage", USED, attributes("b1")).json["accepted"] == 1
    assert house.operator.post("/v1/usage", USED, attributes("b1")).json["duplicates"] == 1
    assert house.operator.post("/v1/usage", cloud_event("b1"), SINGLE).json["duplicates"] == 1
    assert house.operator.post("/v1/usage", USED, attributes("b1", source="/engines/2")).json["accepted"] == 1
    named = {**USED, "account": "ada"}
    assert house.operator.post("/v1/usage", named, attributes("b2", subject="someone")).json["accepted"] == 1
    assert house.operator.post("/v1/usage", USED, attributes("b1", time="2026-03-01T08:00:00Z")).status == 409
    assert house.balance("ada")["spentThisMonthUsd"] == "0.000600000"


def test_attributes_in_headers_are_percent_encoded_and_may_be_quoted(house: House) -> None:
    house.open("ada")
    sent = attributes("%E2%82%AC%201", source='"/engines/\\"a\\""')
    assert house.operator.post("/v1/usage", USED, sent).json["accepted"] == 1
    same = cloud_event("€ 1", source='/engines/"a"')
    assert house.operator.post("/v1/usage", same, SINGLE).json["duplicates"] == 1


def test_a_structured_event_is_not_disturbed_by_such_headers(house: House) -> None:
    house.open("ada")
    assert house.operator.post("/v1/usage", cloud_event("b1"), SINGLE | {"ce-id": "b2"}).json["accepted"] == 1
    assert house.operator.post("/v1/usage", USED, attributes("b2")).json["accepted"] == 1


@pytest.mark.parametrize(
    "more, body, field",
    [
        ({"ce-specversion": "0.3"}, USED, "specversion"),
        ({"ce-type": ""}, USED, "type"),
        ({"ce-id": ""}, USED, "id"),
        ({"ce-id": "%00"}, USED, "id"),
        ({"ce-id": "%ff"}, USED, "ce-id"),
        ({"ce-time": "yesterday"}, USED, "time"),
        ({"ce-data_base64": "e30="}, USED, "data"),
        ({}, [USED], "data"),
        ({}, None, "data"),
        ({}, {**USED, "colour": "red"}, "data.colour"),
    ],
)
def test_what_is_wrong_in_binary_mode_is_named(house: House, more: dict[str, str], body: Any, field: str) -> None:
    house.open("ada")
    answer = house.operator.post("/v1/usage", body, attributes("b1") | more)
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, field), answer.text


def test_one_key_for_two_events_that_differ_in_their_headers_alone_is_a_conflict(house: House) -> None:
    """C7: what tells the events apart belongs to the request, wherever it stands."""
    house.open("ada")
    key = {"idempotency-key": "k1"}
    assert house.operator.post("/v1/usage", USED, attributes("b1") | key).json["accepted"] == 1
    assert house.operator.post("/v1/usage", USED, attributes("b1") | key).json["accepted"] == 1
    assert house.operator.post("/v1/usage", USED, attributes("b2") | key).status == 409
    assert house.balance("ada")["spentThisMonthUsd"] == "0.000200000"


def test_sources_with_slashes_do_not_meet(house: House) -> None:
    house.open("ada")
    for source, id_ in (("a", "b/c"), ("a/b", "c"), ("a%2Fb", "c")):
        answer = house.operator.post("/v1/usage", cloud_event(id_, source=source), SINGLE)
        assert answer.json["accepted"] == 1
    assert house.audit() == []


def test_usage_is_billed_past_the_limit_and_then_suspends(house: House) -> None:
    """H7."""
    house.open("ada")
    house.card("ada")
    house.spend("ada", 80, "e1")
    assert house.balance("ada")["outstandingUsd"] == "79.00"
    assert house.account("ada")["suspendState"] == "MONTHLY_SPEND_LIMIT_EXCEEDED"
    house.spend("ada", 1, "e2")
    assert house.balance("ada")["outstandingUsd"] == "80.00"


def test_a_customers_key_does_not_report_usage(house: House) -> None:
    ada = house.open("ada")
    answer = ada.post("/v1/usage", event("e1"))
    assert (answer.status, answer.json["code"]) == (403, "PERMISSION_DENIED")
    assert house.nobody.post("/v1/usage", event("e1")).status == 401


def test_a_list_past_the_limit_suspends_every_account_in_it(house: House) -> None:
    house.open("ada")
    house.open("bob")
    used = {"model": "dollar", "quantities": {"input_tokens": 600_000}}
    events = [event(f"e{n}", account=account) | used for n in range(2) for account in ("ada", "bob")]
    assert house.operator.post("/v1/usage", events).json["accepted"] == 4
    for account in ("ada", "bob"):
        assert house.account(account)["suspendState"] == "CREDIT_DEPLETED"
