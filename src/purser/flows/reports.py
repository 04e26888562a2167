"""Reports: an account's standing, balance, usage and documents, read in one consistent snapshot."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

from purser.core.credits import CreditGrant
from purser.core.forecast import Pace, pace_since
from purser.core.limits import PREPAID, Tier
from purser.core.period import DAY, HOUR, month_end, month_of, month_start
from purser.core.policy import Policy
from purser.core.standing import strictest
from purser.flows import credits, standing
from purser.flows.standing import Footing
from purser.store import accounts, headroom, holds, slices, usage
from purser.store.db import Connection, Row
from purser.store.headroom import credit_key, month_key


@dataclass(frozen=True, slots=True)
class Cause:
    """One open suspension cause."""

    cause: str
    since_at: int
    why: str


@dataclass(frozen=True, slots=True)
class AccountView:
    """An account with everything derived from its facts."""

    row: Row
    tier: Tier | None
    limit_nanos: int | None
    has_payment_method: bool
    historical_spend_nanos: int
    causes: tuple[Cause, ...]

    @property
    def suspend_state(self) -> str:
        """The strictest cause, or UNSUSPENDED (U1)."""
        return strictest([cause.cause for cause in self.causes])

    @property
    def prepaid(self) -> bool:
        """Whether credit is the only way to pay."""
        return bool(self.row.billing_mode == PREPAID)


@dataclass(frozen=True, slots=True)
class Balance:
    """An account's money at one instant, nano-dollars; `limit` and `headroom` are None where there is none."""

    credit: int
    grants: tuple[CreditGrant, ...]
    outstanding: int
    spent_this_month: int
    limit: int | None
    held: int
    headroom: int | None
    pace: Pace
    runway_days: int | None
    binds: bool  # whether credit is all that can be spent


def view_account(conn: Connection, account: str, policy: Policy) -> AccountView:
    """One account; raises NotFound."""
    row = standing.require(conn, account)
    return _view(row, standing.footing(conn, row, policy.tiers), accounts.list_open_causes(conn, account))


def view_accounts(conn: Connection, rows: Sequence[Row], policy: Policy) -> list[AccountView]:
    """As `view_account`, for each of these rows of accounts."""
    causes = defaultdict(list)
    for cause in accounts.list_open_causes_of_each(conn, [row.id for row in rows]):
        causes[cause.account].append(cause)
    stands = standing.footings(conn, rows, policy.tiers)
    return [_view(row, each, causes[row.id]) for row, each in zip(rows, stands, strict=True)]


def _view(row: Row, stands: Footing, causes: Sequence[Row]) -> AccountView:
    shown = tuple(Cause(cause.cause, cause.since_at, cause.why) for cause in causes)
    return AccountView(
        row, stands.tier, stands.limit_nanos, stands.has_payment_method, stands.historical_spend_nanos, shown
    )


def balance(
    conn: Connection, account: str, policy: Policy, now: int, held: Mapping[str, int] = MappingProxyType({})
) -> Balance:
    """An account's balance; `held` is what its running requests hold, by the month in which each began.

    What is held through the API, and for deployments, comes to that.

    What a request that began last month holds is held of credit, and of last month's limit. Raises NotFound.
    """
    view = view_account(conn, account, policy)
    grants = tuple(credits.remaining_grants(conn, account))
    credit = sum(grant.remaining_nanos for grant in grants)
    spent = headroom.get_used(conn, month_key(account, month_of(now)))
    row = headroom.get_row(conn, credit_key(account))
    by_month = Counter(held) + Counter(holds.sum_open(conn, account)) + Counter(slices.sum_open(conn, account))
    all_held = by_month.total()
    rooms = []
    binds = row is not None and bool(row.enforced)
    pace = measure_pace(conn, account, view.row.created_at, now)
    if row is not None and binds:
        rooms.append(row.amount - headroom.get_used(conn, credit_key(account)) - all_held)
    if view.limit_nanos is not None:
        rooms.append(view.limit_nanos - spent - by_month[month_of(now)])
    return Balance(
        credit=credit,
        grants=grants,
        outstanding=credits.get_owed(conn, account).total_nanos,
        spent_this_month=spent,
        limit=view.limit_nanos,
        held=all_held,
        headroom=max(0, min(rooms)) if rooms else None,
        pace=pace,
        runway_days=_runway_days(pace, credit if binds else None),
        binds=binds,
    )


def measure_pace(conn: Connection, account: str, opened_at: int, now: int) -> Pace:
    """What an account spent in the last week, or since it was opened."""
    since = pace_since(opened_at, now)
    start = max(since, 0)
    buckets = usage.sum_buckets(conn, account, start - start % HOUR, now + 1, DAY, False)
    return Pace(sum(bucket.amount_nanos for bucket in buckets), now - since)


def _runway_days(pace: Pace, credit: int | None) -> int | None:
    """Whole days until the credit ends at that pace; None where nothing would end."""
    lasts = None if credit is None else pace.lasts(credit)
    return None if lasts is None else lasts // DAY


def daily_spend(conn: Connection, account: str, month: str) -> list[tuple[int, int]]:
    """The month's spend by day: (start of day, nano-dollars)."""
    start = month_start(month)
    sums: dict[int, int] = {}
    for bucket in usage.sum_buckets(conn, account, start, month_end(month), DAY, False):
        sums[bucket.start_at] = sums.get(bucket.start_at, 0) + bucket.amount_nanos
    return sorted(sums.items())
