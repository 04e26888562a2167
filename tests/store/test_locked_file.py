"""A SQLite file that another program has locked for longer than SQLite waits by itself is waited for, not given up."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from purser.core.errors import Broken, Unavailable
from purser.flows import accounts
from purser.store import db
from purser.store.db import Database, until_unlocked
from purser.store.writers import OutOfReach, Writer
from tests import databases
from tests.store.small_books import Books

pytestmark = pytest.mark.sqlite


def impatient(writer: Writer) -> Writer:
    """The writer, which lets SQLite wait for a tenth of a second, not half a minute."""
    writer._conn.exec_driver_sql("PRAGMA busy_timeout = 100")
    writer._conn.rollback()
    return writer


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Books of ada's."""
    made = Books(databases.at(tmp_path / "purser.db"))
    made.writer.run(lambda tx: accounts.open_account(tx, "ada", "ada@example.com"))
    impatient(made.writer)
    yield made
    made.close()


@contextmanager
def locked(books: Books) -> Iterator[None]:
    """Another program writes the file, and takes its time."""
    with closing(sqlite3.connect(books.db.path, isolation_level=None)) as conn:
        conn.execute("BEGIN IMMEDIATE")
        yield
        conn.execute("ROLLBACK")


def test_a_transaction_waits_until_it_can_begin(books: Books) -> None:
    event, done = books.event("ada", "r1", (10, 0, 10)), threading.Event()

    def settle() -> None:
        books.settle(event)
        done.set()

    settling = threading.Thread(target=settle)
    with locked(books):
        settling.start()
        assert not done.wait(1)
    assert done.wait(20)
    settling.join()


def test_a_process_that_stops_waits_no_longer(books: Books) -> None:
    second = impatient(books.open_writer(2))
    with locked(books):
        second.stop_waiting()
        with pytest.raises(OutOfReach, match="locked"):
            second.run(lambda tx: None)
        second.close()  # others close it in the books
    assert second.id in books.writer.close_dead()


def test_several_that_open_a_new_file_at_once_all_get_it(tmp_path: Path) -> None:
    """Each makes it one with a log, for which nobody else may be reading it."""
    failed: list[Exception] = []
    for n in range(60):
        together = threading.Barrier(4)

        def reach(url: str = f"sqlite:///{tmp_path / f'{n}.db'}", together: threading.Barrier = together) -> None:
            db = Database(url)
            together.wait()
            try:
                db.reach()
                db.assert_durable()
            except Exception as error:
                failed.append(error)
            finally:
                db.dispose()

        openers = [threading.Thread(target=reach) for _ in range(4)]
        for opener in openers:
            opener.start()
        for opener in openers:
            opener.join()
    assert failed == []


def test_a_file_that_is_locked_for_longer_than_sqlite_waits_is_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a process does that starts: what it begins with can be done again, and holds nothing between two tries."""
    monkeypatch.setattr(db, "_LOCK_SECONDS", 1)
    path = tmp_path / "locked.db"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE anything (n INTEGER)")
    other.execute("BEGIN EXCLUSIVE")
    late = Database(f"sqlite:///{path}")
    with pytest.raises(Unavailable, match="locked"):
        late.reach()
    letting_go = threading.Timer(1.2, other.rollback)
    letting_go.start()
    until_unlocked(late.reach)
    letting_go.join()
    late.assert_durable()
    late.dispose()
    other.close()


def test_a_file_that_cannot_be_written_by_way_of_a_log_is_refused(tmp_path: Path) -> None:
    """As on a disk without shared memory, which this way of locking has none of: SQLite goes on as before, silently."""
    made = Database(f"sqlite:///file:{tmp_path / 'purser.db'}?vfs=unix-dotfile&uri=true")
    with pytest.raises(Broken, match="must run with journal_mode=wal and synchronous=FULL, not delete and 2"):
        made.assert_durable()
    made.dispose()
