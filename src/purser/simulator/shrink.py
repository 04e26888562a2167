"""Shrinking: from the plan of a failing run to the shortest story found that still fails the same way."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from purser.simulator.plan import Item, Plan

MOST_TRIES = 200


def shrink(plan: Plan, fails: Callable[[Plan], bool], most_tries: int = MOST_TRIES) -> Plan:
    """Drop items, in halves, quarters and so on down to single ones, as long as what is left still `fails`."""
    items, tries = list(plan.items), 0
    size = max(1, len(items) // 2)
    while tries < most_tries and items:
        start, dropped = 0, False
        while start < len(items) and tries < most_tries:
            fewer = items[:start] + items[start + size :]
            tries += 1
            if fails(replace(plan, items=tuple(fewer))):
                items, dropped = fewer, True
            else:
                start += size
        if size == 1 and not dropped:
            break
        size = size if dropped and size == 1 else max(1, size // 2)
    return _calmer(replace(plan, items=tuple(items)), fails, most_tries - tries)


def _calmer(plan: Plan, fails: Callable[[Plan], bool], most_tries: int) -> Plan:
    """Without what of an item is not needed: clients' retries, hang-ups and lost messages."""
    for number, item in enumerate(plan.items):
        for name, calm in (("tries", 0), ("hang_up", None), ("twice", False), ("lost_reply", False), ("named", False)):
            if most_tries <= 0:
                return plan
            if item.values.get(name, calm) != calm:
                most_tries -= 1
                simpler = replace(item, values={**item.values, name: calm})
                tried = replace(plan, items=_with(plan.items, number, simpler))
                if fails(tried):
                    plan, item = tried, simpler
    return plan


def _with(items: Sequence[Item], number: int, item: Item) -> tuple[Item, ...]:
    return (*items[:number], item, *items[number + 1 :])
