"""The operator commands: blocking an account under an abuse rule, and letting it back in."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from purser.core.standing import BLOCKED
from purser.inbound.cli.reach import UNSAID, Reach
from purser.inbound.cli.show import Column, confirm, show_one
from purser.inbound.cli.wire import at

app = App(name="operator", help="Suspend an account, or let it back in. Needs the operator key.")

_ONE = (
    Column("account", "id"),
    Column("standing", "suspendState"),
    Column("causes", "causes"),
)
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
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """Block an account under an abuse rule: everything it runs stops within a second.

    Example: purser operator suspend ada --reason "stolen card" --yes
    """
    confirm(f"Suspend {account}? Everything it runs stops.", yes)
    path = f"{at('operator', 'v1', 'accounts', account)}:suspend"
    _show(reach, reach.call_as_operator().post(path, {"cause": BLOCKED, "reason": reason}))


@app.command(name="reinstate")
def reinstate(account: Account, /, *, reach: Reach = UNSAID) -> None:
    """Lift a block. Causes that follow from an account's facts, such as spent credit, are lifted by those alone.

    Example: purser operator reinstate ada
    """
    path = f"{at('operator', 'v1', 'accounts', account)}:reinstate"
    _show(reach, reach.call_as_operator().post(path, {}))
