"""The heartbeat: hears of other processes' changes, ends dead writers, gives back spare leases, shows signs of life."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass

from purser.core.errors import Broken
from purser.core.period import SECOND, month_of
from purser.flows.queue import WriteQueue
from purser.gateway.cashier import Cashier
from purser.gateway.claims import Claims
from purser.gateway.remaining import Remaining
from purser.store import accounts, headroom
from purser.store.db import Database
from purser.store.writers import Fenced, World

log = logging.getLogger("purser.gateway")
_PAUSE_SECONDS = 0.2
_SILENCE_SECONDS = 1.0
_QUIET_MICROSECONDS = 5 * SECOND


@dataclass(frozen=True, slots=True)
class _Heard:
    """Accounts that changed, rows that others want spare of, and whether there are others."""

    changes: list[tuple[int, str]]
    wanted: list[headroom.RowKey]
    shared: bool


class Heartbeat:
    """Beats five times a second on the event loop; what fails is tried again, broken books stop the process."""

    def __init__(
        self,
        db: Database,
        queue: WriteQueue,
        world: World,
        cashier: Cashier,
        claims: Claims,
        remaining: Remaining,
        *,
        on_changes: Callable[[set[str]], None],
        reload_clock: Callable[[], None],
    ) -> None:
        self._db, self._queue, self._world, self._cashier = db, queue, world, cashier
        self._claims, self._remaining = claims, remaining
        self._on_changes, self._reload_clock = on_changes, reload_clock
        self._loop = asyncio.get_running_loop()
        self._last_commit = 0.0
        self._ended_writers = True  # as far as this process knows, some may have left something
        with db.read() as conn:
            self._seen_change = accounts.get_last_change(conn)
        self._task = asyncio.ensure_future(self._run())

    async def stop(self) -> None:
        """Beat no more."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await self._beat()
            except (Broken, Fenced) as error:
                self._queue.give_up(error)
            except Exception:
                log.exception("a heartbeat failed")

    async def _beat(self) -> None:
        heard = await asyncio.to_thread(self._hear)
        self._remaining.shared = heard.shared
        if heard.changes:
            self._seen_change = heard.changes[-1][0]
            self._on_changes({account for _, account in heard.changes})
        quiet_before = int(self._loop.time() * SECOND) - _QUIET_MICROSECONDS
        await self._cashier.give_back(month_of(self._world.now()), quiet_before, heard.wanted)
        await self._claims.free_ended()
        if self._ended_writers:
            await self._claims.tidy()
            self._ended_writers = False
        if self._loop.time() - self._last_commit > _SILENCE_SECONDS:
            self._last_commit = self._loop.time()
            await self._cashier.run(lambda tx: None)

    def _hear(self) -> _Heard:
        """What is new in the database; runs in a thread."""
        writer = self._queue.writer
        if writer.close_dead():
            self._ended_writers = True
        self._reload_clock()
        with self._db.read() as conn:
            return _Heard(
                accounts.list_changes(conn, self._seen_change),
                headroom.list_wanted(conn, writer.owner),
                headroom.is_shared(conn, writer.id),
            )
