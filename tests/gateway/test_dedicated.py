"""Requests that name a deployment: they start it when it has no replica, and cost nothing (S59)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from purser.core.deployment import SIMULATED, Scaling
from purser.core.policy import Policy
from purser.flows import deployments, pricing
from purser.flows.deployments import Report
from purser.store import deployments as rows
from purser.store import usage
from purser.store.deployments import Deployment
from tests.gateway.rig import Rig, running

pytestmark = pytest.mark.once
H100 = "NVIDIA_H100_80GB"


def ask(rig: Rig, name: str) -> Any:
    body = {"model": name, "max_tokens": 3, "messages": [{"role": "user", "content": "Hi"}]}
    return rig.send("/v1/chat/completions", body)


def deploy(rig: Rig, most: int = 1) -> str:
    """A deployment of the rig's account that is at zero; answers what requests call it."""
    new = Deployment("ada", "own", "llama", H100, 1, Scaling(0, most), 0, 0)
    rig.write(lambda tx: pricing.publish(tx, {H100: {"gpu_hour": "0.01"}}))
    rig.write(lambda tx: deployments.create(tx, new))
    rig.write(lambda tx: deployments.scale(tx, "ada", "own", 0))
    return "accounts/ada/deployments/own"


def desired(rig: Rig) -> int:
    with rig.db.read() as conn:
        found = rows.get_fleet(conn, "ada", "own")
    assert found is not None
    return found.desired


def test_s59_a_request_to_one_at_zero_starts_it_and_is_not_charged(rig: Rig) -> None:
    name = deploy(rig)
    assert desired(rig) == 0
    for _ in range(2):
        refused = ask(rig, name)
        assert (refused.status, refused.error["code"]) == (503, "DEPLOYMENT_SCALING_UP")
        assert refused.headers["retry-after"] == "10"
        assert desired(rig) == 1
    with rig.db.read() as conn:
        assert usage.list_events(conn, "ada") == []
    rig.write(lambda tx: deployments.report(tx, "ada", "own", Report(ready=1)))
    ready = ask(rig, name)
    assert (ready.status, ready.error["code"]) == (404, "model_not_found")
    assert "answers at its own address" in ready.error["message"]


def test_one_that_may_have_no_replica_is_not_started(rig: Rig) -> None:
    refused = ask(rig, deploy(rig, most=0))
    assert (refused.status, refused.error["code"]) == (503, "DEPLOYMENT_SCALED_TO_ZERO")
    assert refused.headers["x-should-retry"] == "false"


@pytest.mark.parametrize(
    "name", ["accounts/other/deployments/own", "accounts/{}/deployments/none", "accounts/{}/models/own"]
)
def test_x3_another_accounts_deployment_is_no_model(rig: Rig, name: str) -> None:
    deploy(rig)
    refused = ask(rig, name.format("ada"))
    assert (refused.status, refused.error["code"]) == (404, "model_not_found")
    assert desired(rig) == 0


def test_while_replicas_are_simulated_it_gets_ready_by_itself(tmp_path: Path) -> None:
    with running(tmp_path, Policy(fleet=SIMULATED, replica_ready_seconds=0)) as rig:
        assert ask(rig, deploy(rig)).status == 503
        assert desired(rig) == 1
