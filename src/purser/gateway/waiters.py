"""Waiters: requests that wait until money of their account comes back."""

from __future__ import annotations

import asyncio


class Waiters:
    """Who waits, by account; all of it on the event loop."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._by_account: dict[str, list[asyncio.Future[None]]] = {}

    def __bool__(self) -> bool:
        return bool(self._by_account)

    async def wait(self, account: str, seconds: float) -> None:
        """Until something of the account is released, or for so long."""
        waiter = self._loop.create_future()
        self._by_account.setdefault(account, []).append(waiter)
        try:
            await asyncio.wait([waiter], timeout=seconds)
        finally:
            own = self._by_account.get(account, [])
            if waiter in own:
                own.remove(waiter)
            if not own:
                self._by_account.pop(account, None)

    def release(self, account: str) -> None:
        """Something has come back: whoever waits looks again."""
        for waiter in self._by_account.pop(account, ()):
            if not waiter.done():
                waiter.set_result(None)

    def release_all(self) -> None:
        """As `release` for every account."""
        for account in tuple(self._by_account):
            self.release(account)
