"""The doctor command: what is set up, what is wrong, and what to do about it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from purser.inbound.cli.failure import ERROR, clean
from purser.inbound.cli.reach import Printing
from purser.inbound.cli.show import Column, console, show_list, styled, tell

if TYPE_CHECKING:
    from purser.settings import ModelSettings, Settings
    from purser.store.db import Database

OK, WRONG = "ok", "wrong"
_PROBE_SECONDS = 3
_CHECK_WIDTH = 20
_COLUMNS = tuple(Column("", name) for name in "check state found then".split())
_PLAIN = Printing()


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: how it went, what was found, and what to do where it is wrong."""

    check: str
    state: str
    found: str
    then: str = ""


def doctor(
    *,
    config: Annotated[
        Path | None, Parameter(help="This purser.toml; PURSER_CONFIG's or the one here if not given.")
    ] = None,
    printing: Printing = _PLAIN,
) -> int:
    """Say what is set up, what is wrong, and what to do about it.

    Looks at configuration, database (a SQLite file, or a PostgreSQL server:
    whether it is reached, durable, new enough and may be written), prices,
    model servers, port and operator key; exit code 1 if one is wrong. It
    changes nothing and may run beside a server.

    Example: purser doctor --config /srv/purser/purser.toml
    """
    findings = []
    for finding in examine(config):
        findings.append(finding)
        if printing.output == "table":
            _print(finding)
    wrong = [finding for finding in findings if finding.state == WRONG]
    rows = [asdict(finding) for finding in findings]
    if printing.output == "table":
        tell(f"{len(wrong)} of {len(findings)} checks are wrong." if wrong else "Everything is as it should be.")
    else:
        show_list(printing.output, {"ok": not wrong, "checks": rows}, rows, _COLUMNS, "")
    return ERROR if wrong else 0


def _print(finding: Finding) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(width=5)
    table.add_column(width=_CHECK_WIDTH, overflow="fold")
    table.add_column(overflow="fold")
    table.add_row(styled(finding.state), Text(finding.check), Text(clean(finding.found)))
    if finding.then:
        table.add_row("", "", Text(f"→ {clean(finding.then)}"))
    console().print(table)


def examine(config: Path | None) -> Iterator[Finding]:
    """Every check in turn, without those that an earlier one makes pointless."""
    from purser.settings import SettingsError, find_config, load

    path = find_config(config, os.environ)
    try:
        settings = load(path, os.environ)
    except SettingsError as error:
        for mistake in error.mistakes:
            yield Finding("configuration", WRONG, mistake, "" if path else "Write one with: purser init")
        return
    models = ", ".join(model.name for model in settings.models)
    yield Finding("configuration", OK, f"{path or 'from the environment'}: {models}")
    yield from _database(settings)
    for model in settings.models:
        for upstream in model.upstreams:
            yield _upstream(model, upstream)
    yield _port(settings.host, settings.port)


# ── the database ─────────────────────────────────────────────────────────────────────────────────────────────────
def _database(settings: Settings) -> Iterator[Finding]:
    from purser.core.errors import Broken, PurserError, Unavailable
    from purser.store.db import Database

    try:
        db = Database(settings.database_url)
    except PurserError as error:
        yield Finding("database", WRONG, error.message, "Correct database_url.")
        return
    advice = "Check its path and permissions." if db.is_sqlite else "Start PostgreSQL, or correct database_url."
    durably = (
        "Use a file system on which SQLite can keep a write-ahead log."
        if db.is_sqlite
        else "Set it in postgresql.conf."
    )
    try:
        if db.is_sqlite and not db.path.exists():
            yield Finding(
                "database", WRONG, f"{db.path} does not exist", "purser serve makes it, and so does: purser init"
            )
            return
        db.reach()
        db.assert_durable()
        yield _writable(db) if db.is_sqlite else _server(db)
        yield from _contents(db, settings)
    except Unavailable as error:
        yield Finding("database", WRONG, error.message, advice)
    except Broken as error:
        yield Finding("database", WRONG, str(error), durably)
    except Exception as error:  # whatever the driver says
        yield Finding("database", WRONG, f"{db.name}: {str(error).splitlines()[0]}", advice)
    finally:
        db.dispose()


def _server(db: Database) -> Finding:
    """Whether a PostgreSQL server, reached and durable, is new enough and may be written."""
    from purser.store.inspection import look_at_server

    with db.read() as conn:
        found = look_at_server(conn)
    known = f"{db.name}: PostgreSQL {found.version}"
    if found.hindrance:
        return Finding("database", WRONG, f"{known}: {found.hindrance}", "Correct it there, or choose another server.")
    return Finding("database", OK, f"{known}, reachable, writable, durable")


def _writable(db: Database) -> Finding:
    places = [db.path, db.path.resolve().parent]
    closed = next((place for place in places if not os.access(place, os.W_OK)), None)
    if closed is not None:
        return Finding("database", WRONG, f"{closed} cannot be written", "Give the user that runs Purser the right to.")
    return Finding("database", OK, f"{db.path}: readable, writable, durable")


def _contents(db: Database, settings: Settings) -> Iterator[Finding]:
    import time

    from purser.core.pricebook import in_force
    from purser.store import outbox
    from purser.store.inspection import NOTHING, OTHERS, count_operators, missing_columns, whose_tables
    from purser.store.prices import list_books

    with db.read() as conn:
        missing, whose = missing_columns(conn), whose_tables(conn)
        if whose == NOTHING:
            yield Finding("tables", WRONG, "there are none yet", "purser serve makes them.")
            return
        if whose == OTHERS:
            then = "Give Purser a database of its own."
            yield Finding("tables", WRONG, f"they are another program's: {missing[0]} is missing", then)
            return
        if missing:
            yield Finding(
                "tables",
                WRONG,
                f"not up to date: {', '.join(missing[:3])} missing",
                "purser serve brings them up to date.",
            )
            return
        yield Finding("tables", OK, "up to date")
        books, operators, messages = list_books(conn), count_operators(conn), outbox.count(conn)
    yield _mail(settings, messages)
    book = in_force(books, time.time_ns() // 1000) or (books[-1] if books else None)
    unpriced = [model.name for model in settings.models if book is None or model.name not in book.models]
    for name in unpriced:
        then = f"purser prices publish --model {name} --input … --output …, or give it a price in purser.toml"
        yield Finding("prices", WRONG, f"{name} has no price: it cannot be served", then)
    if not unpriced:
        yield Finding("prices", OK, f"every model has one, in version {book.version if book else 0}")
    if operators or settings.operator_key is not None:
        yield Finding(
            "operator key", OK, f"{operators} kept" + ("; PURSER_OPERATOR_KEY is set" if settings.operator_key else "")
        )
    else:
        yield Finding(
            "operator key",
            WRONG,
            "there is none",
            "Set PURSER_OPERATOR_KEY, 32 or more characters, and start purser serve.",
        )


def _mail(settings: Settings, messages: Mapping[tuple[str, str], int]) -> Finding:
    """Whether mail goes out, and what waits or was given up."""
    from urllib.parse import urlsplit

    from purser.core.message import GIVEN_UP, MAIL, PENDING

    waiting, given_up = messages.get((MAIL, PENDING), 0), messages.get((MAIL, GIVEN_UP), 0)
    counts = f"{waiting} wait, {given_up} were given up"
    if settings.mail_url is None:
        then = "Set mail_url and mail_from; what waits for three days is given up, and after 90 forgotten."
        return Finding("mail", OK, f"none goes out, as mail_url is not set: {counts}", then)
    parts = urlsplit(settings.mail_url)
    return Finding("mail", OK, f"through {parts.hostname or parts.path}, from {settings.mail_from}: {counts}")


# ── the network ──────────────────────────────────────────────────────────────────────────────────────────────────
def _get(url: str, key: str | None = None) -> tuple[int, Any]:
    """The status and JSON of a GET, None where it is no JSON; raises OSError."""
    import json
    import urllib.error
    import urllib.request

    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(
            request, timeout=_PROBE_SECONDS
        ) as answer:
            status, content = answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, None
    try:
        return status, json.loads(content)
    except ValueError:
        return status, None


def _upstream(model: ModelSettings, upstream: str) -> Finding:
    check = f"model {model.name}"
    try:
        status, document = _get(f"{upstream}/models", model.upstream_key)
    except (OSError, ValueError) as error:
        why = clean(getattr(error, "reason", None) or error)
        return Finding(check, WRONG, f"{upstream} cannot be reached: {why}", "Start its server, or correct upstream.")
    if status in (401, 403):
        return Finding(
            check, WRONG, f"{upstream} refuses the key ({status})", "Correct the variable upstream_key names."
        )
    if status != 200:
        return Finding(check, WRONG, f"{upstream}/models answers {status}", "upstream should end where /models begins.")
    served = [str(each.get("id")) for each in _data(document)]
    if served and model.upstream_model not in served:
        then = f"Set upstream_model to one of: {', '.join(served[:5])}"
        return Finding(check, WRONG, f"{upstream} does not serve {model.upstream_model}", then)
    return Finding(check, OK, f"{upstream} serves {model.upstream_model}" if served else f"{upstream} answers")


def _data(document: Any) -> list[dict[str, Any]]:
    data = document.get("data") if isinstance(document, dict) else None
    return [each for each in data if isinstance(each, dict)] if isinstance(data, list) else []


def _port(host: str, port: int) -> Finding:
    """Whether the port is free to listen on, or is Purser's already."""
    import socket

    near = "127.0.0.1" if host in ("", "0.0.0.0") else "::1" if host == "::" else host
    family = socket.AF_INET6 if ":" in near else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((near, port))
        except OSError as error:
            taken = error
        else:
            return Finding("port", OK, f"{port} is free" if port else "any free one is taken")
    shown = f"[{near}]" if ":" in near else near
    try:
        status, document = _get(f"http://{shown}:{port}/status")
    except (OSError, ValueError):
        status, document = 0, None
    if status == 200 and isinstance(document, dict) and "manualClock" in document:
        return Finding("port", OK, f"Purser {document.get('version')} serves at http://{shown}:{port}")
    return Finding("port", WRONG, f"{port}: {taken.strerror}", "End what uses it, or choose another port.")
