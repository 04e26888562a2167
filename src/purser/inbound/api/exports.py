"""Exports as answers: made from one snapshot into a spool, and sent from it at the client's pace."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from contextlib import closing

from litestar.concurrency import sync_to_thread
from litestar.types import ASGIApp, Receive, Scope, Send

from purser.inbound.desk import Desk
from purser.inbound.spool import Spool
from purser.store.db import Connection

Headers = dict[str, str]
Begin = Callable[[Connection], tuple[Headers, Generator[bytes]]]


def stream(desk: Desk, account: str, begin: Begin) -> ASGIApp:
    """An answer that is made from a snapshot: `begin` says its headers, and makes it piece by piece.

    It is one of the account's exports ("" for one of all accounts): where there are too many it is 429 or 503.
    """

    async def answer(_scope: Scope, _receive: Receive, send: Send) -> None:
        with desk.exports.place(account):
            headers: Headers = {}
            pieces = _pieces(desk, begin, headers)
            spool = Spool(pieces)
            making = _Making(desk, spool, pieces)
            try:
                await making.begin()
                told = [(name.encode(), value.encode()) for name, value in headers.items()]
                await send({"type": "http.response.start", "status": 200, "headers": told})
                while True:
                    whole = making.task.done()
                    piece = await sync_to_thread(spool.take)
                    if piece:
                        await send({"type": "http.response.body", "body": piece, "more_body": True})
                    elif whole:
                        break
                    else:
                        await making.more()
                await making.task  # raises what went wrong with it
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            finally:  # also for whoever hung up
                await making.end()
                spool.close()

    return answer


class _Making:
    """The making of one export, beside its sending."""

    def __init__(self, desk: Desk, spool: Spool, pieces: Generator[bytes]) -> None:
        self._desk, self._spool, self._pieces = desk, spool, pieces
        self._more, self._stop = asyncio.Event(), False
        self.task = asyncio.create_task(self._make())

    async def _make(self) -> None:
        try:
            with self._desk.exports.making():
                try:
                    while not self._stop and await sync_to_thread(self._spool.make_some):
                        self._more.set()
                finally:
                    await sync_to_thread(self._pieces.close)  # and with it the snapshot
        finally:
            self._more.set()

    async def more(self) -> None:
        """Until there is more of it, or it is made."""
        self._more.clear()
        if not self.task.done():
            await self._more.wait()

    async def begin(self) -> None:
        """Until there is something of it; raises what keeps it from beginning."""
        await self._more.wait()
        if self.task.done():
            await self.task

    async def end(self) -> None:
        """Make no more of it."""
        self._stop = True
        await asyncio.gather(self.task, return_exceptions=True)


def _pieces(desk: Desk, begin: Begin, headers: Headers) -> Generator[bytes]:
    with desk.read() as conn:
        told, parts = begin(conn)
        headers.update(told)
        with closing(parts):
            yield from filter(None, parts)
