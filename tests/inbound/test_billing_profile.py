"""The billing profile: said by the customer, on every document as it was at issue, tried out without an effect."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.inbound.house import House
from tests.inbound.terminal import Terminal

PATH = "/v1/accounts/ada/billingProfile"
ADA = {"name": "Ada Works", "address": {"line1": "Main Street 1", "city": "Berlin", "country": "DE"}}
NOWHERE = {"line1": "", "line2": "", "city": "", "region": "", "postalCode": "", "country": ""}


def test_a_profile_is_kept_on_what_is_issued_afterwards(house: House) -> None:
    ada = house.open("ada")
    house.card("ada")
    assert ada.get(PATH).json == {"name": "", "address": NOWHERE, "taxId": ""}
    house.spend("ada", 5, "e1")
    house.operator.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "9.00"})
    (before,) = house.invoices("ada")
    assert before["billedTo"] is None
    assert ada.patch(PATH, {**ADA, "taxId": "DE 123 456 789"}).json["taxId"] == "DE123456789"
    house.spend("ada", 20, "e2")
    house.advance("2026-04-01T00:00:00Z")
    assert ada.patch(PATH, {"name": "Ada and Bob", "address": {"line2": "Floor 3"}}).status == 200
    house.operator.post("/operator/v1/accounts/ada/grants", {"amountUsd": "5.00", "kind": "purchased"})
    receipt, invoice, first = house.invoices("ada")
    address = NOWHERE | {"line1": "Main Street 1", "city": "Berlin", "country": "DE"}
    assert invoice["billedTo"] == {"name": "Ada Works", "address": address, "taxId": "DE123456789"}
    assert receipt["billedTo"]["name"] == "Ada and Bob"
    assert receipt["billedTo"]["address"] == address | {"line2": "Floor 3"}
    assert first == before
    assert house.audit() == []


def test_a_change_is_in_the_audit_log(house: House) -> None:
    ada = house.open("ada")
    ada.patch(PATH, ADA)
    ada.patch(PATH, {"taxId": "DE123456789"})
    ada.patch(PATH, {"name": "Ada Works"})
    changed, made, *_ = house.operator.get("/v1/accounts/ada/auditLogs").json["auditLogs"]
    assert made["payload"] == {
        "accounts/ada/billingProfile": {
            "name": "Ada Works",
            "line1": "Main Street 1",
            "city": "Berlin",
            "country": "DE",
        }
    }
    assert changed["changes"][0]["before"] == {"taxId": ""}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"name": "A", "address": {"country": "Germany"}}, "country"),
        ({"name": "A"}, "country"),
        ({"address": {"country": "DE"}}, "name"),
        ({**ADA, "taxId": "FR1234"}, "taxId"),
        ({**ADA, "taxid": "x"}, "taxid"),
        ({"name": 7}, "name"),
    ],
)
def test_what_is_wrong_is_named_and_changes_nothing(house: House, body: Any, field: str) -> None:
    ada = house.open("ada")
    refused = ada.patch(PATH, body)
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, field)
    assert ada.get(PATH).json["name"] == ""


def test_a_dry_run_answers_the_same_and_changes_nothing(house: House) -> None:
    ada = house.open("ada")
    key = {"idempotency-key": "once"}
    entries = len(house.operator.get("/v1/accounts/ada/auditLogs").json["auditLogs"])
    tried = ada.patch(f"{PATH}?dryRun=true", ADA, key)
    assert tried.status == 200
    assert ada.patch(f"{PATH}?dryRun=true", {"name": "A"}).status == 400
    assert ada.get(PATH).json["name"] == ""
    assert len(house.operator.get("/v1/accounts/ada/auditLogs").json["auditLogs"]) == entries
    assert ada.patch(PATH, ADA, key).json == tried.json == ada.get(PATH).json
    assert house.audit() == []


@pytest.mark.once
def test_the_commands(house: House, tmp_path: Path) -> None:
    key = house.open("ada").key or ""
    house.card("ada")
    ada = Terminal(tmp_path).using(PURSER_URL=f"http://127.0.0.1:{house.operator.port}", PURSER_API_KEY=key)
    assert "set-profile" in ada.run("billing", "profile").stderr
    set_ = ("billing", "set-profile", "--name", "Ada Works", "--postal-code", "10115", "--city", "Berlin")
    tried = ada.run(*set_, "--country", "de", "--dry-run")
    assert (tried.code, "nothing was changed" in tried.stderr, "Ada Works" in tried.stdout) == (0, True, True)
    assert ada.json("billing", "profile")["name"] == ""
    assert ada.run(*set_, "--country", "de").code == 0
    assert ada.json("billing", "profile")["address"]["country"] == "DE"
    assert ada.run("billing", "set-profile", "--country", "nowhere").code == 2
    assert ada.run("billing", "set-profile").code == 2
    house.spend("ada", 5, "e1")
    house.advance("2026-04-01T00:00:00Z")
    shown = ada.run("billing", "invoice", "ADA-0001").stdout
    assert "billed to" in shown
    assert "10115 Berlin" in shown
