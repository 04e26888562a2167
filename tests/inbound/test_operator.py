"""The operator's routes: accounts opened, credit given, blocks, prices, and the books looked into."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.inbound.house import House

PATH = "/operator/v1/accounts"


def test_opening_an_account_gives_its_owner_a_key(house: House) -> None:
    body = {"id": "ada", "email": "ada@example.com", "displayName": "Ada", "signupCreditUsd": "2.50"}
    opened = house.operator.post(PATH, body)
    assert opened.status == 201
    assert (opened.json["account"], opened.json["user"]) == ("ada", "owner")
    me = replace(house.operator, key=opened.json["apiKey"]["key"]).get("/v1/me").json
    assert me == {
        "account": "ada",
        "user": "owner",
        "role": "admin",
        "keyId": opened.json["apiKey"]["keyId"],
        "operator": False,
        "expireTime": None,
    }
    assert house.balance("ada")["creditUsd"] == "2.50"
    assert house.operator.get(f"{PATH}/ada").json == house.account("ada") | {"flags": []}


@pytest.mark.parametrize("id_", ["ab", "UPPER", "a b", "x" * 64, "", "ä-account", "a/b"])
def test_an_account_id_has_a_fixed_shape(house: House, id_: str) -> None:
    answer = house.operator.post(PATH, {"id": id_, "email": "a@example.com"})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "id")


def test_promotional_and_purchased_credit(house: House) -> None:
    """A11: only money received is historical spend."""
    house.open("ada")
    gift = house.operator.post(f"{PATH}/ada/grants", {"amountUsd": "60.00", "expiresAt": "2026-04-01T00:00:00Z"})
    assert (gift.json["kind"], gift.json["remainingUsd"], "receipt" in gift.json) == ("promotional", "60.00", False)
    assert house.account("ada")["historicalSpendUsd"] == "0.00"
    bought = house.operator.post(f"{PATH}/ada/grants", {"amountUsd": "60.00", "kind": "purchased"}).json
    assert bought["allocation"] == [{"to": "credit", "amountUsd": "60.00"}]
    shown = house.account("ada")
    assert (shown["historicalSpendUsd"], shown["tier"]) == ("60.00", 2)
    (receipt,) = house.operator.get("/v1/accounts/ada/receipts").json["receipts"]
    assert (receipt["id"], receipt["amountUsd"], receipt["payment"]) == (bought["receipt"], "60.00", None)
    assert house.balance("ada")["creditUsd"] == "121.00"
    house.advance("2026-04-01T00:00:00Z")
    assert house.balance("ada")["creditUsd"] == "61.00"
    lapsed = {row["lapsedUsd"] for row in house.operator.get("/v1/accounts/ada/credits").json["credits"]}
    assert lapsed == {"0.00", "60.00"}
    assert house.audit() == []


def test_more_credit_than_an_account_can_hold_is_refused(house: House) -> None:
    house.open("ada")
    most = {"amountUsd": "4600000000.00"}
    assert house.operator.post(f"{PATH}/ada/grants", most).status == 200
    answer = house.operator.post(f"{PATH}/ada/grants", most)
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "amountUsd")
    assert house.audit() == []


def test_a_block_and_its_end(house: House) -> None:
    house.open("ada")
    blocked = house.operator.post(f"{PATH}/ada:suspend", {"cause": "BLOCKED_BY_ABUSE_RULE", "reason": "spam"}).json
    assert blocked["suspendState"] == "BLOCKED_BY_ABUSE_RULE"
    assert blocked["suspensionCauses"][0]["why"] == "spam"
    assert house.operator.post(f"{PATH}/ada:reinstate").json["suspendState"] == "UNSUSPENDED"
    assert house.operator.post(f"{PATH}/ada:reinstate").status == 409


def test_derived_causes_are_lifted_by_facts_alone(house: House) -> None:
    house.open("ada")
    house.spend("ada", 2, "e1")
    for body in (None, {"cause": "CREDIT_DEPLETED"}):
        answer = house.operator.post(f"{PATH}/ada:reinstate", body)
        assert (answer.status, answer.json["code"]) == (409, "FAILED_PRECONDITION")
        assert "payment method" in answer.json["detail"]
    refused = house.operator.post(f"{PATH}/ada:suspend", {"cause": "CREDIT_DEPLETED", "reason": "x"})
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, "cause")


def test_a_block_lifted_leaves_the_other_causes(house: House) -> None:
    """U1, S25."""
    house.open("ada")
    house.spend("ada", 2, "e1")
    house.operator.post(f"{PATH}/ada:suspend", {"reason": "spam"})
    shown = house.account("ada")
    assert shown["suspendState"] == "BLOCKED_BY_ABUSE_RULE"
    assert {cause["cause"] for cause in shown["suspensionCauses"]} == {"BLOCKED_BY_ABUSE_RULE", "CREDIT_DEPLETED"}
    assert house.operator.post(f"{PATH}/ada:reinstate").json["suspendState"] == "CREDIT_DEPLETED"


def test_prices_are_published_in_versions(house: House) -> None:
    before = house.operator.get("/operator/v1/prices").json
    assert before["models"]["tiny"] == {"input": "0.20", "cached_input": "0.10", "output": "0.80"}
    new = {"models": {"tiny": {"input": "0.30", "cached_input": "0.0125", "output": "0.90"}}}
    published = house.operator.post("/operator/v1/prices", new).json
    assert published["version"] == before["version"] + 1
    after = house.operator.get("/operator/v1/prices").json
    assert after["models"]["tiny"] == new["models"]["tiny"]
    assert after["models"]["dollar"] == before["models"]["dollar"]
    assert [book["version"] for book in after["versions"]] == [2, 1]


def test_prices_may_come_into_force_later(house: House) -> None:
    house.open("ada")
    body = {"models": {"dollar": {"input": "2.00", "output": "2.00"}}, "effectiveAt": "2026-03-10T00:00:00Z"}
    assert house.operator.post("/operator/v1/prices", body).json["effectiveAt"] == "2026-03-10T00:00:00Z"
    house.spend("ada", 1, "e1")
    house.advance("2026-03-11T00:00:00Z")
    house.spend("ada", 1, "e2")
    house.spend("ada", 1, "e3", occurredAt="2026-03-05T00:00:00Z")
    assert house.balance("ada")["spentThisMonthUsd"] == "4.000000000"


@pytest.mark.parametrize(
    "models, field",
    [
        ({}, "models"),
        ({"m": {}}, "prices.m.input"),
        ({"m": {"input": 0.2, "output": "1"}}, "prices.m.input"),
        ({"m": {"input": "-1", "output": "1"}}, "prices.m.input"),
        ({"m": {"input": "1", "output": "1", "colour": "1"}}, "prices.m"),
        ({"m": "free"}, "prices.m"),
        ({"": {"input": "1", "output": "1"}}, "models"),
        ({"a\nb": {"input": "1", "output": "1"}}, "models"),
    ],
)
def test_prices_that_are_not_whole_are_refused(house: House, models: object, field: str) -> None:
    """P1."""
    answer = house.operator.post("/operator/v1/prices", {"models": models})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, field)
    assert house.operator.get("/operator/v1/prices").json["version"] == 1


def test_the_audit_names_every_invariant_it_checked(house: House) -> None:
    house.open("ada")
    house.spend("ada", 1, "e1")
    found = house.operator.post("/operator/v1/audit").json
    assert found["violations"] == []
    names = {check["name"] for check in found["checks"]}
    assert {"B1", "D1"} <= names
    assert sum(check["rows"] for check in found["checks"]) > 0


def test_leases_list_the_open_writer(house: House) -> None:
    listed = house.operator.get("/operator/v1/leases").json
    assert [writer["state"] for writer in listed["writers"]] == ["open"]
    assert listed["leases"] == []
