"""The model as a program: `python -m tests.model` searches every small world and looks for every planted fault."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tests.model.faults import FAULTS
from tests.model.protocol import Protocol
from tests.model.search import Found, Search
from tests.model.worlds import SMALL, WIDE


def main(arguments: list[str] | None = None) -> int:
    """Search; answers 1 where an invariant does not hold or a fault was not caught."""
    parser = argparse.ArgumentParser(prog="python -m tests.model", description=__doc__)
    parser.add_argument("--wide", action="store_true", help="larger worlds: millions of states, some minutes")
    parser.add_argument("--world", help="this one alone")
    parser.add_argument("--fault", choices=list(FAULTS), help="look for this planted fault alone, and tell its history")
    chosen = parser.parse_args(arguments)
    if chosen.fault:
        return _look_for(chosen.fault)
    worlds = WIDE if chosen.wide else SMALL
    if chosen.world and chosen.world not in worlds:
        parser.error(f"no world {chosen.world!r}; there are: {', '.join(worlds)}")
    names = [chosen.world] if chosen.world else list(worlds)
    began, states, steps = time.process_time(), 0, 0
    for name in names:
        _say(f"{name}: {worlds[name]}")
        with _progress() as told:
            found = Search(Protocol(worlds[name]), told).run()
        states, steps = states + found.states, steps + found.steps.total()
        if not _tell_world(found):
            return 1
    _say(f"{states:,} states and {steps:,} steps in {len(names)} worlds; every invariant holds in every one of them.")
    missed = 0 if chosen.wide or chosen.world else sum(_look_for(name) for name in FAULTS)
    if not (chosen.wide or chosen.world):
        _say(f"{len(FAULTS) - missed} of {len(FAULTS)} planted faults caught.")
    _say(f"{time.process_time() - began:.0f} s of CPU")
    return 1 if missed else 0


def _tell_world(found: Found) -> bool:
    kinds = ", ".join(f"{kind} {count:,}" for kind, count in sorted(found.steps.items()))
    _say(f"    {found.states:,} states, {found.steps.total():,} steps, {found.depth} deep: {kinds}")
    if found.violation is not None:
        _say(f"    {found.violation}")
        _tell_history(found)
    return found.violation is None


def _look_for(name: str) -> int:
    fault = FAULTS[name]
    found = Search(fault.protocol(fault.bounds)).run()
    _say(f"fault: {name}. {fault.words}")
    if found.violation is None:
        _say(f"    NOT CAUGHT in {found.states:,} states of {fault.bounds}")
        return 1
    _say(f"    caught after {found.states:,} states by {found.violation}")
    _tell_history(found)
    return 0


def _tell_history(found: Found) -> None:
    for n, words in enumerate(found.history, 1):
        _say(f"    {n:3d}  {words}")


@contextmanager
def _progress() -> Iterator[Callable[[int, int], None]]:
    """A line on stderr, where somebody looks: how many states there are, and how many still wait to be gone on from."""
    if not sys.stderr.isatty():
        yield lambda states, waiting: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.fields[states]:,} states"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1, states=0)
        yield lambda states, waiting: bar.update(task, total=states, completed=states - waiting, states=states)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
