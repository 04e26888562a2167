"""Pricing: new versions of the price book, published whole and never changed."""

from __future__ import annotations

from collections.abc import Iterable

from purser.core.errors import Invalid, NotFound
from purser.core.pricebook import PriceBook, in_force, read_price, reschedule, revise
from purser.core.usage import Quantities, folded
from purser.store import prices
from purser.store.presence import SHARED, lock_one
from purser.store.writers import Tx


def publish(tx: Tx, models: object, effective_at: int | None = None) -> PriceBook:
    """Publish a version: the given models (dollars per million) over those in force then, which keep their rates.

    Versions scheduled for later are published anew over it, so that they change only what they named (P1).
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
    if not any(book.effective_at <= tx.now for book in books) and at > tx.now:
        books.append(_begin(tx, len(books) + 1))
    before = in_force([book for book in books if book.effective_at <= at], at)
    new = revise(before, changed, len(books) + 1, at)
    for book in (new, *reschedule(new, books)):
        prices.insert_book(tx.conn, book, tx.now)
    tx.touch("")
    return new


def _begin(tx: Tx, version: int) -> PriceBook:
    """Nothing is priced until the first prices take effect, though otherwise the first book reaches back in time."""
    empty = PriceBook(version, tx.now, {})
    prices.insert_book(tx.conn, empty, tx.now)
    return empty


def require_rates(books: Iterable[PriceBook], model: str, quantities: Quantities, at: int) -> None:
    """Raises NotFound where the book in force at that time prices a model, but not each of these units."""
    book = in_force(books, at)
    rates = {} if book is None else book.models.get(model, {})
    missing = [unit for unit in folded(quantities, rates) if unit not in rates]
    if rates and missing:
        raise NotFound(
            f"model {model!r:.80} has no price for {', '.join(missing)} in force at that time", field="quantities"
        )


def seed(tx: Tx, models: dict[str, dict[str, str]]) -> None:
    """Publish the configured prices of models that no version prices yet; later changes go through `publish`."""
    lock_one(tx.conn, SHARED)
    books = prices.list_books(tx.conn)
    known = {name for book in books for name in book.models}
    new = {name: price for name, price in models.items() if name not in known}
    if new:
        publish(tx, new, effective_at=None)
