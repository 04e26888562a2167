"""What is particular to PostgreSQL: its settings, sessions that end, locks taken in another order, and who leads."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from purser.core.errors import Broken, Unavailable
from purser.flows import accounts, credits
from purser.flows.audit import audit
from purser.store import accounts as account_rows
from purser.store.db import Database
from purser.store.presence import Lead
from purser.store.schema import metadata
from purser.store.upgrade import upgrade
from purser.store.usage import list_events
from purser.store.writers import Fenced, Tx
from tests import databases, postgres
from tests.store.processes import Process, process
from tests.store.small_books import Books

pytestmark = pytest.mark.postgresql
PATIENCE_SECONDS = 5  # for what a machine that does its work does within one
USD = 10**9


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Books with an account that has money; every invariant holds at the end."""
    made = Books(databases.at(tmp_path / "purser.db"))
    made.writer.run(lambda tx: accounts.open_account(tx, "ada", "ada@example.com", signup_credit_nanos=5 * USD))
    yield made
    made.writer.close_dead()
    assert violations(made.db) == ()
    made.close()


def violations(db: Database) -> tuple[object, ...]:
    with db.read() as conn:
        return audit(conn).violations


def ask(db: Database, sql: str) -> Any:
    """One value."""
    with db.engine.connect() as conn:
        return conn.exec_driver_sql(sql).scalar_one()


def do(db: Database, sql: str) -> None:
    with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
        conn.exec_driver_sql(sql)


def waited(true: Callable[[], object], seconds: float = PATIENCE_SECONDS) -> float:
    """How long it takes until something is true."""
    began = time.monotonic()
    while not true():
        assert time.monotonic() - began < seconds
        time.sleep(0.01)
    return time.monotonic() - began


# ── settings ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_server_of_the_tests_is_durable(books: Books) -> None:
    assert [ask(books.db, f"SHOW {name}") for name in ("fsync", "synchronous_commit", "full_page_writes")] == ["on"] * 3


def test_a_server_without_fsync_is_refused() -> None:
    try:
        careless = postgres.start(fsync="off")
    except postgres.CannotStart as error:
        if "CI" in os.environ:
            raise
        pytest.skip(str(error))
    db = Database(careless.url)
    try:
        with pytest.raises(Broken, match="must run with fsync=on, not off: commits could be lost"):
            upgrade(db)
    finally:
        db.dispose()
        careless.stop()


@pytest.mark.parametrize("options", ["", "?options=-c%20synchronous_commit%3Doff"])
def test_commits_wait_for_the_disk_whatever_the_default(books: Books, options: str) -> None:
    name = sa.make_url(books.db.url).database
    do(books.db, f"ALTER DATABASE {name} SET synchronous_commit = off")
    do(books.db, f"CREATE ROLE {name} LOGIN PASSWORD 'x' SUPERUSER")
    do(books.db, f"ALTER ROLE {name} SET synchronous_commit = off")
    url = sa.make_url(books.db.url).set(username=name, password="x").render_as_string(hide_password=False)
    db = Database(url + options)
    try:
        upgrade(db)
        assert ask(db, "SHOW synchronous_commit") == "on"
        with db.read() as conn:
            assert conn.exec_driver_sql("SHOW synchronous_commit").scalar_one() == "on"
    finally:
        db.dispose()
        do(books.db, f"DROP ROLE {name}")


def test_a_server_that_is_not_there_is_said_without_the_password(books: Books) -> None:
    url = sa.make_url(books.db.url)
    for wrong, why in (
        (url.set(port=1), "refused"),
        (url.set(username="stranger", password="hush"), "stranger"),
        (url.set(password="hush", database="none-such"), ""),
    ):
        db = Database(wrong.render_as_string(hide_password=False))
        with pytest.raises(Unavailable, match=rf"cannot be reached: .*{why}") as refused:
            upgrade(db)
        assert f":{wrong.password}@" not in str(refused.value)
        db.dispose()


def test_a_socket_of_the_file_system_will_do(books: Books) -> None:
    folder, port = ask(books.db, "SHOW unix_socket_directories"), ask(books.db, "SHOW port")
    url = sa.make_url(books.db.url)
    if not Path(folder).is_dir() or "," in folder:
        pytest.skip("the server is on another machine, or has several sockets")
    db = Database(f"postgresql://{url.username}:{url.password}@/{url.database}?host={folder}&port={port}")
    upgrade(db)
    assert violations(db) == ()
    db.dispose()


def test_every_text_compares_byte_by_byte(books: Books) -> None:
    with books.db.read() as conn:
        found = conn.exec_driver_sql(
            "SELECT table_name, column_name, collation_name FROM information_schema.columns "
            "WHERE table_schema = 'public' AND data_type = 'text'"
        ).all()
    assert {tuple(row)[:2] for row in found if row.collation_name != "C"} == set()
    assert len(found) >= sum(
        isinstance(column.type, sa.Text) for table in metadata.tables.values() for column in table.c
    )


# ── sessions that end ────────────────────────────────────────────────────────────────────────────────────────────
def settled(db: Database) -> list[str]:
    """The ids of ada's requests in the books."""
    with db.read() as conn:
        return [event.id for event in list_events(conn, "ada", limit=100_000)]


def open_writers(db: Database) -> list[int]:
    with db.read() as conn:
        return [row[0] for row in conn.exec_driver_sql("SELECT id FROM writers WHERE state = 'open' ORDER BY id")]


def run_for_a_while(other: Process) -> int:
    """Let a process settle requests; answers its writer's id."""
    writer = int(other.tell())
    for _ in range(20):
        other.tell()
    return writer


def test_a_writer_that_was_killed_is_closed_by_another_process(
    books: Books, record_property: Callable[[str, object], None]
) -> None:
    with process("settle", books.db.url, "ada") as other:
        writer = run_for_a_while(other)
        assert writer in open_writers(books.db)
        other.kill()
    seconds = waited(lambda: writer in books.writer.close_dead())
    record_property("a writer killed is closed by another process", f"{seconds:.3f} s")
    assert open_writers(books.db) == [books.writer.id]
    acknowledged = other.told[1:]
    there = settled(books.db)
    assert len(there) == len(set(there))
    assert set(acknowledged) <= set(there)
    assert len(there) - len(acknowledged) <= 1  # settled, but killed before it said so
    books.settle(books.event("ada", "all", (5_000_000, 0, 4_999_000)))  # nearly all of it: the lease is back


def test_a_session_that_the_server_ends_loses_nothing(books: Books) -> None:
    """The writer does again in a new session what was not committed, and shows again that it lives."""
    for n in range(3):
        books.settle(books.event("ada", f"before-{n}", (10, 0, 10)))
        assert end_session(books.db, books.writer.id)
        books.settle(books.event("ada", f"after-{n}", (10, 0, 10)))
        other = books.open_writer(7)
        assert other.close_dead() == []
        other.close()

    def lose(tx: Tx, tries: list[int]) -> None:
        tries.append(tx.seq)
        credits.give_credit(tx, "ada", USD)
        if len(tries) == 1:
            assert end_session(books.db, books.writer.id)

    tried: list[int] = []
    books.writer.run(lambda tx: lose(tx, tried))
    assert len(tried) == 2
    assert sorted(settled(books.db)) == sorted(f"{when}-{n}" for when in ("before", "after") for n in range(3))
    with books.db.read() as conn:
        assert sum(grant.granted_nanos for grant in credits.remaining_grants(conn, "ada")) == 6 * USD


def test_a_writer_that_was_closed_while_its_session_was_gone_is_fenced(books: Books) -> None:
    lost = Books(books.db.url, 9)
    lost.settle(lost.event("ada", "before", (10, 0, 10)))
    assert end_session(books.db, lost.writer.id)
    waited(lambda: lost.writer.id in books.writer.close_dead())
    with pytest.raises(Fenced):
        lost.settle(lost.event("ada", "after", (10, 0, 10)))
    lost.close()
    assert settled(books.db) == ["before"]


def end_session(db: Database, writer: int) -> bool:
    """End the session in which a writer shows that it lives."""
    return bool(
        ask(
            db,
            f"SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND objid = {writer}"
            f" AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
    )


# ── locks ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_two_that_lock_in_opposite_order_both_come_through(books: Books) -> None:
    """The server undoes one of them, which then runs again and leaves what it would have left at once."""
    other = Books(books.db.url, 2)
    books.writer.run(lambda tx: accounts.open_account(tx, "bob", "bob@example.com"))
    both, ran = threading.Barrier(2, timeout=30), []

    def give(to: Books, *order: str) -> None:
        def work(tx: Tx) -> None:
            ran.append(order)
            account_rows.lock_account(tx.conn, order[0])
            if len(ran) <= 2:
                both.wait()
            for account in order:
                credits.give_credit(tx, account, USD)

        to.writer.run(work)

    threads = [
        threading.Thread(target=give, args=(books, "ada", "bob")),
        threading.Thread(target=give, args=(other, "bob", "ada")),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(ran) > 2, "one of them had to run again"
    with books.db.read() as conn:
        for account, had in (("ada", 5 * USD), ("bob", USD)):
            assert sum(grant.remaining_nanos for grant in credits.remaining_grants(conn, account)) == had + 2 * USD
    other.close()


def test_numbers_of_changes_become_visible_in_their_order(books: Books) -> None:
    """Who has seen one has seen all before it, however many write beside each other."""
    writers = [Books(books.db.url, 10 + n) for n in range(4)]
    for n in range(4):
        books.writer.run(lambda tx, n=n: accounts.open_account(tx, f"acme-{n}", "a@example.com"))  # type: ignore[misc]
    stop = threading.Event()
    overlooked: list[int] = []

    def touch(own: Books, n: int) -> None:
        def work(tx: Tx) -> None:
            tx.touch(f"acme-{n}")
            tx.conn.exec_driver_sql("SELECT pg_sleep(random() * 0.003)")

        for _ in range(60):
            own.writer.run(work)

    def look() -> None:
        last, seen = 0, set[int]()
        while not stop.is_set():
            with books.db.read() as conn:
                found = [change[0] for change in account_rows.list_changes(conn, last)]
                known = [row[0] for row in conn.exec_driver_sql("SELECT n FROM changes ORDER BY n")]
            seen |= set(found)
            last = max([last, *found])
            overlooked.extend(n for n in known if n <= last and n not in seen)

    looking = threading.Thread(target=look)
    touching = [threading.Thread(target=touch, args=(own, n)) for n, own in enumerate(writers)]
    for thread in (looking, *touching):
        thread.start()
    for thread in touching:
        thread.join()
    stop.set()
    looking.join()
    assert overlooked == []
    for own in writers:
        own.close()


def test_who_leads_says_in_a_word_that_the_server_is_away() -> None:
    with pytest.raises(Unavailable, match="cannot be reached just now"):
        Lead(Database("postgresql://nobody@127.0.0.1:1/nothing")).take()


# ── the lead ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_one_leads_and_when_it_is_gone_the_next(books: Books) -> None:
    own = Lead(books.db)
    with process("lead", books.db.url) as first:
        assert first.tell() == "leads"
        assert not own.take()
        first.kill()
    waited(own.take)
    assert own.take()
    with process("lead", books.db.url) as second:
        do(
            books.db,
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_locks WHERE locktype = 'advisory' AND classid = 1347767155"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
        )
        assert second.tell() == "leads"
        assert not own.take(), "its session was ended, and another leads now"
        second.kill()
        waited(own.take)
    own.release()
    with process("lead", books.db.url) as third:
        assert third.tell() == "leads"
