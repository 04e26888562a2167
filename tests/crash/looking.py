"""What can be seen from outside of a process at the moment of its death: its requests, its leases, its transaction."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.crash.books import Books
from tests.crash.told import Flight
from tests.demo.program import owners_of

_STOP_SECONDS = 2.0
_SESSIONS = (
    "SELECT w.pid, a.state, a.query, a.client_port FROM pg_locks l JOIN writers w ON w.id = l.objid "
    "JOIN pg_stat_activity a ON a.pid = l.pid WHERE l.locktype = 'advisory' AND l.granted AND l.classid = 1347767154 "
    "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)

# What a kill may hit, in the words of the report.
STARTING = "while it was starting: it had no writer yet"
REQUESTS = "with requests open at the process"
STREAMING = "in the middle of a stream"
LEASES = "with leases open"
WRITING = "in a write (SQLite: it had the write queue; PostgreSQL: in a transaction)"
COMMITTING = "in a commit that the server was making, or had made and the process had not heard of"
BOUNDARY = "while the hot account was at its boundary"
STILL = "stopped and looked at first, so that the above is certain"


@dataclass(slots=True)
class Sight:
    """One process as it was seen last: what it did, and the requests that it had."""

    pid: int
    hit: Counter[str] = field(default_factory=Counter)
    flights: list[Flight] = field(default_factory=list)
    still: bool = False  # it was stopped when it was looked at, so that this is what the kill hit


def is_stopped(pid: int) -> bool:
    """Whether every thread of a process stands still."""
    try:
        states = [
            (task / "stat").read_text().rpartition(")")[2].split()[0] for task in Path(f"/proc/{pid}/task").iterdir()
        ]
    except (FileNotFoundError, ProcessLookupError):
        return True
    return all(state in "TtZX" for state in states)


def wait_until_stopped(pid: int) -> bool:
    """A stop takes a moment where a thread waits for the disk; answers whether it came to it."""
    end = time.monotonic() + _STOP_SECONDS
    while not is_stopped(pid) and time.monotonic() < end:
        time.sleep(0.0005)
    return is_stopped(pid)


def has_write_queue(pid: int, path: str) -> bool:
    """Whether a process has the lock of the write queue beside a SQLite file, by the kernel's list of locks."""
    inode = str(os.stat(f"{path}.queue").st_ino)
    for line in Path("/proc/locks").read_text().splitlines():
        words = line.split()
        if words[1] == "FLOCK" and words[4] == str(pid) and words[5].rpartition(":")[2] == inode:
            return True
    return False


def has_unread(port: int) -> bool:
    """Whether something has come on a connection that the process at that port has not read."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        words = line.split()
        if int(words[1].rpartition(":")[2], 16) == port:
            return int(words[4].rpartition(":")[2], 16) > 0
    return False


def look(pid: int, books: Books, flights: Mapping[int, Flight], pids: Iterable[int]) -> Sight:
    """Look at a process: quickly, and without its help."""
    sight = Sight(pid)
    writing, committing = _see_write(pid, books)
    owners = owners_of(flights, [each for each in pids if Path(f"/proc/{each}").exists()])
    sight.flights = [flight for port, flight in flights.items() if owners.get(port) == pid]
    writers = [f"writer:{id_}" for id_, owner in books.open_writers().items() if owner == pid]
    leases = books.lease_owners()
    found = {
        STARTING: not writers,
        REQUESTS: bool(sight.flights),
        STREAMING: any(flight.stream and flight.begun for flight in sight.flights),
        LEASES: any(writer in leases for writer in writers),
        WRITING: writing,
        COMMITTING: committing,
    }
    sight.hit.update(name for name, true in found.items() if true)
    return sight


def is_writing(pid: int, books: Books) -> bool:
    """Whether a process is in the midst of a transaction that writes."""
    return _see_write(pid, books)[0]


def _see_write(pid: int, books: Books) -> tuple[bool, bool]:
    """Whether a process is in a write, and whether that is at its commit; the latter SQLite does not show."""
    if books.is_sqlite:
        return has_write_queue(pid, books.path), False
    for owner, state, query, port in books.query(_SESSIONS):
        if owner == pid:
            at_commit = str(query).strip().upper().startswith("COMMIT")
            committing = at_commit and (state == "active" or has_unread(port))
            return committing or state == "idle in transaction" or (state == "active" and not at_commit), committing
    return False, False
