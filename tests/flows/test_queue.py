"""The write queue: a known request is told so, nobody waits for ever, and whoever listens badly harms nobody."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from purser.core.errors import Broken
from purser.flows import requests
from purser.flows.queue import WriteQueue
from purser.store.usage import Event
from purser.store.writers import Tx
from tests.flows.books import USD, open_account, open_books


@contextmanager
def a_queue(**more: Any) -> Iterator[WriteQueue]:
    """A queue on books with an account, ada, of ten dollars."""
    with open_books() as (writer, _):
        queue = WriteQueue(writer, **more)
        queue.run(lambda tx: open_account(tx, "ada", credit=10 * USD))
        yield queue
        queue.stop()


class Ends:
    """What became of jobs, in the order of their ends."""

    def __init__(self, count: int) -> None:
        self.found: list[tuple[Any, BaseException | None]] = []
        self._left, self._all = count, threading.Event()

    def done(self, result: Any, error: BaseException | None) -> None:
        self.found.append((result, error))
        self._left -= 1
        if not self._left:
            self._all.set()

    def wait(self) -> list[tuple[Any, BaseException | None]]:
        assert self._all.wait(10), f"nobody answered: {self.found}"
        return self.found


def event(id_: str) -> Event:
    """A request that cost nothing."""
    return Event("ada", "gateway", id_, "tiny", "owner", None, 1, "2026-03", "2026-03", 1, {}, (), 0, 0)


def test_of_two_settlements_with_one_id_in_one_commit_the_second_is_known() -> None:
    with a_queue() as queue:
        hold = threading.Event()
        queue.submit(lambda tx: hold.wait(10), lambda *_: None)  # so that the others wait together
        ends = Ends(3)
        for id_ in ("r1", "r1", "r2"):
            queue.settle(event(id_), ends.done)
        hold.set()
        assert ends.wait() == [(True, None), (False, None), (True, None)]
        assert queue.run(lambda tx: 7) == 7


def test_a_settlement_that_cannot_be_written_ends_the_queue_and_everybody_hears(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fatal: list[BaseException] = []
    with a_queue(on_fatal=fatal.append) as queue:

        def settle(tx: Tx, events: Any, asked: Any) -> None:
            raise OSError("disk full")

        hold = threading.Event()
        queue.submit(lambda tx: hold.wait(10), lambda *_: None)
        monkeypatch.setattr(requests, "settle_and_take", settle)
        ends = Ends(2)
        queue.settle(event("r1"), ends.done)
        queue.submit(lambda tx: 1, ends.done)
        hold.set()
        assert all(isinstance(error, Broken) for _, error in ends.wait())
        assert len(fatal) == 1
        with pytest.raises(Broken):
            queue.run(lambda tx: 1)
        monkeypatch.undo()


def test_what_is_asked_after_the_end_is_answered() -> None:
    with a_queue() as queue:
        queue.stop()
        for _ in range(20):
            with pytest.raises(Broken, match="stopped"):
                queue.run(lambda tx: 1)


def test_nobody_is_forgotten_at_the_end() -> None:
    with a_queue() as queue:
        ends = Ends(400)

        def ask() -> None:
            for _ in range(400):
                queue.submit(lambda tx: 1, ends.done)

        asking = threading.Thread(target=ask)
        asking.start()
        queue.stop()
        asking.join()
        assert len(ends.wait()) == 400


def test_a_listener_that_fails_does_not_end_the_queue() -> None:
    def explode(*_: Any) -> None:
        raise RuntimeError("the event loop is closed")

    with a_queue(on_touched=explode) as queue:
        queue.submit(lambda tx: tx.touch("ada"), explode)
        queue.settle(event("r1"), explode)
        assert queue.run(lambda tx: 7) == 7
