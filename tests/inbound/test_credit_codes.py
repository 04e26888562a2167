"""Credit codes over HTTP: made by the operator, redeemed by customers, refused plainly, told in the audit log."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from purser.flows import codes
from tests.inbound.browser import Browser, forms_of
from tests.inbound.house import OPERATOR_KEY, Answer, Client, House
from tests.inbound.terminal import Terminal

CODES, REDEEM = "/operator/v1/creditCodes", "/v1/creditCodes:redeem"


def make(house: House, **more: Any) -> Any:
    made = house.operator.post(CODES, {"amountUsd": "25.00", **more})
    assert made.status == 201, made.text
    return made.json


def redeem(client: Client, code: str, **more: Any) -> Answer:
    return client.post(REDEEM, {"code": code, **more})


def test_made_and_redeemed(house: House) -> None:
    ada = house.open("ada", signupCreditUsd="0")
    made = make(house, redemptions=3, creditDays=90, expiresAt="2026-06-01T00:00:00Z", displayName="spring")
    assert made["code"].startswith(made["begins"])
    assert len(made["code"]) == 24
    got = redeem(ada, made["code"], name="accounts/ada")
    assert got.status == 200, got.text
    assert got.json["amount"] == {"currencyCode": "USD", "units": "25", "nanos": 0}
    assert got.json["expiresAt"] == "2026-05-30T09:00:00Z"
    balance = house.balance("ada")
    assert (balance["creditUsd"], balance["grants"][0]["kind"]) == ("25.00", "promotional")
    (grant,) = ada.get("/v1/accounts/ada/credits").json["credits"]
    assert (grant["id"], grant["source"]) == (got.json["credit"], made["id"])
    (one,) = ada.get("/v1/accounts/ada/creditRedemptions").json["creditRedemptions"]
    assert one == {
        "name": f"accounts/ada/creditRedemptions/{made['id']}",
        "amount": got.json["amount"],
        "credit": grant["id"],
        "createTime": "2026-03-01T09:00:00Z",
        "expiresAt": "2026-05-30T09:00:00Z",
    }
    (listed,) = house.operator.get(CODES).json["creditCodes"]
    assert listed == {name: value for name, value in made.items() if name != "code"} | {"redeemed": 1}
    assert house.audit() == []


def test_the_operator_sees_who_has_redeemed(house: House) -> None:
    made = make(house, redemptions=9)
    for n in range(5):
        assert redeem(house.open(f"ada-{n}", signupCreditUsd="0"), made["code"]).status == 200
        house.world.set(house.world.now() + 1_000_000 * (n > 0))  # the first two in one instant
    path = f"{CODES}/{made['id']}/redemptions"
    first = house.operator.get(f"{path}?pageSize=3").json
    second = house.operator.get(f"{path}?pageSize=3&pageToken={first['nextPageToken']}").json
    assert [row["account"] for row in first["redemptions"] + second["redemptions"]] == [
        f"ada-{n}" for n in (4, 3, 2, 1, 0)
    ]
    assert (first["totalSize"], second["nextPageToken"]) == (5, "")
    assert {row["amountUsd"] for row in first["redemptions"]} == {"25.00"}
    credit = house.operator.get("/v1/accounts/ada-4/credits").json["credits"][0]["id"]
    assert first["redemptions"][0]["credit"] == credit
    assert house.operator.get(f"{CODES}/code_none/redemptions").status == 404
    assert house.open("eve").get(path).status == 403


def test_what_is_refused_and_why(house: House) -> None:
    ada, bob = house.open("ada"), house.open("bob")
    once, old, ended = make(house), make(house, expiresAt="2026-03-02T00:00:00Z"), make(house)
    assert redeem(ada, once["code"]).status == 200
    assert house.operator.delete(f"{CODES}/{ended['id']}").status == 200
    house.advance("2026-03-02T00:00:00Z")
    before = house.balance("bob")
    for code, status, name, words in (
        (once["code"], 409, "FAILED_PRECONDITION", "is used up"),
        (old["code"], 409, "FAILED_PRECONDITION", "expired at 2026-03-02T00:00:00Z"),
        (ended["code"], 409, "FAILED_PRECONDITION", "was ended at 2026-03-01T09:00:00Z"),
        ("HACKATHON_2025", 404, "NOT_FOUND", "not known here"),
        (once["id"], 404, "NOT_FOUND", "not known here"),
        ("", 400, "INVALID_ARGUMENT", "must be a credit code"),
    ):
        refused = redeem(bob, code)
        assert (refused.status, refused.json["code"]) == (status, name), refused.text
        assert words in refused.json["detail"]
    again = redeem(ada, once["code"])
    assert (again.status, again.json["code"]) == (409, "ALREADY_EXISTS")
    assert "redeemed by this account already" in again.json["detail"]
    assert house.balance("bob") == before
    assert house.operator.delete(f"{CODES}/code_0").status == 404
    assert house.audit() == []


@pytest.mark.parametrize(
    "body, field",
    [
        ({"amountUsd": "0"}, "amountUsd"),
        ({"amountUsd": "-5"}, "amountUsd"),
        ({"amountUsd": "5", "redemptions": 0}, "redemptions"),
        ({"amountUsd": "5", "redemptions": 1_000_001}, "redemptions"),
        ({"amountUsd": "5", "creditDays": 0}, "creditDays"),
        ({"amountUsd": "5", "creditDays": 4_000}, "creditDays"),
        ({"amountUsd": "5", "expiresAt": "2026-03-01T09:00:00Z"}, "expiresAt"),
        ({"amountUsd": "5", "expiresAt": "soon"}, "expiresAt"),
        ({"amountUsd": "5", "displayName": "x" * 65}, "displayName"),
    ],
)
def test_what_no_code_can_be(house: House, body: Any, field: str) -> None:
    refused = house.operator.post(CODES, body)
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, field), refused.text
    assert house.operator.get(CODES).json["creditCodes"] == []


def test_whose_it_is_to_redeem(house: House) -> None:
    ada, made = house.open("ada"), make(house, redemptions=9)
    bob = house.open("bob")
    before = house.balance("bob")
    for role in ("user", "contributor", "inference-user"):
        refused = redeem(house.member("ada", role, role), made["code"])
        assert (refused.status, refused.json["code"]) == (403, "PERMISSION_DENIED")
    other = redeem(ada, made["code"], name="accounts/bob")
    nobody = redeem(ada, made["code"], name="accounts/dan")
    assert (other.status, other.json["detail"].replace("bob", "dan")) == (404, nobody.json["detail"])
    assert redeem(house.nobody, made["code"], name="accounts/bob").status == 401
    assert (redeem(ada, made["code"], name="ada").status, redeem(house.operator, made["code"]).status) == (400, 400)
    assert redeem(house.operator, made["code"], name="accounts/dan").status == 404
    assert house.balance("bob") == before
    for name, may in (("finance", 200), ("support", 403), ("read-only", 403)):
        key = house.operator.post("/operator/v1/users", {"name": name, "role": name}).json["key"]
        operator = Client(house.operator.port, key)
        assert operator.post(CODES, {"amountUsd": "1"}).status == (201 if may == 200 else 403)
        assert redeem(operator, made["code"], name="accounts/bob").status == may
    assert house.balance("bob")["creditUsd"] == "26.00"
    assert redeem(bob, made["code"]).status == 409


def test_sent_again_it_is_answered_the_same_and_has_one_effect(house: House) -> None:
    """C7."""
    ada, made = house.open("ada"), make(house, redemptions=9)
    keyed = {"idempotency-key": "one"}
    answers = [ada.post(REDEEM, {"code": made["code"]}, keyed) for _ in range(codes.MOST_ATTEMPTS + 3)]
    assert {(answer.status, answer.text) for answer in answers} == {(200, answers[0].text)}
    assert house.balance("ada")["creditUsd"] == "26.00"
    assert house.operator.get(CODES).json["creditCodes"][0]["redeemed"] == 1
    assert ada.post(REDEEM, {"code": "another"}, keyed).status == 409


def test_many_that_fail_are_too_many(house: House) -> None:
    ada, made = house.open("ada"), make(house, redemptions=9)
    for n in range(codes.MOST_ATTEMPTS):
        tried_out = "?dryRun=true" if n % 2 else ""  # is no way to guess for nothing
        assert ada.post(f"{REDEEM}{tried_out}", {"code": f"GUESS-{n}"}).status == 404
    refused = redeem(ada, made["code"])
    assert (refused.status, refused.json["code"]) == (429, "RESOURCE_EXHAUSTED")
    assert int(refused.headers["retry-after"]) > 3_000
    assert redeem(house.open("bob"), made["code"]).status == 200


def test_redeemed_again_is_no_attempt_that_failed(house: House) -> None:
    ada, made = house.open("ada"), make(house)
    assert redeem(ada, made["code"]).status == 200
    assert {redeem(ada, made["code"]).status for _ in range(codes.MOST_ATTEMPTS + 1)} == {409}


def test_it_lifts_what_suspends_for_lack_of_credit_and_works_over_the_rate(house: House) -> None:
    """U3, Q1: nobody is locked out of paying."""
    ada, made = house.open("ada", signupCreditUsd="0"), make(house)
    assert house.account("ada")["suspendState"] == "CREDIT_DEPLETED"
    house.wait_seconds = 7
    assert redeem(ada, made["code"]).status == 200
    house.wait_seconds = 0
    assert house.account("ada")["suspendState"] == "UNSUSPENDED"


def test_it_is_told_in_the_audit_log_and_the_code_is_not(house: House) -> None:
    ada, made = house.open("ada"), make(house, displayName="spring")
    assert redeem(ada, made["code"]).status == 200
    entry = ada.get("/v1/accounts/ada/auditLogs").json["auditLogs"][0]
    told = {change["resource"].removeprefix("accounts/ada/"): change["after"] for change in entry["changes"]}
    credit = house.operator.get("/v1/accounts/ada/credits").json["credits"][0]["id"]
    assert told[f"creditRedemptions/{made['id']}"]["credit"] == credit
    assert told[f"credits/{credit}"]["source"] == made["id"]
    assert entry["principal"] == "ada@example.com"
    logs = house.operator.get("/operator/v1/auditLogs")
    whole = (logs.text if logs.status == 200 else "") + json.dumps(entry)
    assert made["code"] not in whole
    zipped = ada.get("/v1/accounts/ada:export")
    assert zipped.status == 200


@pytest.mark.once
def test_in_the_dashboard(house: House) -> None:
    house.open("ada", signupCreditUsd="0")
    made = make(house, redemptions=2, creditDays=30)
    browser = Browser(house)
    page = browser.open(f"/dashboard/sign-in?token={house.link('ada')}")
    done = browser.submit(page, "/dashboard/redeem", code=made["code"].lower())
    assert "This code gave $25.00 of credit, until 2026-03-31" in done.text
    again = browser.submit(page, "/dashboard/redeem", code=made["code"])
    assert (again.status, "redeemed by this account already" in again.text) == (409, True)
    assert browser.submit(page, "/dashboard/redeem", code="guess").status == 404
    assert "25.00" in browser.open("/dashboard").text
    entry = house.operator.get("/v1/accounts/ada/auditLogs").json["auditLogs"][0]
    assert entry["changes"][0]["resource"].startswith("accounts/ada/")
    house.member("ada", "bot", "user")
    other = Browser(house)
    page = other.open(f"/dashboard/sign-in?token={house.link('ada', 'bot')}")
    assert "/dashboard/redeem" not in [where for where, _ in forms_of(page)]
    form = forms_of(page)[0][1]["form"]
    assert other.send("/dashboard/redeem", {"form": form, "code": made["code"]}).status == 403


@pytest.mark.once
def test_the_commands(house: House, tmp_path: Path) -> None:
    key = house.open("ada", signupCreditUsd="0").key or ""
    url = f"http://127.0.0.1:{house.operator.port}"
    operator = Terminal(tmp_path).using(PURSER_URL=url, PURSER_OPERATOR_KEY=OPERATOR_KEY)
    ada = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=key)
    made = operator.json("credit-code", "create", "25", "--redemptions", "2", "--days", "90", "--name", "spring")
    assert (made["amountUsd"], made["creditDays"], made["displayName"]) == ("25.00", 90, "spring")
    shown = operator.run("credit-code", "create", "5", "--expires", "2027-01-01T00:00:00Z")
    assert (shown.code, "shown this once" in shown.stderr) == (0, True)
    shown_id = operator.json("credit-code", "list")["creditCodes"][0]["id"]
    got = ada.run("credits", "redeem", made["code"])
    assert (got.code, "$25.00" in got.stdout) == (0, True), got.stderr
    again = ada.run("credits", "redeem", made["code"])
    assert (again.code, "redeemed by this account already" in again.stderr) == (7, True)
    assert ada.run("credits", "redeem", "guess").code == 5
    [redeemed] = operator.json("credit-code", "redemptions", made["id"])["redemptions"]
    assert (redeemed["account"], redeemed["amountUsd"]) == ("ada", "25.00")
    assert "ada" in operator.ok("credit-code", "redemptions", made["id"])
    assert operator.run("credit-code", "redemptions", shown_id).stderr == "Nobody has redeemed it yet.\n"
    assert operator.run("credit-code", "redemptions", "code_none").code == 5
    listed = operator.ok("credit-code", "list")
    assert "spring" in listed
    assert operator.run("credit-code", "end", made["id"]).code == 2, "nobody is there to answer"
    assert operator.run("credit-code", "end", made["id"], "--yes").code == 0
    assert operator.json("credit-code", "list")["creditCodes"][-1]["endedAt"] == "2026-03-01T09:00:00Z"
    assert ada.run("credit-code", "list").code == 4
