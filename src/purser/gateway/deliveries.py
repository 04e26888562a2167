"""Deliveries: what the writer's thread has done is told on the event loop, many things in one wake-up."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

from purser.core.errors import Broken
from purser.flows.queue import Done

log = logging.getLogger("purser.gateway")


class Deliveries:
    """Carries results to the running loop; `give_up` is told of what must stop the process."""

    def __init__(self, give_up: Callable[[Broken], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._give_up = give_up
        self._finished: deque[tuple[Done, Any, BaseException | None]] = deque()
        self._woken = False

    def on_loop(self, done: Done) -> Done:
        """The same, to be called on any thread, and done on the loop."""
        return partial(self._finish, done)

    def _finish(self, done: Done, result: Any, error: BaseException | None) -> None:
        self._finished.append((done, result, error))
        if not self._woken:
            self._woken = True
            self._loop.call_soon_threadsafe(self._deliver)

    def _deliver(self) -> None:
        self._woken = False  # before the queue is emptied: what is put from now on wakes the loop again
        while self._finished:
            done, result, error = self._finished.popleft()
            try:
                done(result, error)
            except Broken as broken:
                self._give_up(broken)
            except Exception:
                log.exception("a transaction's end could not be told")


def resolve(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Tell whoever still waits for it what came of it."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
        future.exception()  # nobody may be waiting
