"""The supervisor keeps its workers running, whatever keeps one of them from starting, and ends when it is told to."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.demo.program import ROOT, children, eventually
from tests.ports import free_port

pytestmark = pytest.mark.once

PATIENCE = 20  # seconds; what takes longer hangs


class Supervised:
    """A supervisor with two small workers, in a folder whose files say how these behave."""

    def __init__(self, folder: Path, *, stderr: str = "said.txt", before: Callable[[], None] | None = None) -> None:
        self.folder, self.port = folder, free_port()
        command = [sys.executable, "-m", "tests.demo.supervised", str(self.port)]
        surroundings = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"}
        with (folder / stderr).open("wb") as said:
            self.process = subprocess.Popen(command, cwd=folder, env=surroundings, stderr=said, preexec_fn=before)
        assert eventually(lambda: len(self.workers()) == 2 and self.answers(), PATIENCE), self.said

    @property
    def said(self) -> str:
        """What it has said."""
        return (self.folder / "said.txt").read_text()

    def workers(self) -> list[int]:
        """The workers that are there."""
        return children(self.process.pid)

    def answers(self) -> bool:
        """Whether a worker answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=2) as answer:
                return int(answer.read()) in self.workers()
        except OSError:
            return False

    def kill_one(self) -> int:
        """Kill a worker; answers which."""
        pid = self.workers()[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def close(self) -> None:
        """Leave nothing running."""
        for pid in self.workers():
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Supervised]]:
    started: list[Supervised] = []

    def make(**options: object) -> Supervised:
        started.append(Supervised(tmp_path, **options))  # type: ignore[arg-type]
        return started[-1]

    yield make
    for each in started:
        each.close()


def test_a_worker_that_dies_comes_again(start: Callable[..., Supervised]) -> None:
    program = start()
    dead = program.kill_one()
    assert eventually(lambda: len(program.workers()) == 2 and dead not in program.workers(), PATIENCE)
    assert program.answers()
    assert eventually(lambda: "worker 0 ended with -9; starting it again" in program.said, PATIENCE)


def test_a_place_where_none_can_start_leaves_the_others_alone(start: Callable[..., Supervised]) -> None:
    """As where the database has no room for another session just now: it is tried again and again, ever less often."""
    program = start()
    time.sleep(5)  # until both have lived for long enough
    (program.folder / "bad").touch()
    dead, began = program.kill_one(), time.monotonic()
    assert eventually(lambda: program.said.count("ended with 3") > 5, PATIENCE)
    assert time.monotonic() - began > 2.5, "it is started again without a pause"
    assert program.process.poll() is None
    assert program.answers()
    (program.folder / "bad").unlink()
    assert eventually(lambda: len(program.workers()) == 2 and dead not in program.workers(), PATIENCE)


def test_where_all_die_at_once_it_gives_up(start: Callable[..., Supervised]) -> None:
    program = start()
    (program.folder / "bad").touch()
    for pid in program.workers():
        os.kill(pid, signal.SIGKILL)
    assert program.process.wait(PATIENCE) == 1
    assert "workers die as soon as they start; stopping" in program.said


def test_where_there_is_no_room_for_a_process_it_is_tried_again(start: Callable[..., Supervised]) -> None:
    program = start()
    (program.folder / "full").touch()
    dead = program.kill_one()
    assert eventually(lambda: "cannot be started just now: Resource temporarily unavailable" in program.said, PATIENCE)
    assert program.answers()
    (program.folder / "full").unlink()
    assert eventually(lambda: len(program.workers()) == 2 and dead not in program.workers(), PATIENCE)


def test_what_cannot_be_said_stops_nobody(start: Callable[..., Supervised], tmp_path: Path) -> None:
    """As where the log's disk is full."""
    (tmp_path / "full.log").symlink_to("/dev/full")
    program = start(stderr="full.log")
    dead = program.kill_one()
    assert eventually(lambda: len(program.workers()) == 2 and dead not in program.workers(), PATIENCE)
    assert program.answers()


def test_who_started_it_may_have_ignored_the_end_of_children(start: Callable[..., Supervised]) -> None:
    program = start(before=lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN))
    dead = program.kill_one()
    assert eventually(lambda: len(program.workers()) == 2 and dead not in program.workers(), PATIENCE)
    program.process.terminate()
    assert program.process.wait(PATIENCE) == 0


def test_a_second_signal_kills_who_does_not_end(start: Callable[..., Supervised], tmp_path: Path) -> None:
    (tmp_path / "deaf").touch()
    program = start()
    program.process.terminate()
    program.process.terminate()  # at once: some programs pass on what the group has got already
    time.sleep(1.1)
    assert program.process.poll() is None
    program.process.terminate()
    assert program.process.wait(PATIENCE) == 0
    assert program.workers() == []
