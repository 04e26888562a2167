"""Records of models and datasets as rows; one that was deleted stays, and may be written anew under its id."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from purser.core.records import Record, decode, encode
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row

c = t.records.c


def _live(account: str, collection: str) -> tuple[sa.ColumnElement[bool], ...]:
    return c.account == account, c.collection == collection, c.removed_at.is_(None)


def get(conn: Connection, account: str, collection: str, id_: str) -> Row | None:
    """One record."""
    return conn.execute(sa.select(t.records).where(*_live(account, collection), c.id == id_)).first()


def list_records(
    conn: Connection,
    account: str,
    collection: str,
    only: Mapping[str, str],
    order: Sequence[tuple[str, bool]],
    offset: int,
    limit: int,
) -> list[Row]:
    """Records with these values of columns, ordered by columns, each descending or not; among equals newest first."""
    found = sa.select(t.records).where(*_live(account, collection), *(c[name] == value for name, value in only.items()))
    by = [c[name].desc() if descending else c[name] for name, descending in order]
    return list(conn.execute(found.order_by(*by, c.made.desc()).offset(offset).limit(limit)))


def count(conn: Connection, account: str, collection: str, only: Mapping[str, str]) -> int:
    """How many records there are with these values of columns."""
    found = sa.select(sa.func.count()).select_from(t.records).where(*_live(account, collection))
    return int(conn.execute(found.where(*(c[name] == value for name, value in only.items()))).scalar_one())


def insert(conn: Connection, key: Mapping[str, str], record: Record, **values: int | str) -> None:
    """A new record, or one whose id was deleted."""
    said = {**_values(record), **values, "removed_at": None}
    if not seals.insert_once(conn, t.records, {**key, **said}):
        seals.change(conn, t.records, key, **said)


def update(conn: Connection, key: Mapping[str, str], record: Record, at: int) -> None:
    """Write down something else."""
    seals.change(conn, t.records, key, **_values(record), updated_at=at)


def remove(conn: Connection, key: Mapping[str, str], at: int) -> None:
    """Delete a record."""
    seals.change(conn, t.records, key, removed_at=at)


def read(row: Row) -> Record:
    """What a row says."""
    return Record(row.kind, row.display_name, row.example_count, row.token_count, decode(row.fields))


def _values(record: Record) -> dict[str, Any]:
    return {
        "kind": record.kind,
        "display_name": record.display_name,
        "example_count": record.example_count,
        "token_count": record.token_count,
        "fields": encode(record.fields),
    }
