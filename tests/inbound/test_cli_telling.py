"""The commands that say who else is told or asked: webhook endpoints with their deliveries, and invitations."""

from __future__ import annotations

from pathlib import Path

import pytest

from purser.core.policy import Policy
from purser.inbound.courier import Courier
from purser.outbound.webhook import HttpWebhooks
from tests.inbound.house import House
from tests.inbound.terminal import Terminal
from tests.receiver import receiver

# These commands speak HTTP: any database is as good as another.
pytestmark = pytest.mark.once


@pytest.fixture
def ada(house: House, tmp_path: Path) -> Terminal:
    """The terminal of ada, an account's admin."""
    client = house.open("ada", signupCreditUsd="3.00")
    house.writer.policy = Policy(webhook_private_addresses=True)
    url = f"http://127.0.0.1:{house.operator.port}"
    return Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=client.key or "", COLUMNS=120)


def test_an_endpoint_is_told_its_deliveries_are_listed_and_sent_again(house: House, ada: Terminal) -> None:
    nothing = ada.run("webhook", "list")
    assert (nothing.code, nothing.stdout, nothing.stderr) == (0, "", "No webhook endpoint yet.\n")
    with receiver() as program:
        made = ada.run("webhook", "add", program.url, "--events", "alert.reached, invoice.paid", "-o", "json")
        assert made.json["secret"].startswith("whsec_")
        assert sorted(made.json["eventTypes"]) == ["alert.reached", "invoice.paid"]
        assert "shown this once" in made.stderr
        endpoint = made.json["id"]
        assert endpoint in ada.ok("webhook", "list")
        assert "whsec_" not in ada.ok("webhook", "list", "-o", "json")
        house.operator.post("/v1/accounts/ada/alerts", {"thresholdUsd": "1.00"})
        house.spend("ada", 2, "e1")
        house.desk.worker.run_due()
        courier = Courier(house.db, house.queue.run, house.world, HttpWebhooks(private=True))
        assert courier.deliver() == 1
        [delivery] = ada.json("webhook", "deliveries", endpoint)["deliveries"]
        assert (delivery["eventType"], delivery["state"]) == ("alert.reached", "sent")
        assert "alert.reached" in ada.ok("webhook", "deliveries", endpoint)
        assert ada.json("webhook", "replay", endpoint, delivery["id"])["state"] == "pending"
        assert courier.deliver() == 1
        assert [headers["webhook-id"] for headers, _ in program.got] == [delivery["id"]] * 2
    assert ada.run("webhook", "remove", endpoint).code == 2, "nobody is there to answer"
    assert endpoint in ada.ok("webhook", "list")
    ada.ok("webhook", "remove", endpoint, "--yes")
    assert ada.json("webhook", "list") == {"webhookEndpoints": []}
    assert ada.run("webhook", "deliveries", endpoint).code == 5
    wrong = ada.run("webhook", "add", "https://example.com/hooks", "--events", "nothing.known")
    assert wrong.code == 2
    assert "nothing.known" in wrong.stderr


def test_people_are_invited_and_invitations_taken_back(ada: Terminal) -> None:
    assert ada.run("invitation", "list").stderr == "Nobody is invited yet.\n"
    made = ada.run("invitation", "create", "eve@example.com", "--role", "contributor", "-o", "json")
    assert (made.json["email"], made.json["role"], made.json["state"]) == ("eve@example.com", "contributor", "PENDING")
    assert "eve@example.com" in made.stderr
    table = ada.ok("invitation", "list")
    assert made.json["id"] in table
    assert "PENDING" in table
    assert ada.run("invitation", "revoke", made.json["id"]).code == 2, "nobody is there to answer"
    ada.ok("invitation", "revoke", made.json["id"], "--yes")
    assert [each["state"] for each in ada.json("invitation", "list")["invitations"]] == ["REVOKED"]
    assert ada.run("invitation", "revoke", "invt_none", "--yes").code == 5
    assert ada.run("invitation", "create", "eve").code == 2
