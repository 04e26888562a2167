"""Holds by API: money that is nobody else's until the work it is for has ended, or its time is over (transition 9)."""

from __future__ import annotations

import threading
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from purser.core.usage import AMOUNT
from purser.flows import holds, standing
from purser.store.holds import Held
from purser.store.writers import Tx
from tests.inbound.house import Answer, Client, House
from tests.inbound.test_scopes import meter

MILLION = 1_000_000


def hold(house: House, dollars: str = "0.40", account: str = "ada", **more: Any) -> Any:
    """A hold in dollars by the operator."""
    answer = place(house.operator, {"account": account, "model": "dollar", "amountUsd": dollars, **more})
    assert answer.status == 201, answer.text
    return answer.json


def place(client: Client, body: Any, headers: dict[str, str] | None = None) -> Answer:
    return client.post("/v1/holds", body, headers)


def end(house: House, held: Any, what: str, body: Any = None) -> Answer:
    return house.operator.post(f"/v1/holds/{held['id']}:{what}", body)


def figures(house: House, account: str = "ada") -> tuple[str, str, str]:
    """What an account has spent this month, holds, and may still spend."""
    told = house.balance(account)
    return told["spentThisMonthUsd"], told["heldUsd"], told["headroomUsd"]


@pytest.fixture
def ada(house: House) -> Client:
    """Ada, with her dollar of credit."""
    return house.open("ada")


def test_what_is_held_is_nobody_elses_until_it_is_settled(house: House, ada: Client) -> None:
    held = hold(house)
    assert (held["state"], held["heldUsd"], held["costUsd"], held["model"]) == ("OPEN", "0.40", None, "dollar")
    assert figures(house) == ("0.000000000", "0.40", "0.60")
    settled = end(house, held, "settle", {"quantities": {"input_tokens": 250_000}}).json
    assert (settled["state"], settled["costUsd"]) == ("SETTLED", "0.250000000")
    assert figures(house) == ("0.250000000", "0.00", "0.75")
    assert house.operator.get(f"/v1/holds/{held['id']}").json == settled
    assert house.audit() == []


def test_quantities_are_held_at_the_price_in_force_and_settled_at_it(house: House, ada: Client) -> None:
    body = {"account": "ada", "model": "tiny", "quantities": {"input_tokens": MILLION, "output_tokens": 500_000}}
    held = place(house.operator, body).json
    assert held["heldUsd"] == "0.60"
    house.operator.post("/operator/v1/prices", {"models": {"tiny": {"input": "9.00", "output": "9.00"}}})
    settled = end(house, held, "settle", {"quantities": {"input_tokens": MILLION, "output_tokens": 500_000}}).json
    assert settled["costUsd"] == "0.600000000"
    assert settled["priceVersion"] == held["priceVersion"]
    assert house.audit() == []


def test_a_sum_of_money_is_settled_and_stands_on_the_invoice_to_the_nano_dollar(house: House) -> None:
    house.open("ada", billingMode="contract")
    held = hold(house, "12.00")
    assert end(house, held, "settle", {"amountUsd": "11.123456789"}).json["costUsd"] == "11.123456789"
    house.advance("2026-04-01T00:00:00Z")
    (invoice,) = house.invoices("ada")
    (line,) = invoice["lines"]
    assert (line["unit"], line["quantity"], line["unitPriceUsd"]) == ("nano_usd", 11_123_456_789, "0.000000001")
    path = f"/v1/accounts/ada/invoices/{invoice['id']}/lines/{line['n']}/usage"
    (event,) = house.operator.get(path).json["events"]
    assert event["id"] == held["id"]
    assert house.audit() == []


def test_void_gives_back_all_of_it(house: House, ada: Client) -> None:
    held = hold(house)
    for _ in range(2):
        assert end(house, held, "void").json["state"] == "VOID"
    assert figures(house) == ("0.000000000", "0.00", "1.00")
    refused = end(house, held, "settle", {"amountUsd": "0.10"})
    assert (refused.status, refused.json["code"]) == (409, "FAILED_PRECONDITION")
    assert house.audit() == []


def test_its_time_over_a_hold_goes_back_and_can_still_be_settled_as_usage_after_the_fact(
    house: House, ada: Client
) -> None:
    held = hold(house, ttlSeconds=60)
    assert held["expiresAt"] == "2026-03-01T09:01:00Z"
    house.advance("2026-03-01T09:00:59Z")
    assert figures(house) == ("0.000000000", "0.40", "0.60")
    house.advance("2026-03-01T09:01:00Z")
    assert figures(house) == ("0.000000000", "0.00", "1.00")
    assert house.operator.get(f"/v1/holds/{held['id']}").json["state"] == "EXPIRED"
    assert end(house, held, "void").json["state"] == "EXPIRED"
    late = end(house, held, "settle", {"amountUsd": "1.70"}).json  # more than was held, and than there is
    assert (late["state"], late["costUsd"]) == ("SETTLED", "1.700000000")
    assert house.balance("ada")["spentThisMonthUsd"] == "1.700000000"
    assert house.account("ada")["suspendState"] == "CREDIT_DEPLETED"
    assert house.audit() == []


def test_a_hold_of_a_month_keeps_it_open_until_it_ends(house: House) -> None:
    house.open("ada", billingMode="contract")
    house.advance("2026-03-31T23:00:00Z")
    held = hold(house, "12.00", ttlSeconds=7_200)
    house.advance("2026-04-01T00:30:00Z")
    assert house.operator.post("/operator/v1/months/2026-03:close").json["waiting"] == ["ada"]
    end(house, held, "settle", {"amountUsd": "12.00"})
    house.advance("2026-04-02T00:00:00Z")
    (invoice,) = house.invoices("ada")
    assert (invoice["month"], invoice["subtotalUsd"]) == ("2026-03", "12.00")
    assert house.audit() == []


def test_a_clock_that_is_set_on_stops_where_holds_expire(house: House) -> None:
    house.open("ada", billingMode="contract")
    house.spend("ada", 12, "used")
    house.advance("2026-03-31T23:55:00Z")
    hold(house, "0.50")
    house.advance("2026-04-02T00:00:00Z")
    assert house.balance("ada")["heldUsd"] == "0.00"
    assert [invoice["month"] for invoice in house.invoices("ada")] == ["2026-03"]


def test_hundreds_that_expire_together_all_go_back(house: House) -> None:
    house.open("ada", signupCreditUsd="10.00")
    for start in (0, 230):
        house.queue.run(lambda tx, start=start: place_many(tx, range(start, start + 230)))  # type: ignore[misc]
    assert house.balance("ada")["heldUsd"] == "4.60"
    house.advance("2026-03-01T09:01:00Z")
    assert house.balance("ada")["heldUsd"] == "0.00"


def place_many(tx: Tx, numbers: range) -> None:
    """A cent each, for a minute."""
    for n in numbers:
        assert isinstance(holds.place(tx, f"hold_{n}", "ada", "dollar", {AMOUNT: 10_000_000}, 60), Held)


def test_what_cost_nothing_to_hold_goes_on_the_open_bill(house: House) -> None:
    house.operator.post("/operator/v1/prices", {"models": {"free": {"input": "0", "output": "0"}}})
    house.open("ada", billingMode="contract")
    house.spend("ada", 12, "used")
    house.advance("2026-03-31T23:55:00Z")
    body = {"account": "ada", "model": "free", "quantities": {"input_tokens": 1_000}, "ttlSeconds": 7_200}
    held = place(house.operator, body).json
    house.advance("2026-04-01T00:30:00Z")
    assert [invoice["month"] for invoice in house.invoices("ada")] == ["2026-03"]
    assert end(house, held, "settle", {"quantities": {"input_tokens": 1_000}}).json["costUsd"] == "0.000000000"
    assert house.audit() == []


def test_refused_while_money_is_only_held_says_so_and_suspends_nobody(house: House, ada: Client) -> None:
    held = hold(house, "0.9996")
    refused = place(house.operator, {"account": "ada", "model": "dollar", "amountUsd": "0.001"})
    assert (refused.status, refused.json["heldUsd"]) == (402, "0.9996")
    assert "$0.9996 is held for what is running" in refused.json["detail"]
    house.queue.run(lambda tx: standing.note_refusal(tx, "ada", "credit", ""))
    assert house.account("ada")["suspendState"] == "UNSUSPENDED", "U7"
    end(house, held, "void")
    hold(house, "1.00")


def test_settled_twice_is_settled_once_and_otherwise_a_conflict(house: House, ada: Client) -> None:
    held = hold(house)
    first = end(house, held, "settle", {"amountUsd": "0.20"})
    assert end(house, held, "settle", {"amountUsd": "0.20"}).json == first.json
    for other in ({"amountUsd": "0.10"}, {"quantities": {"input_tokens": 200_000}}):
        assert end(house, held, "settle", other).status == 409
    assert end(house, held, "void").status == 409
    assert figures(house) == ("0.200000000", "0.00", "0.80")


def test_more_than_is_held_is_refused_and_loses_nothing(house: House, ada: Client) -> None:
    held = hold(house)
    refused = end(house, held, "settle", {"amountUsd": "0.41"})
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, "amountUsd")
    assert "$0.40 is held" in refused.json["detail"]
    assert figures(house) == ("0.000000000", "0.40", "0.60")
    assert end(house, held, "settle", {"amountUsd": "0.40"}).status == 200


def test_nothing_used_ends_it_at_no_cost(house: House, ada: Client) -> None:
    held = hold(house)
    assert end(house, held, "settle", {"amountUsd": "0"}).json["costUsd"] == "0.000000000"
    assert figures(house) == ("0.000000000", "0.00", "1.00")
    assert house.audit() == []


def test_money_that_is_not_there_is_not_held(house: House, ada: Client) -> None:
    hold(house, "0.70")
    refused = place(house.operator, {"account": "ada", "model": "dollar", "amountUsd": "0.31"})
    assert refused.status == 402
    assert (refused.json["cause"], refused.json["headroomUsd"], refused.json["holdUsd"]) == ("CREDIT", "0.30", "0.31")
    assert figures(house) == ("0.000000000", "0.70", "0.30")
    assert house.account("ada")["suspendState"] == "UNSUSPENDED"
    hold(house, "0.30")
    assert figures(house) == ("0.000000000", "1.00", "0.00")


def test_a_limit_holds_too(house: House, ada: Client) -> None:
    house.card("ada")
    house.operator.patch("/v1/accounts/ada/quotas/monthly-spend-usd", {"value": "5"})
    refused = place(house.operator, {"account": "ada", "model": "dollar", "amountUsd": "5.01"})
    assert (refused.status, refused.json["cause"]) == (402, "LIMIT")
    hold(house, "5.00")


def test_for_a_suspended_account_nothing_is_held(house: House, ada: Client) -> None:
    house.operator.post("/operator/v1/accounts/ada:suspend", {"reason": "scraping", "cause": "BLOCKED_BY_ABUSE_RULE"})
    refused = place(house.operator, {"account": "ada", "model": "dollar", "amountUsd": "0.10"})
    assert refused.status == 412
    assert "is suspended" in refused.json["detail"]


def test_what_is_held_before_a_suspension_can_be_settled(house: House, ada: Client) -> None:
    held = hold(house)
    house.operator.post("/operator/v1/accounts/ada:suspend", {"reason": "scraping", "cause": "BLOCKED_BY_ABUSE_RULE"})
    assert end(house, held, "settle", {"amountUsd": "0.40"}).json["state"] == "SETTLED"


def test_twenty_at_once_hold_no_more_than_there_is(house: House, ada: Client) -> None:
    body = {"account": "ada", "model": "dollar", "amountUsd": "0.07"}
    answers: list[Answer] = []
    threads = [threading.Thread(target=lambda: answers.append(place(house.operator, body))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status for answer in answers) == [201] * 14 + [402] * 6
    assert figures(house) == ("0.000000000", "0.98", "0.02")
    assert house.audit() == []


def test_asked_again_under_its_key_it_is_the_same_hold_and_a_refusal_may_do_better(house: House, ada: Client) -> None:
    body, key = {"account": "ada", "model": "dollar", "amountUsd": "1.50"}, {"idempotency-key": "k1"}
    assert place(house.operator, body, key).status == 402
    house.operator.post("/operator/v1/accounts/ada/grants", {"amountUsd": "1.00"})
    first = place(house.operator, body, key)
    assert first.status == 201
    assert place(house.operator, body, key).json == first.json
    assert place(house.operator, body | {"amountUsd": "0.10"}, key).status == 409
    assert Decimal(house.balance("ada")["heldUsd"]) == Decimal("1.50")


def test_a_service_account_holds_for_its_own_account_alone(house: House, ada: Client) -> None:
    house.open("bob")
    client = meter(house)
    mine = {"account": "ada", "model": "dollar", "amountUsd": "0.10"}
    held = place(client, mine).json
    assert place(client, mine | {"account": "bob"}).status == 404
    assert place(ada, mine).status == 403
    others = hold(house, account="bob")
    for what, body in (("settle", {"amountUsd": "0.10"}), ("void", None)):
        assert client.post(f"/v1/holds/{others['id']}:{what}", body).status == 404
    assert client.get(f"/v1/holds/{others['id']}").status == 404
    assert client.post(f"/v1/holds/{held['id']}:settle", {"amountUsd": "0.10"}).json["state"] == "SETTLED"
    assert replace(client, key=None).post("/v1/holds", mine).status == 401


@pytest.mark.parametrize(
    ("changed", "status", "field"),
    [
        ({"amountUsd": None}, 400, "quantities"),
        ({"quantities": {"input_tokens": 1}}, 400, "quantities"),
        ({"amountUsd": "-1"}, 400, "amountUsd"),
        ({"amountUsd": None, "quantities": {"words": 1}}, 400, "quantities"),
        ({"ttlSeconds": 0}, 400, "ttlSeconds"),
        ({"ttlSeconds": 86_401}, 400, "ttlSeconds"),
        ({"ttlSeconds": "1"}, 400, "ttlSeconds"),
        ({"model": "none"}, 404, "model"),
        ({"account": "nobody"}, 404, "account"),
        ({"more": 1}, 400, "more"),
    ],
)
def test_what_is_wrong_is_named(house: House, ada: Client, changed: dict[str, Any], status: int, field: str) -> None:
    body = {"account": "ada", "model": "dollar", "amountUsd": "0.10"} | changed
    answer = place(house.operator, body)
    assert (answer.status, answer.json["errors"][0]["field"]) == (status, field), answer.text
    assert figures(house) == ("0.000000000", "0.00", "1.00")
