"""`Idempotency-Key`: the same key and body have one effect and one answer, another body is refused (C7)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from purser.flows import payments
from purser.outbound.provider import Unreachable
from purser.outbound.testpay import TestProvider
from purser.store.schema import metadata
from tests import databases
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
    skipped = {"idempotency", "changes", "commits", "writers"}
    return [(name, len(rows)) for name, rows in databases.rows(house.db).items() if name not in skipped]


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
    assert ada.post("/v1/accounts/ada/credits:purchase", body, KEY).status == 202
    monkeypatch.undo()
    assert ada.post("/v1/accounts/ada/credits:purchase", body, KEY).json["amountUsd"] == "5.00"
    assert house.balance("ada")["creditUsd"] == "6.00"


class Silent(TestProvider):
    """Takes the money, once per key, and its answers are lost as long as it is `silent`."""

    def __init__(self) -> None:
        self.taken: set[str] = set()
        self.silent = True

    def charge(self, token: str, amount_nanos: int, key: str) -> str:
        answer = super().charge(token, amount_nanos, key)
        self.taken.add(key)
        if self.silent:
            raise Unreachable("the connection broke")
        return answer


@pytest.mark.parametrize("headers", [None, KEY])
def test_a_purchase_whose_end_is_not_known_is_accepted_and_not_to_be_sent_again(
    house: House, headers: dict[str, str] | None
) -> None:
    ada = house.open("ada")
    house.card("ada")
    provider = house.desk.worker.provider = Silent()
    path, body = "/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"}
    first = ada.post(path, body, headers)
    assert (first.status, first.json["state"], first.json["receipt"]) == (202, "PENDING", None)
    assert "retry-after" not in first.headers
    if headers is not None:
        assert ada.post(path, body, headers).json == first.json
    provider.silent = False
    if headers is None:
        house.desk.worker.run_due()
    else:
        then = ada.post(path, body, headers)
        assert (then.status, then.json["state"], then.json["id"]) == (200, "SUCCEEDED", first.json["id"])
        assert ada.post(path, body, headers).json == then.json
    assert provider.taken == {first.json["id"]}
    (receipt,) = ada.get("/v1/accounts/ada/receipts").json["receipts"]
    assert receipt["payment"] == first.json["id"]
    assert house.balance("ada")["creditUsd"] == "6.00"
    assert house.audit() == []


@pytest.mark.parametrize("path", ["credits:purchase", "invoices/{invoice}:pay"])
def test_the_document_of_the_api_says_that_a_payment_may_go_on(house: House, path: str) -> None:
    document = house.nobody.get("/openapi.json").json
    responses = document["paths"][f"/v1/accounts/{{account}}/{path}"]["post"]["responses"]
    assert {status for status in responses if status < "300"} == {"200", "202"}
    assert "goes on by itself" in responses["202"]["description"]
    assert (
        responses["202"]["content"]["application/json"]["schema"]
        == (responses["200"]["content"]["application/json"]["schema"])
    )


def test_an_invoice_whose_payment_is_not_known_to_be_through_is_accepted(house: House) -> None:
    ada = house.open("ada", signupCreditUsd="0.00")
    house.card("ada", "pm_card_chargeCustomerFail")
    house.spend("ada", 10, "e1")
    house.advance("2026-04-01T00:00:00Z")
    provider = house.desk.worker.provider = Silent()
    (invoice,) = house.invoices("ada")
    path = f"/v1/accounts/ada/invoices/{invoice['id']}:pay"
    house.card("ada")
    assert house.invoices("ada")[0]["state"] == "FAILED"
    first = ada.post(path, {}, KEY)
    assert (first.status, first.json["state"], first.json["remainingUsd"]) == (202, "FAILED", "10.00")
    provider.silent = False
    then = ada.post(path, {}, KEY)
    assert (then.status, then.json["state"]) == (200, "PAID")
    assert ada.post(path, {}, KEY).json == then.json
    assert len(provider.taken) == 1


def test_a_card_added_twice_stays_removed_in_between(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answer is lost after the commit, and the card removed before the request is sent again."""
    ada = house.open("ada")
    genuine = house.desk.worker.add_method

    def lose_the_answer(*given: Any) -> Any:
        genuine(*given)
        raise RuntimeError("the process died here")

    path, body = "/v1/accounts/ada/paymentMethods", {"token": "pm_card_visa"}
    monkeypatch.setattr(house.desk.worker, "add_method", lose_the_answer)
    assert ada.post(path, body, KEY).status == 500
    monkeypatch.undo()
    (method,) = ada.get(path).json["paymentMethods"]
    assert ada.delete(f"{path}/{method['id']}").status == 200
    again = ada.post(path, body, KEY)
    assert (again.status, again.json) == (200, {**method, "default": False})
    assert ada.post(path, body, KEY).json == again.json
    assert ada.get(path).json["paymentMethods"] == []


def test_users_of_one_account_do_not_get_each_others_answers(house: House) -> None:
    """The answer to an admin's request may hold a secret of the admin's."""
    admin = house.open("ada")
    bot = house.member("ada", "bot", "inference-user")
    one = admin.post("/v1/accounts/ada/apiKeys", {"displayName": "ci"}, KEY).json
    two = bot.post("/v1/accounts/ada/apiKeys", {"displayName": "ci"}, KEY).json
    assert (one["user"], two["user"]) == ("owner", "bot")
    assert one["key"] != two["key"]
    assert admin.post("/v1/accounts/ada/apiKeys", {"displayName": "ci"}, KEY).json == one


def test_the_same_usage_sent_several_times_at_once_has_one_answer(house: House) -> None:
    house.open("ada")
    used = {"account": "ada", "model": "dollar", "quantities": {"input_tokens": 1000}}
    events = [{"id": f"e{n}", **used} for n in range(200)]

    def report(_: int) -> Any:
        return house.operator.post("/v1/usage", events, KEY).json

    with ThreadPoolExecutor(3) as pool:
        answers = list(pool.map(report, range(3)))
    assert answers[1:] == answers[:1] * 2
    assert report(0) == answers[0]
    assert house.balance("ada")["spentThisMonthUsd"] == "0.200000000"


def test_kept_answers_hold_no_key_in_the_clear(house: House) -> None:
    ada = house.open("ada")
    made = ada.post("/v1/accounts/ada/apiKeys", {}, KEY).json
    rows = databases.rows(house.db)["idempotency"]
    assert len(rows) == 1
    columns = list(metadata.tables["idempotency"].c.keys())
    plain = str(rows) + str([bytes.fromhex(str(row[columns.index("answer")])) for row in rows])
    assert made["key"] not in plain
    assert KEY["idempotency-key"] not in plain


@pytest.mark.parametrize("key", ["", "x" * 256, "tab\there", "\xe9"])
def test_a_key_that_is_no_key(house: House, key: str) -> None:
    answer = house.operator.post("/operator/v1/audit", headers={"idempotency-key": key})
    assert answer.status == 200  # it writes nothing, so there is nothing to repeat
    answer = house.operator.post("/operator/v1/accounts", {"id": "ada", "email": "a@b.c"}, {"idempotency-key": key})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "Idempotency-Key")


def test_many_at_once_have_one_effect(house: House) -> None:
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
