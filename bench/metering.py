"""How many usage events a second the metering API takes in: `python -m bench.metering [--seconds N] [--quick]`.

With one worker `purser serve` has one core and its clients the other, as an engine's reporters would have their own;
with two they share both. Each client posts lists of 1,000 events, the next when it has the answer to the last; every
event has an id of its own, and the accounts take turns. Afterwards the books must hold every event that was
acknowledged, at its exact price, and pass the audit; otherwise the benchmark fails. On PostgreSQL the server shares the
cores.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench import postgres, tables
from bench.cores import cpu_seconds, machine
from bench.gateway import scratch
from bench.gateways import Gateway, call, purser

_LIST = 1_000
_CLIENTS = 4
_QUANTITIES = {"input_tokens": 1_200, "cached_input_tokens": 800, "output_tokens": 300}
_COST_NANOS = 400 * 950 + 800 * 160 + 300 * 4_000  # at bench.gateways.PRICE


class Broken(Exception):
    """The books are not what was acknowledged."""


def main() -> int:
    """Measure and print the table; answers the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.metering", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--quick", action="store_true", help="three seconds each")
    options = parser.parse_args()
    seconds = 3.0 if options.quick else options.seconds
    print(f"{machine()}\n")
    rows = []
    with scratch() as folder:

        @contextmanager
        def sqlite() -> Iterator[str]:
            yield f"sqlite:///{folder}/purser.db"

        places: dict[str, Callable[[], AbstractContextManager[str]]] = {
            "SQLite": sqlite,
            "PostgreSQL": postgres.database,
        }
        for name, database in places.items():
            for workers, accounts in itertools.product((1, 2), (1, 100)):
                tables.progress(f"reporting to {name}, {workers} workers, {accounts} accounts")
                try:
                    with database() as url:
                        own = folder / f"{name}-{workers}-{accounts}"
                        own.mkdir()
                        if url.startswith("sqlite"):
                            url = f"sqlite:///{own}/purser.db"
                        rows.append([name, *_measure(own, url, workers, accounts, seconds)])
                except postgres.Missing as why:
                    tables.progress(f"{name} left out: {why}")
                    break
    head = ["", "workers", "accounts", "events/s", "CPU/event", "p50 of a list", "slowest list"]
    print(f"Usage reported in lists of {_LIST:,}, {_CLIENTS} clients\n\n{tables.table(head, rows)}\n")
    return 0


def _measure(folder: Path, url: str, workers: int, accounts: int, seconds: float) -> list[str]:
    serving = purser(folder, "http://127.0.0.1:9", url, workers=workers, all_cores=workers > 1, account=False)
    with serving as ours:
        names = [f"account-{n}" for n in range(accounts)]
        for name in names:
            body = {"id": name, "email": f"{name}@example.com", "signupCreditUsd": "1000000"}
            call(ours.url, ours.operator_key, "POST", "/operator/v1/accounts", body)
        _post_all(ours, names, 1.0, "warm")
        used = cpu_seconds(ours.pid or 0)
        taken, waits, took = _post_all(ours, names, seconds, "real")
        used = cpu_seconds(ours.pid or 0) - used
        _check(ours, url, taken)
    waits.sort()
    return [
        *(str(workers), str(accounts), tables.count(taken / took), tables.micros(used / taken * 1e6)),
        *(tables.micros(waits[len(waits) // 2] * 1e6), tables.micros(waits[-1] * 1e6)),
    ]


def _post_all(ours: Gateway, names: list[str], seconds: float, word: str) -> tuple[int, list[float], float]:
    """Post until the time is over; answers the events acknowledged, each list's seconds, and the seconds in all."""
    waits: list[float] = []
    taken = [0] * _CLIENTS
    began = time.monotonic()

    def post(n: int) -> None:
        line = http.client.HTTPConnection(ours.url.removeprefix("http://"), timeout=120)
        headers = {"authorization": f"Bearer {ours.operator_key}", "content-type": "application/json"}
        lists = 0
        while time.monotonic() - began < seconds:
            body = _list(names, f"{word}-{n}-{lists}")
            sent = time.monotonic()
            line.request("POST", "/v1/usage", body, headers)
            answer = line.getresponse()
            said: Any = json.loads(answer.read())
            waits.append(time.monotonic() - sent)
            if answer.status != 200 or said["accepted"] != _LIST:
                raise Broken(f"{answer.status}: {str(said)[:300]}")
            taken[n] += _LIST
            lists += 1
        line.close()

    clients = [threading.Thread(target=post, args=(n,)) for n in range(_CLIENTS)]
    for client in clients:
        client.start()
    for client in clients:
        client.join()
    return sum(taken), waits, time.monotonic() - began


def _list(names: list[str], word: str) -> bytes:
    events = [
        {"id": f"{word}-{n}", "account": names[n % len(names)], "model": "bench", "quantities": _QUANTITIES}
        for n in range(_LIST)
    ]
    return json.dumps(events).encode()


def _check(ours: Gateway, url: str, taken: int) -> None:
    """Raises Broken unless every acknowledged event is in the books at its price and the audit finds nothing."""
    engine = sa.create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as conn:
        events, cost = conn.execute(
            sa.text("SELECT COUNT(*), SUM(cost) FROM usage_events WHERE id LIKE 'real-%'")
        ).one()
    engine.dispose()
    if (events, int(cost)) != (taken, taken * _COST_NANOS):
        raise Broken(f"{taken} events were acknowledged; the books have {events}, at {cost} nano-dollars")
    found = call(ours.url, ours.operator_key, "POST", "/operator/v1/audit")
    if found["violations"]:
        raise Broken(f"the audit finds {found['violations'][:3]}")


if __name__ == "__main__":
    sys.exit(main())
