"""The audit command: every invariant of the books checked, through the operator API or in a database directly."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

from cyclopts import Parameter

from purser.inbound.cli.failure import ERROR, Failure, usage
from purser.inbound.cli.reach import UNSAID, Reach
from purser.inbound.cli.show import ID, NUMBER, STATE, TEXT, Column, print_table, show_list, tell, working
from purser.inbound.cli.wire import LONG_SECONDS

_CHECKS = (
    Column("CHECK", "name", ID),
    Column("", "verdict", STATE),
    Column("ROWS", "rows", NUMBER),
    Column("WHAT HOLDS", "title", TEXT),
)
_VIOLATIONS = (Column("CHECK", "check", ID), Column("WHERE", "where", TEXT), Column("WHAT IS WRONG", "message", TEXT))


def audit(
    *,
    database_url: Annotated[str | None, Parameter(help="Look into this database instead of asking a server.")] = None,
    config: Annotated[Path | None, Parameter(help="Look into the database that this purser.toml names.")] = None,
    reach: Reach = UNSAID,
) -> int:
    """Check every invariant of the books.

    Exit code 1 where one does not hold. Asks the server, with the operator
    key; with --database-url or --config it reads the database itself,
    changing nothing, beside live traffic or at rest.

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
    from purser.store.db import Database
    from purser.store.inspection import missing_columns

    named = Database(url)
    if named.in_memory or not named.path.exists():
        raise Failure(f"there is no database {named.path}")
    db = Database(f"sqlite:///file:{quote(str(named.path.resolve()))}?mode=ro&uri=true")
    try:
        with db.read() as conn:
            if missing := missing_columns(conn):
                raise Failure(f"{named.path} does not hold Purser's books: {missing[0]} is missing")
            found = audit_books(conn)
    except (Failure, PurserError):
        raise
    except Exception as error:  # whatever the driver says
        raise Failure(f"{named.path} cannot be read: {str(error).splitlines()[0]}") from None
    finally:
        db.dispose()
    return {
        "checks": [asdict(check) for check in found.checks],
        "violations": [asdict(violation) for violation in found.violations],
    }


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
