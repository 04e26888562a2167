"""The alerts commands: what of a month's spend is told, and was, listed and set."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from purser.core.errors import Invalid
from purser.core.money import parse_usd, to_wire
from purser.inbound.cli.failure import USAGE, Failure
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import MONEY, TEXT, WHEN, Column, show_list, show_one, tell_dry_run

app = App(name="alerts", help="What of a month's spend is told: list, set.")

_COLUMNS = (
    Column("ALERT", "kind", TEXT),
    Column("AT", "thresholdUsd", MONEY),
    Column("USED", "usedUsd", MONEY),
    Column("TOLD", "reachedAt", WHEN),
)
_SETTINGS = (Column("thresholds", "monthlySpendThresholds"), Column("forecast", "forecastAlert"))


def _show(reach: Reach) -> None:
    caller = reach.call()
    found = caller.get(reach.within(caller, "alerts"))
    show_list(reach.output, found, found["alerts"], _COLUMNS, "No alert: there is no limit, and no threshold.")


@app.command(name="list")
def list_alerts(*, reach: Reach = UNSAID) -> None:
    """List this month's alerts: 80 % of the limit, the account's own thresholds, and when each was told.

    Example: purser alerts list
    """
    _show(reach)


@app.command(name="set")
def set_alerts(
    *,
    thresholds: Annotated[
        str | None, Parameter(help='Dollars of a month, with commas between, as in 500,800; "" for none.')
    ] = None,
    forecast: Annotated[
        bool | None, Parameter(help="Tell also when at this pace the limit is reached before the month ends.")
    ] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Set the thresholds that are told, all of them at once; 80 % of the limit is told in any case.

    Example: purser alerts set --thresholds 500,800
    """
    wanted: dict[str, Any] = {}
    if thresholds is not None:
        parts = [part.strip() for part in thresholds.split(",") if part.strip()]
        try:
            wanted["monthlySpendThresholds"] = [to_wire(parse_usd(part, "--thresholds")) for part in parts]
        except Invalid as error:
            raise Failure(error.message, code=USAGE) from None
    if forecast is not None:
        wanted["forecastAlert"] = forecast
    if not wanted:
        raise Failure("say what to set: --thresholds 500,800, or --forecast", code=USAGE)
    caller = reach.call()
    settings = caller.patch(reach.within(caller, "notificationSettings"), wanted, dry_run=dry_run)
    tell_dry_run(dry_run)
    if dry_run:
        show_one(reach.output, settings, settings, _SETTINGS)
    else:
        _show(reach)
