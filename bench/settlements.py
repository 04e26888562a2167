"""How many settlements a second one process posts, on SQLite and PostgreSQL, beside the bare driver's inserts.

`python -m bench.settlements [--quick]`. The settlements go through the write queue as the gateway's do: usage events,
one journal entry for each account and commit, roll-ups, balances, leases and the hash chain in one durable transaction.
The bare driver then inserts the same rows into the same tables in the same commits, and nothing else.
"""

from __future__ import annotations

import argparse
import itertools
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
import sqlalchemy as sa

from bench import books, postgres, tables
from bench.gateway import scratch
from purser.store import schema
from purser.store.db import Database
from purser.store.upgrade import upgrade

WAITING = 512  # settlements under way at a time
_COPIED = (schema.usage_events, schema.transactions, schema.postings, schema.commits)
Rows = dict[str, list[tuple[Any, ...]]]
Fresh = Callable[[], Any]  # a context manager that gives the URL of a fresh database


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.settlements", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="fewer settlements")
    options = parser.parse_args()
    count = 10_000 if options.quick else 40_000
    rows = []
    with scratch() as folder:
        numbers = itertools.count()

        @contextmanager
        def sqlite() -> Iterator[str]:
            yield f"sqlite:///{folder}/books{next(numbers)}.db"

        fresh: dict[str, Fresh] = {"SQLite": sqlite, "PostgreSQL": postgres.database}
        for name, accounts in itertools.product(fresh, (1, 10, 1000)):
            tables.progress(f"settling on {name}, {accounts} accounts")
            try:
                rows.append([name, *_measure(fresh[name], accounts, count)])
            except postgres.Missing as why:
                tables.progress(f"{name} left out: {why}")
                break
    head = ["", "accounts", "settlements/s", "per commit", "writer CPU each", "bare driver/s", "of bare driver"]
    print(f"Settlements, {WAITING} waiting at a time\n\n{tables.table(head, rows)}\n")


def _measure(fresh: Fresh, accounts: int, count: int) -> list[str]:
    names = [f"account-{n}" for n in range(accounts)]
    with fresh() as url, books.open_books(url) as own:
        own.open_accounts(names)
        own.take(names)
        books.settle_all(own.queue, books.events(names, count // 10, "warm"), WAITING)
        first = own.writer.seq
        took, used = books.settle_all(own.queue, books.events(names, count, "real"), WAITING)
        commits = own.writer.seq - first - 1  # one of them asked for the thread's number
        copied = _read_rows(own.db, own.writer.id, first)
    with fresh() as url:
        bare = _insert_bare(url, copied)
    rate, plain = count / took, count / bare
    return [
        *(str(accounts), tables.count(rate), tables.count(count / max(1, commits))),
        *(tables.micros(used / count * 1e6), tables.count(plain), f"{rate / plain:.2f}"),
    ]


def _read_rows(db: Database, writer: int, after: int) -> list[Rows]:
    """The rows of every commit of a writer after one of its own, by table; postings go with their transaction."""
    commits: dict[int, Rows] = {}
    with db.read() as conn:
        for table in _COPIED:
            if table is schema.postings:
                heads, rows = schema.transactions.c, schema.postings.c
                both = sa.and_(heads.account == rows.account, heads.key == rows.key)
                query = sa.select(heads.seq, *rows).join(schema.transactions, both)
                query = query.where(heads.writer == writer, heads.seq > after)
            else:
                query = sa.select(table.c.seq, *table.c).where(table.c.writer == writer, table.c.seq > after)
            for row in conn.execute(query):
                commits.setdefault(row[0], {}).setdefault(table.name, []).append(tuple(row[1:]))
    return [commits[seq] for seq in sorted(commits)]


def _insert_bare(url: str, commits: Sequence[Rows]) -> float:
    """Insert the same rows in the same commits by the driver alone; answers the seconds it took."""
    db = Database(url)
    upgrade(db)
    db.dispose()
    is_sqlite = db.is_sqlite
    connection: Any = sqlite3.connect(db.path, isolation_level=None) if is_sqlite else psycopg.connect(url)
    if is_sqlite:
        for pragma in ("journal_mode=wal", "synchronous=full", "wal_autocheckpoint=0"):
            connection.execute(f"PRAGMA {pragma}")
    texts = {table.name: _insert_text(table, "?" if is_sqlite else "%s") for table in _COPIED}
    cursor = connection.cursor()
    began = time.perf_counter()
    for commit in commits:
        if is_sqlite:
            cursor.execute("BEGIN IMMEDIATE")
        for name, rows in commit.items():
            cursor.executemany(texts[name], rows)
        connection.commit()
    took = time.perf_counter() - began
    connection.close()
    return took


def _insert_text(table: sa.Table, mark: str) -> str:
    names = ", ".join(f'"{column.name}"' for column in table.c)
    return f"INSERT INTO {table.name} ({names}) VALUES ({', '.join([mark] * len(table.c))})"


if __name__ == "__main__":
    main()
