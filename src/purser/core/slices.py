"""Slices of what runs on: each is held ahead and rated on the running total, so that slicing changes no sum (M3).

Time is counted in GPU-microseconds and billed in whole GPU-seconds. The bill of a slice is what the total costs at its
end less what it cost at its beginning: 24 hours at $3.89 an hour are $93.36 in however many slices.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from purser.core.money import Rate, round_half_even
from purser.core.period import HOUR, MINUTE, SECOND, month_end, month_of


@dataclass(frozen=True, slots=True)
class Bill:
    """What a slice comes to: whole GPU-seconds, nano-dollars, and what of them was forgiven beyond the hold."""

    gpu_seconds: int
    cost_nanos: int
    clamped_nanos: int = 0


def total_cost(total: int, rate: Rate) -> int:
    """What so many GPU-microseconds cost from the start, rounded once."""
    return round_half_even(total // SECOND * rate.nanos, rate.per)


def bill(before: int, after: int, rate: Rate, most_nanos: int | None = None) -> Bill:
    """What lies between two running totals costs, at most what was held for it."""
    cost = total_cost(after, rate) - total_cost(before, rate)
    billed = cost if most_nanos is None else min(cost, most_nanos)
    return Bill(after // SECOND - before // SECOND, billed, cost - billed)


def lasts(before: int, rate: Rate, nanos: int) -> int | None:
    """For how many GPU-microseconds from a running total some money lasts; None where they cost nothing.

    The last whole GPU-second may cost more than what is left: that is billed, so that nothing remains, and the rest of
    it is forgiven.
    """
    if not rate.nanos:
        return None
    goal = total_cost(before, rate) + nanos
    seconds = goal * rate.per // rate.nanos
    while round_half_even(seconds * rate.nanos, rate.per) >= goal and seconds > before // SECOND:
        seconds -= 1
    while round_half_even(seconds * rate.nanos, rate.per) < goal:
        seconds += 1
    return max(0, seconds * SECOND - before)


def ends_at(start_at: int, now: int, length: int, cuts: Iterable[int]) -> int:
    """When a slice ends that starts then: so long from now on, but with its month, and where prices change (P1).

    Where nobody came round for long, what has run since is billed by the hour, as reports count it.
    """
    late = now - start_at > MINUTE
    end = min(start_at - start_at % HOUR + HOUR, now) if late else max(start_at, now) + length
    return min([end, month_end(month_of(start_at)), *(cut for cut in cuts if cut > start_at)])


def look_at(end_at: int, now: int, lasts: int | None, warning: int) -> int | None:
    """When a slice that ends then must be looked at, the money lasting for so long; None where nothing limits it.

    Whoever comes round later still bills what ran, and no more than there is; but a warning, and the end of the money,
    are to be seen at their instant, and until then the moment when half of it is used.
    """
    if lasts is None:
        return None
    if lasts <= warning:
        return end_at
    return max(end_at, now + min(max(lasts // 2, warning), lasts - warning + SECOND))


def after(start_at: int, gpu_micros: int, gpus: int) -> int:
    """When so many GPUs have run for so many GPU-microseconds."""
    return start_at + -(-gpu_micros // gpus)
