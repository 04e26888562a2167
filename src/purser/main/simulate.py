"""The command `purser simulate`: runs seeds, and tells what was counted, or the story of a run that failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from purser.core.money import format_usd
from purser.core.period import SECOND
from purser.inbound.cli.show import counting

if TYPE_CHECKING:
    from purser.simulator.plan import Plan
    from purser.simulator.run import Outcome
    from purser.simulator.seeds import Failure, Report


def run_seeds(seeds: int, first: int) -> int:
    """Run so many seeds from the first one on; answers the exit code."""
    from purser.simulator.seeds import simulate

    with counting("simulating", seeds) as progress:
        report = simulate(range(first, first + seeds), progress)
    print("\n".join(tell_report(report)))
    if report.failure is not None:
        print("\n" + "\n".join(tell_failure(report.failure)))
    return 0 if report.good else 1


def run_again(seed: int, only: str | None, steps: int | None) -> int:
    """Run one seed again and print its whole history; answers the exit code."""
    from purser.simulator.seeds import replay

    plan, outcome = replay(seed, None if only is None else [int(part) for part in only.split(",") if part], steps)
    print("\n".join([*_tell_plan(plan), "", *outcome.history]))
    print(f"\nseed {seed}: {outcome.counts['steps']:,} steps, {_verdict(outcome)}")
    return 1 if outcome.violations else 0


def _verdict(outcome: Outcome) -> str:
    return f"broken: {outcome.violations[0]}" if outcome.violations else "no invariant broken"


def tell_report(report: Report) -> list[str]:
    """What was counted, line by line."""
    from purser.simulator.coverage import ENOUGH_SEEDS, REQUIRED

    counts, cpu = report.counts, max(report.cpu_seconds, 0.001)
    simulated, served = report.simulated / SECOND, counts["microseconds served"] / SECOND
    last = report.first + max(report.runs, 1) - 1
    lines = [
        f"{report.runs:,} runs, seeds {report.first} to {last}",
        f"{simulated:,.0f} simulated seconds in {cpu:,.1f} s of CPU ({simulated / cpu:,.0f} a second), "
        f"{served:,.0f} of them with processes there ({served / cpu:,.0f} a second)",
    ]
    shown = ("steps", "process starts", "commits", "requests", "acknowledged", "usage events", "usage after the fact")
    lines += [f"{counts[name]:14,} {name}" for name in shown]
    lines += [
        f"{'$' + format_usd(counts['billed nanos']):>14} billed for requests",
        f"{counts['commits that moved']:14,} commits whose every touched row was checked",
        f"{counts['full checks']:14,} audits of everything",
        "Situations:",
        *(f"{number:14,} {name}" for name, number in sorted(report.situations.items())),
    ]
    absent = [name for name in REQUIRED if not report.situations.get(name)]
    if absent and report.runs < ENOUGH_SEEDS:
        lines.append(f"Not met in so few runs (needed from {ENOUGH_SEEDS} on): {'; '.join(absent)}")
    elif absent:
        lines.append(f"NOT MET, so nothing is proven of it: {'; '.join(absent)}")
    broken = 0 if report.failure is None else 1
    lines.append(f"{broken} runs broke an invariant")
    return lines


def tell_failure(failure: Failure) -> list[str]:
    """The story of a run that failed."""
    seed, shortest = failure.outcome.seed, failure.shortest
    only = ",".join(str(item.number) for item in shortest.items)
    return [
        f"Seed {seed} breaks an invariant: {failure.outcome.violations[0]}",
        f"The shortest story found that breaks the same one has {len(shortest.items)} of {len(failure.plan.items)} "
        "things happen:",
        "",
        *_tell_plan(shortest),
        "",
        *failure.story.history,
        "",
        f"All of it again: purser simulate --seed {seed}",
        f"Close to this story: purser simulate --seed {seed} --only {only}",
    ]


def _tell_plan(plan: Plan) -> list[str]:
    from purser.core.period import format_instant

    return [f"Seed {plan.seed}, from {format_instant(plan.begins_at)}:", *(str(item) for item in plan.items)]
