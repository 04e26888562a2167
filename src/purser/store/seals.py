"""Seals: a checksum with every row whose values nothing else could tell again, so that one changed by others shows.

What usage and the books say is under the hash chains, and much can be derived from that. A limit, a price, a key or
when credit expires cannot: such rows are written here, each with a checksum of all that it says. It is no signature:
whoever knows how may write another one.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
import sqlalchemy as sa

from purser.store import audit_log
from purser.store.bulk import BYTES, INT, TEXT, ForEach, Statement, insert_new, named
from purser.store.db import Connection, Row
from purser.store.schema import metadata

_BYTES = 16
_encode = msgspec.json.Encoder().encode
# What only says for a moment how things stand, and is written by itself.
_LEFT_OUT = {"headroom": {"wanted_at", "refused"}}
TABLES = tuple(table for table in metadata.tables.values() if "seal" in table.c)
# A process of an older version does not seal what it changes; until the last one has ended nothing is sealed.
OLDER = "EXISTS (SELECT 1 FROM writers WHERE state = 'open' AND seals = 0)"
_KINDS: dict[type[Any], str] = {sa.BigInteger: INT, sa.Integer: INT, sa.Text: TEXT, sa.LargeBinary: BYTES}


def _default(column: sa.Column[Any]) -> str | None:
    default: Any = column.server_default
    return None if default is None else str(default.arg)


_COVERED = {
    str(table.name): {
        str(column.name): _default(column)
        for column in sorted(table.c, key=lambda column: column.name)
        if column.name != "seal" and column.name not in _LEFT_OUT.get(table.name, ())
    }
    for table in TABLES
}


def covered(table: sa.Table) -> Sequence[str]:
    """The columns of a table that its seals cover; none where it has no seals."""
    return tuple(_COVERED.get(table.name, ()))


def seal(table: str, values: Mapping[str, Any]) -> bytes:
    """The seal of a row by its values; those at their column's default are left out, which may as well be missing.

    So a column that a later version adds leaves the seals as they are.
    """
    told: list[tuple[str, Any]] = []
    for name, default in _COVERED[table].items():
        value = values.get(name)
        if value is not None and (default is None or str(value) != default):
            told.append((name, value))
    return hashlib.blake2b(_encode((str(table), told)), digest_size=_BYTES).digest()


def insert(conn: Connection, table: sa.Table, *rows: Mapping[str, Any]) -> None:
    """Insert rows of the same columns with their seals; raises what the driver raises, with nothing inserted."""
    if rows:
        sealed = [(*row.values(), seal(table.name, row)) for row in rows]
        _inserting(table.name, tuple(rows[0])).run(conn, sealed)
        audit_log.note_new(conn, table, *rows)


@cache
def _inserting(table: str, names: tuple[str, ...]) -> ForEach:
    columns = metadata.tables[table].c
    kinds = [_KINDS[type(columns[name].type)] for name in names]
    places = [f"c{n}" for n in range(1, len(names) + 1)]
    into = f"INSERT INTO {table} ({', '.join(map(_quoted, names))}, seal)"
    return ForEach(
        (*kinds, BYTES),
        sqlite=f"{into} VALUES ({'?, ' * len(names)}{written('?')})",
        postgresql=f"{into} SELECT {', '.join(places)}, {written(f'c{len(names) + 1}')} FROM {{v}}",
    )


def _quoted(name: str) -> str:
    return f'"{name}"'


def insert_once(conn: Connection, table: sa.Table, values: Mapping[str, Any]) -> bool:
    """Insert a row with its seal; answers False, and changes nothing, where there is one with its key."""
    new = insert_new(conn, table.name, {**values, "seal": seal(table.name, values)}, last=written("?"))
    if new:
        audit_log.note_new(conn, table, values)
    return new


def change(conn: Connection, table: sa.Table, key: Mapping[str, Any], **values: Any) -> int:
    """Change the rows that have these values of the columns `key` and seal them anew; answers how many."""
    before: Sequence[Row] = ()
    if audit_log.is_told(conn, table, values):
        before = audit_log.look(conn, table, [table.c[name] == value for name, value in key.items()], values)
    found = _changing(table.name, tuple(key), tuple(values)).run(conn, *values.values(), *key.values())
    row = named(*(column.name for column in table.c))
    return _seal_anew(conn, table, before, list(map(row, found.fetchall())))


@cache
def _changing(table: str, key: tuple[str, ...], names: tuple[str, ...]) -> Statement:
    places = ", ".join(f"{_quoted(name)} = ?" for name in names)
    where = " AND ".join(f"{_quoted(name)} = ?" for name in key)
    columns = ", ".join(_quoted(column.name) for column in metadata.tables[table].c)
    return Statement(f"UPDATE {table} SET {places} WHERE {where} RETURNING {columns}")


def update(conn: Connection, table: sa.Table, *where: sa.ColumnElement[bool], **values: Any) -> int:
    """Change the rows for which all this holds and seal them anew; answers how many."""
    before = audit_log.look(conn, table, where, values)
    changed = conn.execute(sa.update(table).where(*where).values(**values).returning(*table.c)).all()
    return _seal_anew(conn, table, before, changed)


def _seal_anew(conn: Connection, table: sa.Table, before: Sequence[Row], changed: Sequence[Row]) -> int:
    for row in changed:
        kept = row._asdict()
        _RESEAL[table.name].run(conn, seal(table.name, kept), *(kept[column.name] for column in table.primary_key))
    audit_log.note(conn, table, before, changed)
    return len(changed)


def _reseal(table: sa.Table) -> Statement:
    key = " AND ".join(f"{_quoted(column.name)} = ?" for column in table.primary_key)
    return Statement(f"UPDATE {table.name} SET seal = {written('?')} WHERE {key}")


def written(place: str) -> str:
    """What a statement that is spelt out writes for a seal, which it has at that place."""
    return f"CASE WHEN {OLDER} THEN NULL ELSE {place} END"


_RESEAL: dict[str, Statement] = {table.name: _reseal(table) for table in TABLES}
