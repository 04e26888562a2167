"""The supervisor: several serving processes on one port; one that dies is started again while the others serve."""

from __future__ import annotations

import gc
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from http.client import HTTPConnection
from types import FrameType
from typing import NoReturn

from purser.core.errors import Broken, PurserError

_PAUSE_SECONDS = 0.2
_STEADY_SECONDS = 5.0
_QUICK_DEATHS = 5
_STOPS = signal.SIGTERM, signal.SIGINT


class Supervisor:
    """Forks `count` workers that serve on one listening socket, and keeps them running.

    They share the memory of what is loaded by then, and are there at once. What forks must have no database open.
    """

    def __init__(self, serve: Callable[[], None], listener: socket.socket, count: int) -> None:
        self._serve, self._listener, self._count = serve, listener, count
        self._workers: dict[int, tuple[int, float]] = {}  # by place: process id, and since when
        self._ends_with_us, self._ours = (
            os.pipe()
        )  # nothing is ever written; it ends with this process, however that ends
        self._quick = 0
        self._stopping = False

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Run until SIGTERM or SIGINT; answers the exit code: 0, or 1 where workers die as fast as they start."""
        for name in _STOPS:
            signal.signal(name, self._stop)
        gc.freeze()
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
        sys.stdout.flush()
        sys.stderr.flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # until the worker has put aside what they do here
        try:
            pid = os.fork()
            if pid == 0:
                self._work()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        self._workers[index] = pid, time.monotonic()

    def _work(self) -> NoReturn:
        """What a worker does; nothing that this process has begun is gone on with, or cleared up, in it."""
        code = 1
        try:
            os.setsid()
            os.close(self._ours)
            for name in _STOPS:
                signal.signal(name, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
            _stop_at_end_of(self._ends_with_us)
            self._serve()
            code = 0
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 1
        except (Broken, PurserError) as error:
            print(f"purser: {error}", file=sys.stderr)
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _revive(self) -> None:
        for index, (pid, since) in list(self._workers.items()):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if not ended:
                continue
            del self._workers[index]
            if self._stopping:
                continue
            lived = time.monotonic() - since
            self._quick = self._quick + 1 if lived < _STEADY_SECONDS else 0
            code = os.waitstatus_to_exitcode(status)
            print(f"purser: worker {index} ended with {code}; starting it again", file=sys.stderr)
            self._start(index)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        self._stopping = True

    def _end(self) -> None:
        for pid, _ in self._workers.values():
            os.kill(pid, signal.SIGTERM)  # it is there, if only as a dead one that nobody has waited for
        for pid, _ in self._workers.values():
            os.waitpid(pid, 0)
        self._workers.clear()


def _stop_at_end_of(pipe: int) -> None:
    """Have this worker stop when its supervisor is gone."""

    def watch() -> None:
        os.read(pipe, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="purser-parent", daemon=True).start()
