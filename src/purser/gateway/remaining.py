"""What remains: an account's headroom as answers and quotes tell it, by this process's leases and the store (H2).

What this process holds and uses it knows to the nano-dollar. What the store still has to grant moves when something
about the account changes, which is heard of; what other writers use is read again where it was read too long ago.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from purser.core.period import SECOND
from purser.flows.lessee import Hold, Lessee, Share, remaining_of
from purser.store import headroom
from purser.store.db import Database
from purser.store.headroom import RowKey
from purser.store.writers import Writer

log = logging.getLogger("purser.gateway")
_FRESH = SECOND // 2  # what others use is read again after so long
_OLD = SECOND  # and is not told any more after so long
_MOST_AT_ONCE = 500  # accounts in one look
_PAUSE_SECONDS = 0.005
_PATIENCE_SECONDS = 0.25  # an answer waits no longer than this for figures that it only tells


class Remaining:
    """Reads the figures of accounts whose answers are about to tell them, many in one look; call on the event loop."""

    def __init__(self, db: Database, lessee: Lessee, writer: Writer, now: Callable[[], int]) -> None:
        self.shared = True  # whether other writers take and give back headroom beside this one
        self._db, self._lessee, self._writer, self._now = db, lessee, writer, now
        self._loop = asyncio.get_running_loop()
        self._wanted: dict[str, set[RowKey]] = {}
        self._looking: asyncio.Task[None] | None = None

    def watch(self, hold: Hold) -> None:
        """An answer will tell what remains, which others move too: see to it that it is known by then."""
        if self.shared and not self._is_known(hold.shares, _FRESH):
            self._want(hold.keys)

    async def tell(self, hold: Hold) -> int | None:
        """What remains on a hold's path, nano-dollars; None where nothing limits it."""
        if not self._is_known(hold.shares, _OLD):
            await self._know(hold.keys, hold.shares)
        return remaining_of(hold.shares)

    def at_once(self, hold: Hold) -> tuple[bool, int | None]:
        """Whether what remains on a hold's path can be told at once, and what `tell` would answer."""
        shares = hold.shares
        if not self._is_known(shares, _OLD):
            return False, None
        return True, remaining_of(shares)

    def _is_known(self, shares: Sequence[Share], age: int) -> bool:
        since = self._now() - age if self.shared else 0
        for share in shares:  # noqa: SIM110 - a generator costs more than the loop
            if not share.known or share.heard_at < since:
                return False
        return True

    async def look(self, keys: Sequence[RowKey]) -> dict[RowKey, int | None]:
        """What remains of each row of a path just now, however fresh it seems; rows that are not there are left out."""
        shares = [self._lessee.share(key) for key in keys]
        await asyncio.wait([self._want(keys)])
        await self._know(keys, shares)
        return {key: remaining_of([share]) for key, share in zip(keys, shares, strict=True) if share.known}

    async def _know(self, keys: Sequence[RowKey], shares: Sequence[Share]) -> None:
        end = self._loop.time() + _PATIENCE_SECONDS
        while not self._is_known(shares, _OLD) and self._loop.time() < end:
            await asyncio.wait([self._want(keys)], timeout=_PATIENCE_SECONDS)
            if any(share.moving for share in shares):
                await asyncio.sleep(_PAUSE_SECONDS)

    def _want(self, keys: Sequence[RowKey]) -> asyncio.Task[None]:
        self._wanted.setdefault(keys[0].account, set()).update(keys)
        if self._looking is None or self._looking.done():
            self._looking = asyncio.ensure_future(self._look())
        return self._looking

    async def _look(self) -> None:
        while self._wanted:
            await asyncio.sleep(0)  # whoever wants to know in this turn of the loop shares the look
            some = list(self._wanted)[:_MOST_AT_ONCE]
            keys = [key for account in some for key in self._wanted.pop(account)]
            turns = {key: turn for account in some for key, turn in self._lessee.turns(account).items()}
            at = self._now()
            try:
                found = await asyncio.to_thread(self._read, keys)
            except Exception as error:
                log.warning("what remains of accounts could not be read: %s", error)
                return
            for key, left, others in found:
                self._lessee.hear(key, left, others, at, turns.get(key))

    def _read(self, keys: Sequence[RowKey]) -> list[tuple[RowKey, int | None, int]]:
        with self._db.read() as conn:
            return headroom.list_left(conn, keys, self._writer.owner)

    async def close(self) -> None:
        """Look no more."""
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.gather(self._looking, return_exceptions=True)
