"""The real program as a process of its own: started, called over HTTP, looked into from outside, stopped."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from purser.core.ratelimit import Rate
from purser.store import rates, usage
from purser.store.db import Database
from tests import databases
from tests.loaded import PROGRAM, start
from tests.ports import free_port

ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 60
# A rule says what takes a second on a machine that does its work; on a busy one everything is slower by as much.
PATIENCE = 5
NANOS = Decimal("0.000000001")


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP answer, read whole."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.raw)

    @property
    def cost(self) -> Decimal:
        """What the answer says it cost: in its header, or in a stream's usage chunk."""
        told = self.headers.get("x-purser-cost-usd")
        if told is None:
            [told] = [chunk["usage"]["cost_usd"] for chunk in self.chunks if chunk.get("usage")]
        return Decimal(told)

    @property
    def chunks(self) -> list[dict[str, Any]]:
        """The JSON chunks of a stream."""
        lines = [line[6:] for line in self.raw.decode().splitlines() if line.startswith("data: ")]
        return [json.loads(line) for line in lines if line != "[DONE]"]


class Caller:
    """One client: a connection that is kept, and opened again where it broke."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._line: http.client.HTTPConnection | None = None

    def call(self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request, sent once; raises OSError or HTTPException where the connection breaks."""
        if self._line is None:
            self._line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        sent = {"authorization": f"Bearer {self._key}", "content-type": "application/json", **(headers or {})}
        try:
            self._line.request(method, path, None if body is None else json.dumps(body).encode(), sent)
            answer = self._line.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, found, answer.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise

    def chat(self, text: str, *, model: str = "grand", headers: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """One chat completion."""
        body = {"model": model, "messages": [{"role": "user", "content": text}], **more}
        return self.call("POST", "/v1/chat/completions", body, headers)

    def connect(self) -> int:
        """Open the connection now; answers its own port."""
        self._line = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        self._line.connect()
        return int(self._line.sock.getsockname()[1])

    def close(self) -> None:
        """Close the connection."""
        if self._line is not None:
            self._line.close()
            self._line = None

    def __enter__(self) -> Caller:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Program:
    """A running `purser demo`, and what a test does with it."""

    def __init__(self, process: subprocess.Popen[bytes], details: dict[str, str], data: Path, log: Path) -> None:
        self.process, self.data, self._log = process, data, log
        self.base_url, self.api_key, self.operator_key = (
            details[name] for name in ("base_url", "api_key", "operator_key")
        )
        self.port = int(self.base_url.rpartition(":")[2])
        self.database_url = databases.at(data / "purser.db")

    @property
    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    # ── over HTTP ────────────────────────────────────────────────────────────────────────────────────────────────
    def caller(self, key: str | None = None) -> Caller:
        """A client with a connection of its own, of the demo account unless a key is given."""
        return Caller(self.port, key or self.api_key)

    def operate(self, method: str, path: str, body: Any = None) -> Any:
        """An operator's call on a fresh connection; answers its JSON and insists on a 2xx."""
        with self.caller(self.operator_key) as caller:
            answer = caller.call(method, path, body)
        assert answer.status in (200, 201), (method, path, answer)
        return answer.json

    def open(self, account: str, credit: str = "1.00") -> str:
        """Open an account; answers its owner's key."""
        body = {"id": account, "email": f"{account}@example.com", "signupCreditUsd": credit}
        return str(self.operate("POST", "/operator/v1/accounts", body)["apiKey"]["key"])

    def card(self, account: str) -> None:
        """Put a card on file."""
        self.operate("POST", f"/v1/accounts/{account}/paymentMethods", {"token": "pm_card_visa"})

    def price(self, model: str, dollars: str) -> None:
        """Give a model one price per million for whatever it reads or writes."""
        rates = {"input": dollars, "cached_input": dollars, "output": dollars}
        self.operate("POST", "/operator/v1/prices", {"models": {model: rates}})

    def balance(self, account: str) -> Any:
        return self.operate("GET", f"/v1/accounts/{account}/balance")

    def spent(self, account: str) -> Decimal:
        """What an account has spent this month, dollars, exact."""
        return Decimal(self.balance(account)["spentThisMonthUsd"])

    def violations(self) -> Any:
        """What the audit finds wrong."""
        return self.operate("POST", "/operator/v1/audit")["violations"]

    def engine_log(self) -> list[Any]:
        """What the model server says of its requests, oldest first."""
        upstream = re.findall(r'upstream = "http://127\.0\.0\.1:(\d+)/v1"', (self.data / "purser.toml").read_text())
        with Caller(int(upstream[0]), "none") as caller:
            return list(caller.call("GET", "/v1/counters?requests=10000").json["requests"])

    # ── from outside ─────────────────────────────────────────────────────────────────────────────────────────────
    def booked(self, account: str) -> dict[str, Decimal]:
        """The cost of each request in the books by its id, read from the database; insists that ids are unique."""
        db = Database(self.database_url)
        try:
            with db.read() as conn:
                events = usage.list_events(conn, account, limit=1_000_000)
        finally:
            db.dispose()
        costs = {event.id: event.cost * NANOS for event in events}
        assert len(costs) == len(events)
        return costs

    def rate(self, account: str) -> Rate:
        """What counts against an account's requests per minute, read from the database."""
        db = Database(self.database_url)
        try:
            with db.read() as conn:
                return rates.get_rate(conn, rates.requests_of(account), time.monotonic_ns() // 1_000)
        finally:
            db.dispose()

    def workers(self) -> list[int]:
        """The processes that serve: this one, or its workers."""
        ours = command_line(self.process.pid)
        found = [pid for pid in children(self.process.pid) if command_line(pid) == ours]
        return found or [self.process.pid]

    def caller_per_worker(self, key: str) -> dict[int, Caller]:
        """A client on each worker, so that all of them can be asked; a kernel spreads connections as it likes."""
        found: dict[int, Caller] = {}
        spare = []
        for _ in range(50):
            burst = {caller.connect(): caller for caller in (self.caller(key) for _ in range(16))}
            for caller in burst.values():
                caller.call("GET", "/verifyApiKey")  # accepted by now
            owners = owners_of(burst, self.workers())
            for port, caller in burst.items():
                if port in owners and owners[port] not in found:
                    found[owners[port]] = caller
                else:
                    spare.append(caller)
            if len(found) == len(self.workers()):
                break
        for caller in spare:
            caller.close()
        assert sorted(found) == sorted(self.workers())
        return found

    def stop(self, name: signal.Signals = signal.SIGTERM, seconds: int = 45) -> int:
        """Send the program a signal and wait for its end; answers its exit code."""
        if self.process.poll() is None:
            self.process.send_signal(name)
        return self.process.wait(seconds)


@contextmanager
def demo(folder: Path, *options: str) -> Iterator[Program]:
    """A demo for some tests; whatever happens, nothing of it is left."""
    credentials, log, data = folder / "demo.json", folder / "demo.log", folder / "data"
    command = [*PROGRAM, "demo", "--port", str(free_port())]
    command += ["--credentials", str(credentials), "--data", str(data), *options]
    with log.open("wb") as output:
        process = start(
            command,
            cwd=folder,
            env=environment(data / "purser.db"),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    family: set[int] = set()
    try:
        assert eventually(lambda: credentials.exists() or process.poll() is not None, READY_SECONDS)
        program = Program(process, json.loads(credentials.read_text()), data, log)
        with program.caller() as caller:
            assert caller.call("GET", "/readyz").status == 200
        yield program
    finally:
        family |= {process.pid, *descendants(process.pid)}
        for pid in family:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        process.wait(10)
    assert "Traceback" not in program.log
    assert "Fatal Python error" not in program.log


def environment(path: Path | None = None) -> dict[str, str]:
    """The surroundings without what would set Purser up in another way, but with a path's database on a server."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("PURSER_")}
    if path is not None and not databases.is_sqlite():
        found["PURSER_DATABASE_URL"] = databases.at(path)
    return found


def eventually(true: Callable[[], object], seconds: float) -> bool:
    """Whether something becomes true in that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return True
        time.sleep(0.02)
    return bool(true())


# ── processes and sockets, as the kernel shows them ──────────────────────────────────────────────────────────────────
def children(pid: int) -> list[int]:
    """The processes that a process has started, zombies left out."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                state, parent = (folder / "stat").read_text().rpartition(")")[2].split()[:2]
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(parent) == pid and state != "Z":
                found.append(int(folder.name))
    return sorted(found)


def descendants(pid: int) -> list[int]:
    """The processes below a process."""
    return [each for child in children(pid) for each in (child, *descendants(child))]


def command_line(pid: int) -> list[bytes]:
    """The words that a process was started with; none where it is gone, if only nobody has waited for it yet."""
    try:
        return [word for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0") if word]
    except (FileNotFoundError, ProcessLookupError):
        return []


def owners_of(ports: Iterable[int], pids: Iterable[int]) -> dict[int, int]:
    """Which process serves each connection, by the client's port; one that ends meanwhile serves none."""
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    wanted = set(ports)
    inodes = {words[9]: port for words in lines if (port := int(words[2].rpartition(":")[2], 16)) in wanted}
    owners = {}
    for pid in pids:
        try:
            links = list(Path(f"/proc/{pid}/fd").iterdir())
        except (FileNotFoundError, ProcessLookupError):
            continue
        for link in links:
            try:
                inode = re.fullmatch(r"socket:\[(\d+)\]", os.readlink(link))
            except (FileNotFoundError, ProcessLookupError):
                continue
            if inode is not None and inode[1] in inodes:
                owners[inodes[inode[1]]] = pid
    return owners
