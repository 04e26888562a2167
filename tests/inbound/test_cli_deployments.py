"""The deployment commands: what one costs is said before it is made, and shown while it runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.inbound.house import House
from tests.inbound.terminal import Terminal

pytestmark = pytest.mark.once


@pytest.fixture
def terminal(tmp_path: Path) -> Terminal:
    """A terminal in a folder of its own."""
    return Terminal(tmp_path)


def test_what_it_costs_is_said_before_it_is_made(house: House, terminal: Terminal) -> None:
    house.operator.post("/operator/v1/prices", {"models": {"NVIDIA_H100_80GB": {"gpu_hour": "7.00"}}})
    key = house.open("ada")
    house.card("ada")
    at = terminal.using(PURSER_URL=f"http://127.0.0.1:{key.port}", PURSER_API_KEY=str(key.key))
    what = "llama --base-model llama --accelerator NVIDIA_H100_80GB --gpus 2 --max-replicas 3".split()
    tried = at.run("deployment", "create", *what, "--dry-run")
    assert "$0.00 an hour at 0, $42.00 at 3 ready replicas" in tried.stderr
    assert "nothing was changed" in tried.stderr
    assert at.run("deployment", "list").stderr.strip() == "No deployment."
    made = json.loads(at.run("deployment", "create", *what, "-o", "json").stdout)
    assert (made["id"], made["hourlyMaxUsd"], made["desiredReplicaCount"]) == ("llama", "42.00", 1)
    assert "NVIDIA_H100_80GB" in at.run("deployment", "list").stdout
    at.ok("deployment", "scale", "llama", "0")
    assert "CUSTOMER" in at.ok("deployment", "get", "llama")
    assert at.run("deployment", "scale", "llama", "9").code == 2
    at.ok("deployment", "delete", "llama", "--yes")
    assert "DELETED" in at.ok("deployment", "list", "--deleted")
    at.ok("deployment", "undelete", "llama")
    assert at.run("deployment", "get", "none").code == 5
