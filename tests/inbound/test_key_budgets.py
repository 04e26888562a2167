"""Budgets of keys through the API and the command line: given, changed, taken away, told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.inbound.house import House
from tests.inbound.terminal import Terminal

KEYS = "/v1/accounts/ada/apiKeys"
DAILY = {"amountUsd": "2.50", "period": "DAILY"}


def test_a_key_is_made_with_a_budget_and_lists_it(house: House) -> None:
    house.open("ada")
    made = house.operator.post(KEYS, {"displayName": "ci", "budget": DAILY}).json
    told = {
        "amountUsd": "2.50",
        "period": "DAILY",
        "spentUsd": "0.00",
        "startTime": "2026-03-01T00:00:00Z",
        "endTime": "2026-03-02T00:00:00Z",
    }
    assert made["budget"] == told
    listed = house.operator.get(KEYS).json["apiKeys"]
    assert {key["displayName"]: key["budget"] for key in listed} == {"ci": told, "default": None}


def test_a_budget_is_changed_and_taken_away(house: House) -> None:
    house.open("ada")
    key = house.operator.post(KEYS, {"apiKey": {"displayName": "ci", "budget": DAILY}}).json["keyId"]
    weekly = house.operator.patch(f"{KEYS}/{key}", {"budget": {"amountUsd": "10", "period": "WEEKLY"}})
    assert weekly.status == 200, weekly.text
    assert (weekly.json["budget"]["amountUsd"], weekly.json["budget"]["startTime"]) == ("10.00", "2026-02-23T00:00:00Z")
    total = house.operator.patch(f"{KEYS}/{key}", {"budget": {"amountUsd": "10", "period": "TOTAL"}}).json["budget"]
    assert (total["startTime"], total["endTime"]) == (None, None)
    assert house.operator.patch(f"{KEYS}/{key}", {"budget": None}).json["budget"] is None


@pytest.mark.parametrize(
    "body, says",
    [
        ({"budget": {"amountUsd": "-1", "period": "DAILY"}}, "budget.amountUsd must not be negative"),
        ({"budget": {"amountUsd": 1, "period": "DAILY"}}, "amountUsd"),
        ({"budget": {"amountUsd": "1", "period": "HOURLY"}}, "budget.period must be one of DAILY, WEEKLY, MONTHLY"),
        ({"budget": {"amountUsd": "1"}}, "period"),
        ({}, "budget"),
        ({"budget": {"amountUsd": "99999999999999", "period": "DAILY"}}, "budget.amountUsd"),
    ],
)
def test_a_budget_that_makes_no_sense_is_refused_and_changes_nothing(house: House, body: Any, says: str) -> None:
    house.open("ada")
    key = house.operator.post(KEYS, {"budget": DAILY}).json["keyId"]
    refused = house.operator.patch(f"{KEYS}/{key}", body)
    assert refused.status == 400
    assert says in refused.text
    assert house.operator.get(KEYS).json["apiKeys"][0]["budget"]["amountUsd"] == "2.50"


def test_a_key_that_there_is_not_has_no_budget(house: House) -> None:
    house.open("ada")
    assert house.operator.patch(f"{KEYS}/key_nothing", {"budget": DAILY}).status == 404
    key = house.operator.post(KEYS, {"budget": DAILY}).json["keyId"]
    house.operator.post(f"{KEYS}:delete", {"keyId": key})
    assert house.operator.patch(f"{KEYS}/{key}", {"budget": DAILY}).status == 404


def test_the_command_line_gives_shows_and_takes_away(house: House, tmp_path: Path) -> None:
    client = house.open("ada")
    url = f"http://127.0.0.1:{house.operator.port}"
    terminal = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=client.key or "")
    made = terminal.json("key", "create", "--name", "ci", "--budget", "25")
    assert made["budget"]["period"] == "MONTHLY"
    changed = terminal.run("key", "budget", made["keyId"], "4.5", "--period", "DAILY")
    assert changed.code == 0, changed.stderr
    assert "4.50" in changed.stdout
    assert "DAILY" in terminal.run("key", "list").stdout
    assert terminal.run("key", "budget", made["keyId"]).code != 0
    assert terminal.run("key", "budget", made["keyId"], "--none").code == 0
    assert terminal.json("key", "list")["apiKeys"][0]["budget"] is None
