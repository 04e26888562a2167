"""Deployments through the API: by the official client, with what they cost, who may, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fireworks
import pytest

from purser.core.deployment import SIMULATED
from purser.core.policy import Policy
from tests.inbound.house import Client, House
from tests.inbound.test_official_client import connect

H100 = "NVIDIA_H100_80GB"
DEPLOYMENTS = "/v1/accounts/ada/deployments"


def furnish(house: House) -> Client:
    """Prices per GPU-hour, and ada with a card."""
    prices = {"models": {H100: {"gpu_hour": "7.00"}, "NVIDIA_A100_80GB": {"gpu_hour": "3.89"}}}
    assert house.operator.post("/operator/v1/prices", prices).status == 200
    key = house.open("ada")
    house.card("ada")
    return key


@pytest.fixture
def ada(house: House) -> Client:
    """Ada's key, in a house whose replicas are reported."""
    return furnish(house)


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[House]:
    """A house whose replicas are simulated."""
    made = House(tmp_path, Policy(fleet=SIMULATED, replica_ready_seconds=240))
    yield made
    made.close()


def create(key: Client, id_: str = "llama", **more: Any) -> Any:
    body = {"baseModel": "accounts/ada/models/llama", "acceleratorType": H100, "minReplicaCount": 1, **more}
    made = key.post(f"{DEPLOYMENTS}?deploymentId={id_}", body)
    assert made.status == 200, made.text
    return made.json


def test_the_official_client_drives_a_deployment(simulated: House) -> None:
    with connect(furnish(simulated)) as client:
        client = client.with_options(max_retries=0)
        made = client.deployments.create(
            base_model="llama",
            deployment_id="d",
            accelerator_type="NVIDIA_H100_80GB",
            accelerator_count=2,
            min_replica_count=1,
            max_replica_count=3,
            autoscaling_policy={"scale_down_window": "300s", "load_targets": {"default": 0.5}},
            display_name="Llama",
            precision="FP8",
        )
        assert (made.name, made.base_model, made.state) == ("accounts/ada/deployments/d", "llama", "CREATING")
        assert (made.accelerator_type, made.accelerator_count, made.precision) == (H100, 2, "FP8")
        assert made.autoscaling_policy is not None
        assert made.autoscaling_policy.load_targets == {"default": 0.5}
        assert (made.autoscaling_policy.scale_up_window, made.autoscaling_policy.scale_down_window) == ("30s", "300s")
        simulated.advance("2026-03-01T09:04:00Z")
        found = client.deployments.get("d")
        assert found.state == "READY"
        assert found.replica_stats is not None
        assert (found.replica_count, found.replica_stats.ready_replica_count) == (1, 1)
        client.deployments.scale("d", replica_count=3)
        changed = client.deployments.update("d", base_model="llama", display_name="Other", max_replica_count=2)
        assert (changed.display_name, changed.desired_replica_count) == ("Other", 2)
        assert [each.name for each in client.deployments.list()] == [found.name]
        client.deployments.delete("d")
        assert list(client.deployments.list()) == []
        (gone,) = client.deployments.list(show_deleted=True)
        assert gone.state == "DELETED"
        assert gone.delete_time is not None
        assert client.deployments.undelete("d", body={}).state == "READY"
        with pytest.raises(fireworks.ConflictError):
            client.deployments.create(base_model="llama", deployment_id="d")
        with pytest.raises(fireworks.NotFoundError):
            client.deployments.get("none")


def test_s54_an_invoice_says_which_accelerator_ran_and_for_how_long(simulated: House) -> None:
    key = furnish(simulated)
    create(key)
    simulated.advance("2026-03-01T10:04:00Z")
    assert key.delete(f"{DEPLOYMENTS}/llama").status == 200
    simulated.advance("2026-04-01T00:00:00Z")
    (invoice,) = [each for each in simulated.invoices("ada") if each["type"] == "POSTPAID_BILLING"]
    (line,) = invoice["lines"]
    assert (line["model"], line["unit"], line["quantity"]) == (H100, "gpu_seconds", 3600)
    assert float(line["amountUsd"]) == 7
    events = key.get(f"/v1/accounts/ada/invoices/{invoice['id']}/lines/1/usage").json["events"]
    assert sum(each["quantity"] for each in events) == 3600


def test_it_is_told_what_it_costs_before_it_is_made(ada: Client) -> None:
    body = {"baseModel": "llama", "acceleratorCount": 2, "acceleratorType": H100, "maxReplicaCount": 3}
    told = ada.post(f"{DEPLOYMENTS}:preview", body).json
    assert (told["hourlyMinUsd"], told["hourlyMaxUsd"]) == ("0.00", "42.00")
    for query in ("validateOnly=true", "dryRun=true"):
        tried = ada.post(f"{DEPLOYMENTS}?deploymentId=d&{query}", body).json
        assert (tried["hourlyMinUsd"], tried["hourlyMaxUsd"]) == ("0.00", "42.00")
    assert ada.get(DEPLOYMENTS).json["totalSize"] == 0


def test_reports_come_from_whoever_meters(house: House, ada: Client) -> None:
    create(ada)
    report = f"{DEPLOYMENTS}/llama:report"
    assert ada.post(report, {"readyReplicas": 1}).status == 403
    meter = house.operator.post("/v1/accounts/ada/users?userId=fleet", {"serviceAccount": True, "scopes": ["metering"]})
    assert meter.status == 200
    key = house.operator.post("/v1/accounts/ada/users/fleet/apiKeys", {}).json["key"]
    told = Client(house.operator.port, key).post(report, {"readyReplicas": 1, "at": "2026-03-01T09:00:00Z"}).json
    assert (told["counted"], told["billedReplicas"], told["heldUntil"]) == (True, 1, "2026-03-01T09:10:00Z")
    again = house.operator.post(report, {"readyReplicas": 4, "at": "2026-03-01T08:59:00Z"}).json
    assert (again["counted"], again["billedReplicas"]) == (False, 1)
    assert house.operator.get("/v1/accounts/ada/balance").json["heldUsd"] == "1.166666667"
    house.advance("2026-03-01T10:00:00Z")
    assert house.operator.get("/v1/accounts/ada/balance").json["spentThisMonthUsd"] == "7.000000000"


def test_s60_over_the_quota_it_is_refused_until_the_operator_raises_it(house: House, ada: Client) -> None:
    create(ada, "six", acceleratorCount=6)
    quota = "/v1/accounts/ada/quotas/nvidia-h100-80gb"
    found = ada.get(quota).json
    assert (found["value"], found["maxValue"], found["usage"]) == ("8", "8", 6)
    body = {"baseModel": "llama", "acceleratorType": H100, "acceleratorCount": 4}
    refused = ada.post(f"{DEPLOYMENTS}?deploymentId=four", body)
    assert (refused.status, refused.json["code"]) == (429, "quota_exceeded")
    assert ada.patch(quota, {"maxValue": "16"}).status == 403
    assert house.operator.patch(quota, {"maxValue": "16"}).json["maxValue"] == "16"
    assert ada.post(f"{DEPLOYMENTS}?deploymentId=four", body).status == 200


def test_u3_s61_while_suspended_nothing_starts_and_all_stops(simulated: House) -> None:
    key = furnish(simulated)
    create(key)
    simulated.advance("2026-03-01T09:10:00Z")
    simulated.operator.post("/operator/v1/accounts/ada:suspend", {"reason": "odd"})
    simulated.advance("2026-03-01T10:00:00Z")
    found = key.get(f"{DEPLOYMENTS}/llama").json
    assert (found["replicaCount"], found["stoppedFor"]) == (0, "BLOCKED_BY_ABUSE_RULE")
    body = {"baseModel": "llama", "acceleratorType": H100}
    refused = key.post(f"{DEPLOYMENTS}?deploymentId=d", body)
    assert (refused.status, refused.json["code"]) == (412, "PRECONDITION_FAILED")
    assert "is suspended" in refused.json["detail"]
    assert key.patch(f"{DEPLOYMENTS}/llama:scale", {"replicaCount": 1}).status == 412
    assert simulated.operator.get("/v1/accounts/ada/balance").json["spentThisMonthUsd"] == "0.700000000"


def test_s78_who_may_make_and_manage_one(house: House, ada: Client) -> None:
    maker, other = house.member("ada", "maker", "contributor"), house.member("ada", "other", "contributor")
    runner, user = house.member("ada", "runner", "inference-user"), house.member("ada", "helper", "user")
    body = {"baseModel": "llama", "acceleratorType": H100}
    assert runner.post(f"{DEPLOYMENTS}?deploymentId=d", body).status == 403
    assert maker.post(f"{DEPLOYMENTS}?deploymentId=d", body).json["createdBy"] == "maker"
    assert runner.get(f"{DEPLOYMENTS}/d").status == 200
    assert other.delete(f"{DEPLOYMENTS}/d").status == 403
    assert other.patch(f"{DEPLOYMENTS}/d:scale", {"replicaCount": 0}).status == 403
    assert user.patch(f"{DEPLOYMENTS}/d:scale", {"replicaCount": 0}).status == 200
    assert maker.delete(f"{DEPLOYMENTS}/d").status == 200


def test_s79_an_account_with_a_deployment_does_not_close(ada: Client) -> None:
    create(ada)
    refused = ada.post("/v1/accounts/ada:close", {})
    assert refused.status == 409
    assert "deployment llama is not deleted" in refused.text
    ada.delete(f"{DEPLOYMENTS}/llama")
    assert ada.post("/v1/accounts/ada:close", {}).status == 200


def test_what_is_reserved_is_told_and_not_billed(simulated: House) -> None:
    key = furnish(simulated)
    body = {"acceleratorType": H100, "reservedCount": 2, "startTime": "2026-03-01T00:00:00Z"}
    made = simulated.operator.post("/operator/v1/accounts/ada/reservations", body)
    assert (made.status, made.json["endTime"]) == (201, "2027-03-01T00:00:00Z")
    create(key, acceleratorCount=2)
    simulated.advance("2026-03-01T10:00:00Z")
    assert simulated.operator.get("/v1/accounts/ada/balance").json["spentThisMonthUsd"] == "0.000000000"
    assert key.get("/v1/accounts/ada/reservations").json["reservations"] == [made.json]
    assert key.post("/operator/v1/accounts/ada/reservations", body).status == 403
    path = f"/operator/v1/accounts/ada/reservations/{made.json['id']}"
    assert simulated.operator.delete(path).status == 200
    assert simulated.operator.delete(path).status == 404
    simulated.advance("2026-03-01T11:00:00Z")
    assert simulated.operator.get("/v1/accounts/ada/balance").json["spentThisMonthUsd"] == "14.000000000"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "baseModel"),
        ({"baseModel": "m", "acceleratorType": "TPU"}, "acceleratorType must be one of"),
        ({"baseModel": "m", "acceleratorType": "NVIDIA_L4_24GB"}, "no price per GPU-hour"),
        ({"baseModel": "m", "acceleratorCount": 0}, "acceleratorCount"),
        ({"baseModel": "m", "minReplicaCount": 3, "maxReplicaCount": 2}, "maxReplicaCount"),
        ({"baseModel": "m", "autoscalingPolicy": {"scaleToZeroWindow": "60s"}}, "scaleToZeroWindow"),
        ({"baseModel": "m", "autoscalingPolicy": {"scaleUpWindow": "soon"}}, "a span such as"),
        ({"baseModel": "m", "autoscalingPolicy": {"loadTargets": {"default": -1}}}, "numbers from 0 up"),
        ({"baseModel": "m", "displayName": "x" * 65}, "displayName"),
    ],
)
def test_what_is_wrong_is_named(ada: Client, body: dict[str, Any], words: str) -> None:
    refused = ada.post(f"{DEPLOYMENTS}?deploymentId=d", body)
    assert refused.status in (400, 404)
    assert words in refused.text


def test_a_slice_s_charge_is_explained(simulated: House) -> None:
    key = furnish(simulated)
    create(key)
    simulated.advance("2026-03-01T09:20:00Z")
    told = key.get("/v1/accounts/ada/charges:explain?request=llama/1")
    assert told.status == 200, told.text
    assert "gpu seconds for $" in told.text


def test_reports_of_cost_know_gpu_time(simulated: House) -> None:
    key = furnish(simulated)
    create(key)
    simulated.advance("2026-03-01T10:04:00Z")
    span = "startTime=2026-03-01T00:00:00Z&endTime=2026-03-02T00:00:00Z"
    for path in (f"billing/summary?{span}", "usage?start=2026-03-01T00:00:00Z&groupBy=model"):
        told = key.get(f"/v1/accounts/ada/{path}")
        assert told.status == 200, told.text
        assert H100 in told.text, path
    query = f"{span}&groupBy=accelerator_type,deployment_name"
    (used,) = key.get(f"/v1/accounts/ada/billingUsage?{query}").json["dedicatedCosts"]
    assert (used["acceleratorSeconds"], used["acceleratorType"]) == ("3600", H100)
    assert used["deploymentName"] == "accounts/ada/deployments/llama"
    assert (used["startTime"], used["endTime"]) == ("2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
    (all_,) = key.get(f"/v1/accounts/ada/billingUsage?{span}&usageType=DEDICATED_DEPLOYMENT").json["dedicatedCosts"]
    assert all_["acceleratorSeconds"] == "3600"
    assert key.get(f"/v1/accounts/ada/billingUsage?{span}&usageType=SERVERLESS").json["dedicatedCosts"] == []
