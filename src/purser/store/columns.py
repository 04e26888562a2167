"""Columns and tables as the schema makes them: their types on both databases, their names, and sealed ones."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Index, MetaData, Table

Int = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
Text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does
Blob = sa.LargeBinary()

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "pk": "pk_%(table_name)s",
    }
)


def key(name: str, kind: Any = Text) -> Column[Any]:
    """A column of the primary key."""
    return Column(name, kind, primary_key=True, nullable=False, autoincrement=False)


def integer(name: str, *, default: int | None = None, nullable: bool = False) -> Column[Any]:
    """A whole number."""
    return Column(name, Int, nullable=nullable, server_default=None if default is None else str(default))


def text(name: str, *, nullable: bool = False, default: str | None = None) -> Column[Any]:
    """A text."""
    return Column(name, Text, nullable=nullable, server_default=default)


def few(*names: str, where: str) -> Index:
    """An index on the few rows for which something holds, which are looked for many times a minute."""
    return Index(None, *names, sqlite_where=sa.text(where), postgresql_where=sa.text(where))


def table(name: str, *columns: sa.schema.SchemaItem, **options: Any) -> Table:
    """A table."""
    made: Table = Table(name, metadata, *columns, sqlite_strict=True, **options)
    return made


def sealed(name: str, *columns: sa.schema.SchemaItem, **options: Any) -> Table:
    """A table whose rows have a seal each (see seals)."""
    return table(name, *columns, Column("seal", Blob, nullable=True), **options)
