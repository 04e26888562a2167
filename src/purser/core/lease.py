"""The lease protocol's transitions on one headroom row and one lease, as functions from values to values.

A headroom row is one constraint on an account: its credit, one month's limit, a key's budget in one period, or a
user's cap in one month. A lease is what one writer has set aside on it. For every row:
taken = used + Σ lease.share, and all that was ever used = used + Σ lease.used.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from purser.core.errors import Broken

CREDIT = "credit"
MONTH = "month"
KEY = "key"
USER = "user"
GROUP = "group"
BUDGETS = (KEY, USER, GROUP)  # of one principal: spent ones never suspend the account (L6)


@dataclass(frozen=True, slots=True)
class Headroom:
    """One constraint; every figure in nano-dollars (correctness §1)."""

    amount: int
    enforced: bool
    taken: int = 0
    used: int = 0
    over: int = 0
    unbilled: int = 0

    @property
    def available(self) -> int:
        """What can still be granted; meaningful where enforced."""
        return max(0, self.amount - self.taken)


@dataclass(frozen=True, slots=True)
class Lease:
    """What one writer has set aside on one headroom row, and how much of it was used."""

    share: int = 0
    used: int = 0

    @property
    def spare(self) -> int:
        """What is neither used nor given back."""
        return self.share - self.used


def check(row: Headroom) -> Headroom:
    """The row, or Broken where invariant A1 does not hold."""
    if row.taken < 0 or row.used < 0 or row.over < 0 or (row.enforced and row.taken > row.amount + row.over):
        raise Broken(f"headroom out of bounds: {row}")
    return row


def grant(row: Headroom, lease: Lease, least: int, most: int) -> tuple[Headroom, Lease, int] | None:
    """Take between `least` and `most` from the row for the lease; None where even `least` is not there."""
    given = most if not row.enforced else min(most, row.available)
    if given < least:
        return None
    return check(replace(row, taken=row.taken + given)), replace(lease, share=lease.share + given), given


@dataclass(frozen=True, slots=True)
class Asked:
    """A headroom row, a writer's lease on it, and between how little and how much is to be taken for the lease."""

    row: Headroom
    lease: Lease
    least: int
    most: int


@dataclass(frozen=True, slots=True)
class Granted:
    """A row and a lease after `given` was taken; None where even the least was not there."""

    row: Headroom
    lease: Lease
    given: int | None


def grant_path(path: Sequence[Asked]) -> tuple[list[Granted], int | None]:
    """Take headroom on every row of a path, or on none (transition 2).

    Answers what would be of each row, in their order, and the place of the first that falls short: where there is one,
    nothing is to be written.
    """
    granted = []
    short = None
    for n, asked in enumerate(path):
        taken = grant(asked.row, asked.lease, asked.least, asked.most)
        if taken is None:
            short = n if short is None else short
            granted.append(Granted(asked.row, asked.lease, None))
        else:
            granted.append(Granted(*taken))
    return granted, short


def settle(lease: Lease, cost: int) -> Lease:
    """Use `cost` of the lease; it must lie within the share, since every cost is within its hold."""
    if cost < 0 or lease.used + cost > lease.share:
        raise Broken(f"a settlement of {cost} does not fit {lease}")
    return Lease(lease.share, lease.used + cost)


def give_back(row: Headroom, lease: Lease, spare: int) -> tuple[Headroom, Lease]:
    """Return `spare` of the lease to the row."""
    if spare < 0 or spare > lease.spare:
        raise Broken(f"cannot give back {spare} of {lease}")
    taken = row.taken - spare
    returned = replace(row, taken=taken, over=min(row.over, max(0, taken - row.amount)))
    return check(returned), replace(lease, share=lease.share - spare)


def close(row: Headroom, lease: Lease) -> Headroom:
    """End the lease of a closed writer: what it used stays used, its spare comes back and counts as unbilled."""
    taken = row.taken - lease.spare
    return check(
        replace(
            row,
            taken=taken,
            used=row.used + lease.used,
            unbilled=row.unbilled + lease.spare,
            over=min(row.over, max(0, taken - row.amount)),
        )
    )


def use_after(row: Headroom, cost: int) -> Headroom:
    """Usage posted after the fact: always accepted, even past the amount (H7)."""
    if cost < 0:
        raise Broken(f"usage after the fact of {cost} on {row}")
    return _with_over(replace(row, used=row.used + cost, taken=row.taken + cost))


def change(row: Headroom, amount: int, enforced: bool) -> Headroom:
    """A new amount or a changed enforcement, in force at once; what is leased already may still be spent (L5)."""
    return _with_over(replace(row, amount=amount, enforced=enforced))


def lapse(row: Headroom, remaining: int) -> tuple[Headroom, int]:
    """Take back up to `remaining` of the amount, but never what is taken; answers also how much lapsed now."""
    if remaining < 0:
        raise Broken(f"credit of {remaining} cannot lapse on {row}")
    lapsed = min(remaining, max(0, row.amount - row.taken))
    return replace(row, amount=row.amount - lapsed), lapsed


def _with_over(row: Headroom) -> Headroom:
    return check(replace(row, over=max(0, row.taken - row.amount)))
