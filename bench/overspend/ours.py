"""Purser as a contestant: `purser serve` as its users start it, its books read with SQL of this benchmark's own."""

from __future__ import annotations

import os
import secrets
import sqlite3
import sys
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import psycopg

import purser
from bench.gateways import call, free_port
from bench.overspend.contestant import Key
from bench.overspend.judge import INPUT_NANOS, OUTPUT_NANOS
from bench.overspend.processes import Running
from bench.overspend.work import CONTEXT_TOKENS, MOST_OUTPUT_TOKENS

_CONFIG = """\
host = "127.0.0.1"
database_url = "{database_url}"

[[models]]
name = "bench"
upstream = "{upstream}/v1"
engine = "vllm"
context_tokens = {context}
max_output_tokens = {most}
price = {{ input = "{input}", cached_input = "{input}", output = "{output}" }}

[rate_limits]
requests_per_minute = 1000000
requests_per_minute_unverified = 1000000
"""
_BILLED = "SELECT sum(cost) FROM usage_events WHERE account = {}"
_UNBILLED = "SELECT sum(unbilled) FROM headroom WHERE kind = 'credit' AND account = {}"
# What a living process has leased and not used is spare money, which it gives back: only a dead one's is out of reach.
_KEPT_BACK = """\
SELECT sum(leases.share - leases.used) FROM leases JOIN writers ON CAST(writers.id AS TEXT) = leases.owner
WHERE writers.state <> 'open' AND leases.kind = 'credit' AND leases.account = {}"""


class Purser:
    """`purser serve`: one process or several workers on a SQLite file, or two processes on a PostgreSQL database."""

    name, grain, quiet_seconds = "Purser", 0, 1.0

    def __init__(self, folder: Path, upstream: str, *, workers: int = 1, postgresql: str | None = None) -> None:
        self._database_url = postgresql or f"sqlite:///{folder / 'purser.db'}"
        config = folder / "purser.toml"
        figures = {"context": CONTEXT_TOKENS, "most": MOST_OUTPUT_TOKENS}
        prices = {"input": f"{INPUT_NANOS / 1000:g}", "output": f"{OUTPUT_NANOS / 1000:g}"}
        config.write_text(
            _CONFIG.format(database_url=self._database_url, upstream=upstream, **figures, **prices), encoding="utf-8"
        )
        kind = "PostgreSQL, two processes" if postgresql else f"SQLite, {workers} worker{'s' * (workers > 1)}"
        self.how = f"{purser.__version__}, {kind}, an account with that much credit and no payment method"
        self._operator_key = "op_" + secrets.token_hex(24)
        self._ports = [free_port() for _ in range(2 if postgresql else 1)]
        serve = [sys.executable, "-m", "purser.main", "serve", "--config", str(config), "--workers", str(workers)]
        self._processes = [
            Running(
                [*serve, "--port", str(port)],
                port,
                str(folder / f"purser-{port}.log"),
                folder=folder,
                environment={**os.environ, "PURSER_OPERATOR_KEY": self._operator_key},
            )
            for port in self._ports
        ]
        self._accounts: dict[str, str] = {}

    @property
    def urls(self) -> Sequence[str]:
        return [f"http://127.0.0.1:{port}" for port in self._ports]

    def start(self) -> None:
        for process in self._processes:
            process.start()

    def stop(self) -> None:
        for process in self._processes:
            process.stop()

    def kill(self) -> None:
        for process in self._processes:
            process.kill()

    def open(self, budget: int) -> Key:
        account = f"bench-{len(self._accounts)}"
        told = {"id": account, "email": f"{account}@example.com", "signupCreditUsd": f"{budget / 10**9:.9f}"}
        key = str(call(self.urls[0], self._operator_key, "POST", "/operator/v1/accounts", told)["apiKey"]["key"])
        self._accounts[key] = account
        return Key(key)

    def billed(self, key: Key) -> int:
        return self._sum(_BILLED, key)

    def written_off(self, key: Key) -> int:
        return self._sum(_UNBILLED, key)

    def kept_back(self, key: Key) -> int:
        return self._sum(_KEPT_BACK, key)

    def violations(self) -> object:
        """What its own audit finds; no part of the verdict."""
        return call(self.urls[0], self._operator_key, "POST", "/operator/v1/audit")["violations"]

    def _sum(self, query: str, key: Key) -> int:
        account = self._accounts[key.secret]
        if self._database_url.startswith("postgresql"):
            with psycopg.connect(self._database_url) as books:
                row = books.execute(query.format("%s").encode(), (account,)).fetchone()
        else:
            file = self._database_url.removeprefix("sqlite:///")
            with closing(sqlite3.connect(f"file:{file}?mode=ro", uri=True)) as books:
                row = books.execute(query.format("?"), (account,)).fetchone()
        return int(row[0] or 0) if row else 0
