"""What a request costs through Purser beside nginx: `make bench-gateway`, or `python -m bench.gateway [--quick]`.

The same requests to the same model server, straight, through nginx and through Purser with exact admission and durable
settlement, in turns. The gateway has one core, load and model server another. CPU is what the kernel counted for all
threads and processes of the gateway; nothing is sampled.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from bench import load, money, peers, tables
from bench.cores import cpu_seconds, load_core, machine, measured_core, memory_bytes
from bench.gateways import ROOT, Gateway, call, model_server, nginx, nginx_program, purser
from bench.upstream import CHUNKS, SENDS

MANY = 64
PACE_MS = 8.0


@dataclass(slots=True)
class Measured:
    """The rounds of one gateway with one kind of request."""

    cpu_micros: list[float] = field(default_factory=list)  # per answer, all of the gateway, MANY connections
    rates: list[float] = field(default_factory=list)
    latencies: dict[int, list[load.Round]] = field(default_factory=dict)  # by connections
    memory: int = 0

    def p(self, name: str, connections: int) -> float:
        """The median over the rounds of a percentile, microseconds."""
        return tables.middle([getattr(each, name) for each in self.latencies.get(connections, [])])


@dataclass(slots=True)
class Bench:
    """One run: what is measured, how long, and what was found."""

    rounds: int
    seconds: float
    server: Gateway
    gateways: list[Gateway]
    bodies: dict[str, Path]
    found: dict[tuple[str, str], Measured] = field(default_factory=dict)
    answered: int = 0  # by Purser, whole
    cut_off: int = 0  # at most so many were under way when a round ended
    broken: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Warm up, then measure everything in turns."""
        for kind in load.KINDS:
            for gateway in self.gateways:
                tables.progress(f"warming up {gateway.name} ({kind})")
                self._press(gateway, kind, MANY, 1)
            for n in range(self.rounds):
                for connections in (MANY, 1):
                    for gateway in self.gateways:
                        tables.progress(
                            f"round {n + 1} of {self.rounds}: {gateway.name}, {kind}, {connections} at once"
                        )
                        self._measure(gateway, kind, connections)

    def _measure(self, gateway: Gateway, kind: str, connections: int) -> None:
        found = self.found.setdefault((gateway.name, kind), Measured())
        used, done = _cpu(gateway), self._answers(kind)
        pressed = self._press(gateway, kind, connections, self.seconds)
        used, done = _cpu(gateway) - used, self._answers(kind) - done
        found.latencies.setdefault(connections, []).append(pressed)
        if connections == MANY:
            found.rates.append(pressed.rate)
            if gateway.pid is not None:
                found.cpu_micros.append(used / done * 1e6)
                found.memory = max(found.memory, memory_bytes(gateway.pid))

    def _press(self, gateway: Gateway, kind: str, connections: int, seconds: float) -> load.Round:
        pressed = load.press(gateway.url, self.bodies[kind], gateway.key, connections=connections, seconds=seconds)
        if pressed.refused or pressed.broken:
            self.broken.append(f"{gateway.name}, {kind}: {pressed.refused} refused, {pressed.broken} broken")
        if gateway.name == "purser":
            self.answered += pressed.requests - pressed.refused
            self.cut_off += connections
        return pressed

    def _answers(self, kind: str) -> float:
        """How many answers the model server has given, streams cut off counted by how far they came."""
        counts = call(self.server.url, "", "GET", "/")
        return float(counts["answers"]) if kind == "JSON" else counts["sends"] / SENDS


def _cpu(gateway: Gateway) -> float:
    return 0.0 if gateway.pid is None else cpu_seconds(gateway.pid)


def ratio(found: dict[tuple[str, str], Measured], name: str, kind: str) -> float | None:
    """How many requests a gateway carries per CPU-second, as a multiple of nginx's; None without nginx."""
    if ("nginx", kind) not in found:
        return None
    return tables.middle(found["nginx", kind].cpu_micros) / tables.middle(found[name, kind].cpu_micros)


def report(bench: Bench) -> str:
    """The tables and the lines that sum them up."""
    text = []
    for kind in load.KINDS:
        what = "answers of 1 KB" if kind == "JSON" else f"of {CHUNKS} chunks, one in every {PACE_MS:g} ms"
        text += [f"{kind} {what}", "", _table(bench, kind), ""]
    text.append(_EXPLANATION)
    for kind in load.KINDS:
        for gateway in bench.gateways:
            times = ratio(bench.found, gateway.name, kind) if gateway.pid is not None else None
            if times is not None and gateway.name != "nginx":
                text.append(f"{gateway.name}  {times:.2f}x nginx per CPU-second ({kind})")
    return "\n".join(text)


def _table(bench: Bench, kind: str) -> str:
    head = ["", "CPU/request", "spread", "requests/CPU-s", "requests/s"]
    head += [f"{name} at {n}" for n in (1, MANY) for name in ("p50", "p99")] + ["memory"]
    straight = bench.found["direct", kind]
    rows = []
    for gateway in bench.gateways:
        found = bench.found[gateway.name, kind]
        cost = tables.middle(found.cpu_micros)
        row = [gateway.name, tables.micros(cost), tables.spread(found.cpu_micros), tables.count(1e6 / cost)]
        row.append(tables.count(tables.middle(found.rates)))
        for connections in (1, MANY):
            for name in ("p50_micros", "p99_micros"):
                value = found.p(name, connections)
                less = 0 if found is straight else straight.p(name, connections)
                row.append(tables.micros(value - less, signed=found is not straight))
        rows.append([*row, tables.mebibytes(found.memory or float("nan"))])
    return tables.table(head, rows)


_EXPLANATION = f"""\
CPU/request: user and system time of every thread and process of the gateway. p50, p99: straight to the model server,
and what a gateway adds to that, with 1 and {MANY} connections that always have a request under way; with {MANY} the
slower gateway is busy all the time, and what it adds is its queue. Streams come at their own pace: requests/s is then
the model server's doing. Purser: `purser serve`, one worker, SQLite with synchronous=FULL; every answer is held for
before it starts and committed before its last byte. Memory: resident, what processes share counted once.
"""


def as_json(bench: Bench) -> dict[str, Any]:
    """The result for programs."""
    found = []
    for (name, kind), each in bench.found.items():
        cost = tables.middle(each.cpu_micros)
        entry: dict[str, Any] = {"gateway": name, "kind": kind, "requests_per_second": tables.middle(each.rates)}
        if each.cpu_micros:
            entry |= {"cpu_micros_per_request": cost, "requests_per_cpu_second": 1e6 / cost}
            entry |= {"cpu_micros_of_rounds": each.cpu_micros, "memory_bytes": each.memory}
            entry["times_nginx_per_cpu_second"] = ratio(bench.found, name, kind)
        entry["rounds"] = {str(n): [asdict(one) for one in rounds] for n, rounds in each.latencies.items()}
        found.append(entry)
    return {"machine": machine(), "measured": found}


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder on the disk of the checkout, where a commit costs what it costs; gone afterwards."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that whatever was started ends with us
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="bench-", dir=ROOT / "build", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def commit_micros(folder: Path) -> float:
    """What a durable commit of one small row takes on this disk, the median: no answer of a lone client is faster."""
    books = sqlite3.connect(folder / "commits.db", isolation_level=None)
    books.execute("PRAGMA journal_mode=wal")
    books.execute("PRAGMA synchronous=full")
    books.execute("CREATE TABLE rows (n INTEGER PRIMARY KEY)")
    took = []
    for n in range(200):
        began = time.perf_counter()
        books.execute("INSERT INTO rows VALUES (?)", (n,))
        took.append((time.perf_counter() - began) * 1e6)
    books.close()
    return tables.middle(took)


def missing() -> str | None:
    """What is not installed and how to install it, None where nothing is missing."""
    programs = {"nginx": nginx_program(), "wrk": load.wrk(), "taskset": shutil.which("taskset")}
    packages = {"nginx": "nginx-light", "wrk": "wrk", "taskset": "util-linux"}
    lacking = [name for name, program in programs.items() if program is None]
    if not lacking:
        return None
    names, install = " and ".join(lacking), " ".join(packages[name] for name in lacking)
    return f"{names} not installed; on Debian: apt-get install --no-install-recommends {install}"


def main() -> int:
    """Run the benchmark; answers the exit code: 1 where the money is not right, 3 where it cannot run here."""
    parser = argparse.ArgumentParser(prog="python -m bench.gateway", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round, for a first impression")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also write every figure there")
    parser.add_argument(
        "--peer",
        type=peers.read_peer,
        action="append",
        default=[],
        metavar="NAME=URL,PID[,KEY]",
        help="a gateway that runs in front of the model server already, measured too",
    )
    parser.add_argument("--model-server-port", type=int, default=0, metavar="N", help="where a peer expects it")
    options = parser.parse_args()
    if (lack := missing()) is not None:
        tables.progress(lack)
        if load.wrk() is None:
            return 3
    with scratch() as folder, ExitStack() as stack:
        server = stack.enter_context(model_server(PACE_MS, options.model_server_port))
        gateways = [server]
        for line in peers.remarks(options.peer, server.url):
            tables.progress(line)
        if (program := nginx_program()) is not None:
            gateways.append(stack.enter_context(nginx(program, folder, server.url)))
        database = folder / "purser.db"
        ours = stack.enter_context(purser(folder, server.url, f"sqlite:///{database}"))
        gateways += [ours, *options.peer]
        bodies = {kind: load.write_body(folder, kind) for kind in load.KINDS}
        bench = Bench(1 if options.quick else 3, 2 if options.quick else 5, server, gateways, bodies)
        where = f"{machine()}, load {os.getloadavg()[0]:.1f} before the start (0 is best)\n"
        where += f"A durable commit of one row takes {tables.micros(commit_micros(folder))} on this disk."
        tables.progress(f"gateway on core {measured_core()}, load and model server on core {load_core()}")
        bench.run()
        print(f"{where}\n\n{report(bench)}")
        if options.json is not None:
            options.json.write_text(json.dumps(as_json(bench), indent=2) + "\n", encoding="utf-8")
        return check(bench, ours, database)


def check(bench: Bench, ours: Gateway, database: Path) -> int:
    """Say whether the money is right; answers the exit code."""
    tables.progress("checking the money")
    time.sleep(1)  # what was cut off last is being settled
    before = money.read_billed(database)
    asked = {kind: money.ask_one_by_one(ours, bench.bodies[kind], times) for kind, times in _COUNTED.items()}
    after = money.read_billed(database)
    served = sum(asked.values())
    wrong = money.check_books(ours, database, bench.answered + served, bench.cut_off)
    if (after.whole - before.whole, after.others - before.others) != (served, 0) or asked != _COUNTED:
        wrong.append(f"asked one by one: {asked} answers, {after.whole - before.whole} events at their price")
    wrong += bench.broken
    for line in wrong:
        print(f"WRONG: {line}")
    if not wrong:
        events = after.whole + after.others
        print(
            f"money   {events:,} usage events for {bench.answered + served:,} whole answers and "
            f"{events - bench.answered - served:,} cut off when a round ended; ${after.nanos / 1e9:,.6f}; audit clean"
        )
    return 1 if wrong else 0


_COUNTED = {"JSON": 200, "streams": 10}

if __name__ == "__main__":
    sys.exit(main())
