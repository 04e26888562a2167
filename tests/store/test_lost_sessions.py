"""Sessions lost in the midst of a commit: what became of it is read from the writer's own row, never guessed."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from purser.core.errors import Broken, Unavailable
from purser.flows import accounts
from purser.flows.audit import audit
from purser.store import accounts as account_rows
from purser.store.usage import list_events
from purser.store.writers import Fenced, close_writer
from tests import databases
from tests.demo.program import eventually
from tests.store.between import REPLY, REQUEST, Between
from tests.store.small_books import Books

pytestmark = pytest.mark.postgresql
USD = 10**9


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Between]:
    url = sa.make_url(databases.at(tmp_path / "purser.db"))
    made = Between(url.host or "127.0.0.1", url.port or 5432)
    yield made
    made.close()


@pytest.fixture
def books(between: Between, tmp_path: Path) -> Iterator[Books]:
    """Books with five dollars of ada's, whose writer reaches the server through what loses things."""
    url = sa.make_url(databases.at(tmp_path / "purser.db"))
    made = Books(url.set(host="127.0.0.1", port=between.port).render_as_string(hide_password=False))
    made.writer.run(lambda tx: accounts.open_account(tx, "ada", "ada@example.com", signup_credit_nanos=5 * USD))
    yield made
    with made.db.read() as conn:
        assert audit(conn).violations == ()
    made.close()


def settled(books: Books) -> list[str]:
    """The ids of ada's requests in the books, sorted."""
    with books.db.read() as conn:
        return sorted(event.id for event in list_events(conn, "ada", limit=1000))


@pytest.mark.parametrize("what", [REQUEST, REPLY])
def test_a_commit_whose_outcome_nobody_told_is_there_exactly_once(between: Between, books: Books, what: str) -> None:
    books.settle(books.event("ada", "r0", (10, 0, 10)))
    for n in range(1, 4):
        seq, event = books.writer.seq, books.event("ada", f"r{n}", (10, 0, 10))
        between.lose(what)
        books.settle(event)
        assert eventually(lambda n=n: between.lost == n, 20)  # type: ignore[misc]  # it counts when all is done
        assert books.writer.seq == seq + 1
    assert settled(books) == ["r0", "r1", "r2", "r3"]
    assert books.writer.open


def test_a_commit_may_be_there_though_its_writer_was_closed(between: Between, books: Books, tmp_path: Path) -> None:
    """It was made before the closing, so it counts; the writer is fenced from then on, and may register anew."""
    other = Books(databases.at(tmp_path / "purser.db"), 9)
    mine = books.writer.id
    books.settle(books.event("ada", "r0", (10, 0, 10)))
    event = books.event("ada", "r1", (10, 0, 10))
    between.lose(REPLY)

    def close_once_lost() -> None:
        while not between.lost:
            time.sleep(0.001)
        between.away(True)
        while mine not in other.writer.close_dead() and other.writer.run(lambda tx: close_writer(tx, mine)) is None:
            time.sleep(0.01)
        between.away(False)

    closing = threading.Thread(target=close_once_lost)
    closing.start()
    books.settle(event)
    closing.join()
    with pytest.raises(Fenced):
        books.writer.run(lambda tx: None)
    assert settled(books) == ["r0", "r1"]
    assert books.lessee.drop() == []
    books.writer.register()
    books.settle(books.event("ada", "r2", (10, 0, 10)))
    assert settled(books) == ["r0", "r1", "r2"]
    other.close()


def test_a_read_whose_session_is_lost_raises_and_leaves_nothing_behind(
    between: Between, books: Books, caplog: pytest.LogCaptureFixture
) -> None:
    def read() -> None:
        with books.db.read() as conn:
            account_rows.list_changes(conn, 0)
            between.away(True)
            account_rows.list_changes(conn, 0)

    with pytest.raises(Unavailable, match="cannot be reached"):
        read()
    between.away(False)
    assert [record.name for record in caplog.records if record.name.startswith("sqlalchemy")] == []


def test_a_server_that_is_away_is_waited_for(between: Between, books: Books) -> None:
    event = books.event("ada", "r1", (10, 0, 10))
    between.away(True)
    with pytest.raises(Unavailable, match="cannot be reached"), books.db.read() as conn:
        conn.exec_driver_sql("SELECT 1")
    done = threading.Event()

    def settle() -> None:
        books.settle(event)
        done.set()

    settling = threading.Thread(target=settle)
    settling.start()
    assert not done.wait(1)
    between.away(False)
    assert done.wait(20)
    settling.join()
    assert settled(books) == ["r1"]


def test_nobody_who_stands_still_keeps_the_rest_waiting(tmp_path: Path) -> None:
    """Wherever in a transaction it stops: the server ends its session and undoes it, so that its locks are free."""
    url = sa.make_url(databases.at(tmp_path / "purser.db"))
    first = Books(url.render_as_string(hide_password=False))
    places = [(sends, 7 * (sends % 2)) for sends in range(1, 16)]
    for n in range(len(places)):
        first.writer.run(
            lambda tx, n=n: accounts.open_account(tx, f"ada-{n}", f"ada-{n}@example.com", signup_credit_nanos=5 * USD)  # type: ignore[misc]
        )
    betweens = [Between(url.host or "127.0.0.1", url.port or 5432) for _ in places]
    stood, settled_ones = [], []

    def settle(n: int) -> None:
        through = url.set(host="127.0.0.1", port=betweens[n].port).render_as_string(hide_password=False)
        books = Books(through, 2 + n)
        events = [books.event(f"ada-{n}", f"r{one}", (10, 0, 10)) for one in range(3)]
        books.settle(books.event(f"ada-{n}", "r", (10, 0, 10), hold=100_000))
        betweens[n].stand_still(*places[n])
        books.settle(*events)
        settled_ones.append(n)
        stood.append(betweens[n].stood_still)
        books.close()

    threads = [threading.Thread(target=settle, args=(n,), daemon=True) for n in range(len(places))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(settled_ones) == list(range(len(places)))
    assert True in stood
    assert False in stood
    with first.db.read() as conn:
        for n in range(len(places)):
            assert [event.id for event in list_events(conn, f"ada-{n}", limit=100)].sort() == [
                "r",
                "r0",
                "r1",
                "r2",
            ].sort()
        assert audit(conn).violations == ()
    first.close()
    for between in betweens:
        between.close()


def test_a_database_that_lost_commits_stops_its_writer(books: Books, tmp_path: Path) -> None:
    """Whatever state the row has: what was acknowledged is gone, and nothing here could bring it back."""
    books.settle(books.event("ada", "r1", (10, 0, 10)))
    mine, seq, n = books.writer.id, books.writer.seq, books.writer.n
    other = Books(databases.at(tmp_path / "purser.db"), 9)
    for state in ("open", "closed"):
        other.writer.run(
            lambda tx, state=state: tx.conn.exec_driver_sql(  # type: ignore[misc]
                f"UPDATE writers SET seq = {seq - 1}, state = '{state}' WHERE id = {mine}"
            )
        )
        with pytest.raises(Broken, match=f"lost commits: writer {mine} had come to {seq}, there it is at {seq - 1}"):
            books.writer.run(lambda tx: None)
    other.writer.run(
        lambda tx: tx.conn.exec_driver_sql(f"UPDATE writers SET seq = {seq}, n = {n}, state = 'open' WHERE id = {mine}")
    )
    other.close()
    books.writer.run(lambda tx: None)
