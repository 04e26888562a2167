"""The replay command: prices a real trace in a scratch database and says what was charged, and what happened when."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from purser.inbound.cli.show import counting

if TYPE_CHECKING:
    from collections.abc import Mapping

    from purser.core.money import Rate
    from purser.core.trace import Survey, TraceRow
    from purser.flows.replay import Plan, Report
    from purser.store.db import Database

MOST_ACCOUNTS = 10_000
PRICE_EXAMPLE = "--price input=0.20,cached_input=0.10,output=0.80"


def replay(
    files: Annotated[list[Path], Parameter(help="The trace; several are taken as one, in order of time.")],
    /,
    *,
    format: Annotated[Literal["azure", "mooncake", "burstgpt"], Parameter(help="How the trace is written.")],
    model: Annotated[str, Parameter(help="The model whose price every request gets.")],
    account: Annotated[str, Parameter(help="The account's id; with more than one, what the ids begin with.")] = "demo",
    accounts: Annotated[int, Parameter(help="How many accounts; row i goes to account i mod N.")] = 1,
    credit: Annotated[str | None, Parameter(help="Free credit for each account, in dollars.")] = None,
    limit: Annotated[str | None, Parameter(help="Monthly spend limit of each account, in whole dollars.")] = None,
    speed: Annotated[Literal["max", "1x"], Parameter(help="At once, or in the trace's own time.")] = "max",
    price: Annotated[str | None, Parameter(help=f"Dollars per million tokens, as in {PRICE_EXAMPLE}.")] = None,
    config: Annotated[Path | None, Parameter(help="The purser.toml whose price holds without --price.")] = None,
    database_url: Annotated[
        str | None,
        Parameter(help="Where to write, a SQLite file or a PostgreSQL database; a scratch file if not given."),
    ] = None,
    output: Annotated[
        Literal["table", "json", "csv"], Parameter(name=["--output", "-o"], help="How to print.")
    ] = "table",
) -> int:
    """Price a real trace through the rating, ledger, limits and standing of live traffic.

    Every account has a card, no free credit and no limit unless given. A request that does not fit what is left, or
    comes while its account is suspended, is refused and counted. The month in which the trace ends is closed as well.

    Answers the exit code: 1 for a trace with a wrong row (nothing is billed then), 2 for a wrong option.
    """
    from purser.core.errors import PurserError

    started = time.monotonic()
    try:
        plan = _plan(model, account, accounts, credit, limit, price)
        if plan.rates is None and database_url is None:
            plan = replace(plan, rates=_configured_rates(model, config))
        found = _survey(files, format)
        report = _run(plan, files, format, found, speed, database_url)
    except PurserError as error:
        print(f"purser replay: {error.message}", file=sys.stderr)
        return _exit_code(error)
    if found.late_rows:
        print(f"{found.late_rows} rows lie before the row above them and came at its time", file=sys.stderr)
    _print(report, output, round(time.monotonic() - started, 3))
    return 0


def _exit_code(error: Any) -> int:
    """What went wrong in an option names it, what is wrong in a trace has no field."""
    if error.status == 400:
        return 1 if error.field is None else 2
    return {401: 4, 403: 4, 404: 5, 402: 6, 412: 6, 409: 7}.get(error.status, 1)


# ── what was asked for ───────────────────────────────────────────────────────────────────────────────────────────
def _plan(model: str, account: str, accounts: int, credit: str | None, limit: str | None, price: str | None) -> Plan:
    from purser.core.errors import Invalid
    from purser.core.ids import check_account_id
    from purser.core.limits import check_limit
    from purser.core.money import parse_usd
    from purser.flows.replay import Plan

    if not 1 <= len(model) <= 200:
        raise Invalid("--model must have 1 to 200 characters", field="--model")
    if not 1 <= accounts <= MOST_ACCOUNTS:
        raise Invalid(f"--accounts must be from 1 to {MOST_ACCOUNTS}, not {accounts}", field="--accounts")
    names = [account] if accounts == 1 else [f"{account}-{n}" for n in range(accounts)]
    for name in (names[0], names[-1]):
        check_account_id(name, "--account")
    return Plan(
        model=model,
        accounts=tuple(names),
        rates=None if price is None else _rates(model, price),
        credit_nanos=0 if credit is None else parse_usd(credit, "--credit"),
        limit_nanos=None if limit is None else check_limit(limit, None, "--limit"),
    )


def _rates(model: str, text: str) -> Mapping[str, Rate]:
    from purser.core.errors import Invalid
    from purser.core.pricebook import PRICE_FIELDS, read_price
    from purser.core.usage import TOKENS

    known = [name for name, unit in PRICE_FIELDS.items() if unit in TOKENS]  # a trace has no others
    given: dict[str, str] = {}
    for part in text.split(","):
        name, equals, dollars = (word.strip() for word in part.partition("="))
        if not equals or name not in known or name in given:
            raise Invalid(
                f"--price: {part!r:.60} is not one of {', '.join(known)} with its dollars, each once, as in "
                f"{PRICE_EXAMPLE}",
                field="--price",
            )
        given[name] = dollars
    try:
        return read_price(model, given)
    except Invalid as error:
        why = error.message.replace(f"prices.{model}.", "")
        raise Invalid(f"--price: {why}", field="--price") from None


def _configured_rates(model: str, config: Path | None) -> Mapping[str, Rate]:
    """The price that purser.toml gives a model; raises Invalid where there is none."""
    from purser.core.errors import Invalid
    from purser.core.pricebook import read_price
    from purser.settings import SettingsError, find_config, load

    found = find_config(config, os.environ)
    try:
        settings = None if found is None else load(found, os.environ, serving=False)
    except SettingsError as error:
        raise Invalid(str(error), field="--config") from None
    prices = {} if settings is None else settings.prices()
    if settings is None or model not in prices:
        where = "there is no purser.toml" if found is None else f"{found} has none"
        raise Invalid(
            f"{model} needs a price, and {where}: give it, as in {PRICE_EXAMPLE}, or --database-url with a database "
            "that has it",
            field="--price",
        )
    return read_price(model, prices[model], cached_is_input=settings.cached_is_input)


# ── the trace ────────────────────────────────────────────────────────────────────────────────────────────────────
def _survey(files: list[Path], format_: str) -> Survey:
    """Read every row of every file once, so that nothing is billed from a trace that is wrong further down."""
    from purser.core.errors import Invalid
    from purser.core.trace import survey

    if not files:
        raise Invalid("name at least one trace file", field="files")
    for file in files:
        if not file.exists():
            raise Invalid(f"{file}: there is no such file", field="files")
        if not file.is_file():
            what = "is a directory" if file.is_dir() else "is not a regular file, and a trace is read twice"
            raise Invalid(f"{file} {what}; name the trace file itself", field="files")
    return survey(_rows(file, format_) for file in files)


def _rows(file: Path, format_: str) -> Iterator[TraceRow]:
    from purser.core.errors import Invalid
    from purser.core.trace import LONGEST_LINE, read_trace

    try:
        with file.open("rb") as opened:
            lines = iter(lambda: opened.readline(LONGEST_LINE + 1), b"")
            yield from read_trace(lines, format_, str(file))
    except OSError as error:
        raise Invalid(f"{file} cannot be read: {error.strerror}", field="files") from None


# ── the run ──────────────────────────────────────────────────────────────────────────────────────────────────────
def _run(plan: Plan, files: list[Path], format_: str, found: Survey, speed: str, database_url: str | None) -> Report:
    import os
    import socket
    from tempfile import TemporaryDirectory

    from purser.core.policy import Policy
    from purser.core.trace import merge
    from purser.flows.replay import Replay
    from purser.inbound.world import ManualWorld
    from purser.store.writers import Writer

    scratch = TemporaryDirectory(prefix="purser-replay-") if database_url is None else nullcontext()
    clock = ManualWorld(found.first_at)
    pace = _real_time(found.first_at) if speed == "1x" else None
    with scratch as directory, counting("replaying", found.rows) as progress:
        db = _open(database_url or f"sqlite:///{directory}/replay.db")
        try:
            with closing(Writer(db, clock, Policy(), host=socket.gethostname(), pid=os.getpid())) as writer:
                rows = merge(_rows(file, format_) for file in files)
                return Replay(writer, clock, plan, pace=pace, progress=progress).run(rows, found)
        finally:
            db.dispose()


def _open(url: str) -> Database:
    from purser.core.errors import PurserError, Unavailable
    from purser.store.db import Database
    from purser.store.upgrade import upgrade

    db = Database(url)
    try:
        upgrade(db)
    except PurserError:
        raise
    except Exception as error:
        raise Unavailable(f"--database-url {db.name} cannot be opened: {str(error).splitlines()[0]}") from None
    return db


def _real_time(first_at: int) -> Callable[[int], None]:
    started = time.monotonic()

    def wait(at: int) -> None:
        time.sleep(max(0.0, (at - first_at) / 1_000_000 - (time.monotonic() - started)))

    return wait


# ── the report ───────────────────────────────────────────────────────────────────────────────────────────────────
def _print(report: Report, output: str, seconds: float) -> None:
    document = _document(report, seconds)
    if output == "json":
        print(json.dumps(document, indent=2))
    elif output == "csv":
        del document["events"]
        text = io.StringIO()
        csv.writer(text).writerows([document.keys(), document.values()])
        print(text.getvalue(), end="")
    else:
        _print_tables(document)


def _document(report: Report, seconds: float) -> dict[str, Any]:
    from purser.core.money import format_usd_exact
    from purser.flows.replay import INVOICE, SUSPENDED

    return {
        "requests": report.requests,
        "refused": report.refused,
        "input_tokens": report.input_tokens,
        "cached_input_tokens": report.cached_input_tokens,
        "output_tokens": report.output_tokens,
        "charge_usd": format_usd_exact(report.charge_nanos),
        "accounts": report.accounts,
        "suspensions": report.count(SUSPENDED),
        "invoices": report.count(INVOICE),
        "seconds": seconds,
        "events": _events(report),
    }


def _events(report: Report) -> list[dict[str, str]]:
    from purser.core.money import format_usd_exact
    from purser.core.period import format_instant

    events = []
    for moment in report.moments:
        event = {"at": format_instant(moment.at), "account": moment.account, "event": moment.event}
        row = moment.invoice
        if row is None:
            event["cause"] = moment.cause
        else:
            event |= {"number": row.number, "month": row.month, "state": row.state}
            for name in ("subtotal", "credits_applied", "carried_in", "carried_out", "total", "amount_due", "paid"):
                event[f"{name}_usd"] = format_usd_exact(getattr(row, name))
        events.append(event)
    return events


def _print_tables(document: dict[str, Any]) -> None:
    from rich.console import Console
    from rich.table import Table

    events = document.pop("events")
    totals = Table("", "", title="What was charged", show_header=False)
    for name, value in document.items():
        totals.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    suspensions = Table("at", "account", "event", "cause", title="Suspensions and reinstatements")
    columns = ("number", "month", "subtotal_usd", "credits_applied_usd", "carried_out_usd", "total_usd", "state")
    invoices = Table(*(name.removesuffix("_usd").replace("_", " ") for name in columns), title="Invoices")
    for event in events:
        if "cause" in event:
            suspensions.add_row(event["at"], event["account"], event["event"], event["cause"])
        else:
            invoices.add_row(*(event[name] for name in columns))
    console = Console() if sys.stdout.isatty() else Console(width=160)
    for table in (totals, suspensions, invoices):
        for column in table.columns:
            column.overflow = "fold"  # figures are exact: what does not fit goes on in the next line
        if table.row_count:
            console.print(table)


if __name__ == "__main__":
    from cyclopts import App

    app = App(name="replay")
    app.default(replay)
    app()
