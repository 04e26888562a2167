"""Instants are microseconds, months are half-open and UTC (rules, first paragraph; S14)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core import period
from purser.core.errors import Invalid
from purser.core.period import SECOND, format_instant, month_end, month_of, month_start, next_month, parse_instant

MOMENTS = st.datetimes(datetime.fromisoformat("1970-01-01"), datetime.fromisoformat("9998-12-31T23:59:59.999999"))


@pytest.mark.parametrize(
    "text, month",
    [
        ("2026-03-01T00:00:00Z", "2026-03"),
        ("2026-02-28T23:59:59.999999Z", "2026-02"),
        ("2024-02-29T12:00:00Z", "2024-02"),
        ("2026-12-31T23:59:59Z", "2026-12"),
        ("2027-01-01T00:00:00Z", "2027-01"),
        ("2026-03-01T00:30:00+01:00", "2026-02"),
        ("2026-02-28T23:30:00-01:00", "2026-03"),
    ],
)
def test_an_instant_belongs_to_one_calendar_month_of_utc(text: str, month: str) -> None:
    assert month_of(parse_instant(text)) == month


@given(MOMENTS)
def test_a_month_holds_its_first_instant_and_not_its_end(naive: datetime) -> None:
    at = period.instant(naive.replace(tzinfo=UTC))
    month = month_of(at)
    assert month == f"{naive:%Y-%m}"
    assert month_start(month) <= at < month_end(month)
    assert month_of(month_start(month)) == month
    assert month_of(month_end(month) - 1) == month
    assert month_end(month) == month_start(next_month(month))
    assert (month_end(month) - month_start(month)) // period.DAY in (28, 29, 30, 31)
    assert month < next_month(month), "months sort as text"


@given(MOMENTS)
def test_what_is_written_reads_back_as_the_same_instant(naive: datetime) -> None:
    at = period.instant(naive.replace(tzinfo=UTC))
    assert parse_instant(format_instant(at)) == at
    assert period.moment(at) == naive.replace(tzinfo=UTC)


@given(MOMENTS, st.integers(-14 * 60, 14 * 60))
def test_the_offset_does_not_change_the_instant(naive: datetime, minutes: int) -> None:
    aware = naive.replace(year=min(max(naive.year, 1971), 9997), day=1, tzinfo=UTC)
    local = aware.astimezone(timezone(timedelta(minutes=minutes)))
    assert parse_instant(local.isoformat()) == period.instant(aware)


@pytest.mark.parametrize(
    "at, text",
    [
        (0, "1970-01-01T00:00:00Z"),
        (SECOND, "1970-01-01T00:00:01Z"),
        (1, "1970-01-01T00:00:00.000001Z"),
        (month_start("2026-03") + 9 * period.HOUR, "2026-03-01T09:00:00Z"),
    ],
)
def test_a_fraction_is_written_only_where_there_is_one(at: int, text: str) -> None:
    assert format_instant(at) == text


@pytest.mark.parametrize("text", ["2026-03-01T09:00:00", "2026-03-01T09:00:00Z", "2026-03-01T10:00:00+01:00"])
def test_a_time_without_an_offset_is_utc(text: str) -> None:
    assert parse_instant(text) == month_start("2026-03") + 9 * period.HOUR


@pytest.mark.parametrize(
    "given_",
    [
        *("", "yesterday", "2026-13-01T00:00:00Z", "2026-02-29T00:00:00Z", "2026-03-01T25:00:00Z", "09:00:00"),
        *("1969-12-31T23:59:59Z", "1970-01-01T00:30:00+01:00", "9999-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"),
        *(1_700_000_000, 1.5, None, True),
    ],
)
def test_anything_but_a_time_is_refused_by_field(given_: object) -> None:
    with pytest.raises(Invalid, match="occurredAt") as refused:
        parse_instant(given_, "occurredAt")
    assert refused.value.field == "occurredAt"


@pytest.mark.parametrize("month, after", [("2026-01", "2026-02"), ("2026-09", "2026-10"), ("2026-12", "2027-01")])
def test_the_month_after(month: str, after: str) -> None:
    assert next_month(month) == after


@pytest.mark.parametrize("text", ["1970-01", "2026-03", "9998-12"])
def test_months_are_read(text: str) -> None:
    assert period.parse_month(text) == text
    assert month_end(text) > month_start(text)


@pytest.mark.parametrize(
    "given_",
    ["2026-3", "2026-00", "2026-13", "2026-03-01", "26-03", "2026-03\n", "1969-12", "9999-01", "", 202603, None],
)
def test_anything_but_a_month_is_refused_by_field(given_: object) -> None:
    with pytest.raises(Invalid, match="month must be a calendar month") as refused:
        period.parse_month(given_)
    assert refused.value.field == "month"
