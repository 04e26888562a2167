"""What the model's small world consists of: headroom rows, writers, processes with their memory, and its bounds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import NamedTuple

from purser.core.lease import Headroom, Lease

CREDIT, KEY = 0, 3  # headroom rows; between them one for each of two months
ROWS = ("credit", "month 0", "month 1", "key")
RUNNING, DONE, SETTLING = range(3)  # stages of a request

Rows = tuple[Headroom, ...]
Leases = tuple[Lease, ...]  # one for each row


class Request(NamedTuple):
    """A request that holds money: of which month, how much, and how much its upstream has worked so far."""

    month: int
    held: int
    work: int
    stage: int


class Grant(NamedTuple):
    """Headroom for leases, on all of these rows or on none."""

    rows: tuple[int, ...]
    least: int
    most: int


class Return(NamedTuple):
    """Spare given back to one row."""

    row: int
    amount: int


class Settle(NamedTuple):
    """Requests settled in one commit."""

    requests: tuple[Request, ...]


def settled_by(work: Work) -> int:
    """What a transaction settles."""
    return sum(request.work for request in work.requests) if isinstance(work, Settle) else 0


Work = Grant | Return | Settle
KINDS = {Grant: "grant", Return: "return", Settle: "settle"}


class Flight(NamedTuple):
    """A transaction under way of whose outcome its process knows nothing; once committed also what a grant gave."""

    work: Work
    committed: bool = False
    given: tuple[int, ...] = ()


class Process(NamedTuple):
    """A gateway's memory: its leases as it knows them, its requests, and at most one transaction under way."""

    leases: Leases
    requests: tuple[Request, ...] = ()
    flight: Flight | None = None


class Writer(NamedTuple):
    """A writer's row and its leases in the store, and the process that is this writer, None once that is dead.

    A closed writer whose process is gone has nothing left, and is no more part of a state.
    """

    open: bool
    leases: Leases
    process: Process | None


class Left(NamedTuple):
    """How often each thing may still happen: requests that begin, faults, and events from outside."""

    request: int = 2
    slow: int = 0  # transactions during which something else happens
    crash: int = 0
    silence: int = 0  # live writers closed by others who do not hear of them
    roll: int = 0  # of the month
    late: int = 0  # usage after the fact
    lower: int = 0  # of credit: a refund, a dispute
    more: int = 0  # a top-up
    limit: int = 0  # the month's limit set to nothing
    card: int = 0  # put on file or taken off: credit is enforced or not
    lapse: int = 0  # of credit

    def less(self, name: str) -> Left | None:
        """One fewer of those; None where there is none left."""
        left = getattr(self, name)
        return self._replace(**{name: left - 1}) if left else None


class State(NamedTuple):
    """All there is.

    `usage` is the true usage on each row: upstream work, and usage reported after the fact. `acknowledged` is what
    somebody was told is settled, over all requests and reports.
    """

    month: int
    rows: Rows
    writers: tuple[Writer, ...]
    usage: tuple[int, ...]
    left: Left
    acknowledged: int = 0


class Step(NamedTuple):
    """What happens: its kind, the place of the writer whose it is if one's, in words, and the state after it."""

    kind: str
    writer: int | None
    words: str
    state: State


@dataclass(frozen=True)
class Bounds:
    """How small the world is."""

    left: Left
    processes: int = 2
    credit: int = 2
    limit: int = 2
    key: int | None = None  # a key's budget, a third row on every path
    most: int = 1  # a grant takes up to this
    slices: int = 2  # a hold is extended up to this

    def __str__(self) -> str:
        named = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "left"}
        told = named | self.left._asdict()
        return " ".join(f"{name}={value}" for name, value in told.items() if value not in (0, None))


def with_writer(state: State, place: int, writer: Writer, rows: Rows | None = None) -> State:
    """The same with another writer at a place, and maybe other rows; one that is closed and dead is gone."""
    kept = () if not writer.open and writer.process is None else (writer,)
    writers = (*state.writers[:place], *kept, *state.writers[place + 1 :])
    return state._replace(writers=writers, rows=state.rows if rows is None else rows)


def with_row(state: State, place: int, row: Headroom) -> State:
    """The same with another row at a place."""
    return state._replace(rows=(*state.rows[:place], row, *state.rows[place + 1 :]))


def distinct(requests: tuple[Request, ...], stage: int) -> Iterator[tuple[Request, tuple[Request, ...]]]:
    """Each request in a stage with all the others beside it; of several that are the same, one."""
    for place, request in enumerate(requests):
        if request.stage == stage and request not in requests[:place]:
            yield request, (*requests[:place], *requests[place + 1 :])
