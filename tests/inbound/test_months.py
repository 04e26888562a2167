"""Months through the control plane: closed into invoices, charged, failed, paid (A5, D1–D3, D6, U6, S1, S11–S14)."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.inbound.house import House


def bill(house: House, account: str, month: str = "2026-03") -> Any:
    """The month-end invoice of a month."""
    (found,) = [row for row in house.invoices(account) if row["month"] == month and row["type"] == "POSTPAID_BILLING"]
    return found


def test_usage_beyond_credit_is_invoiced_and_charged(house: House) -> None:
    """S1: $20 of credit, $83 used, $63 to pay."""
    ada = house.open("ada", signupCreditUsd="20.00")
    house.card("ada")
    house.spend("ada", 83, "e1")
    preview = ada.get("/v1/accounts/ada/invoices:preview").json
    assert (preview["state"], preview["amountDueUsd"], preview["number"]) == ("DRAFT", "63.00", None)
    house.advance("2026-04-01T00:00:00Z")
    invoice = bill(house, "ada")
    assert invoice["number"] == "ADA-0001"
    assert (invoice["state"], invoice["subtotalUsd"], invoice["creditsAppliedUsd"]) == ("PAID", "83.00", "20.00")
    assert (invoice["totalUsd"], invoice["amountDueUsd"], invoice["remainingUsd"]) == ("63.00", "63.00", "0.00")
    (line,) = invoice["lines"]
    assert line == {
        "n": 1,
        "model": "dollar",
        "unit": "input_tokens",
        "quantity": 83_000_000,
        "unitPriceUsd": "0.000001",
        "amountUsd": "83.00",
        "month": "2026-03",
    }
    assert Decimal(line["unitPriceUsd"]) * line["quantity"] == Decimal(line["amountUsd"])
    assert ada.get(f"/v1/accounts/ada/invoices/{invoice['id']}").json == invoice
    assert house.account("ada")["historicalSpendUsd"] == "63.00"
    assert house.account("ada")["tier"] == 2
    assert house.audit() == []


def test_a_month_without_usage_has_no_invoice(house: House) -> None:
    """S12."""
    house.open("ada")
    house.card("ada")
    house.advance("2026-05-01T00:00:00Z")
    assert house.invoices("ada") == []


def test_usage_wholly_covered_by_credit_is_an_invoice_of_nothing(house: House) -> None:
    """A6."""
    house.open("ada", signupCreditUsd="5.00")
    house.spend("ada", 3, "e1")
    house.advance("2026-04-01T00:00:00Z")
    invoice = bill(house, "ada")
    assert (invoice["state"], invoice["totalUsd"]) == ("PAID", "0.00")


def test_the_new_month_lifts_the_limit(house: House) -> None:
    """S9, S14."""
    house.open("ada")
    house.card("ada")
    house.spend("ada", 50, "e1")
    assert house.account("ada")["suspendState"] == "MONTHLY_SPEND_LIMIT_EXCEEDED"
    house.advance("2026-04-01T00:00:00Z")
    assert house.account("ada")["suspendState"] == "UNSUSPENDED"
    assert house.balance("ada")["spentThisMonthUsd"] == "0.000000000"


def test_a_failed_charge_suspends_and_a_new_card_pays_at_once(house: House) -> None:
    """U6, S23, S24."""
    ada = house.open("ada")
    house.card("ada", "pm_card_chargeCustomerFail")
    house.spend("ada", 10, "e1")
    house.advance("2026-04-01T00:00:00Z")
    invoice = bill(house, "ada")
    assert (invoice["state"], invoice["remainingUsd"]) == ("FAILED", "9.00")
    shown = ada.get("/v1/accounts/ada").json
    assert shown["suspendState"] == "FAILED_PAYMENTS"
    assert "ADA-0001" in shown["suspensionCauses"][0]["why"]
    refused = ada.post(f"/v1/accounts/ada/invoices/{invoice['id']}:pay")
    assert (refused.status, refused.json["code"]) == (402, "card_declined")
    assert ada.post("/v1/accounts/ada/paymentMethods", {"token": "pm_card_visa"}).status == 200
    assert bill(house, "ada")["state"] == "PAID"
    assert ada.get("/v1/accounts/ada").json["suspendState"] == "UNSUSPENDED"
    assert house.audit() == []


def test_a_paid_invoice_is_not_paid_again(house: House) -> None:
    ada = house.open("ada")
    bad = house.card("ada", "pm_card_chargeCustomerFail")
    house.spend("ada", 10, "e1")
    house.advance("2026-04-01T00:00:00Z")
    ada.delete(f"/v1/accounts/ada/paymentMethods/{bad}")
    house.card("ada")
    invoice = bill(house, "ada")
    again = ada.post(f"/v1/accounts/ada/invoices/{invoice['id']}:pay", {})
    assert (again.status, again.json["code"]) == (409, "FAILED_PRECONDITION")
    assert invoice["paidAt"] == "2026-04-01T00:00:00Z"


def test_a_failed_invoice_is_paid_with_a_named_method(house: House) -> None:
    ada = house.open("ada")
    good = house.card("ada")
    house.card("ada", "pm_card_chargeCustomerFail")
    house.spend("ada", 10, "e1")
    house.advance("2026-04-01T00:00:00Z")
    invoice = bill(house, "ada")
    assert invoice["state"] == "FAILED"
    paid = ada.post(f"/v1/accounts/ada/invoices/{invoice['id']}:pay", {"paymentMethod": good})
    assert (paid.status, paid.json["state"], paid.json["remainingUsd"]) == (200, "PAID", "0.00")
    assert house.account("ada")["suspendState"] == "UNSUSPENDED"


def test_dunning_charges_again_by_schedule(house: House) -> None:
    house.open("ada")
    house.card("ada", "pm_card_chargeCustomerFail")
    house.spend("ada", 10, "e1")
    house.advance("2026-05-01T00:00:00Z")
    assert bill(house, "ada")["state"] == "FAILED"
    assert house.account("ada")["suspendState"] == "FAILED_PAYMENTS"


def test_late_usage_of_a_closed_month_goes_on_the_next_invoice(house: House) -> None:
    """D6."""
    house.open("ada", signupCreditUsd="0.00")
    house.card("ada")
    house.spend("ada", 10, "e1")
    house.advance("2026-04-02T00:00:00Z")
    house.spend("ada", 2, "late", occurredAt="2026-03-20T00:00:00Z")
    house.advance("2026-05-01T00:00:00Z")
    april = bill(house, "ada", "2026-04")
    assert [(line["month"], line["amountUsd"]) for line in april["lines"]] == [("2026-03", "2.00")]
    assert house.audit() == []


def test_a_line_opens_down_to_the_events_it_sums(house: House) -> None:
    """D2."""
    ada = house.open("ada")
    house.card("ada")
    for n in range(5):
        quantities = {"input_tokens": 1_000 + n, "cached_input_tokens": 500, "output_tokens": 7}
        event = {"id": f"e{n}", "account": "ada", "model": "tiny", "quantities": quantities}
        assert house.operator.post("/v1/usage", event).json["accepted"] == 1
    house.advance("2026-04-01T00:00:00Z")
    invoice = bill(house, "ada")
    assert {line["unit"] for line in invoice["lines"]} == {"input_tokens", "cached_input_tokens", "output_tokens"}
    for line in invoice["lines"]:
        events: list[Any] = []
        token = ""
        while True:
            path = f"/v1/accounts/ada/invoices/{invoice['id']}/lines/{line['n']}/usage?pageSize=2&pageToken={token}"
            page = ada.get(path).json
            events += page["events"]
            token = page["nextPageToken"]
            if not token:
                break
        assert [event["id"] for event in events] == [f"e{n}" for n in range(5)]
        assert sum(event["quantity"] for event in events) == line["quantity"]
        assert sum(Decimal(event["amountUsd"]) for event in events) == Decimal(line["amountUsd"])
    assert ada.get(f"/v1/accounts/ada/invoices/{invoice['id']}/lines/9/usage").status == 404


def test_a_month_is_closed_by_hand_only_after_its_end(house: House) -> None:
    house.open("ada")
    house.card("ada")
    house.spend("ada", 10, "e1")
    early = house.operator.post("/operator/v1/months/2026-03:close")
    assert (early.status, early.json["code"]) == (409, "FAILED_PRECONDITION")
    house.world.set(house.world.now() + 40 * 86_400_000_000)
    closed = house.operator.post("/operator/v1/months/2026-03:close").json
    assert (closed["month"], closed["waiting"]) == ("2026-03", [])
    (invoice,) = closed["invoices"]
    assert (invoice["account"], invoice["state"], invoice["totalUsd"]) == ("ada", "PAID", "9.00")
    assert house.operator.post("/operator/v1/months/2026-03:close").json == closed


def test_a_prepaid_account_is_never_invoiced_for_a_month(house: House) -> None:
    """A8, S26, S27."""
    ada = house.open("ada", billingMode="prepaid", signupCreditUsd="10.00")
    house.card("ada")
    house.spend("ada", 10, "e1")
    assert house.account("ada")["suspendState"] == "CREDIT_DEPLETED"
    house.advance("2026-04-02T00:00:00Z")
    assert house.invoices("ada") == []
    ada.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"})
    assert house.account("ada")["suspendState"] == "UNSUSPENDED"
    assert house.balance("ada")["creditUsd"] == "5.00"
    assert [row["type"] for row in house.invoices("ada")] == ["PREPAID_CREDITS"]


def test_bought_credit_pays_the_oldest_invoice_first(house: House) -> None:
    house.open("ada", signupCreditUsd="0.00")
    house.card("ada", "pm_card_chargeCustomerFail")
    house.spend("ada", 10, "e1")
    house.advance("2026-04-01T00:00:00Z")
    house.spend("ada", 5, "e2")
    body = {"amountUsd": "12.00", "kind": "purchased"}
    given = house.operator.post("/operator/v1/accounts/ada/grants", body).json
    first = bill(house, "ada")
    assert given["allocation"] == [
        {"to": "invoice", "amountUsd": "10.00", "id": first["id"]},
        {"to": "unbilled", "amountUsd": "2.00", "id": "2026-04"},
    ]
    assert (given["id"], given["remainingUsd"]) == (None, "0.00")
    assert first["state"] == "PAID"
    assert house.balance("ada")["outstandingUsd"] == "3.00"
    assert house.account("ada")["suspendState"] == "UNSUSPENDED"
    assert house.audit() == []


@pytest.mark.parametrize("to", ["2026-02-01T00:00:00Z", "2036-06-01T00:00:00Z", "tomorrow"])
def test_the_clock_goes_forward_only_and_not_too_far(house: House, to: str) -> None:
    answer = house.operator.post("/operator/v1/clock:advance", {"to": to})
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "to")
    assert house.operator.get("/operator/v1/clock").json == {"now": "2026-03-01T09:00:00Z", "manual": True}
