"""A history played from its seed; where product and model differ, the fewest steps that still show it are told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from random import Random
from typing import Any

from tests.properties.books import BEGINNING
from tests.properties.chance import STEPS, draw, next_step, weights
from tests.properties.histories import Histories

LENGTH = 40
Steps = list[tuple[str, dict[str, Any]]]


def play(seed: int, *, explain: bool = True) -> Counter[str]:
    """Play a history; answers which situations came up. What goes wrong is raised, if asked with what led to it."""
    random, steps = Random(seed), Steps()
    books = Histories()
    try:
        steps.append(("begin", draw(BEGINNING, random)))
        books.begin(**steps[0][1])
        often = weights(random)
        for _ in range(LENGTH):
            steps.append(next_step(books, often, random))
            _take(books, steps[-1])
        books.end_all()
    except Exception as error:
        books.close()
        if explain:
            error.add_note("\n".join([f"seed {seed}; this much of it suffices:", *map(_shown, _fewest(steps, error))]))
        raise
    books.close()
    return books.seen


def _take(books: Histories, step: tuple[str, dict[str, Any]]) -> None:
    getattr(books, step[0])(**step[1])
    books.compare()


def _replay(steps: Steps) -> Exception | None:
    """What goes wrong in a history of these steps, those left out that are of no use."""
    books = Histories()
    try:
        books.begin(**steps[0][1])
        for step in steps[1:]:
            if STEPS[step[0]].ready(books):
                _take(books, step)
        books.end_all()
    except Exception as error:
        return error
    finally:
        books.close()
    return None


def _fewest(steps: Steps, error: Exception) -> Steps:
    """Those without which the same kind of error does not come up."""
    size = len(steps) // 2
    while size:
        for start in range(len(steps) - size, 0, -size):
            without = steps[:start] + steps[start + size :]
            if type(_replay(without)) is type(error):
                steps = without
        size //= 2
    return steps


def _shown(step: tuple[str, dict[str, Any]]) -> str:
    return f"  {step[0]}({', '.join(f'{name}={value!r}' for name, value in step[1].items())})"


def play_all(seeds: Iterator[int], count: int, *, explain: bool = True) -> Counter[str]:
    """Which situations came up in the histories of the next so many seeds, and in how many of them."""
    seen: Counter[str] = Counter()
    for seed in islice(seeds, count):
        seen.update(name for name, times in play(seed, explain=explain).items() if times)
    return seen
