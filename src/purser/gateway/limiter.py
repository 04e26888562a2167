"""The limiter: counts every account's requests against this process's shares of their rates, in memory (Q1)."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from purser.core.period import SECOND
from purser.core.ratelimit import SMALL, WINDOW, Given, too_much_spare, whole_seconds
from purser.flows import rates
from purser.gateway.cashier import Cashier
from purser.store.rates import Bucket, requests_of

_WAIT = SECOND // 4  # how long a request waits for what other writers may give back
_LOOK_SECONDS = 0.05
_QUIET = WINDOW  # what was used comes back no sooner; whoever needs it asks for it
_SURE = SECOND // 5  # how long the store's no is believed where it cannot say when it will be yes
_SOMEWHEN = 5  # seconds: something comes free, nobody knows when


class Counted(NamedTuple):
    """What came of counting a request: let through where `wait` is 0, else the seconds until it would be.

    `most` is the rate in force, `left` how many more this process knows to be there.
    """

    wait: int
    most: int
    left: int


@dataclass(slots=True, eq=False)
class _Own:
    """This process's share of one account's rate, and the instants of what it let through in the last minute.

    Of the share, `usable` may be used: nothing of it once the account changed, until the store was asked anew.
    """

    most: int = 0  # the rate when last heard; 0 where more of it is taken than there is
    share: int = 0
    usable: int = 0
    left: int = 0  # what the store still had to give when last heard
    seen: deque[int] = field(default_factory=deque)
    refused_until: int = 0  # the store has said no, for so long
    free_at: int = 0  # when something comes free, as it said then; 0: it did not
    asking: int = 0
    question: asyncio.Future[Any] | None = None  # to the store, for others to wait for
    used_at: int = 0


class Limiter:
    """Lets requests through; every method runs on the event loop, but for `recent`."""

    def __init__(self, cashier: Cashier) -> None:
        self._cashier = cashier
        self._loop = asyncio.get_running_loop()
        self._own: dict[str, _Own] = {}
        cashier.when_anew.append(self.drop)

    # ── counting ─────────────────────────────────────────────────────────────────────────────────────────────────
    def count_at_once(self, account: str) -> int:
        """Count a request within the share at hand; answers how many are left, -1 where the store must be asked."""
        own = self._own.get(account)
        if own is None:
            return -1
        now = int(self._loop.time() * SECOND)
        seen, old = own.seen, now - WINDOW
        while seen and seen[0] <= old:
            seen.popleft()
        spare = own.usable - len(seen)
        if spare <= 0:
            return -1
        seen.append(now)
        return own.left + spare - 1

    async def count(self, account: str, most: int) -> Counted:
        """Count a request, asking the store where the share at hand is used up; `most` is the rate as last heard.

        Waits up to a quarter of a second for what other writers may give back. Raises Unavailable where the store
        cannot be asked.
        """
        until = self._now() + _WAIT
        while True:
            left = self.count_at_once(account)
            if left >= 0:
                return Counted(0, most, left)
            own = self._own.setdefault(account, _Own())
            if own.usable != own.share and most == own.most:
                own.usable = own.share  # what changed was not the rate
                continue
            if self._now() < own.refused_until:
                return Counted(self._wait(own), most, 0)
            if own.question is not None and most > SMALL:  # one at a time: a share is for many
                await asyncio.wait([own.question])
                continue
            given, most, others = await self._ask(account, own)
            if given.counted:
                return Counted(0, most, given.left)
            if given.admitted or own.usable > len(own.seen):
                continue  # unless others were quicker
            if not others or self._now() >= until:
                self._refuse(own, given)
                return Counted(self._wait(own), most, 0)
            await asyncio.sleep(_LOOK_SECONDS)

    async def _ask(self, account: str, own: _Own) -> tuple[Given, int, bool]:
        own.asking += 1

        def done(answer: Any, error: BaseException | None) -> None:
            own.asking -= 1
            if error is None and self._own.get(account) is own:
                self._take_in(own, answer[0], answer[1])

        order, work = requests_of(account), partial(rates.ask, account=account)
        own.question = asking = asyncio.ensure_future(self._cashier.share(order, work, done))
        try:
            found: tuple[Given, int, bool] = await asyncio.shield(asking)
        finally:
            if own.question is asking:
                own.question = None
        return found

    def _take_in(self, own: _Own, given: Given, most: int) -> None:
        own.most = 0 if given.over else most
        own.share += given.share
        own.left = given.left
        own.usable = 0 if given.over else own.share
        if given.admitted:
            own.used_at = self._now()

    def _refuse(self, own: _Own, given: Given) -> None:
        now = self._now()
        own.free_at = 0 if given.wait is None else now + given.wait
        own.refused_until = own.free_at or now + _SURE

    def _wait(self, own: _Own) -> int:
        if own.free_at:
            return whole_seconds(own.free_at - self._now())
        return whole_seconds(own.seen[0] + WINDOW - self._now()) if own.seen else _SOMEWHEN

    def recent(self, account: str) -> int:
        """How many requests of the last minute this process let through by its share; may be called from any thread."""
        own, since = self._own.get(account), self._now() - WINDOW
        return 0 if own is None else sum(at > since for at in list(own.seen))

    # ── what changes ─────────────────────────────────────────────────────────────────────────────────────────────
    def forget(self, accounts: Collection[str] | None) -> None:
        """Something about these accounts changed (None: about any), their rates perhaps: the store is asked again."""
        for account in list(self._own) if accounts is None else accounts:
            own = self._own.get(account)
            if own is not None:
                own.usable = own.refused_until = own.free_at = 0

    def drop(self) -> None:
        """The writer was closed by another process: what it had counts there until it is a minute old."""
        self._own = {}

    async def give_back(self, wanted: Collection[Bucket]) -> None:
        """Give back what was not used for a minute: of accounts gone quiet or changed, where wanted, or much."""
        now, returns = self._now(), list[tuple[Bucket, int]]()
        for account, own in list(self._own.items()):
            while own.seen and own.seen[0] <= now - WINDOW:
                own.seen.popleft()
            spare, bucket = own.share - len(own.seen), requests_of(account)
            idle = own.used_at <= now - _QUIET and (not own.seen or own.seen[-1] <= now - _QUIET)
            if own.asking or spare < 0:
                continue
            if not (idle or bucket in wanted or own.usable < own.share):
                spare = too_much_spare(spare, own.most)
            if spare:
                own.share -= spare  # at once: from here on nobody uses it
                own.usable = min(own.usable, own.share)
                returns.append((bucket, spare))
            elif idle and not own.share and own.refused_until <= now:
                del self._own[account]
        if returns:
            await self._return(returns)

    async def _return(self, returns: list[tuple[Bucket, int]]) -> None:
        owns = [self._own[bucket.account] for bucket, _ in returns]

        def ended(error: BaseException | None) -> None:
            for own, (bucket, spare) in zip(owns, returns, strict=True):
                if self._own.get(bucket.account) is not own:
                    continue  # of a writer that was closed meanwhile, whose share is over
                if error is not None:
                    own.share += spare
                else:
                    own.left += spare

        await self._cashier.run(lambda tx: rates.give_back(tx, returns), ended)

    def _now(self) -> int:
        return int(self._loop.time() * SECOND)
