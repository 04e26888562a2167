"""Every writing route has one effect for one `Idempotency-Key`, whoever sends it again, as often and wherever (C7)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from purser.inbound.api.app import ROUTES
from purser.store.db import Database
from tests.demo.fleet import fleet
from tests.demo.program import Program, eventually
from tests.inbound.house import House
from tests.inbound.writes import (
    READING,
    WRITES,
    Answered,
    Call,
    Prepared,
    count_rows,
    name_invoice,
    prepare,
    publish_prices,
    turn_the_month,
)

AT_ONCE = 16
CLOCK, APRIL = "/operator/v1/clock", "2026-04-01T00:00:00Z"
WRITING = {"POST", "PUT", "PATCH", "DELETE"}


def test_every_writing_route_is_tried() -> None:
    """A new route is found here: try it in WRITES, or say why it writes nothing."""
    routes = {
        f"{method} {path.replace('/:', ':').replace(':str}', '}')}"
        for route in ROUTES
        for method in route.http_methods
        for path in route.paths
        if method in WRITING
    }
    assert {write.name for write in WRITES} | set(READING) == routes


# ── each route, alone and many at once ───────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True)
class Outcome:
    """What became of a write: its answers, how many rows there are more, the answers to the same and another request
    under its key, and how many rows there are more after those."""

    answers: list[tuple[int, Any]]
    rows: dict[str, int]
    again: tuple[int, Any]
    other: tuple[int, Any]
    rows_then: dict[str, int]


class Office:
    """Books in which every write is prepared, each for an account of its own, and the doors to them."""

    def __init__(self, doors: Sequence[Call], db: Database) -> None:
        self._doors, self._db = doors, db
        publish_prices(doors[0])
        ready = [prepare(doors[0], write, f"account-{n}") for n, write in enumerate(WRITES)]
        turn_the_month(doors[0])
        assert eventually(lambda: all(door("GET", CLOCK, None, {}).json["now"] == APRIL for door in doors), 30)
        self._writes = [name_invoice(doors[0], write, f"account-{n}") for n, write in enumerate(ready)]

    def try_all(self, times: int) -> list[Outcome]:
        """Send every write so many times at once, in turn through every door."""
        return [self._try(write, f"key-{n}", times) for n, write in enumerate(self._writes)]

    def _try(self, write: Prepared, key: str, times: int) -> Outcome:
        before = count_rows(self._db)
        headers = {"idempotency-key": key}

        def send(n: int, path: str = write.path, body: Any = write.body) -> tuple[int, Any]:
            answer = self._doors[n % len(self._doors)](write.method, path, body, headers)
            return answer.status, answer.json

        with ThreadPoolExecutor(times) as pool:
            answers = list(pool.map(send, range(times)))
        rows = self._more_than(before)
        again, other = send(times), send(times + 1, write.other_path, write.other)
        return Outcome(answers, rows, again, other, self._more_than(before))

    def _more_than(self, before: dict[str, int]) -> dict[str, int]:
        after = count_rows(self._db)
        return {name: after[name] - before[name] for name in after if after[name] != before[name]}


@contextmanager
def house_office(folder: Path) -> Iterator[Office]:
    """An office in this process; at the end the audit finds nothing wrong."""
    house = House(folder)
    try:
        client = house.operator
        yield Office([lambda m, path, body, headers: client.call(m, path, body, headers=headers)], house.db)
        assert house.audit() == []
    finally:
        house.close()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Outcome]]:
    """What becomes of each write that is sent once."""
    with house_office(tmp_path_factory.mktemp("alone")) as office:
        yield office.try_all(1)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Outcome]]:
    """What becomes of each write that sixteen threads send at once."""
    with house_office(tmp_path_factory.mktemp("crowd")) as office:
        yield office.try_all(AT_ONCE)


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Outcome]]:
    """What becomes of each write that sixteen threads send at once to two processes on one database."""
    clock = {"PURSER_CLOCK": "manual", "PURSER_CLOCK_START": "2026-03-01T09:00:00Z"}
    with fleet(tmp_path_factory.mktemp("processes"), 2, **clock) as programs:
        db = Database(programs[0].database_url)
        doors = [partial(_call, program) for program in programs]
        yield Office(doors, db).try_all(AT_ONCE)
        db.dispose()
        assert programs[0].violations() == []


def _call(program: Program, method: str, path: str, body: Any, headers: Mapping[str, str]) -> Answered:
    with program.caller(program.operator_key) as caller:
        return caller.call(method, path, body, headers)


@pytest.mark.parametrize("n", range(len(WRITES)), ids=[write.name for write in WRITES])
class TestEveryWrite:
    """Each of them."""

    def test_sent_once_and_once_more(self, n: int, alone: list[Outcome]) -> None:
        check(alone[n], alone[n])

    def test_sent_by_sixteen_threads_at_once(self, n: int, alone: list[Outcome], crowd: list[Outcome]) -> None:
        check(crowd[n], alone[n])

    def test_sent_at_once_to_two_processes(self, n: int, alone: list[Outcome], processes: list[Outcome]) -> None:
        check(processes[n], alone[n])


def check(outcome: Outcome, alone: Outcome) -> None:
    """One effect, as if it had been sent once; one answer to all; another request under its key is refused."""
    first = outcome.answers[0]
    assert first[0] == alone.answers[0][0] < 300, first
    assert [answer for answer in [*outcome.answers, outcome.again] if answer != first] == []
    assert outcome.rows == alone.rows
    status, problem = outcome.other
    assert (status, problem["code"], problem["errors"][0]["field"]) == (409, "ALREADY_EXISTS", "Idempotency-Key")
    assert outcome.rows_then == outcome.rows
