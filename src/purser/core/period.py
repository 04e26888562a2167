"""Instants and calendar months: microseconds since the epoch, UTC, and half-open months."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from purser.core.errors import Invalid

SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
DAY = 24 * HOUR
NEVER = 2**62

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_MONTH = re.compile(r"(\d{4})-(0[1-9]|1[0-2])\Z", re.ASCII)
_FIRST, _LAST = 1970, 9998


def instant(moment: datetime) -> int:
    """Microseconds since the epoch of an aware datetime."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """The aware UTC datetime of an instant."""
    return _EPOCH + timedelta(microseconds=at)


def month_of(at: int) -> str:
    """The calendar month an instant falls in, as "2026-03"."""
    return _month_of_day(at // DAY)


@lru_cache(maxsize=64)
def _month_of_day(day: int) -> str:
    when = moment(day * DAY)
    return f"{when.year:04d}-{when.month:02d}"


def month_start(month: str) -> int:
    """The first instant of a month."""
    return instant(datetime(int(month[:4]), int(month[5:]), 1, tzinfo=UTC))


def month_end(month: str) -> int:
    """The first instant after a month."""
    return month_start(next_month(month))


def next_month(month: str) -> str:
    """The month after."""
    year, number = int(month[:4]), int(month[5:])
    return f"{year + 1:04d}-01" if number == 12 else f"{year:04d}-{number + 1:02d}"


def parse_month(text: object, field: str = "month") -> str:
    """Check a month such as "2026-03"; raises Invalid naming `field`."""
    if not isinstance(text, str) or not _MONTH.match(text) or not _FIRST <= int(text[:4]) <= _LAST:
        raise Invalid(f'{field} must be a calendar month such as "2026-03", not {text!r:.40}', field=field)
    return text


def parse_instant(text: object, field: str = "at") -> int:
    """Read an RFC 3339 time (UTC assumed when no offset is given) as an instant; raises Invalid."""
    try:
        if not isinstance(text, str) or not text[:4].isdigit():
            raise ValueError
        when = datetime.fromisoformat(text)
        when = when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
        if not _FIRST <= when.year <= _LAST:
            raise ValueError
    except (ValueError, OverflowError):
        raise Invalid(
            f'{field} must be an RFC 3339 time such as "2026-03-01T09:00:00Z", not {text!r:.60}', field=field
        ) from None
    return instant(when)


def format_instant(at: int) -> str:
    """An instant as RFC 3339 in UTC, with a fraction only where there is one."""
    when = moment(at)
    text = when.strftime("%Y-%m-%dT%H:%M:%S")
    return f"{text}.{when.microsecond:06d}Z" if when.microsecond else text + "Z"
