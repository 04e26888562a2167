"""The lease protocol: every step that can come next in a state (correctness §2).

What happens to headroom rows and leases is done by purser.core.lease, the very functions that the store's transactions
call. Around them is here what the store and the processes do: memory, death and silence, the fence, and transactions
whose answer is late. A transaction is one step, or as often as the bounds allow three: it is sent, it is committed or
refused, its outcome is learned; anything may happen in between. A reply, and a look at the own row after the reply was
lost, tell the same, so the third step stands for both.

The methods are what the planted faults replace.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache
from typing import TypeVar

from purser.core import lease as core
from purser.core.lease import Asked, Headroom, Lease
from tests.model.state import (
    CREDIT,
    DONE,
    KEY,
    KINDS,
    ROWS,
    RUNNING,
    SETTLING,
    Bounds,
    Flight,
    Grant,
    Leases,
    Process,
    Request,
    Return,
    Rows,
    Settle,
    State,
    Step,
    Work,
    Writer,
    distinct,
    settled_by,
    with_row,
    with_writer,
)

T = TypeVar("T")
Done = tuple[Rows, Leases, tuple[int, ...]]  # rows and leases after a commit, and what a grant gave

grant_path, settle, give_back, close = (
    cache(core.grant_path),
    cache(core.settle),
    cache(core.give_back),
    cache(core.close),
)


class Protocol:
    """The protocol as it is meant to be."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self.none: Leases = (Lease(),) * (3 if bounds.key is None else 4)

    def start(self) -> State:
        """The state in which everything begins."""
        bounds = self.bounds
        amounts = [bounds.credit, bounds.limit, bounds.limit, *([] if bounds.key is None else [bounds.key])]
        rows = tuple(Headroom(amount, True) for amount in amounts)
        writer = Writer(True, self.none, Process(self.none))
        return State(0, rows, (writer,) * bounds.processes, (0,) * len(rows), bounds.left)

    def path(self, month: int) -> tuple[int, ...]:
        """The rows that a request of a month is held on."""
        return (CREDIT, 1 + month) if self.bounds.key is None else (CREDIT, 1 + month, KEY)

    def steps(self, state: State) -> Iterator[Step]:
        """Every step that can come next."""
        for place, writer in enumerate(state.writers):
            if writer.process is None:
                yield from self.close_dead(state, place, writer)
            else:
                yield from self.transactions(state, place, writer, writer.process)
                yield from self.memory(state, place, writer, writer.process)
                yield from self.ends(state, place, writer)
        yield from self.outside(state)

    # ── what a commit does in the store, all of it or nothing ────────────────────────────────────────────────────
    def commit(self, rows: Rows, leases: Leases, work: Work) -> Done | None:
        """Rows and leases after a transaction; None where a grant falls short."""
        if isinstance(work, Grant):
            return self.grant(rows, leases, work)
        if isinstance(work, Return):
            returned, lease = give_back(rows[work.row], leases[work.row], work.amount)
            return _put(rows, work.row, returned), _put(leases, work.row, lease), ()
        for request in work.requests:
            for row in self.billed(request):
                leases = _put(leases, row, settle(leases[row], request.work))
        return rows, leases, ()

    def grant(self, rows: Rows, leases: Leases, work: Grant) -> Done | None:
        """Headroom on every row or on none."""
        granted, short = grant_path(tuple(Asked(rows[n], leases[n], work.least, work.most) for n in work.rows))
        if short is not None:
            return None
        for n, made in zip(work.rows, granted, strict=True):
            rows, leases = _put(rows, n, made.row), _put(leases, n, made.lease)
        return rows, leases, tuple(made.given or 0 for made in granted)

    def billed(self, request: Request) -> tuple[int, ...]:
        """The rows that a request is settled on."""
        return self.path(request.month)

    def may_commit(self, writer: Writer) -> bool:
        """The fence, with which every transaction begins."""
        return writer.open

    # ── what a process does with the store ───────────────────────────────────────────────────────────────────────
    def transactions(self, state: State, place: int, writer: Writer, process: Process) -> Iterator[Step]:
        """Transactions begun, committed and learned of."""
        if process.flight is None:
            for work in self.wants(state, process):
                yield from self.try_commit(state, place, writer, process, work)
                left = state.left.less("slow")
                if left is not None:
                    sent = writer._replace(process=self.send(process, work))
                    words = f"sends {_told(work)}"
                    yield Step("send", place, words, with_writer(state, place, sent)._replace(left=left))
        elif process.flight.committed:
            learned = writer._replace(process=self.learn(process, process.flight))
            after = self.told(state, place, learned, process.flight.work)
            yield Step("learn", place, "learns that it is committed", after)
        else:
            yield from self.try_commit(state, place, writer, process, process.flight.work)

    def wants(self, state: State, process: Process) -> Iterator[Work]:
        """What a process may ask of the store: more headroom, to return all spare of a row, to settle what is done."""
        for month in {state.month, *(request.month for request in process.requests if request.stage == RUNNING)}:
            lacking = tuple(row for row in self.path(month) if self.spare(process, row) < 1)
            if lacking:
                yield Grant(lacking, 1, self.bounds.most)
        for row in range(len(state.rows)):
            spare = self.spare(process, row)
            if spare > 0:
                yield Return(row, spare)
        done = tuple(request for request in process.requests if request.stage == DONE)
        if done:
            yield Settle(done)

    def send(self, process: Process, work: Work) -> Process:
        """A transaction is under way; what it returns is out of memory first, what it settles stays held."""
        requests = process.requests
        if isinstance(work, Settle):
            requests = _sorted(r._replace(stage=SETTLING) if r in work.requests else r for r in requests)
        return process._replace(requests=requests, flight=Flight(work))

    def try_commit(self, state: State, place: int, writer: Writer, process: Process, work: Work) -> Iterator[Step]:
        """The store commits a transaction, where the fence lets it and a grant does not fall short."""
        if not self.may_commit(writer):
            return
        done = self.commit(state.rows, writer.leases, work)
        if done is None:
            if process.flight is not None:
                refused = writer._replace(process=process._replace(flight=None))
                yield Step("refuse", place, "is refused", with_writer(state, place, refused))
            return
        rows, leases, given = done
        state = state._replace(rows=rows)
        if process.flight is None:
            learned = Writer(writer.open, leases, self.learn(process, Flight(work, True, given)))
            yield Step(KINDS[type(work)], place, _told(work), self.told(state, place, learned, work))
        else:
            flying = Writer(writer.open, leases, process._replace(flight=Flight(work, True, given)))
            yield Step(KINDS[type(work)], place, f"{_told(work)} is committed", with_writer(state, place, flying))

    def told(self, state: State, place: int, writer: Writer, work: Work) -> State:
        """A process has learned that a transaction is committed: what it settled is acknowledged."""
        acknowledged = state.acknowledged + settled_by(work)
        return with_writer(state, place, writer)._replace(acknowledged=acknowledged)

    def learn(self, process: Process, flight: Flight) -> Process:
        """What a process knows once a transaction is committed; requests that it settled are over."""
        work, leases, requests = flight.work, process.leases, process.requests
        if isinstance(work, Grant):
            for row, given in zip(work.rows, flight.given, strict=True):
                leases = _put(leases, row, Lease(leases[row].share + given, leases[row].used))
        elif isinstance(work, Return):
            leases = _put(leases, work.row, Lease(leases[work.row].share - work.amount, leases[work.row].used))
        else:
            for request in work.requests:
                for row in self.path(request.month):
                    leases = _put(leases, row, Lease(leases[row].share, leases[row].used + request.work))
            gone = SETTLING if process.flight is not None else DONE
            requests = tuple(request for request in requests if request.stage != gone)
        return Process(leases, requests)

    # ── what a process does in memory ────────────────────────────────────────────────────────────────────────────
    def spare(self, process: Process, row: int) -> int:
        """What of a lease can be held: neither used, nor held, nor on its way back."""
        held = sum(request.held for request in process.requests if row in self.path(request.month))
        work = process.flight.work if process.flight is not None else None
        returning = work.amount if isinstance(work, Return) and work.row == row else 0
        return process.leases[row].spare - held - returning

    def fits(self, process: Process, month: int) -> bool:
        """Whether one more can be held, on every row of the path."""
        return all(self.spare(process, row) >= 1 for row in self.path(month))

    def memory(self, state: State, place: int, writer: Writer, process: Process) -> Iterator[Step]:
        """Requests begin, work within what they hold, ask for the next slice, and end."""

        def with_request(request: Request | None, others: tuple[Request, ...]) -> State:
            requests = others if request is None else _sorted((*others, request))
            return with_writer(state, place, writer._replace(process=process._replace(requests=requests)))

        left = state.left.less("request")
        if left is not None and self.fits(process, state.month):
            begun = with_request(Request(state.month, 1, 0, RUNNING), process.requests)
            yield Step("hold", place, "holds 1 for a request", begun._replace(left=left))
        for request, others in distinct(process.requests, RUNNING):
            if request.work < self.most_work(request):
                usage = list(state.usage)
                for row in self.path(request.month):
                    usage[row] += 1
                worked = with_request(request._replace(work=request.work + 1), others)
                yield Step("work", place, "upstream works 1", worked._replace(usage=tuple(usage)))
            if request.held < self.bounds.slices and self.fits(process, request.month):
                sliced = with_request(request._replace(held=request.held + 1), others)
                yield Step("slice", place, "holds the next slice", sliced)
            ended = request._replace(stage=DONE) if request.work else None
            yield Step("finish", place, f"a request ends after {request.work}", with_request(ended, others))

    def most_work(self, request: Request) -> int:
        """How far upstream may go."""
        return request.held

    # ── how writers end ──────────────────────────────────────────────────────────────────────────────────────────
    def ends(self, state: State, place: int, writer: Writer) -> Iterator[Step]:
        """A live process is killed, is closed by others who do not hear of it, or hears that it was closed."""
        left = state.left.less("crash")
        if left is not None:
            yield Step("crash", place, "is killed", with_writer(state, place, self.killed(writer))._replace(left=left))
        left = state.left.less("silence")
        if left is not None and writer.open:
            closed = self.closed(state, place, writer)
            yield Step("silence", place, "is silent and closed, yet alive", closed._replace(left=left))
        if not writer.open:
            dropped = with_writer(state, place, writer._replace(process=None))
            yield Step("fenced", place, "hears that it is closed, and drops everything", dropped)

    def killed(self, writer: Writer) -> Writer:
        """What is left of a writer whose process was killed."""
        return writer._replace(process=None)

    def close_dead(self, state: State, place: int, writer: Writer) -> Iterator[Step]:
        """Another process finds that one is dead, and closes its writer."""
        yield Step("close", place, "is found dead and closed", self.closed(state, place, writer))

    def closed(self, state: State, place: int, writer: Writer) -> State:
        """After the fence: what was used is folded into the rows, the spare comes back and counts as unbilled."""
        rows = tuple(close(row, lease) for row, lease in zip(state.rows, writer.leases, strict=True))
        return with_writer(state, place, Writer(False, self.none, writer.process), rows)

    # ── what happens to the account ──────────────────────────────────────────────────────────────────────────────
    def outside(self, state: State) -> Iterator[Step]:
        """New processes, the month's turn, usage after the fact, and changes of credit and limit."""
        if sum(writer.process is not None for writer in state.writers) < self.bounds.processes:
            yield Step("register", None, "a new process registers", self.registered(state))
        for name in ("roll", "late", "lower", "more", "limit", "card", "lapse"):
            left = state.left.less(name)
            after = None if left is None else self.happened(state, name)
            if left is not None and after is not None:
                yield Step(name, None, _WORDS[name], after._replace(left=left))

    def registered(self, state: State) -> State:
        """A new process as a writer that was not there before."""
        return state._replace(writers=(*state.writers, Writer(True, self.none, Process(self.none))))

    def happened(self, state: State, name: str) -> State | None:
        """The state after something from outside; None where it cannot happen now."""
        credit = state.rows[CREDIT]
        if name == "roll":
            return state._replace(month=1) if state.month == 0 else None
        if name == "late":
            return self.used_after(state)
        if name in ("lower", "more"):
            amount = credit.amount + (1 if name == "more" else -1)
            return None if amount < 0 else with_row(state, CREDIT, self.change(credit, amount, credit.enforced))
        if name == "limit":
            row = state.rows[1 + state.month]
            return with_row(state, 1 + state.month, self.change(row, 0, row.enforced))
        if name == "card":
            return with_row(state, CREDIT, self.change(credit, credit.amount, not credit.enforced))
        return with_row(state, CREDIT, self.lapse(credit))

    def used_after(self, state: State) -> State:
        """Usage of 1 reported after the fact."""
        path = self.path(state.month)
        for row in path:
            state = with_row(state, row, core.use_after(state.rows[row], 1))
        usage = tuple(used + (row in path) for row, used in enumerate(state.usage))
        return state._replace(usage=usage, acknowledged=state.acknowledged + 1)

    def change(self, row: Headroom, amount: int, enforced: bool) -> Headroom:
        """A new amount, or enforcement changed."""
        return core.change(row, amount, enforced)

    def lapse(self, row: Headroom) -> Headroom:
        """Credit of 1 expires, as far as nothing has taken it."""
        return core.lapse(row, 1)[0]


_WORDS = {
    "roll": "the month turns",
    "late": "usage of 1 is reported after the fact",
    "lower": "credit falls by 1 (refund, dispute)",
    "more": "credit rises by 1 (top-up)",
    "limit": "the month's limit is set to 0",
    "card": "a card comes or goes: credit is enforced or not",
    "lapse": "credit of 1 expires",
}


def _told(work: Work) -> str:
    if isinstance(work, Grant):
        return f"a grant on {' and '.join(ROWS[row] for row in work.rows)}"
    if isinstance(work, Return):
        return f"a return of {work.amount} to {ROWS[work.row]}"
    return f"a settlement of {', '.join(str(request.work) for request in work.requests)}"


def _put(items: tuple[T, ...], place: int, item: T) -> tuple[T, ...]:
    return (*items[:place], item, *items[place + 1 :])


def _sorted(requests: Iterable[Request]) -> tuple[Request, ...]:
    return tuple(sorted(requests))
