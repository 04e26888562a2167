"""Failure directives as text: what is understood, what is refused, and whose directives count."""

from __future__ import annotations

import pytest

from purser.modelserver import failures
from purser.modelserver.failures import (
    NO_FAILURES,
    Failures,
    FailureSwitch,
    failures_in_prompt,
    parse_failures,
)

UNDERSTOOD = [
    ("", NO_FAILURES),
    (" , ", NO_FAILURES),
    ("status=503", Failures(status=503)),
    ("refuse", Failures(refuse=True)),
    ("hang", Failures(hang=True)),
    ("slow-head=250", Failures(slow_head_ms=250)),
    ("hang-after=0", Failures(hang_after=0)),
    ("cut-after=7", Failures(cut_after=7)),
    ("error-after=1", Failures(error_after=1)),
    ("truncate", Failures(truncate=True)),
    ("garbage", Failures(garbage=True)),
    ("huge", Failures(huge_mb=100)),
    ("huge=3", Failures(huge_mb=3)),
    ("no-usage", Failures(no_usage=True)),
    ("null-usage", Failures(null_usage=True)),
    ("no-details", Failures(no_details=True)),
    ("bad-usage=missing-field", Failures(bad_usage="missing-field")),
    ("usage-with-choice", Failures(usage_with_choice=True)),
    ("no-done", Failures(no_done=True)),
    ("failed", Failures(failed=True)),
    ("no-stream", Failures(no_stream=True)),
    ("ignore-cap", Failures(ignore_cap=0)),
    ("ignore-cap=9", Failures(ignore_cap=9)),
    ("other-model", Failures(other_model=True)),
    ("split", Failures(split=True)),
    ("comments", Failures(comments=True)),
    ("split, comments ,cut-after=3", Failures(split=True, comments=True, cut_after=3)),
]


@pytest.mark.parametrize(("text", "told"), UNDERSTOOD)
def test_what_is_understood(text: str, told: Failures) -> None:
    assert parse_failures(text) == told


@pytest.mark.parametrize(
    "text",
    [
        "nonsense",
        "status",
        "status=",
        "status=200",
        "status=600",
        "status=-1",
        "status=5OO",
        "status=²",
        "refuse=1",
        "hang-after",
        "cut-after=x",
        "huge=0",
        "bad-usage",
        "bad-usage=odd",
        "no_usage",
        "refuse, nonsense",
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"takes|not a failure directive"):
        parse_failures(text)


def test_every_directive_is_in_the_table_of_the_docstring() -> None:
    assert failures.__doc__ is not None
    rows = {line.split("`")[1].partition("=")[0] for line in failures.__doc__.splitlines() if line[:3] == "| `"}
    parsed = {text.partition("=")[0] for text, told in UNDERSTOOD if told != NO_FAILURES and "," not in text}
    assert rows == parsed


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"prompt": "Go on. [[fail=cut-after=2, no-usage]]"}', Failures(cut_after=2, no_usage=True)),
        (b'{"prompt": "[[fail=refuse]] [[fail=hang]]"}', Failures(hang=True)),
        (b'{"prompt": "[[fail=]]"}', NO_FAILURES),
        (b'{"prompt": "no directive"}', None),
    ],
)
def test_directives_in_a_prompt(body: bytes, told: Failures | None) -> None:
    assert failures_in_prompt(body) == told


def test_the_switch_counts_down() -> None:
    switch = FailureSwitch()
    assert switch.take() == NO_FAILURES
    switch.set("refuse", 2)
    assert [switch.take().refuse for _ in range(3)] == [True, True, False]


def test_the_switch_without_a_count_stays_until_it_is_set_again() -> None:
    switch = FailureSwitch("hang", None)
    assert all(switch.take().hang for _ in range(50))
    switch.set("", None)
    assert switch.take() == NO_FAILURES


def test_the_switch_stays_as_it_was_when_it_is_set_wrong() -> None:
    switch = FailureSwitch("hang", 1)
    with pytest.raises(ValueError, match="nonsense"):
        switch.set("nonsense", 1)
    assert (switch.directives, switch.times_left, switch.take()) == ("hang", 1, Failures(hang=True))


@pytest.mark.parametrize(
    ("text", "after"),
    [("", None), ("hang-after=5", 5), ("hang-after=5,cut-after=3", 3), ("error-after=0,cut-after=3", 0)],
)
def test_where_an_answer_breaks_off(text: str, after: int | None) -> None:
    assert parse_failures(text).stop_after == after
