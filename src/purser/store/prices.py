"""Price books as rows; a version is written once and never changed."""

from __future__ import annotations

import sqlalchemy as sa

from purser.core.money import Rate
from purser.core.pricebook import PriceBook
from purser.store import schema as t
from purser.store.bulk import INT, TEXT, Insert
from purser.store.db import Connection


def list_books(conn: Connection) -> list[PriceBook]:
    """Every version, oldest first."""
    models: dict[int, dict[str, dict[str, Rate]]] = {}
    for row in conn.execute(sa.select(t.rates)):
        models.setdefault(row.version, {}).setdefault(row.model, {})[row.unit] = Rate(row.nanos, row.per)
    named: dict[int, set[str]] = {}
    for row in conn.execute(sa.select(t.price_changes)):
        named.setdefault(row.version, set()).add(row.model)
    books = conn.execute(sa.select(t.price_books).order_by(t.price_books.c.version))
    return [
        PriceBook(row.version, row.effective_at, models.get(row.version, {}), frozenset(named.get(row.version, ())))
        for row in books
    ]


_RATES = Insert("rates", {"version": INT, "model": TEXT, "unit": TEXT, "nanos": INT, "per": INT})
_CHANGES = Insert("price_changes", {"version": INT, "model": TEXT})


def insert_book(conn: Connection, book: PriceBook, published_at: int) -> None:
    """Write a new version."""
    conn.execute(
        sa.insert(t.price_books).values(version=book.version, effective_at=book.effective_at, published_at=published_at)
    )
    rows = [
        (book.version, model, unit, rate.nanos, rate.per)
        for model, rates in book.models.items()
        for unit, rate in rates.items()
    ]
    _RATES.run(conn, rows)
    _CHANGES.run(conn, [(book.version, name) for name in book.named])
