"""What must hold in every state of the model, and of every step, each under its name (correctness §3)."""

from __future__ import annotations

from purser.core.errors import Broken
from purser.core.lease import check
from tests.model.protocol import Protocol
from tests.model.state import CREDIT, ROWS, SETTLING, State, Step, Writer

_FALLS = {"return", "close", "silence"}  # the steps by which what is taken may fall
_COMMITS = {"grant", "return", "settle"}


class Violation(Exception):
    """An invariant that does not hold, by its name, and how."""

    def __init__(self, name: str, words: str) -> None:
        super().__init__(f"{name}: {words}")
        self.name = name


def check_state(protocol: Protocol, state: State) -> None:
    """Raise Violation where an invariant does not hold."""
    for place, row in enumerate(state.rows):
        leases = [writer.leases[place] for writer in state.writers]
        name, usage = ROWS[place], state.usage[place]
        try:
            check(row)
        except Broken:
            raise Violation("A1", f"{name}: taken {row.taken} of {row.amount}, over {row.over}") from None
        if row.taken != row.used + sum(lease.share for lease in leases):
            raise Violation("A6", f"{name}: taken is not what was used and what is leased: {row}, {leases}")
        billed = _billed(state, place)
        if billed > usage:
            raise Violation("A4", f"{name}: {billed} is billed, of a true usage of {usage}")
        if usage > row.taken + row.unbilled:
            raise Violation("A3", f"{name}: true usage {usage}, taken {row.taken}, unbilled {row.unbilled}")
        if not all(0 <= lease.used <= lease.share for lease in leases):
            raise Violation("A5", f"{name}: more used than leased: {leases}")
        unsettled = sum(_unsettled(protocol, writer, place) for writer in state.writers)
        if usage > billed + unsettled + row.unbilled:
            raise Violation("C1", f"{name}: of a true usage of {usage} only {billed} is billed and {unsettled} to come")
    if state.acknowledged > _billed(state, CREDIT):
        raise Violation(
            "C1", f"{state.acknowledged} was acknowledged, of which only {_billed(state, CREDIT)} is billed"
        )
    for writer in state.writers:
        _check_writer(protocol, writer)


def _billed(state: State, row: int) -> int:
    return state.rows[row].used + sum(writer.leases[row].used for writer in state.writers)


def _unsettled(protocol: Protocol, writer: Writer, row: int) -> int:
    """What may have been worked on a row and is not billed: by requests that run, or by a process that is dead."""
    process = writer.process
    if process is None:
        return writer.leases[row].spare
    committed = process.flight is not None and process.flight.committed
    gone = SETTLING if committed else None
    on_row = (request for request in process.requests if row in protocol.path(request.month))
    return sum(request.work for request in on_row if request.stage != gone)


def _check_writer(protocol: Protocol, writer: Writer) -> None:
    process = writer.process
    if not writer.open and writer.leases != protocol.none:
        raise Violation("C6", f"a closed writer has leases: {writer.leases}")
    if process is None:
        return
    for row in range(len(writer.leases)):
        if protocol.spare(process, row) < 0:
            raise Violation("A8", f"more is held than leased on {ROWS[row]}")
    if any(request.work > request.held for request in process.requests):
        raise Violation("A5", "upstream worked past what was held")
    flight = process.flight
    known = process if flight is None or not flight.committed else protocol.learn(process, flight)
    if writer.open and known.leases != writer.leases:
        raise Violation("A6", f"a process believes it has {known.leases}, the store says {writer.leases}")
    if any(request.stage == SETTLING for request in process.requests) and flight is None:
        raise Violation("C1", "a request is being settled by no transaction")


def check_step(before: State, step: Step) -> None:
    """Raise Violation where a step does what no step may."""
    for place, (old, new) in enumerate(zip(before.rows, step.state.rows, strict=True)):
        name = ROWS[place]
        if new.taken < old.taken and step.kind not in _FALLS:
            raise Violation("A9", f"{step.kind} freed {old.taken - new.taken} of {name}")
        if _billed(step.state, place) < _billed(before, place):
            raise Violation("C1", f"what was billed on {name} is less after a {step.kind}")
        if step.kind == "grant" and new.over > old.over:
            raise Violation("A1", f"a grant wrote over on {name}")
        if step.kind == "grant" and new.taken > old.taken and new.enforced and new.taken > new.amount:
            raise Violation("A2", f"a grant took {new.taken} of {new.amount} of {name}")
        if step.kind == "settle" and new != old:
            raise Violation("A6", f"a settlement wrote the shared row {name}")
    if step.kind in _COMMITS and step.writer is not None and not before.writers[step.writer].open:
        raise Violation("A7", f"a closed writer committed a {step.kind}")
