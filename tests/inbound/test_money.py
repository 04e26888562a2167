"""Credit, payment methods and quotas through the control plane (A3, A7, L1–L5, S2–S8, S15–S22)."""

from __future__ import annotations

import pytest

from tests.inbound.house import Client, House


def test_the_balance_of_a_new_account(house: House) -> None:
    ada = house.open("ada")
    balance = ada.get("/v1/accounts/ada/balance").json
    (grant,) = balance.pop("grants")
    assert (grant["kind"], grant["remainingUsd"], grant["expiresAt"]) == ("promotional", "1.00", None)
    assert balance == {
        "creditUsd": "1.00",
        "outstandingUsd": "0.00",
        "spentThisMonthUsd": "0.000000000",
        "limitUsd": "50.00",
        "heldUsd": "0.00",
        "headroomUsd": "1.00",
        "runway": None,
    }


def test_a_contract_account_has_neither_limit_nor_headroom(house: House) -> None:
    house.open("acme", billingMode="contract")
    balance = house.balance("acme")
    assert (balance["limitUsd"], balance["headroomUsd"]) == (None, None)


def test_the_runway_follows_the_pace_since_the_account_was_opened(house: House) -> None:
    house.open("ada", signupCreditUsd="15.00")
    house.spend("ada", 1, "e1")
    assert house.balance("ada")["runway"] == {"days": 14, "until": "2026-03-15T09:00:00Z"}


@pytest.mark.parametrize(
    "owed, bought, left, credit, allocation",
    [
        (750, "500.00", "250.00", "0.00", [("unbilled", "500.00")]),
        (300, "500.00", "0.00", "200.00", [("unbilled", "300.00"), ("credit", "200.00")]),
        (500, "500.00", "0.00", "0.00", [("unbilled", "500.00")]),
    ],
)
def test_bought_credit_pays_what_is_owed_first(
    house: House, owed: int, bought: str, left: str, credit: str, allocation: list[tuple[str, str]]
) -> None:
    """S2, S3, S4."""
    ada = house.open("ada", signupCreditUsd="0.00")
    house.card("ada")
    house.spend("ada", owed, "e1")
    answer = ada.post("/v1/accounts/ada/credits:purchase", {"amountUsd": bought})
    assert answer.status == 200
    assert answer.json["amountUsd"] == bought
    assert [(part["to"], part["amountUsd"]) for part in answer.json["allocation"]] == allocation
    balance = house.balance("ada")
    assert (balance["outstandingUsd"], balance["creditUsd"]) == (left, credit)
    (receipt,) = ada.get("/v1/accounts/ada/receipts").json["receipts"]
    assert receipt["id"] == answer.json["receipt"]
    assert (receipt["amountUsd"], receipt["payment"]) == (bought, answer.json["id"])
    assert receipt["allocation"] == answer.json["allocation"]
    assert house.audit() == []


def test_the_receipt_of_money_that_the_operator_received_shows_where_it_went(house: House) -> None:
    """A7, D3: onto the invoice, the open month, and the rest into credit; or all of it onto what is owed."""
    ada = house.open("ada", signupCreditUsd="0.00")
    house.spend("ada", 10, "e1")
    house.advance("2026-04-01T00:00:00Z")
    house.spend("ada", 3, "e2")
    (invoice,) = house.invoices("ada")
    path = "/operator/v1/accounts/ada/grants"
    first = house.operator.post(path, {"amountUsd": "4.00", "kind": "purchased"}).json
    second = house.operator.post(path, {"amountUsd": "20.00", "kind": "purchased"}).json
    receipts = ada.get("/v1/accounts/ada/receipts").json["receipts"]
    assert [(row["id"], row["payment"], row["allocation"]) for row in receipts] == [
        (second["receipt"], None, second["allocation"]),
        (first["receipt"], None, first["allocation"]),
    ]
    assert receipts[1]["allocation"] == [{"to": "invoice", "amountUsd": "4.00", "id": invoice["id"]}]
    assert receipts[0]["allocation"] == [
        {"to": "invoice", "amountUsd": "6.00", "id": invoice["id"]},
        {"to": "unbilled", "amountUsd": "3.00", "id": "2026-04"},
        {"to": "credit", "amountUsd": "11.00"},
    ]
    assert house.audit() == []


def test_credit_cannot_be_bought_without_a_payment_method(house: House) -> None:
    ada = house.open("ada")
    answer = ada.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"})
    assert (answer.status, answer.json["code"]) == (409, "FAILED_PRECONDITION")
    assert "payment method" in answer.json["detail"]


def test_credits_list_what_became_of_each_grant(house: House) -> None:
    ada = house.open("ada")
    house.card("ada")
    ada.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "10.00"})
    house.spend("ada", 3, "e1")
    listed = ada.get("/v1/accounts/ada/credits").json
    assert listed["creditUsd"] == "8.00"
    found = {row["kind"]: (row["grantedUsd"], row["usedUsd"], row["remainingUsd"]) for row in listed["credits"]}
    assert found == {"promotional": ("1.00", "1.00", "0.00"), "purchased": ("10.00", "2.00", "8.00")}


def test_a_card_that_is_declined_when_added(house: House) -> None:
    ada = house.open("ada")
    answer = ada.post("/v1/accounts/ada/paymentMethods", {"token": "pm_card_chargeDeclined"})
    assert (answer.status, answer.json["code"]) == (402, "card_declined")
    assert ada.get("/v1/accounts/ada/paymentMethods").json == {"paymentMethods": [], "defaultPaymentMethodId": None}
    assert house.account("ada")["tier"] == 0


def test_a_card_that_is_declined_when_charged(house: House) -> None:
    ada = house.open("ada")
    house.card("ada", "pm_card_chargeCustomerFail")
    answer = ada.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"})
    assert (answer.status, answer.json["code"]) == (402, "card_declined")
    assert house.balance("ada")["creditUsd"] == "1.00"
    assert ada.get("/v1/accounts/ada/receipts").json["receipts"] == []


def test_payment_methods_come_and_go(house: House) -> None:
    ada = house.open("ada")
    path = "/v1/accounts/ada/paymentMethods"
    first = ada.post(path, {"token": "pm_card_visa"}).json
    assert first["card"] == {"brand": "visa", "last4": "4242", "expMonth": 12, "expYear": 2034}
    assert first["default"] is True
    second = ada.post(path, {"token": "pm_card_mastercard"}).json
    assert ada.get(path).json["defaultPaymentMethodId"] == second["id"]
    assert ada.get(f"{path}/{first['id']}").json == {**first, "default": False}
    assert ada.delete(f"{path}/{second['id']}").json == {}
    assert ada.get(path).json["defaultPaymentMethodId"] == first["id"]
    assert ada.delete(f"{path}/{second['id']}").status == 404
    assert ada.get(f"{path}/{second['id']}").status == 404
    assert "token" not in ada.get(path).text


def test_a_depleted_account_comes_back_with_a_card(house: House) -> None:
    """S5, S7."""
    ada = house.open("ada")
    house.spend("ada", 1, "e1")
    shown = ada.get("/v1/accounts/ada").json
    assert shown["suspendState"] == "CREDIT_DEPLETED"
    (cause,) = shown["suspensionCauses"]
    assert cause["since"] == "2026-03-01T09:00:00Z"
    assert "payment method" in cause["wayBack"]
    assert ada.post("/v1/accounts/ada/paymentMethods", {"token": "pm_card_visa"}).status == 200
    assert ada.get("/v1/accounts/ada").json["suspendState"] == "UNSUSPENDED"


def quota(client: Client, account: str = "ada") -> dict[str, object]:
    found: dict[str, object] = client.get(f"/v1/accounts/{account}/quotas/monthly-spend-usd").json
    return found


def test_the_quotas_of_a_new_account(house: House) -> None:
    ada = house.open("ada")
    listed = ada.get("/v1/accounts/ada/quotas?pageSize=200").json["quotas"]
    by_name = {row["name"].rpartition("/")[2]: row for row in listed}
    spend, requests = by_name["monthly-spend-usd"], by_name["serverless-inference-rpm"]
    assert (spend["value"], spend["maxValue"], spend["usage"]) == ("50", "50", 0)
    assert (requests["value"], requests["maxValue"]) == ("10", "10")
    house.card("ada")
    assert ada.get("/v1/accounts/ada/quotas/serverless-inference-rpm").json["value"] == "6000"


def test_a_limit_within_the_tier_is_set_and_one_above_it_refused(house: House) -> None:
    """S15, S20, S21."""
    ada = house.open("ada")
    house.card("ada")
    path = "/v1/accounts/ada/quotas/monthly-spend-usd"
    refused = ada.patch(path, {"value": "200"})
    assert (refused.status, refused.json["code"]) == (400, "INVALID_ARGUMENT")
    assert refused.json["errors"][0]["field"] == "value"
    assert quota(ada)["value"] == "50"
    ada.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "100.00"})
    assert house.account("ada")["tier"] == 2
    assert quota(ada)["maxValue"] == "500"
    set_ = ada.patch(path, {"value": "200"}).json
    assert (set_["value"], set_["maxValue"], set_["effectiveAt"]) == ("200", "500", "2026-03-01T09:00:00Z")
    assert ada.patch(path, {"value": 500}).json["value"] == "500"
    assert house.balance("ada")["limitUsd"] == "500.00"


def test_a_limit_below_what_was_used_suspends_at_once(house: House) -> None:
    """S22."""
    ada = house.open("ada")
    house.card("ada")
    house.spend("ada", 20, "e1")
    assert quota(ada)["usage"] == 20.0
    assert ada.patch("/v1/accounts/ada/quotas/monthly-spend-usd", {"value": "10"}).json["value"] == "10"
    assert house.account("ada")["suspendState"] == "MONTHLY_SPEND_LIMIT_EXCEEDED"
    assert ada.patch("/v1/accounts/ada/quotas/monthly-spend-usd", {"value": "30"}).status == 200
    assert house.account("ada")["suspendState"] == "UNSUSPENDED"


def test_what_is_unlimited_is_absent(house: House) -> None:
    ada = house.open("ada")
    lifted = house.operator.patch("/operator/v1/accounts/ada", {"unlimited": True})
    assert lifted.json["tier"] == "unlimited"
    shown = quota(ada)
    assert "value" not in shown
    assert "maxValue" not in shown
    house.open("bob", billingMode="prepaid")
    assert "maxValue" not in quota(house.operator, "bob")
    set_ = house.operator.patch("/v1/accounts/bob/quotas/monthly-spend-usd", {"value": "5000"})
    assert set_.json["value"] == "5000"
    assert "maxValue" not in set_.json


def test_only_the_operator_lifts_the_maximum(house: House) -> None:
    ada = house.open("ada")
    path = "/v1/accounts/ada/quotas/monthly-spend-usd"
    assert ada.patch(path, {"maxValue": "1000"}).status == 403
    answer = house.operator.patch(path, {"maxValue": "1000"})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "maxValue")
    assert ada.patch("/v1/accounts/ada/quotas/serverless-inference-rpm", {"value": "9"}).status == 403
    assert ada.patch("/v1/accounts/ada/quotas/gpus", {"value": "9"}).status == 404
    assert ada.get("/v1/accounts/ada/quotas/gpus").status == 404


def test_the_statement_reads_like_a_ledger(house: House) -> None:
    ada = house.open("ada")
    house.card("ada")
    house.spend("ada", 3, "e1")
    ada.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "10.00"})
    rows = ada.get("/v1/accounts/ada/statement").json["rows"]
    assert {row["kind"] for row in rows} == {"granted", "settled", "drawn", "purchased"}
    for row in rows:
        debits = [part["amountUsd"] for part in row["postings"] if part["side"] == "debit"]
        assert debits
    seen: list[str] = []
    token = ""
    while True:
        page = ada.get(f"/v1/accounts/ada/statement?pageSize=1&pageToken={token}").json
        seen += [row["key"] for row in page["rows"]]
        token = page["nextPageToken"]
        if not token:
            break
    assert seen == [row["key"] for row in rows]


def test_usage_is_summed_by_minute_key_and_user(house: House) -> None:
    ada = house.open("ada")
    house.card("ada")
    house.advance("2026-03-01T10:30:00Z")
    house.spend("ada", 2, "e1", occurredAt="2026-03-01T09:30:10Z", user="bob")
    house.spend("ada", 1, "e2", occurredAt="2026-03-01T09:30:50Z", user="bob")
    house.spend("ada", 4, "e3", occurredAt="2026-03-01T09:31:00Z")
    span = "start=2026-03-01T09:00:00Z&end=2026-03-01T10:00:00Z"
    told = ada.get(f"/v1/accounts/ada/usage?{span}&bucket=1m&groupBy=user,key").json
    assert told["rows"] == [
        {
            "start": "2026-03-01T09:30:00Z",
            "quantities": {"input_tokens": 3_000_000},
            "amountUsd": "3.000000000",
            "user": "bob",
            "key": None,
        },
        {
            "start": "2026-03-01T09:31:00Z",
            "quantities": {"input_tokens": 4_000_000},
            "amountUsd": "4.000000000",
            "user": None,
            "key": None,
        },
    ]
    assert told["totalUsd"] == "7.000000000"


def test_usage_from_the_events_is_usage_from_the_roll_ups(house: House) -> None:
    ada = house.open("ada", billingMode="contract")
    house.advance("2026-03-01T10:30:00Z")
    for n, unit in enumerate(("input_tokens", "output_tokens", "input_tokens")):
        body = {"id": f"e{n}", "account": "ada", "model": "tiny", "quantities": {unit: 1_003 * (n + 1)}}
        assert house.operator.post("/v1/usage", body | {"batch": n == 2}).status == 200
    by_model = ada.get("/v1/accounts/ada/usage?bucket=1h&groupBy=model").json
    by_user = ada.get("/v1/accounts/ada/usage?bucket=1h&groupBy=model,user").json
    assert [{**row, "user": None} for row in by_model["rows"]] == by_user["rows"]
    assert len(by_model["rows"][0]["quantities"]) == 3
    assert by_model["totalUsd"] == by_user["totalUsd"]


def test_usage_is_summed_by_hour_day_and_model(house: House) -> None:
    ada = house.open("ada")
    house.card("ada")
    house.advance("2026-03-01T10:30:00Z")
    house.spend("ada", 2, "e1", occurredAt="2026-03-01T09:30:00Z")
    house.spend("ada", 1, "e2")
    by_hour = ada.get("/v1/accounts/ada/usage?bucket=1h&groupBy=model").json
    assert [(row["start"], row["model"], row["amountUsd"]) for row in by_hour["rows"]] == [
        ("2026-03-01T09:00:00Z", "dollar", "2.000000000"),
        ("2026-03-01T10:00:00Z", "dollar", "1.000000000"),
    ]
    by_day = ada.get("/v1/accounts/ada/usage?start=2026-03-01T00:00:00Z&end=2026-03-02T00:00:00Z").json
    assert by_day["totalUsd"] == "3.000000000"
    (row,) = by_day["rows"]
    assert row["quantities"] == {"input_tokens": 3_000_000}
    assert "model" not in row
    before = ada.get("/v1/accounts/ada/usage?start=2026-02-01T00:00:00Z&end=2026-03-01T00:00:00Z").json
    assert before["rows"] == []
