"""The backtest command: what a past month would have cost under other prices."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from purser.inbound.cli.failure import ERROR, NOT_FOUND, USAGE, Failure
from purser.inbound.cli.show import ID, MONEY, NUMBER, TEXT, Column, counting, show_list, tell

if TYPE_CHECKING:
    from purser.core.money import Rate
    from purser.flows.backtest import Backtest
    from purser.settings import Settings
    from purser.store.backtest import Sum

_FIGURES = (
    Column("EVENTS", "events", NUMBER),
    Column("CHARGED", "chargedUsd", MONEY),
    Column("ANEW", "anewUsd", MONEY),
    Column("CHANGE", "changeUsd", MONEY),
    Column("%", "percent", ID),
    Column("WITHOUT PRICE", "unpriced", NUMBER, spare=True),
)
_BY = {
    "model": (Column("MODEL", "model", TEXT),),
    "account": (Column("ACCOUNT", "account", ID),),
    "both": (Column("ACCOUNT", "account", ID), Column("MODEL", "model", TEXT)),
}


def backtest(
    file: Annotated[
        Path | None, Parameter(help="A file of prices to try, over those in force at the month's end.")
    ] = None,
    /,
    *,
    month: Annotated[str, Parameter(help="Which month, such as 2026-03.")],
    version: Annotated[int | None, Parameter(help="Try this version of the book, instead of a file.")] = None,
    by: Annotated[Literal["model", "account", "both"], Parameter(help="A row for each of these.")] = "model",
    config: Annotated[Path | None, Parameter(help="The purser.toml that names the database.")] = None,
    database_url: Annotated[str | None, Parameter(help="The database, if no purser.toml names it.")] = None,
    output: Annotated[
        Literal["table", "json", "csv"], Parameter(name=["--output", "-o"], help="How to print.")
    ] = "table",
) -> int:
    """Rate a past month's usage under other prices and show what would change, to the nano-dollar.

    Reads the database itself, and changes nothing. Each event is also rated anew under its own prices: where that is
    not its charge, the exit code is 1. Needs purser[analytics].

    Example: purser prices backtest prices.toml --month 2026-03 --by account
    """
    from purser.core.errors import PurserError

    try:
        found = _run(file, month, version, config, database_url)
    except ImportError:
        raise Failure("a backtest needs DuckDB: pip install 'purser[analytics]'") from None
    except PurserError as error:
        raise Failure(error.message, code=NOT_FOUND if error.status == 404 else USAGE) from None
    groups = sorted(_grouped(found.sums, by).items(), key=lambda group: -abs(_change(group[1])))
    rows = [_row(key, sums) for key, sums in groups]
    total = _row({}, found.sums)
    document = {"month": found.month, "version": found.version, "total": total, "rows": rows}
    show_list(output, document, rows, [*_BY[by], *_FIGURES], "")
    differing = total["differing"]
    if output == "table":
        _tell(total, found.month)
    if differing:
        tell(f"{differing} of the events do not come to their charge again under their own prices: purser audit")
    return ERROR if differing else 0


def _run(file: Path | None, month: str, version: int | None, config: Path | None, database_url: str | None) -> Backtest:
    from purser.core.errors import Invalid
    from purser.core.period import parse_month
    from purser.flows import backtest as flow
    from purser.store.db import Database

    if (file is None) == (version is None):
        raise Invalid("give a file of prices, or --version", field="file")
    parse_month(month, "--month")
    settings = _settings(config, database_url)
    changed = {} if file is None else _read(file, cached_is_input=settings.cached_is_input)
    db = Database(settings.database_url)
    try:
        if db.is_sqlite and not db.path.exists():
            raise Invalid(f"there is no database {db.name}", field="--database-url")
        watch = partial(counting, f"rating {month} anew")
        return flow.run(db, month, changed, version, processes=os.cpu_count() or 1, watch=watch)
    finally:
        db.dispose()


def _settings(config: Path | None, database_url: str | None) -> Settings:
    from purser.core.errors import Invalid
    from purser.settings import SettingsError, find_config, load

    environ = dict(os.environ) if database_url is None else {**os.environ, "PURSER_DATABASE_URL": database_url}
    try:
        return load(find_config(config, environ), environ, serving=False)
    except SettingsError as error:
        raise Invalid(str(error), field="--config") from None


def _read(file: Path, *, cached_is_input: bool) -> dict[str, Mapping[str, Rate]]:
    from purser.core.pricebook import read_price
    from purser.inbound.cli.price_files import read_sound

    models = read_sound(file).models
    return {name: read_price(name, price, cached_is_input=cached_is_input) for name, price in models.items()}


def _grouped(sums: Iterable[Sum], by: str) -> dict[Any, list[Sum]]:
    groups: dict[Any, list[Sum]] = {}
    for each in sums:
        key = {"model": (("model", each.model),), "account": (("account", each.account),)}.get(
            by, (("account", each.account), ("model", each.model))
        )
        groups.setdefault(key, []).append(each)
    return groups


def _change(sums: Iterable[Sum]) -> int:
    return sum(each.anew_nanos - each.cost_nanos for each in sums)


def _row(key: Any, sums: Iterable[Sum]) -> dict[str, Any]:
    from purser.core.money import format_usd_exact

    sums = list(sums)
    cost, anew = sum(each.cost_nanos for each in sums), sum(each.anew_nanos for each in sums)
    return {
        **dict(key),
        "events": sum(each.events for each in sums),
        "chargedUsd": format_usd_exact(cost),
        "anewUsd": format_usd_exact(anew),
        "changeUsd": format_usd_exact(anew - cost),
        "percent": _percent(cost, anew),
        "unpriced": sum(each.unpriced for each in sums),
        "differing": sum(each.differing for each in sums),
    }


def _percent(cost: int, anew: int) -> str | None:
    """By how many percent, to a tenth."""
    if not cost:
        return None
    tenths = (2_000 * (anew - cost) + cost) // (2 * cost)
    return f"{'-' if tenths < 0 else '+'}{abs(tenths) // 10}.{abs(tenths) % 10}"


def _tell(total: Mapping[str, Any], month: str) -> None:
    from purser.inbound.cli import figures

    charged, anew, change = (figures.usd(total[name]) for name in ("chargedUsd", "anewUsd", "changeUsd"))
    percent = "" if total["percent"] is None else f", {total['percent']} %"
    tell(f"{total['events']:,} events of {month}: {charged} charged, {anew} anew ({change}{percent}).")
    if total["unpriced"]:
        tell(f"{total['unpriced']:,} of them used something that has no price there, and are left out of it.")
