"""Filters of lists: comparisons such as email = "ada@example.com", joined by AND."""

from __future__ import annotations

import re
from collections.abc import Mapping

from purser.core.errors import Invalid

_COMPARISON = re.compile(r'\s*(\w+)\s*(?:=|:)\s*("(?:[^"\\]|\\.)*"|[^\s"]+)\s*\Z')


def read_comparisons(text: str | None, fields: Mapping[str, str], example: str) -> dict[str, str]:
    """What each field that is compared must be, by the name that `fields` gives it here; raises Invalid."""
    given: dict[str, str] = {}
    for part in re.split(r"\s+AND\s+", text or ""):
        if not part.strip():
            continue
        found = _COMPARISON.match(part)
        if found is None or found[1] not in fields or fields[found[1]] in given:
            raise wrong_filter(f"comparisons such as {example}, joined by AND; fields: {', '.join(fields)}")
        value = found[2]
        given[fields[found[1]]] = re.sub(r"\\(.)", r"\1", value[1:-1]) if value.startswith('"') else value
    return given


def wrong_filter(right: str) -> Invalid:
    """A filter is wrong; says what is right."""
    return Invalid(f"filter must be {right}", field="filter")
