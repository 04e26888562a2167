"""The killer: takes processes with SIGKILL at moments drawn from a seed, looks where it hit, and starts them anew."""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable
from random import Random

from tests.crash import looking
from tests.crash.books import Books
from tests.crash.deaths import Death, Deaths
from tests.crash.serving import Seat, Serving, is_alive, send
from tests.crash.told import Told
from tests.demo.program import eventually

# What is done to processes, and how often each is drawn.
ONE, SEVERAL, AIMED = "one killed", "several killed at once", "one killed, aimed at its writing"
STARTING, SUPERVISOR, ALL = "one killed as it starts", "a supervisor killed", "all killed at once"
STALLED = "one stopped until the others have closed it, then let go on"
WAYS = {ONE: 40, SEVERAL: 22, AIMED: 22, STARTING: 10, SUPERVISOR: 3, ALL: 3, STALLED: 3}
_AIMS = 60  # looks for a process in the midst of a write before it is killed anyway
_READY_SECONDS = 180
_BY_NOW = 60  # kills after which everything should have been done once
_TOGETHER = 3  # processes that are up when several are killed
_DEAD_SECONDS = 10


class Killer:
    """Kills, and has the dead replaced; `spared` seats are left alone, `at_boundary` says where the hot account is."""

    def __init__(
        self,
        seed: int,
        serving: Serving,
        books: Books,
        told: Told,
        deaths: Deaths,
        *,
        spared: int = 0,
        stalls: int = WAYS[STALLED],
        at_boundary: Callable[[], bool] = lambda: False,
    ) -> None:
        self._chance, self._serving, self._books, self._told = Random(f"{seed}/killer"), serving, books, told
        self._deaths, self._spared, self._at_boundary = deaths, spared, at_boundary
        self._absent: list[tuple[float, Seat]] = []  # when each is to be started again
        self._stalled: dict[int, set[int]] = {}  # processes that stand still, and their writers then
        self._weights = {**WAYS, STALLED: stalls}
        self.ways: Counter[str] = Counter()
        self.supervisors = 0

    @property
    def kills(self) -> int:
        """How many serving processes were killed."""
        return len(self._deaths.all)

    def strike(self, most: int) -> None:
        """Kill somebody: at most so many serving processes."""
        way = self._draw()
        seats = self._serving.seats[self._spared :]
        supervising = [seat for seat in seats if seat.workers > 1 and seat not in self._away()]
        if way == SUPERVISOR and supervising:
            self._kill_supervisor(self._chance.choice(supervising))
        elif way == STARTING and self._kill_starting(seats, most):
            pass
        elif way == STALLED:
            self._stall(seats)
        else:
            self._kill_ready(way if way in (SEVERAL, AIMED) or (way == ALL and not self._spared) else ONE, seats, most)
        self.revive()

    def _draw(self) -> str:
        """What to do next; what a longer run has not done yet comes sooner."""
        way = self._chance.choices(list(self._weights), list(self._weights.values()))[0]
        never = [other for other in WAYS if not self.ways[other]]
        if never and self.kills >= _BY_NOW and self._chance.random() < 0.3:
            way = self._chance.choice(never)
        if way in (SEVERAL, ALL):
            self.wait_for(_TOGETHER)
        return way

    def revive(self) -> None:
        """Start what is due to be started; a supervisor revives its workers by itself. Who was closed goes on."""
        self._note_absent()
        self._let_go()
        for due, seat in list(self._absent):
            if time.monotonic() >= due:
                self._absent.remove((due, seat))
                self._serving.start(seat)

    def _note_absent(self) -> None:
        """Whoever is gone comes again: most at once, some after up to a second."""
        for seat in self._serving.seats:
            gone = seat.program is not None and seat.program.process.poll() is not None
            if gone and seat.expected and seat not in self._away():
                self._absent.append((time.monotonic() + self._chance.choice((0, 0, self._chance.random())), seat))

    def wait_for(self, count: int) -> bool:
        """Wait until so many processes are ready, starting whatever is due; answers whether they came.

        Where one has ended by itself nobody is waited for: that is another matter.
        """

        def enough() -> bool:
            self.revive()
            return self._serving.has_lost() or len(self._ready(self._serving.seats)) >= count

        return eventually(enough, _READY_SECONDS)

    def _away(self) -> list[Seat]:
        return [seat for _, seat in self._absent]

    def _ready(self, seats: list[Seat]) -> list[int]:
        """The processes that have registered as writers and do not stand still."""
        writers = set(self._books.open_writers().values()) - set(self._stalled)
        return [pid for seat in seats for pid in self._serving.pids(seat) if pid in writers]

    # ── the ways ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _kill_ready(self, way: str, seats: list[Seat], most: int) -> None:
        ready = self._ready(seats)
        self._chance.shuffle(ready)
        others = len(self._ready(self._serving.seats)) - len(ready)
        left = 0 if way == ALL else max(0, 1 - others)  # somebody is to live, who sees the others die
        count = {SEVERAL: self._chance.randint(2, 3), ALL: len(ready)}.get(way, 1)
        victims = ready[: max(0, min(count, most, len(ready) - left))]
        if not victims:
            return
        self.ways[way if len(victims) > 1 or way != SEVERAL else ONE] += 1
        if way == AIMED:
            self._aim(victims[0])
        still = way == AIMED or self._chance.random() < 0.5
        self._kill(victims, still=still)

    def _aim(self, pid: int) -> None:
        """Stop it again and again, until it is in the midst of a write or of nothing for too long."""
        for _ in range(_AIMS):
            send(pid, signal.SIGSTOP)
            looking.wait_until_stopped(pid)
            if looking.is_writing(pid, self._books) or not is_alive(pid):
                return
            send(pid, signal.SIGCONT)
            time.sleep(self._chance.uniform(0.0, 0.004))

    def _stall(self, seats: list[Seat]) -> None:
        """Stop one between two writes, where its waiting keeps nobody else waiting, for as long as it is not closed."""
        ready = self._ready(seats)
        if self._stalled or len(ready) < 2:
            return
        pid = self._chance.choice(ready)
        for _ in range(_AIMS):
            send(pid, signal.SIGSTOP)
            looking.wait_until_stopped(pid)
            if not looking.is_writing(pid, self._books):
                self._stalled[pid] = {id_ for id_, owner in self._books.open_writers().items() if owner == pid}
                return
            send(pid, signal.SIGCONT)
            time.sleep(self._chance.uniform(0.0, 0.01))

    def let_go(self, seconds: float) -> bool:
        """Wait until whoever stands still is closed by the others and goes on; answers whether it came to that."""

        def nobody_stands() -> bool:
            self.revive()
            return not self._stalled or self._serving.has_lost()

        return eventually(nobody_stands, seconds)

    def _let_go(self) -> None:
        if self._stalled and not set().union(*self._stalled.values()) & set(self._books.open_writers()):
            self.ways[STALLED] += 1
            self.let_all_go()

    def let_all_go(self) -> None:
        """Nobody stands still any longer."""
        for pid in self._stalled:
            send(pid, signal.SIGCONT)
        self._stalled = {}

    def _kill_starting(self, seats: list[Seat], most: int) -> bool:
        """Kill one that has no writer yet, some time into its start; answers whether that could be done."""
        writers = set(self._books.open_writers().values())
        new = [pid for seat in seats for pid in self._serving.pids(seat) if pid not in writers]
        if not new and not self._absent:
            ready = self._ready([seat for seat in seats if seat.workers == 1])
            if most < 2 or not ready or len(self._ready(self._serving.seats)) < 2:
                return False
            self._kill(ready[:1], still=False)
            self._note_absent()
        seats = [seat for seat in seats if set(self._serving.pids(seat)) & set(new)]
        if not new and self._absent:
            _, seat = self._absent.pop()
            self._serving.start(seat)
            seats = [seat]
        time.sleep(self._chance.uniform(0.0, 1.2))
        new = [pid for seat in seats for pid in self._serving.pids(seat) if not new or pid in new]
        if new:
            self.ways[STARTING] += 1
            self._kill([self._chance.choice(new)], still=self._chance.random() < 0.5)
        return bool(new)

    def _kill_supervisor(self, seat: Seat) -> None:
        """Its workers see that it is gone and end in good order; it comes again on another port."""
        assert seat.program is not None
        self.ways[SUPERVISOR] += 1
        self.supervisors += 1
        seat.expected = True
        seat.program.process.kill()
        seat.program.process.wait(_DEAD_SECONDS)

    # ── the deed ─────────────────────────────────────────────────────────────────────────────────────────────────
    def _kill(self, victims: list[int], *, still: bool) -> None:
        """Kill them within some milliseconds; `still` stops each first, so that what it was at is known for certain."""
        sights = []
        for pid in victims:
            if still:
                send(pid, signal.SIGSTOP)
            stands = still and looking.wait_until_stopped(pid)
            sight = looking.look(pid, self._books, self._told.flights(), self._serving.all_pids())
            sight.still = stands
            if self._at_boundary():
                sight.hit[looking.BOUNDARY] += 1
            sights.append(sight)
        writers = self._books.open_writers()
        programs = [seat.program.process for seat in self._serving.seats if seat.program and not seat.expected]
        for seat in self._serving.seats:
            if seat.program is not None and seat.program.process.pid in victims:
                seat.expected = True
        for sight in sights:
            at = time.monotonic()
            send(sight.pid, signal.SIGKILL)
            self._deaths.add(Death(sight, at, {id_ for id_, pid in writers.items() if pid == sight.pid}))
            if len(sights) > 1:
                time.sleep(self._chance.uniform(0.0, 0.05))
        for process in programs:
            if process.pid in victims:
                process.wait(_DEAD_SECONDS)
        assert eventually(lambda: not any(is_alive(pid) for pid in victims), _DEAD_SECONDS)
