"""The report of a run in plain words: what was counted, where the kills fell, and what was found wrong."""

from __future__ import annotations

from collections.abc import Sequence

from purser.core.money import format_usd
from tests.crash import killer, looking
from tests.crash.deaths import Death
from tests.crash.observer import NAMES
from tests.crash.run import ANSWER_LOST, WORK_LOST, Outcome

ENOUGH_KILLS = 200  # from here on every moment must have been met
_MOMENTS = (
    looking.REQUESTS,
    looking.STREAMING,
    looking.LEASES,
    looking.WRITING,
    looking.COMMITTING,
    looking.STARTING,
    looking.BOUNDARY,
    WORK_LOST,
    ANSWER_LOST,
    looking.STILL,
)
_COUNTS = (
    "plain answers acknowledged",
    "streams acknowledged",
    "told afterwards that they were served",
    "told that they still run",
    "refused for credit",
    "refused for limit",
    "hung up by their client",
    "broken off",
    "unavailable",
    "turned away before they were read",
    "streams ended by their server",
)


def tell(outcome: Outcome, database: str) -> list[str]:
    """The whole report, line by line."""
    lines = [*_tell_kills(outcome, database), *_tell_moments(outcome, database), *_tell_back(outcome)]
    lines += [*_tell_answers(outcome), *_tell_size(outcome), *_tell_findings(outcome)]
    if outcome.plan.fault:
        return [*lines, "CAUGHT." if outcome.findings.grave else "NOT CAUGHT."]
    absent = not_met(outcome, database)
    if absent:
        few = len(outcome.deaths) < ENOUGH_KILLS
        words = (
            f"Not met in so few kills (needed from {ENOUGH_KILLS} on)" if few else "NOT MET, so nothing is proven of it"
        )
        lines.append(f"{words}: {'; '.join(absent)}")
    lines.append("NOTHING IS WRONG." if not outcome.findings.any else "WRONG: see above.")
    return lines


def is_good(outcome: Outcome, database: str) -> bool:
    """Whether nothing is wrong, and a long run has met every moment; of a planted fault, whether it was caught."""
    if outcome.plan.fault:
        return outcome.findings.grave
    met = len(outcome.deaths) < ENOUGH_KILLS or not not_met(outcome, database)
    return met and not outcome.findings.any


def not_met(outcome: Outcome, database: str) -> list[str]:
    """The moments that no kill hit."""
    visible = [name for name in _MOMENTS if name != looking.COMMITTING or database == "postgresql"]
    absent = [name for name in visible if not outcome.hits[name]]
    wanted = [way for way in killer.WAYS if not outcome.plan.minutes or way not in (killer.ALL, killer.STARTING)]
    return absent + [f"kills: {way}" for way in wanted if not outcome.ways[way]]


def back_ms(deaths: Sequence[Death]) -> list[float]:
    """For how long the headroom of each was out of reach, sorted; only of those that had a writer."""
    return sorted(death.back_ms for death in deaths if death.back_ms is not None and death.writers)


def _count(number: int | str, words: str) -> str:
    return f"{number:>16,}  {words}" if isinstance(number, int) else f"{number:>16}  {words}"


def _tell_kills(outcome: Outcome, database: str) -> list[str]:
    plan, name = outcome.plan, {"sqlite": "SQLite", "postgresql": "PostgreSQL"}[database]
    processes = f"{plan.singles} processes by themselves and {plan.supervised} under a supervisor"
    lines = [
        f"{len(outcome.deaths):,} kills with SIGKILL in {outcome.seconds:,.0f} s on {name}, seed {plan.seed}: "
        f"{processes}, {plan.clients} clients on one hot account and {plan.cold} cold ones"
        + (f"; planted: {plan.fault}" if plan.fault else ""),
        _count(outcome.starts, "programs started"),
        *(_count(outcome.ways[way], f"times killed: {way}") for way in killer.WAYS),
    ]
    if outcome.gave_up:
        lines.append(_count(outcome.gave_up, "times a supervisor gave up, as its workers died so fast"))
    return lines


def _tell_moments(outcome: Outcome, database: str) -> list[str]:
    visible = [name for name in _MOMENTS if name != looking.COMMITTING or database == "postgresql"]
    return ["Where the kills fell:", *(_count(outcome.hits[name], name) for name in visible)]


def _tell_back(outcome: Outcome) -> list[str]:
    seen = [death for death in outcome.deaths if not death.alone]
    alone = [death for death in outcome.deaths if death.alone]
    apart, most_apart = outcome.looks_ms
    lines = [
        f"Headroom of the dead back (promised: within {outcome.plan.back_ms:,} ms; looks were {apart:,.0f} ms apart, "
        f"{most_apart:,.0f} at most; load of the machine {outcome.load[0]:.1f} before, {outcome.load[1]:.1f} after):"
    ]
    for found, words in ((seen, "from the kill"), (alone, "nobody lived: from when somebody did")):
        times = back_ms(found)
        if times:
            at = [times[len(times) // 2], times[min(len(times) - 1, len(times) * 99 // 100)], times[-1]]
            middle, most, worst = (f"{ms:,.0f} ms" for ms in at)
            lines.append(_count(len(times), f"deaths, {words}: median {middle}, p99 {most}, most {worst}"))
    unseen = sum(death.unseen for death in outcome.deaths)
    if unseen:
        lines.append(_count(unseen, "deaths that were not timed, since the watch itself did not run for over a second"))
    return lines


def _tell_answers(outcome: Outcome) -> list[str]:
    told, counts = outcome.told, outcome.told.counts
    acknowledged = told.acknowledged()
    return [
        "What clients were told:",
        _count(counts["requests sent"], "requests sent"),
        *(_count(counts[name], name) for name in _COUNTS),
        _count(len(acknowledged), f"acknowledged in all, ${format_usd(told.total)} told as their cost"),
        _count(
            outcome.money.top_ups["credit"],
            f"times the hot account ran out of credit and was topped up, {outcome.money.top_ups['limit']:,} times it "
            "reached its limit, which was raised",
        ),
    ]


def _tell_size(outcome: Outcome) -> list[str]:
    lines = [
        "The books:",
        _count(outcome.events, f"events, ${format_usd(outcome.billed)} billed"),
        _count(outcome.examinations, "times everything was added up from outside"),
        _count(f"${format_usd(outcome.unbilled)}", "unbilled on record, at most, for all that were killed"),
    ]
    if outcome.audited:
        lines.append(f"{'purser audit':>16}  {outcome.audited}")
    if outcome.engine_missed:
        lines.append(_count(outcome.engine_missed, "requests whose work the model server no longer knew"))
    sizes = outcome.vitals.sizes
    if len(sizes) > 1 and outcome.events:
        grown = sizes[-1][1] - sizes[0][1]
        lines.append(_count(sizes[-1][1], f"bytes of database, {grown // outcome.events:,} more for each event"))
    growth = outcome.vitals.growth()
    if outcome.plan.minutes and growth is not None:
        (early, late), minutes = growth, len(outcome.vitals.longest) * 2 / 60
        lines.append(
            f"{'memory':>16}  of the process that lived longest ({minutes:.1f} min), warm and at its end: "
            f"{early.bytes / 2**20:.0f} and {late.bytes / 2**20:.0f} MiB, {early.files} and {late.files} descriptors"
        )
    return lines


def _tell_findings(outcome: Outcome) -> list[str]:
    lines = ["Found wrong:"]
    for name in NAMES:
        lines.append(_count(outcome.findings.counts[name], name))
        lines += [f"{'':>18}{words}" for words in outcome.findings.examples.get(name, ())]
    return lines
