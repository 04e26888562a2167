"""The tables: every case with every gateway at a glance, and each gateway's cases in detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from bench import tables
from bench.overspend.cases import Found
from bench.overspend.judge import factor, faults, usd


def verdict(found: Found) -> str:
    """pass, or FAIL with what is wrong."""
    wrong = faults(found.seen)
    said = ", ".join([*wrong, *filter(None, [found.note])])
    return f"FAIL: {said}" if wrong else f"pass{', ' * bool(said)}{said}"


def fails(found: Found) -> bool:
    """Whether a case fails."""
    return bool(faults(found.seen))


def at_a_glance(found: Mapping[str, Mapping[str, Found]], names: Sequence[str]) -> str:
    """A row for each case, a column for each gateway: the work done as a multiple of the budget, and the verdict."""
    rows = []
    for name in names:
        cells = [found[gateway].get(name) for gateway in found]
        rows.append([name, *(f"{_times(each)} {'FAIL' if fails(each) else 'pass'}" if each else "–" for each in cells)])
    return tables.table(["work done / budget", *found], rows)


def in_detail(found: Mapping[str, Found]) -> str:
    """One gateway's cases: how requests were answered, what was done, what was billed, and why it fails."""
    head = ["case", "budget", "whole", "short", "refused", "broken off", "work done", "billed", "factor", "verdict"]
    rows = []
    for name, each in found.items():
        counts = [tables.count(value) for value in each.count().values()]
        money = [usd(each.seen.done), usd(each.seen.billed), _times(each)]
        rows.append([name, usd(each.case.budget), *counts, *money, verdict(each)])
    return tables.table(head, rows)


def _times(found: Found) -> str:
    return f"{factor(found.seen):.2f}×"
