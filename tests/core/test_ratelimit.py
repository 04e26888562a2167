"""A sliding window of requests per minute, against a plain count (Q1, S39–S41)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.ratelimit import SlidingWindow

SECOND = 1_000_000
MINUTE = 60 * SECOND


@pytest.mark.parametrize("rule, most", [("S39", 10), ("S40", 6_000)])
def test_one_request_over_the_rate_waits(rule: str, most: int) -> None:
    window = SlidingWindow()
    assert [window.admit(n, most) for n in range(most)] == [0] * most, rule
    assert window.remaining(most, most) == 0
    assert window.admit(most, most) == 60, rule
    assert window.admit(MINUTE - 1, most) == 1
    assert window.admit(MINUTE, most) == 0, "a minute after the first"
    assert window.admit(MINUTE, most) == 1


# (requests at these seconds, most, now, whole seconds to wait)
WAITS = [
    ([0, 10, 20], 3, 20, 40),
    ([0, 10, 20], 3, 59, 1),
    ([0, 10, 20], 3, 60, 0),
    ([0, 10, 20], 2, 20, 50),
    ([0, 10, 20], 1, 20, 60),
    ([0, 10, 20], 1, 75, 5),
    ([0, 10, 20], 4, 20, 0),
    ([], 0, 5, 60),
]


@pytest.mark.parametrize("seconds, most, now, wait", WAITS)
def test_the_wait_ends_when_a_request_would_be_let_through(seconds: list[int], most: int, now: int, wait: int) -> None:
    window = SlidingWindow()
    assert all(window.admit(at * SECOND, 100) == 0 for at in seconds)
    assert window.admit(now * SECOND, most) == wait, "Q1: a lower rate counts what came before"


def test_a_fraction_of_a_second_is_waited_out() -> None:
    window = SlidingWindow()
    assert window.admit(500_000, 1) == 0
    assert window.admit(600_000, 1) == 60
    assert window.admit(MINUTE + 499_999, 1) == 1


# Gaps of whole tens of seconds, so that requests meet at the window's very edge, and any others.
GAPS = st.one_of(st.integers(0, 6).map(lambda tens: tens * 10 * SECOND), st.integers(0, 30 * SECOND))


@given(st.lists(st.tuples(GAPS, st.integers(0, 4), st.booleans()), max_size=40))
def test_the_window_agrees_with_a_plain_count(steps: list[tuple[int, int, bool]]) -> None:
    window, passed, now = SlidingWindow(), list[int](), 0

    def open_at(instant: int, most: int) -> bool:
        return sum(instant - MINUTE < at <= instant for at in passed) < most

    for gap, most, asked_first in steps:
        now += gap
        count = sum(now - MINUTE < at <= now for at in passed)
        if asked_first:  # each of the two forgets what is old by itself
            assert window.remaining(now, most) == max(0, most - count)
        wait = window.admit(now, most)
        assert (wait == 0) == (count < most), "Q1"
        if wait == 0:
            passed.append(now)
        elif most:
            assert open_at(now + wait * SECOND, most), "after the wait it would be let through"
            assert not open_at(now + wait * SECOND - SECOND, most), "and not a second sooner"
        assert window.remaining(now, most) == max(0, most - count - (wait == 0))
