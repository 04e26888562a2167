"""What is killed: serving processes on one database, alone and under a supervisor, each started anew where it died."""

from __future__ import annotations

import os
import re
import secrets
import signal
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from tests.demo.fleet import model_server, program
from tests.demo.program import READY_SECONDS, Caller, Program, command_line, descendants, eventually
from tests.ports import free_port

_TIERS = '\n[[tiers]]\nspend_usd = "0"\nlimit_usd = "999999999"\n'
TTL_SECONDS, DRAIN_SECONDS = 8, 4  # short, so that one that stands still is soon closed by the others
_SETTINGS = {
    "PURSER_TTL_SECONDS": str(TTL_SECONDS),
    "PURSER_DRAIN_SECONDS": str(DRAIN_SECONDS),
    "PURSER_RATE_LIMITS_REQUESTS_PER_MINUTE": "1000000",
    "PURSER_RATE_LIMITS_REQUESTS_PER_MINUTE_UNVERIFIED": "1000000",
}
_GAVE_UP = "workers die as soon as they start"
_ENDED = re.compile(r"worker \d+ ended with (-?\d+)")
STOP_SECONDS = 45


@dataclass(slots=True)
class Seat:
    """A place where a program serves: by itself, or supervising so many workers; `starts` counts its programs."""

    number: int
    workers: int
    port: int
    program: Program | None = None
    starts: int = 0
    expected: bool = False  # its end was our doing


class Serving:
    """A model server and serving programs in a folder; leaves nothing of them running when it is closed.

    With a fault the programs run through the module that plants it.
    """

    def __init__(self, folder: Path, singles: int, supervised: int, fault: str | None) -> None:
        self._folder, self._data, self._stack = folder, folder / "data", ExitStack()
        self._operator_key = f"op_{secrets.token_hex(24)}"
        self._data.mkdir(exist_ok=True)
        planted = ["tests.crash.faults", fault] if fault else ["purser.main"]
        self._command = [sys.executable, "-m", *planted, "serve"]
        self.gave_up = 0
        self.seats = [Seat(n, 1, free_port()) for n in range(singles)]
        if supervised:
            self.seats.append(Seat(singles, supervised, free_port()))

    def __enter__(self) -> Serving:
        self._stack.enter_context(model_server(self._folder, self._data))
        with (self._data / "purser.toml").open("a") as config:
            config.write(_TIERS)
        try:
            for seat in self.seats:
                self.start(seat)
            assert eventually(lambda: all(self.is_ready(seat) for seat in self.seats), 2 * READY_SECONDS), self.logs()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Kill whatever is left."""
        for pid in [pid for seat in self.seats for pid in self._family(seat)]:
            send(pid, signal.SIGKILL)
        self._stack.close()

    def _family(self, seat: Seat) -> list[int]:
        if seat.program is None or seat.program.process.poll() is not None:
            return []
        pid = seat.program.process.pid
        return [pid, *descendants(pid)]

    # ── what runs ────────────────────────────────────────────────────────────────────────────────────────────────
    def start(self, seat: Seat) -> None:
        """Start the program of a seat that has none; a supervisor gets a new port, as workers may have the old."""
        if seat.workers > 1 and seat.starts:
            seat.port = free_port()
        log = self._folder / f"serve-{seat.number}-{seat.starts}.log"
        command = self._command if seat.workers == 1 else [*self._command, "--workers", str(seat.workers)]
        more = {**_SETTINGS, "PYTHONPATH": str(Path(__file__).resolve().parent.parent.parent)}
        seat.program = self._stack.enter_context(
            program(command, seat.port, self._data, log, self._operator_key, **more)
        )
        seat.starts += 1
        seat.expected = False

    def pids(self, seat: Seat) -> list[int]:
        """The processes of a seat that serve, or are about to."""
        if seat.program is None or seat.program.process.poll() is not None:
            return []
        if seat.workers == 1:
            return [seat.program.process.pid]
        return [pid for pid in seat.program.workers() if pid != seat.program.process.pid]

    def all_pids(self) -> list[int]:
        """Every process that serves, or is about to."""
        return [pid for seat in self.seats for pid in self.pids(seat)]

    def ports(self) -> list[int]:
        """Where clients may ask; nobody may be there just now."""
        return [seat.port for seat in self.seats for _ in range(seat.workers)]

    def is_ready(self, seat: Seat) -> bool:
        """Whether somebody answers at a seat that can serve."""
        try:
            with Caller(seat.port, self._operator_key) as caller:
                return caller.call("GET", "/readyz").status == 200
        except OSError:
            return False

    def operator(self, seat: Seat) -> Caller:
        """A client with the operator's key."""
        return Caller(seat.port, self._operator_key)

    @property
    def any_program(self) -> Program:
        """One of the programs, whether it runs or not: for what all of them share."""
        found = self.seats[0].program
        assert found is not None
        return found

    def has_lost(self) -> bool:
        """Whether a program is gone that nobody killed, and nobody has asked about it yet."""
        return any(
            seat.program and seat.program.process.poll() is not None and not seat.expected for seat in self.seats
        )

    def ended_by_themselves(self) -> list[str]:
        """The programs that are gone though nobody killed them; a supervisor that gave up is only counted."""
        found = []
        for seat in self.seats:
            ended = seat.program and seat.program.process.poll()
            if seat.program is None or ended is None or seat.expected:
                continue
            seat.expected = True
            if seat.workers > 1 and _GAVE_UP in seat.program.log:
                self.gave_up += 1
            else:
                found.append(f"serve-{seat.number}-{seat.starts - 1} ended with {ended}: {seat.program.log[-500:]}")
        return found

    def stop(self) -> list[str]:
        """Have all of them stop in good order; answers what went wrong with that."""
        running = [seat for seat in self.seats if seat.program and seat.program.process.poll() is None]
        for seat in running:
            assert seat.program is not None
            seat.expected = True
            seat.program.process.send_signal(signal.SIGTERM)
        found = []
        for seat in running:
            assert seat.program is not None
            if code := seat.program.process.wait(STOP_SECONDS):
                found.append(f"serve-{seat.number}-{seat.starts - 1} stopped with {code}")
        return found

    def complaints(self) -> list[str]:
        """What the logs of all that ever ran say that no log should."""
        found = []
        for log in sorted(self._folder.glob("serve-*.log")):
            text = log.read_text(errors="replace")
            found += [f"{log.name}: {words}" for words in ("Traceback", "Fatal Python error") if words in text]
            found += [f"{log.name}: a worker ended with {code}" for code in _ENDED.findall(text) if code != "-9"]
        return found

    def logs(self) -> str:
        """The end of what each of them said."""
        return "\n".join(f"serve-{seat.number}: {seat.program.log[-1000:]}" for seat in self.seats if seat.program)


def is_alive(pid: int) -> bool:
    """Whether a process of ours is there, zombies left out."""
    return bool(command_line(pid))


def is_running(pid: int) -> bool:
    """Whether a process of ours is there and does not stand still."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state not in "TtZX" and is_alive(pid)


def send(pid: int, name: signal.Signals) -> None:
    """Send a signal; nothing where the process is gone."""
    try:
        os.kill(pid, name)
    except ProcessLookupError:
        return
