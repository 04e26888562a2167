"""Closing an account over HTTP: blockers listed, keys dead with a plain reason, the final invoice, and the way back."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from purser.core.errors import Conflict
from purser.core.message import CLOSED, CLOSING, REOPENED
from purser.core.rating import rate
from purser.flows import invoicing
from purser.store.prices import list_books
from purser.store.usage import Event
from tests.inbound.house import OPERATOR_KEY, PRICES, Client, House
from tests.inbound.terminal import Terminal

CLOSE, REOPEN = "/v1/accounts/ada:close", "/v1/accounts/ada:reopen"


def owing(house: House) -> Client:
    """Ada, who has used $3 of which $2 are owed, and a card."""
    ada = house.open("ada")
    house.card("ada")
    house.spend("ada", 3, "e1")
    return ada


def test_a_clean_account_closes_at_once(house: House) -> None:
    ada = house.open("ada")
    closed = ada.post(CLOSE)
    assert closed.json == {
        "account": "ada",
        "state": "DELETING",
        "closingAt": "2026-03-01T09:00:00Z",
        "closedAt": "2026-03-01T09:00:00Z",
        "reopenableUntil": "2026-05-01T00:00:00Z",
    }
    account = house.account("ada")
    assert (account["state"], account["closedAt"]) == ("DELETING", "2026-03-01T09:00:00Z")
    refused = ada.get("/v1/accounts/ada")
    assert refused.status == 401
    assert "was closed at 2026-03-01T09:00:00Z" in refused.json["detail"]
    assert house.operator.post(CLOSE).json == closed.json
    assert house.balance("ada")["creditUsd"] == "0.00"
    assert house.audit() == []


def test_everything_in_the_way_is_listed_and_nothing_changes(house: House) -> None:
    ada = house.open("ada", signupCreditUsd="0")
    house.card("ada", "pm_card_chargeCustomerFail")
    house.spend("ada", 3, "e1")
    house.advance("2026-04-01T00:00:00Z")
    method = house.operator.get("/v1/accounts/ada/paymentMethods").json["defaultPaymentMethodId"]
    house.spend("ada", 2, "e2")
    ada.delete(f"/v1/accounts/ada/paymentMethods/{method}")
    before = house.account("ada"), house.balance("ada")
    for path in (CLOSE, f"{CLOSE}?dryRun=true"):
        refused = ada.post(path, {"giveUpCredit": True})
        assert (refused.status, refused.json["code"]) == (409, "FAILED_PRECONDITION")
        assert [(each["code"], each["amountUsd"]) for each in refused.json["blockers"]] == [
            ("UNPAID_INVOICE", "3.00"),
            ("NO_PAYMENT_METHOD", "2.00"),
        ]
        assert "invoice ADA-0001: $3.00 is to be paid; $2.00 is owed" in refused.json["detail"]
    assert (house.account("ada"), house.balance("ada")) == before
    house.card("ada")
    assert ada.post(f"{CLOSE}?dryRun=true").json["state"] == "DELETING"
    assert ada.get("/v1/accounts/ada").json["state"] == "READY"
    assert ada.post(CLOSE).status == 200


def test_an_open_hold_and_purchased_credit_stand_in_the_way(house: House) -> None:
    house.open("ada", signupCreditUsd="0")
    house.card("ada")
    house.operator.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"})
    hold = house.operator.post("/v1/holds", {"account": "ada", "model": "dollar", "amountUsd": "0.10"}).json["id"]
    refused = house.operator.post(CLOSE).json["blockers"]
    assert [each["code"] for each in refused] == ["OPEN_HOLDS", "PURCHASED_CREDIT"]
    house.operator.post(f"/v1/holds/{hold}:void")
    assert house.operator.post(CLOSE).status == 409
    assert house.operator.post(CLOSE, {"giveUpCredit": True}).status == 200
    assert house.balance("ada")["creditUsd"] == "0.00"
    assert house.audit() == []


def test_requests_that_run_stand_in_the_way(house: House) -> None:
    house.open("ada")
    running = replace(house.desk, held=lambda account: {"2026-03": 250_000_000} if account == "ada" else {})
    house._routes.state.desk = running
    (blocker,) = house.operator.post(CLOSE).json["blockers"]
    assert (blocker["code"], blocker["amountUsd"]) == ("RUNNING_REQUESTS", "0.25")
    house._routes.state.desk = house.desk
    assert house.operator.post(CLOSE).status == 200


def test_the_final_invoice_is_made_and_charged(house: House) -> None:
    ada = owing(house)
    closed = ada.post(CLOSE)
    assert (closed.json["state"], closed.json["closedAt"]) == ("DELETING", None)
    house.desk.worker.run_due()
    house.desk.worker.run_due()
    (invoice,) = house.invoices("ada")
    assert (invoice["month"], invoice["totalUsd"], invoice["state"]) == ("2026-03", "2.00", "PAID")
    assert house.account("ada")["closedAt"] == "2026-03-01T09:00:00Z"
    house.advance("2026-04-01T00:00:00Z")
    assert len(house.invoices("ada")) == 1
    assert house.audit() == []


def test_a_card_that_fails_in_the_end_keeps_it_from_being_closed_until_paid(house: House) -> None:
    house.open("ada")
    house.card("ada", "pm_card_chargeCustomerFail")
    house.spend("ada", 3, "e1")
    house.operator.post(CLOSE)
    house.advance("2026-03-04T00:00:00Z")
    assert house.account("ada")["closedAt"] is None
    house.card("ada")
    house.desk.worker.run_due()
    house.desk.worker.run_due()
    assert house.account("ada")["closedAt"] is not None
    assert house.balance("ada")["outstandingUsd"] == "0.00"
    assert house.audit() == []


def mails(house: House) -> list[tuple[str, str, str]]:
    """To whom and about what ada's account was told that it comes or goes, and the text."""
    query = sa.text(
        "SELECT target, subject, body FROM outbox WHERE kind = 'mail' AND topic IN (:a, :b, :c) ORDER BY id"
    )
    with house.db.read() as conn:
        found = conn.execute(query, {"a": CLOSING, "b": CLOSED, "c": REOPENED})
        return sorted((row[0], row[1], row[2]) for row in found)


def test_the_account_is_told_once_that_it_is_closed_and_open_again(house: House) -> None:
    house.open("ada")
    for _ in range(2):
        assert house.operator.post(CLOSE).status == 200
    assert [told[:2] for told in mails(house)] == [
        ("ada@example.com", "Account ada is being closed"),
        ("ada@example.com", "Account ada is closed"),
    ]
    assert all("until 2026-05-01T00:00:00Z" in text for _, _, text in mails(house))
    for _ in range(2):
        assert house.operator.post(REOPEN).status == 200
    assert [told[1] for told in mails(house)][2:] == ["Account ada is open again"]


def test_that_it_is_closed_is_told_when_nothing_is_left_to_pay(house: House) -> None:
    ada = owing(house)
    assert ada.post(f"{CLOSE}?dryRun=true").status == 200
    assert mails(house) == []
    ada.post(CLOSE)
    assert [told[1] for told in mails(house)] == ["Account ada is being closed"]
    house.desk.worker.run_due()
    house.desk.worker.run_due()
    assert [told[1] for told in mails(house)] == ["Account ada is being closed", "Account ada is closed"]


def test_nothing_new_begins_and_the_reason_is_plain(house: House) -> None:
    house.open("ada")
    house.operator.post(CLOSE)
    usage = {"id": "e9", "account": "ada", "model": "dollar", "quantities": {"input_tokens": 1}}
    for path, body in (
        ("/v1/accounts/ada/apiKeys", {}),
        ("/v1/accounts/ada/users?userId=eve", {}),
        ("/v1/accounts/ada/users/owner/apiKeys", {}),
        ("/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"}),
        ("/operator/v1/accounts/ada/grants", {"amountUsd": "5.00"}),
        ("/operator/v1/accounts/ada:setBillingMode", {"billingMode": "prepaid"}),
        ("/v1/usage", usage),
        ("/v1/holds", {"account": "ada", "model": "dollar", "amountUsd": "0.10"}),
    ):
        refused = house.operator.post(path, body)
        assert refused.status == 409, (path, refused.text)
        assert "account ada was closed at 2026-03-01T09:00:00Z" in refused.text, path
    assert house.operator.get("/v1/accounts/ada/invoices").status == 200, "reads keep working"
    assert house.audit() == []


def test_it_is_opened_again_with_a_new_key(house: House) -> None:
    ada = house.open("ada")
    house.operator.post(CLOSE)
    opened = house.operator.post(REOPEN)
    assert (opened.status, opened.json["state"]) == (200, "READY")
    again = replace(ada, key=opened.json["apiKey"]["key"])
    assert again.get("/v1/accounts/ada").json["closingAt"] is None
    dead = ada.get("/v1/accounts/ada")
    assert (dead.status, "unknown, revoked or expired" in dead.json["detail"]) == (401, True)
    assert again.post(REOPEN).json == {"account": "ada", "state": "READY", "apiKey": None}
    assert again.post(CLOSE).status == 200
    house.advance("2026-05-01T00:00:00Z")
    late = house.operator.post(REOPEN)
    assert (late.status, late.json["code"]) == (409, "FAILED_PRECONDITION")
    assert "could be opened again until 2026-05-01T00:00:00Z" in late.json["detail"]
    assert house.audit() == []


def test_a_month_on_the_final_invoice_stays_closed(house: House) -> None:
    owing(house)
    house.operator.post(CLOSE)
    refused = house.operator.post(REOPEN)
    assert (refused.status, "from 2026-04-01T00:00:00Z on" in refused.json["detail"]) == (409, True)
    house.advance("2026-04-01T00:00:00Z")
    assert house.operator.post(REOPEN).json["state"] == "READY"
    house.spend("ada", 2, "e2")
    house.advance("2026-05-01T00:00:00Z")
    assert [(row["month"], row["totalUsd"]) for row in house.invoices("ada")] == [
        ("2026-04", "2.00"),
        ("2026-03", "2.00"),
    ]
    assert house.audit() == []


@pytest.mark.once
def test_the_commands(house: House, tmp_path: Path) -> None:
    house.open("ada", signupCreditUsd="0")
    house.card("ada")
    house.operator.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "5.00"})
    url = f"http://127.0.0.1:{house.operator.port}"
    operator = Terminal(tmp_path).using(PURSER_URL=url, PURSER_OPERATOR_KEY=OPERATOR_KEY)
    refused = operator.run("account", "close", "ada", "--yes")
    assert (refused.code, "$5.00 of credit that was bought is left" in refused.stderr) == (7, True)
    tried = operator.run("account", "close", "ada", "--give-up-credit", "--dry-run")
    assert (tried.code, "nothing was changed" in tried.stderr) == (0, True)
    assert operator.run("account", "close", "ada", "--give-up-credit").code == 2, "nobody is there to answer"
    assert house.account("ada")["state"] == "READY"
    closed = operator.json("account", "close", "ada", "--give-up-credit", "--yes")
    assert (closed["state"], closed["closedAt"]) == ("DELETING", "2026-03-01T09:00:00Z")
    assert "closed" in operator.run("account", "get", "ada").stdout
    assert operator.json("account", "reopen", "ada", "--dry-run")["state"] == "READY"
    assert operator.json("account", "reopen", "ada")["apiKey"]["key"].startswith("pk_")


def test_the_month_of_an_account_that_stays_is_not_billed_before_its_end(house: House) -> None:
    owing(house)
    with pytest.raises(Conflict, match="2026-03 has not ended yet"):
        house.queue.run(lambda tx: invoicing.close_account_month(tx, "ada", "2026-03"))
    assert house.invoices("ada") == []


def test_usage_from_before_is_billed_though_it_is_told_later(house: House) -> None:
    """H7."""
    owing(house).post(CLOSE)
    house.advance("2026-03-05T00:00:00Z")
    house.desk.worker.run_due()
    assert house.account("ada")["closedAt"] is not None
    house.spend("ada", 2, "late", occurredAt="2026-03-01T08:00:00Z")
    event = {"id": "new", "account": "ada", "model": "dollar", "quantities": {"input_tokens": 1}}
    refused = house.operator.post("/v1/usage", {**event, "occurredAt": "2026-03-01T09:00:00Z"})
    assert refused.status == 409
    house.advance("2026-05-02T00:00:00Z")
    assert [bill["totalUsd"] for bill in house.invoices("ada")] == ["2.00", "2.00"]
    assert house.balance("ada")["outstandingUsd"] == "0.00"
    assert house.audit() == []


def count_commits(house: House) -> int:
    """Of one look at what is due."""
    before = house.writer.seq
    house.desk.worker.run_due()
    return house.writer.seq - before


def test_whoever_only_has_to_pay_costs_no_commits_meanwhile(house: House) -> None:
    idle = count_commits(house)
    for n in range(3):
        house.open(f"ada{n}", signupCreditUsd="0")
        house.card(f"ada{n}", "pm_card_chargeCustomerFail")
        house.spend(f"ada{n}", 3, f"e{n}")
        assert house.operator.post(f"/v1/accounts/ada{n}:close").status == 200
    count_commits(house)
    assert count_commits(house) == idle


def test_a_free_request_that_ends_after_the_final_invoice_leaves_it_as_it_is(house: House) -> None:
    house.operator.post("/operator/v1/prices", {"models": {**PRICES, "free": {"input": "0", "output": "0"}}})
    owing(house).post(CLOSE)
    house.desk.worker.run_due()
    assert len(house.invoices("ada")) == 1
    with house.db.read() as conn:
        book = list_books(conn)[-1]
    used = {"input_tokens": 10}
    event = Event(
        account="ada",
        source="gateway",
        id="r1",
        model="free",
        user="owner",
        key=None,
        occurred_at=house.world.now(),
        month="2026-03",
        bill_month="2026-03",
        version=book.version,
        quantities=used,
        parts=rate(used, book.models["free"]).parts,
        cost_nanos=0,
        held_nanos=0,
    )
    settled = threading.Event()
    house.queue.settle(event, lambda new, error: settled.set())
    assert settled.wait(10)
    assert house.audit() == []
