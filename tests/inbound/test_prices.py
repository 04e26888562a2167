"""Prices through the operator's routes: scheduled ones, late usage, and units that nothing prices (P1, H7, P4)."""

from __future__ import annotations

from typing import Any

from purser.store import schema as t
from tests.inbound.house import House

PRICES = "/operator/v1/prices"


def publish(house: House, model: str, price: str, effective_at: str | None = None) -> Any:
    body: dict[str, Any] = {"models": {model: {"input": price, "output": price}}}
    answer = house.operator.post(PRICES, body if effective_at is None else body | {"effectiveAt": effective_at})
    assert answer.status == 200, answer.text
    return answer.json


def in_force(house: House) -> dict[str, str]:
    """Each model's price for input."""
    return {name: price["input"] for name, price in house.operator.get(PRICES).json["models"].items()}


def test_a_scheduled_version_keeps_what_is_published_after_it(house: House) -> None:
    later = publish(house, "tiny", "5.00", "2026-04-01T00:00:00Z")
    assert later["version"] == 2
    assert publish(house, "small", "2.00")["version"] == 3
    assert in_force(house) == {"tiny": "0.20", "dollar": "1.00", "small": "2.00"}
    listed = house.operator.get(PRICES).json["versions"]
    assert [row["version"] for row in listed] == [4, 3, 2, 1]
    assert listed[2] == later, "what was published stays as it was"
    assert listed[0]["effectiveAt"] == later["effectiveAt"]
    house.advance("2026-04-01T00:00:00Z")
    assert in_force(house) == {"tiny": "5.00", "dollar": "1.00", "small": "2.00"}
    assert house.operator.get(PRICES).json["version"] == 4


def test_usage_keeps_the_version_it_was_rated_under_though_another_takes_its_place(house: House) -> None:
    """An event may lie up to a day ahead, under a version that is published anew before it takes effect."""
    house.open("ada")
    house.card("ada")
    publish(house, "dollar", "2.00", "2026-03-02T00:00:00Z")
    house.spend("ada", 1, "e1", occurredAt="2026-03-02T08:00:00Z")
    publish(house, "small", "2.00")
    house.spend("ada", 1, "e2", occurredAt="2026-03-02T08:00:00Z")
    assert house.audit() == []
    house.advance("2026-04-01T00:00:00Z")
    (invoice,) = house.invoices("ada")
    (line,) = invoice["lines"]
    path = f"/v1/accounts/ada/invoices/{invoice['id']}/lines/{line['n']}/usage"
    events = house.operator.get(path).json["events"]
    assert [(event["id"], event["priceVersion"], event["amountUsd"]) for event in events] == [
        ("e1", 2, "2.000000000"),
        ("e2", 4, "2.000000000"),
    ]
    assert house.audit() == []


def test_usage_from_before_the_first_prices_is_billed_by_them(house: House) -> None:
    """H7: usage after the fact is always billed; its month may be one from before the database was made."""
    house.open("ada", signupCreditUsd="0.00")
    house.card("ada")
    house.spend("ada", 2, "e1", occurredAt="2026-02-11T00:00:00Z")
    assert house.balance("ada")["outstandingUsd"] == "2.00"
    house.advance("2026-04-01T00:00:00Z")
    (invoice,) = house.invoices("ada")
    assert [(line["month"], line["amountUsd"]) for line in invoice["lines"]] == [("2026-02", "2.00")]
    assert house.audit() == []


def test_a_unit_that_a_price_lacks_is_refused_by_itself(house: House) -> None:
    """As prices of before there were batches lack theirs, where nobody gave them any."""
    house.open("ada")
    with house.db.engine.begin() as conn:
        conn.execute(t.rates.delete().where(t.rates.c.model == "dollar", t.rates.c.unit.like("batch%")))
    batch = {"account": "ada", "model": "dollar", "quantities": {"input_tokens": 10}, "batch": True}
    plain = {"account": "ada", "model": "dollar", "quantities": {"input_tokens": 10}}
    alone = house.operator.post("/v1/usage", {"id": "e1", **batch})
    assert (alone.status, alone.json["errors"][0]["field"]) == (404, "quantities")
    assert "batch_input_tokens" in alone.json["detail"]
    listed = house.operator.post(
        "/v1/usage", [{"id": "e2", **plain}, {"id": "e3", **batch}, {"id": "e4", **plain}]
    ).json
    assert (listed["accepted"], [row["index"] for row in listed["rejected"]]) == (2, [1])
    assert listed["rejected"][0]["error"]["code"] == "NOT_FOUND"
    assert house.audit() == []
