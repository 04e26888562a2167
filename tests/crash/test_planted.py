"""The crash harness catches what is wrong: faults planted in real processes, each found after a few kills."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import databases
from tests.crash.observer import LOST, OVERSPEND, TAKEN, UNPOSTED
from tests.crash.report import tell
from tests.crash.run import Plan, Run

pytestmark = pytest.mark.long
MOST_KILLS = 40


@pytest.mark.parametrize(
    "fault, caught_as",
    [
        ("an_answer_leaves_while_its_commit_is_made", {LOST}),
        ("the_share_of_the_dead_is_freed_twice", {TAKEN}),
        pytest.param("events_and_postings_are_two_commits", {UNPOSTED}, marks=pytest.mark.once),
        pytest.param("a_restart_is_granted_on_top", {TAKEN, OVERSPEND}, marks=pytest.mark.once),
    ],
)
def test_a_planted_fault_is_caught(tmp_path: Path, fault: str, caught_as: set[str]) -> None:
    outcome = Run(Plan.for_fault(fault, seed=3, kills=MOST_KILLS), tmp_path).play()
    caught = {name for name, count in outcome.findings.counts.items() if count}
    report = "\n".join(tell(outcome, databases.SQLITE if databases.is_sqlite() else databases.POSTGRESQL))
    assert caught & caught_as, f"{fault} was not caught in {len(outcome.deaths)} kills\n{report}"
