"""The clamp: what of an answer's usage its customer pays for, so that quantities times prices are the charge (H4).

An engine that ignores the cap, or counts more input than its bytes can be, is the operator's cost.
"""

from __future__ import annotations

from collections.abc import Mapping

from purser.core.money import Rate
from purser.core.rating import Charge, rate
from purser.core.usage import CACHED, INPUT, OUTPUT, Quantities, with_priority


def within_bounds(used: Quantities, input_tokens: int, output_tokens: int) -> Quantities:
    """Quantities of at most these tokens; what is cut of the input is cut from what was not cached first.

    120 of 100 input tokens, 30 of them cached, are 70 and 30; 50 of them are billed for 20 and 30.
    """
    if used.get(INPUT, 0) + used.get(CACHED, 0) <= input_tokens and used.get(OUTPUT, 0) <= output_tokens:
        return used
    cached = min(used.get(CACHED, 0), input_tokens)
    fresh = min(used.get(INPUT, 0), input_tokens - cached)
    counts = ((INPUT, fresh), (CACHED, cached), (OUTPUT, min(used.get(OUTPUT, 0), output_tokens)))
    return {unit: count for unit, count in counts if count}


def within_hold(
    used: Quantities, rates: Mapping[str, Rate], most_nanos: int, *, priority: bool
) -> tuple[Quantities, Charge]:
    """Quantities that cost at most the hold, and what they cost: a stream can be ahead of its slices by a little.

    As many output tokens are left out as must be. `priority` rates them as served before others (P4).
    """

    def charge(quantities: Quantities) -> Charge:
        return rate(with_priority(quantities) if priority else quantities, rates, most_nanos)

    fits, over = 0, used.get(OUTPUT, 0)  # so many fit, if any; so many are too many
    while over - fits > 1:
        middle = (fits + over) // 2
        if charge({**used, OUTPUT: middle}).clamped_nanos:
            over = middle
        else:
            fits = middle
    cut = {unit: count for unit, count in {**used, OUTPUT: fits}.items() if count}
    return cut, charge(cut)
