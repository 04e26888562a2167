"""The judge: whether a gateway's books and the model server's own log agree, and keep within the budget.

It is told figures that nobody had to be believed for: `done` from the model server's count of tokens read and produced,
`billed` from the gateway's database, read with a query of this benchmark's own. All money is nano-dollars.
"""

from __future__ import annotations

from dataclasses import dataclass

INPUT_NANOS, OUTPUT_NANOS = 1_000, 10_000  # a token's price: $1 and $10 a million


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one case.

    `served` is what clients received, at list price, `excused` how much of what was done may stay unbilled as the case
    states it, `kept_back` what of the budget is out of reach though no request runs any more, and `grain` what the
    gateway's own arithmetic may round away.
    """

    budget: int
    done: int
    billed: int
    served: int = 0
    excused: int = 0
    kept_back: int = 0
    grain: int = 0


def price(prompt_tokens: int, output_tokens: int) -> int:
    """What so many tokens cost at list price, nano-dollars."""
    return prompt_tokens * INPUT_NANOS + output_tokens * OUTPUT_NANOS


def factor(seen: Seen) -> float:
    """The work done as a multiple of the budget."""
    return seen.done / seen.budget


def faults(seen: Seen) -> list[str]:
    """What is wrong with a case, in a few words each; nothing where it passes.

    Billed above the budget; billed for more than was done; done, or served, without being billed; or money kept back
    for requests that have ended.
    """
    found = []
    if seen.billed > seen.budget + seen.grain:
        found.append(f"billed {usd(seen.billed - seen.budget)} over the budget")
    if seen.billed > seen.done + seen.grain:
        found.append(f"billed {usd(seen.billed - seen.done)} for nothing")
    unbilled = max(seen.done, seen.served) - seen.billed
    if unbilled > seen.excused + seen.grain:
        found.append(f"{usd(unbilled)} unbilled")
    if seen.kept_back > seen.grain:
        found.append(f"{usd(seen.kept_back)} of the budget out of reach")
    return found


def usd(nanos: int) -> str:
    """Dollars with the decimals that matter here: six, or more where the amount is smaller than that."""
    text = f"{nanos / 10**9:.6f}" if abs(nanos) >= 1_000 else f"{nanos / 10**9:.9f}"
    whole, _, part = text.partition(".")
    return f"${whole}.{part.rstrip('0').ljust(2, '0')}"
