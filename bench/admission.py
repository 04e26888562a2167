"""What it takes to let a request through, in this process and in microseconds: key, standing, price, hold.

`python -m bench.admission`. The gateway's own directory and cashier on a real database, everything in memory as it is
after an account's first request; each figure is the best of many runs on one core.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import Any, TypeVar

import uvloop

from bench import load, tables
from bench.cores import measured_core
from bench.gateway import scratch
from bench.gateways import ACCOUNT, configure, open_account
from purser import settings
from purser.core.period import month_of
from purser.flows.lessee import Hold
from purser.gateway import bodies
from purser.gateway.shapes import CHAT
from purser.inbound.api import create_routes
from purser.main import process

_TIMES, _RUNS = 200, 300
T = TypeVar("T")


def main() -> None:
    """Measure and print the table."""
    os.sched_setaffinity(0, {measured_core()})
    with scratch() as folder:
        config, operator_key = configure(folder, "http://127.0.0.1:9", f"sqlite:///{folder}/purser.db")
        rows = uvloop.run(_measure(config, operator_key, load.write_body(folder, "JSON").read_bytes()))
    print(f"Admission in process\n\n{tables.table(['', 'µs'], rows)}\n")


async def _measure(config: Any, operator_key: str, raw: bytes) -> list[list[str]]:
    loaded = settings.load(config, {"PURSER_OPERATOR_KEY": operator_key}, {"port": 0})
    listener = process.listen("127.0.0.1", 0)
    running = await process.start(loaded, [listener], create_routes())
    gateway = running.gateway
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    secret = (await asyncio.to_thread(open_account, url, operator_key)).encode()
    directory, cashier = gateway.directory, gateway.cashier
    await directory.principal(secret)
    await directory.standing(ACCOUNT)
    book = await directory.price_book()  # once: from here on all of it is known, as it is between two requests
    if book is None:
        raise RuntimeError("there are no prices")
    rates, terms = book.models["bench"], gateway.served["bench"].terms
    ask = bodies.ask(bodies.read(CHAT, raw), terms)
    month = month_of(gateway.world.now())
    await gateway.limiter.count(ACCOUNT, loaded.requests_per_minute)
    first = await cashier.hold("first", ACCOUNT, month, book.version, rates, ask)
    cashier.void(first[0])  # type: ignore[index]
    holds: list[Hold] = []
    names = [f"request-{n}" for n in range(_TIMES)]

    def key() -> None:
        _known(directory.known_principal(secret))

    def stand() -> None:
        if gateway.limiter.count_at_once(_known(directory.known_standing(ACCOUNT)).account) < 0:
            raise RuntimeError("the rate's share at hand is used up")

    def price() -> None:
        now = gateway.world.now()
        _known(_known(directory.known_book(now)).models.get("bench"))
        month_of(now)

    def hold() -> None:
        id_ = names[len(holds)]
        holds.append(_known(cashier.hold_at_once(id_, ACCOUNT, month, book.version, rates, ask))[0])

    def release() -> None:
        for each in holds:
            cashier.void(each)
        holds.clear()

    steps: dict[str, Callable[[], object]] = {
        "key: whose it is": key,
        "standing, and the request counted": stand,
        "price book and month": price,
        "hold": hold,
    }
    took = {name: _best(step, release) for name, step in steps.items()}
    took["admission, all of it"] = sum(took.values())
    took["beside it: body read and bounded"] = _best(lambda: bodies.ask(bodies.read(CHAT, raw), terms))
    await process.stop(running, 1)
    return [[name, f"{micros:.1f}"] for name, micros in took.items()]


def _known(found: T | None) -> T:
    if found is None:
        raise RuntimeError("admission would have to ask the database")
    return found


def _best(step: Callable[[], object], between: Callable[[], object] = lambda: None) -> float:
    """Microseconds of one step, the best of many runs; `between` runs is not timed."""
    best = float("inf")
    for _ in range(_RUNS):
        began = time.perf_counter()
        for _ in range(_TIMES):
            step()
        best = min(best, time.perf_counter() - began)
        between()
    return best / _TIMES * 1e6


if __name__ == "__main__":
    main()
