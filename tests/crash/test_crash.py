"""The share of the crash harness that every run of the tests has: real processes killed under load, nothing lost."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests import databases
from tests.crash import looking
from tests.crash.report import back_ms, tell
from tests.crash.run import Plan, Run

KILLS = 16
BACK_MS = 20_000  # `make crash` insists on the two seconds; here the machine may be busy with other things


def test_processes_killed_at_random_lose_nothing_and_bill_nothing_twice(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    outcome = Run(Plan(seed=7, kills=KILLS, clients=12, pause_seconds=0.3, back_ms=BACK_MS), tmp_path).play()
    report = "\n".join(tell(outcome, databases.SQLITE if databases.is_sqlite() else databases.POSTGRESQL))
    times = back_ms(outcome.deaths)
    record_property(
        "headroom of the dead was back after", f"{times[len(times) // 2]:.0f} ms, {times[-1]:.0f} ms at most"
    )
    assert not outcome.findings.any, report
    assert len(outcome.deaths) >= KILLS, report
    assert len(outcome.told.acknowledged()) > 100, report
    assert outcome.money.top_ups.total() > 0, report
    for moment in (looking.REQUESTS, looking.STREAMING, looking.LEASES):  # rarer ones are `make crash`'s to meet
        assert outcome.hits[moment], f"no kill fell {moment}\n{report}"
