"""A simulated process: the real writer, gateway and worker, driven by simulated time, killed and started again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import TYPE_CHECKING, Any, TypeVar

from purser.core.errors import Broken, PurserError
from purser.core.period import SECOND, month_of
from purser.flows.queue import Done, WriteQueue
from purser.gateway import bodies
from purser.gateway.app import Gateway
from purser.gateway.bodies import Terms
from purser.gateway.cashier import Shortfall
from purser.gateway.deliveries import resolve
from purser.gateway.models import Served, Target
from purser.gateway.shapes import CHAT
from purser.http.exchange import Exchange, Request
from purser.inbound.worker import Worker
from purser.inbound.world import SystemWorld
from purser.outbound.testpay import TestProvider
from purser.simulator.cast import CONTEXT_TOKENS, MOST_OUTPUT, POLICY, PRICES
from purser.simulator.disk import Crashed
from purser.simulator.timeline import ProcessLoop
from purser.simulator.upstream import Upstream
from purser.store.usage import Event
from purser.store.writers import Fenced, Tx, Writer

if TYPE_CHECKING:
    from purser.simulator.run import Run

T = TypeVar("T")
_MILLI = SECOND // 1_000
_WORKER_EVERY = SECOND
_GRACE = SECOND
_RECOVERS = SECOND  # a heartbeat that failed is tried again so late
_TERMS = Terms(CONTEXT_TOKENS, MOST_OUTPUT, 1, "vllm", "fit")


class ProcessWorld(SystemWorld):
    """A process's clock, which may be wrong, and its seeded chance."""

    def __init__(self, process: Process, random: Random) -> None:
        self._process, self._random = process, random

    def _uptime(self) -> int:
        return self._process.run.timeline.now

    def wall(self) -> int:
        """The host's clock."""
        return self._process.run.wall() + self._process.clock_off

    def entropy(self, bits: int) -> int:
        """Seeded random bits."""
        return self._random.getrandbits(bits)

    def set(self, at: int) -> None:
        """Nobody sets it but the plan."""
        raise Broken(f"the simulated clock was set to {at}")


class SimulatedWriter(Writer):
    """The real writer; whoever watches hears that it has registered."""

    def __init__(self, process: Process) -> None:
        self._process = process
        pid = process.number * 100 + process.starts
        super().__init__(
            process.run.disk.db, process.world, POLICY, host=process.host, pid=pid, monotonic=process.loop.time
        )

    def _register(self) -> None:
        super()._register()
        self._process.run.watch.opened(self.id)


class SimulatedQueue(WriteQueue):
    """The real write queue, whose thread is an event of the simulator's: it comes late, or waits for the store."""

    def __init__(self, process: Process, writer: Writer, **hear: Any) -> None:
        self._process = process
        self._woken = False
        self.settling = 0  # settlements on their way
        super().__init__(writer, **hear)

    def _start(self) -> None:
        return

    def settle_all(self, events: Sequence[Event], done: Done) -> None:
        """As the real one, and counted."""

        def ended(new: Any, error: BaseException | None) -> None:
            self.settling -= len(events)
            done(new, error)

        self.settling += len(events)
        super().settle_all(events, ended)

    def _put(self, job: Any) -> None:
        super()._put(job)
        self.wake()

    def wake(self) -> None:
        """There is something to write."""
        if not self._woken and self.backlog():
            self._woken = True
            self._process.in_store(self._work)

    def _work(self) -> None:
        self._woken = False
        if not self.backlog():
            return
        writer, settling, taking = self.writer.id, self.settling, self._refusal is None
        self.run_waiting()
        if taking and self._refusal is not None:
            self._process.fenced(writer, settling)
        if self.writer.id != writer:
            self._process.registered_anew()
        self.wake()

    def renew(self) -> None:
        """As the real one, and woken."""
        super().renew()
        self.wake()

    def stop(self) -> None:
        """Finish what is waiting."""
        self.writer.stop_waiting()
        self._jobs.put(None)
        while self.run_waiting():
            continue

    def run(self, work: Callable[[Tx], T]) -> T:
        """What the worker's thread waits for: everything that waits is run, then this."""
        ended: list[tuple[Any, BaseException | None]] = []
        self.submit(work, lambda result, error: ended.append((result, error)))
        while not ended:
            self.run_waiting()
        result, error = ended[0]
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]


class Process:
    """One gateway process on one host; it can be started, stopped, killed, cut off from the store."""

    def __init__(self, run: Run, name: str, host: str, number: int) -> None:
        self.run, self.name, self.host, self.number = run, name, host, number
        self.clock_off = 0
        self.starts = 0
        self.alive = False  # takes requests
        self.dead = True
        self.fate: str | None = None
        self.fated_at = 0
        self.doomed = False  # a commit was made to fail
        self.down = 0  # how long it stays away when it ends
        self.stalled_until = 0
        self.started_at = 0
        self.registered = False  # its writer is the one of this life
        self.closed = False  # and has let go of everything
        self.lines: list[Any] = []
        self.loops: list[ProcessLoop] = []

    @property
    def contact_since(self) -> int:
        """Since when it has been there and has reached the store."""
        return max(self.started_at, self.stalled_until + _RECOVERS if self.stalled_until else 0)

    # ── life ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def start(self) -> None:
        """Begin, or begin anew after an end."""
        if not self.dead:
            return
        self.starts += 1
        self.dead, self.fate, self.started_at = False, None, self.run.timeline.now
        self.registered = self.closed = self.doomed = False
        self.random = Random((self.run.seed << 20) + self.number * 1_009 + self.starts)
        make_loop: Any = ProcessLoop  # most of what a loop must be able to do nobody asks of this one
        self.loop: ProcessLoop = make_loop(
            self.run.timeline,
            in_thread=self._in_thread,
            wake_delay=self._wake_delay,
            on_error=self._on_error,
        )
        self.loops.append(self.loop)
        self.world = ProcessWorld(self, Random((self.run.seed << 20) + self.number * 2_003 + self.starts))
        self.run.tell(f"{self.name} starts")
        self._guarded(self._open)

    def _open(self) -> None:
        db = self.run.disk.db
        self.writer = SimulatedWriter(self)
        self.registered = True
        self.queue = SimulatedQueue(self, self.writer, on_touched=self._on_touched, on_fatal=self._on_fatal)
        self.upstream = Upstream(self)
        served = {name: Served(name, name, _TERMS, 60.0, [Target(self.upstream, "/v1")], None) for name in PRICES}
        make = lambda: Gateway(db, self.queue, self.world, POLICY, served, resolve_url="")  # noqa: E731
        self.gateway: Gateway = self.loop.inside(make)
        self.worker = Worker(db, self.queue.run, self.world, TestProvider(), POLICY, monotonic=self.loop.time)
        self.alive = True
        self._every(_WORKER_EVERY, self.worker.take_turn)
        self.run.started(self)

    def _every(self, pause: int, call: Callable[[], None]) -> None:
        loop = self.loop

        def again() -> None:
            if not loop.dead and self.alive:
                if self.stalled_until <= self.run.timeline.now:
                    self._guarded(call)
                loop.call_later(pause / SECOND, again)

        loop.call_later(self.random.randrange(pause) / SECOND, again)

    def stop(self) -> None:
        """End gracefully: what runs may finish for a while, then leases go back and the writer closes."""
        if not self.alive:
            return
        self.run.tell(f"{self.name} is told to stop")
        self.alive = False
        loop = self.loop
        waited_until = self.run.timeline.now + _GRACE

        async def end() -> None:
            while self.lines and self.run.timeline.now < waited_until:
                await asyncio.sleep(0.05)
            for line in list(self.lines):
                line.exchange.call_off()
            while self.lines:
                await asyncio.sleep(0.02)
            await self.gateway.close()
            self.in_store(self._close)

        loop.inside(lambda: loop.create_task(end()))

    def _close(self) -> None:
        self.queue.stop()
        self.worker.step_down()
        self.writer.close()
        self.closed = True
        self.run.tell(f"{self.name} has stopped")
        self.run.situation("a process stopped gracefully")
        self._end()

    def arm(self, fate: str) -> None:
        """Let something go wrong with the next commit with settlements in it, or after a while with any."""
        self.fate, self.fated_at = fate, self.run.timeline.now

    def kill(self, why: str) -> None:
        """Die at once."""
        if not self.dead:
            self.run.died(self, why)
            self._end()

    def _end(self) -> None:
        """The operating system clears up: connections close, locks are let go."""
        self.dead, self.alive, self.loop.dead = True, False, True
        for line in list(self.lines):
            line.process_died()
        self.lines.clear()
        self.run.timeline.after(0, self._clear_up)
        self.run.ended(self)

    def _clear_up(self) -> None:
        if self.registered and not self.closed:
            self.closed = True
            self.worker.step_down()
            self.writer._conn.invalidate()
            self.writer._conn.close()
            self.writer._presence.close()

    # ── what it does is guarded, for it may die of it ────────────────────────────────────────────────────────────
    def _guarded(self, call: Callable[[], Any]) -> None:
        self.run.current = self
        try:
            call()
        except Crashed:
            self.kill("crashes")
        except (Broken, Fenced) as error:
            if not self.doomed:
                self.run.blame("process", f"{self.name} stops: {error}")
            self.kill(f"stops rather than guess: {error}")
        except Exception as error:
            self.run.blame("process", f"{self.name} fails with what nobody foresaw: {error!r:.300}")
        finally:
            self.run.current = None

    def in_store(self, call: Callable[[], Any]) -> None:
        """Do something with the store, from a thread: a little later, and not while the store is out of reach."""
        loop = self.loop

        def now() -> None:
            if loop.dead:
                return
            if self.stalled_until > self.run.timeline.now:
                self.run.timeline.at(self.stalled_until, now)
            else:
                self._guarded(call)

        self.run.timeline.after(self.random.randrange(50, 1_500), now)

    def _in_thread(self, func: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        loop = self.loop

        def work() -> None:
            result: Any = None
            error: Exception | None = None
            try:
                result = func()
            except Exception as failed:
                error = failed
            loop.call_soon_threadsafe(resolve, future, result, error)

        self.in_store(work)

    def _wake_delay(self) -> int:
        return self.random.randrange(20, 800 if self.random.random() < 0.9 else 30_000)

    def fenced(self, writer: int, settling: int) -> None:
        """Its writer was closed, and it has found out."""
        self.run.tell(f"{self.name} finds its writer {writer} closed, with {settling} settlements on their way")
        self.run.situation("a live writer was closed")
        if self.gateway.cashier.lessee.count_open():
            self.run.situation("a live writer was closed with requests open")
        if settling:
            self.run.situation("a live writer was closed with settlements on their way")

    def registered_anew(self) -> None:
        """It goes on with a new writer."""
        self.run.tell(f"{self.name} goes on as writer {self.writer.id}")
        self.run.situation("a closed process registered anew")

    def _on_touched(self, touched: set[str]) -> None:
        self.gateway.on_touched(touched)

    def _on_fatal(self, error: BaseException) -> None:
        if not self.doomed:
            self.run.blame("process", f"{self.name} stops rather than guess, and nothing was done to it: {error}")
        self.kill(f"stops rather than guess: {error}")
        raise Crashed

    def _on_error(self, message: str, error: BaseException | None) -> None:
        if not self.dead and not isinstance(error, PurserError):
            self.run.blame("a callback failed", f"{self.name}: {message}: {error!r}")

    # ── requests ─────────────────────────────────────────────────────────────────────────────────────────────────
    def serve(self, line: Any) -> None:
        """A request has arrived."""
        self.lines.append(line)
        exchange: Exchange = line.exchange
        loop = self.loop

        async def begin_warm() -> None:
            with suppress(PurserError):
                await self._warm_up(line.call.secret, exchange.request)
            if not self.gateway.at_once(exchange):
                line.go_on(exchange, self.gateway.answer)

        def begin() -> None:
            if exchange.request.known is None:
                line.go_on(exchange, self.gateway.answer)
            else:
                loop.create_task(begin_warm())

        loop.inside(begin)

    async def _warm_up(self, secret: str, request: Request) -> None:
        """What an earlier request on the connection has brought into memory, and the money that it has given back."""
        directory, cashier, now = self.gateway.directory, self.gateway.cashier, self.world.now()
        principal = await directory.principal(secret.encode())
        standing, book = await directory.standing(principal.account), await directory.price_book()
        body = bodies.read(CHAT, request.body)
        if book is None or standing.causes:
            return
        held = await cashier.hold(
            self.gateway.next_id(),
            principal.account,
            month_of(now),
            book.version,
            book.models[body.model],
            bodies.ask(body, _TERMS),
            principal.budget_rows(now),
        )
        if not isinstance(held, Shortfall):
            cashier.void(held[0])
