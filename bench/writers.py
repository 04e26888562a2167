"""Many processes settling on one SQLite file: how long a settlement takes from its request's end to its commit.

`python -m bench.writers [--quick] [--processes N]`. Each process has a writer and an account of its own and settles at
a steady pace, as a worker with that many requests a second does; then as fast as it can, with a few under way.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import threading
import time
from typing import Any

from bench import books, tables
from bench.gateway import scratch
from bench.gateways import ROOT

_PACES = {"50 a second each": 50, "200 a second each": 200, "8 under way each": 0}
_UNDER_WAY = 8


def main() -> None:
    """Measure and print the table, or be one of the processes."""
    parser = argparse.ArgumentParser(prog="python -m bench.writers", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="shorter rounds")
    parser.add_argument("--processes", type=int, default=8)
    parser.add_argument("--one", nargs=4, metavar=("URL", "NAME", "PACE", "SECONDS"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one is not None:
        url, name, pace, seconds = options.one
        _be_one(url, name, int(pace), float(seconds))
        return
    seconds = 2.0 if options.quick else 6.0
    names = [f"account-{n}" for n in range(options.processes)]
    rows = []
    with scratch() as folder:
        url = f"sqlite:///{folder}/books.db"
        with books.open_books(url) as own:
            own.open_accounts(names)
        for label, pace in _PACES.items():
            tables.progress(f"{options.processes} processes on one SQLite file, {label}")
            took = _round(url, names, pace, seconds)
            row = [label, tables.count(len(took) / seconds)]
            rows.append(row + [tables.micros(tables.percentile(took, part)) for part in (0.5, 0.99, 1.0)])
    head = ["", "settlements/s", "p50", "p99", "longest"]
    print(f"{options.processes} processes settling on one SQLite file\n\n{tables.table(head, rows)}\n")


def _round(url: str, names: list[str], pace: int, seconds: float) -> list[float]:
    """Microseconds of every settlement of every process."""
    command = [sys.executable, "-m", "bench.writers", "--one", url]
    processes = [
        subprocess.Popen(
            [*command, name, str(pace), str(seconds)],
            cwd=ROOT,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for name in names
    ]
    for process in processes:
        if process.stdout is None or process.stdout.readline() != "ready\n":
            raise RuntimeError("one of the processes did not start")
    for process in processes:
        if process.stdin is not None:
            process.stdin.write("go\n")
            process.stdin.flush()
    told = [process.communicate()[0] for process in processes]
    return [micros for text in told for micros in json.loads(text)]


def _be_one(url: str, name: str, pace: int, seconds: float) -> None:
    with books.open_books(url, new=False) as own:
        own.take([name])
        most = int(max(pace, 2000) * seconds)
        due = iter(books.events([name], most, f"{name}{pace}"))
        print("ready", flush=True)
        sys.stdin.readline()
        took: list[float] = []
        room = threading.Semaphore(_UNDER_WAY if not pace else most)
        began = time.perf_counter()
        for n, event in enumerate(due):
            if pace:
                time.sleep(max(0.0, began + n / pace - time.perf_counter()))
            if time.perf_counter() - began >= seconds:
                break
            room.acquire()
            since = time.perf_counter()

            def done(_: Any, error: BaseException | None, since: float = since) -> None:
                took.append((time.perf_counter() - since) * 1e6)
                room.release()
                if error is not None:
                    raise error

            own.queue.settle(event, done)
        own.queue.run(lambda _: None)
    print(json.dumps([round(micros) for micros in took]))


if __name__ == "__main__":
    main()
