"""Caps of people: what a user may spend at most in a month, by its own limit, its groups' or the account's (L6)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from purser.core.budget import MONTHLY, Bound, Budget
from purser.core.errors import Conflict, Invalid
from purser.core.lease import GROUP, USER
from purser.core.money import LARGEST_NANOS, format_usd

USER_OVERRIDE, GROUP_ASSIGNMENT, ACCOUNT_DEFAULT = "USER_OVERRIDE", "GROUP_ASSIGNMENT", "ACCOUNT_DEFAULT"
MOST_TIERS = 9  # amounts that an account's groups can be given


@dataclass(frozen=True, slots=True)
class Cap:
    """The most that a user may spend in a calendar month, nano-dollars, and where that comes from."""

    nanos: int
    source: str

    def bound(self, user: str) -> Bound:
        """What a request by this user stands under. A group's limit is each member's own, not shared (S70)."""
        kind = GROUP if self.source == GROUP_ASSIGNMENT else USER
        return Bound(kind, user, Budget(self.nanos, MONTHLY))


def effective(override: int | None, groups: Sequence[int], default: int | None) -> Cap | None:
    """The cap in force: the user's own, else the highest of its groups', else the account's default (S68, S69)."""
    if override is not None:
        return Cap(override, USER_OVERRIDE)
    if groups:
        return Cap(max(groups), GROUP_ASSIGNMENT)
    return None if default is None else Cap(default, ACCOUNT_DEFAULT)


def check_cap(nanos: int, field: str) -> int:
    """A cap's amount, 0 blocks; raises Invalid naming `field`."""
    if not 0 <= nanos <= LARGEST_NANOS:
        raise Invalid(f"{field} must not be negative, and no more than can be counted", field=field)
    return nanos


def check_increase(nanos: int, current: Cap | None, user: str, field: str) -> int:
    """An amount that is more than what a user may spend now; raises Invalid, also where nothing limits the user."""
    check_cap(nanos, field)
    if current is None:
        raise Invalid(f"nothing limits what user {user} may spend: there is nothing to raise", field=field)
    if nanos <= current.nanos:
        usd = format_usd(current.nanos)
        raise Invalid(f"{field} must be more than the ${usd} a month that user {user} may spend already", field=field)
    return nanos


def check_tier(nanos: int, others: Sequence[int]) -> int:
    """A group limit's amount beside an account's others; raises Invalid, Conflict (S73)."""
    check_cap(nanos, "limit")
    if nanos in others:
        raise Conflict("another group limit has this amount; they must differ", field="limit")
    if len(others) >= MOST_TIERS:
        raise Invalid(f"an account has at most {MOST_TIERS} group limits", field="groupUsageLimitTierId")
    return nanos
