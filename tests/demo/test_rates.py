"""Requests per minute over real processes: exactly so many, however hard all of them are asked (Q1, S39, S40)."""

from __future__ import annotations

import http.client
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.demo.fleet import fleet
from tests.demo.program import Program, eventually

SMALL, LARGE = 10, 400
WINDOW_SECONDS = 60


class Hammer:
    """Clients that ask without a pause and write down when each request was sent, and when it was let through."""

    def __init__(self, key: str) -> None:
        self.passed: list[tuple[float, float]] = []  # when it was asked and answered
        self.waits: list[int] = []
        self.odd: list[tuple[int, bytes]] = []
        self.stop = threading.Event()
        self._key = key
        self._lock = threading.Lock()

    def _run_client(self, program: Program) -> None:
        with program.caller(self._key) as caller:
            while not self.stop.is_set():
                began = time.monotonic()
                try:
                    answer = caller.call("GET", "/v1/models")
                except (OSError, http.client.HTTPException):
                    return
                with self._lock:
                    if answer.status == 200:
                        self.passed.append((began, time.monotonic()))
                    elif answer.status == 429:
                        self.waits.append(int(answer.headers["retry-after"]))
                    else:
                        self.odd.append((answer.status, answer.raw))

    def run(self, programs: Sequence[Program], seconds: float, clients: int = 2, passed: int = 0) -> None:
        """So many clients on each of them, until so many were let through in all, and for so long after."""
        threads = [threading.Thread(target=self._run_client, args=(each,)) for each in programs for _ in range(clients)]
        for thread in threads:
            thread.start()
        eventually(lambda: len(self.passed) >= passed, WINDOW_SECONDS - 15)
        time.sleep(seconds)
        self.stop.set()
        for thread in threads:
            thread.join()
        self.stop.clear()

    def most_in_a_window(self) -> int:
        """The most that were surely let through in one window: asked after its start, answered before its end."""
        return max(
            sum(start <= began and ended < start + WINDOW_SECONDS for began, ended in self.passed)
            for start, _ in self.passed
        )


@pytest.fixture
def four(tmp_path: Path) -> Iterator[list[Program]]:
    """Four processes on one database."""
    rates = {
        "PURSER_RATE_LIMITS_REQUESTS_PER_MINUTE": str(LARGE),
        "PURSER_RATE_LIMITS_REQUESTS_PER_MINUTE_UNVERIFIED": str(SMALL),
    }
    with fleet(tmp_path, 4, **rates) as found:
        yield found


def test_exactly_so_many_through_four_processes(four: list[Program]) -> None:
    small, large = Hammer(four[0].open("ten")), Hammer(four[1].open("many"))
    small.run(four, 2, passed=SMALL)
    assert (len(small.passed), small.odd) == (SMALL, []), "S39"
    assert len(small.waits) > SMALL, "and asked on"
    assert all(50 <= wait <= WINDOW_SECONDS for wait in small.waits), "each of them knows when it goes on"
    four[0].card("many")
    large.run(four, 2, passed=LARGE)
    assert (len(large.passed), large.odd) == (LARGE, []), "S40"
    assert large.waits


@pytest.mark.long
def test_one_that_is_killed_and_the_minute_after(four: list[Program]) -> None:
    """What a dead process had counts until it is a minute old, and comes back then."""
    hammer = Hammer(four[0].open("many"))
    four[0].card("many")
    began = time.monotonic()
    killer = threading.Timer(1, lambda: four[3].process.send_signal(signal.SIGKILL))
    killer.start()
    hammer.run(four, 10)
    dead = [part.share for part in four[0].rate("many").parts if part.free_at is not None]
    assert len(dead) == 1
    assert LARGE - dead[0] <= len(hammer.passed) <= LARGE, "Q1"

    time.sleep(max(0.0, began + WINDOW_SECONDS - 2 - time.monotonic()))
    hammer.run(four[:3], 8)
    assert len(hammer.passed) > LARGE, "the first minute's come back one by one"
    assert hammer.most_in_a_window() <= LARGE, "Q1"
    assert eventually(lambda: all(part.free_at is None for part in four[0].rate("many").parts), WINDOW_SECONDS)
    passed = len(hammer.passed)
    hammer.run(four[:3], 3)
    assert len(hammer.passed) > passed, "and so do the dead one's"
    assert hammer.most_in_a_window() <= LARGE, "Q1"
    assert hammer.odd == []
