"""The clamp: what of an answer's usage its customer pays for, so that quantities times prices are the charge (H4).

An engine that ignores the cap, or counts more input than its bytes can be, is the operator's cost.
"""

from __future__ import annotations

from collections.abc import Mapping

from purser.core.money import Rate
from purser.core.rating import Charge, rate
from purser.core.usage import CACHED, INPUT, MORE_INPUT, MORE_OUTPUT, OUTPUT, Measured, Quantities, with_priority

_INPUT_KEPT, _OUTPUT_KEPT = (CACHED, *MORE_INPUT, INPUT), (*MORE_OUTPUT, OUTPUT)  # the last is cut first


def within_bounds(used: Quantities, input_tokens: int, output_tokens: int) -> Quantities:
    """Quantities of at most these tokens; what is cut of the input is cut from what is plain first, cached last.

    120 of 100 input tokens, 30 of them cached, are 70 and 30; 50 of them are billed for 20 and 30. What is no token
    stays as it is.
    """
    measured = Measured(used, estimated=False)
    if measured.prompt_tokens <= input_tokens and measured.output_tokens <= output_tokens:
        return used
    counts = dict(used)
    for kinds, left in ((_INPUT_KEPT, input_tokens), (_OUTPUT_KEPT, output_tokens)):
        for unit in kinds:
            if unit in counts:
                counts[unit] = min(counts[unit], left)
                left -= counts[unit]
    return {unit: count for unit, count in counts.items() if count}


def within_hold(
    used: Quantities, rates: Mapping[str, Rate], most_nanos: int, *, priority: bool
) -> tuple[Quantities, Charge]:
    """Quantities that cost at most the hold, and what they cost: a stream can be ahead of its slices by a little.

    As many output tokens are left out as must be. `priority` rates them as served before others (P4).
    """

    def charge(quantities: Quantities) -> Charge:
        return rate(with_priority(quantities) if priority else quantities, rates, most_nanos)

    cut = used
    for unit in (OUTPUT, *MORE_OUTPUT):
        fits, over = 0, cut.get(unit, 0)  # so many fit, if any; so many are too many
        while over - fits > 1:
            middle = (fits + over) // 2
            if charge({**cut, unit: middle}).clamped_nanos:
                over = middle
            else:
                fits = middle
        cut = {name: count for name, count in {**cut, unit: fits}.items() if count}
        charged = charge(cut)
        if not charged.clamped_nanos:
            break
    return cut, charged
