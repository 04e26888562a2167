"""The operator commands: blocking an account under an abuse rule, letting it back in, and what writers set aside."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from purser.core.standing import BLOCKED
from purser.inbound.cli.figures import usd
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import (
    ID,
    MONEY,
    NUMBER,
    STATE,
    WHEN,
    Column,
    confirm,
    show_list,
    show_one,
    tell,
    tell_dry_run,
)
from purser.inbound.cli.wire import at

app = App(name="operator", help="Suspend an account, let it back in, or see leases. Needs the operator key.")
app.command("purser.inbound.cli.operator_users:app", name="user", help="The operator's people, their roles and keys.")

_ONE = (
    Column("account", "id"),
    Column("standing", "suspendState"),
    Column("causes", "causes"),
)
_WRITERS = (
    Column("WRITER", "id", NUMBER),
    Column("HOST", "host", ID, spare=True),
    Column("PROCESS", "pid", NUMBER, spare=True),
    Column("STATE", "state", STATE),
    Column("HEARD", "heardAt", WHEN),
    Column("STEP", "seq", NUMBER),
    Column("UNBILLED", "unbilledUsd", MONEY),
)
_LEASES = (
    Column("ACCOUNT", "account", ID),
    Column("LIMIT", "limit", ID),
    Column("OWNER", "owner", ID),
    Column("SHARE", "shareUsd", MONEY),
    Column("USED", "usedUsd", MONEY),
    Column("SPARE", "spareUsd", MONEY),
    Column("RECALLED", "recalled"),
)
_SHOWN_CLOSED = 10
Account = Annotated[str, Parameter(help="Which account.")]


def _show(reach: Reach, found: dict[str, Any]) -> None:
    causes = [f"{cause['cause']}: {cause['why']}" for cause in found.get("suspensionCauses", [])]
    show_one(reach.output, found, {**found, "causes": causes}, _ONE)


@app.command(name="suspend")
def suspend(
    account: Account,
    /,
    *,
    reason: Annotated[str, Parameter(help="Why; the account's people are told.")],
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """Block an account under an abuse rule: everything it runs stops within a second.

    Example: purser operator suspend ada --reason "stolen card" --yes
    """
    confirm(f"Suspend {account}? Everything it runs stops.", yes or dry_run)
    path = f"{at('operator', 'v1', 'accounts', account)}:suspend"
    blocked = reach.call_as_operator().post(path, {"cause": BLOCKED, "reason": reason}, dry_run=dry_run)
    tell_dry_run(dry_run)
    _show(reach, blocked)


@app.command(name="reinstate")
def reinstate(account: Account, /, *, dry_run: DryRun = False, reach: Reach = UNSAID) -> None:
    """Lift a block. Causes that follow from an account's facts, such as spent credit, are lifted by those alone.

    Example: purser operator reinstate ada
    """
    path = f"{at('operator', 'v1', 'accounts', account)}:reinstate"
    lifted = reach.call_as_operator().post(path, {}, dry_run=dry_run)
    tell_dry_run(dry_run)
    _show(reach, lifted)


@app.command(name="leases")
def leases(*, reach: Reach = UNSAID) -> None:
    """Show the writers (a serving process has one), what each has set aside, and what was left unbilled.

    A share is what a writer may let requests hold without asking; what of it is spare comes back when others want it. A
    hold by API owns a share until it is settled, given back or expired.
    Unbilled is at most what a process that died had running: the operator's loss, and nobody has to act on it. CSV
    has the leases.

    Example: purser operator leases
    """
    found = reach.call_as_operator().get(at("operator", "v1", "leases"))
    rows = [
        {**lease, "limit": lease["window"] or lease["kind"], "recalled": "wanted" if lease["wanted"] else ""}
        for lease in found["leases"]
    ]
    if reach.output == "table":
        closed = [writer for writer in found["writers"] if writer["state"] != "open"][:_SHOWN_CLOSED]
        open_ = [writer for writer in found["writers"] if writer["state"] == "open"]
        show_list(reach.output, found, open_ + closed, _WRITERS, "There is no writer.")
        tell(f"{usd(found['setAsideUsd'])} of credit is set aside, {usd(found['unbilledUsd'])} was left unbilled.")
    show_list(reach.output, found, rows, _LEASES, "Nothing is set aside.")
