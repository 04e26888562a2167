"""Tidying: the worker's own affairs, once a minute, and sums of what was spent sooner where there was much usage."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from purser.core.letters import Letter
from purser.core.message import GIVEN_UP, LATE, MAIL, PENDING
from purser.core.period import SECOND, parse_instant
from purser.flows import accounts, outbox
from purser.inbound.worker import Worker
from purser.inbound.world import ManualWorld
from purser.outbound.testpay import TestProvider
from purser.store import outbox as rows
from purser.store import spent, usage
from purser.store.headroom import RowKey
from tests import databases
from tests.store.small_books import Books


class Desk:
    """Books and a worker, with a monotonic clock set by hand."""

    def __init__(self, path: Path) -> None:
        self.books = Books(databases.at(path))
        self.books.writer.run(lambda tx: accounts.open_account(tx, "ada", "ada@example.com"))
        self.seconds = 0.0
        world = ManualWorld(parse_instant("2026-03-01T09:00:00Z"))
        run = self.books.writer.run
        self.worker = Worker(self.books.db, run, world, TestProvider(), monotonic=lambda: self.seconds)

    def use(self, *ids: str) -> None:
        events = [(self.books.event("ada", id_, (500, 0, 50)), None) for id_ in ids]
        self.books.writer.run(lambda tx: usage.insert_events(tx, events))

    def rolled_up(self) -> int:
        return len(databases.rows(self.books.db)["spent"])

    def messages(self) -> dict[tuple[str, str], int]:
        with self.books.db.read() as conn:
            return rows.count(conn)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path / "purser.db")
    yield made
    made.worker.step_down()
    made.books.close()


def test_once_a_minute_late_mail_is_given_up_and_what_was_spent_is_summed(desk: Desk) -> None:
    letters = [f"fact {n}" for n in range(250)]
    for fact in letters:
        letter = Letter("Hello", "Hello.\n")
        told = ("ada", "test", fact, "ada@example.com", letter)
        desk.books.writer.run(lambda tx, told=told: outbox.write_mail(tx, *told))  # type: ignore[misc]
    desk.use("e1")
    desk.books.world.at += LATE + SECOND
    desk.worker.take_turn()
    assert (desk.messages(), desk.rolled_up()) == ({(MAIL, PENDING): 250}, 0), "not a minute yet"
    desk.seconds += 60
    desk.worker.take_turn()
    assert desk.messages() == {(MAIL, GIVEN_UP): 250}, "part by part to the end"
    assert desk.rolled_up() == 2, "a user and a key"


def test_much_usage_is_summed_at_once_and_little_is_not(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "MANY", 3)
    desk.use("e1", "e2")
    desk.worker.take_turn()
    assert desk.rolled_up() == 0
    desk.use("e3")
    desk.worker.take_turn()
    assert desk.rolled_up() == 2
    with desk.books.db.read() as conn:
        assert spent.sum_uncounted(conn, RowKey("ada", "user", "owner/MONTHLY/2026-03")) > 0
        assert not spent.is_behind(conn)
