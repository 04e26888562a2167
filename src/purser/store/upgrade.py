"""Bringing a database's tables to the newest version, one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import sqlalchemy as sa

from purser.core.errors import Broken
from purser.store import accounts
from purser.store.db import Connection, Database
from purser.store.inspection import TABLES, digest_tables
from purser.store.presence import UPGRADE, lock_one, open_lock_file

_MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(db: Database) -> None:
    """Create or migrate the tables while nobody writes.

    Raises Unavailable where the database cannot be reached, Broken where it is not durable or newer than this program.
    """
    if db.is_sqlite and not db.in_memory:
        db.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = open_lock_file(db, ".queue")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # the writers' own queue: nobody writes while tables change
            _upgrade(db)
        finally:
            os.close(descriptor)
    else:
        db.reach()
        _upgrade(db)
    db.assert_durable()


def _upgrade(db: Database) -> None:
    with db.engine.connect().execution_options(immediate=True) as connection, connection.begin():
        lock_one(connection, UPGRADE)
        known = versions()
        at = _version(connection)
        if at is not None and at not in known:
            raise Broken(f"the database is at version {at}, which this program does not know: install a newer Purser")
        if at != known[-1]:
            if at is not None and not db.is_sqlite:  # every transaction begins with an update of this table
                connection.exec_driver_sql("LOCK TABLE writers IN EXCLUSIVE MODE")
            _migrate(connection)
            if db.is_sqlite:
                accounts.set_meta(connection, TABLES, digest_tables(connection))


def versions() -> list[str]:
    """Every version of the tables that this program knows, the newest last: the numbers that migrations' files have."""
    return sorted(path.name.partition("_")[0] for path in (_MIGRATIONS / "versions").glob("[0-9]*.py"))


def _version(connection: Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return version


def _migrate(connection: Connection) -> None:
    # Imported here: a start where nothing is to be migrated, as nearly all are, takes a tenth less without.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
