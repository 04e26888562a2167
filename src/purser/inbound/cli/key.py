"""The key commands: API keys made (and shown once), listed, given a budget and ended."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from purser.inbound.cli.failure import usage
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import (
    ID,
    MONEY,
    TEXT,
    WHEN,
    Column,
    confirm,
    show_list,
    show_one,
    tell,
    tell_done,
    tell_dry_run,
)

app = App(name="key", help="API keys: make, list, budget, end.")

_LIST = (
    Column("KEY ID", "keyId", ID),
    Column("USER", "user", ID),
    Column("NAME", "displayName", TEXT),
    Column("BEGINS", "prefix", ID, spare=True),
    Column("BUDGET $", "budget.amountUsd", MONEY),
    Column("PER", "budget.period", ID),
    Column("SPENT $", "budget.spentUsd", MONEY),
    Column("EXPIRES (UTC)", "expireTime", WHEN, spare=True),
    Column("MADE (UTC)", "createTime", WHEN, spare=True),
)
_NEW = (
    Column("key id", "keyId"),
    Column("user", "user"),
    Column("name", "displayName"),
    Column("expires (UTC)", "expireTime", WHEN),
    Column("budget $", "budget.amountUsd", MONEY),
    Column("per", "budget.period"),
    Column("API key", "key"),
)
_BUDGET = (
    Column("key id", "keyId"),
    Column("user", "user"),
    Column("name", "displayName"),
    Column("budget $", "budget.amountUsd", MONEY),
    Column("per", "budget.period"),
    Column("spent $", "budget.spentUsd", MONEY),
    Column("begins again (UTC)", "budget.endTime", WHEN),
)
Period = Annotated[Literal["DAILY", "WEEKLY", "MONTHLY", "TOTAL"], Parameter(help="How long the budget lasts.")]


@app.command(name="create")
def create(
    *,
    user: Annotated[str | None, Parameter(help="Whose key; your own, or the owner's for the operator.")] = None,
    name: Annotated[str | None, Parameter(help="What it is for.")] = None,
    expires: Annotated[str | None, Parameter(help="When it ends, such as 2027-01-01; never if not given.")] = None,
    budget: Annotated[str | None, Parameter(help="What it may spend at most, dollars; no limit if not given.")] = None,
    period: Period = "MONTHLY",
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Make an API key; it is printed this once.

    Example: purser key create --name ci --expires 2027-01-01
    """
    caller = reach.call()
    limit = None if budget is None else {"amountUsd": budget, "period": period}
    given = {"userId": user, "displayName": name, "expireTime": expires, "budget": limit}
    body = {name: value for name, value in given.items() if value is not None}
    made = caller.post(reach.within(caller, "apiKeys"), body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _NEW)
    if not dry_run:
        tell("The API key is shown this once: keep it now.")


@app.command(name="list")
def list_keys(
    *,
    user: Annotated[str | None, Parameter(help="Only this user's.")] = None,
    reach: Reach = UNSAID,
) -> None:
    """List the live API keys, newest first.

    Example: purser key list --user owner
    """
    caller = reach.call()
    path = reach.within(caller, "users", user, "apiKeys") if user is not None else reach.within(caller, "apiKeys")
    found = caller.pages(path, "apiKeys")
    show_list(reach.output, found, found["apiKeys"], _LIST, "No key. Make one with: purser key create")


@app.command(name="budget")
def set_budget(
    key: Annotated[str, Parameter(help="The key's id, as key list shows it.")],
    amount: Annotated[str | None, Parameter(help="What it may spend at most, dollars.")] = None,
    /,
    *,
    period: Period = "MONTHLY",
    none: Annotated[bool, Parameter(negative="", help="Take the budget away.")] = False,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Give an API key a budget: past it this key alone is refused, with 402, until the next period.

    It is in force at once, and what the key has spent in the period counts. Periods are UTC; weeks begin on Monday.

    Example: purser key budget key_01J2 25 --period MONTHLY
    """
    if (amount is None) != none:
        raise usage("give an amount of dollars, or --none to take the budget away")
    caller = reach.call()
    limit = None if amount is None else {"amountUsd": amount, "period": period}
    changed = caller.patch(reach.within(caller, "apiKeys", key), {"budget": limit}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, changed, changed, _BUDGET)
    if limit is None and not dry_run:
        tell(f"The key {key} has no budget any more.")


@app.command(name="revoke")
def revoke(
    key: Annotated[str, Parameter(help="The key's id, as key list shows it.")],
    /,
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """End an API key at once; whoever uses it is refused within a second.

    Example: purser key revoke key_01J2 --yes
    """
    confirm(f"End the key {key}? Whatever uses it stops working at once.", yes or dry_run)
    caller = reach.call()
    caller.post(f"{reach.within(caller, 'apiKeys')}:delete", {"keyId": key}, dry_run=dry_run)
    tell_done(f"The key {key} is ended.", dry_run)
