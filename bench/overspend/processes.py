"""Processes of a gateway: started, and stopped or killed with all their children."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from bench.cores import tree

READY_SECONDS = 120
_STOP_SECONDS = 30


class Running:
    """A program that takes connections on a port when it is ready; it may be started again after it was killed."""

    def __init__(
        self, command: Sequence[str], port: int, log: str, *, folder: Path, environment: dict[str, str] | None = None
    ) -> None:
        self._command, self._port, self._log = list(command), port, log
        self._folder, self._environment = folder, environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it takes connections; raises RuntimeError with what it said where it does not."""
        with open(self._log, "ab") as said:
            self._process = subprocess.Popen(
                self._command,
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        end = time.monotonic() + READY_SECONDS
        while self._process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self._port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.05)
        self.kill()
        said_last = Path(self._log).read_text(errors="replace")[-1500:]
        raise RuntimeError(f"{self._command[0]} did not start: {said_last}")

    def stop(self) -> None:
        """Ask it to end, and insist after a while."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(_STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill the program and its children with -9."""
        if self._process is None:
            return
        for pid in tree(self._process.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._process.wait()
