"""The check of the hash chains: every commit's hash recomputed from the rows it covers, so that any change shows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from heapq import merge
from itertools import groupby
from operator import itemgetter
from typing import NamedTuple

import msgspec

from purser.store.checks import Findings, Invariant, each, each_abreast
from purser.store.db import Connection, Row
from purser.store.writers import chain

_encode = msgspec.json.Encoder().encode
_NAMED = 6
_START = bytes(32)


class _Fact(NamedTuple):
    """A covered row: its writer and step, the bytes under the hash, its instant where it has one, and its name."""

    writer: int
    seq: int
    covered: bytes
    at: int | None
    name: tuple[str, ...]


# The columns in the order in which store.usage, store.ledger and store.audit_log cover them.
_EVENTS = """
SELECT writer, seq, account, source, id, model, "user", key, occurred_at, recorded_at, month, bill_month, version,
    quantities, cost, held, clamped, estimated, state, txn, budgets, digest
FROM usage_events ORDER BY writer, seq
"""
_TRANSACTIONS = "SELECT writer, seq, account, key, kind, at, corrects FROM transactions ORDER BY writer, seq"
_POSTINGS = """
SELECT t.writer, t.seq, p.account, p.key, p.n, p.ledger, p.side, p.amount
FROM transactions t JOIN postings p ON p.account = t.account AND p.key = t.key ORDER BY t.writer, t.seq
"""

_ACTS = """
SELECT writer, seq, account, id, at, actor, key, operator, method, path, request, user_agent, client, changes
FROM audit_log ORDER BY writer, seq
"""


def _list_events(conn: Connection, found: Findings) -> Iterator[_Fact]:
    for row in each_abreast(conn, _EVENTS):
        writer, seq, *values, budgets, digest = list(row)
        # The quantities as the very bytes kept, so that a changed space shows as well.
        model, occurred_at, values[11] = values[3], values[6], msgspec.Raw(values[11].encode())
        body = _encode((model, occurred_at, values[11]))
        if digest and hashlib.blake2b(body, digest_size=16).digest() != bytes(digest):
            found.blame(
                f"account {values[0]}, usage event {values[1]}/{values[2]}",
                "its digest is not that of its model, time and quantities",
            )
        covered = ("usage", *values) if budgets is None else ("usage", *values, budgets)
        yield _Fact(writer, seq, _encode(covered), values[7], ("usage event", *values[:3]))


def _list_transactions(conn: Connection) -> Iterator[_Fact]:
    for row in each_abreast(conn, _TRANSACTIONS):
        writer, seq, *values = list(row)
        yield _Fact(writer, seq, _encode(("transaction", *values)), values[3], ("transaction", *values[:2]))


def _list_postings(conn: Connection) -> Iterator[_Fact]:
    for row in each_abreast(conn, _POSTINGS):
        writer, seq, *values = list(row)
        yield _Fact(writer, seq, _encode(("posting", *values)), None, ("posting", *map(str, values[:3])))


def _list_acts(conn: Connection) -> Iterator[_Fact]:
    for row in each_abreast(conn, _ACTS):
        writer, seq, *values = list(row)
        yield _Fact(writer, seq, _encode(("act", *values)), values[2], ("audit log entry", *values[:2]))


def _list_groups(conn: Connection, found: Findings) -> Iterator[tuple[tuple[int, int], list[_Fact]]]:
    step = itemgetter(0, 1)
    facts = merge(_list_events(conn, found), _list_transactions(conn), _list_postings(conn), _list_acts(conn), key=step)
    for key, group in groupby(facts, key=step):
        rows = list(group)
        found.rows += len(rows)
        yield key, rows


def _names(facts: list[_Fact]) -> str:
    shown = [f"{fact.name[0]} {'/'.join(fact.name[2:])} of account {fact.name[1]}" for fact in facts[:_NAMED]]
    if len(facts) > _NAMED:
        shown.append(f"and {len(facts) - _NAMED} more")
    return ", ".join(shown)


_COMMITS = """
SELECT c.writer, c.n, c.seq, c.hash, c.at, b.hash AS before, b.seq AS seq_before FROM commits c
LEFT JOIN commits b ON b.writer = c.writer AND b.n = c.n - 1 ORDER BY c.writer, c.seq
"""


def _chain_is_unbroken(conn: Connection, found: Findings) -> None:
    groups = _list_groups(conn, found)
    group = next(groups, None)
    for commit in each_abreast(conn, _COMMITS):
        here = (commit.writer, commit.seq)
        while group is not None and group[0] < here:
            _blame_uncovered(found, *group)
            group = next(groups, None)
        facts: list[_Fact] = []
        if group is not None and group[0] == here:
            facts = group[1]
            group = next(groups, None)
        _check_commit(found, commit, facts)
    while group is not None:
        _blame_uncovered(found, *group)
        group = next(groups, None)
    _check_tips(conn, found)
    found.count(conn, "commits", "writers")


def _blame_uncovered(found: Findings, key: tuple[int, int], facts: list[_Fact]) -> None:
    found.blame(f"writer {key[0]}, step {key[1]}", f"no commit covers these rows: {_names(facts)}")


def _check_commit(found: Findings, commit: Row, facts: list[_Fact]) -> None:
    where = f"writer {commit.writer}, commit {commit.n}"
    before = _START if commit.n == 1 else commit.before
    if before is None:
        found.blame(where, f"commit {commit.n - 1} before it is missing")
        return
    if commit.n > 1 and commit.seq_before >= commit.seq:
        found.blame(where, f"its step {commit.seq} does not come after {commit.seq_before}, that of the one before")
    if not facts:
        found.blame(where, "the rows it covered are gone")
    elif chain(bytes(before), commit.seq, [fact.covered for fact in facts]) != bytes(commit.hash):
        found.blame(
            where,
            f"its hash is not that of its {len(facts)} rows and the commit before: a value in them or the hash itself "
            f"was changed, or a row was added or removed. They are {_names(facts)}",
        )
    late = [fact for fact in facts if fact.at is not None and fact.at != commit.at]
    if late:
        found.blame(where, f"its instant {commit.at} is not the one on its rows: {_names(late)}")


_TIPS = """
SELECT w.id, w.n, w.hash, w.seq, COALESCE(s.commits, 0) AS commits, COALESCE(s.last, 0) AS last, c.hash AS tip,
    c.seq AS tip_seq
FROM writers w
LEFT JOIN (SELECT writer, COUNT(*) AS commits, MAX(n) AS last FROM commits GROUP BY writer) s ON s.writer = w.id
LEFT JOIN commits c ON c.writer = w.id AND c.n = w.n
"""
_STRAY = "SELECT DISTINCT c.writer FROM commits c LEFT JOIN writers w ON w.id = c.writer WHERE w.id IS NULL"


def _check_tips(conn: Connection, found: Findings) -> None:
    for row in each(conn, _TIPS):
        where = f"writer {row.id}"
        if row.commits != row.n or row.last != row.n:
            found.blame(where, f"it made {row.n} commits, but {row.commits} are there, the last with number {row.last}")
        elif bytes(row.tip or _START) != bytes(row.hash):
            found.blame(where, f"its hash is not that of its last commit, number {row.n}")
        if row.tip_seq is not None and row.tip_seq > row.seq:
            found.blame(where, f"its last commit is step {row.tip_seq}, but it only came to step {row.seq}")
    for row in each(conn, _STRAY):
        found.blame(f"writer {row.writer}", "it does not exist, but has commits")


CHECKS = (Invariant("B6", "Every writer's hash chain is unbroken over its rows", _chain_is_unbroken),)
