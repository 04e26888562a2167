"""Webhooks and alerts over HTTP: endpoints, deliveries that the standard's own library verifies, and replays (L7)."""

from __future__ import annotations

from typing import Any

import pytest
from standardwebhooks.webhooks import Webhook

from purser.core.message import WAITS
from purser.core.policy import Policy
from purser.flows import webhooks
from purser.inbound.courier import Courier
from purser.inbound.worker import Worker
from purser.outbound.messages import Message, Undelivered
from purser.outbound.testpay import TestProvider
from purser.outbound.webhook import HttpWebhooks
from tests.inbound.house import House
from tests.receiver import receiver

ADA = "/v1/accounts/ada"
HOOKS = f"{ADA}/webhookEndpoints"


@pytest.fixture
def ada(house: House) -> House:
    house.open("ada", signupCreditUsd="3.00")
    house.writer.policy = Policy(webhook_private_addresses=True)
    return house


def courier(house: House) -> Courier:
    return Courier(house.db, house.queue.run, house.world, HttpWebhooks(private=True))


def test_an_event_is_delivered_with_a_signature_that_the_library_takes(ada: House) -> None:
    with receiver() as program:
        made = ada.operator.post(HOOKS, {"url": program.url, "eventTypes": ["invoice.paid", "alert.reached"]})
        assert made.status == 201
        assert made.json["secret"].startswith("whsec_")
        assert "secret" not in ada.operator.get(f"{HOOKS}/{made.json['id']}").json, "it is shown once"
        ada.operator.post(f"{ADA}/alerts", {"thresholdUsd": "1.00"})
        ada.spend("ada", 2, "e1")
        ada.desk.worker.run_due()
        assert courier(ada).deliver() == 1
        ((headers, body),) = program.got
        told = Webhook(made.json["secret"]).verify(body, headers)
        assert told["type"] == "alert.reached"
        assert told["data"] == {
            "account": "ada",
            "kind": "spend",
            "month": "2026-03",
            "thresholdUsd": "1.00",
            "usedUsd": "2.00",
            "limitUsd": "50.00",
            "limitReachedAt": None,
        }
        (delivery,) = ada.operator.get(f"{HOOKS}/{made.json['id']}/deliveries").json["deliveries"]
        assert (delivery["id"], delivery["state"], delivery["status"]) == (headers["webhook-id"], "sent", 204)
        assert courier(ada).deliver() == 0


def test_a_delivery_that_fails_is_tried_again_and_one_that_ended_is_replayed_under_its_id(ada: House) -> None:
    with receiver() as program:
        endpoint = ada.operator.post(HOOKS, {"url": program.url}).json["id"]
        ada.operator.post(f"{ADA}/alerts", {"thresholdUsd": "1.00"})
        ada.spend("ada", 2, "e1")
        ada.desk.worker.run_due()
        program.says = 500
        carries = courier(ada)
        assert carries.deliver() == 1
        (delivery,) = ada.operator.get(f"{HOOKS}/{endpoint}/deliveries").json["deliveries"]
        assert (delivery["state"], delivery["status"], delivery["failure"]) == ("pending", 500, "it answers 500")
        path = f"{HOOKS}/{endpoint}/deliveries/{delivery['id']}:replay"
        assert ada.operator.post(path).status == 409
        due = ada.writer.world.wall() + WAITS[0]
        ada.writer.world.wall = lambda: due  # type: ignore[method-assign]
        program.says = 200
        assert carries.deliver() == 1
        assert ada.operator.post(path).json["state"] == "pending"
        assert carries.deliver() == 1
        assert len({headers["webhook-id"] for headers, _ in program.got}) == 1
        assert len(program.got) == 3


def test_an_endpoint_that_is_gone_is_disabled_until_a_replay(ada: House) -> None:
    with receiver() as program:
        endpoint = ada.operator.post(HOOKS, {"url": program.url}).json["id"]
        ada.operator.post(f"{ADA}/credits:purchase", {"amountUsd": "5.00"})
        ada.card("ada")
        ada.operator.post(f"{ADA}/credits:purchase", {"amountUsd": "5.00"})
        program.says = 410
        assert courier(ada).deliver() == 1
        assert ada.operator.get(f"{HOOKS}/{endpoint}").json["disabledAt"] is not None
        ada.operator.post(f"{ADA}/credits:purchase", {"amountUsd": "5.00"})
        (delivery,) = ada.operator.get(f"{HOOKS}/{endpoint}/deliveries").json["deliveries"]
        assert delivery["state"] == "given up"
        assert ada.operator.post(f"{HOOKS}/{endpoint}/deliveries/{delivery['id']}:replay").status == 200
        assert ada.operator.get(f"{HOOKS}/{endpoint}").json["disabledAt"] is None
        assert ada.operator.delete(f"{HOOKS}/{endpoint}").status == 200
        assert courier(ada).deliver() == 0
        assert len(program.got) == 1
        assert ada.operator.get(f"{HOOKS}/{endpoint}").status == 404


def test_wrong_endpoints_are_refused(ada: House) -> None:
    ada.writer.policy = Policy()
    for url in ("http://example.com", "https://10.0.0.1/", "https://localhost/"):
        refused = ada.operator.post(HOOKS, {"url": url})
        assert (refused.status, refused.json["errors"][0]["field"]) == (400, "url")
    unknown = ada.operator.post(HOOKS, {"url": "https://example.com", "eventTypes": ["invoice.eaten"]})
    assert (unknown.status, unknown.json["errors"][0]["field"]) == (400, "eventTypes")
    for n in range(webhooks.MOST_ENDPOINTS):
        assert ada.operator.post(HOOKS, {"url": f"https://example.com/{n}"}).status == 201
    assert ada.operator.post(HOOKS, {"url": "https://example.com/more"}).status == 409


@pytest.mark.once
def test_a_name_that_leads_to_a_private_address_is_not_called() -> None:
    """`127.1` is no IP address by itself, and is 127.0.0.1 to whoever looks it up."""
    with receiver() as program:
        port = program.url.split(":")[2].partition("/")[0]
        message = Message("msg_1", f"https://127.1:{port}/", "", "{}", 0)
        with pytest.raises(Undelivered, match=r"^127\.1 has no public address$"):
            HttpWebhooks().send(message)
        with pytest.raises(Undelivered) as plain:
            HttpWebhooks().send(Message("msg_1", program.url, "", "{}", 0))
        assert plain.value.final
        assert program.got == []


@pytest.mark.once
def test_nothing_is_followed() -> None:
    with receiver() as program:
        program.says = 302
        with pytest.raises(Undelivered, match="302, and nothing is followed"):
            HttpWebhooks(private=True).send(Message("msg_1", program.url, "", "{}", 0))
        assert len(program.got) == 1


def test_notification_settings_as_the_compatible_api_has_them(ada: House) -> None:
    path = f"{ADA}/notificationSettings"
    assert ada.operator.get(path).json["monthlySpendThresholds"] == []
    money = [{"currencyCode": "USD", "units": "800", "nanos": 0}, {"currencyCode": "USD", "units": "500", "nanos": 0}]
    changed = ada.operator.patch(path, {"monthlySpendThresholds": money}).json
    assert changed["name"] == "accounts/ada/notificationSettings"
    assert changed["monthlySpendThresholds"] == [money[1], money[0]]
    assert ada.operator.patch(path, {"forecastAlert": True}).json["monthlySpendThresholds"] == [money[1], money[0]]
    listed = ada.operator.get(f"{ADA}/alerts").json["alerts"]
    kinds = [(each["kind"], each["thresholdUsd"]) for each in listed]
    assert kinds == [("limit", "40.00"), ("forecast", "50.00"), ("threshold", "500.00"), ("threshold", "800.00")]
    assert {each["reachedAt"] for each in listed} == {None}
    assert ada.operator.patch(path, {"monthlySpendThresholds": []}).json["monthlySpendThresholds"] == []
    assert ada.operator.patch(path, {"monthlySpendThresholds": [{"units": "0"}]}).status == 400


def test_a_crossing_is_told_by_whoever_looks_next_once(ada: House) -> None:
    """The process that should have looked died after the settlement; another begins, and another."""
    ada.card("ada")
    ada.spend("ada", 41, "e1")
    for _ in range(3):
        Worker(ada.db, ada.queue.run, ada.world, TestProvider()).run_due()
    (told,) = ada.operator.get(f"{ADA}/alerts").json["alerts"]
    assert (told["kind"], told["usedUsd"]) == ("limit", "41.00")
    assert told["reachedAt"] is not None


def test_an_alert_that_could_not_be_told_is_told_at_the_next_look(ada: House) -> None:
    ada.card("ada")
    failing = [True]

    def run(work: Any) -> Any:
        if failing[0]:
            raise RuntimeError("the disk is full")
        return ada.queue.run(work)

    worker = Worker(ada.db, run, ada.world, TestProvider())
    ada.spend("ada", 41, "e1")
    worker.run_due()
    assert ada.operator.get(f"{ADA}/alerts").json["alerts"][0]["reachedAt"] is None
    failing[0] = False
    worker.run_due()
    assert ada.operator.get(f"{ADA}/alerts").json["alerts"][0]["reachedAt"] is not None
