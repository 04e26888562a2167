"""One run: real processes under load that are killed again and again, and an observer who adds up."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests import databases
from tests.crash import looking
from tests.crash.books import Books
from tests.crash.clients import Client
from tests.crash.deaths import Death, Deaths
from tests.crash.engine import Engine
from tests.crash.killer import Killer
from tests.crash.money import HOT, Money
from tests.crash.observer import AUDIT, BROKEN, LEFT_OVER, SLOW, UNBILLED, Findings, Observer
from tests.crash.serving import Serving, is_running
from tests.crash.told import ANSWER, Told
from tests.crash.vitals import Vitals
from tests.demo.program import environment, eventually

ANSWER_LOST = "between a commit and its answer: billed, and the client never heard"
WORK_LOST = "between work and its commit: the model server worked, nothing is billed"
_PATIENCE = 3  # times the promised return of headroom, until nobody waits for it any more
_WARM_SECONDS = 60
_CLOSED_SECONDS = 120  # many times what it takes the others to close one that stands still
_JOIN_SECONDS = 90
_STALLS, _MANY_STALLS = 3, 40
_SEEN_ALIVE = {"the_closed_go_on", "the_fence_does_not_refuse", "what_was_held_outlives_the_fence"}


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run is to be: `kills` of serving processes, or `minutes` with a kill now and then.

    `singles` processes serve by themselves and `supervised` ones as workers of one supervisor. The books are examined
    after every `round_kills`. Headroom must be back within `back_ms`. `stalls` is how often, in a hundred, a process is
    stopped instead until the others have closed it.
    """

    seed: int
    kills: int = 0
    minutes: float = 0
    singles: int = 2
    supervised: int = 2
    cold: int = 100
    clients: int = 16
    round_kills: int = 25
    pause_seconds: float = 0.5
    back_ms: int = 2000
    stalls: int = _STALLS
    fault: str | None = None

    @classmethod
    def for_fault(cls, fault: str, *, seed: int, kills: int) -> Plan:
        """A small run with a planted fault, examined after every kill; it ends when the fault is caught."""
        return cls(
            seed,
            kills,
            singles=2,
            supervised=0,
            cold=10,
            clients=10,
            round_kills=1,
            pause_seconds=0.2,
            stalls=_MANY_STALLS if fault in _SEEN_ALIVE else _STALLS,
            fault=fault,
        )

    @property
    def spared(self) -> int:
        """In a soak the first process lives from beginning to end."""
        return 1 if self.minutes else 0


@dataclass(slots=True)
class Outcome:
    """What a run counted."""

    plan: Plan
    findings: Findings
    deaths: list[Death]
    hits: Counter[str]
    ways: Counter[str]
    told: Told
    money: Money
    vitals: Vitals
    seconds: float = 0.0
    supervisors: int = 0
    gave_up: int = 0
    starts: int = 0
    examinations: int = 0
    events: int = 0
    billed: int = 0
    unbilled: int = 0
    engine_missed: int = 0
    audited: str = ""
    looks_ms: tuple[float, float] = (0, 0)
    load: tuple[float, float] = (0, 0)


class Run:
    """A run in a folder of its own, where its database and its logs are."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self._plan, self._folder = plan, folder
        self.url = databases.at(folder / "data" / "purser.db", bare=True)
        self._stack = ExitStack()
        self._chance = Random(f"{plan.seed}/run")
        self._examined = 0  # deaths that were looked into

    def play(self, progress: Callable[[int], None] = lambda done: None) -> Outcome:
        """Run it to its end, or until something is wrong."""
        with self._stack:
            outcome = self._set_up()
            began, load = time.monotonic(), os.getloadavg()[0]
            try:
                with self._load(outcome):
                    self._kill_on(outcome, progress)
                self._come_to_rest(outcome)
            finally:
                outcome.seconds = time.monotonic() - began
                outcome.load = load, os.getloadavg()[0]
                outcome.looks_ms = self._deaths.looks_ms()
            return outcome

    # ── the parts ────────────────────────────────────────────────────────────────────────────────────────────────
    def _set_up(self) -> Outcome:
        plan, enter = self._plan, self._stack.enter_context
        self._serving = serving = enter(Serving(self._folder, plan.singles, plan.supervised, plan.fault))
        told = Told()
        self._money = money = Money(plan.seed, serving, told, plan.cold)
        money.open_accounts()
        books = [enter(closing(Books(self.url))) for _ in range(4)]
        self._engine = Engine(self._folder / "data" / "purser.toml")
        self._observer = Observer(books[0], told, money, self._engine)
        self._deaths = Deaths(books[1], is_running)
        self._killer = Killer(
            plan.seed,
            serving,
            books[2],
            told,
            self._deaths,
            spared=plan.spared,
            stalls=plan.stalls,
            at_boundary=money.is_at_boundary,
        )
        vitals = Vitals(books[3], serving.all_pids)
        return Outcome(plan, Findings(), self._deaths.all, Counter(), self._killer.ways, told, money, vitals)

    @contextmanager
    def _load(self, outcome: Outcome) -> Iterator[None]:
        """Clients, top-ups and watches while something is done."""
        stop = threading.Event()
        clients = [
            Client(f"{self._plan.seed}/{n}", self._serving.ports, self._money.keys, HOT, outcome.told, stop)
            for n in range(self._plan.clients)
        ]
        watches = (self._deaths, outcome.vitals, self._money)
        threads: list[threading.Thread] = [*clients, *watches]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stop.set()
            for client in clients:
                client.join(_JOIN_SECONDS)
            for watch in watches:
                watch.close()
        if self._money.failure is not None:
            outcome.findings.note(BROKEN, 1, f"accounts cannot be topped up: {self._money.failure!r}")

    def _kill_on(self, outcome: Outcome, progress: Callable[[int], None]) -> None:
        plan, killer = self._plan, self._killer
        assert eventually(lambda: outcome.told.total > 0, _WARM_SECONDS), "nobody is served"
        began, most_seconds = time.monotonic(), plan.minutes * 60
        seen = 0
        if plan.fault:
            self._examine(outcome)
        while not outcome.findings.grave:
            spent = time.monotonic() - began
            if spent >= most_seconds if plan.minutes else killer.kills >= plan.kills:
                break
            if not killer.wait_for(2):
                outcome.findings.note(BROKEN, 1, f"processes do not come up: {self._serving.logs()}")
                break
            self._pause(outcome)
            if outcome.findings.grave:
                break
            killer.strike(plan.kills - killer.kills if plan.kills else 3)
            progress(int(spent) if plan.minutes else killer.kills)
            if killer.kills - seen >= plan.round_kills:
                seen = killer.kills
                self._examine(outcome)
        if not outcome.findings.grave and not killer.let_go(_CLOSED_SECONDS):
            outcome.findings.note(BROKEN, 1, "a process that stands still is not closed by the others")
        if not plan.fault:  # the hot account is to meet its boundary, and to be topped up, however few kills there are
            eventually(lambda: outcome.findings.grave or bool(self._money.top_ups), _WARM_SECONDS)
        self._examine(outcome)

    def _pause(self, outcome: Outcome) -> None:
        """Until the next kill: mostly short, now and then long enough for all to be up and busy."""
        pause = self._chance.expovariate(1 / self._plan.pause_seconds) if self._chance.random() < 0.8 else 0.0
        end = time.monotonic() + min(pause, 10 * self._plan.pause_seconds)
        while time.monotonic() < end and not outcome.findings.grave:
            self._killer.revive()
            for words in self._serving.ended_by_themselves():
                outcome.findings.note(BROKEN, 1, words)
            time.sleep(0.02)

    # ── adding up ────────────────────────────────────────────────────────────────────────────────────────────────
    def _examine(self, outcome: Outcome) -> None:
        """Wait until the headroom of all the dead is back, then hold the books against what clients were told."""
        self._killer.wait_for(1)
        if not eventually(self._all_back, _PATIENCE * self._plan.back_ms / 1000):
            for death in self._deaths.waiting():
                outcome.findings.note(LEFT_OVER, 1, f"{death.sight.pid} is dead and has writers {death.writers}")
        outcome.findings.add_most(self._observer.examine())
        self._look_into_deaths(outcome)
        for words in self._serving.ended_by_themselves():
            outcome.findings.note(BROKEN, 1, words)

    def _all_back(self) -> bool:
        self._killer.revive()
        return not self._deaths.waiting()

    def _look_into_deaths(self, outcome: Outcome) -> None:
        """What each death hit, as far as the books and the model server's log tell afterwards."""
        acknowledged = outcome.told.acknowledged()
        deaths = self._deaths.all[self._examined :]
        self._examined += len(deaths)
        unbilled = self._observer.unbilled
        for death in deaths:
            hit, lost = Counter(death.sight.hit), 0
            for flight in death.sight.flights:
                told = acknowledged.get(flight.id) if flight.id is not None else None
                if flight.id is None or (told is not None and told.how == ANSWER):
                    continue
                event = self._observer.booked.get((flight.account, flight.id))
                if event is not None:
                    hit[ANSWER_LOST] += event.writer in death.writers
                elif outcome.told.was_sent_once(flight.id):  # else the work may be another process's
                    work = self._engine.only_nanos(flight.id) or 0
                    hit[WORK_LOST] += work > 0
                    lost += work
            recorded = sum(unbilled.get(writer, 0) for writer in death.writers)
            if lost > recorded:
                words = f"{death.sight.pid} died with work of {lost} nanos, writers {death.writers} have {recorded}"
                outcome.findings.note(UNBILLED, 1, words)
            outcome.hits.update(name for name, count in hit.items() if count)
            outcome.hits[looking.STILL] += death.sight.still
            if death.back_ms is not None and death.back_ms > self._plan.back_ms:
                outcome.findings.note(SLOW, 1, f"{death.sight.pid}: {death.back_ms:.0f} ms")

    def _come_to_rest(self, outcome: Outcome) -> None:
        """All come up once more and stop in good order; then nothing may be set aside, and the audit is asked."""
        plan, findings = self._plan, outcome.findings
        self._killer.let_all_go()
        if not findings.grave:
            self._killer.wait_for(plan.singles + plan.supervised)
            for words in self._serving.stop():
                findings.note(BROKEN, 1, words)
            findings.add_most(self._observer.examine())
            findings.add_most(self._observer.expect_rest())
        for words in self._serving.complaints():
            findings.note(BROKEN, 1, words)
        if not plan.fault:
            outcome.audited, violations = audit(self.url)
            for words in violations:
                findings.note(AUDIT, 1, words)
        for words in outcome.vitals.complaints() if plan.minutes else ():
            findings.note(BROKEN, 1, words)
        outcome.supervisors, outcome.gave_up = self._killer.supervisors, self._serving.gave_up
        outcome.starts = sum(seat.starts for seat in self._serving.seats)
        outcome.examinations = self._observer.examinations
        outcome.events = len(self._observer.booked)
        outcome.billed = sum(event.cost for event in self._observer.booked.values())
        outcome.unbilled = sum(self._observer.unbilled.values())
        outcome.engine_missed = self._engine.missed


def audit(url: str) -> tuple[str, list[str]]:
    """What `purser audit` says of a database: in words how much it checked, and every violation."""
    command = [sys.executable, "-m", "purser.main", "audit", "--database-url", url, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())
    if not done.stdout:
        return "", [f"purser audit failed: {done.stderr[-500:]}"]
    found = json.loads(done.stdout)
    checked = f"{len(found['checks'])} checks over {sum(check['rows'] for check in found['checks']):,} rows"
    return checked, [str(violation) for violation in found["violations"]]
