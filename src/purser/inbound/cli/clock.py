"""The clock commands: billing time, and moving a manual clock."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import Column, show_one, tell_dry_run, working
from purser.inbound.cli.wire import LONG_SECONDS

app = App(name="clock", help="Billing time: read it, or move a manual clock. Needs the operator key.")

_ONE = (Column("now", "now"), Column("manual", "manual"))


@app.command(name="now")
def now(*, reach: Reach = UNSAID) -> None:
    """Say what time it is for billing, and whether the clock is manual.

    Example: purser clock now
    """
    found = reach.call_as_operator().get("/operator/v1/clock")
    show_one(reach.output, found, found, _ONE)


@app.command(name="advance")
def advance(
    to: Annotated[str, Parameter(help="The instant to move to, such as 2026-04-01T00:00:00Z.")],
    /,
    *,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Move a manual clock forward; answers when everything that falls due until then is done.

    Example: purser clock advance 2026-04-01
    """
    caller = reach.call_as_operator()
    with working(f"moving to {to}, doing all that falls due"):
        moved = caller.post("/operator/v1/clock:advance", {"to": to}, seconds=LONG_SECONDS, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, moved, moved, _ONE)
