"""Faults planted in the protocol: each a variant that must be caught, with the invariants by which it may be."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from purser.core import lease as core
from purser.core.lease import Headroom, Lease
from tests.model.protocol import Done, Protocol
from tests.model.state import (
    CREDIT,
    DONE,
    SETTLING,
    Bounds,
    Grant,
    Leases,
    Left,
    Process,
    Request,
    Return,
    Rows,
    Settle,
    State,
    Step,
    Work,
    Writer,
    settled_by,
    with_writer,
)


@dataclass(frozen=True)
class Fault:
    """A variant of the protocol, the world in which it is looked for, and the invariants that may catch it."""

    protocol: type[Protocol]
    bounds: Bounds
    caught_by: frozenset[str]

    @property
    def words(self) -> str:
        """What is wrong in it."""
        return (self.protocol.__doc__ or "").strip()


FAULTS: dict[str, Fault] = {}


def planted(name: str, caught_by: str, **left: int) -> Callable[[type[Protocol]], type[Protocol]]:
    """Register a fault under its name, to be looked for where these may happen."""

    def plant(protocol: type[Protocol]) -> type[Protocol]:
        bounds = Bounds(Left(**{"request": 1, **left}))
        FAULTS[name] = Fault(protocol, bounds, frozenset(caught_by.split()))
        return protocol

    return plant


# ── grants ───────────────────────────────────────────────────────────────────────────────────────────────────────
@planted("off by one", "A1 A2")
class OffByOne(Protocol):
    """A grant compares with the amount plus one."""

    def grant(self, rows: Rows, leases: Leases, work: Grant) -> Done | None:
        more = tuple(replace(row, amount=row.amount + 1) for row in rows)
        done = super().grant(more, leases, work)
        if done is None:
            return None
        return tuple(replace(row, amount=row.amount - 1) for row in done[0]), done[1], done[2]


@planted("some rows of the path", "A6 A8", limit=1)
class SomeRows(Protocol):
    """A grant that falls short on one row keeps what it took on the others."""

    def grant(self, rows: Rows, leases: Leases, work: Grant) -> Done | None:
        for row in work.rows:
            done = super().grant(rows, leases, work._replace(rows=(row,)))
            if done is not None:
                rows, leases, _ = done
        return rows, leases, (1,) * len(work.rows)


@planted("one constraint skipped", "A8")
class OneConstraint(Protocol):
    """A request is admitted with spare on credit alone; its month's limit is not looked at."""

    def fits(self, process: Process, month: int) -> bool:
        return self.spare(process, CREDIT) >= 1


@planted("over written by a grant", "A1 A2")
class OverByGrant(Protocol):
    """A grant that falls short takes all the same and writes down that it is over."""

    def grant(self, rows: Rows, leases: Leases, work: Grant) -> Done | None:
        for n in work.rows:
            row = replace(rows[n], taken=rows[n].taken + 1)
            row = replace(row, over=max(0, row.taken - row.amount))
            rows = (*rows[:n], row, *rows[n + 1 :])
            leases = (*leases[:n], Lease(leases[n].share + 1, leases[n].used), *leases[n + 1 :])
        return rows, leases, (1,) * len(work.rows)


# ── the fence, and writers that end ──────────────────────────────────────────────────────────────────────────────
@planted("no fence", "A7 C6 Broken", silence=1)
class NoFence(Protocol):
    """A transaction does not look whether its writer was closed."""

    def may_commit(self, writer: Writer) -> bool:
        return True


@planted("a ttl that frees headroom", "A6 A9", silence=1)
class TtlFrees(Protocol):
    """What a silent writer leased is freed by time alone, without closing it."""

    def closed(self, state: State, place: int, writer: Writer) -> State:
        if writer.process is None:
            return super().closed(state, place, writer)
        return super().closed(state, place, writer)._replace(writers=state.writers)


@planted("unbilled not counted", "A3", crash=1)
class UnbilledForgotten(Protocol):
    """Closing a writer gives its spare back as if nothing could have been worked for it."""

    def closed(self, state: State, place: int, writer: Writer) -> State:
        closed = super().closed(state, place, writer)
        return closed._replace(rows=tuple(replace(row, unbilled=0) for row in closed.rows))


@planted("use not folded", "C1", crash=1)
class UseForgotten(Protocol):
    """Closing a writer gives back all of its leases, also what was used of them."""

    def closed(self, state: State, place: int, writer: Writer) -> State:
        unused = tuple(Lease(lease.share, 0) for lease in writer.leases)
        return super().closed(state, place, writer._replace(leases=unused))


@planted("an id used again", "A6", crash=1)
class IdUsedAgain(Protocol):
    """A new process goes on as the dead writer it finds, leases and all."""

    def registered(self, state: State) -> State:
        for place, writer in enumerate(state.writers):
            if writer.process is None:
                return with_writer(state, place, writer._replace(process=Process(self.none)))
        return super().registered(state)


@planted("settled as somebody new", "A8 Broken", silence=1)
class SettledAnew(Protocol):
    """A fenced process registers anew and settles what it still has, on leases it no longer owns."""

    def ends(self, state: State, place: int, writer: Writer) -> Iterator[Step]:
        for step in super().ends(state, place, writer):
            if step.kind == "fenced" and writer.process is not None:
                anew = Writer(True, self.none, Process(self.none, writer.process.requests))
                step = step._replace(state=with_writer(state, place, anew))
            yield step


@planted("the dead are not closed", "L1", crash=1)
class DeadNotClosed(Protocol):
    """Nobody looks for writers whose process is gone."""

    def close_dead(self, state: State, place: int, writer: Writer) -> Iterator[Step]:
        return iter(())


# ── outcomes that are not known ──────────────────────────────────────────────────────────────────────────────────
class Guessing(Protocol):
    """A transaction whose reply is lost is taken for one that never was."""

    kind: type[Work] = Grant

    def transactions(self, state: State, place: int, writer: Writer, process: Process) -> Iterator[Step]:
        yield from super().transactions(state, place, writer, process)
        flight = process.flight
        if flight is not None and isinstance(flight.work, self.kind):
            requests = tuple(r._replace(stage=DONE) if r.stage == SETTLING else r for r in process.requests)
            guessed = writer._replace(process=Process(process.leases, tuple(sorted(requests))))
            yield Step("guess", place, "takes it for not committed", with_writer(state, place, guessed))


@planted("a lost grant forgotten", "A6", slow=1)
class GrantForgotten(Guessing):
    """A grant whose reply is lost is taken for one that was refused."""


@planted("a lost return forgotten", "A6 A8", slow=1)
class ReturnForgotten(Guessing):
    """A return whose reply is lost is taken back into memory."""

    kind = Return


@planted("no dedupe", "A4 A6 Broken", slow=1)
class NoDedupe(Guessing):
    """A settlement whose reply is lost is sent again, and no unique id keeps it from being billed twice."""

    kind = Settle


@planted("acknowledged before the commit", "C1", slow=1)
class AcknowledgedEarly(Protocol):
    """The last byte of an answer leaves when its settlement is sent."""

    def transactions(self, state: State, place: int, writer: Writer, process: Process) -> Iterator[Step]:
        for step in super().transactions(state, place, writer, process):
            sent = step.state.writers[place].process
            if step.kind == "send" and sent is not None and sent.flight is not None:
                told = step.state.acknowledged + settled_by(sent.flight.work)
                step = step._replace(state=step.state._replace(acknowledged=told))
            yield step


@planted("returned while still in hand", "A8", slow=1)
class ReturnedInHand(Protocol):
    """What is given back is taken out of memory only when the store has answered."""

    def fits(self, process: Process, month: int) -> bool:
        flight = process.flight
        if flight is not None and isinstance(flight.work, Return):
            process = process._replace(flight=None)
        return super().fits(process, month)


# ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────────
@planted("works past its hold", "A5 A3")
class PastItsHold(Protocol):
    """A stream is not cut where its hold ends."""

    def most_work(self, request: Request) -> int:
        return request.held + 1


@planted("billed past its hold", "A4 A5 Broken")
class BilledPast(Protocol):
    """A request is settled for one more than its upstream worked."""

    def commit(self, rows: Rows, leases: Leases, work: Work) -> Done | None:
        if isinstance(work, Settle):
            work = Settle(tuple(request._replace(work=request.work + 1) for request in work.requests))
        return super().commit(rows, leases, work)


@planted("billed on the new month", "A4 A6 Broken", roll=1)
class BilledOnNewMonth(Protocol):
    """A request that began before the month's turn is settled on the rows of the month after."""

    month = 0

    def transactions(self, state: State, place: int, writer: Writer, process: Process) -> Iterator[Step]:
        self.month = state.month
        yield from super().transactions(state, place, writer, process)

    def billed(self, request: Request) -> tuple[int, ...]:
        return self.path(self.month)


# ── what happens to the account ──────────────────────────────────────────────────────────────────────────────────
@planted("late usage without over", "A1", late=1)
class LateWithoutOver(Protocol):
    """Usage after the fact does not write down what goes beyond the amount."""

    def used_after(self, state: State) -> State:
        used = super().used_after(state)
        return used._replace(rows=tuple(replace(row, over=0) for row in used.rows))


@planted("a lower amount without over", "A1", lower=1)
class LowerWithoutOver(Protocol):
    """An amount falls below what is taken, and nothing says so."""

    def change(self, row: Headroom, amount: int, enforced: bool) -> Headroom:
        return replace(row, amount=amount, enforced=enforced)


@planted("a lower amount recalls by force", "A9 A6", lower=1)
class RecallByForce(Protocol):
    """An amount that falls takes leased headroom away from those who have it."""

    def change(self, row: Headroom, amount: int, enforced: bool) -> Headroom:
        return core.change(replace(row, taken=min(row.taken, amount)), amount, enforced)


@planted("leased credit lapses", "A1", lapse=1)
class LeasedLapses(Protocol):
    """Credit expires whether or not something has taken it."""

    def lapse(self, row: Headroom) -> Headroom:
        return replace(row, amount=row.amount - 1)
