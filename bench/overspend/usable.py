"""The usable share of a small budget: how much of it is spent when refusals begin, and when there are only refusals."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import tables
from bench.overspend.asking import Answer, Ask, ask_again_and_again
from bench.overspend.contestant import Contestant, billed_at_last
from bench.overspend.judge import price, usd
from bench.overspend.work import Upstream

CENT, DIME, DOLLAR = 10_000_000, 100_000_000, 1_000_000_000
SPENT = ((CENT, 1), (CENT, 8), (CENT, 64), (DIME, 1), (DIME, 8), (DIME, 64), (DOLLAR, 8), (DOLLAR, 64))
_TOKENS = 100
_FAST = "[[pace=4000]]"  # one client alone would take its time


@dataclass(frozen=True, slots=True)
class Usable:
    """A budget spent by clients that name no cap: shares of it, 1.0 for all."""

    budget: int
    clients: int
    first: float  # committed when the first refusal came
    last: float  # billed when every client had been refused
    whole: int
    short: int


def spend(gateway: Contestant, server: Upstream, budget: int, clients: int) -> Usable:
    """Let clients ask until each is refused."""
    key, answers = gateway.open(budget), list[Answer]()
    ask = Ask(_TOKENS, None, note=_FAST if clients == 1 else "")

    def told(answer: Answer) -> bool:
        answers.append(answer)
        return answer.served

    asyncio.run(ask_again_and_again(gateway.urls[0], key, clients, ask, told))
    server.wait_until_idle()
    billed = billed_at_last(gateway, key)
    served = [each for each in answers if each.served]
    refused_at = min((each.ended_at for each in answers if not each.served), default=0.0)
    committed = sum(price(each.prompt_tokens, each.output_tokens) for each in served if each.sent_at < refused_at)
    short = sum(each.cut_short for each in served)
    return Usable(budget, clients, committed / budget, billed / budget, len(served) - short, short)


def table(found: Mapping[str, Sequence[Usable]]) -> str:
    """A row for each gateway, budget and number of clients."""
    head = ["gateway", "budget", "clients", "spent at the first refusal", "when all are refused", "whole", "cut short"]
    rows = [
        [
            *(name, usd(each.budget), str(each.clients), f"{each.first:.1%}", f"{each.last:.1%}"),
            *(tables.count(each.whole), tables.count(each.short)),
        ]
        for name, results in found.items()
        for each in results
    ]
    return tables.table(head, rows)
