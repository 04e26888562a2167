"""Seeds: many runs one after another, what they counted together, and the first that fails with its shortest story."""

from __future__ import annotations

import gc
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from purser.simulator.coverage import ENOUGH_SEEDS, missing
from purser.simulator.disk import Disk, open_disk
from purser.simulator.plan import Plan, draw
from purser.simulator.run import Outcome, Run
from purser.simulator.shrink import shrink


@dataclass(slots=True)
class Failure:
    """A run that failed: as its seed has it, and the shortest story found that fails the same way."""

    outcome: Outcome
    plan: Plan
    shortest: Plan
    story: Outcome


@dataclass(slots=True)
class Report:
    """What a number of runs counted."""

    first: int
    runs: int = 0
    simulated: int = 0  # microseconds
    cpu_seconds: float = 0.0
    situations: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    failure: Failure | None = None

    @property
    def missing(self) -> list[str]:
        """The situations that should have come up in so many runs and did not; with few runs nothing is asked."""
        return missing(self.situations) if self.runs >= ENOUGH_SEEDS else []

    @property
    def good(self) -> bool:
        """Whether no invariant was broken, and everything interesting came up."""
        return self.failure is None and not self.missing


def simulate(seeds: Iterable[int], progress: Callable[[int], None] = lambda done: None) -> Report:
    """Run seeds one after another, up to the first that fails."""
    report: Report | None = None
    with open_disk() as disk:
        collecting = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)
        began = time.process_time()
        try:
            for seed in seeds:
                report = report or Report(seed)
                outcome = Run(disk, draw(seed)).play()
                _add(report, outcome)
                progress(report.runs)
                if outcome.violations:
                    report.failure = explain(disk, outcome)
                    break
        finally:
            gc.set_threshold(*collecting)
            gc.unfreeze()
        report = report or Report(0)
        report.cpu_seconds = time.process_time() - began
    return report


def _add(report: Report, outcome: Outcome) -> None:
    report.runs += 1
    report.simulated += outcome.simulated
    report.situations.update(outcome.situations)
    report.counts.update(outcome.counts)


def explain(disk: Disk, outcome: Outcome) -> Failure:
    """The shortest story found that breaks the same invariant as a run did."""
    plan, broken = draw(outcome.seed), outcome.violations[0].invariant

    def fails(tried: Plan) -> bool:
        return any(found.invariant == broken for found in Run(disk, tried).play().violations)

    shortest = shrink(plan, fails)
    return Failure(outcome, plan, shortest, Run(disk, shortest).play())


def replay(seed: int, only: Iterable[int] | None = None, steps: int | None = None) -> tuple[Plan, Outcome]:
    """One seed again, with only some items of its plan, and only so many steps."""
    plan = draw(seed)
    if only is not None:
        wanted = set(only)
        plan = Plan(plan.seed, plan.begins_at, tuple(item for item in plan.items if item.number in wanted))
    with open_disk() as disk:
        return plan, Run(disk, plan, steps=steps).play()
