"""Sliding windows of requests per minute against a plain count, and a rate shared out to many writers (Q1, S39–S41)."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.ratelimit import (
    SMALL,
    Given,
    Part,
    Tokens,
    ask,
    current,
    headers,
    too_much_spare,
)
from tests.window import SlidingWindow

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


# ── one rate shared out ──────────────────────────────────────────────────────────────────────────────────────────
def test_a_small_rate_is_counted_in_the_store() -> None:
    """S39: the tenth is the last, and the eleventh hears when the first is a minute old."""
    seen: tuple[int, ...] = ()
    for n in range(10):
        rate = current(seen, (), n * SECOND)
        given = ask(rate, 10, n * SECOND, 0)
        assert (given.counted, given.share, given.left) == (True, 0, 9 - n)
        seen = (*rate.seen, n * SECOND)
    assert ask(current(seen, (), 9 * SECOND), 10, 9 * SECOND, 0) == Given(0, False, 0, wait=51 * SECOND)
    assert ask(current(seen, (), 60 * SECOND - 1), 10, 60 * SECOND - 1, 0).wait == 1
    assert ask(current(seen, (), 60 * SECOND), 10, 60 * SECOND, 0).counted, "Q1"


def test_a_large_rate_is_shared_out_to_the_last() -> None:
    """S40: shares become smaller toward the end, and together they are the rate."""
    shares = [0, 0, 0, 0]
    for n in range(1000):
        rate = current((), [Part(writer, share) for writer, share in enumerate(shares) if share], 0)
        given = ask(rate, 6_000, 0, shares[n % 4])
        if not given.admitted:
            break
        assert given.share <= 375, "others find some"
        shares[n % 4] += given.share
    assert sum(shares) == 6_000
    assert given == Given(0, False, 0, wait=None)


# (what a writer has, what it gets more)
GROWING = [(0, 64), (64, 64), (128, 128), (256, 256), (374, 374), (375, 375), (1_000, 375)]


@pytest.mark.parametrize("own, share", GROWING)
def test_a_share_grows_by_doubling(own: int, share: int) -> None:
    rate = current((), [Part(7, own), Part(8, 1_000), Part(7, 500, MINUTE)], 0)
    assert rate.share_of(7) == own
    assert ask(rate, 6_000, 0, rate.share_of(7)).share == share
    assert ask(rate, 1_000_000, 0, 0).share == 3_906, "of a very large rate the first share is larger"


# (seen at these seconds, parts, rate, now in seconds, what is given)
LEFT = [
    ([], [], 6_000, 0, Given(375, False, 5_625)),
    ([], [Part(1, 5_990)], 6_000, 0, Given(2, False, 8)),
    ([], [Part(1, 5_999)], 6_000, 0, Given(1, False, 0)),
    ([], [Part(1, 6_000)], 6_000, 0, Given(0, False, 0, wait=None)),
    ([1, 2], [Part(1, 5_998)], 6_000, 30, Given(0, False, 0, wait=None)),
    ([1, 2], [Part(1, 5_998)], 6_000, 61, Given(1, False, 0)),
    ([], [Part(1, 300)], 10, 0, Given(0, False, 0, wait=None, over=True)),
    ([], [Part(1, 300, 70 * SECOND)], 10, 5, Given(0, False, 0, wait=65 * SECOND, over=True)),
    ([], [Part(1, 300, 70 * SECOND)], 10, 70, Given(0, True, 9)),
    ([3], [Part(1, 9, 70 * SECOND)], 10, 5, Given(0, False, 0, wait=58 * SECOND)),
    ([], [], 61, 0, Given(3, False, 58)),
    ([], [], 60, 0, Given(0, True, 59)),
    ([90], [], 1, 30, Given(0, False, 0, wait=60 * SECOND)),
]


# (needed at least, of a rate of 10 of which ten requests came a second apart, the last now: how long until then)
LEAST = [(1, 51), (2, 52), (10, 60), (11, None)]


@pytest.mark.parametrize("least, wait", LEAST)
def test_who_needs_many_waits_until_as_many_are_free(least: int, wait: int | None) -> None:
    rate = current([n * SECOND for n in range(10)], (), 9 * SECOND)
    waits = None if wait is None else wait * SECOND
    assert ask(rate, 10, 9 * SECOND, 0, least) == Given(0, False, 0, wait=waits)


def test_who_needs_many_gets_as_many_at_once() -> None:
    assert ask(current((), (), 0), 10, 0, 0, 7) == Given(7, False, 3), "S88: though the rate is small"


def test_a_rate_is_shared_with_writers_that_are_open() -> None:
    rate = current((), [Part(1, 5), Part(2, 5, 70 * SECOND)], 0)
    assert not rate.is_shared_with(1)
    assert rate.is_shared_with(3)


def test_tokens_are_held_then_used_and_free_when_their_second_is_a_minute_old() -> None:
    tokens = Tokens(share=100, usable=90, held=30)
    assert tokens.spare == 60
    tokens.use(7, 0)
    tokens.use(7, 10)
    tokens.use(7, 5)
    tokens.use(8, 20)
    assert (tokens.used, tokens.spare, list(tokens.seconds)) == (35, 25, [(7, 15), (8, 20)])
    tokens.forget_old(67)
    assert tokens.used == 35, "used late in its second, it may be less than a minute old"
    tokens.forget_old(68)
    assert (tokens.used, tokens.spare) == (20, 40)
    tokens.forget_old(69)
    assert (tokens.used, list(tokens.seconds)) == (0, [])


@pytest.mark.parametrize("seen, parts, most, now, given", LEFT)
def test_what_a_writer_gets(seen: list[int], parts: list[Part], most: int, now: int, given: Given) -> None:
    at = now * SECOND
    assert ask(current([second * SECOND for second in seen], parts, at), most, at, 400) == given, "Q1"


@dataclass
class _Writer:
    """A writer as the gateway has it: its share, and what it let through by it."""

    share: int = 0
    window: SlidingWindow = field(default_factory=SlidingWindow)


STEPS = st.tuples(st.integers(0, 3), st.sampled_from(["call"] * 12 + ["return", "close"]), st.integers(0, 20 * SECOND))


@given(st.sampled_from([7, 60, 61, 100]), st.lists(STEPS, max_size=60), st.booleans())
def test_never_more_than_the_rate_in_any_minute(most: int, steps: list[tuple[int, str, int]], bursts: bool) -> None:
    """Q1: whatever writers do, whoever of them dies, and whenever they give back."""
    now, passed, seen = 0, list[int](), tuple[int, ...]()
    writers, dead = [_Writer() for _ in range(4)], list[Part]()
    for n, what, gap in steps:
        now += gap
        writer = writers[n]
        if what == "close":
            if writer.share:
                dead.append(Part(n, writer.share, now + MINUTE))
            writers[n] = _Writer()
        elif what == "return":
            writer.share -= writer.window.remaining(now, writer.share)
        for _ in range(25 if bursts else 1) if what == "call" else ():
            parts = [*dead, *(Part(i, each.share) for i, each in enumerate(writers) if each.share)]
            rate = current(seen, parts, now)
            free = most - sum(now - MINUTE < at <= now for at in passed)
            if writer.window.admit(now, writer.share) == 0:
                passed.append(now)
            elif (given := ask(rate, most, now, writer.share)).counted:
                passed.append(now)
                seen = (*rate.seen, now)
            elif given.share:
                writer.share += given.share
                assert writer.window.admit(now, writer.share) == 0
                passed.append(now)
            elif most <= SMALL and free:
                raise AssertionError("a small rate is there to the last")
            assert sum(now - MINUTE < at <= now for at in passed) <= most


def test_headers_in_both_styles() -> None:
    assert headers(6_000, 5_999) == [
        (b"x-ratelimit-limit-requests", b"6000"),
        (b"x-ratelimit-remaining-requests", b"5999"),
        (b"ratelimit-policy", b'"requests";q=6000;w=60'),
        (b"ratelimit", b'"requests";r=5999'),
    ]
    assert headers(10, 0, 7)[-1] == (b"ratelimit", b'"requests";r=0;t=7')


def test_what_is_given_back_unasked() -> None:
    assert [too_much_spare(spare, 6_000) for spare in (0, 375, 750, 751, 5_000)] == [0, 0, 0, 376, 4_625]
