"""Which key a command uses where both are at hand: the account's for its own account, the operator's for the others."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.inbound.house import OPERATOR_KEY, House
from tests.inbound.terminal import Terminal

pytestmark = pytest.mark.once
NOTICE = "The API key is ada's; for bob the operator's key is used.\n"


@pytest.fixture
def both(house: House, tmp_path: Path) -> Terminal:
    """A terminal with ada's key and the operator's exported, as the README has it; there is an account bob too."""
    house.open("bob")
    key = house.open("ada").key or ""
    url = f"http://127.0.0.1:{house.operator.port}"
    return Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=key, PURSER_OPERATOR_KEY=OPERATOR_KEY)


def test_another_account_is_reached_with_the_operators_key_which_is_said(house: House, both: Terminal) -> None:
    found = both.run("status", "--account", "bob", "-o", "json")
    assert (found.code, found.stderr) == (0, NOTICE)
    assert found.json["account"]["id"] == "bob"
    assert both.using(PURSER_ACCOUNT="bob").json("status")["account"]["id"] == "bob"
    assert both.json("account", "get", "bob")["id"] == "bob"
    assert both.run("payment-method", "add", "pm_card_visa", "--account", "bob").code == 0
    assert both.json("quota", "update", "monthly-spend-usd", "--value", "7", "--account", "bob")["value"] == "7"
    assert house.account("bob")["hasPaymentMethod"] is True
    assert house.account("ada")["hasPaymentMethod"] is False


@pytest.mark.parametrize("options", [[], ["--account", "ada"]])
def test_the_own_account_is_reached_with_its_own_key(house: House, both: Terminal, options: list[str]) -> None:
    made = both.run("key", "create", "-o", "json", *options)
    assert (made.code, made.json["user"]) == (0, "owner")
    assert "operator" not in made.stderr
    key = house.operator.post("/v1/accounts/ada/users?userId=bot", {"role": "inference-user"})
    assert key.status == 200
    plain = house.operator.post("/v1/accounts/ada/users/bot/apiKeys", {}).json["key"]
    refused = both.using(PURSER_API_KEY=plain).run("user", "create", "eve", *options)
    assert refused.code == 4, "the operator's key does not stand in for a role that is missing"


def test_what_is_the_operators_needs_no_more_said(both: Terminal) -> None:
    assert both.json("credits", "grant", "5", "--account", "ada")["amountUsd"] == "5.00"
    assert both.json("prices", "show")["version"] == 1
    assert {account["id"] for account in both.json("account", "list")["accounts"]} == {"ada", "bob"}
    made = both.json("user", "create", "meter", "--service-account", "--scope", "metering", "--account", "ada")
    assert made["scopes"] == ["metering"]


def test_a_key_given_by_option_is_the_key_that_is_used(both: Terminal) -> None:
    key = both.variables["PURSER_API_KEY"]
    refused = both.run("status", "--account", "bob", "--api-key", key)
    assert refused.code == 5
    assert "the operator's key opens every one: --operator-key" in refused.stderr
    assert both.json("account", "list", "--api-key", key)["totalSize"] == 1
    operator = both.run("status", "--account", "ada", "--operator-key", OPERATOR_KEY)
    assert (operator.code, operator.stderr) == (0, "")
    both_options = both.run("status", "--account", "bob", "--api-key", key, "--operator-key", OPERATOR_KEY)
    assert (both_options.code, both_options.stderr) == (0, NOTICE)


def test_a_profile_with_both_keys_works_like_two_variables(both: Terminal) -> None:
    login = ["login", "--api-key", both.variables["PURSER_API_KEY"], "--operator-key", OPERATOR_KEY]
    assert both.run(*login).code == 0
    kept = Terminal(both.folder)
    assert kept.json("status")["account"]["id"] == "ada"
    other = kept.run("status", "--account", "bob", "-o", "json")
    assert (other.json["account"]["id"], other.stderr) == ("bob", NOTICE)


def test_an_api_key_that_does_not_work_is_said_not_passed_over(both: Terminal) -> None:
    done = both.using(PURSER_API_KEY="pk_unknown").run("status", "--account", "bob")
    assert (done.code, done.stdout) == (4, "")
    assert "unknown, revoked or expired" in done.stderr


def test_the_operators_key_in_place_of_an_api_key_is_the_operators(both: Terminal) -> None:
    assert both.using(PURSER_API_KEY=OPERATOR_KEY).json("status", "--account", "bob")["account"]["id"] == "bob"


def test_asking_whose_key_it_is_does_not_count_toward_the_rate(house: House, both: Terminal) -> None:
    house.counted.clear()
    assert both.run("credits", "list", "--account", "bob").code == 0
    assert both.run("credits", "list").code == 0
    assert house.counted == []


def test_help_says_which_key_is_used(both: Terminal) -> None:
    text = " ".join(both.using(COLUMNS=200).ok("status", "--help").split())
    assert (
        "It opens every account: beside an API key it is used where --account is another than that key's own." in text
    )
