"""The supervisor: several serving processes on one port; one that dies is started again while the others serve."""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from types import FrameType
from typing import NoReturn

from purser.core.errors import Broken, PurserError

log = logging.getLogger("purser")
_LOOK_SECONDS = 0.2
_STEADY_SECONDS = 5.0
_QUICK_DEATHS = 5
_MOST_PAUSE_SECONDS = 5.0
_AGAIN_SECONDS = 1.0  # signals closer together are one: some programs pass on what the whole group has got already
_PATIENT_SECONDS = 5.0
_STOPS = signal.SIGTERM, signal.SIGINT


@dataclass(slots=True)
class _Place:
    """Where a worker runs, or is to run again; times are seconds of the monotonic clock."""

    pid: int | None = None
    since: float = 0.0
    quick: int = 0  # deaths in a row that came soon after the start
    due: float = 0.0  # when to start it again

    def has_lived(self, now: float) -> bool:
        """Whether a worker runs here that did not die soon."""
        return self.pid is not None and now - self.since >= _STEADY_SECONDS

    def note_death(self, now: float, *, quick: bool) -> None:
        """Nobody runs here: at once again the first time, then after pauses that grow."""
        self.pid = None
        self.quick = self.quick + 1 if quick else 0
        self.due = now + (min(_MOST_PAUSE_SECONDS, _LOOK_SECONDS * 2 ** (self.quick - 2)) if self.quick > 1 else 0.0)


class Supervisor:
    """Forks `count` workers that serve on one listening socket, and keeps them running.

    They share the memory of what is loaded by then, and are there at once. What forks must have no database open.
    """

    def __init__(self, serve: Callable[[], None], listener: socket.socket, count: int) -> None:
        self._serve, self._listener = serve, listener
        self._places = [_Place() for _ in range(count)]
        # Nothing is ever written; it ends with this process, however that ends.
        self._ends_with_us, self._ours = os.pipe()
        self._stopped_at: float | None = None
        self._hurried = False

    def run(self, on_ready: Callable[[], None] = lambda: None) -> int:
        """Run until SIGTERM or SIGINT; answers the exit code: 0, or 1 where all workers die as fast as they start.

        Workers then finish what they do; a second signal, a second later or more, kills them.
        """
        for name in _STOPS:
            signal.signal(name, self._stop)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)  # where it is ignored nobody can be waited for
        gc.freeze()
        for place in self._places:
            self._start(place)
        ready = False
        while self._stopped_at is None:
            if not ready and self._answers():
                ready = True
                on_ready()
            time.sleep(_LOOK_SECONDS)
            self._revive()
            if self._is_hopeless():
                log.critical("workers die as soon as they start; stopping")
                self._end()
                return 1
        self._end()
        return 0

    def _answers(self) -> bool:
        """Whether a worker answers on the port; a worker that starts takes no more than the pause to be asked again."""
        host, port = self._listener.getsockname()[:2]
        local = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
        line = HTTPConnection(local, port, timeout=_LOOK_SECONDS)
        try:
            line.request("GET", "/healthz")
            return line.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            line.close()

    def _start(self, place: _Place) -> None:
        _flush()
        signal.pthread_sigmask(signal.SIG_BLOCK, _STOPS)  # until the worker has put aside what they do here
        try:
            pid = os.fork()
            if pid == 0:
                self._work()
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPS)
        place.pid, place.since = pid, time.monotonic()

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
            log.error("%s", error)
        except BaseException:
            traceback.print_exc()
        finally:
            _flush()
            os._exit(code)

    def _revive(self) -> None:
        """Start again whom nobody stopped; others serve on meanwhile, whatever keeps this one from starting."""
        for index, place in enumerate(self._places):
            now = time.monotonic()
            if place.pid is not None:
                ended, status = os.waitpid(place.pid, os.WNOHANG)
                if not ended:
                    continue
                place.note_death(now, quick=now - place.since < _STEADY_SECONDS)
                code = os.waitstatus_to_exitcode(status)
                if self._stopped_at is None:
                    log.warning("worker %d ended with %d; starting it again", index, code)
            if self._stopped_at is None and now >= place.due:
                try:
                    self._start(place)
                except OSError as error:  # there may be room for another process later
                    place.note_death(now, quick=True)
                    log.error("worker %d cannot be started just now: %s", index, error.strerror)

    def _is_hopeless(self) -> bool:
        """Whether all places have seen deaths enough, and nobody serves steadily."""
        now = time.monotonic()
        return all(place.quick >= _QUICK_DEATHS and not place.has_lived(now) for place in self._places)

    def _stop(self, _signal: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._stopped_at is None:
            self._stopped_at = now
        elif now - self._stopped_at >= _AGAIN_SECONDS:
            self._hurried = True

    def _end(self) -> None:
        """Have all workers end, and wait for that; who connects meanwhile is refused, not left waiting for nobody."""
        self._listener.close()
        began, told, killed = time.monotonic(), False, False
        left = [place.pid for place in self._places if place.pid is not None]
        for pid in left:
            os.kill(pid, signal.SIGTERM)  # it is there, if only as a dead one that nobody has waited for
        while left := [pid for pid in left if not os.waitpid(pid, os.WNOHANG)[0]]:
            if self._hurried and not killed:
                killed = True
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
            if not told and time.monotonic() - began > _PATIENT_SECONDS:
                told = True
                log.info("waiting for %d workers to finish what they do; a second signal kills them", len(left))
            time.sleep(_LOOK_SECONDS / 10)


def _flush() -> None:
    """What was printed goes out before there are two of us; where it cannot, that must stop nobody from serving."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()


def _stop_at_end_of(pipe: int) -> None:
    """Have this worker stop when its supervisor is gone."""

    def watch() -> None:
        os.read(pipe, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="purser-parent", daemon=True).start()
