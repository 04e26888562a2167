"""`Idempotency-Key`: the same key and body have one effect and one answer, another body is refused (C7)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any

import pytest

from purser.flows import payments
from tests.inbound.house import Answer, Client, House

KEY = {"idempotency-key": "b7a1f0c2-0001"}

# Writes, each with another body for the same route.
WRITES: list[tuple[str, str, Any, Any]] = [
    ("POST", "/operator/v1/accounts", {"id": "bob", "email": "b@example.com"}, {"id": "cyd", "email": "c@example.com"}),
    ("PATCH", "/operator/v1/accounts/ada", {"unlimited": True}, {"unlimited": False}),
    ("POST", "/operator/v1/accounts/ada/grants", {"amountUsd": "5.00"}, {"amountUsd": "6.00"}),
    ("POST", "/operator/v1/accounts/ada/grants", {"amountUsd": "5.00", "kind": "purchased"}, {"amountUsd": "6.00"}),
    ("POST", "/operator/v1/accounts/ada:suspend", {"reason": "one"}, {"reason": "two"}),
    ("POST", "/operator/v1/prices", {"models": {"m": {"input": "1", "output": "1"}}}, {"models": {}}),
    ("POST", "/operator/v1/clock:advance", {"to": "2026-03-02T00:00:00Z"}, {"to": "2026-03-03T00:00:00Z"}),
    ("POST", "/v1/accounts/ada/users?userId=bot", {"role": "user"}, {"role": "admin"}),
    ("PATCH", "/v1/accounts/ada/users/owner", {"displayName": "a"}, {"displayName": "b"}),
    ("POST", "/v1/accounts/ada/users/owner/apiKeys", {"displayName": "a"}, {"displayName": "b"}),
    ("POST", "/v1/accounts/ada/apiKeys", {"displayName": "a"}, {"displayName": "b"}),
    ("POST", "/v1/accounts/ada/paymentMethods", {"token": "pm_card_visa"}, {"token": "pm_card_amex"}),
    ("POST", "/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"}, {"amountUsd": "6.00"}),
    ("PATCH", "/v1/accounts/ada/quotas/monthly-spend-usd", {"value": "10"}, {"value": "20"}),
    (
        "POST",
        "/v1/usage",
        {"id": "e", "account": "ada", "model": "tiny", "quantities": {"input_tokens": 1}},
        {"id": "e", "account": "ada", "model": "tiny", "quantities": {"input_tokens": 2}},
    ),
]


def books(house: House) -> list[tuple[str, int]]:
    """How many rows every table has, but for the kept answers and what each commit adds."""
    with closing(sqlite3.connect(house.db.path)) as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        skipped = {"idempotency", "changes", "commits", "writers"}
        return [
            (name, connection.execute(f'SELECT COUNT(*) FROM "{name}"').fetchone()[0])
            for name in sorted(names)
            if name not in skipped and not name.startswith("sqlite_")
        ]


@pytest.mark.parametrize("method, path, body, other", WRITES)
def test_a_write_sent_twice(house: House, method: str, path: str, body: Any, other: Any) -> None:
    house.open("ada")
    house.card("ada")
    first = house.operator.call(method, path, body, headers=KEY)
    assert first.status in (200, 201), first.text
    before = books(house)
    again = house.operator.call(method, path, body, headers=KEY)
    assert (again.status, again.json) == (first.status, first.json)
    assert again.headers["content-type"] == first.headers["content-type"]
    assert books(house) == before
    refused = house.operator.call(method, path, other, headers=KEY)
    assert (refused.status, refused.json["code"]) == (409, "ALREADY_EXISTS")
    assert refused.json["errors"][0]["field"] == "Idempotency-Key"
    assert books(house) == before
    assert house.audit() == []


def test_keys_of_two_accounts_do_not_meet(house: House) -> None:
    ada, bob = house.open("ada"), house.open("bob")
    one = ada.post("/v1/accounts/ada/apiKeys", {}, KEY)
    two = bob.post("/v1/accounts/bob/apiKeys", {}, KEY)
    assert (one.status, two.status) == (200, 200)
    assert one.json["key"] != two.json["key"]


def test_the_same_key_on_another_route_is_refused(house: House) -> None:
    ada = house.open("ada")
    assert ada.post("/v1/accounts/ada/apiKeys", {}, KEY).status == 200
    assert ada.post("/v1/accounts/ada/users/owner/apiKeys", {}, KEY).status == 409


def test_a_removal_sent_twice(house: House) -> None:
    ada = house.open("ada")
    method = house.card("ada")
    path = f"/v1/accounts/ada/paymentMethods/{method}"
    assert ada.delete(path, KEY).status == 200
    assert ada.delete(path, KEY).status == 200
    assert ada.delete(path, {"idempotency-key": "another"}).status == 404


def test_a_refused_write_may_be_sent_again(house: House) -> None:
    ada = house.open("ada")
    body = {"amountUsd": "5.00"}
    assert ada.post("/v1/accounts/ada/credits:purchase", body, KEY).status == 409
    house.card("ada")
    bought = ada.post("/v1/accounts/ada/credits:purchase", body, KEY)
    assert bought.status == 200
    assert ada.post("/v1/accounts/ada/credits:purchase", body, KEY).json == bought.json
    assert house.balance("ada")["creditUsd"] == "6.00"


def test_a_declined_purchase_stays_declined_under_its_key(house: House) -> None:
    ada = house.open("ada")
    house.card("ada", "pm_card_chargeCustomerFail")
    body = {"amountUsd": "5.00"}

    def buy() -> Answer:
        return ada.post("/v1/accounts/ada/credits:purchase", body, KEY)

    first = buy()
    house.card("ada")
    again = buy()
    assert (first.status, again.status) == (402, 402)
    assert (again.json["code"], again.json["detail"]) == (first.json["code"], first.json["detail"])


def test_a_purchase_whose_answer_was_lost_converges(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The process dies between the provider's answer and ours: the retry finds the payment made."""
    ada = house.open("ada")
    house.card("ada")
    body = {"amountUsd": "5.00"}
    genuine = house.desk.worker.buy_credit

    def lose_the_answer(*given: Any) -> Any:
        genuine(*given)
        raise RuntimeError("the process died here")

    monkeypatch.setattr(house.desk.worker, "buy_credit", lose_the_answer)
    assert ada.post("/v1/accounts/ada/credits:purchase", body, KEY).status == 500
    monkeypatch.undo()
    assert ada.post("/v1/accounts/ada/credits:purchase", body, KEY).status == 200
    assert house.balance("ada")["creditUsd"] == "6.00"
    assert len(ada.get("/v1/accounts/ada/receipts").json["receipts"]) == 1


def test_a_payment_that_the_provider_did_not_answer_goes_on(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    ada = house.open("ada")
    house.card("ada")
    body = {"amountUsd": "5.00"}

    def fail(*_: Any) -> None:
        raise RuntimeError("the process died before the provider answered")

    monkeypatch.setattr(payments, "record_success", fail)
    assert ada.post("/v1/accounts/ada/credits:purchase", body, KEY).status == 500
    monkeypatch.undo()
    assert ada.post("/v1/accounts/ada/credits:purchase", body, KEY).json["amountUsd"] == "5.00"
    assert house.balance("ada")["creditUsd"] == "6.00"


def test_kept_answers_hold_no_key_in_the_clear(house: House) -> None:
    ada = house.open("ada")
    made = ada.post("/v1/accounts/ada/apiKeys", {}, KEY).json
    with closing(sqlite3.connect(house.db.path)) as connection:
        rows = connection.execute("SELECT scope, key, answer FROM idempotency").fetchall()
    assert len(rows) == 1
    plain = str(rows) + str([bytes.fromhex(row[2]) for row in rows])
    assert made["key"] not in plain
    assert KEY["idempotency-key"] not in plain


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "\xe9"])
def test_a_key_that_is_no_key(house: House, key: str) -> None:
    answer = house.operator.post("/operator/v1/audit", headers={"idempotency-key": key})
    assert answer.status == 200  # it writes nothing, so there is nothing to repeat
    answer = house.operator.post("/operator/v1/accounts", {"id": "ada", "email": "a@b.c"}, {"idempotency-key": key})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "Idempotency-Key")


def test_many_at_once_have_one_effect(house: House) -> None:
    from concurrent.futures import ThreadPoolExecutor

    house.open("ada")
    house.card("ada")

    def buy(client: Client) -> Answer:
        return client.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"}, KEY)

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(buy, [house.operator] * 8))
    assert {answer.status for answer in answers} == {200}
    assert len({answer.text for answer in answers}) == 1
    assert house.balance("ada")["creditUsd"] == "6.00"
    assert house.audit() == []
