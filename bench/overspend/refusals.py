"""False refusals: of the requests that would have fitted into what was truly left, how many were refused.

What was left is reckoned from outside: the budget less the true cost of every request that was served and had been sent
by then. That a request is refused while others hold more than they will use counts as false: its sender had the money.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench import tables
from bench.overspend.asking import Answer, Ask, Line
from bench.overspend.contestant import Contestant
from bench.overspend.judge import price

CLIENTS = {1: 25, 8: 60, 64: 150}  # and the budget, in mean requests
CAPS = {"as long as the answer": 1, "four times the answer": 4, "not named": None}
BANDS = (0, 1, 2, 5, 20)  # lower ends, in mean requests
_FEWEST_TOKENS, _MOST_TOKENS = 20, 180
_PACE = "[[pace=200]]"  # half a second for a mean answer
_PROMPT_TOKENS = 30
SUSPENDED = 412  # clients do not try that again
_PAUSE_SECONDS, _LONGEST_SECONDS = 1.0, 20.0
MEAN_NANOS = price(_PROMPT_TOKENS, (_FEWEST_TOKENS + _MOST_TOKENS) // 2)


@dataclass(slots=True)
class Band:
    """What became of the requests that would have fitted, while so much was left."""

    fitting: int = 0
    refused: int = 0
    short: int = 0

    def __str__(self) -> str:
        if not self.fitting:
            return "–"
        cut = f", {self.short} cut short" if self.short else ""
        return f"{self.refused / self.fitting:.0%} of {self.fitting}{cut}"


def ask_until_spent(gateway: Contestant, clients: int, cap: int | None, seed: int) -> list[Answer]:
    """Clients with answers of many lengths, who try again a second after a refusal, until the budget is spent."""
    draw, answers = random.Random(seed), list[Answer]()
    budget = budget_of(clients)
    key, end = gateway.open(budget), time.monotonic() + _LONGEST_SECONDS

    async def run(client: int) -> None:
        number = client * 10_000
        while time.monotonic() < end and left_at(answers, budget, time.monotonic()) >= _true_cost(_FEWEST_TOKENS):
            tokens = draw.randint(_FEWEST_TOKENS, _MOST_TOKENS)
            ask = Ask(tokens, None if cap is None else cap * tokens, note=_PACE)
            answer = await Line(gateway.urls[0], key).ask(ask, number)
            answers.append(answer)
            number += 1
            if answer.status == SUSPENDED:
                return
            if not answer.served:
                await asyncio.sleep(_PAUSE_SECONDS)

    async def all_of_them() -> None:
        await asyncio.gather(*(run(client) for client in range(clients)))

    asyncio.run(all_of_them())
    return answers


def budget_of(clients: int) -> int:
    """The budget that so many clients begin with."""
    return CLIENTS[clients] * MEAN_NANOS


def left_at(answers: Sequence[Answer], budget: int, at: float, *, but: Answer | None = None) -> int:
    """What was truly left then: what was served of requests sent before it is spent, though it may not have ended."""
    served = (each for each in answers if each.served and each.sent_at < at and each is not but)
    return budget - sum(price(each.prompt_tokens, each.output_tokens) for each in served)


def in_bands(answers: Sequence[Answer], budget: int) -> list[Band]:
    """The requests that would have fitted, by how much was left: when they were sent, or refused."""
    found = [Band() for _ in BANDS]
    for answer in answers:
        left = left_at(answers, budget, answer.sent_at if answer.served else answer.ended_at, but=answer)
        if left < _true_cost(answer.ask.tokens):
            continue
        band = found[max(n for n, low in enumerate(BANDS) if left >= low * MEAN_NANOS)]
        band.fitting += 1
        band.refused += 400 <= answer.status < 500
        band.short += answer.served and answer.output_tokens < answer.ask.tokens
    return found


def _true_cost(tokens: int) -> int:
    return price(_PROMPT_TOKENS, tokens)


def table(found: Mapping[tuple[str, int, str], Sequence[Band]]) -> str:
    """A row for each number of clients and each way to name a cap, a column for each band."""
    ends = [*BANDS[1:], None]
    bands = [f"{low}–{high}×" if high else f"over {low}×" for low, high in zip(BANDS, ends, strict=True)]
    rows = [[f"{name}, {clients}, {cap}", *map(str, of_it)] for (name, clients, cap), of_it in found.items()]
    return tables.table(["gateway, clients, max_tokens", *bands], rows)
