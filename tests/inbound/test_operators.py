"""The operator's people: their roles over every route, their keys, and that an owner stays (X2)."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from purser.flows import setup
from purser.flows.access import OPERATOR_ROLES
from purser.inbound.api.permissions import ALL, MONEY, NEEDS, OPERATORS, PEOPLE, READ, needed
from tests import databases
from tests.inbound.house import OPERATOR_KEY, PRICES, Answer, Client, House
from tests.inbound.terminal import Terminal
from tests.inbound.test_permissions import routes
from tests.inbound.writes import READING

# By hand, apart from the table of the product: what nobody but the owner may, and what each other role may beside.
OWNERS_ALONE = (
    "clock:advance",
    "PATCH /operator/v1/accounts/{account}",
    "/operator/v1/users",
    "POST /operator/v1/accounts",
    "webhookEndpoints",
    "accounts/{account}:close",
    "accounts/{account}:reopen",
    "POST /v1/usage",
    "/v1/holds",
    "deployments/{deployment}:report",
    "POST /v1/accounts/{account}/apiKeys",
    "POST /v1/accounts/{account}/users/{user}/apiKeys",
)
FINANCE = "billingProfile setBillingMode grants credits:purchase invoices paymentMethods quotas prices months".split()
FINANCE += ["creditCodes", "clearFlags", "reservations"]


def add(house: House, name: str, role: str) -> Client:
    answer = house.operator.post("/operator/v1/users", {"name": name, "role": role})
    assert answer.status == 201, answer.text
    return replace(house.operator, key=answer.json["key"])


def group_of(method: str, path: str) -> str:
    """Which roles may call a route besides the owner, by the words above."""
    name = f"{method} {path}"
    if method == "GET" or (name in READING and ":replay" not in name):  # a replay sends again
        return READ
    exact = [name == each for each in OWNERS_ALONE]
    if any(exact) or any(
        each in name for each in OWNERS_ALONE if not each.startswith(("POST /v1/a", "POST /o", "PATCH"))
    ):
        return ALL
    return MONEY if any(word in path for word in FINANCE) else PEOPLE


def every() -> list[tuple[str, str]]:
    return [(method, path) for method, path, who, _ in routes() if who != "public"]


def test_the_table_says_the_same_as_the_words() -> None:
    for method, path in every():
        assert needed(method, path) == group_of(method, path), (method, path)
    known = {f"{method} {path}" for method, path in every()}
    assert set(NEEDS) <= known, "every route of the table is there"
    assert tuple(OPERATORS) == OPERATOR_ROLES


@pytest.mark.parametrize("role", OPERATOR_ROLES)
def test_each_role_over_every_route(house: House, role: str) -> None:
    """What a role may not is refused before anything is looked at; what it may comes to the route itself."""
    house.open("ada")
    somebody = add(house, "nora", role)
    opened = {"owner": {READ, PEOPLE, MONEY, ALL}, "finance": {READ, MONEY}, "support": {READ, PEOPLE}}
    may = opened.get(role, {READ})
    refused = 0
    before = databases.rows(house.db)
    for method, path in every():
        target = re.sub(r"\{\w+\}", "1", path.replace("{account}", "ada").replace("{month}", "2026-02"))
        if group_of(method, path) in may:
            if method != "GET":
                continue  # tried by test_every_write_leaves_an_entry and others
            answer = somebody.call(method, target)
            assert answer.status not in (401, 403), (method, path, answer.text)
        else:
            answer = somebody.call(method, target, {})
            assert (answer.status, answer.json["code"]) == (403, "PERMISSION_DENIED"), (method, path)
            assert role in answer.json["detail"]
            refused += 1
    assert (refused == 0) == (role == "owner")
    after = databases.rows(house.db)
    assert {name for name in after if after[name] != before[name]} <= {"writers"}


def test_each_role_does_what_it_is_for(house: House) -> None:
    ada = house.open("ada")
    finance, support = add(house, "fin", "finance"), add(house, "sue", "support")

    def grant(by: Client) -> Answer:
        return by.post("/operator/v1/accounts/ada/grants", {"amountUsd": "5.00"})

    def block(by: Client) -> Answer:
        return by.post("/operator/v1/accounts/ada:suspend", {"reason": "a test"})

    assert (grant(finance).status, grant(support).status) == (200, 403)
    assert (block(finance).status, block(support).status) == (403, 200)
    assert support.post("/v1/accounts/ada/users?userId=bot", {"role": "user"}).status == 200
    assert support.post("/v1/accounts/ada/apiKeys", {}).status == 403, "a customer's key spends the customer's money"
    assert support.post("/operator/v1/users", {"name": "eve", "role": "owner"}).status == 403
    told = house.operator.get("/v1/accounts/ada/auditLogs").json["auditLogs"]
    assert [entry["principal"] for entry in told[:3]] == ["sue", "sue", "fin"]
    assert {entry["principal"] for entry in ada.get("/v1/accounts/ada/auditLogs").json["auditLogs"]} == {"operator"}
    assert finance.get("/v1/me").json["operatorRole"] == "finance"


def test_a_key_is_shown_once_and_ends_at_once(house: House) -> None:
    made = house.operator.post("/operator/v1/users", {"name": "nora", "role": "support"}).json
    nora = replace(house.operator, key=made["key"])
    listed = house.operator.get("/operator/v1/users")
    assert made["key"] not in listed.text
    assert [(row["name"], row["role"]) for row in listed.json["users"]] == [("nora", "support"), ("owner", "owner")]
    assert made["key"] not in str(databases.rows(house.db))
    assert nora.get("/operator/v1/accounts").status == 200
    changed = house.operator.patch(f"/operator/v1/users/{made['id']}", {"role": "read-only"})
    assert changed.json["role"] == "read-only"
    assert nora.post("/operator/v1/accounts", {"id": "ada", "email": "a@example.com"}).status == 403
    assert house.operator.delete(f"/operator/v1/users/{made['id']}").status == 200
    assert nora.get("/operator/v1/accounts").status == 401
    assert house.operator.delete(f"/operator/v1/users/{made['id']}").status == 404
    assert add(house, "nora", "finance").get("/v1/me").status == 200, "the name is free again"


def test_an_owner_stays(house: House) -> None:
    (owner,) = house.operator.get("/operator/v1/users").json["users"]
    path = f"/operator/v1/users/{owner['id']}"
    for refused in (house.operator.delete(path), house.operator.patch(path, {"role": "support"})):
        assert (refused.status, refused.json["code"]) == (409, "FAILED_PRECONDITION")
    second = add(house, "nora", "owner")
    assert second.delete(path).status == 200
    assert house.operator.get("/operator/v1/users").status == 401
    assert second.post("/operator/v1/users", {"name": "x", "role": "owner"}).status == 201


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"name": "Nora B", "role": "owner"}, 400),
        ({"name": "nora", "role": "boss"}, 400),
        ({"name": "owner", "role": "finance"}, 409),
        ({"name": "nora"}, 400),
    ],
)
def test_a_wrong_operator_is_refused(house: House, body: Any, status: int) -> None:
    assert house.operator.post("/operator/v1/users", body).status == status


def test_the_configured_key_is_an_owners_again_at_the_next_start(house: House) -> None:
    (owner,) = house.operator.get("/operator/v1/users").json["users"]
    nora = add(house, "nora", "owner")
    assert nora.patch(f"/operator/v1/users/{owner['id']}", {"role": "read-only"}).status == 200
    house.queue.run(lambda tx: setup.prepare(tx, PRICES, OPERATOR_KEY))
    assert house.operator.get("/v1/me").json["operatorRole"] == "owner"
    assert nora.delete(f"/operator/v1/users/{owner['id']}").status == 200
    assert house.operator.get("/v1/me").status == 401
    house.queue.run(lambda tx: setup.prepare(tx, PRICES, OPERATOR_KEY))
    assert house.operator.get("/v1/me").json["operatorRole"] == "owner"
    assert house.audit() == []


@pytest.mark.once
def test_the_commands(house: House, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{house.operator.port}"
    owner = Terminal(tmp_path).using(PURSER_URL=url, PURSER_OPERATOR_KEY=OPERATOR_KEY)
    made = owner.json("operator", "user", "create", "nora", "--role", "finance")
    finance = owner.using(PURSER_OPERATOR_KEY=made["key"])
    assert finance.run("operator", "user", "create", "eve", "--role", "owner").code == 4
    assert "finance" in finance.run("operator", "user", "list").stdout
    assert owner.json("operator", "user", "update", "nora", "--role", "support")["role"] == "support"
    assert owner.run("operator", "user", "remove", "nora", "--yes").code == 0
    assert owner.run("operator", "user", "remove", "nora", "--yes").code == 5
    assert finance.run("operator", "user", "list").code == 4
