"""Bringing a database's tables to the newest version, one process at a time."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from purser.core.errors import Broken
from purser.store.db import Connection, Database

_MIGRATIONS = Path(__file__).with_name("migrations")


def upgrade(db: Database) -> None:
    """Create or migrate the tables; raises Broken where the database is not durable or newer than this program."""
    if db.in_memory:
        _upgrade(db)
    else:
        db.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(f"{db.path}.queue", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)  # the writers' own queue: nobody writes while tables change
            _upgrade(db)
        finally:
            os.close(descriptor)
    db.assert_durable()


def _upgrade(db: Database) -> None:
    with db.engine.connect().execution_options(immediate=True) as connection, connection.begin():
        config = _config(connection)
        script = ScriptDirectory.from_config(config)
        at = MigrationContext.configure(connection).get_current_revision()
        if at is not None and at not in {revision.revision for revision in script.walk_revisions()}:
            raise Broken(f"the database is at version {at}, which this program does not know: install a newer Purser")
        if at != script.get_current_head():
            command.upgrade(config, "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
