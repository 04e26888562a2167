"""Faults that the simulator found, as the shortest stories that show them; and how a story is found and told."""

from __future__ import annotations

from typing import Any

import pytest

from purser.core.period import DAY
from purser.main.simulate import tell_failure, tell_report
from purser.simulator.cast import MONTH_ENDS_AT
from purser.simulator.disk import open_disk
from purser.simulator.plan import Item, Plan, draw
from purser.simulator.run import Outcome, Run
from purser.simulator.seeds import simulate
from purser.simulator.shrink import shrink
from tests.simulator.faults import FAULTS

MILLI = 1_000
ASK: dict[str, Any] = {
    "model": "tiny",
    "stream": True,
    "bytes": 40,
    "output": 60,
    "cap": 64,
    "engine": "obeys",
    "pause": 10 * MILLI,
    "named": True,
    "twice": False,
    "hang_up": None,
    "lost_request": False,
    "lost_reply": False,
    "tries": 0,
}


def play(*happens: tuple[int, str, int, str, dict[str, Any]]) -> Outcome:
    """What comes of what happens: (milliseconds, kind, process from 0, account, how)."""
    items = tuple(
        Item(number, at * MILLI, kind, process, account, {**ASK, **how} if kind == "ask" else how)
        for number, (at, kind, process, account, how) in enumerate(happens)
    )
    with open_disk() as disk:
        return Run(disk, Plan(1, MONTH_ENDS_AT - 10 * DAY, items)).play()


def test_a_stop_while_a_request_frees_its_id_leaves_its_answer_to_be_said() -> None:
    """The upstream failed; freeing the id waits for a store out of reach; the stop called the request off there."""
    outcome = play(
        (100, "ask", 0, "hot", {"engine": "silent"}),
        (500, "stall", 0, "", {"for": 8_000 * MILLI}),
        (2_000, "stop", 0, "", {"down": 500 * MILLI}),
    )
    assert outcome.violations == ()


def test_an_ordinary_request_is_acknowledged_with_what_is_in_the_books() -> None:
    outcome = play((100, "ask", 0, "hot", {}), (200, "ask", 1, "ada", {"stream": False}))
    assert outcome.violations == ()
    assert (outcome.counts["acknowledged"], outcome.counts["usage events"]) == (2, 2)
    assert outcome.counts["billed nanos"] == 2 * (14 * 1_000 + 4 * 500 + 60 * 2_000)  # input, cached input, output


def test_a_failing_plan_is_shrunk_to_what_it_needs() -> None:
    plan = draw(9)
    needed = {plan.items[3].number, plan.items[-2].number}

    def fails(tried: Plan) -> bool:
        return needed <= {item.number for item in tried.items}

    shortest = shrink(plan, fails)
    assert {item.number for item in shortest.items} == needed


def test_a_failure_is_told_as_a_short_story_that_can_be_run_again(monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS["the_path_has_no_month"](monkeypatch)
    report = simulate(range(1, 20))
    assert report.failure is not None
    assert not report.good
    shortest = report.failure.shortest
    assert len(shortest.items) < len(report.failure.plan.items)
    text = "\n".join(tell_failure(report.failure))
    assert f"purser simulate --seed {report.failure.outcome.seed} --only" in text
    assert "VIOLATION" in text
    assert any("1 runs broke an invariant" in line for line in tell_report(report))
