"""The story language as text: lines of a command and what is expected after it, read into steps."""

from __future__ import annotations

import re
import shlex
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from purser.core.errors import Invalid
from purser.core.money import parse_usd
from purser.core.period import DAY, HOUR, MINUTE, parse_instant

_SPANS = {"minute": MINUTE, "hour": HOUR, "day": DAY}


class Wrong(Exception):
    """A line that cannot be understood: says what would be right."""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What must be true after a command, in words, and the line that says so."""

    line: int
    words: tuple[str, ...]

    def __str__(self) -> str:
        return shlex.join(self.words) if any(" " in word for word in self.words) else " ".join(self.words)


@dataclass(slots=True)
class Step:
    """One command and what is expected after it."""

    line: int
    text: str
    words: tuple[str, ...]
    expected: list[Expectation] = field(default_factory=list)


def read(text: str) -> list[Step]:
    """The steps of a story; raises Wrong naming the line.

    A command stands alone on its line; `-> a, b` after it, or on lines of its own below it, says what must be true.
    """
    steps: list[Step] = []
    for number, raw in enumerate(text.splitlines(), 1):
        line = _without_comment(raw).strip()
        if not line:
            continue
        command, arrow, expected = line.partition("->")
        if command.strip():
            steps.append(Step(number, command.strip(), _words(command, number)))
        elif not steps:
            raise Wrong(f"line {number}: an expectation comes after a command")
        if arrow:
            steps[-1].expected += [Expectation(number, _words(part, number)) for part in _split(expected, number)]
    return steps


def _without_comment(line: str) -> str:
    quoted = False
    for place, letter in enumerate(line):
        if letter == '"':
            quoted = not quoted
        if letter == "#" and not quoted:
            return line[:place]
    return line


def _split(text: str, number: int) -> list[str]:
    parts = re.split(r',(?=(?:[^"]*"[^"]*")*[^"]*$)', text)  # commas outside quotes
    if any(not part.strip() for part in parts):
        raise Wrong(f"line {number}: after -> stands what is expected, several joined by a comma")
    return parts


def _words(text: str, number: int) -> tuple[str, ...]:
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise Wrong(f"line {number}: {error}") from None


def options(words: tuple[str, ...], named: Collection[str], flags: Collection[str] = ()) -> dict[str, str]:
    """The words after a command's fixed ones as `name value` pairs and flags; raises Wrong for any other."""
    found: dict[str, str] = {}
    rest = list(words)
    while rest:
        name = rest.pop(0)
        if name in flags:
            found[name] = name
        elif name in named and rest:
            found[name] = rest.pop(0)
        else:
            known = ", ".join([f"{option} …" for option in named] + list(flags))
            raise Wrong(f"{name!r} is not understood here; known: {known or 'nothing more'}")
    return found


def number(text: str) -> int:
    """A count such as 1000 or 1,000,000 (in quotes)."""
    digits = text.replace(",", "")
    if not digits.isdigit():
        raise Wrong(f"{text!r} is not a count")
    return int(digits)


def count(given: Mapping[str, str], name: str, default: int = 0) -> int:
    """An option that is a count."""
    return number(given[name]) if name in given else default


def usd(text: str) -> int:
    """Dollars such as 0.000916, as nano-dollars."""
    try:
        return parse_usd(text)
    except Invalid as error:
        raise Wrong(str(error)) from None


def when(words: tuple[str, ...] | list[str]) -> int:
    """A time such as `2026-03-01` or `2026-03-01 09:00`, UTC."""
    try:
        return parse_instant(" ".join(words), "a time")
    except Invalid as error:
        raise Wrong(str(error)) from None


def span(words: tuple[str, ...]) -> int:
    """A span such as `3 days` in microseconds."""
    if len(words) != 2 or words[1].rstrip("s") not in _SPANS:
        raise Wrong("a span is such as `3 days`, `1 hour` or `5 minutes`")
    return number(words[0]) * _SPANS[words[1].rstrip("s")]
