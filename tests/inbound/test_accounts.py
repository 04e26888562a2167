"""Accounts, users and keys through the control plane (X2, U1)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.inbound.house import House


def test_an_account_as_its_owner_sees_it(house: House) -> None:
    ada = house.open("ada", displayName="Ada")
    assert ada.get("/v1/accounts/ada").json == {
        "name": "accounts/ada",
        "id": "ada",
        "displayName": "Ada",
        "email": "ada@example.com",
        "state": "READY",
        "suspendState": "UNSUSPENDED",
        "suspensionCauses": [],
        "tier": 0,
        "billingMode": "postpaid",
        "accountType": "ACCOUNT_TYPE_UNSPECIFIED",
        "hasPaymentMethod": False,
        "historicalSpendUsd": "0.00",
        "createTime": "2026-03-01T09:00:00Z",
        "updateTime": "2026-03-01T09:00:00Z",
        "nextBillingMode": None,
        "closingAt": None,
        "closedAt": None,
    }
    assert ada.get("/v1/me").json["role"] == "admin"
    assert house.operator.get("/v1/me").json["operator"] is True


def test_an_owner_lists_their_own_account_and_the_operator_all(house: House) -> None:
    ada = house.open("ada")
    house.open("bob")
    own = ada.get("/v1/accounts").json
    assert [row["id"] for row in own["accounts"]] == ["ada"]
    assert own["totalSize"] == 1
    assert house.operator.get("/v1/accounts").json["totalSize"] == 2
    assert ada.get("/v1/accounts?filter=email%20%3D%20%22bob@example.com%22").json["accounts"] == []


def test_the_operator_pages_through_accounts_in_either_order(house: House) -> None:
    names = [f"acme-{n}" for n in range(5)]
    for name in names:
        house.open(name)
    for order, expected in (("createTime", names), ("createTime%20desc", names[::-1])):
        seen: list[str] = []
        token = ""
        while True:
            page = house.operator.get(f"/operator/v1/accounts?pageSize=2&orderBy={order}&pageToken={token}").json
            seen += [row["id"] for row in page["accounts"]]
            token = page["nextPageToken"]
            if not token:
                break
        assert sorted(seen) == names
        if order == "createTime":
            assert seen == sorted(seen, key=lambda name: names.index(name))
        assert len(seen) == len(expected)


def test_accounts_are_filtered_by_their_fields(house: House) -> None:
    house.open("ada")
    house.open("bob", billingMode="prepaid")
    found = house.operator.get("/operator/v1/accounts?filter=billingMode%20%3D%20prepaid").json
    assert [row["id"] for row in found["accounts"]] == ["bob"]
    answer = house.operator.get("/operator/v1/accounts?filter=colour%20%3D%20red")
    assert answer.status == 400
    assert "email" in answer.json["detail"]


def test_an_account_cannot_be_opened_twice(house: House) -> None:
    house.open("ada")
    answer = house.operator.post("/operator/v1/accounts", {"id": "ada", "email": "eve@example.com"})
    assert (answer.status, answer.json["code"]) == (409, "ALREADY_EXISTS")


def test_users_are_created_listed_and_changed(house: House) -> None:
    ada = house.open("ada")
    path = "/v1/accounts/ada/users"
    made = ada.post(f"{path}?userId=bot", {"role": "contributor", "serviceAccount": True})
    assert made.json["name"] == "accounts/ada/users/bot"
    assert made.json["serviceAccount"] is True
    changed = ada.patch(f"{path}/bot", {"role": "inference-user", "displayName": "Bot"})
    assert (changed.json["role"], changed.json["displayName"]) == ("inference-user", "Bot")
    assert ada.get(f"{path}/bot").json == changed.json
    assert {user["id"] for user in ada.get(path).json["users"]} == {"owner", "bot"}
    assert ada.post(f"{path}?userId=bot", {}).status == 409
    assert ada.get(f"{path}/nobody").status == 404
    assert ada.patch(f"{path}/bot", {"role": "king"}).json["errors"][0]["field"] == "role"


def test_a_new_account_has_the_default_role_user(house: House) -> None:
    ada = house.open("ada")
    assert ada.post("/v1/accounts/ada/users", {"userId": "bob"}).json["role"] == "user"


@pytest.mark.parametrize("body", [{"apiKey": {"displayName": "ci"}}, {"displayName": "ci"}])
def test_a_key_is_shown_once(house: House, body: dict[str, object]) -> None:
    ada = house.open("ada")
    path = "/v1/accounts/ada/users/owner/apiKeys"
    made = ada.post(path, body).json
    assert made["displayName"] == "ci"
    assert made["key"].startswith(made["prefix"])
    listed = ada.get(path)
    assert made["keyId"] in {key["keyId"] for key in listed.json["apiKeys"]}
    assert made["key"] not in listed.text
    assert replace(ada, key=made["key"]).get("/v1/me").json["keyId"] == made["keyId"]


def test_a_deleted_key_opens_nothing(house: House) -> None:
    ada = house.open("ada")
    made = ada.post("/v1/accounts/ada/users/owner/apiKeys", {}).json
    other = replace(ada, key=made["key"])
    assert other.get("/v1/me").status == 200
    path = "/v1/accounts/ada/users/owner/apiKeys:delete"
    assert ada.post(path, {"keyId": made["keyId"]}).json == {}
    refused = other.get("/v1/me")
    assert (refused.status, refused.json["code"]) == (401, "UNAUTHENTICATED")
    assert refused.headers["www-authenticate"] == "Bearer"
    assert ada.post(path, {"keyId": made["keyId"]}).status == 404


def test_an_expired_key_opens_nothing(house: House) -> None:
    ada = house.open("ada")
    body = {"apiKey": {"expireTime": "2026-03-02T00:00:00Z"}}
    made = ada.post("/v1/accounts/ada/users/owner/apiKeys", body).json
    assert made["expireTime"] == "2026-03-02T00:00:00Z"
    house.advance("2026-03-02T00:00:00Z")
    assert replace(ada, key=made["key"]).get("/v1/me").status == 401


def test_account_keys_are_made_for_the_caller_or_by_an_admin_for_others(house: House) -> None:
    ada = house.open("ada")
    cyd = house.member("ada", "cyd", "contributor")
    path = "/v1/accounts/ada/apiKeys"
    assert cyd.post(path, {}).json["user"] == "cyd"
    assert cyd.post(path, {"userId": "owner"}).status == 403
    assert ada.post(path, {"userId": "cyd"}).json["user"] == "cyd"
    assert {key["user"] for key in cyd.get(path).json["apiKeys"]} == {"cyd"}
    everyone = ada.get(path).json["apiKeys"]
    assert {key["user"] for key in everyone} == {"cyd", "owner"}
    owners = next(key["keyId"] for key in everyone if key["user"] == "owner")
    assert cyd.post(f"{path}:delete", {"keyId": owners}).status == 404
    own = cyd.get(path).json["apiKeys"][0]["keyId"]
    assert cyd.post(f"{path}:delete", {"keyId": own}).status == 200


def test_a_key_may_be_sent_as_x_api_key(house: House) -> None:
    ada = house.open("ada")
    assert house.nobody.get("/v1/me", {"x-api-key": str(ada.key)}).json["account"] == "ada"


def test_lists_are_paged(house: House) -> None:
    ada = house.open("ada")
    for n in range(3):
        ada.post(f"/v1/accounts/ada/users?userId=u{n}", {})
    first = ada.get("/v1/accounts/ada/users?pageSize=3").json
    rest = ada.get(f"/v1/accounts/ada/users?pageSize=3&pageToken={first['nextPageToken']}").json
    assert (len(first["users"]), len(rest["users"]), rest["nextPageToken"]) == (3, 1, "")
    assert first["totalSize"] == 4


@pytest.mark.parametrize("wrong", ["a@[", "a@b,victim@example.com", "Ada <ada@example.com>", "ada@bücher.example"])
def test_an_address_is_one_address_whichever_way_it_comes_in(house: House, wrong: str) -> None:
    house.open("ada")
    calls = [
        house.operator.post("/operator/v1/accounts", {"id": "bob", "email": wrong}),
        house.operator.post("/v1/accounts/ada/users", {"userId": "bot", "role": "user", "email": wrong}),
        house.operator.patch("/v1/accounts/ada/users/owner", {"email": wrong}),
    ]
    for answer in calls:
        assert answer.status == 400
        assert "must be one e-mail address" in answer.json["detail"]
    assert house.operator.get("/v1/accounts/ada/users/owner").json["email"] == "ada@example.com"
