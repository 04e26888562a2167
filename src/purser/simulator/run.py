"""One run: eight processes, their clients and whatever goes wrong, from a plan to its end or the first violation."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass

from purser.core.period import SECOND, month_of
from purser.core.usage import INPUT, OUTPUT
from purser.simulator.acknowledgements import Acknowledgements
from purser.simulator.client import Call
from purser.simulator.disk import AFTER, BEFORE, UNSURE, Disk
from purser.simulator.orders import carry_out
from purser.simulator.plan import ASK, PROCESSES, Plan
from purser.simulator.process import Process
from purser.simulator.timeline import Timeline
from purser.simulator.watch import BACK_AFTER, Watch
from purser.store import prices, transaction
from purser.store.holds import get_hold

QUIET_STEP = 8 * SECOND  # while nobody is served and nothing else happens, timers go off late, by so much at most,
QUIET_FROM = SECOND // 2  # but in time again so long before anything happens
_HOSTS = 3
_FATE_WAITS = SECOND // 2  # for a commit with settlements in it
_LAST_SECONDS = 4 * SECOND
_UNTIL_OVER = 40 * SECOND
_STOPPING = 30 * SECOND
_FATES = {
    BEFORE: "a process died before its commit",
    AFTER: "a process died between its commit and the reply",
    UNSURE: "the reply to a commit was lost",
}


@dataclass(frozen=True, slots=True)
class Violation:
    """An invariant that does not hold, and when that was seen."""

    invariant: str
    message: str
    at: int

    def __str__(self) -> str:
        return f"{self.invariant}: {self.message}"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a run."""

    seed: int
    violations: tuple[Violation, ...]
    situations: Counter[str]
    history: tuple[str, ...]
    simulated: int
    counts: Counter[str]


class _Found(Exception):
    """A violation was seen, or the last step that was asked for is done: the run ends here."""


class Run:
    """The world of one run; `play` lets it happen."""

    def __init__(self, disk: Disk, plan: Plan, *, steps: int | None = None) -> None:
        self.disk, self.plan, self.seed, self._steps = disk, plan, plan.seed, steps
        self.timeline = Timeline()
        self.situations: Counter[str] = Counter()
        self.violations: list[Violation] = []
        self.history: list[str] = []
        self.calls: dict[int, Call] = {}
        self.names: dict[tuple[str, str], Call] = {}
        self.current: Process | None = None
        self.over = False  # nobody asks any more
        self.asleep = False  # processes that end stay away
        self.nobody = 0  # microseconds with no process there
        self._died: dict[str, tuple[Process, int]] = {}  # owners of leases, dead and not yet closed
        self._books: dict[tuple[int, str], tuple[int, int]] = {}
        self._in_force: list[tuple[int, int]] = []
        self.processes = [Process(self, f"g{n + 1}", f"host{n % _HOSTS + 1}", n) for n in range(PROCESSES)]

    # ── what everybody may ask and say ───────────────────────────────────────────────────────────────────────────
    def wall(self) -> int:
        """What a right clock says, microseconds UTC."""
        return self.plan.begins_at + self.timeline.now

    def month(self) -> str:
        """The month by a right clock."""
        return month_of(self.wall())

    def month_turned_since(self, at: int) -> bool:
        """Whether a month has ended since an instant of the run."""
        return month_of(self.plan.begins_at + at) != self.month()

    def tell(self, text: str) -> None:
        """Add a line to the history."""
        self.history.append(f"{self.timeline.now / SECOND:11.6f}  {text}")

    def situation(self, name: str) -> None:
        """Something happened that is worth counting."""
        self.situations[name] += 1

    def blame(self, invariant: str, message: str) -> None:
        """An invariant does not hold."""
        self.violations.append(Violation(invariant, message, self.timeline.now))
        self.tell(f"VIOLATION {invariant}: {message}")

    def rates(self, version: int, model: str) -> tuple[int, int]:
        """Nano-dollars per million tokens of input and of output."""
        if (version, model) not in self._books:
            self.read_prices()
        return self._books[version, model]

    def version(self) -> int:
        """The price version in force by a right clock."""
        return max((version for at, version in self._in_force if at <= self.wall()), default=0)

    def read_prices(self) -> None:
        """The price book has grown."""
        self._in_force.clear()
        with self.disk.db.read() as conn:
            books = prices.list_books(conn)
        for book in books:
            self._in_force.append((book.effective_at, book.version))
            for model, rates in book.models.items():
                self._books[book.version, model] = (rates[INPUT].nanos, rates[OUTPUT].nanos)

    # ── what processes report ────────────────────────────────────────────────────────────────────────────────────
    def started(self, process: Process) -> None:
        """A process serves."""
        self.situation("a process started" if process.starts == 1 else "a process started again")

    def died(self, process: Process, why: str) -> None:
        """A process ends without a word."""
        self.tell(f"{process.name} {why}")
        self.situation("a process died")
        if process.lines:
            self.situation("a process died with requests running")
        if process.registered:
            for account in sorted(process.gateway.cashier.lessee._shares):
                for key in list(process.gateway.cashier.lessee._shares[account]):
                    self.watch.check_cover(process, key)
            if process.writer.open and process.writer.id in self.watch.writers:
                self._died[process.writer.owner] = (process, self.timeline.now)
                self.timeline.after(BACK_AFTER, lambda owner=process.writer.owner: self._check_back(owner))  # type: ignore[misc]

    def ended(self, process: Process) -> None:
        """A process is gone; its supervisor starts it again."""
        if not self.over and not self.asleep:
            self.timeline.after(process.down or SECOND // 2, lambda: self._restart(process))

    def _restart(self, process: Process) -> None:
        if not self.asleep:
            process.start()

    def closed(self, owners: set[str], by: Process | None) -> None:
        """Writers were closed."""
        for owner in sorted(owners):
            self.tell(f"  {owner} is closed")
            if self._died.pop(owner, None) is not None:
                self.situation("a dead writer was closed")

    def _check_back(self, owner: str) -> None:
        if owner not in self._died:
            return
        since = self._died[owner][1]
        in_contact = [one for one in self.processes if one.alive and one.contact_since <= since]
        if in_contact:
            self.blame("L1", f"the headroom of {owner} is not back {BACK_AFTER // SECOND} s after its process died")

    # ── commits ──────────────────────────────────────────────────────────────────────────────────────────────────
    def _on_commit(self, changes: int) -> str | None:
        process = self.current
        if process is None or process.fate is None:
            return None
        if not process.queue.settling and self.timeline.now - process.fated_at < _FATE_WAITS:
            return None
        fate, process.fate, process.doomed = process.fate, None, True
        with_settlements = " with settlements in it" if process.queue.settling else ""
        self.tell(f"{process.name}: {_FATES.get(fate, 'a commit failed')}{with_settlements}")
        self.situation(_FATES.get(fate, "a commit failed") + with_settlements)
        return fate

    def _after_commit(self, changes: int) -> None:
        self.watch.committed(self.current, changes)

    # ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────
    def play(self) -> Outcome:
        """Let it happen: to the end, or to the first violation."""
        quiet = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        transaction.forget_moments()  # every run's processes are new ones
        self.disk.begin()
        self.disk.on_commit, self.disk.after_commit = self._on_commit, self._after_commit
        self.watch, self.acknowledgements = Watch(self), Acknowledgements(self)
        self.read_prices()
        try:
            self._play()
        except _Found:
            pass
        finally:
            self.disk.on_commit, self.disk.after_commit = (lambda changes: None), (lambda changes: None)
            self._bury()
            logging.disable(quiet)
        return self._outcome()

    def _play(self) -> None:
        for process in self.processes:
            process.start()
        for item in self.plan.items:
            self._until(item.at)
            if item.kind == ASK:
                keys = self.disk.keys[item.account]
                secret = keys.budgeted if item.values.get("budgeted") else keys.plain
                call = self.calls[item.number] = Call(self, item, secret)
                call.begin()
            else:
                carry_out(self, item)
        self._until(self.timeline.now + _UNTIL_OVER, idle=True)
        self._until(max([self.timeline.now, *(process.stalled_until for process in self.processes)]))
        self.over = True
        for process in self.processes:
            process.start()
            process.fate = None
        self._until(self.timeline.now + _LAST_SECONDS)
        for process in self.processes:
            process.stop()
        self._until(self.timeline.now + _STOPPING, idle=True)
        self._check_end()

    def _until(self, at: int, *, idle: bool = False) -> None:
        """Let things happen until an instant, or (idle) until nothing is under way."""
        timeline = self.timeline
        while not self.violations:
            if not timeline.ready and not self._is_serving():
                if idle and not timeline.busy and not self.watch.open_holds:
                    return
                self._skip_quiet(at)
            next_at = timeline.next_at()
            if next_at is None or max(next_at, timeline.now) > at:
                timeline.skip(at)
                return
            if timeline.steps == self._steps:
                raise _Found
            timeline.step()
        raise _Found

    def _skip_quiet(self, at: int) -> None:
        """Nobody is served: until the next thing happens that is no timer, timers go off late."""
        planned_at = self.timeline.planned_at()
        until = (at if planned_at is None else min(at, planned_at)) - QUIET_FROM
        since = self.timeline.now
        if until > since:
            there = any(not process.dead for process in self.processes)
            self.timeline.skip(min(until, self.timeline.now + QUIET_STEP) if there else until)
            if not there:
                self.nobody += self.timeline.now - since

    def _is_serving(self) -> bool:
        return any(process.lines for process in self.processes)

    def _check_end(self) -> None:
        for process in self.processes:
            if not process.dead:
                self.blame("L1", f"{process.name} does not stop")
        # A hold that was placed by a clock that was ahead lasts by that clock.
        left = {owner for leases in self.watch.leases.values() for owner in leases if not self._lasts(owner)}
        if left:
            self.blame("C6", f"every process has ended, and leases of {sorted(left)} are left: {self.watch.leases}")
        self.watch.check_everything()
        self.acknowledgements.check_all()

    def _lasts(self, owner: str) -> bool:
        placed = get_hold(self.watch.conn, owner)
        return placed is not None and placed.expires_at > self.wall()

    def _bury(self) -> None:
        for process in self.processes:
            if not process.dead:
                process.dead, process.alive = True, False
                process._clear_up()
        for process in self.processes:
            for loop in process.loops:
                loop.bury()
        self.watch.close()

    def _outcome(self) -> Outcome:
        watch = self.watch
        counts = Counter(
            {
                "commits": watch.commits,
                "commits that moved": watch.moved,
                "full checks": watch.full_checks,
                "steps": self.timeline.steps,
                "requests": len(self.calls),
                "acknowledged": len(self.acknowledgements.told),
                "usage events": watch.money.events,
                "usage after the fact": watch.money.late,
                "billed nanos": watch.money.billed,
                "microseconds served": self.timeline.now - self.nobody,
                "process starts": sum(process.starts for process in self.processes),
            }
        )
        return Outcome(
            self.seed,
            tuple(self.violations),
            self.situations,
            tuple(self.history),
            self.timeline.now,
            counts,
        )
