"""A database that answers nobody for a while: what runs waits, what comes is turned away, and nothing is lost."""

from __future__ import annotations

import http.client
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest

from tests import databases, postgres
from tests.demo.fleet import fleet
from tests.demo.load import ASK, Load
from tests.demo.program import PATIENCE, Answer, Program, eventually
from tests.demo.test_fleet import insist, spend_the_rest
from tests.faults import own

_TTL, _DRAIN = 4, 5
_SOON = {"PURSER_TTL_SECONDS": str(_TTL), "PURSER_DRAIN_SECONDS": str(_DRAIN)}
_EACH = 3  # requests to each process as the database stalls

Stall = Callable[[], AbstractContextManager[None]]


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another program, such as one that makes a backup, has begun to write the file and does not end."""
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        yield
        conn.execute("ROLLBACK")


@pytest.fixture
def stalling(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str | None, Stall]:
    """The URL of a database, and what stalls it."""
    if databases.is_sqlite():
        return None, lambda: locked(tmp_path / "data" / "purser.db")
    server: postgres.Server = request.getfixturevalue("server")
    return own.database(server, "stalled"), lambda: own.stopped(server)


class Crowd:
    """Requests under way at once, each in a thread of its own."""

    def __init__(self, load: Load, programs: list[Program], key: str) -> None:
        self._load, self.ended = load, 0
        self._threads = [
            threading.Thread(target=self._ask, args=(each, key)) for each in programs for _ in range(_EACH)
        ]
        for thread in self._threads:
            thread.start()

    def _ask(self, program: Program, key: str) -> None:
        ask(self._load, program, key)
        self.ended += 1

    def join(self) -> None:
        """Wait until all have ended."""
        for thread in self._threads:
            thread.join()


def ask(load: Load, program: Program, key: str) -> Answer | None:
    """One request, which a process can admit by itself as it has no name; None where its connection broke."""
    with program.caller(key) as caller:
        try:
            answer = caller.chat(ASK, max_tokens=24)
        except (OSError, http.client.HTTPException):
            load.broken += 1
            return None
    if answer.status == 503:
        load.unavailable.append(answer)
    else:
        load.take(answer)
    return answer


def is_served(load: Load, program: Program, key: str) -> bool:
    """Whether a request is answered now."""
    answer = ask(load, program, key)
    return answer is not None and answer.status == 200


def is_turned_away(load: Load, program: Program, key: str) -> bool:
    """Whether a request is refused for now, and told when to come back."""
    answer = ask(load, program, key)
    return answer is not None and answer.status == 503 and int(answer.headers["retry-after"]) >= 1


def test_requests_wait_for_their_commit_and_new_ones_are_turned_away(
    stalling: tuple[str | None, Stall], tmp_path: Path
) -> None:
    url, stall = stalling
    with fleet(tmp_path, 2, url=url, **_SOON) as two:
        key, stranger, load = two[0].open("stalled", "0.50"), two[0].open("stranger"), Load()
        for _ in range(2):  # after it each process has a lease, and has heard of the account and what became of it
            Crowd(load, two, key).join()
            threading.Event().wait(1)
        served = len(load.acknowledged)
        assert served == 4 * _EACH

        reached = len(two[0].engine_log())
        with stall():
            since, waiting = time.monotonic(), Crowd(load, two, key)
            strangers = Crowd(Load(), two[:1], stranger)
            assert eventually(lambda: len(two[0].engine_log()) == reached + 2 * _EACH, PATIENCE), "served from leases"
            threading.Event().wait(since + _TTL + 1.5 - time.monotonic())
            assert url is None or strangers.ended == _EACH, "whom nobody could look up meanwhile is turned away, too"
            assert [is_turned_away(load, each, key) for each in two] == [True, True]
            assert waiting.ended == 0, "they wait for their commit"
        waiting.join()
        strangers.join()
        assert len(load.acknowledged) == served + 2 * _EACH, "and are answered when it is made"
        assert all(eventually(partial(is_served, load, each, key), PATIENCE) for each in two)

        with stall():
            waiting = Crowd(load, two, key)
            threading.Event().wait(_TTL + _DRAIN + 2)
            assert waiting.ended == 2 * _EACH, "they end when others may have closed the writer"
            assert [is_turned_away(load, each, key) for each in two] == [True, True]
        assert all(eventually(partial(is_served, load, each, key), 30) for each in two)
        assert [each.process.poll() for each in two] == [None, None]
        spend_the_rest(two, key, load)
        assert load.odd == []
        insist(two[1], "stalled", load, Decimal("0.50"))
        assert two[0].violations() == []
