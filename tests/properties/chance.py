"""What chance decides in a history: drawn from a seed, the same on any machine and whatever has run before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any, TypeVar

T = TypeVar("T")
Draw = Callable[[Random], T]
Work = TypeVar("Work", bound=Callable[..., object])


def among(*values: T) -> Draw[T]:
    """One of these."""
    return lambda random: values[int(random.random() * len(values))]


def between(least: int, most: int) -> Draw[int]:
    """A whole number, ends included."""
    return lambda random: random.randint(least, most)


def either(*draws: Draw[Any]) -> Draw[Any]:
    """What one of these answers."""
    return lambda random: among(*draws)(random)(random)


def several(draw: Draw[T], least: int, most: int) -> Draw[list[T]]:
    """Between so few and so many of them."""
    return lambda random: [draw(random) for _ in range(random.randint(least, most))]


def together(*draws: Draw[Any]) -> Draw[tuple[Any, ...]]:
    """One of each."""
    return lambda random: tuple(draw(random) for draw in draws)


FLAG = among(False, True)


@dataclass(frozen=True)
class Step:
    """What can happen next: how often among others, what is drawn for it, and when it is of use."""

    weight: int
    given: dict[str, Draw[Any]]
    ready: Callable[[Any], bool]


STEPS: dict[str, Step] = {}  # by the name of the method


def step(
    weight: int = 2, ready: Callable[[Any], bool] = lambda books: True, **given: Draw[Any]
) -> Callable[[Work], Work]:
    """Make a method one of the steps of a history."""

    def mark(method: Work) -> Work:
        STEPS[method.__name__] = Step(weight, given, ready)
        return method

    return mark


def draw(given: dict[str, Draw[Any]], random: Random) -> dict[str, Any]:
    """One value for each name."""
    return {name: drawn(random) for name, drawn in given.items()}


def weights(random: Random) -> dict[str, int]:
    """How often each step comes in one history: some never do, which brings the others together more often."""
    often = among(0, 1, 1, 1, 3)
    return {name: step.weight * often(random) for name, step in STEPS.items()}


def next_step(books: object, weights: dict[str, int], random: Random) -> tuple[str, dict[str, Any]]:
    """The name of a step that is of use now, and what is drawn for it."""
    names = [name for name in weights if STEPS[name].ready(books)]
    name = random.choices(names, [weights[name] for name in names])[0]
    return name, draw(STEPS[name].given, random)
