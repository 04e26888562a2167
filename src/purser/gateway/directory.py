"""The directory: whose key this is, how the account stands, and which prices are in force, kept in memory and fresh."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from purser.core.errors import Unauthenticated
from purser.core.period import NEVER
from purser.core.policy import Policy
from purser.core.pricebook import PriceBook, in_force
from purser.flows import access, rates, reports, token_limits
from purser.flows.access import Principal
from purser.gateway.cashier import out_of_touch
from purser.store import prices
from purser.store.db import Database

_T = TypeVar("_T")
MOST_KEYS = 100_000
MOST_ACCOUNTS = 100_000
_UNKNOWN_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Standing:
    """What admission needs of an account: the open causes, its requests per minute, whether its tokens are limited."""

    account: str
    causes: dict[str, str]
    prepaid: bool
    requests_per_minute: int
    limits_tokens: bool


def _drop(reading: asyncio.Future[Any]) -> None:
    """What was read too late is nobody's any more, and neither is what went wrong."""
    if not reading.cancelled():
        reading.exception()


class Directory:
    """Caches on the event loop; misses are read from the database in a thread; changes empty what they touch."""

    def __init__(self, db: Database, policy: Policy, now: Callable[[], int]) -> None:
        self._db, self._policy, self._now = db, policy, now
        self._loop = asyncio.get_running_loop()
        self._keys: OrderedDict[bytes, Principal] = OrderedDict()
        self._keys_of: dict[str, set[bytes]] = {}
        self._unknown: dict[bytes, tuple[float, Unauthenticated]] = {}
        self._standings: OrderedDict[str, Standing] = OrderedDict()
        self._books: list[PriceBook] | None = None
        self._book: tuple[PriceBook | None, int, int] = (
            None,
            0,
            0,
        )  # the one in force from the one instant to the other
        self.generation = 0  # moves with every change that is heard of
        with db.read() as conn:
            self._pepper = access.pepper(conn)

    def known_principal(self, secret: bytes) -> Principal | None:
        """Who holds a key, where that is in memory and needs no look at the clock."""
        found = self._keys.get(secret)
        return found if found is not None and found.expires_at is None else None

    def knows(self, secret: bytes) -> bool:
        """Whether it is in memory who holds a key."""
        return secret in self._keys

    async def principal(self, secret: bytes) -> Principal:
        """Who holds a key; raises Unauthenticated."""
        found = self._keys.get(secret)
        if found is None:
            found = await self._find(secret)
        if found.expires_at is not None and found.expires_at <= self._now():
            raise Unauthenticated("the API key has expired")
        return found

    async def _find(self, secret: bytes) -> Principal:
        unknown = self._unknown.get(secret)
        if unknown is not None and self._loop.time() - unknown[0] < _UNKNOWN_SECONDS:
            raise unknown[1].with_traceback(None)
        generation = self.generation
        try:
            text = secret.decode("ascii")
            found = await self._read(self._read_key, text)
        except (UnicodeDecodeError, Unauthenticated) as error:
            if len(self._unknown) > 1000:
                self._unknown.clear()
            closed = isinstance(error, Unauthenticated) and error.code == access.ACCOUNT_CLOSED
            why = error.message if closed else "the API key is unknown, revoked or expired"  # type: ignore[union-attr]
            refusal = Unauthenticated(why, code=access.ACCOUNT_CLOSED if closed else None)
            self._unknown[secret] = (self._loop.time(), refusal)
            raise refusal from None
        if generation == self.generation:
            self._keys[secret] = found
            self._keys_of.setdefault(found.account, set()).add(secret)
            if len(self._keys) > MOST_KEYS:
                self._forget_key(next(iter(self._keys)))
        return found

    async def _read(self, read: Callable[..., _T], *what: Any) -> _T:
        """What a thread reads; raises Unavailable where the database does not answer for as long as a lease holds."""
        reading = asyncio.ensure_future(asyncio.to_thread(read, *what))
        done, _ = await asyncio.wait([reading], timeout=self._policy.ttl_seconds)
        if not done:
            reading.add_done_callback(_drop)
            raise out_of_touch()
        return reading.result()

    def _forget_key(self, secret: bytes) -> None:
        account = self._keys.pop(secret).account
        own = self._keys_of[account]
        own.discard(secret)
        if not own:
            del self._keys_of[account]

    def _read_key(self, secret: str) -> Principal:
        with self._db.read() as conn:
            return access.authenticate(conn, secret, self._now(), self._pepper)

    async def standing(self, account: str) -> Standing:
        """How an account stands."""
        found = self._standings.get(account)
        if found is None:
            generation = self.generation
            found = await self._read(self._read_standing, account)
            if generation == self.generation:
                self._standings[account] = found
                if len(self._standings) > MOST_ACCOUNTS:
                    self._standings.popitem(last=False)
        return found

    def _read_standing(self, account: str) -> Standing:
        with self._db.read() as conn:
            view = reports.view_account(conn, account, self._policy)
            most = rates.requests_per_minute(conn, account, self._policy, self._now())
            limits_tokens = token_limits.is_limited(conn, account, self._policy)
        return Standing(account, {cause.cause: cause.why for cause in view.causes}, view.prepaid, most, limits_tokens)

    def known_standing(self, account: str) -> Standing | None:
        """How an account stands, where that is in memory."""
        return self._standings.get(account)

    def known_book(self, now: int) -> PriceBook | None:
        """The price book in force, where that is in memory."""
        book, since, until = self._book
        return book if since <= now < until else None

    async def price_book(self) -> PriceBook | None:
        """The price book in force."""
        if self._books is None:
            generation = self.generation
            books = await self._read(self._read_books)
            if generation != self.generation:
                return in_force(books, self._now())
            self._books = books
        now = self._now()
        found = in_force(self._books, now)
        later = [book.effective_at for book in self._books if book.effective_at > now]
        self._book = (found, now, min(later, default=NEVER))
        return found

    def _read_books(self) -> list[PriceBook]:
        with self._db.read() as conn:
            return prices.list_books(conn)

    def forget(self, accounts: set[str] | None) -> None:
        """Something about these accounts changed ("" stands for prices and everything shared); None: of all."""
        if accounts is None:
            accounts = {"", *self._standings, *self._keys_of}
        self.generation += 1
        if "" in accounts:
            self._books = None
            self._book = (None, 0, 0)
        for account in accounts:
            self._standings.pop(account, None)
            for secret in tuple(self._keys_of.get(account, ())):
                self._forget_key(secret)
        self._unknown.clear()
