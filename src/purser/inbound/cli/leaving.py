"""The commands that close an account and open it again."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from purser.inbound.cli.figures import when
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import WHEN, Column, confirm, show_one, tell, tell_dry_run
from purser.inbound.cli.wire import at

_CLOSING = (
    Column("account", "account"),
    Column("state", "state"),
    Column("closing since (UTC)", "closingAt", WHEN),
    Column("closed (UTC)", "closedAt", WHEN),
    Column("can be reopened until (UTC)", "reopenableUntil", WHEN),
)
_REOPENED = (
    Column("account", "account"),
    Column("state", "state"),
    Column("key id", "apiKey.keyId"),
    Column("API key", "apiKey.key"),
)


def close(
    account: Annotated[str, Parameter(help="Which account.")],
    /,
    *,
    give_up_credit: Annotated[bool, Parameter(negative="", help="Let purchased credit lapse that is left.")] = False,
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """Close an account: its keys end within a second and its final invoice is made and charged.

    What stands in the way is listed, all of it, and nothing is changed then.

    Example: purser account close ada --dry-run
    """
    confirm(f"Close {account}? All its keys end, and credit that was given lapses.", yes or dry_run)
    path = f"{at('v1', 'accounts', account)}:close"
    closed = reach.call(account).post(path, {"giveUpCredit": give_up_credit}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, closed, closed, _CLOSING)
    if not closed["closedAt"]:
        tell("It is closed once what runs has ended and the final invoice is paid; look with: purser account get")
    tell(f"The operator can open it again until {when(closed['reopenableUntil'])}.")


def reopen(
    account: Annotated[str, Parameter(help="Which account.")],
    /,
    *,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Open a closed account again, with a new API key (printed this once). Needs the operator key.

    Keys that ended and credit that lapsed stay so.

    Example: purser account reopen ada
    """
    opened = reach.call(account).post(f"{at('v1', 'accounts', account)}:reopen", None, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, opened, opened, _REOPENED)
    if opened["apiKey"] and not dry_run:
        tell("The API key is shown this once: keep it now.")
