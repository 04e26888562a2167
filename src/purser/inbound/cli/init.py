"""The init command: writes purser.toml, creates the database and makes the first operator key."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from purser.inbound.cli.failure import CONFLICT, Failure
from purser.inbound.cli.reach import Printing
from purser.inbound.cli.show import Column, show_one, tell

if TYPE_CHECKING:
    from purser.settings import Settings

_FILE = "purser.toml"
_KEY_BITS = 200
_MADE = (Column("configuration", "config"), Column("database", "database"), Column("operator key", "operatorKey"))
_PLAIN = Printing()


def init(
    *,
    dir: Annotated[Path, Parameter(help="Where to set up; made if it is not there.")] = Path(),
    printing: Printing = _PLAIN,
) -> None:
    """Set up: write purser.toml, create the database, make the first operator key.

    The key is printed this once; PURSER_OPERATOR_KEY chooses it instead. What exists is never overwritten.

    Example: purser init --dir /srv/purser
    """
    from purser.settings import SettingsError, load, render_default

    config = dir / _FILE
    try:
        dir.mkdir(parents=True, exist_ok=True)
        with config.open("x", encoding="utf-8") as file:
            file.write(render_default())
    except FileExistsError:
        raise Failure(
            f"{config if config.exists() else dir} exists already; nothing was changed",
            code=CONFLICT,
            then="See what is set up with: purser doctor",
        ) from None
    except OSError as error:
        raise Failure(f"{config} cannot be written: {error.strerror}") from None
    try:
        settings = load(config, os.environ, serving=False)
        key = _create(settings)
    except SettingsError as error:
        config.unlink()
        raise Failure(str(error)) from None
    except BaseException:
        config.unlink()
        raise
    made = {"config": str(config), "database": settings.database_url}
    if settings.operator_key is None:
        made["operatorKey"] = key
    show_one(printing.output, made, made, _MADE)
    if settings.operator_key is None:
        tell("The operator key is shown this once: keep it now, as PURSER_OPERATOR_KEY or with: purser login")
    tell(f"Next: name your model server in {config}, then start with: purser serve --config {config}")


def _create(settings: Settings) -> str:
    """Make the database, whose file must be new, and answer the operator's key."""
    import secrets
    import socket

    from purser.core.errors import Broken, PurserError
    from purser.core.ids import make_secret
    from purser.flows.setup import prepare
    from purser.inbound.world import SystemWorld
    from purser.store.db import Database
    from purser.store.upgrade import upgrade
    from purser.store.writers import Writer

    key = settings.operator_key or make_secret("op", secrets.randbits(_KEY_BITS))
    db = Database(settings.database_url)
    if db.is_sqlite and db.path.exists():
        raise Failure(
            f"the database {db.path} exists already; nothing was changed",
            code=CONFLICT,
            then="To serve it, run purser serve; to begin anew, choose another --dir.",
        )
    try:
        upgrade(db)
        with closing(
            Writer(db, SystemWorld(), settings.policy(), host=socket.gethostname(), pid=os.getpid())
        ) as writer:
            writer.run(lambda tx: prepare(tx, settings.prices(), key))
    except (PurserError, Broken):
        raise
    except Exception as error:  # whatever the driver says
        raise Failure(f"the database {db.path} cannot be made: {str(error).splitlines()[0]}") from None
    finally:
        db.dispose()
    return key
