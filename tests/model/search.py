"""Breadth-first search over every state that the protocol can come to: what is found, and by which shortest history."""

from __future__ import annotations

import gc
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from purser.core.errors import Broken
from tests.model.invariants import Violation, check_state, check_step
from tests.model.protocol import Protocol
from tests.model.state import State, Step, Writer

# What is under way comes to its end by these steps alone, with nobody's good or bad luck.
_HEALING = {"return", "settle", "learn", "refuse", "finish", "close", "fenced"}


@dataclass(frozen=True)
class Found:
    """What a search came to: how many states and steps, the steps of each kind, and the violation if there is one."""

    states: int
    depth: int
    steps: Counter[str]
    violation: Violation | None = None
    history: tuple[str, ...] = ()


def plain(state: State) -> State:
    """The same state with its writers in a fixed order: which one is which makes no difference."""
    return state._replace(writers=tuple(sorted(state.writers, key=hash)))


class Search:
    """Visits every state once, the nearest first, and ends at the first violation; `told` hears how far it is."""

    def __init__(self, protocol: Protocol, told: Callable[[int, int], None] = lambda states, waiting: None) -> None:
        self.protocol, self._told = protocol, told
        self._states: list[State] = []  # in the order in which they are come to
        self._numbers: dict[tuple[object, ...], int] = {}  # with numbers for writers, of which a state has the same few
        self._writers: dict[Writer, int] = {}
        self._before: list[int] = []  # from which state each was come to first
        self._heals: dict[int, list[int]] = {}  # from which states each is come to by healing
        self._steps: Counter[str] = Counter()

    def run(self) -> Found:
        """Search to the end."""
        collects = gc.isenabled()
        gc.disable()  # whatever is made here is kept
        try:
            return self._run()
        finally:
            if collects:
                gc.enable()

    def _run(self) -> Found:
        self._number(self.protocol.start(), -1)
        for number, state in enumerate(self._states):
            step = None
            try:
                for step in self.protocol.steps(state):
                    self._visit(number, state, step)
            except Violation as violation:
                return self._found(number, violation, step)
            except Broken as error:
                return self._found(number, Violation("Broken", str(error)), None)
            if not number % 1000:
                self._told(len(self._states), len(self._states) - number - 1)
        stuck = self._stuck()
        if stuck is not None:
            words = "from here nothing but luck brings back what is leased, or ends a writer whose process is gone"
            return self._found(stuck, Violation("L1", words), None)
        return self._found(len(self._states) - 1, None, None)

    def _number(self, state: State, before: int) -> int:
        """The number of a state, a new one if it was not come to yet."""
        writers = sorted([self._writers.setdefault(writer, len(self._writers)) for writer in state.writers])
        number = self._numbers.setdefault((*state._replace(writers=()), *writers), len(self._states))
        if number == len(self._states):
            self._states.append(plain(state))
            self._before.append(before)
        return number

    def _visit(self, number: int, state: State, step: Step) -> None:
        """Check a step and where it leads."""
        known = len(self._states)
        after = self._number(step.state, number)
        self._steps[step.kind] += 1
        check_step(state, step)
        if after == known:
            check_state(self.protocol, self._states[after])
        if _heals(state, step):
            self._heals.setdefault(after, []).append(number)

    def _stuck(self) -> int | None:
        """The nearest state from which healing leads to no quiet state."""
        well = {number for number, state in enumerate(self._states) if _is_quiet(state)}
        waiting = deque(well)
        while waiting:
            for number in self._heals.get(waiting.popleft(), ()):
                if number not in well:
                    well.add(number)
                    waiting.append(number)
        return next((number for number in range(len(self._states)) if number not in well), None)

    def _found(self, number: int, violation: Violation | None, step: Step | None) -> Found:
        way = [number]
        while self._before[way[-1]] >= 0:
            way.append(self._before[way[-1]])
        states = [self._states[each] for each in reversed(way)]
        history = () if violation is None else tuple(_tell(self.protocol, states, step))
        return Found(len(self._states), len(way) - 1, self._steps, violation, history)


def _heals(state: State, step: Step) -> bool:
    if step.kind == "grant" and step.writer is not None:  # one that was asked for before
        process = state.writers[step.writer].process
        return process is not None and process.flight is not None
    return step.kind in _HEALING


def _is_quiet(state: State) -> bool:
    """Whether nothing is under way, nothing is leased, and every writer's process lives."""
    return all(
        writer.open
        and writer.process is not None
        and writer.process.flight is None
        and not writer.process.requests
        and all(lease.spare == 0 for lease in writer.leases)
        for writer in state.writers
    )


def _tell(protocol: Protocol, way: Iterable[State], last: Step | None) -> Iterable[str]:
    """A history in words: the same way again, with the writers in the order in which they came."""
    targets = list(way)[1:]
    state = protocol.start()
    names = [f"w{n + 1}" for n in range(len(state.writers))]
    known = len(names)
    for target in [*targets, *([] if last is None else [plain(last.state)])]:
        step = next(step for step in _steps(protocol, state) if plain(step.state) == target)
        yield step.words if step.writer is None else f"{names[step.writer]} {step.words}"
        if len(step.state.writers) < len(names) and step.writer is not None:
            del names[step.writer]
        if len(step.state.writers) > len(names):
            known += 1
            names.append(f"w{known}")
        state = step.state


def _steps(protocol: Protocol, state: State) -> Iterable[Step]:
    try:
        yield from protocol.steps(state)
    except Broken:  # after the steps looked for, or instead of the next
        return
