"""The questions of customers, answered over the API and the CLI with the account's own numbers (D5)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from purser.core.answers import QUESTIONS
from tests.inbound.house import Client, House
from tests.inbound.terminal import Terminal


def ask(client: Client, account: str, query: str = "") -> dict[str, Any]:
    answer = client.get(f"/v1/accounts/{account}/explain{query}")
    assert answer.status == 200, answer.text
    assert answer.json["account"] == account
    return {each["question"]: each for each in answer.json["answers"]}


def test_all_questions_are_answered_or_the_one_that_is_asked(house: House) -> None:
    ada = house.open("ada")
    assert tuple(ask(ada, "ada")) == QUESTIONS
    for question in QUESTIONS:
        (found,) = ask(ada, "ada", f"?question={question}").values()
        assert found["question"] == question
        assert found["answer"].endswith(".")
    assert house.operator.get("/v1/accounts/ada/explain").json["asOf"] == "2026-03-01T09:00:00Z"


def test_a_question_that_is_none_is_told_which_there_are(house: House) -> None:
    answer = house.open("ada").get("/v1/accounts/ada/explain?question=why")
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "question")
    assert "suspended, credits, invoice, depletion, forecast" in answer.json["detail"]


def test_an_invoice_that_is_none(house: House) -> None:
    answer = house.open("ada").get("/v1/accounts/ada/explain?question=invoice&invoice=ADA-0009")
    assert (answer.status, answer.json["errors"][0]["field"]) == (404, "invoice")


def test_the_answers_follow_the_account_from_its_first_dollar_to_its_invoice(house: House) -> None:
    """A1, A6, U2, D1: the numbers are those of balance, credits, account and invoice."""
    ada = house.open("ada")
    house.spend("ada", 1, "e1")
    gone = ask(ada, "ada")
    assert "its credit is used up [CREDIT_DEPLETED]" in gone["suspended"]["answer"]
    assert gone["credits"]["figures"] == {
        "grantedUsd": "1.00",
        "usedUsd": "1.00",
        "lapsedUsd": "0.00",
        "creditUsd": "0.00",
    }
    assert gone["depletion"]["answer"].startswith("There is no payment method")

    house.card("ada")
    house.spend("ada", 7, "e2")
    runs = ask(ada, "ada")
    assert runs["suspended"]["answer"].startswith("It is not suspended. It can go on until this month's limit")
    assert runs["depletion"]["answer"].startswith("Nothing stops: there is a payment method")
    assert runs["invoice"]["answer"].startswith("There is no invoice yet. If 2026-03 closed now: Usage comes to $8.00")
    assert runs["forecast"]["figures"]["perDayUsd"] == "8.00"

    house.advance("2026-04-02T00:00:00Z")
    (invoice,) = house.invoices("ada")
    billed = ask(ada, "ada", f"?question=invoice&invoice={invoice['number']}")["invoice"]
    assert (
        billed == ask(ada, "ada", f"?question=invoice&invoice={invoice['id']}")["invoice"] == ask(ada, "ada")["invoice"]
    )
    shown = billed["figures"]
    assert {name: invoice[name] for name in shown} == shown
    assert shown["amountDueUsd"] == "7.00"
    assert billed["answer"].startswith(
        f"Invoice {invoice['number']} is for 2026-03. Usage comes to $8.00 on one line: 8,000,000 input tokens of "
        "dollar "
        "for $8.00. Credit pays $1.00 of it."
    )


def test_the_limit_is_forecast_before_it_is_reached(house: House) -> None:
    ada = house.open("ada")
    house.card("ada")
    house.advance("2026-03-08T09:00:00Z")
    house.spend("ada", 21, "e1")
    forecast = ask(ada, "ada")["forecast"]
    assert forecast["figures"]["limitReachedAt"] == "2026-03-18T01:00:00Z"  # $29 at $3 a day
    assert "This month's limit of $50.00 is reached on 2026-03-18 at this pace." in forecast["answer"]


@pytest.mark.once
def test_the_command_prints_questions_and_answers(house: House, tmp_path: Path) -> None:
    client = house.open("ada")
    url = f"http://127.0.0.1:{house.operator.port}"
    terminal = Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=client.key or "", COLUMNS=120)
    all_of_them = terminal.run("account", "explain")
    assert all_of_them.code == 0
    assert all_of_them.stdout.startswith("Why is my account suspended?\n  It is not suspended.")
    assert all_of_them.stdout.count("?\n  ") == len(QUESTIONS)
    one = terminal.run("account", "explain", "ada", "--question", "forecast")
    assert one.stdout.splitlines()[0] == "When will it end at this pace?"
    wrong = terminal.run("account", "explain", "--question", "why")
    assert wrong.code == 2
    assert "forecast" in wrong.stderr
    table = terminal.run("account", "explain", "-o", "csv")
    assert len(table.stdout.splitlines()) == 1 + len(QUESTIONS)
