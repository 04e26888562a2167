"""The heartbeat: hears of other processes' changes, ends dead writers, gives back spare leases, shows signs of life."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from purser.core.errors import Broken, Unavailable
from purser.core.period import SECOND, month_of
from purser.core.policy import Policy
from purser.flows import closing
from purser.flows.queue import WriteQueue
from purser.gateway.cashier import Cashier
from purser.gateway.claims import Claims
from purser.gateway.limiter import Limiter
from purser.gateway.meter import Meter
from purser.gateway.remaining import Remaining
from purser.store import accounts, headroom, rates
from purser.store.db import Database
from purser.store.writers import World

log = logging.getLogger("purser.gateway")
_PAUSE_SECONDS = 0.2
_SILENCE_SECONDS = 1.0
_QUIET_MICROSECONDS = 5 * SECOND


@dataclass(frozen=True, slots=True)
class _Heard:
    """Writers that are gone, accounts that changed, rows and rates others want of, and whether there are others."""

    gone: list[int]
    changes: list[tuple[int, str]]
    overlooked: bool  # older changes were deleted before this process had seen them
    wanted: list[headroom.RowKey]
    wanted_rates: list[rates.Bucket]
    shared: bool


class Heartbeat:
    """Beats five times a second on the event loop; what fails is tried again, broken books stop the process.

    It beats without the database, too: where this process has committed nothing for too long, it ends what runs.
    """

    def __init__(
        self,
        db: Database,
        queue: WriteQueue,
        world: World,
        policy: Policy,
        cashier: Cashier,
        claims: Claims,
        limiter: Limiter,
        meter: Meter,
        remaining: Remaining,
        *,
        on_changes: Callable[[set[str] | None], None],
        reload_clock: Callable[[], None],
    ) -> None:
        self._db, self._queue, self._world, self._cashier = db, queue, world, cashier
        self._claims, self._limiter, self._meter = claims, limiter, meter
        self._remaining, self._policy = remaining, policy
        self._on_changes, self._reload_clock = on_changes, reload_clock
        self._loop = asyncio.get_running_loop()
        self._last_commit = 0.0
        self._in_touch = True
        self._ended_writers = True  # as far as this process knows, some may have left something
        with db.read() as conn:
            self._seen_change = accounts.get_last_change(conn)
        self._tasks = [asyncio.ensure_future(self._run()), asyncio.ensure_future(self._drain())]

    async def stop(self) -> None:
        """Beat no more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _drain(self) -> None:
        """What runs on money set aside ends when others may have closed this process's writer."""
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            silent = self._cashier.silent_seconds()
            if silent > self._policy.ttl_seconds and self._in_touch:
                log.error("nothing could be committed for %.0f s: no request is admitted until it can", silent)
            self._in_touch = silent <= self._policy.ttl_seconds
            if silent > self._policy.ttl_seconds + self._policy.drain_seconds:
                self._cashier.call_off_all()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                await self._beat()
            except Broken as error:
                self._queue.give_up(error)
            except Unavailable as error:
                log.warning("a heartbeat has to wait: %s", error)
                await asyncio.sleep(_SILENCE_SECONDS)
            except Exception:
                log.exception("a heartbeat failed")

    async def _beat(self) -> None:
        heard = await asyncio.to_thread(self._hear)
        self._remaining.shared = heard.shared
        if await self._close(heard.gone):
            self._ended_writers = True
        if heard.changes:
            self._seen_change = heard.changes[-1][0]
            self._on_changes(None if heard.overlooked else {account for _, account in heard.changes})
        quiet_before = int(self._loop.time() * SECOND) - _QUIET_MICROSECONDS
        await self._cashier.give_back(month_of(self._world.now()), quiet_before, heard.wanted)
        await self._limiter.give_back(heard.wanted_rates)
        await self._meter.beat(heard.wanted_rates)
        await self._claims.free_ended()
        if self._ended_writers:
            await self._claims.tidy()
            self._ended_writers = False
        if self._loop.time() - self._last_commit > _SILENCE_SECONDS:
            self._last_commit = self._loop.time()
            await self._cashier.run(lambda tx: None)

    async def _close(self, gone: list[int]) -> bool:
        """Close writers whose process is gone; answers whether there were any."""
        me = self._queue.writer.id
        if me in gone:
            await self._cashier.run(lambda tx: None)  # any transaction shows this one again
        for writer in gone:
            if writer != me:
                await self._cashier.run(partial(closing.close_gone, writer=writer))
        return any(writer != me for writer in gone)

    def _hear(self) -> _Heard:
        """What is new in the database; runs in a thread."""
        writer = self._queue.writer
        gone = writer.list_dead()
        self._reload_clock()
        with self._db.read() as conn:
            return _Heard(
                gone,
                accounts.list_changes(conn, self._seen_change),
                accounts.get_first_change(conn) > self._seen_change + 1,
                headroom.list_wanted(conn, writer.owner),
                rates.list_wanted(conn, writer.id),
                headroom.is_shared(conn, writer.id),
            )
