"""Caps of people: which limit counts, and what a group's limit may be (L6, S68, S69, S73)."""

from __future__ import annotations

import pytest

from purser.core.budget import MONTHLY, Bound, Budget
from purser.core.cap import (
    ACCOUNT_DEFAULT,
    GROUP_ASSIGNMENT,
    MOST_TIERS,
    USER_OVERRIDE,
    Cap,
    check_increase,
    check_tier,
    effective,
)
from purser.core.errors import Conflict, Invalid
from purser.core.money import LARGEST_NANOS
from purser.core.period import parse_instant


@pytest.mark.parametrize(
    ("override", "groups", "default", "expected"),
    [
        (500, [100, 250], 200, Cap(500, USER_OVERRIDE)),
        (None, [100, 250], 200, Cap(250, GROUP_ASSIGNMENT)),
        (None, [50], 200, Cap(50, GROUP_ASSIGNMENT)),
        (None, [], 200, Cap(200, ACCOUNT_DEFAULT)),
        (None, [], None, None),
        (0, [100], 200, Cap(0, USER_OVERRIDE)),
        (None, [0], 200, Cap(0, GROUP_ASSIGNMENT)),
        (None, [], 0, Cap(0, ACCOUNT_DEFAULT)),
    ],
)
def test_which_counts(override: int | None, groups: list[int], default: int | None, expected: Cap | None) -> None:
    assert effective(override, groups, default) == expected


@pytest.mark.parametrize(
    ("source", "kind"), [(USER_OVERRIDE, "user"), (ACCOUNT_DEFAULT, "user"), (GROUP_ASSIGNMENT, "group")]
)
def test_what_a_request_stands_under(source: str, kind: str) -> None:
    bound = Cap(7, source).bound("eve")
    assert bound == Bound(kind, "eve", Budget(7, MONTHLY))
    assert bound.window(parse_instant("2026-03-31T23:59:59Z")) == "eve/MONTHLY/2026-03"


@pytest.mark.parametrize(
    ("nanos", "current", "why"),
    [
        (11, None, "nothing limits what user eve may spend"),
        (10, 10, r"asked must be more than the \$0.00000001 a month that user eve may spend already"),
        (LARGEST_NANOS + 1, 10, "asked must not be negative, and no more than can be counted"),
    ],
)
def test_more_is_asked_for_than_may_be_spent_already(nanos: int, current: int | None, why: str) -> None:
    assert check_increase(11, Cap(10, USER_OVERRIDE), "eve", "asked") == 11
    with pytest.raises(Invalid, match=why) as raised:
        check_increase(nanos, None if current is None else Cap(current, USER_OVERRIDE), "eve", "asked")
    assert raised.value.field == "asked"


def test_a_group_limits_amount() -> None:
    eight = list(range(1, MOST_TIERS))
    assert check_tier(0, eight) == 0
    assert check_tier(LARGEST_NANOS, eight) == LARGEST_NANOS
    with pytest.raises(Conflict):
        check_tier(3, eight)
    with pytest.raises(Invalid, match="at most 9"):
        check_tier(100, [*eight, 50])
    for wrong in (-1, LARGEST_NANOS + 1):
        with pytest.raises(Invalid, match="limit must not be negative"):
            check_tier(wrong, [])
