"""In which mode a month is billed, of an account that changed how it pays."""

from __future__ import annotations

import pytest

from purser.core.errors import Invalid
from purser.core.limits import CONTRACT, POSTPAID, PREPAID
from purser.core.modes import ModeChange, billed_mode, change_at, check_mode
from purser.core.period import parse_instant


def change(at: str, was: str, mode: str) -> ModeChange:
    return change_at(parse_instant(f"{at}T00:00:00Z"), was, mode)


def test_a_change_belongs_to_the_months_on_both_its_sides() -> None:
    within, between = change("2026-04-02", POSTPAID, PREPAID), change("2026-04-01", POSTPAID, PREPAID)
    assert (within.until_month, within.from_month) == ("2026-04", "2026-04")
    assert (between.until_month, between.from_month) == ("2026-03", "2026-04")


def test_two_changes_at_the_turn_of_a_month_leave_the_month_before_alone() -> None:
    first = change("2026-04-01", PREPAID, CONTRACT)
    second = change_at(first.at, CONTRACT, PREPAID, first)
    assert (second.until_month, second.from_month) == ("2026-04", "2026-04")
    assert billed([first, second], PREPAID) == [*[PREPAID] * 3, CONTRACT, PREPAID, PREPAID]
    later = change_at(first.at + 1, CONTRACT, PREPAID, first)
    assert (later.until_month, later.from_month) == ("2026-04", "2026-04")


def billed(changes: list[ModeChange], now: str) -> list[str]:
    return [billed_mode(changes, now, f"2026-{month:02d}") for month in range(1, 7)]


@pytest.mark.parametrize("mode", [POSTPAID, PREPAID, CONTRACT])
def test_an_account_that_never_changed_is_billed_as_it_pays(mode: str) -> None:
    assert billed([], mode) == [mode] * 6


def test_the_month_of_a_change_to_prepaid_has_its_invoice() -> None:
    to_prepaid = [change("2026-03-15", POSTPAID, PREPAID)]
    assert billed(to_prepaid, PREPAID) == [POSTPAID, POSTPAID, POSTPAID, PREPAID, PREPAID, PREPAID]
    at_the_turn = [change("2026-03-01", CONTRACT, PREPAID)]
    assert billed(at_the_turn, PREPAID) == [CONTRACT, CONTRACT, PREPAID, PREPAID, PREPAID, PREPAID]


def test_the_month_of_a_change_from_prepaid_has_one_too() -> None:
    assert billed([change("2026-03-15", PREPAID, POSTPAID)], POSTPAID) == [PREPAID, PREPAID, *[POSTPAID] * 4]
    assert billed([change("2026-04-01", PREPAID, POSTPAID)], POSTPAID) == [*[PREPAID] * 3, *[POSTPAID] * 3]


def test_of_several_modes_of_a_month_the_last_that_is_invoiced_counts() -> None:
    several = [
        change("2026-02-10", POSTPAID, CONTRACT),
        change("2026-02-20", CONTRACT, PREPAID),
        change("2026-05-05", PREPAID, POSTPAID),
        change("2026-05-06", POSTPAID, PREPAID),
    ]
    assert billed(several, PREPAID) == [POSTPAID, CONTRACT, PREPAID, PREPAID, POSTPAID, PREPAID]


def test_a_mode_goes_by_its_name() -> None:
    assert check_mode("contract") == CONTRACT
    for wrong in ("Contract", "", None, 1):
        with pytest.raises(Invalid, match="postpaid, prepaid, contract"):
            check_mode(wrong)
