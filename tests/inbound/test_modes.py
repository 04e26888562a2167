"""How an account pays, changed by the operator: at once, from an instant on, tried out, and by command."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from purser.core.period import parse_instant
from tests.inbound.house import OPERATOR_KEY, House
from tests.inbound.terminal import Terminal

PATH = "/operator/v1/accounts/ada:setBillingMode"


def test_a_change_is_in_force_at_once_and_told(house: House) -> None:
    house.open("ada", signupCreditUsd="0")
    house.card("ada")
    assert house.account("ada")["suspendState"] == "UNSUSPENDED"
    changed = house.operator.post(PATH, {"billingMode": "prepaid"})
    assert (changed.status, changed.json["billingMode"]) == (200, "prepaid")
    assert changed.json["suspendState"] == "CREDIT_DEPLETED"
    entry = house.operator.get("/v1/accounts/ada/auditLogs").json["auditLogs"][0]
    told = {change["resource"]: change["after"] for change in entry["changes"]}
    assert told["accounts/ada"]["billingMode"] == "prepaid"
    assert told["accounts/ada/billingModeChanges/1"] == {"was": "postpaid", "mode": "prepaid"}
    assert house.operator.post(PATH, {"billingMode": "prepaid"}).status == 200
    assert house.audit() == []


def test_a_change_to_come_is_shown_and_comes(house: House) -> None:
    house.open("ada")
    house.card("ada")
    house.spend("ada", 3, "e1")
    later = {"billingMode": "prepaid", "effectiveAt": "2026-04-01T00:00:00Z"}
    tried = house.operator.post(f"{PATH}?dryRun=true", later)
    assert house.account("ada")["nextBillingMode"] is None
    told = house.operator.post(PATH, later).json
    assert told == tried.json
    assert told["nextBillingMode"] == later
    assert told["billingMode"] == "postpaid"
    house.advance("2026-03-31T23:59:59Z")
    assert house.account("ada")["billingMode"] == "postpaid"
    house.advance("2026-05-02T00:00:00Z")
    account = house.account("ada")
    assert (account["billingMode"], account["nextBillingMode"]) == ("prepaid", None)
    assert [(row["month"], row["totalUsd"], row["state"]) for row in house.invoices("ada")] == [
        ("2026-03", "2.00", "PAID")
    ]
    assert house.audit() == []


def test_a_preview_says_how_the_month_will_be_billed(house: House) -> None:
    ada = house.open("ada")
    house.operator.post(PATH, {"billingMode": "contract"})
    house.operator.post(PATH, {"billingMode": "prepaid"})
    assert ada.get("/v1/accounts/ada/invoices:preview").json["type"] == "CONTRACTED"


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"billingMode": "free"}, "billingMode"),
        ({}, "billingMode"),
        ({"billingMode": "prepaid", "effectiveAt": "2026-02-28T00:00:00Z"}, "effectiveAt"),
        ({"billingMode": "prepaid", "effectiveAt": "soon"}, "effectiveAt"),
    ],
)
def test_what_is_wrong_is_named(house: House, body: Any, field: str) -> None:
    house.open("ada")
    refused = house.operator.post(PATH, body)
    assert (refused.status, refused.json["errors"][0]["field"]) == (400, field)
    assert house.account("ada")["billingMode"] == "postpaid"
    assert house.operator.post(PATH.replace("ada", "dan"), {"billingMode": "prepaid"}).status == 404


@pytest.mark.once
def test_the_command(house: House, tmp_path: Path) -> None:
    house.open("ada")
    url = f"http://127.0.0.1:{house.operator.port}"
    operator = Terminal(tmp_path).using(PURSER_URL=url, PURSER_OPERATOR_KEY=OPERATOR_KEY)
    tried = operator.run("account", "set-mode", "ada", "contract", "--dry-run")
    assert "nothing was changed" in tried.stderr
    assert "contract" in tried.stdout
    assert operator.json("account", "get", "ada")["billingMode"] == "postpaid"
    later = operator.run("account", "set-mode", "ada", "prepaid", "--at", "2026-04-01T00:00:00Z")
    assert "2026-04-01 00:00: prepaid" in " ".join(later.stdout.split())
    assert operator.json("account", "set-mode", "ada", "contract")["billingMode"] == "contract"
    assert operator.run("account", "set-mode", "ada", "free").code == 2


def test_a_change_that_comes_late_leaves_months_that_are_billed_alone(house: House) -> None:
    house.open("ada", billingMode="prepaid", signupCreditUsd="5.00")
    house.spend("ada", 2, "e1")
    house.operator.post(PATH, {"billingMode": "contract", "effectiveAt": "2026-03-20T00:00:00Z"})
    house.world.set(parse_instant("2026-04-02T00:00:00Z"))  # as after a stop: nothing was done meanwhile
    house.desk.worker.close_month("2026-03")
    assert house.invoices("ada") == []
    house.desk.worker.run_due()
    assert house.account("ada")["billingMode"] == "contract"
    assert house.audit() == []
