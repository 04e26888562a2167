"""Alerts: which amounts of a month's spend are told to the customer, once each, and the forecast (L7)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from purser.core.period import DAY, month_end, month_start

SPEND, FORECAST = "spend", "forecast"
MOST_A_MONTH = 40  # alerts of one account, however often it changes what it wants to be told, or its limit
_SHARE_PERCENT = 80
_LEAST_SPAN = 2 * DAY  # an hour's pace says nothing of a month


@dataclass(frozen=True, slots=True)
class Spend:
    """An account's month so far: nano-dollars used, the limit in force (None: none), and since when the account is."""

    month: str
    used_nanos: int
    limit_nanos: int | None
    opened_at: int
    now: int


@dataclass(frozen=True, slots=True)
class Wish:
    """What an account wants to be told beyond the share of its limit: thresholds in nano-dollars, and a forecast."""

    thresholds: tuple[int, ...] = ()
    forecast: bool = False


@dataclass(frozen=True, slots=True)
class Alert:
    """Something to tell: usage has come to `amount_nanos`, or at this pace will; `limit_nanos` where it follows from
    the limit."""

    kind: str
    amount_nanos: int
    limit_nanos: int | None = None


def share_of(limit_nanos: int | None) -> int | None:
    """The amount that is told by default, 80 % of the limit; None where there is no limit, or it is 0."""
    return limit_nanos * _SHARE_PERCENT // 100 if limit_nanos else None


def reached_at(spend: Spend) -> int | None:
    """When the limit is reached at the month's average pace so far; None where it is not before the month's end, or too
    little is known."""
    since = max(month_start(spend.month), spend.opened_at)
    span = spend.now - since
    if spend.limit_nanos is None or span < _LEAST_SPAN or spend.now >= month_end(spend.month):
        return None
    if not 0 < spend.used_nanos < spend.limit_nanos:
        return None
    at = spend.now + (spend.limit_nanos - spend.used_nanos) * span // spend.used_nanos
    return at if at < month_end(spend.month) else None


def list_due(spend: Spend, wish: Wish, told: Collection[Alert]) -> list[Alert]:
    """What is to be told now and was not told of this month, smallest first.

    With a limit of $1,000 and thresholds of $500 and $800, $800 used is told twice: the share and $800 coincide (S43).
    A higher limit has a higher share, which is told anew; a lower one says nothing that was not told. Of one month
    at most MOST_A_MONTH are told, by all that changes meanwhile.
    """
    known = {(alert.kind, alert.amount_nanos) for alert in told}
    highest = max((alert.amount_nanos for alert in told if alert.kind == SPEND and alert.limit_nanos), default=0)
    alerts = {amount: Alert(SPEND, amount) for amount in wish.thresholds}
    share = share_of(spend.limit_nanos)
    if share is not None and share > highest:
        alerts[share] = Alert(SPEND, share, spend.limit_nanos)
    due = [alerts[amount] for amount in sorted(alerts) if 0 < amount <= spend.used_nanos]
    forecast = wish.forecast and share is not None and spend.used_nanos < share
    if forecast and reached_at(spend) is not None:
        due.append(Alert(FORECAST, spend.limit_nanos or 0, spend.limit_nanos))
    new = [alert for alert in due if (alert.kind, alert.amount_nanos) not in known]
    return new[: max(0, MOST_A_MONTH - len(told))]
