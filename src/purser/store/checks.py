"""Checks: what an invariant over a whole database is, and what looking for breaches of it finds.

SQL sums where it can and hands over only what is wrong; rows come one by one where they must. The invariants
themselves are in checks_headroom, checks_books, checks_chain, checks_usage, checks_documents, checks_deployments,
checks_messages and checks_file.
"""

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from purser.core.money import format_usd
from purser.store.bulk import execute, named
from purser.store.db import Connection, Row

MOST_SHOWN = 100  # of one check; the rest is counted, so that a broken database cannot fill the memory
_ROWS_AT_ONCE = 1_000


@dataclass(frozen=True, slots=True)
class Violation:
    """One place where an invariant does not hold: the check's name, the account and row, and what is wrong there."""

    check: str
    where: str
    message: str


class Findings:
    """What one check has found so far: how many rows it looked at, and what it blames."""

    def __init__(self, check: str, counted: dict[str, int]) -> None:
        self.check = check
        self.rows = 0
        self._counted = counted  # tables, by those that looked at the same snapshot before
        self._shown: list[Violation] = []
        self._more = 0

    def blame(self, where: str, message: str) -> None:
        """Something is wrong at `where`, an account and a row in words."""
        if len(self._shown) < MOST_SHOWN:
            self._shown.append(Violation(self.check, where, message))
        else:
            self._more += 1

    def count(self, conn: Connection, *tables: str) -> None:
        """All rows of these tables are looked at."""
        new = [table for table in tables if table not in self._counted]
        if new:
            counts = ", ".join(f"(SELECT COUNT(*) FROM {table})" for table in new)
            self._counted.update(zip(new, execute(conn, f"SELECT {counts}", ()).fetchone(), strict=True))
        self.rows += sum(self._counted[table] for table in tables)

    def violations(self) -> list[Violation]:
        """All that is wrong; beyond MOST_SHOWN only how much more."""
        if not self._more:
            return list(self._shown)
        return [*self._shown, Violation(self.check, "elsewhere", f"and {self._more} more like these")]


@dataclass(frozen=True, slots=True)
class Invariant:
    """A named rule over the whole database; `look` counts the rows it looks at and blames what breaks the rule."""

    name: str
    title: str
    look: Callable[[Connection, Findings], None]


def search(conn: Connection, *invariants: Invariant) -> Iterator[Findings]:
    """Look for breaches of invariants one by one; where the database itself fails at that, this is a finding too."""
    counted: dict[str, int] = {}
    on_server = conn.dialect.name != "sqlite"
    if on_server:  # there a statement that fails is the end of its transaction, or of this part of it
        execute(conn, "SAVEPOINT search", ())
    for invariant in invariants:
        found = Findings(invariant.name, counted)
        if not _look(conn, invariant, found) and on_server:
            execute(conn, "ROLLBACK TO SAVEPOINT search", ())
        yield found


def _look(conn: Connection, invariant: Invariant, found: Findings) -> bool:
    try:
        invariant.look(conn, found)
    except sa.exc.DBAPIError as error:
        found.blame("the database", f"this could not be checked to the end: {error.orig}")
        return False
    except Exception as error:  # a damaged row may hold anything
        found.blame("the database", f"this could not be checked to the end: {type(error).__name__}: {error}")
        return False
    except BaseException as error:
        traceback.clear_frames(error.__traceback__)  # or the query under way would keep the session from being ended
        raise
    return True


def each(conn: Connection, sql: str) -> Iterator[Row]:
    """The rows of a query one by one, never all of them in memory; until the last one came nothing else is asked."""
    driver: Any = conn.connection.dbapi_connection
    if conn.dialect.name == "sqlite":
        cursor = driver.execute(sql)
        yield from _told(cursor, cursor)
        return
    with driver.cursor() as cursor:
        rows = cursor.stream(sql, size=_ROWS_AT_ONCE if _has_chunks() else 1)
        first = next(rows, None)
        if first is not None:
            yield from _told(cursor, itertools.chain([first], rows))


def each_abreast(conn: Connection, sql: str) -> Iterator[Row]:
    """As `each`, while other things may be asked."""
    driver: Any = conn.connection.dbapi_connection
    if conn.dialect.name == "sqlite":
        cursor = driver.execute(sql)
        yield from _told(cursor, cursor)
        return
    with driver.cursor(f"each_{next(_numbers)}") as cursor:
        cursor.itersize = _ROWS_AT_ONCE
        yield from _told(cursor, cursor.execute(sql))


def _told(cursor: Any, rows: Iterable[Any]) -> Iterator[Row]:
    return map(named(*(column[0] for column in cursor.description)), rows)


def _has_chunks() -> bool:
    """Whether the PostgreSQL library hands out rows by the thousand; older ones do it one by one."""
    from psycopg import capabilities

    return capabilities.has_stream_chunked()


_numbers = itertools.count()


def usd(nanos: int) -> str:
    """An amount in words: "$1.00", "-$0.0000008"."""
    return f"-${format_usd(-int(nanos))}" if nanos < 0 else f"${format_usd(int(nanos))}"


def headroom_row(row: Row) -> str:
    """A headroom row or lease in words: "account ada, credit" or "account ada, month 2026-03"."""
    return f"account {row.account}, {row.kind} {row.window}".rstrip()
