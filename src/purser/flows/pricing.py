"""Pricing: new versions of the price book, published whole and never changed."""

from __future__ import annotations

from purser.core.errors import Invalid
from purser.core.pricebook import PriceBook, in_force, read_price, revise
from purser.store import prices
from purser.store.presence import SHARED, lock_one
from purser.store.writers import Tx


def publish(tx: Tx, models: object, effective_at: int | None = None) -> PriceBook:
    """Publish a version: the given models (dollars per million) over those of the newest one, which keep their rates.

    Raises Invalid for an unknown or missing price, or an effective instant in the past (P1, P8).
    """
    if not isinstance(models, dict) or not models:
        raise Invalid('models must be an object such as {"tiny": {"input": "0.20", "output": "0.80"}}', field="models")
    at = tx.now if effective_at is None else effective_at
    if at < tx.now:
        raise Invalid(
            "effectiveAt lies in the past; a published price never changes what was rated",
            field="effectiveAt",
        )
    for name in models:
        if not isinstance(name, str) or not 1 <= len(name) <= 200:
            raise Invalid("a model's name must have 1 to 200 characters", field="models")
    changed = {
        name: read_price(name, price, cached_is_input=tx.policy.cached_is_input) for name, price in models.items()
    }
    lock_one(tx.conn, SHARED)
    books = prices.list_books(tx.conn)
    before = max(books, key=lambda book: (book.effective_at, book.version), default=None)
    if before is not None and before.effective_at > at:
        before = in_force(books, at)
    book = revise(before, changed, len(books) + 1, at)
    prices.insert_book(tx.conn, book, tx.now)
    tx.touch("")
    return book


def seed(tx: Tx, models: dict[str, dict[str, str]]) -> None:
    """Publish the configured prices of models that no version prices yet; later changes go through `publish`."""
    lock_one(tx.conn, SHARED)
    books = prices.list_books(tx.conn)
    known = {name for book in books for name in book.models}
    new = {name: price for name, price in models.items() if name not in known}
    if new:
        publish(tx, new, effective_at=None)
