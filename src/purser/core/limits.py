"""The monthly spend limit and the tiers that cap it (L1–L5)."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core.errors import Invalid
from purser.core.money import NANOS_PER_USD, format_usd

POSTPAID, PREPAID, CONTRACT = "postpaid", "prepaid", "contract"
MODES = (POSTPAID, PREPAID, CONTRACT)
UNLIMITED = "unlimited"


@dataclass(frozen=True, slots=True)
class Tier:
    """From `spend_nanos` of historical spend the limit may be up to `limit_nanos`."""

    number: int
    spend_nanos: int
    limit_nanos: int


def _usd(dollars: int) -> int:
    return dollars * NANOS_PER_USD


# Tier 0 has no payment method, tier 1 has one; from tier 2 on, historical spend decides (L2).
DEFAULT_TIERS = (
    Tier(1, 0, _usd(50)),
    Tier(2, _usd(50), _usd(500)),
    Tier(3, _usd(500), _usd(5_000)),
    Tier(4, _usd(5_000), _usd(50_000)),
)


def tier_of(tiers: tuple[Tier, ...], historical_spend_nanos: int, has_payment_method: bool) -> Tier:
    """The tier an account is in; number 0 where it has neither a payment method nor enough spend."""
    reached = [tier for tier in tiers if historical_spend_nanos >= tier.spend_nanos]
    lowest = min(tiers, key=lambda tier: tier.spend_nanos)  # refunds may take spend below every threshold
    best = max(reached or [lowest], key=lambda tier: tier.limit_nanos)
    if best.number == 1 and not has_payment_method:
        return Tier(0, 0, best.limit_nanos)
    return best


def spans_of(tiers: tuple[Tier, ...], number: int) -> list[tuple[int | None, int | None]]:
    """The spans of historical spend, half-open and in order, in which an account with a payment method is in a tier.

    None at an end of a span means no bound.
    """
    steps = sorted({tier.spend_nanos for tier in tiers})
    starts: list[int | None] = [None, *steps]
    ends: list[int | None] = [*steps, None]
    below = steps[0] - 1
    return [
        (start, end)
        for start, end in zip(starts, ends, strict=True)
        if tier_of(tiers, below if start is None else start, True).number == number
    ]


def effective_limit(mode: str, configured_nanos: int | None, tier_max_nanos: int | None) -> int | None:
    """The month's limit in force, or None where there is none.

    Postpaid: the least of what the customer set and what the tier allows; prepaid: what the customer set (S34);
    contract: none. `tier_max_nanos` None means unlimited.
    """
    if mode == CONTRACT:
        return None
    if mode == PREPAID or tier_max_nanos is None:
        return configured_nanos
    return tier_max_nanos if configured_nanos is None else min(configured_nanos, tier_max_nanos)


def check_limit(value: object, most_nanos: int | None, field: str = "value") -> int:
    """Read a limit in whole dollars (an int64, which the compatible API sends as a string) as nano-dollars.

    Raises Invalid outside 0 … the tier's maximum, equality allowed (L5, S21).
    """
    text = str(value) if isinstance(value, (str, int)) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise Invalid(f'{field} must be whole dollars from 0 up, such as "200", not {value!r:.40}', field=field)
    nanos = _usd(int(text))
    if most_nanos is not None and nanos > most_nanos:
        most = format_usd(most_nanos)
        raise Invalid(f"{field} is ${int(text)}, above the most your tier allows: ${most}", field=field)
    return nanos
