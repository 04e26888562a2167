"""Claims on request ids: a client that names its requests gets each served once, whichever process it meets."""

from __future__ import annotations

from functools import partial

from purser.core.errors import Unavailable
from purser.core.money import format_usd
from purser.flows import claims
from purser.gateway.cashier import Cashier
from purser.gateway.refusals import Refusal

Claim = tuple[str, str]  # account and id


class Claims:
    """The ids under which this process serves requests, claimed in the store before an upstream is called.

    Every method runs on the event loop. Requests that their client gave no id to have nothing to do with it.
    """

    def __init__(self, cashier: Cashier) -> None:
        self._cashier = cashier
        self._running: set[Claim] = set()
        self._ended: set[Claim] = set()  # and not yet freed in the store

    async def take(self, account: str, id_: str) -> Claim:
        """Claim an id; raises Refusal (409) where a request of that id runs, here or elsewhere, or was served."""
        claim = (account, id_)
        if claim in self._running or self._cashier.lessee.is_open(account, id_):
            raise self._is_open(id_)
        self._running.add(claim)
        try:
            found: claims.Claimed = await self._cashier.share(claim, partial(claims.claim, account=account, id_=id_))
        except BaseException:
            self.leave(claim)  # the store may have it
            raise
        if found.mine:
            return claim
        self._running.discard(claim)
        if found.cost_nanos is None:
            raise self._is_open(id_)
        cost_usd = format_usd(found.cost_nanos)
        raise Refusal(409, "request_settled", f"Request {id_} was served already.", cost_usd=cost_usd)

    @staticmethod
    def _is_open(id_: str) -> Refusal:
        return Refusal(409, "request_open", f"Request {id_} is running already.")

    async def free(self, claim: Claim) -> None:
        """A request ended with nothing to bill, and its client is about to hear so: it may come again at once."""
        if claim not in self._running:
            return
        try:
            await self._cashier.share(claim, partial(claims.free, ids=[claim]))
        except Unavailable:
            self.leave(claim)  # what the client hears of its request is worth more
        except BaseException:
            self.leave(claim)  # the store may not have heard of it
            raise
        else:
            self._running.discard(claim)

    def leave(self, claim: Claim) -> None:
        """A request has ended, its settlement is at least on the way: its id is freed in a while."""
        if claim in self._running:
            self._running.discard(claim)
            self._ended.add(claim)

    async def free_ended(self) -> None:
        """Free the ids of the requests that have ended since the last time."""
        ended = self._ended - self._running
        self._ended = set()
        if not ended:
            return
        try:
            await self._cashier.share(min(ended), partial(claims.free, ids=ended))
        except Unavailable:
            self._ended |= ended
            raise

    async def tidy(self) -> None:
        """Drop the claims of writers that are closed."""
        await self._cashier.run(claims.free_closed)
