"""The tables of prices: price books, the models that each was published to change, and every rate."""

from __future__ import annotations

from purser.store.columns import Int, integer, key, sealed

price_books = sealed("price_books", key("version", Int), integer("effective_at"), integer("published_at"))

# The models that a version was published to change; its rates are those of every model.
price_changes = sealed("price_changes", key("version", Int), key("model"))

rates = sealed("rates", key("version", Int), key("model"), key("unit"), integer("nanos"), integer("per"))
