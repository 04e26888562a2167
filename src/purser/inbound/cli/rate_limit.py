"""The rate limit command: how many requests and tokens an account may send in a minute, as it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cyclopts import App

from purser.inbound.cli.reach import UNSAID, Reach
from purser.inbound.cli.show import ID, NUMBER, TEXT, WHEN, Column, show_list

app = App(name="rate-limit", help="How many requests and tokens an account may send in a minute: list.")

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
