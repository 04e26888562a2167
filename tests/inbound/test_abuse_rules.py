"""Abuse rules over HTTP: made, listed and ended by the operator, in force at sign-up and on accounts, and told."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from purser.core.money import NANOS_PER_USD
from purser.core.policy import WITH_CARD, Policy
from purser.flows import abuse
from tests.inbound.browser import Browser, Post, post_of
from tests.inbound.house import OPERATOR_KEY, Answer, House
from tests.inbound.terminal import Terminal
from tests.inbound.test_sign_up import all_accounts, ask, follow

RULES, FLAGS = "/operator/v1/abuseRules", "/operator/v1/accountFlags"
REFUSED = "ask the operator of this gateway"


@pytest.fixture
def post(tmp_path: Path) -> Iterator[Post]:
    """A house where anybody may sign up, behind a proxy; the books are in order at the end."""
    policy = Policy(sign_up=True, signup_credit_nanos=2 * NANOS_PER_USD)
    house = House(tmp_path, policy, trusted_proxies=("127.0.0.0/8",))
    try:
        with post_of(house) as running:
            yield running
        assert house.audit() == []
    finally:
        house.close()


def make(house: House, type_: str, target: str, designation: str = "BLOCKED", reason: str = "many", **more: Any) -> Any:
    body = {"type": type_, "target": target, "designation": designation, "reason": reason}
    made = house.operator.post(RULES, body, more)
    assert made.status == 201, made.text
    return made.json


def causes(house: House, account: str) -> list[tuple[str, str]]:
    return [(each["cause"], each["why"]) for each in house.account(account)["suspensionCauses"]]


def flags(house: House, account: str) -> list[Any]:
    found: list[Any] = house.operator.get(f"/operator/v1/accounts/{account}").json["flags"]
    return found


def ask_from(house: House, address: str, email: str, what: str = "signUp") -> Answer:
    return house.nobody.post(f"/v1/{what}Links", {"email": email}, {"x-forwarded-for": address})


def test_made_listed_and_ended(house: House) -> None:
    made = make(house, "DOMAIN", "Example.COM", reason="one person, many accounts")
    assert made == {
        "id": made["id"],
        "type": "DOMAIN",
        "target": "example.com",
        "designation": "BLOCKED",
        "reason": "one person, many accounts",
        "state": "ACTIVE",
        "createdAt": "2026-03-01T09:00:00Z",
        "endedAt": None,
        "accounts": 0,
    }
    net = make(house, "IP", "2001:DB8::/32", "SUSPICIOUS")
    assert house.operator.get(f"{RULES}/{net['id']}").json["target"] == "2001:db8::/32"
    again = house.operator.post(
        RULES, {**{k: made[k] for k in ("type", "designation", "reason")}, "target": "example.com"}
    )
    assert (again.status, made["id"] in again.json["detail"]) == (409, True)
    ended = house.operator.delete(f"{RULES}/{made['id']}")
    assert (ended.status, ended.json["state"], ended.json["endedAt"]) == (200, "ENDED", "2026-03-01T09:00:00Z")
    listed = house.operator.get(RULES).json
    assert [(each["id"], each["state"]) for each in listed["abuseRules"]] == [
        (net["id"], "ACTIVE"),
        (made["id"], "ENDED"),
    ]
    assert "accounts" not in listed["abuseRules"][0]
    assert house.operator.get(f"{RULES}/abuse_0").status == house.operator.delete(f"{RULES}/abuse_0").status == 404
    assert make(house, "DOMAIN", "example.com")["id"] != made["id"], "what has ended is in no one's way"
    for body, field in (
        ({"type": "WHIM"}, "type"),
        ({"target": "@example.com"}, "target"),
        ({"designation": "SOMEHOW"}, "designation"),
        ({"reason": " "}, "reason"),
    ):
        good = {"type": "DOMAIN", "target": "example.net", "designation": "BLOCKED", "reason": "x"}
        refused = house.operator.post(RULES, {**good, **body})
        assert (refused.status, refused.json["errors"][0]["field"]) == (400, field)
    ada = house.open("ada", email="ada@example.net")
    assert ada.get(RULES).status == ada.post(RULES, {}).status == ada.get(FLAGS).status == 403
    assert house.audit() == []


def test_accounts_are_suspended_and_the_reason_is_the_operators(house: House) -> None:
    ada = house.open("ada")
    house.open("bob", email="bob@example.net")
    made = make(house, "DOMAIN", "example.com", reason="a stolen card")
    assert made["accounts"] == 1
    assert causes(house, "ada") == [("BLOCKED_BY_ABUSE_RULE", f"rule {made['id']}")]
    assert causes(house, "bob") == []
    mine = ada.get("/v1/accounts/ada")
    assert (mine.json["suspendState"], "flags" in mine.json) == ("BLOCKED_BY_ABUSE_RULE", False)
    seen = ada.get("/v1/accounts/ada/auditLogs").text + mine.text + ada.get("/v1/accounts/ada/explain").text
    assert made["id"] in seen
    assert "stolen" not in seen, "the reason is nobody's but the operator's"
    flag = {"account": "ada", "kind": "BLOCKED", "why": "a stolen card", "rule": made["id"], "since": made["createdAt"]}
    assert flags(house, "ada") == house.operator.get(FLAGS).json["accountFlags"] == [flag]
    found = {each["id"]: each["flags"] for each in house.operator.get("/operator/v1/accounts").json["accounts"]}
    assert found == {"ada": [flag], "bob": []}
    (entry,) = [
        each
        for each in house.operator.get("/operator/v1/auditLogs").json["auditLogs"]
        if each["resource"] == f"abuseRules/{made['id']}"
    ]
    assert (entry["principal"], entry["changes"][0]["after"]["reason"]) == ("owner", "a stolen card")
    refused = house.operator.post("/operator/v1/accounts/ada:reinstate")
    assert (refused.status, f"{made['id']} (DOMAIN example.com)" in refused.json["detail"]) == (409, True)
    assert house.operator.delete(f"{RULES}/{made['id']}").status == 200
    assert house.account("ada")["suspendState"] == "BLOCKED_BY_ABUSE_RULE"
    assert house.operator.post("/operator/v1/accounts/ada:reinstate").json["suspendState"] == "UNSUSPENDED"
    assert house.operator.get(FLAGS).json["accountFlags"] == []
    assert house.audit() == []


def test_what_is_too_much_for_one_transaction_is_the_workers(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abuse, "AT_ONCE", 1)
    for name in ("ada", "bob", "cyd"):
        house.open(name)
    made = make(house, "DOMAIN", "example.com")
    assert made["accounts"] == 3
    assert [len(causes(house, name)) for name in ("ada", "bob", "cyd")] == [1, 0, 0]
    house.desk.worker.run_due()
    assert [len(causes(house, name)) for name in ("ada", "bob", "cyd")] == [1, 1, 1]
    entry = house.operator.get("/v1/accounts/cyd/auditLogs").json["auditLogs"][0]
    assert (entry["principal"], entry["method"]) == ("purser", "abuse rules")
    assert house.audit() == []


def test_a_reason_of_the_operators_own_stays(house: House) -> None:
    house.open("ada")
    house.operator.post("/operator/v1/accounts/ada:suspend", {"reason": "scraping"})
    make(house, "ACCOUNT", "ada")
    assert causes(house, "ada") == [("BLOCKED_BY_ABUSE_RULE", "scraping")]
    assert [each["kind"] for each in flags(house, "ada")] == ["BLOCKED"]


def test_a_dry_run_counts_and_changes_nothing(house: House) -> None:
    house.open("ada")
    body = {"type": "DOMAIN", "target": "example.com", "designation": "BLOCKED", "reason": "x"}
    tried = house.operator.post(f"{RULES}?dryRun=true", body)
    assert (tried.status, tried.json["accounts"]) == (201, 1)
    assert house.operator.get(RULES).json["abuseRules"] == []
    assert causes(house, "ada") == []
    made = make(house, "DOMAIN", "example.com")
    assert house.operator.delete(f"{RULES}/{made['id']}?dryRun=true").json["state"] == "ENDED"
    assert house.operator.get(f"{RULES}/{made['id']}").json["state"] == "ACTIVE"


def test_the_operator_opens_no_account_that_would_be_blocked(house: House) -> None:
    made = make(house, "DOMAIN", "example.com")
    refused = house.operator.post("/operator/v1/accounts", {"id": "ada", "email": "ada@mail.example.com"})
    assert (refused.status, refused.json["errors"][0]["field"]) == (409, "email")
    assert made["id"] in refused.json["detail"]
    make(house, "ACCOUNT", "ada", "ALLOWED")
    house.open("ada", email="ada@mail.example.com")
    make(house, "ACCOUNT", "bob")
    refused = house.operator.post("/operator/v1/accounts", {"id": "bob", "email": "bob@example.net"})
    assert (refused.status, refused.json["errors"][0]["field"]) == (409, "id")
    make(house, "DOMAIN", "example.net", "SUSPICIOUS")
    house.open("cyd", email="cyd@example.net")
    assert (house.balance("cyd")["creditUsd"], flags(house, "cyd")) == ("1.00", [])


def test_sign_up_is_refused_in_words_that_name_no_rule(post: Post) -> None:
    house = post.house
    early = ask(post, "ada@example.com")
    rules = [make(house, "DOMAIN", "example.com")["id"], make(house, "IP", "198.51.100.0/24")["id"]]
    refusals = [
        ask_from(house, "203.0.113.1", "eve@mail.example.com"),
        ask_from(house, "198.51.100.7", "eve@example.net"),
        ask_from(house, "::ffff:198.51.100.7", "eve@example.net"),
        ask_from(house, "198.51.100.7", "eve@example.net", "signIn"),
    ]
    assert {each.status for each in refusals} == {403}
    assert len({each.json["detail"] for each in refusals}) == 1, "which it was is not told"
    assert REFUSED in refusals[0].text
    assert not any(rule in each.text for rule in rules for each in refusals)
    page = follow(Browser(house), early)
    assert (page.status, REFUSED in page.text) == (403, True), "a link that was sent before opens nothing"
    assert all_accounts(house) == []
    assert ask_from(house, "203.0.113.1", "eve@example.net").status == 202
    assert ask_from(house, "203.0.113.1", "eve@example.com", "signIn").status == 202, "who is there may come in"
    spoofed = house.nobody.post(
        "/v1/signUpLinks", {"email": "x@example.net"}, {"x-forwarded-for": "1.1.1.1, 198.51.100.7"}
    )
    assert spoofed.status == 403
    browser = Browser(house, headers={"x-forwarded-for": "198.51.100.7"})
    page = browser.submit(browser.open("/dashboard/sign-up"), "/dashboard/sign-up", email="eve@example.net")
    assert (page.status, REFUSED in page.text) == (403, True)


def test_whoever_follows_a_link_from_a_blocked_network_opens_nothing(post: Post) -> None:
    make(post.house, "IP", "198.51.100.0/24")
    link = ask(post, "ada@example.net")
    page = follow(Browser(post.house, headers={"x-forwarded-for": "198.51.100.7"}), link)
    assert page.status == 403
    assert "Your account is open" in follow(Browser(post.house), link).text, "the link is good still"


def test_suspicious_sign_up_waits_for_a_person(post: Post) -> None:
    house = post.house
    rule = make(house, "DOMAIN", "example.com", "SUSPICIOUS", reason="seen before")
    page = follow(Browser(house), ask(post, "ada@example.com"))
    assert "$2.00, as soon as the operator has looked at the account" in page.text
    (account,) = all_accounts(house)
    name = account["id"]
    assert [(each["kind"], each["why"], each["rule"]) for each in flags(house, name)] == [
        ("SUSPICIOUS", "seen before", rule["id"])
    ]
    assert house.balance(name)["creditUsd"] == "0.00"
    clear = f"/operator/v1/accounts/{name}:clearFlags"
    assert house.operator.post(f"{clear}?dryRun=true").json == {"account": name, "creditUsd": "2.00"}
    assert house.balance(name)["creditUsd"] == "0.00"
    first = house.operator.post(clear, headers={"idempotency-key": "k"})
    assert first.json == {"account": name, "creditUsd": "2.00"}
    assert house.operator.post(clear, headers={"idempotency-key": "k"}).json == first.json
    assert house.operator.post(clear).status == 409
    assert (house.balance(name)["creditUsd"], flags(house, name)) == ("2.00", [])
    assert "had its free credit before" in follow(Browser(house), ask(post, "ada+2@example.com")).text


def test_credit_with_a_card(tmp_path: Path) -> None:
    policy = Policy(sign_up=True, signup_credit_nanos=2 * NANOS_PER_USD, signup_credit_rule=WITH_CARD)
    house = House(tmp_path, policy)
    try:
        with post_of(house) as post:
            assert "With its first payment method it gets $2.00" in Browser(house).open("/dashboard/sign-up").text
            page = follow(Browser(house), ask(post, "ada@example.com"))
            assert "$2.00, as soon as you add a payment method" in page.text
        (account,) = all_accounts(house)
        house.card(account["id"], "pm_card_visa@ada")
        assert house.balance(account["id"])["creditUsd"] == "2.00"
        bob = house.open("bob")
        house.card("bob", "pm_card_visa@ada")
        assert house.balance("bob")["creditUsd"] == "0.00"
        assert house.account("bob")["hasPaymentMethod"], "the card itself is never refused"
        assert [each["kind"] for each in flags(house, "bob")] == ["SHARED_CARD"]
        told = [each["changes"] for each in bob.get("/v1/accounts/bob/auditLogs").json["auditLogs"]]
        assert account["id"] not in str(told), "whose card it is is the operator's to know"
        house.card("bob", "pm_card_visa")
        assert (
            house.operator.post("/operator/v1/accounts/bob:clearFlags", {"grantCredit": False}).json["creditUsd"]
            == "0.00"
        )
        assert house.audit() == []
    finally:
        house.close()


@pytest.mark.once
def test_the_commands(house: House, tmp_path: Path) -> None:
    house.open("ada")
    url = f"http://127.0.0.1:{house.operator.port}"
    operator = Terminal(tmp_path).using(PURSER_URL=url, PURSER_OPERATOR_KEY=OPERATOR_KEY)
    add = ("abuse-rule", "add", "domain", "example.com", "blocked", "--reason", "many accounts")
    tried = operator.run(*add, "--dry-run")
    assert (tried.code, "nothing was changed" in tried.stderr) == (0, True), tried.stderr
    assert operator.run(*add).code == 2, "nobody is there to answer"
    made = operator.json(*add, "--yes")
    assert (made["type"], made["designation"], made["accounts"]) == ("DOMAIN", "BLOCKED", 1)
    assert operator.run(*add, "--yes").code == 7
    assert "example.com" in operator.ok("abuse-rule", "list")
    assert "many accounts" in operator.ok("abuse-rule", "flags")
    assert operator.run("operator", "reinstate", "ada").code == 7
    assert operator.json("abuse-rule", "remove", made["id"], "--dry-run")["state"] == "ENDED"
    assert operator.json("abuse-rule", "remove", made["id"], "--yes")["state"] == "ENDED"
    assert operator.run("operator", "reinstate", "ada").code == 0
    assert operator.run("abuse-rule", "clear", "ada").code == 7
    operator.ok("abuse-rule", "add", "account", "ada", "suspicious", "--reason", "odd")
    assert operator.json("abuse-rule", "clear", "ada", "--no-credit")["creditUsd"] == "0.00"
    assert "No account is flagged" in operator.run("abuse-rule", "flags").stderr
