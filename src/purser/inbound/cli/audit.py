"""The audit command: every invariant of the books checked, through the operator API or in a database directly."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter

from purser.inbound.cli.failure import ERROR, Failure, usage
from purser.inbound.cli.reach import UNSAID, Reach
from purser.inbound.cli.show import ID, NUMBER, STATE, TEXT, Column, print_table, show_list, tell, working
from purser.inbound.cli.wire import LONG_SECONDS

if TYPE_CHECKING:
    from purser.store.db import Database

_CHECKS = (
    Column("CHECK", "name", ID),
    Column("", "verdict", STATE),
    Column("ROWS", "rows", NUMBER),
    Column("WHAT HOLDS", "title", TEXT),
)
_VIOLATIONS = (Column("CHECK", "check", ID), Column("WHERE", "where", TEXT), Column("WHAT IS WRONG", "message", TEXT))


def audit(
    *,
    database_url: Annotated[
        str | None,
        Parameter(help="Look into this database instead of asking a server, such as postgresql://user@host/purser."),
    ] = None,
    config: Annotated[Path | None, Parameter(help="Look into the database that this purser.toml names.")] = None,
    reach: Reach = UNSAID,
) -> int:
    """Check every invariant of the books.

    Exit code 1 where one does not hold. Asks the server, with the operator
    key; with --database-url or --config it reads the database itself in one
    read-only snapshot, beside live traffic or at rest: a SQLite file, or a
    PostgreSQL database, for which a role that may only read is enough.

    Example: purser audit --database-url sqlite:///purser.db
    """
    if database_url is not None and config is not None:
        raise usage("--database-url and --config both name a database; give one of them")
    if database_url is None and config is None:
        with working("auditing"):
            found = reach.call_as_operator().post("/operator/v1/audit", {}, seconds=LONG_SECONDS)
    else:
        with working("auditing"):
            found = _look(database_url or _configured(config))
    _show(reach.output, found)
    return ERROR if found["violations"] else 0


def _configured(config: Path | None) -> str:
    from purser.settings import SettingsError, load

    try:
        return load(config, os.environ, serving=False).database_url
    except SettingsError as error:
        raise usage(str(error)) from None


def _look(url: str) -> dict[str, Any]:
    """The audit of a database that is opened for reading alone."""
    from purser.core.errors import PurserError
    from purser.flows.audit import audit as audit_books
    from purser.store.inspection import OURS, missing_columns, whose_tables

    db, name = _open(url)
    try:
        if not db.is_sqlite:
            db.reach()
        with db.read() as conn:
            if missing := missing_columns(conn):
                if whose_tables(conn) != OURS:
                    raise Failure(f"{name} does not hold Purser's books: {missing[0]} is missing")
                raise Failure(
                    f"{name} is of another version of Purser: {missing[0]} is missing",
                    then="purser serve brings it up to date.",
                )
            found = audit_books(conn)
    except (Failure, PurserError):
        raise
    except Exception as error:  # whatever the driver says
        raise Failure(f"{name} cannot be read: {str(error).splitlines()[0]}") from None
    finally:
        db.dispose()
    return {
        "checks": [asdict(check) for check in found.checks],
        "violations": [asdict(violation) for violation in found.violations],
    }


def _open(url: str) -> tuple[Database, str]:
    """The database, and what to call it; raises Invalid for what is no URL of one, Failure where there is no file."""
    from purser.store.db import Database

    db = Database(url)
    if not db.is_sqlite:
        return db, db.name
    if db.in_memory or not db.path.exists():
        raise Failure(f"there is no database {db.path}")
    return Database(f"sqlite:///file:{quote(str(db.path.resolve()))}?mode=ro&uri=true"), db.name


def _show(output: str, found: dict[str, Any]) -> None:
    broken = {violation["check"] for violation in found["violations"]}
    rows = [{**check, "verdict": "wrong" if check["name"] in broken else "ok"} for check in found["checks"]]
    show_list(output, found, rows, _CHECKS, "Nothing was checked.")
    if output != "table":
        return
    if found["violations"]:
        print()
        print_table(found["violations"], _VIOLATIONS)
    checked = sum(check["rows"] for check in rows)
    tell(
        f"{len(rows)} checks over {checked:,} rows: "
        + (f"{len(broken)} do not hold." if broken else "all of them hold.")
    )
