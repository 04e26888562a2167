"""The supervisor: several serving processes on one port; one that dies is started again while the others serve."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from http.client import HTTPConnection
from types import FrameType

_PAUSE_SECONDS = 0.2
_STEADY_SECONDS = 5.0
_QUICK_DEATHS = 5
LISTEN_FD, WORKER = "PURSER_LISTEN_FD", "PURSER_WORKER"


class Supervisor:
    """Starts `count` workers of a command that inherit one listening socket, and keeps them running."""

    def __init__(self, command: list[str], environment: Mapping[str, str], listener: socket.socket, count: int) -> None:
        self._command, self._environment = command, dict(environment)
        self._listener, self._count = listener, count
        self._workers: dict[int, tuple[subprocess.Popen[bytes], float]] = {}
        self._quick = 0
        self._stopping = False

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Run until SIGTERM or SIGINT; answers the exit code: 0, or 1 where workers die as fast as they start."""
        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, self._stop)
        for index in range(self._count):
            self._start(index)
        ready = False
        while not self._stopping:
            if not ready and self._answers():
                ready = True
                on_ready()
            time.sleep(_PAUSE_SECONDS)
            self._revive()
            if self._quick >= _QUICK_DEATHS * self._count:
                print("purser: workers die as soon as they start; stopping", file=sys.stderr)
                self._end()
                return 1
        self._end()
        return 0

    def _answers(self) -> bool:
        """Whether a worker answers on the port; a worker that starts takes no more than the pause to be asked again."""
        host, port = self._listener.getsockname()[:2]
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        line = HTTPConnection(local, port, timeout=_PAUSE_SECONDS)
        try:
            line.request("GET", "/healthz")
            return line.getresponse().status == 200
        except OSError:
            return False
        finally:
            line.close()

    def _start(self, index: int) -> None:
        descriptor = self._listener.fileno()
        environment = {**self._environment, LISTEN_FD: str(descriptor), WORKER: str(index)}
        process = subprocess.Popen(  # its standard input ends when this process does, however it ends
            self._command, env=environment, pass_fds=(descriptor,), stdin=subprocess.PIPE, start_new_session=True
        )
        self._workers[index] = (process, time.monotonic())

    def _revive(self) -> None:
        for index, (process, since) in list(self._workers.items()):
            if process.poll() is None or self._stopping:
                continue
            lived = time.monotonic() - since
            self._quick = self._quick + 1 if lived < _STEADY_SECONDS else 0
            print(f"purser: worker {index} ended with {process.returncode}; starting it again", file=sys.stderr)
            self._start(index)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _end(self) -> None:
        for process, _ in self._workers.values():
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        for process, _ in self._workers.values():
            process.wait()


def stop_with_parent() -> None:
    """Have this worker stop when its supervisor is gone: the pipe at standard input then ends."""

    def watch() -> None:
        while os.read(0, 4096):  # not sys.stdin: its lock would be held when the interpreter ends, which aborts it
            continue
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="purser-parent", daemon=True).start()


def inherited_listener() -> socket.socket:
    """The listening socket that the supervisor handed down."""
    listener = socket.socket(fileno=int(os.environ[LISTEN_FD]))
    listener.setblocking(False)
    return listener
