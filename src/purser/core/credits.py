"""Credit grants and their burn-down: earliest expiry, then promotional before purchased, then oldest (A3)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from purser.core.period import NEVER

PROMOTIONAL = "promotional"
PURCHASED = "purchased"
KINDS = (PROMOTIONAL, PURCHASED)


@dataclass(frozen=True, slots=True)
class CreditGrant:
    """Credit given or bought: what was granted, what remains, and when the rest lapses."""

    id: str
    kind: str
    granted_nanos: int
    remaining_nanos: int
    created_at: int
    expires_at: int | None = None


@dataclass(frozen=True, slots=True)
class Draw:
    """What one grant pays of some usage."""

    grant: str
    amount_nanos: int


def order(grants: Iterable[CreditGrant]) -> list[CreditGrant]:
    """The grants in the order in which they burn down."""
    return sorted(
        grants,
        key=lambda grant: (
            NEVER if grant.expires_at is None else grant.expires_at,
            grant.kind != PROMOTIONAL,
            grant.created_at,
            grant.id,
        ),
    )


def burn_down(grants: Iterable[CreditGrant], usage_nanos: int) -> tuple[list[Draw], int]:
    """Draw usage from the grants in order; answers the draws and what no grant covers.

    $83 of usage against $20 of credit draws the $20 and leaves $63 (S1).
    """
    draws = []
    for grant in order(grants):
        if not usage_nanos:
            break
        drawn = min(grant.remaining_nanos, usage_nanos)
        if drawn > 0:
            draws.append(Draw(grant.id, drawn))
            usage_nanos -= drawn
    return draws, usage_nanos
