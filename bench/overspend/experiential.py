"""experiential as a contestant: its local gateway with a hard monthly limit for each identity."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from bench.gateways import free_port
from bench.overspend.contestant import Key
from bench.overspend.judge import INPUT_NANOS, OUTPUT_NANOS
from bench.overspend.processes import Running
from bench.overspend.work import MOST_OUTPUT_TOKENS
from bench.peers import Peer

PEER = Peer("experiential", "experiential", ("experiential==0.7.220",), (3, 12))
_ALWAYS = ("--root", "desk", "--non-interactive", "--json")
_BILLED = "SELECT settled_nano_usd FROM gateway_monthly_budgets WHERE identity_id = ?"
_RESERVED = "SELECT reserved_nano_usd FROM gateway_monthly_budgets WHERE identity_id = ?"


class Experiential:
    """`exp --root …`, one process on its SQLite file. Its books are what its limits say is settled."""

    name, grain, quiet_seconds = "experiential", 0, 1.0

    def __init__(self, folder: Path, upstream: str, peers: Path) -> None:
        self.how = (
            f"{PEER.version(peers)}, one process on its SQLite file (it refuses a second), an identity with a hard "
            "monthly limit (budget set --strict-unknown-cost)"
        )
        self._port, self._folder, self._identities = free_port(), folder, dict[str, str]()
        python = PEER.python(peers)
        environment = {**os.environ, "HOME": str(folder), "BENCH_UPSTREAM_KEY": "none"}
        words = f"--root desk --port {self._port} --non-interactive --json --graceful-timeout 1 --ghost"
        self._gateway = Running(
            [str(python.with_name("exp")), *words.split()],
            self._port,
            str(folder / "experiential.log"),
            folder=folder,
            environment=environment,
        )
        self._desk = subprocess.Popen(
            [python, Path(__file__).with_name("experiential_desk.py").resolve()],
            cwd=folder,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._run("config", "telemetry", "disable", "--root", "desk")
        self._order("init")
        where = f"--credential-env BENCH_UPSTREAM_KEY --base-url {upstream}/v1"
        self._order(f"provider add up --provider openai-compatible {where}")
        per_million = {"input": INPUT_NANOS, "cached-input": INPUT_NANOS, "output": OUTPUT_NANOS}
        prices = " ".join(f"--{unit}-price {nanos * 10**6}" for unit, nanos in per_million.items())
        model = f"--deployment up:bench --exact-model bench --maximum-output-tokens {MOST_OUTPUT_TOKENS}"
        self._order(f"alias create bench {model} {prices} --pricing-source list")
        self.open(0)  # it does not start where nobody may use it

    @property
    def urls(self) -> Sequence[str]:
        return [f"http://127.0.0.1:{self._port}"]

    def start(self) -> None:
        self._gateway.start()

    def stop(self) -> None:
        self._gateway.stop()
        self._desk.communicate()

    def kill(self) -> None:
        self._gateway.kill()

    def open(self, budget: int) -> Key:
        identity = f"bench-{len(self._identities)}"
        self._order(f"identity create {identity}")
        self._order(f"grant add {identity} bench")
        month = time.strftime("%Y-%m", time.gmtime())
        self._order(
            f"budget set --period {month} --scope identity --identity {identity} --limit-nano-usd {budget} "
            "--strict-unknown-cost"
        )
        key = str(self._order(f"key issue {identity} --key-id {identity}-key")["data"]["raw_key"])
        self._identities[key] = identity
        return Key(key)

    def billed(self, key: Key) -> int:
        return self._look_up(_BILLED, key)

    def written_off(self, key: Key) -> int:
        return 0

    def kept_back(self, key: Key) -> int:
        return self._look_up(_RESERVED, key)

    def _look_up(self, query: str, key: Key) -> int:
        with closing(sqlite3.connect(f"file:{self._folder}/desk/gateway/gateway.db?mode=ro", uri=True)) as books:
            row = books.execute(query, (self._identities[key.secret],)).fetchone()
        return int(row[0]) if row else 0

    def _order(self, words: str) -> Any:
        told = self._run("config", "gateway", *words.split(), *_ALWAYS)
        found = json.loads(told)
        if "error" in found:
            raise RuntimeError(f"exp config gateway {words}: {found['error']}")
        return found

    def _run(self, *words: str) -> str:
        if self._desk.stdin is None or self._desk.stdout is None:
            raise RuntimeError("the desk of experiential has no pipes")
        self._desk.stdin.write(json.dumps(words) + "\n")
        self._desk.stdin.flush()
        said = ""
        while (line := self._desk.stdout.readline()).strip():
            said += line
        if not line:
            raise RuntimeError(f"the desk of experiential has ended at {' '.join(words)}")
        return said
