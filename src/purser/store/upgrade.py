"""Bringing a database's tables to the newest version."""

from __future__ import annotations

from purser.store.db import Database
from purser.store.schema import metadata


def upgrade(db: Database) -> None:
    """Create or migrate the tables."""
    metadata.create_all(db.engine)
    db.assert_durable()
