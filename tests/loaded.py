"""The command `purser` started from a process that has it loaded: what takes a second each time is done once.

A process of its own in every other way: forked anew from one that has only loaded modules, with streams, folder and
surroundings of its own, and a child of whoever starts it.
"""

from __future__ import annotations

import atexit
import ctypes
import gc
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

PROGRAM = (sys.executable, "-m", "purser.main")
ROOT = Path(__file__).resolve().parent.parent
MODULE = "tests.loaded"
_SUBREAPER = 36  # PR_SET_CHILD_SUBREAPER, linux/prctl.h


class Loaded(subprocess.Popen[Any]):
    """A `Popen` for commands that begin with PROGRAM; of its options those of streams, `cwd` and `env` are heeded."""

    # It is how Popen starts a process, the streams being made, in all versions of Python from 3.11 on.
    def _execute_child(self, args: Sequence[str], *options: Any) -> None:
        _, _, _, _, cwd, env, _, _, _, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, *_ = options
        assert tuple(args[: len(PROGRAM)]) == PROGRAM, args
        streams = [own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))]
        self.pid = _source().start(list(args[len(PROGRAM) :]), str(cwd or os.getcwd()), env or os.environ, streams)
        self._child_created = True
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)  # type: ignore[attr-defined]


def start(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """Start a command, as `Popen` does: from what is loaded where it begins with PROGRAM."""
    kind = Loaded if tuple(command[: len(PROGRAM)]) == PROGRAM else subprocess.Popen
    return kind(command, **options)


def run(
    command: Sequence[str], *, cwd: Path, env: Mapping[str, str], typed: str = "", timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run a command that begins with PROGRAM to its end; answers what it printed, as text."""
    ends = subprocess.PIPE
    with Loaded(command, cwd=cwd, env=env, stdin=ends, stdout=ends, stderr=ends, text=True) as process:
        try:
            stdout, stderr = process.communicate(typed, timeout=timeout)
        except BaseException:
            process.kill()
            raise
    return subprocess.CompletedProcess(command, process.returncode, stdout, stderr)


class _Source:
    """The process that has everything loaded and forks programs, which become this one's children."""

    def __init__(self) -> None:
        # Each program's parent ends at once, so that the program is inherited by this process, which can wait for it.
        assert ctypes.CDLL(None, use_errno=True).prctl(_SUBREAPER, 1, 0, 0, 0) == 0
        self._line, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._process = subprocess.Popen(
            [sys.executable, "-m", MODULE, str(its.fileno())],
            cwd=ROOT,
            pass_fds=[its.fileno()],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        its.close()
        atexit.register(self.end)

    def start(self, arguments: list[str], folder: str, environment: Mapping[str, str], streams: Sequence[int]) -> int:
        """Start a program; answers its process id."""
        message = json.dumps([arguments, folder, dict(environment)]).encode()
        socket.send_fds(self._line, [message], streams)
        return int(self._line.recv(64))

    def end(self) -> None:
        """End it; programs go on."""
        self._line.close()
        self._process.wait()


@cache
def _source() -> _Source:
    return _Source()


# ── in the process that has everything loaded ────────────────────────────────────────────────────────────────────────
def _become(line: socket.socket) -> list[str]:
    """Wait for what to start; answers only in a process started, with its arguments."""
    while True:
        message, streams, _, _ = socket.recv_fds(line, 1 << 20, 3)
        if not message:
            os._exit(0)
        ours, its = os.pipe()
        between = os.fork()
        if between == 0:
            pid = os.fork()
            if pid == 0:
                break
            os.write(its, str(pid).encode())
            os._exit(0)
        os.waitpid(between, 0)
        line.send(os.read(ours, 64))
        for each in (ours, its, *streams):
            os.close(each)
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.closerange(3, 256)
    os.setsid()
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w", buffering=1)  # noqa: SIM115 - as it starts
    arguments, folder, environment = json.loads(message)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    return list(arguments)


@contextmanager
def _quiet() -> Iterator[None]:
    """An interrupt of the tests is for those who started the programs to pass on."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def main() -> None:
    """Load everything, then be whatever program is asked for."""
    import purser.inbound.cli.app
    import purser.main.commands
    import purser.main.demo
    import purser.main.process
    import purser.main.supervisor

    gc.collect()
    gc.freeze()  # what is loaded is not gone through again in each program, which would copy its memory
    with _quiet():
        arguments = _become(socket.socket(fileno=int(sys.argv[1])))
    sys.argv[:] = ["purser", *arguments]
    try:
        purser.main.run()
    except SystemExit as end:
        sys.stdout.flush()
        os._exit(end.code if isinstance(end.code, int) else 0)  # nor cleared up, which takes as long


if __name__ == "__main__":
    main()
