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
    from purser.store.db import Database

_FILE = "purser.toml"
_KEY_BITS = 200
_MADE = (Column("configuration", "config"), Column("database", "database"), Column("operator key", "operatorKey"))
_PLAIN = Printing()


def init(
    *,
    dir: Annotated[Path, Parameter(help="Where to set up; made if it is not there.")] = Path(),
    database_url: Annotated[
        str | None,
        Parameter(
            help="Where the books are kept, such as postgresql://user@host/purser (which must be there, without "
            "tables); or PURSER_DATABASE_URL, or a SQLite file beside purser.toml."
        ),
    ] = None,
    printing: Printing = _PLAIN,
) -> None:
    """Set up: write purser.toml, create the database's tables, make the first operator key.

    The key is printed this once; PURSER_OPERATOR_KEY chooses it instead. What exists is never overwritten. A
    password in the database's URL stays out of purser.toml.

    Example: purser init --dir /srv/purser
    """
    from purser.settings import SettingsError, load, render_default

    config = dir / _FILE
    url = database_url or os.environ.get("PURSER_DATABASE_URL")
    kept = None if url is None else _without_password(url)
    try:
        dir.mkdir(parents=True, exist_ok=True)
        with config.open("x", encoding="utf-8") as file:
            file.write(render_default() if kept is None else render_default(database_url=kept))
    except FileExistsError:
        raise Failure(
            f"{config if config.exists() else dir} exists already; nothing was changed",
            code=CONFLICT,
            then="See what is set up with: purser doctor",
        ) from None
    except OSError as error:
        raise Failure(f"{config} cannot be written: {error.strerror}") from None
    try:
        settings = load(config, os.environ, {"database_url": database_url}, serving=False)
        key = _create(settings)
    except SettingsError as error:
        config.unlink()
        raise Failure(str(error)) from None
    except BaseException:
        config.unlink()
        raise
    made = {"config": str(config), "database": kept or settings.database_url}
    if settings.operator_key is None:
        made["operatorKey"] = key
    show_one(printing.output, made, made, _MADE)
    if settings.operator_key is None:
        tell("The operator key is shown this once: keep it now, as PURSER_OPERATOR_KEY or with: purser login")
    if kept is not None and kept != url and not kept.startswith("sqlite"):
        tell(f"The password is not in {config}: give it with PURSER_DATABASE_URL, PGPASSWORD or ~/.pgpass.")
    tell(f"Next: name your model server in {config}, then start with: purser serve --config {config}")


def _without_password(url: str) -> str:
    """A database's URL as purser.toml keeps it: no password, and a SQLite file's place whole."""
    import re

    from purser.store.db import Database

    db = Database(url)
    if db.is_sqlite:
        return f"sqlite:///{db.path.absolute()}"
    without = re.sub(r"(://[^/?:@]*):[^/?]*@", r"\1@", url)
    return re.sub(r"[?&]password=[^&]*", "", without)


def _create(settings: Settings) -> str:
    """Make the database, whose file or tables must be new, and answer the operator's key."""
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
        if not db.is_sqlite:
            _check_empty(db)
        upgrade(db)
        with closing(
            Writer(db, SystemWorld(), settings.policy(), host=socket.gethostname(), pid=os.getpid())
        ) as writer:
            writer.run(lambda tx: prepare(tx, settings.prices(), key))
    except (Failure, PurserError, Broken):
        raise
    except Exception as error:  # whatever the driver says
        raise Failure(f"the database {db.name} cannot be made: {str(error).splitlines()[0]}") from None
    finally:
        db.dispose()
    return key


def _check_empty(db: Database) -> None:
    """Raises Failure where a PostgreSQL database holds books, or tables by the names of ours, already."""
    from purser.store.inspection import NOTHING, OURS, whose_tables

    db.reach()
    with db.read() as conn:
        whose = whose_tables(conn)
    if whose != NOTHING:
        what = "Purser's books" if whose == OURS else "another program's tables, with the names of ours,"
        raise Failure(
            f"the database {db.name} holds {what} already; nothing was changed",
            code=CONFLICT,
            then="To serve it, run purser serve; to begin anew, name another database."
            if whose == OURS
            else "Give Purser a database of its own.",
        )
