"""Bringing a database's tables to the newest version, one process at a time."""

from __future__ import annotations

import fcntl
import os
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from purser.core.errors import Broken
from purser.store import accounts
from purser.store.db import Database
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
        head, known = _versions()
        at = MigrationContext.configure(connection).get_current_revision()
        if at is not None and at not in known:
            raise Broken(f"the database is at version {at}, which this program does not know: install a newer Purser")
        if at != head:
            if at is not None and not db.is_sqlite:  # every transaction begins with an update of this table
                connection.exec_driver_sql("LOCK TABLE writers IN EXCLUSIVE MODE")
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if db.is_sqlite:
                accounts.set_meta(connection, TABLES, digest_tables(connection))


@cache
def _versions() -> tuple[str | None, frozenset[str]]:
    """The version that this program's tables have, and all that it knows."""
    script = ScriptDirectory.from_config(_config())
    return script.get_current_head(), frozenset(revision.revision for revision in script.walk_revisions())


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    return config
