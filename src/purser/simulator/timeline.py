"""Simulated time: one list of what happens when, and an event loop for each process that lives by it."""

from __future__ import annotations

import asyncio
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from heapq import heappop, heappush
from typing import Any

Call = Callable[[], None]


class Planned:
    """Something that will happen, unless it is cancelled."""

    __slots__ = ("_timeline", "call")

    def __init__(self, timeline: Timeline, call: Call) -> None:
        self._timeline = timeline
        self.call: Call | None = call

    def cancel(self) -> None:
        """It does not happen."""
        if self.call is not None:
            self.call = None
            self._timeline.busy -= 1


class Timeline:
    """What happens when, in microseconds; things of one instant happen in the order in which they were planned.

    The timers of processes are kept apart from everything else: while nothing else is under way they may go off late.
    """

    def __init__(self) -> None:
        self.now = 0
        self.steps = 0
        self.busy = 0  # how much is under way beside timers
        self.ready: deque[tuple[ProcessLoop, events.Handle]] = deque()
        self._count = 0
        self._planned: list[tuple[int, int, Planned]] = []
        self._timers: list[tuple[int, int, ProcessLoop, events.TimerHandle]] = []

    def at(self, when: int, call: Call) -> Planned:
        """Have something happen that is no process's timer."""
        self._count += 1
        self.busy += 1
        planned = Planned(self, call)
        heappush(self._planned, (max(when, self.now), self._count, planned))
        return planned

    def after(self, delay: int, call: Call) -> Planned:
        """Have something happen after so many microseconds."""
        return self.at(self.now + delay, call)

    def timer(self, when: int, loop: ProcessLoop, handle: events.TimerHandle) -> None:
        """A process's timer."""
        self._count += 1
        heappush(self._timers, (max(when, self.now), self._count, loop, handle))

    def soon(self, loop: ProcessLoop, handle: events.Handle) -> None:
        """A callback of a process, to run in this instant."""
        self.ready.append((loop, handle))

    def planned_at(self) -> int | None:
        """When the next thing happens that is no timer."""
        planned = self._planned
        while planned and planned[0][2].call is None:
            heappop(planned)
        return planned[0][0] if planned else None

    def next_at(self) -> int | None:
        """When the next thing happens."""
        if self.ready:
            return self.now
        planned_at = self.planned_at()
        if self._timers and (planned_at is None or self._timers[0][:2] < self._planned[0][:2]):
            return self._timers[0][0]
        return planned_at

    def step(self) -> None:
        """Let the next thing happen; there must be one."""
        self.steps += 1
        if self.ready:
            loop, handle = self.ready.popleft()
            if not loop.dead:
                loop.enter(handle)
            return
        if self.planned_at() is not None and (not self._timers or self._planned[0][:2] < self._timers[0][:2]):
            at, _, planned = heappop(self._planned)
            self.now = max(self.now, at)
            self.busy -= 1
            call, planned.call = planned.call, None
            if call is not None:
                call()
            return
        at, _, owner, timer = heappop(self._timers)
        self.now = max(self.now, at)
        if not owner.dead and not timer.cancelled():
            owner.enter(timer)

    def skip(self, to: int) -> None:
        """No time but this one: timers that were due before go off now, late but in their order."""
        self.now = max(self.now, to)


class ProcessLoop(asyncio.AbstractEventLoop):
    """The event loop of one simulated process. It ends with its process: what was to run then never does."""

    def __init__(
        self,
        timeline: Timeline,
        *,
        in_thread: Callable[[Callable[[], Any], asyncio.Future[Any]], None],
        wake_delay: Callable[[], int],
        on_error: Callable[[str, BaseException | None], None],
    ) -> None:
        self.timeline, self.dead = timeline, False
        self._in_thread, self._wake_delay, self._on_error = in_thread, wake_delay, on_error
        self._woken_at = 0
        self.tasks: set[asyncio.Task[Any]] = set()

    def enter(self, handle: events.Handle) -> None:
        """Run a callback within this loop."""
        events._set_running_loop(self)
        try:
            handle._run()
        finally:
            events._set_running_loop(None)

    def inside(self, call: Callable[[], Any]) -> Any:
        """Call something within this loop."""
        events._set_running_loop(self)
        try:
            return call()
        finally:
            events._set_running_loop(None)

    # ── what asyncio asks of a loop ──────────────────────────────────────────────────────────────────────────────
    def time(self) -> float:
        """Monotonic seconds."""
        return self.timeline.now / 1_000_000

    def call_soon(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        """At once, behind what waits already."""
        handle = events.Handle(callback, args, self, context)
        self.timeline.soon(self, handle)
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Context | None = None) -> asyncio.Handle:  # type: ignore[override]
        """From another thread: the loop is woken a little later, calls stay in order."""
        handle = events.TimerHandle(0, callback, args, self, context)
        self._woken_at = max(self._woken_at, self.timeline.now + self._wake_delay())

        def wake() -> None:
            if not self.dead:
                self.enter(handle)

        self.timeline.at(self._woken_at, wake)
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Context | None = None) -> asyncio.TimerHandle:  # type: ignore[override]
        """At an instant of `time`."""
        handle = events.TimerHandle(when, callback, args, self, context)
        self.timeline.timer(-int(-when * 1_000_000 // 1), self, handle)
        return handle

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Any, *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        """After so many seconds."""
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> asyncio.Future[Any]:  # type: ignore[override]
        """In another thread: it begins a little later, and its answer comes later again."""
        future = self.create_future()
        self._in_thread(lambda: func(*args), future)
        return future

    def create_future(self) -> asyncio.Future[Any]:
        """A future of this loop."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Coroutine[Any, Any, Any], **more: Any) -> asyncio.Task[Any]:  # type: ignore[override]
        """A task of this loop; they are kept, so that the garbage collector ends none of a dead process."""
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=self)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def get_debug(self) -> bool:
        """Never."""
        return False

    def is_running(self) -> bool:
        """As far as asyncio asks, always."""
        return True

    def is_closed(self) -> bool:
        """Whether the process has ended."""
        return self.dead

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        return

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """A callback failed, or a future's error was never looked at."""
        if not self.dead:
            self._on_error(str(context.get("message")), context.get("exception"))

    def bury(self) -> None:
        """Let go of what never ended, after the run: nothing of it runs any more."""
        self.dead = True
        for task in self.tasks:
            task._log_destroy_pending = False  # type: ignore[attr-defined]
            coro = task.get_coro()
            try:
                coro.close()
            except BaseException:
                continue
        self.tasks.clear()
