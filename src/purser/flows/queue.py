"""The write queue: one thread runs a process's transactions in order and commits many settlements at once."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, TypeVar

from purser.core.errors import Broken, Unavailable
from purser.flows import audit_log, requests
from purser.flows.requests import Need, Taken
from purser.store import usage
from purser.store.usage import Event
from purser.store.writers import Fenced, OutOfReach, Tx, Writer

T = TypeVar("T")
log = logging.getLogger("purser.queue")
Done = Callable[[Any, BaseException | None], None]
MOST_AT_ONCE = 512


@dataclass(slots=True)
class _Settle:
    """Settlements that came together; `new` says of each whether it was, None as long as it is not written."""

    events: Sequence[Event]
    done: Done | None
    new: list[bool | None]


@dataclass(slots=True)
class _Take:
    needs: Sequence[Need]
    done: Done | None


@dataclass(slots=True)
class _Share:
    order: tuple[str, ...]
    work: Callable[[Tx], Any]
    done: Done | None


@dataclass(slots=True)
class _Work:
    work: Callable[[Tx], Any]
    done: Done | None


class _Renew:
    """The leases of a writer that was closed are dropped: register anew."""


_Together = _Settle | _Take | _Share
_Asked = _Together | _Work
_Job = _Asked | _Renew | None
_CLOSED = "this process lost what it had set aside and is setting up anew; nothing was done, try again in a moment"
_PATIENCE_SECONDS = 30.0  # of a caller whose flow has not begun


class WriteQueue:
    """Runs transactions on its own thread; `done(result, error)` is called on that thread after the commit.

    A settlement that cannot be written ends the queue (Broken): `on_fatal` is told, nothing is acknowledged. Where
    another process closed the writer, everything that waits is refused, `on_fenced` is told, and whoever uses the
    writer's leases drops them and calls `renew`; then the queue goes on with a new writer. With nobody there to be
    told that is fatal, too.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        on_touched: Callable[[set[str]], None] = lambda _: None,
        on_fatal: Callable[[BaseException], None] = lambda _: None,
    ) -> None:
        self.writer = writer
        self.on_fenced: Callable[[], None] | None = None
        self._on_touched, self._on_fatal = on_touched, on_fatal
        self._jobs: SimpleQueue[_Job] = SimpleQueue()
        self._refusal: Exception | None = None  # why no job is taken, where none is
        self._door = threading.Lock()  # so that no job slips in behind the last one that is done
        self._start()

    def _start(self) -> None:
        """Have a thread run what waits; the simulator's queue is driven by simulated time instead."""
        self._thread = threading.Thread(target=self._run, name="purser-writer", daemon=True)
        self._thread.start()

    def settle(self, event: Event, done: Done) -> None:
        """Settle one request; shares its commit with whatever else is waiting.

        Answers whether it was new: a request with a known id is not billed again (C2).
        """
        self.settle_all([event], lambda new, error: done(new[0], None if new[0] is not None else error))

    def settle_all(self, events: Sequence[Event], done: Done) -> None:
        """Settle several requests, as `settle` does each.

        Answers whether each was new, beside an error too: None for those that are not written then.
        """
        self._put(_Settle(events, done, [None] * len(events)))

    def take(self, needs: Sequence[Need], done: Done) -> None:
        """Take headroom; answers a Taken."""
        self._put(_Take(needs, done))

    def share(self, order: tuple[str, ...], work: Callable[[Tx], Any], done: Done) -> None:
        """Run a small flow that may share its commit with whatever else is waiting.

        What waits is run in `order`, behind what is settled and taken, so that the rows of different processes' small
        flows are locked in one order.
        """
        self._put(_Share(order, work, done))

    def submit(self, work: Callable[[Tx], Any], done: Done) -> None:
        """Run any flow in a transaction of its own."""
        self._put(_Work(work, done))

    def run(self, work: Callable[[Tx], T]) -> T:
        """Run a flow and wait for it; its exceptions are raised here. Never call this from the event loop.

        What it changes is told in the audit log where the caller acts on somebody's behalf.

        Raises Unavailable where the database keeps it from beginning for too long; nothing is done then.
        """
        future: Future[T] = Future()
        act = audit_log.current()

        def begin(tx: Tx) -> T:
            if not (future.running() or future.set_running_or_notify_cancel()):
                raise Unavailable("nobody waits for this any more")
            return audit_log.told(act, work)(tx)

        def done(result: Any, error: BaseException | None) -> None:
            if future.cancelled():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        self.submit(begin, done)
        try:
            return future.result(_PATIENCE_SECONDS)
        except TimeoutError:
            if future.cancel():
                raise Unavailable("the database cannot be reached just now; nothing was done") from None
            return future.result()  # it has begun: its outcome is to be known

    def backlog(self) -> int:
        """How many transactions are waiting."""
        return self._jobs.qsize()

    def stop(self) -> None:
        """Finish what is waiting and end the thread; the writer itself stays open."""
        self.writer.stop_waiting()
        self._jobs.put(None)
        self._thread.join()

    def give_up(self, error: BaseException) -> None:
        """Somebody found the books or what is in memory broken: the process must stop."""
        self._on_fatal(error)

    def renew(self) -> None:
        """After `on_fenced`: what was set aside is dropped, so register anew and take jobs again."""
        self._jobs.put(_Renew())

    def _put(self, job: _Asked) -> None:
        with self._door:
            refusal = self._refusal
            if refusal is None:
                self._jobs.put(job)
        if refusal is not None:
            _tell(job, None, refusal)

    def _run(self) -> None:
        while self.run_waiting():
            continue

    def run_waiting(self) -> bool:
        """Wait for a job, run it and what waits behind it; answers False once no more will be taken."""
        jobs: list[_Job] = [self._jobs.get()]
        size = 0
        while size < MOST_AT_ONCE and not self._jobs.empty():
            job = self._jobs.get()
            jobs.append(job)
            size += len(job.events) if isinstance(job, _Settle) else 1
        try:
            self._run_all(jobs)
        except OutOfReach as error:
            self._refuse(jobs, error)
            return False
        except Exception as error:  # Broken, or what nobody foresaw: nothing may be written any more
            self._on_fatal(error)
            self._refuse(jobs, error)
            return False
        if None in jobs:
            self._refuse([], Broken("the writer has stopped"))
        return None not in jobs

    def _run_all(self, jobs: Sequence[_Job]) -> None:
        if any(isinstance(job, _Renew) for job in jobs):
            self.writer.register()
            with self._door:
                self._refusal = None
        try:
            self._run_together([job for job in jobs if isinstance(job, _Together)])
            for job in jobs:
                if isinstance(job, _Work):
                    self._run_alone(job)
        except Fenced as fenced:
            if self.on_fenced is None:
                raise
            log.error("%s while its process lives; what it had set aside is void", fenced)
            self._refuse(jobs, Unavailable(_CLOSED))
            self.on_fenced()

    def _run_together(self, jobs: Sequence[_Together]) -> None:
        if not jobs:
            return
        settles = [job for job in jobs if isinstance(job, _Settle)]
        events = [event for job in settles for event in job.events]
        takes = [job for job in jobs if isinstance(job, _Take)]
        shares = sorted((job for job in jobs if isinstance(job, _Share)), key=lambda job: job.order)

        def work(tx: Tx) -> tuple[list[Taken], list[Any]]:
            taken = requests.settle_and_take(tx, events, [job.needs for job in takes])
            return taken, [job.work(tx) for job in shares]

        try:
            (taken, shared), touched = self.writer.run_touching(work)
        except (Broken, Fenced, OutOfReach):
            raise
        except Exception as error:
            self._run_apart(jobs, error)
            return
        self._hear(touched)
        for settled in settles:
            settled.new = [True] * len(settled.events)
            _tell(settled, None, None)
        for take, result in zip(takes, taken, strict=True):
            _tell(take, result, None)
        for share, result in zip(shares, shared, strict=True):
            _tell(share, result, None)

    def _run_apart(self, jobs: Sequence[_Together], error: Exception) -> None:
        """One of a batch failed, so nothing was written: run each alone and give the error to the one that has it."""
        if len(jobs) > 1:
            for job in jobs:
                self._run_together([job])
            return
        job = jobs[0]
        if isinstance(job, _Settle):
            for n, event in enumerate(job.events):
                job.new[n] = self._settle_alone(event)
            _tell(job, None, None)
        else:
            _tell(job, None, error)

    def _settle_alone(self, event: Event) -> bool:
        """Settle one request, in a transaction of its own; answers whether it was new."""
        try:
            _, touched = self.writer.run_touching(lambda tx: requests.settle_and_take(tx, [event], []))
        except (Broken, Fenced, OutOfReach):
            raise
        except Exception as error:
            if self.writer.run(lambda tx: _is_known(tx, event)):
                log.warning("request %s of %s was settled before; it is not billed again", event.id, event.account)
                return False
            raise Broken(f"settlement {event.id} could not be written: {error}") from error
        self._hear(touched)
        return True

    def _run_alone(self, job: _Work) -> None:
        try:
            result, touched = self.writer.run_touching(job.work)
        except (Broken, Fenced, OutOfReach):
            raise
        except Exception as error:
            _tell(job, None, error)
        else:
            self._hear(touched)
            _tell(job, result, None)

    def _hear(self, touched: set[str]) -> None:
        try:
            if touched:
                self._on_touched(touched)
        except Exception:
            log.exception("that accounts changed could not be told")

    def _refuse(self, jobs: Sequence[_Job], error: Exception) -> None:
        """Take no more jobs, and give the error to those that were not run."""
        waiting = list(jobs)
        with self._door:
            self._refusal = error
            while not self._jobs.empty():
                waiting.append(self._jobs.get())
        for job in waiting:
            if isinstance(job, _Asked):
                _tell(job, None, error)
            elif job is None and job not in jobs:
                self._jobs.put(None)  # the queue is to stop, also while it refuses


def _is_known(tx: Tx, event: Event) -> bool:
    return usage.get_known(tx.conn, event.account, event.source, event.id) is not None


def _tell(job: _Asked, result: Any, error: BaseException | None) -> None:
    """Answer whoever asked, once; that they are not there any more must not end the queue."""
    done, job.done = job.done, None
    try:
        if done is not None:
            done(job.new if isinstance(job, _Settle) else result, error)
    except Exception:
        log.exception("a transaction's end could not be told")
