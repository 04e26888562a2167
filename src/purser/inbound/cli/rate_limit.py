"""The rate limit commands: how many requests and tokens an account may send in a minute, and what it has used."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from purser.inbound.cli import figures
from purser.inbound.cli.reach import UNSAID, Reach
from purser.inbound.cli.show import DAY, ID, NUMBER, TEXT, WHEN, Column, show_list

app = App(name="rate-limit", help="How many requests and tokens an account may send in a minute: list, usage.")

_COLUMNS = (
    Column("MODEL", "model", ID),
    Column("OF", "metric", TEXT),
    Column("A MINUTE", "limit", NUMBER),
    Column("LEFT", "left", NUMBER),
    Column("AT MOST", "ceiling", NUMBER),
    Column("BUSIEST", "peak", NUMBER, spare=True),
    Column("CHANGED", "changeTime", WHEN, spare=True),
)


def _row(rate: Mapping[str, Any]) -> dict[str, Any]:
    left = max(0, int(rate["limit"]) - int(rate["sharedOut"]))
    return {**rate, "left": str(left)}


@app.command(name="list")
def list_rate_limits(*, reach: Reach = UNSAID) -> None:
    """List the rate limits in force; what workers have for themselves is not left, used or not.

    Tokens are limited where the operator's settings say so, and of models that the account has used.

    Example: purser rate-limit list
    """
    caller = reach.call()
    found = caller.pages(reach.within(caller, "serverlessRateLimits"), "serverlessRateLimits")
    requests = {"model": "all", "metric": "REQUESTS", **found["requests"], "ceiling": found["requests"]["limit"]}
    rows = [requests, *map(_row, found["serverlessRateLimits"])]
    show_list(reach.output, found, rows, _COLUMNS, "No rate limit.")


_METRICS = {
    "prompt": "TOKENS_PROMPT",
    "cached-prompt": "TOKENS_CACHED_PROMPT",
    "uncached-prompt": "TOKENS_UNCACHED_PROMPT",
    "generated": "TOKENS_GENERATED",
}
_HEADS = {"1m": ("MINUTE (UTC)", WHEN), "1h": ("HOUR (UTC)", WHEN), "1d": ("DAY", DAY)}


@app.command(name="usage")
def token_usage(
    *,
    start: Annotated[
        str | None, Parameter(help="From when, such as 2026-03-01; the month's start if not given.")
    ] = None,
    end: Annotated[str | None, Parameter(help="Until when; now if not given.")] = None,
    interval: Annotated[Literal["1m", "1h", "1d"], Parameter(help="By minute, hour or day.")] = "1h",
    model: Annotated[str | None, Parameter(help="Of this model alone.")] = None,
    metric: Annotated[
        Literal["prompt", "cached-prompt", "uncached-prompt", "generated"] | None, Parameter(help="Of these alone.")
    ] = None,
    reach: Reach = UNSAID,
) -> None:
    """Show how many tokens of each model were used, by minute, hour or day.

    Example: purser rate-limit usage --start 2026-03-01 --end 2026-03-02 --model tiny
    """
    caller = reach.call()
    asked = None if metric is None else _METRICS[metric]
    shown = {name: field for name, field in _METRICS.items() if asked in (None, field)}
    query = {"start": start, "end": end, "interval": interval, "model": model, "metric": asked, "pageSize": 200}
    found = caller.pages(reach.within(caller, "serverlessTokenUsage"), "serverlessTokenUsage", query)
    rows: dict[tuple[str, str], dict[str, str]] = {}
    for series in found["serverlessTokenUsage"]:
        for value in series["values"]:
            place = {"timestamp": value["timestamp"], "model": series["model"]}
            row = rows.setdefault((place["timestamp"], place["model"]), place | dict.fromkeys(shown.values(), "0"))
            row[series["metric"]] = value["value"]
    columns = [
        Column(_HEADS[interval][0], "timestamp", _HEADS[interval][1]),
        Column("MODEL", "model", ID),
        *(Column(name.replace("-", " ").upper(), field, NUMBER) for name, field in shown.items()),
    ]
    span = f"from {figures.when(found['start'])} to {figures.when(found['end'])} UTC"
    show_list(reach.output, found, [rows[at] for at in sorted(rows)], columns, f"No tokens were used {span}.")
