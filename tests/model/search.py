"""Breadth-first search over every state that the protocol can come to: what is found, and by which shortest history."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from purser.core.errors import Broken
from tests.model.invariants import Violation, check_state, check_step
from tests.model.protocol import Protocol
from tests.model.state import State, Step

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
        self._before: dict[State, State | None] = {}  # by which state each was come to first
        self._heals: dict[State, list[State]] = {}  # from which states each is come to by healing
        self._steps: Counter[str] = Counter()

    def run(self) -> Found:
        """Search to the end."""
        start = plain(self.protocol.start())
        self._before[start] = None
        waiting = deque([start])
        state = start
        while waiting:
            state = waiting.popleft()
            step = None
            try:
                for step in self.protocol.steps(state):
                    if self._visit(state, step):
                        waiting.append(plain(step.state))
            except Violation as violation:
                return self._found(state, violation, step)
            except Broken as error:
                return self._found(state, Violation("Broken", str(error)), None)
            if not len(self._before) % 1000:
                self._told(len(self._before), len(waiting))
        stuck = self._stuck()
        if stuck is not None:
            words = "from here nothing but luck brings back what is leased, or ends a writer whose process is gone"
            return self._found(stuck, Violation("L1", words), None)
        return self._found(state, None, None)

    def _visit(self, state: State, step: Step) -> bool:
        """Check a step and where it leads; answers whether that is new."""
        after = plain(step.state)
        new = after not in self._before
        self._before.setdefault(after, state)
        self._steps[step.kind] += 1
        check_step(state, step)
        if new:
            check_state(self.protocol, after)
        if _heals(state, step):
            self._heals.setdefault(after, []).append(state)
        return new

    def _stuck(self) -> State | None:
        """The nearest state from which healing leads to no quiet state."""
        well = {state for state in self._before if _is_quiet(state)}
        waiting = deque(well)
        while waiting:
            for state in self._heals.get(waiting.popleft(), ()):
                if state not in well:
                    well.add(state)
                    waiting.append(state)
        return next((state for state in self._before if state not in well), None)

    def _found(self, state: State, violation: Violation | None, step: Step | None) -> Found:
        way = [state]
        while (earlier := self._before[way[-1]]) is not None:
            way.append(earlier)
        history = () if violation is None else tuple(_tell(self.protocol, way[::-1], step))
        return Found(len(self._before), len(way) - 1, self._steps, violation, history)


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
