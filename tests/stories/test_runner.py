"""The runner tells what is wrong with a story in the story's own words: file, line, what was expected, what came."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.stories.commands import COMMANDS
from tests.stories.expectations import AMOUNTS, CAUSES, LISTS, ON_COMMANDS, WORDS
from tests.stories.language import Wrong, read
from tests.stories.runner import FOLDER, StoryFailed, play_once

pytestmark = pytest.mark.once
BEGIN = "at 2026-03-01 09:00\nopen ada\n"

# (lines after BEGIN, the line blamed, what the failure says)
FAILING = [
    ("spend ada 0.25 -> credit 0.74", 3, "expected  credit 0.74", "got       credit 0.75"),
    ("spend ada 0.25 -> spent 0.25, credit 0.74", 3, "expected  credit 0.74", "got       credit 0.75"),
    ("spend ada 0.25\n  -> spent 0.25\n  -> credit 0.74", 5, "expected  credit 0.74", "got       credit 0.75"),
    ("# nothing\n\nspend ada 0.25 -> CREDIT_DEPLETED", 5, "expected  CREDIT_DEPLETED", "got       UNSUSPENDED"),
    ("spend ada 2.00", 3, "expected  that it is done", "got       refused 402 'Not enough credit"),
    ("spend ada 2.00 -> refused 412", 3, "expected  refused 412", "got       refused 402"),
    ('spend ada 2.00 -> refused 402 "limit"', 3, "expected  refused 402", "got       refused 402 'Not enough credit"),
    ("spend ada 0.25 -> refused 402", 3, "expected  refused 402", "got       not refused"),
    ("grant ada 2.00 -> unchanged", 3, "expected  unchanged", "got       ada changed"),
    ("month 2026-03 -> invoice 1.00 PAID", 3, "expected  invoice 1.00 PAID", "got       invoice no invoice"),
    ("spend ada 0.25\nmonth 2026-03 -> no invoice", 4, "expected  no invoice", "got       invoice ADA-0001"),
    (
        "usage ada 3.00\ngrant ada 5.00 purchased -> allocated 2.00 to 2026-03",
        4,
        "expected  allocated 2.00 to 2026-03",
        "got       2: allocated 2.00 to 2026-03; allocated 3.00 to credit",
    ),
    ("spend bob 1.00", 3, "expected  that it is done", "got       refused 404"),
]
WRONG = [
    ("dance ada", 3, "'dance' is no command"),
    ("spend ada", 3, "spend is used so"),
    ("spend ada lots", 3, "dollars as a decimal string"),
    ("spend ada 0.25 -> happiness 3", 3, "`happiness 3` is nothing a story can expect"),
    ("done r9 in 1 out 1", 3, "no request r9 is running"),
    ("ask r1 ada exact bites 3", 3, "'bites' is not understood here; known: bytes …"),
    ("policy credit 0", 3, "before `at`"),
    ("spend ada 0.25 by eve", 3, "ada has no user eve"),
    ("user ada eve\napprove ada eve", 4, "eve has asked for nothing"),
]


def _failure(tmp_path: Path, lines: str) -> str:
    path = tmp_path / "some.story"
    path.write_text(BEGIN + lines + "\n")
    with pytest.raises(StoryFailed) as failed:
        play_once(path, None, lease_nanos=0)
    return str(failed.value)


@pytest.mark.parametrize("lines, line, expected, got", FAILING)
def test_a_story_that_does_not_hold_says_where_and_what_came(
    tmp_path: Path, lines: str, line: int, expected: str, got: str
) -> None:
    failure = _failure(tmp_path, lines)
    assert re.match(rf".*some\.story:{line}: ", failure), failure
    assert expected in failure
    assert got in failure


@pytest.mark.parametrize("lines, line, why", WRONG)
def test_a_line_that_is_not_understood_says_what_would_be_right(
    tmp_path: Path, lines: str, line: int, why: str
) -> None:
    failure = _failure(tmp_path, lines)
    assert f"some.story:{line}: " in failure
    assert why in failure


@pytest.mark.parametrize("text", ["-> credit 1", "open ada ->", "open ada -> a,, b", "open ada -> a,", 'open "ada'])
def test_a_text_that_is_no_story_is_refused(text: str) -> None:
    with pytest.raises(Wrong, match="line 1"):
        read(text)


def test_what_a_quoted_text_contains_is_not_read_as_language() -> None:
    (step,) = read('open ada -> refused 402 "a, b # c", credit 1.00   # and this is a comment')
    assert [item.words for item in step.expected] == [("refused", "402", "a, b # c"), ("credit", "1.00")]


# What cannot be told yet: S28, S29, S35 auto-reload; S47 batch prices; the rest is not about money held and billed.
SCENARIOS = {*range(1, 28), *range(30, 35), *range(36, 39), *range(44, 47), 48, *range(52, 62), *range(68, 73)}
RULES = (
    "A1 A2 A3 A4 A5 A6 A7 A8 A9 A11 L1 L2 L3 L4 L5 L6 U1 U2 U4 U6 U7 "
    "H1 H2 H3 H4 H5 H6 H7 H8 P1 P2 P3 P6 M1 M3 M4 D1 D3 D6"
)


def test_every_scenario_and_rule_that_can_be_told_is_told() -> None:
    named = {word for path in FOLDER.glob("*.story") for word in re.findall(r"\b[A-Z]\d+\b", path.read_text())}
    assert {f"S{number}" for number in SCENARIOS} <= named
    assert set(RULES.split()) <= named


def test_the_language_page_tells_every_command_and_expectation() -> None:
    page = (FOLDER / "README.md").read_text().replace("```", "")
    told = set(re.findall(r"[\w-]+", " ".join(re.findall(r"`([^`]+)`", page))))
    assert set(COMMANDS) | set(AMOUNTS) | set(WORDS) | set(LISTS) | set(ON_COMMANDS) | set(CAUSES) <= told


def test_every_command_and_expectation_is_used_by_a_story() -> None:
    steps = [step for path in FOLDER.glob("*.story") for step in read(path.read_text())]
    assert set(COMMANDS) == {step.words[0] for step in steps}
    expected = {item.words[0] for step in steps for item in step.expected}
    assert set(AMOUNTS) | set(WORDS) | set(LISTS) | set(ON_COMMANDS) <= expected
