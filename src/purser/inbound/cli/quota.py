"""The quota commands: what an account may use, the monthly spend limit first of all, shown and changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from cyclopts import App, Parameter

from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import ID, NUMBER, TEXT, Column, show_list, show_one, tell, tell_dry_run

app = App(name="quota", help="What an account may use: list, get, update.")

_COLUMNS = (
    Column("QUOTA", "quota", ID),
    Column("USED", "usage", TEXT),
    Column("IN FORCE", "value", NUMBER),
    Column("AT MOST", "maxValue", NUMBER),
)
_ONE = tuple(Column(column.title.lower(), column.field, column.kind) for column in _COLUMNS)
Name = Annotated[str, Parameter(help="Its name, such as monthly-spend-usd.")]


def _row(quota: Mapping[str, Any]) -> dict[str, Any]:
    usage = quota.get("usage")
    shown = f"{usage:,.9f}".rstrip("0").rstrip(".") if isinstance(usage, float) else usage
    return {**quota, "quota": str(quota.get("name", "")).rpartition("/")[2], "usage": shown}


@app.command(name="list")
def list_quotas(*, reach: Reach = UNSAID) -> None:
    """List every quota with what is used, what is in force and the most it may be.

    Example: purser quota list
    """
    caller = reach.call()
    found = caller.pages(reach.within(caller, "quotas"), "quotas")
    show_list(reach.output, found, [_row(quota) for quota in found["quotas"]], _COLUMNS, "No quota.")


@app.command(name="get")
def get(quota: Name, /, *, reach: Reach = UNSAID) -> None:
    """Show one quota.

    Example: purser quota get monthly-spend-usd
    """
    caller = reach.call()
    found = caller.get(reach.within(caller, "quotas", quota))
    show_one(reach.output, found, _row(found), _ONE)


@app.command(name="update")
def update(
    quota: Name,
    /,
    *,
    value: Annotated[
        str,
        Parameter(
            allow_leading_hyphen=True,
            help="The new value: a whole number, dollars for money; GPUs are the operator's to set.",
        ),
    ],
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Set a quota's value, at most what the account's tier allows; it is in force at once.

    Example: purser quota update monthly-spend-usd --value 200
    """
    caller = reach.call()
    changed = caller.patch(reach.within(caller, "quotas", quota), {"value": value}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, changed, _row(changed), _ONE)
    if changed.get("effectiveAt", "") is None:
        tell("Money that was leased before may still be spent; the value holds fully once that is back.")
