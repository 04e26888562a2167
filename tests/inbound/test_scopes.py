"""Scopes of service accounts: who grants them, what they open; and the last admin, who stays one (X2, interface §5)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.inbound.house import Client, House

USERS = "/v1/accounts/ada/users"


def event(id_: str, account: str = "ada") -> dict[str, Any]:
    return {"id": id_, "account": account, "model": "tiny", "quantities": {"input_tokens": 1_000}}


def meter(house: House, account: str = "ada") -> Client:
    """The key of a service account with the scope, which the operator made."""
    body = {"serviceAccount": True, "scopes": ["metering"]}
    made = house.operator.post(f"/v1/accounts/{account}/users?userId=meter", body)
    assert made.json["scopes"] == ["metering"]
    key = house.operator.post(f"/v1/accounts/{account}/users/meter/apiKeys", {}).json["key"]
    return replace(house.operator, key=key)


def test_a_service_account_with_the_scope_reports_usage_of_its_own_account(house: House) -> None:
    house.open("ada")
    client = meter(house)
    assert client.post("/v1/usage", event("e1")).json == {"accepted": 1, "duplicates": 0, "rejected": []}
    assert client.post("/v1/usage", event("e1")).json["duplicates"] == 1
    assert house.balance("ada")["spentThisMonthUsd"] == "0.000200000"


def test_another_account_does_not_exist_for_it(house: House) -> None:
    house.open("ada")
    house.open("bob")
    client = meter(house)
    for account in ("bob", "nobody"):
        alone = client.post("/v1/usage", event("e1", account))
        assert (alone.status, alone.json["detail"]) == (404, f"there is no account '{account}'")
    listed = client.post("/v1/usage", [event("e1", "bob"), event("e2"), event("e3", "nobody")]).json
    assert listed["accepted"] == 1
    assert [(row["index"], row["error"]["code"], row["error"]["field"]) for row in listed["rejected"]] == [
        (0, "NOT_FOUND", "account"),
        (2, "NOT_FOUND", "account"),
    ]
    assert house.balance("bob")["spentThisMonthUsd"] == "0.000000000"


def test_its_calls_count_toward_the_rate_and_the_operators_do_not(house: House) -> None:
    house.open("ada")
    client = meter(house)
    house.wait_seconds = 5
    assert client.post("/v1/usage", event("e1")).status == 429
    assert house.operator.post("/v1/usage", event("e1")).status == 200


def test_no_other_key_of_the_account_reports_usage(house: House) -> None:
    ada = house.open("ada")
    plain = house.member("ada", "bot", "admin")
    for client in (ada, plain):
        answer = client.post("/v1/usage", event("e1"))
        assert (answer.status, answer.json["code"]) == (403, "PERMISSION_DENIED")
        assert "scope metering" in answer.json["detail"]


def test_only_the_operator_grants_a_scope_and_an_admin_may_take_it_away(house: House) -> None:
    ada = house.open("ada")
    refused = ada.post(f"{USERS}?userId=meter", {"serviceAccount": True, "scopes": ["metering"]})
    assert (refused.status, refused.json["errors"][0]["field"]) == (403, "scopes")
    assert ada.get(f"{USERS}/meter").status == 404
    client = meter(house)
    assert ada.patch(f"{USERS}/meter", {"scopes": ["metering"], "displayName": "x"}).json["scopes"] == ["metering"]
    assert ada.patch(f"{USERS}/meter", {"scopes": []}).json["scopes"] == []
    assert client.post("/v1/usage", event("e1")).status == 403
    assert ada.patch(f"{USERS}/meter", {"scopes": ["metering"]}).status == 403
    assert house.operator.patch(f"{USERS}/meter", {"scopes": ["metering"]}).status == 200
    assert client.post("/v1/usage", event("e1")).status == 200


@pytest.mark.parametrize(
    "body",
    [
        {"scopes": ["metering"]},
        {"scopes": ["metering"], "serviceAccount": False},
        {"scopes": ["holding"], "serviceAccount": True},
        {"scopes": ["metering", "metering"], "serviceAccount": True},
        {"scopes": "metering", "serviceAccount": True},
        {"scopes": [1], "serviceAccount": True},
    ],
)
def test_a_scope_that_cannot_be(house: House, body: dict[str, Any]) -> None:
    house.open("ada")
    answer = house.operator.post(f"{USERS}?userId=meter", body)
    assert answer.status == 400
    assert answer.json["errors"][0]["field"].startswith("scopes")


def test_what_is_no_field_is_refused_not_dropped(house: House) -> None:
    ada = house.open("ada")
    for method, path, body in [
        ("POST", f"{USERS}?userId=bob", {"user": {"role": "admin"}}),
        ("POST", f"{USERS}?userId=bob", {"role": "user", "colour": "red"}),
        ("PATCH", f"{USERS}/owner", {"displayName": "x", "colour": "red"}),
        ("POST", f"{USERS}/owner/apiKeys", {"scopes": ["metering"]}),
        ("POST", f"{USERS}/owner/apiKeys", {"apiKey": {"displayName": "x", "scopes": ["metering"]}}),
        ("POST", "/v1/accounts/ada/apiKeys", {"colour": "red"}),
    ]:
        answer = ada.call(method, path, body)
        assert (answer.status, answer.json["code"]) == (400, "INVALID_ARGUMENT"), (path, body)
        assert "is not a field here; known: " in answer.json["detail"]
    assert {user["id"] for user in ada.get(USERS).json["users"]} == {"owner"}


def test_what_the_compatible_client_sends_is_taken(house: House) -> None:
    ada = house.open("ada")
    whole = {"role": "user", "displayName": "Bot", "email": "bot@example.com", "serviceAccount": True}
    assert ada.post(f"{USERS}?userId=bot", whole).json.items() >= whole.items()
    changed = whole | {"role": "contributor", "email": "other@example.com"}
    assert ada.patch(f"{USERS}/bot", changed).json.items() >= changed.items()
    person = ada.patch(f"{USERS}/bot", changed | {"serviceAccount": False})
    assert (person.status, person.json["errors"][0]["field"]) == (400, "serviceAccount")
    key = {"apiKey": {"displayName": "ci", "expireTime": "2027-01-01T00:00:00Z"}}
    assert ada.post(f"{USERS}/bot/apiKeys", key).status == 200


# ── the last admin ───────────────────────────────────────────────────────────────────────────────────────────────
def test_the_last_admin_stays_one(house: House) -> None:
    ada = house.open("ada")
    for client in (ada, house.operator):
        answer = client.patch(f"{USERS}/owner", {"role": "user", "displayName": "x"})
        assert (answer.status, answer.json["code"]) == (409, "FAILED_PRECONDITION")
        assert "owner is the only admin of account ada" in answer.json["detail"]
    assert ada.get(f"{USERS}/owner").json["displayName"] == ""
    assert ada.patch(f"{USERS}/owner", {"role": "admin"}).status == 200


def test_one_of_two_admins_may_step_down(house: House) -> None:
    ada = house.open("ada")
    other = house.member("ada", "bob", "admin")
    assert ada.patch(f"{USERS}/owner", {"role": "user"}).json["role"] == "user"
    assert ada.patch(f"{USERS}/owner", {"role": "admin"}).status == 403
    assert other.patch(f"{USERS}/bob", {"role": "user"}).status == 409
    assert other.patch(f"{USERS}/owner", {"role": "admin"}).status == 200
