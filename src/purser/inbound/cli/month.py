"""The month commands: closing a month into its invoices, and this month's invoice as it stands."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from purser.inbound.cli.billing import show_invoice
from purser.inbound.cli.failure import CONFLICT, Failure
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import ID, MONEY, STATE, Column, show_list, tell_dry_run, working
from purser.inbound.cli.wire import LONG_SECONDS, at

app = App(name="month", help="Close a month, or preview its invoice.")

_INVOICES = (
    Column("ACCOUNT", "account", ID),
    Column("NUMBER", "number", ID),
    Column("STATE", "state", STATE),
    Column("TOTAL", "totalUsd", MONEY),
    Column("DUE", "amountDueUsd", MONEY),
    Column("INVOICE", "id", ID, spare=True),
)


@app.command(name="close")
def close(
    month: Annotated[str, Parameter(help="Which month, such as 2026-03.")],
    /,
    *,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Close a month into its invoices; closing it again changes nothing. Months also close by themselves when due.

    Needs the operator key; refused before the month's end.

    Example: purser month close 2026-03
    """
    caller = reach.call_as_operator()
    path = f"{at('operator', 'v1', 'months', month)}:close"
    with working(f"closing {month}"):
        closed = caller.post(path, {}, seconds=LONG_SECONDS, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_list(reach.output, closed, closed["invoices"], _INVOICES, f"{month} is closed; it has no invoice.")
    if closed["waiting"]:
        accounts = ", ".join(closed["waiting"])
        raise Failure(
            f"requests of {month} still run for {accounts}", code=CONFLICT, then="Their invoices follow when those end."
        )


@app.command(name="preview")
def preview(*, reach: Reach = UNSAID) -> None:
    """Show this month's invoice as it would be if nothing more happened.

    Example: purser month preview --account ada
    """
    caller = reach.call()
    show_invoice(reach, caller.get(f"{reach.within(caller, 'invoices')}:preview"))
