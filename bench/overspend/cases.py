"""The cases: what is asked of which budget, and how much of the work may stay unbilled, stated beforehand."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from bench.overspend.asking import Answer, Ask, ask_again_and_again, ask_at_once
from bench.overspend.contestant import Contestant, Key, billed_at_last
from bench.overspend.judge import Seen, price, usd
from bench.overspend.work import Upstream

TOKENS_PER_SECOND = 400
BUDGET = 10_000_000  # $0.01: nine answers of 100 tokens
SMALL_BUDGET = 2_000_000
KILL_BUDGET = 300_000_000
AMPLE_BUDGET = 500_000_000
BUDGETS = (BUDGET, SMALL_BUDGET, KILL_BUDGET, AMPLE_BUDGET)
_TOKENS = 100
_KILLED_AFTER_ANSWERS = 60
_KILL_CLIENTS = 32


@dataclass(frozen=True, slots=True)
class Case:
    """Requests sent at once on one budget; `capped` where work beyond the cap is nobody's but the operator's."""

    name: str
    budget: int
    asks: Sequence[Ask]
    capped: bool = False
    leaving: bool = False
    killed: bool = False


@dataclass(slots=True)
class Found:
    """What became of one case with one gateway."""

    case: Case
    seen: Seen
    note: str = ""
    answers: list[Answer] = field(default_factory=list)

    def count(self) -> dict[str, int]:
        """How many were answered whole, cut short by their cap, refused, and broken off or failed."""
        served = [each for each in self.answers if each.served]
        refused = [each for each in self.answers if 400 <= each.status < 500]
        whole = sum(each.whole and not each.cut_short for each in served)
        short = sum(each.whole and each.cut_short for each in served)
        others = len(self.answers) - whole - short - len(refused)
        return {"whole": whole, "short": short, "refused": len(refused), "others": others}


def cases(*, quick: bool) -> list[Case]:
    """Those for one process; `quick` takes the shortest of each kind."""
    found = []
    for many in (64,) if quick else (64, 1_000):
        for stream in (False, True):
            for cap in (_TOKENS, None):
                name = f"{many:,} {'streams' if stream else 'requests'} at once, max_tokens {cap or 'not named'}"
                found.append(Case(name, BUDGET, [Ask(_TOKENS, cap, stream)] * many))
    leaving = [Ask(1_000, 1_000, stream=True, leave_after=200)] * 16
    found.append(Case("16 clients hang up in mid-stream", AMPLE_BUDGET, leaving, leaving=True))
    for stream in (False, True):
        kind = "stream" if stream else "request"
        found.append(Case(f"one {kind} of 16× the budget", SMALL_BUDGET, [Ask(3_200, 3_200, stream)]))
    if quick:
        return [found[0], found[3], found[4]]
    for stream in (False, True):
        asks = [Ask(_TOKENS, _TOKENS, stream, note="[[fail=ignore-cap=2000]]")] * 4
        name = f"4 {'streams' if stream else 'requests'}, max_tokens 100 ignored upstream"
        found.append(Case(name, BUDGET, asks, capped=True))
    found.append(Case("killed with -9 under load, started again", KILL_BUDGET, [Ask(_TOKENS, _TOKENS)], killed=True))
    return found


def cases_of_two() -> list[Case]:
    """Those for two workers, or two processes, on one database."""
    return [
        Case("64 requests at once, max_tokens 100", BUDGET, [Ask(_TOKENS, _TOKENS)] * 64),
        Case("64 streams at once, max_tokens not named", BUDGET, [Ask(_TOKENS, None, stream=True)] * 64),
    ]


def play(case: Case, gateway: Contestant, server: Upstream) -> Found:
    """Play a case on a budget of its own, and look at what was done and what was billed."""
    key = gateway.open(case.budget)
    before = server.wait_until_idle()
    answers = _play_killed(case, gateway, key) if case.killed else asyncio.run(_play(case, gateway, key))
    done = server.wait_until_idle() - before
    billed = billed_at_last(gateway, key)
    kept, off = gateway.kept_back(key), gateway.written_off(key)
    excused, note = _excused(case, answers, done.nanos), ""
    if case.killed:
        excused, note = off + kept, _of_a_death(done.nanos - billed, off, kept)
    elif case.leaving:
        note = f"{billed / done.nanos:.0%} billed" if done.nanos else "nothing was done"
    served = 0 if case.capped else sum(price(each.prompt_tokens, each.output_tokens) for each in answers)
    grain = gateway.grain * len(answers)
    seen = Seen(case.budget, done.nanos, billed, served, excused, 0 if case.killed else kept, grain)
    return Found(case, seen, note, answers)


def _of_a_death(unbilled: int, written_off: int, kept_back: int) -> str:
    """What became of the requests that ran when a gateway was killed, and what its books say of them."""
    said = [f"{usd(unbilled)} unbilled"] if unbilled > 0 else []
    said += [f"{usd(written_off)} written off at most"] if written_off else []
    return ", ".join(said + ([f"{usd(kept_back)} stays reserved"] if kept_back else []))


async def _play(case: Case, gateway: Contestant, key: Key) -> list[Answer]:
    urls = gateway.urls
    parts = [case.asks[n :: len(urls)] for n in range(len(urls))]
    answers = await asyncio.gather(*(ask_at_once(url, key, part) for url, part in zip(urls, parts, strict=True)))
    return [answer for part in answers for answer in part]


def _play_killed(case: Case, gateway: Contestant, key: Key) -> list[Answer]:
    """Ask without pause, kill it with requests under way, start it again, and ask until everybody is refused."""
    answers: list[Answer] = []

    def ask_until_refused(killing: bool) -> None:
        def told(answer: Answer) -> bool:
            answers.append(answer)
            if killing and len(answers) == _KILLED_AFTER_ANSWERS:
                gateway.kill()
            return answer.served

        asyncio.run(ask_again_and_again(gateway.urls[0], key, _KILL_CLIENTS, case.asks[0], told))

    ask_until_refused(killing=True)
    gateway.start()
    ask_until_refused(killing=False)
    return answers


def _excused(case: Case, answers: Sequence[Answer], done: int) -> int:
    """What may stay unbilled: what goes beyond the caps; half of what was produced for a client that left.

    A gateway that is not told running counts can only estimate, and its tokenizer is not the model server's.
    """
    if case.leaving:
        return done // 2
    if case.capped:
        served = [each for each in answers if each.served]
        due = sum(price(each.prompt_tokens, min(each.ask.cap or 0, each.output_tokens)) for each in served)
        return max(0, done - due)
    return 0
