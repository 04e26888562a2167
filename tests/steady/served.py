"""A real `purser serve` in processes of its own, before upstreams that a test controls, looked into from outside."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import resource
import secrets
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvloop

from purser.flows import audit
from purser.modelserver import ModelServer
from purser.modelserver import Settings as EngineSettings
from purser.store import schema, usage
from purser.store.db import Database
from tests import databases
from tests.demo.program import (
    NANOS,
    READY_SECONDS,
    Answer,
    Caller,
    children,
    environment,
    eventually,
    owners_of,
)
from tests.loaded import PROGRAM, start
from tests.ports import free_port

PATIENCE = 20  # seconds; what takes longer hangs
PRICE = '{ input = "0.20", cached_input = "0.10", output = "0.80" }'


def need_connections(count: int) -> None:
    """Skip a test, and say so, where the machine allows a process fewer open files than so many connections take."""
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)  # as many as are allowed: see conftest
    if most != resource.RLIM_INFINITY and most < count + 500:
        pytest.skip(f"{count:,} connections need {count + 500:,} open files, and no more than {most:,} are allowed")


class Served:
    """A running server and what a test does with it."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, operator_key: str, database_url: str) -> None:
        self.process, self.port, self.operator_key, self._url = process, port, operator_key, database_url

    # ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────
    def operate(self, method: str, path: str, body: Any = None) -> Any:
        """An operator's call; answers its JSON and insists on a 2xx."""
        with Caller(self.port, self.operator_key) as caller:
            answer = caller.call(method, path, body)
        assert answer.status in (200, 201), (method, path, answer)
        return answer.json

    def open(self, account: str, credit: str = "100.00") -> str:
        """Open an account; answers its key."""
        body = {"id": account, "email": f"{account}@example.com", "signupCreditUsd": credit}
        return str(self.operate("POST", "/operator/v1/accounts", body)["apiKey"]["key"])

    def caller(self, key: str) -> Caller:
        """A client with a connection of its own."""
        return Caller(self.port, key)

    def caller_per_worker(self, key: str) -> dict[int, Caller]:
        """A client on each worker; a kernel spreads connections as it likes."""
        found: dict[int, Caller] = {}
        workers = self.workers
        for _ in range(50):
            burst = {caller.connect(): caller for caller in (self.caller(key) for _ in range(16))}
            for caller in burst.values():
                caller.call("GET", "/verifyApiKey")  # accepted by now
            owners = owners_of(burst, workers)
            for port, caller in burst.items():
                if found.setdefault(owners[port], caller) is not caller:
                    caller.close()
            if len(found) == len(workers):
                break
        assert sorted(found) == sorted(workers)
        return found

    def balance(self, account: str) -> Any:
        return self.operate("GET", f"/v1/accounts/{account}/balance")

    def connect(self, receive_bytes: int | None = None) -> socket.socket:
        """A connection, to send and read any bytes."""
        line = socket.socket()
        if receive_bytes is not None:
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        line.settimeout(PATIENCE)
        line.connect(("127.0.0.1", self.port))
        return line

    # ── from outside ─────────────────────────────────────────────────────────────────────────────────────────────
    @property
    def workers(self) -> list[int]:
        """The processes that serve."""
        return children(self.process.pid) or [self.process.pid]

    def forget_peak(self) -> int:
        """Begin to look for the most memory anew; answers how many bytes the workers have now, together."""
        for pid in self.workers:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        return self.peak()

    def peak(self) -> int:
        """The most bytes that the workers had in memory since then, together."""
        return sum(_peak(pid) for pid in self.workers)

    def events(self, account: str) -> list[Any]:
        """The account's usage events in the books."""
        with self._books() as conn:
            return list(usage.list_events(conn, account, limit=100_000))

    def check(self, account: str) -> list[Any]:
        """Insist that all comes to rest, that the books add up and nobody paid too much; answers the usage events."""
        assert eventually(lambda: self.balance(account)["heldUsd"] == "0.00", PATIENCE), "a hold is left"
        assert self.violations() == []
        events = self.events(account)
        assert all(event.cost <= event.held for event in events)
        assert Decimal(self.balance(account)["spentThisMonthUsd"]) == sum(event.cost for event in events) * NANOS
        return events

    def violations(self) -> list[str]:
        """What the audit finds wrong in the database."""
        with self._books() as conn:
            return [str(one) for one in audit.audit(conn).violations]

    def left(self) -> tuple[int, int, int]:
        """How many writers are open, and how many leases and claims there are."""
        open_writers = sa.select(sa.func.count()).where(schema.writers.c.state == "open")
        with self._books() as conn:
            counts = [sa.select(sa.func.count()).select_from(table) for table in (schema.leases, schema.claims)]
            writers, leases, claims = (int(conn.execute(count).scalar_one()) for count in (open_writers, *counts))
        return writers, leases, claims

    @contextmanager
    def _books(self) -> Iterator[sa.Connection]:
        db = Database(self._url)
        try:
            with db.read() as conn:
                yield conn
        finally:
            db.dispose()

    def stop(self, seconds: int = 30) -> int:
        """Send SIGTERM and wait for the end; answers the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(seconds)


class Asking:
    """Clients that ask at once, and what they are answered, None where they are cut off without an answer."""

    def __init__(self) -> None:
        self.answers: list[Answer | None] = []
        self._threads: list[threading.Thread] = []

    def start(self, caller: Caller, text: str, *, keep: bool = False, **more: Any) -> None:
        """Have one client ask, whose connection is closed after that unless it is to be kept."""

        def ask() -> None:
            try:
                self.answers.append(caller.chat(text, **more))
            except (OSError, http.client.HTTPException):
                self.answers.append(None)
            finally:
                if not keep:
                    caller.close()

        self._threads.append(threading.Thread(target=ask))
        self._threads[-1].start()

    def wait(self) -> list[Answer | None]:
        """What all of them were answered; insists that none hangs."""
        for thread in self._threads:
            thread.join(3 * PATIENCE)
            assert not thread.is_alive(), "a client hangs"
        return self.answers


def request(key: str, model: str = "tiny", text: str = "hello", **more: Any) -> bytes:
    """A chat as bytes."""
    messages = [{"role": "user", "content": text}]
    body = json.dumps({"model": model, "messages": messages, "max_tokens": 50, **more}).encode()
    head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {key}\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(body) + body


def _peak(pid: int) -> int:
    with open(f"/proc/{pid}/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))


@contextmanager
def serving(
    folder: Path, upstreams: Mapping[str, Sequence[str]], *, workers: int = 1, timeout_seconds: int = 2, **settings: Any
) -> Iterator[Served]:
    """A server whose models, by name, have these upstreams; whatever happens, nothing of it is left."""
    folder.mkdir(parents=True, exist_ok=True)
    config, log = folder / "purser.toml", folder / "purser.log"
    url, port, key = databases.at(folder / "purser.db"), free_port(), secrets.token_hex(20)
    config.write_text(_config(upstreams, timeout_seconds, {"port": port, "workers": workers, **settings}))
    command = [*PROGRAM, "serve", "--config", str(config)]
    surroundings = {**environment(), "PURSER_DATABASE_URL": url, "PURSER_OPERATOR_KEY": key}
    with log.open("wb") as output:
        process = start(
            command, cwd=folder, env=surroundings, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
        )
    try:
        assert eventually(lambda: b"serves on" in log.read_bytes() or process.poll() is not None, READY_SECONDS)
        assert process.poll() is None, log.read_text()
        yield Served(process, port, key, url)
    finally:
        family = {process.pid, *children(process.pid)}
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait(10)
    said = log.read_text(errors="replace")
    assert "Traceback" not in said, said


def _config(upstreams: Mapping[str, Sequence[str]], timeout_seconds: int, settings: Mapping[str, int]) -> str:
    lines = [f"{name} = {value}" for name, value in settings.items()]
    lines.append("[rate_limits]\nrequests_per_minute_unverified = 1000000")
    for name, urls in upstreams.items():
        lines.append(f'[[models]]\nname = "{name}"\nupstream_model = "tiny"\nupstream = {json.dumps(list(urls))}')
        lines.append(f"timeout_seconds = {timeout_seconds}\ncontext_tokens = 8192\nmax_output_tokens = 2048")
        lines.append(f"price = {PRICE}")
    return "\n".join(lines) + "\n"


@contextmanager
def engine(**settings: Any) -> Iterator[ModelServer]:
    """The bundled model server, on a loop in a thread of this process."""
    loop = uvloop.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    quick: dict[str, Any] = {"tokens_per_second": 0, "first_token_ms": 0, "context_tokens": 8192, **settings}
    server = ModelServer(EngineSettings(**quick))
    asyncio.run_coroutine_threadsafe(server.start("127.0.0.1", 0), loop).result(10)
    try:
        yield server
    finally:
        asyncio.run_coroutine_threadsafe(server.close(), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()
