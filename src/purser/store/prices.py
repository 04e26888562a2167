"""Price books as rows; a version is written once and never changed."""

from __future__ import annotations

import sqlalchemy as sa

from purser.core.money import Rate
from purser.core.pricebook import PriceBook
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection
from purser.store.prepared import Prepared

_RATES = Prepared(lambda: sa.select(t.rates))
_CHANGED = Prepared(lambda: sa.select(t.price_changes))
_BOOKS = Prepared(lambda: sa.select(t.price_books).order_by(t.price_books.c.version))


def list_books(conn: Connection) -> list[PriceBook]:
    """Every version, oldest first."""
    models: dict[int, dict[str, dict[str, Rate]]] = {}
    for row in _RATES.run(conn):
        models.setdefault(row.version, {}).setdefault(row.model, {})[row.unit] = Rate(row.nanos, row.per)
    named: dict[int, set[str]] = {}
    for row in _CHANGED.run(conn):
        named.setdefault(row.version, set()).add(row.model)
    books = _BOOKS.run(conn)
    return [
        PriceBook(row.version, row.effective_at, models.get(row.version, {}), frozenset(named.get(row.version, ())))
        for row in books
    ]


def insert_book(conn: Connection, book: PriceBook, published_at: int) -> None:
    """Write a new version."""
    head = {"version": book.version, "effective_at": book.effective_at, "published_at": published_at}
    seals.insert(conn, t.price_books, head)
    rows = [
        {"version": book.version, "model": model, "unit": unit, "nanos": rate.nanos, "per": rate.per}
        for model, rates in book.models.items()
        for unit, rate in rates.items()
    ]
    seals.insert(conn, t.rates, *rows)
    seals.insert(conn, t.price_changes, *({"version": book.version, "model": name} for name in book.named))
