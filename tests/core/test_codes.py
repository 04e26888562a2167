"""Credit codes: how they are spelt and read, and why they give nothing."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from purser.core.codes import (
    CODE_BITS,
    MOST_DAYS,
    MOST_REDEMPTIONS,
    Code,
    check_code,
    check_offer,
    credit_expires_at,
    read_code,
    spell_code,
)
from purser.core.errors import Conflict, Invalid, NotFound
from purser.core.money import NANOS_PER_USD
from purser.core.period import DAY, parse_instant

NOW = parse_instant("2026-03-01T09:00:00Z")
CODE = Code("code_1", 5 * NANOS_PER_USD, 2)


def test_a_code_is_five_groups_of_four_and_no_two_numbers_give_the_same() -> None:
    assert spell_code(0) == "0000-0000-0000-0000-0000"
    assert spell_code(2**CODE_BITS - 1) == "ZZZZ-ZZZZ-ZZZZ-ZZZZ-ZZZZ"
    assert spell_code(1 << (CODE_BITS - 1)) == "G000-0000-0000-0000-0000"
    assert spell_code(31 << 5 | 10) == "0000-0000-0000-0000-00ZA"


@pytest.mark.parametrize("typed", ["7K3M-0QRT", "7k3m 0qrt", " 7K3M0QRT\n", "7K3M-OQRT", "7k3m-oqrt", "7K3M - 0QRT"])
def test_a_code_is_read_however_it_was_typed(typed: str) -> None:
    assert read_code(typed) == "7k3m0qrt"


def test_letters_that_no_code_has_are_read_for_the_digits_they_look_like() -> None:
    assert read_code("IL-il-Oo") == "111100"


@pytest.mark.parametrize("typed", ["", "  ", None, 7, "x" * 101])
def test_what_is_no_text_of_a_code_is_said(typed: object) -> None:
    with pytest.raises(Invalid, match="code must be a credit code") as refused:
        read_code(typed)
    assert refused.value.field == "code"
    assert read_code("x" * 100)


@pytest.mark.parametrize(
    "wrong, field",
    [
        ({"amount_nanos": 0}, "amountUsd"),
        ({"amount_nanos": -1}, "amountUsd"),
        ({"redemptions": 0}, "redemptions"),
        ({"redemptions": MOST_REDEMPTIONS + 1}, "redemptions"),
        ({"expires_at": NOW}, "expiresAt"),
        ({"credit_days": 0}, "creditDays"),
        ({"credit_days": MOST_DAYS + 1}, "creditDays"),
    ],
)
def test_a_code_that_could_give_nothing_is_not_made(wrong: Any, field: str) -> None:
    with pytest.raises(Invalid) as refused:
        check_code(replace(CODE, **wrong), NOW)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "right",
    [
        {"amount_nanos": 1},
        {"redemptions": 1},
        {"redemptions": MOST_REDEMPTIONS},
        {"expires_at": NOW + 1},
        {"credit_days": 1},
        {"credit_days": MOST_DAYS},
    ],
)
def test_at_its_bounds_it_is_made(right: Any) -> None:
    code = replace(CODE, **right)
    assert check_code(code, NOW) is code


def test_an_unknown_code_is_not_found() -> None:
    with pytest.raises(NotFound, match="not known here") as refused:
        check_offer(None, NOW, before=False)
    assert refused.value.field == "code"


@pytest.mark.parametrize(
    "what, why",
    [
        ({"ended_at": NOW}, "was ended at 2026-03-01T09:00:00Z"),
        ({"expires_at": NOW}, "expired at 2026-03-01T09:00:00Z"),
        ({"redeemed": 2}, "is used up"),
        ({"redeemed": 2, "expires_at": NOW - 1, "ended_at": NOW}, "was ended"),
    ],
)
def test_why_it_gives_nothing(what: Any, why: str) -> None:
    with pytest.raises(Conflict, match=f"this credit code {why}") as refused:
        check_offer(replace(CODE, **what), NOW, before=False)
    assert (refused.value.field, refused.value.code) == ("code", "FAILED_PRECONDITION")


def test_an_account_has_it_once_which_is_said_first_and_is_no_attempt() -> None:
    with pytest.raises(Conflict, match="redeemed by this account already") as refused:
        check_offer(replace(CODE, redeemed=2), NOW, before=True)
    assert (refused.value.field, refused.value.code) == (None, "ALREADY_EXISTS")


def test_until_its_last_moment_and_its_last_time_it_gives() -> None:
    code = replace(CODE, redeemed=1, expires_at=NOW + 1)
    assert check_offer(code, NOW, before=False) is code


def test_the_credit_lasts_so_many_days() -> None:
    assert credit_expires_at(replace(CODE, credit_days=2), NOW) == NOW + 2 * DAY
    assert credit_expires_at(CODE, NOW) is None
