"""A second gateway on the same books, as another worker is: its own writer, queue, leases and port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from purser.flows.queue import WriteQueue
from purser.gateway.app import Gateway
from purser.http.server import Server
from purser.store.writers import Writer
from tests.gateway.rig import Answered, Rig, World, sent


class Beside:
    """The second gateway, with a clock of its own."""

    def __init__(self, rig: Rig, reload_clock: Callable[[], None]) -> None:
        self._rig, self.world = rig, World()
        self.writer = Writer(rig.db, self.world, rig.policy, host="here", pid=2)
        self.queue = WriteQueue(self.writer, on_touched=lambda touched: self.gateway.on_touched(touched))
        self._reload_clock = reload_clock
        self._on_loop(self._start())

    def _on_loop(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self._rig._loop).result(20)

    async def _start(self) -> None:
        rig = self._rig
        self.gateway = Gateway(
            rig.db,
            self.queue,
            self.world,
            rig.policy,
            rig.gateway.served,
            resolve_url="http://here/dashboard",
            reload_clock=self._reload_clock,
        )
        self.server = Server(self.gateway.answer, at_once=self.gateway.at_once)
        await self.server.start("127.0.0.1", 0)

    async def _stop(self) -> None:
        await self.server.close(2)
        await self.gateway._heartbeat.stop()
        await self.gateway.remaining.close()
        await self.gateway.claims.free_ended()

    def close(self) -> None:
        self._on_loop(self._stop())
        self.queue.stop()
        self.writer.close()

    def chat(self, text: str, *, headers: dict[str, str] | None = None, **more: Any) -> Answered:
        """One chat completion here."""
        body = {"model": "tiny", "messages": [{"role": "user", "content": text}], **more}
        return sent(self.server.port, "/v1/chat/completions", body, key=self._rig.key, headers=headers)


@contextmanager
def beside(rig: Rig, reload_clock: Callable[[Beside], None] = lambda _: None) -> Iterator[Beside]:
    """A second gateway for a while; at its end its leases are back."""
    found = Beside(rig, lambda: reload_clock(found))
    try:
        yield found
    finally:
        found.close()
