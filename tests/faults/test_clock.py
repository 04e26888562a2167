"""A serving process whose wall clock is set forward and back: billing time goes on, and what is due waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.demo.fleet import fleet
from tests.demo.load import ASK
from tests.demo.program import PATIENCE, eventually
from tests.faults.test_disk import _SCRIPT, tell

pytestmark = pytest.mark.once
DAY = 86_400


def rfc(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_a_clock_set_a_day_forward_and_back_loses_nothing(tmp_path: Path) -> None:
    with fleet(tmp_path, 1, runs=(str(_SCRIPT), str(tmp_path))) as [program]:
        key = program.open("clock", "1.00")
        soon = rfc(datetime.now(UTC) + timedelta(hours=6))
        grant = {"amountUsd": "3.00", "expiresAt": soon}
        program.operate("POST", "/operator/v1/accounts/clock/grants", grant)
        costs = {}
        with program.caller(key) as caller:

            def ask() -> None:
                answer = caller.chat(ASK, max_tokens=24)
                assert answer.status == 200, answer
                costs[answer.headers["x-request-id"]] = answer.cost

            ask()
            for ahead, times in ((DAY, 1), (-DAY, 2), (40 * DAY, 3)):
                tell(tmp_path, program, f"clock {ahead}")
                assert eventually(lambda times=times: program.log.count("stand still") == times, PATIENCE)  # type: ignore[misc]
                ask()
                assert program.balance("clock")["creditUsd"].startswith("3.99"), "no credit has lapsed"
                with program.caller(program.operator_key) as operator:
                    refused = operator.call("POST", "/operator/v1/months/2020-01:close")
                assert refused.status == 503, refused
                tell(tmp_path, program, "clock 0")
                assert eventually(lambda times=times: program.log.count("right again") == times, PATIENCE)  # type: ignore[misc]
                ask()
            month = program.operate("GET", "/v1/accounts/clock/balance")["spentThisMonthUsd"]
        assert program.booked("clock") == costs
        assert str(sum(costs.values())).rstrip("0") == month.rstrip("0")
        assert program.operate("GET", "/v1/accounts/clock/invoices")["invoices"] == []
        assert program.violations() == []
