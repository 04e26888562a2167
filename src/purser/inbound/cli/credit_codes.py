"""The credit code commands: codes made (and shown once), listed with who redeemed them, and ended."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from purser.inbound.cli.credits import Amount
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import (
    DAY,
    ID,
    MONEY,
    WHEN,
    Column,
    confirm,
    show_list,
    show_one,
    tell,
    tell_done,
    tell_dry_run,
)
from purser.inbound.cli.wire import at

app = App(name="credit-code", help="Credit codes: create, list, redemptions, end.")

_PATH = "/operator/v1/creditCodes"
_LIST = (
    Column("BEGINS", "begins", ID),
    Column("NAME", "displayName", ID),
    Column("AMOUNT", "amountUsd", MONEY),
    Column("REDEEMED", "redeemed"),
    Column("OF", "redemptions"),
    Column("EXPIRES", "expiresAt", DAY),
    Column("ENDED", "endedAt", DAY, spare=True),
    Column("MADE (UTC)", "createdAt", WHEN, spare=True),
    Column("ID", "id", ID),
)
_REDEEMERS = (
    Column("ACCOUNT", "account", ID),
    Column("AMOUNT", "amountUsd", MONEY),
    Column("REDEEMED (UTC)", "redeemedAt", WHEN),
    Column("CREDIT", "credit", ID, spare=True),
)
_ONE = (
    Column("code", "code"),
    Column("id", "id"),
    Column("amount", "amountUsd", MONEY),
    Column("redemptions", "redemptions"),
    Column("expires", "expiresAt", DAY),
    Column("days of credit", "creditDays"),
)


@app.command(name="create")
def create(
    amount: Amount,
    /,
    *,
    redemptions: Annotated[int, Parameter(help="How many accounts may redeem it, each once.")] = 1,
    expires: Annotated[str | None, Parameter(help="When it expires, such as 2027-01-01; never if not given.")] = None,
    days: Annotated[int | None, Parameter(help="How many days the credit lasts; it lapses never if not given.")] = None,
    name: Annotated[str, Parameter(help="What it is for, for yourself.")] = "",
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Make a credit code; it is printed this once. Needs the operator key.

    Example: purser credit-code create 25 --redemptions 100 --days 90
    """
    body = {
        "amountUsd": amount,
        "redemptions": redemptions,
        "displayName": name,
        **({"expiresAt": expires} if expires else {}),
        **({"creditDays": days} if days is not None else {}),
    }
    made = reach.call_as_operator().post(_PATH, body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _ONE)
    if not dry_run:
        tell("The code is shown this once: keep it now.")


@app.command(name="list")
def list_codes(*, reach: Reach = UNSAID) -> None:
    """List the credit codes, newest first, with how many accounts have redeemed each. Needs the operator key.

    Example: purser credit-code list
    """
    found = reach.call_as_operator().pages(_PATH, "creditCodes")
    show_list(reach.output, found, found["creditCodes"], _LIST, "No credit code yet.")


@app.command(name="redemptions")
def redemptions(
    code: Annotated[str, Parameter(help="The code's id, as the list shows it.")],
    /,
    *,
    reach: Reach = UNSAID,
) -> None:
    """List the accounts that have redeemed a credit code, newest first. Needs the operator key.

    Example: purser credit-code redemptions code_01k…
    """
    found = reach.call_as_operator().pages(at("operator", "v1", "creditCodes", code, "redemptions"), "redemptions")
    show_list(reach.output, found, found["redemptions"], _REDEEMERS, "Nobody has redeemed it yet.")


@app.command(name="end")
def end(
    code: Annotated[str, Parameter(help="The code's id, as the list shows it.")],
    /,
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """End a credit code: nobody redeems it any more; what was redeemed stays. Needs the operator key.

    Example: purser credit-code end code_01k… --yes
    """
    confirm(f"End the credit code {code}?", yes or dry_run)
    reach.call_as_operator().delete(at("operator", "v1", "creditCodes", code), dry_run=dry_run)
    tell_done(f"{code} has ended.", dry_run)
