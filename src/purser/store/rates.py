"""Rates as rows: what the store counts of each in the last minute, and the shares of writers (Q1)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec
import sqlalchemy as sa

from purser.core import ratelimit
from purser.core.ratelimit import WINDOW, Part, Rate
from purser.store.bulk import INT, TEXT, ForEach, Statement, insert_new
from purser.store.db import Connection
from purser.store.transaction import Tx

REQUESTS = "requests"  # the bucket of an account's requests


class Bucket(NamedTuple):
    """What is counted: something of one account."""

    account: str
    name: str


def requests_of(account: str) -> Bucket:
    """An account's requests."""
    return Bucket(account, REQUESTS)


_SERVER_CLOCK = sa.text("SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS bigint)")
_SEEN = "SELECT seen FROM rate_windows WHERE account = ? AND bucket = ?"
_LOCK = {"sqlite": Statement(_SEEN), "postgresql": Statement(f"{_SEEN} FOR UPDATE")}
_GET = Statement(_SEEN)
_PARTS = Statement("SELECT writer, share, free_at FROM rate_shares WHERE account = ? AND bucket = ? ORDER BY writer")
_PUT_SEEN = Statement("UPDATE rate_windows SET seen = ? WHERE account = ? AND bucket = ?")
_WANT = Statement("UPDATE rate_windows SET wanted_at = ? WHERE account = ? AND bucket = ?")
_ENOUGH = ForEach(
    (TEXT, TEXT),
    sqlite="UPDATE rate_windows SET wanted_at = NULL WHERE account = ? AND bucket = ?",
    # Only whom nobody else has locked: it waits for no asker, who may wait for what this transaction has locked.
    postgresql="UPDATE rate_windows w SET wanted_at = NULL FROM (SELECT r.account, r.bucket FROM rate_windows r, {v} "
    "WHERE r.account = v.c1 AND r.bucket = v.c2 FOR UPDATE OF r SKIP LOCKED) free "
    "WHERE w.account = free.account AND w.bucket = free.bucket",
)
_ADD = Statement(
    "INSERT INTO rate_shares (account, bucket, writer, share) VALUES (?, ?, ?, ?) "
    "ON CONFLICT (account, bucket, writer) DO UPDATE SET share = rate_shares.share + excluded.share"
)
_LESS = ForEach(
    (INT, TEXT, TEXT, INT, INT),
    sqlite="UPDATE rate_shares SET share = share - ? WHERE account = ? AND bucket = ? AND writer = ? AND share > ?",
    postgresql="UPDATE rate_shares s SET share = s.share - v.c1 FROM {v} "
    "WHERE s.account = v.c2 AND s.bucket = v.c3 AND s.writer = v.c4 AND s.share > v.c5",
)
_END = ForEach(
    (TEXT, TEXT, INT, INT),
    sqlite="DELETE FROM rate_shares WHERE account = ? AND bucket = ? AND writer = ? AND share = ?",
    postgresql="DELETE FROM rate_shares s USING {v} "
    "WHERE s.account = v.c1 AND s.bucket = v.c2 AND s.writer = v.c3 AND s.share = v.c4",
)
_FREE_LATER = Statement("UPDATE rate_shares SET free_at = ? WHERE writer = ? AND free_at IS NULL")
# Whoever closed a writer may have known nothing of shares: a process of an older version.
_NOTICE_CLOSED = Statement(
    "UPDATE rate_shares SET free_at = ? WHERE account = ? AND bucket = ? AND free_at IS NULL "
    "AND NOT EXISTS (SELECT 1 FROM writers w WHERE w.id = rate_shares.writer AND w.state = 'open')"
)
_DROP = Statement("DELETE FROM rate_shares WHERE account = ? AND bucket = ? AND free_at <= ?")
_SET_BACK = Statement("UPDATE rate_shares SET free_at = ? WHERE account = ? AND bucket = ? AND free_at > ?")
_WANTED = Statement(
    "SELECT w.account, w.bucket FROM rate_windows w WHERE w.wanted_at IS NOT NULL AND EXISTS ("
    "SELECT 1 FROM rate_shares s WHERE s.account = w.account AND s.bucket = w.bucket AND s.writer = ?)"
)


def clock(conn: Connection, monotonic: int) -> int:
    """The one clock by which all processes on a database count minutes, microseconds: its server's on PostgreSQL.

    On SQLite all of them are on one machine, whose monotonic clock they share.
    """
    return monotonic if conn.dialect.name == "sqlite" else int(conn.execute(_SERVER_CLOCK).scalar_one())


def longest(tx: Tx) -> int:
    """How long a closed writer's share counts: what it let through until it noticed is a minute old by then."""
    return WINDOW + tx.policy.ttl_seconds * 1_000_000


def lock_rate(tx: Tx, bucket: Bucket) -> tuple[Rate, int]:
    """A rate as it is and stays until this transaction ends, and the instant on the store's clock."""
    lock = _LOCK[tx.conn.dialect.name]
    row = lock.run(tx.conn, *bucket).fetchone()
    if row is None:
        insert_new(tx.conn, "rate_windows", {"account": bucket.account, "bucket": bucket.name})
        row = lock.run(tx.conn, *bucket).fetchone()
    now = clock(tx.conn, tx.monotonic)
    latest = now + longest(tx)
    _SET_BACK.run(tx.conn, latest, *bucket, latest)  # that clock may begin anew when its machine does
    _NOTICE_CLOSED.run(tx.conn, latest, *bucket)
    _DROP.run(tx.conn, *bucket, now)
    rate = _rate(tx.conn, row[0], bucket, now)
    if _encode(rate.seen) != row[0]:
        put_seen(tx.conn, bucket, rate.seen)
    return rate, now


def get_rate(conn: Connection, bucket: Bucket, monotonic: int) -> Rate:
    """A rate as it is."""
    row = _GET.run(conn, *bucket).fetchone()
    return _rate(conn, "[]" if row is None else row[0], bucket, clock(conn, monotonic))


def _rate(conn: Connection, seen: str, bucket: Bucket, now: int) -> Rate:
    parts = [Part(*row) for row in _PARTS.run(conn, *bucket)]
    return ratelimit.current(msgspec.json.decode(seen, type=list[int]), parts, now)


def put_seen(conn: Connection, bucket: Bucket, seen: Sequence[int]) -> None:
    """Write the instants that the store counts itself."""
    _PUT_SEEN.run(conn, _encode(seen), *bucket)


def _encode(seen: Sequence[int]) -> str:
    return msgspec.json.encode(seen).decode()


def add_share(conn: Connection, bucket: Bucket, writer: int, more: int) -> None:
    """Give an open writer more of a rate."""
    _ADD.run(conn, *bucket, writer, more)


def set_wanted(conn: Connection, bucket: Bucket, at: int) -> None:
    """Ask other writers to give back what they do not need."""
    _WANT.run(conn, at, *bucket)


def list_wanted(conn: Connection, writer: int) -> list[Bucket]:
    """The rates of which this writer has a share, and others want some."""
    return [Bucket(*row) for row in _WANTED.run(conn, writer)]


def give_back(conn: Connection, writer: int, returns: Iterable[tuple[Bucket, int]]) -> None:
    """Take back of a writer's shares what it has not used for a minute; whoever still wants more asks again."""
    rows = sorted(returns)
    _END.run(conn, [(*bucket, writer, less) for bucket, less in rows])  # before others are made as small
    _LESS.run(conn, [(less, *bucket, writer, less) for bucket, less in rows])
    _ENOUGH.run(conn, [tuple(bucket) for bucket, _ in rows])


def end_shares(tx: Tx, writer: int) -> None:
    """A writer is closed: its shares count until what it may have let through of them is a minute old."""
    _FREE_LATER.run(tx.conn, clock(tx.conn, tx.monotonic) + longest(tx), writer)
