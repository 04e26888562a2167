"""Books of one process, without a gateway: a writer, its queue, and accounts with headroom to settle on."""

from __future__ import annotations

import os
import platform
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gateways import PRICE
from bench.upstream import CACHED_TOKENS, OUTPUT_TOKENS, PROMPT_TOKENS
from purser.core.limits import Tier
from purser.core.period import month_of
from purser.core.policy import Policy
from purser.core.pricebook import read_price
from purser.core.rating import Charge, rate
from purser.core.usage import quantities
from purser.flows import accounts, requests, setup
from purser.flows.queue import WriteQueue
from purser.flows.requests import Need
from purser.inbound.world import SystemWorld
from purser.store.db import Database
from purser.store.upgrade import upgrade
from purser.store.usage import Event
from purser.store.writers import Tx, Writer

MODEL = "bench"
_PLENTY_NANOS = 10**15
_AT_ONCE = 100
_WORLD = SystemWorld()


@dataclass(slots=True)
class Books:
    """One writer on a database, and what it settles."""

    db: Database
    writer: Writer
    queue: WriteQueue

    def open_accounts(self, names: Sequence[str]) -> None:
        """Open accounts with more credit than a benchmark can spend."""
        for n in range(0, len(names), _AT_ONCE):
            some = names[n : n + _AT_ONCE]

            def work(tx: Tx, some: Sequence[str] = some) -> None:
                for name in some:
                    accounts.open_account(tx, name, f"{name}@example.com", signup_credit_nanos=10 * _PLENTY_NANOS)

            self.queue.run(work)

    def take(self, names: Sequence[str]) -> None:
        """Take headroom on every account for more than a benchmark can settle."""
        month = month_of(_WORLD.now())
        keys = [requests.path(name, month) for name in names]
        needs = [[Need(key, _PLENTY_NANOS, _PLENTY_NANOS, _PLENTY_NANOS) for key in path] for path in keys]
        self.queue.run(lambda tx: [requests.take_headroom(tx, each) for each in needs])


@contextmanager
def open_books(url: str, *, new: bool = True) -> Iterator[Books]:
    """A writer on a database, which is made where it is `new`."""
    db = Database(url)
    if new:
        upgrade(db)
    policy = Policy(tiers=(Tier(0, 0, 100 * _PLENTY_NANOS),))
    writer = Writer(db, _WORLD, policy, host=platform.node() or "localhost", pid=os.getpid())
    queue = WriteQueue(writer)
    if new:
        queue.run(lambda tx: setup.prepare(tx, {MODEL: PRICE}, "op_" + "0" * 48))
    try:
        yield Books(db, writer, queue)
    finally:
        queue.stop()
        writer.close()
        db.dispose()


def events(names: Sequence[str], count: int, prefix: str) -> list[Event]:
    """So many settlements as the gateway makes them, over the accounts in turn."""
    used = quantities(PROMPT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS)
    charge: Charge = rate(used, read_price(MODEL, PRICE))
    now = _WORLD.now()
    month = month_of(now)
    return [
        Event(
            account=names[n % len(names)],
            source="gateway",
            id=f"req_{prefix}{n:016d}",
            model=MODEL,
            user="owner",
            key="key_01m85xsa2v0000000000000000",
            occurred_at=now + n,
            month=month,
            bill_month=month,
            version=1,
            quantities=used,
            parts=charge.parts,
            cost_nanos=charge.amount_nanos,
            held_nanos=2 * charge.amount_nanos,
        )
        for n in range(count)
    ]


def thread_seconds(thread: int) -> float:
    """The CPU time of one of this process's threads."""
    return int(Path(f"/proc/self/task/{thread}/schedstat").read_text().split()[0]) / 1e9


def settle_all(queue: WriteQueue, due: Sequence[Event], waiting: int) -> tuple[float, float]:
    """Settle with at most so many waiting at a time; answers the seconds, and the writer thread's CPU seconds."""
    room = threading.Semaphore(waiting)
    failed: list[BaseException] = []

    def done(_: Any, error: BaseException | None) -> None:
        if error is not None:
            failed.append(error)
        room.release()

    thread = queue.run(lambda _: threading.get_native_id())
    used, began = thread_seconds(thread), time.perf_counter()
    for event in due:
        room.acquire()
        queue.settle(event, done)
    for _ in range(waiting):
        room.acquire()
    took, used = time.perf_counter() - began, thread_seconds(thread) - used
    if failed:
        raise failed[0]
    return took, used
