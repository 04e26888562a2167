"""One charge explained over the API and the CLI: usage × rate, version, who paid it, ledger entry, invoice (P1, D2)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.inbound.house import Client, House
from tests.inbound.terminal import Terminal


def explain(client: Client, id_: str, more: str = "") -> Any:
    answer = client.get(f"/v1/accounts/ada/charges:explain?request={id_}{more}")
    assert answer.status == 200, answer.text
    return answer.json


def payers(found: Any) -> list[tuple[str, str, bool]]:
    return [(paid["by"], paid["amountUsd"], paid["drawn"]) for paid in found["paidBy"]]


def test_a_charge_is_usage_times_rate_at_its_version(house: House) -> None:
    ada = house.open("ada")
    prices = {"models": {"tiny": {"input": "0.95", "cached_input": "0.16", "output": "4.00"}}}
    published = house.operator.post("/operator/v1/prices", prices).json
    used = {"input_tokens": 8_000, "cached_input_tokens": 7_500, "output_tokens": 500}
    event = {"id": "a/b c", "account": "ada", "model": "tiny", "quantities": used, "user": "eve"}
    assert house.operator.post("/v1/usage", event).json["accepted"] == 1
    house.operator.post("/operator/v1/prices", {"models": {"tiny": {"input": "9", "output": "9"}}})
    found = explain(ada, "a%2Fb%20c")
    assert [tuple(part.values()) for part in found["parts"]] == [
        ("input_tokens", 500, "0.00000095", "0.000475000"),
        ("cached_input_tokens", 7_500, "0.00000016", "0.001200000"),
        ("output_tokens", 500, "0.000004", "0.002000000"),
    ]
    assert (found["chargeUsd"], found["notChargedUsd"], found["user"]) == ("0.003675000", "0.000000000", "eve")
    assert (found["priceVersion"], found["priceSince"]) == (published["version"], published["effectiveAt"])
    assert payers(found) == [("credit", "0.003675000", False)]
    assert found["entry"] == {
        "transaction": "api/a/b c/settled",
        "at": found["recordedAt"],
        "events": 1,
        "postings": [
            {"ledger": "usage:2026-03", "side": "debit", "amountUsd": "0.003675000"},
            {"ledger": "revenue:2026-03", "side": "credit", "amountUsd": "0.003675000"},
        ],
    }
    assert found["text"].startswith("a/b c used tiny at 2026-03-01 09:00:00 UTC: 500 input tokens for $0.000475")


def test_the_payers_of_a_months_charges_are_told_before_and_after_they_are_drawn(house: House) -> None:
    """A3, A5: $1 of credit, then $5 bought, then the balance; every cent of each is some charge's, once."""
    ada = house.open("ada")
    house.card("ada")
    costs = {"e1": 0, "e2": 2, "e3": 3, "e4": 4}
    house.operator.post("/operator/v1/accounts/ada/grants", {"amountUsd": "5.00", "kind": "promotional"})
    for id_, dollars in costs.items():
        house.spend("ada", dollars, id_)
    expected = {
        "e1": [],
        "e2": [("credit", "1.000000000"), ("credit", "1.000000000")],
        "e3": [("credit", "3.000000000")],
        "e4": [("credit", "1.000000000"), ("balance", "3.000000000")],
    }
    for drawn in (False, True):
        for id_, paid in expected.items():
            found = explain(ada, id_)
            assert payers(found) == [(*part, drawn) for part in paid], id_
        if drawn:
            assert (found["invoice"]["number"], found["invoice"]["lines"]) == ("ADA-0001", [1])
            assert "is beyond credit and is on invoice ADA-0001." in found["text"]
        else:
            assert found["invoice"] is None
            assert "goes on the invoice of 2026-03." in found["text"]
        house.advance("2026-04-01T00:00:00Z")
    assert explain(ada, "e1")["entry"] is None
    assert explain(ada, "e1")["text"].endswith("and cost nothing.")


def test_of_one_commit_each_event_has_its_own_payers(house: House) -> None:
    ada = house.open("ada")
    house.card("ada")
    events = [
        {"id": f"e{n}", "account": "ada", "model": "dollar", "quantities": {"input_tokens": 600_000}} for n in range(4)
    ]
    assert house.operator.post("/v1/usage", events).json["accepted"] == 4
    found = [explain(ada, f"e{n}") for n in range(4)]
    assert [payers(each) for each in found] == [
        [("credit", "0.600000000", False)],
        [("credit", "0.400000000", False), ("balance", "0.200000000", False)],
        [("balance", "0.600000000", False)],
        [("balance", "0.600000000", False)],
    ]
    assert {(each["entry"]["transaction"], each["entry"]["events"]) for each in found} == {("api/e0/settled", 4)}


def test_an_event_is_looked_for_where_it_came_from(house: House) -> None:
    ada = house.open("ada")
    event = {"specversion": "1.0", "type": "used", "source": "//engine/7", "id": "e1", "subject": "ada"}
    data = {"model": "dollar", "quantities": {"input_tokens": 1_000}}
    answer = house.operator.post("/v1/usage", {**event, "data": data}, {"content-type": "application/cloudevents+json"})
    assert answer.json["accepted"] == 1, answer.text
    assert explain(ada, "e1", "&source=ce:%2F%2Fengine%2F7")["source"] == "ce://engine/7"
    for query, words in (
        ("request=e1", "has no usage 'e1'"),
        ("request=e1&source=api", "has no usage 'e1' from 'api'"),
    ):
        answer = ada.get(f"/v1/accounts/ada/charges:explain?{query}")
        assert (answer.status, answer.json["code"]) == (404, "NOT_FOUND")
        assert words in answer.json["detail"]
    assert ada.get("/v1/accounts/ada/charges:explain").status == 400


def test_the_events_of_others_are_nobodys(house: House) -> None:
    """X3."""
    ada, _ = house.open("ada"), house.open("bob")
    house.spend("bob", 1, "secret")
    assert ada.get("/v1/accounts/ada/charges:explain?request=secret").status == 404
    assert ada.get("/v1/accounts/bob/charges:explain?request=secret").status in (403, 404)


@pytest.mark.once
def test_the_command_shows_how_a_charge_came_about(house: House, tmp_path: Path) -> None:
    client = house.open("ada")
    house.card("ada")
    house.spend("ada", 3, "e1")
    house.advance("2026-04-01T00:00:00Z")
    url = f"http://127.0.0.1:{house.operator.port}"
    terminal = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=client.key or "", COLUMNS=120)
    told = terminal.run("billing", "explain-charge", "e1")
    assert told.code == 0, told.stderr
    for words in ("e1  dollar", "3,000,000", "$1.00 / 1M", "$3.00", "the balance  $2.00", "ADA-0001 (PAID), line 1"):
        assert words in told.stdout, told.stdout
    assert "paid by       credit grant_" in told.stdout
    assert (
        terminal.run("billing", "explain-charge", "e1", "-o", "csv").stdout.splitlines()[1].startswith("input_tokens,")
    )
    missing = terminal.run("billing", "explain-charge", "nothing")
    assert (missing.code, "has no usage 'nothing'" in missing.stderr) == (5, True)
