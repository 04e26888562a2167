"""Tables and figures as people read them, and what several rounds amount to."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence

_STARTED = time.monotonic()


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns under their names, the first to the left and the others to the right, as a Markdown table."""
    widths = [max(len(row[n]) for row in (head, *rows)) for n in range(len(head))]
    lines = [
        [cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(row, widths, strict=True))]
        for row in (head, *rows)
    ]
    rule = ["-" * width if n == 0 else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    return "\n".join(f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:]))


def progress(text: str) -> None:
    """Say on stderr what is going on."""
    print(f"[{time.monotonic() - _STARTED:5.0f} s] {text}", file=sys.stderr, flush=True)


def middle(values: Sequence[float]) -> float:
    """The median, nan of nothing."""
    return statistics.median(values) if values else float("nan")


def spread(values: Sequence[float]) -> str:
    """Half the distance from the smallest to the largest as a share of the median: how far to trust it."""
    if len(values) < 2 or not middle(values):
        return "–"
    return f"±{(max(values) - min(values)) / 2 / middle(values):.0%}"


def count(value: float) -> str:
    """A whole number with its thousands apart."""
    return "–" if value != value else f"{value:,.0f}"


def micros(value: float, *, signed: bool = False) -> str:
    """Microseconds, from a thousand on as milliseconds."""
    if value != value:
        return "–"
    sign = "+" if signed else ""
    return f"{value:{sign}.0f} µs" if abs(value) < 1000 else f"{value / 1000:{sign}.1f} ms"


def mebibytes(value: float) -> str:
    """Bytes as MiB."""
    return "–" if value != value else f"{value / 2**20:.0f} MiB"


def percentile(values: Sequence[float], part: float) -> float:
    """The value below which that part of them lies; nan of nothing."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))] if ordered else float("nan")
