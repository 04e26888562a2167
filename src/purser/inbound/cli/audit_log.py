"""The audit-log command: who changed what of an account, when, and by which request."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from purser.inbound.cli.reach import UNSAID, Reach
from purser.inbound.cli.show import ID, TEXT, WHEN, Column, show_list

app = App(name="audit-log", help="Who changed what, when, and by which request.")

_LIST = (
    Column("WHEN (UTC)", "timestamp", WHEN),
    Column("WHO", "principal", ID),
    Column("WHAT", "message", TEXT),
    Column("BY", "method", TEXT, spare=True),
    Column("REQUEST", "requestId", ID, spare=True),
)


@app.command(name="list")
def list_entries(
    *,
    since: Annotated[str | None, Parameter(help="From this day or instant on; the last 30 days if not given.")] = None,
    until: Annotated[str | None, Parameter(help="Before this day or instant.")] = None,
    who: Annotated[str | None, Parameter(help="Only what this user did, by id or address.")] = None,
    resource: Annotated[str | None, Parameter(help="Only what became of this, such as users/bot.")] = None,
    everybody: Annotated[
        bool, Parameter(negative="", help="Of all accounts, and what they share. Needs the operator key.")
    ] = False,
    reach: Reach = UNSAID,
) -> None:
    """List who changed what, newest first.

    Example: purser audit-log list --who bot --since 2026-03-01
    """
    caller = reach.call_as_operator() if everybody else reach.call()
    path = "/operator/v1/auditLogs" if everybody else reach.within(caller, "auditLogs")
    wanted = {"principal": who, "resource": resource}
    filter_ = " AND ".join(f'{name} = "{value}"' for name, value in wanted.items() if value is not None)
    given = {"startTime": _instant(since), "endTime": _instant(until), "filter": filter_}
    query = {name: value for name, value in given.items() if value}
    found = caller.pages(path, "auditLogs", {**query, "pageSize": 200})
    show_list(reach.output, found, found["auditLogs"], _LIST, "Nothing was changed in that time.")


def _instant(day: str | None) -> str | None:
    return f"{day}T00:00:00Z" if day is not None and len(day) == len("2026-03-01") else day
