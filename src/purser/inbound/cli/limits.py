"""The limits commands: what an account's users, and the members of its groups, may spend in a month."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from purser.inbound.cli.failure import usage
from purser.inbound.cli.reach import UNSAID, Reach
from purser.inbound.cli.show import ID, MONEY, NUMBER, WHEN, Column, show_list, show_one, tell

app = App(name="limits", help="What users and groups may spend in a month: list, set.")

_USERS = (
    Column("USER", "user", ID),
    Column("SPENT $", "used", MONEY),
    Column("LIMIT $", "effectiveLimit", MONEY),
    Column("FROM", "limitSource", ID),
    Column("GROUPS", "groups", ID, spare=True),
    Column("SPENT UNTIL (UTC)", "exceededUntil", WHEN, spare=True),
)
_GROUPS = (
    Column("GROUP", "id", ID),
    Column("LIMIT $", "limit", MONEY),
    Column("BY", "groupUsageLimitTierId", ID),
    Column("MEMBERS", "members", NUMBER),
)
_DEFAULT = (Column("each user, dollars", "defaultUserLimit", MONEY),)


@app.command(name="list")
def list_limits(
    *,
    groups: Annotated[bool, Parameter(negative="", help="The groups rather than the users.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """List what each user has spent this month and may; or what the members of each group may.

    Example: purser limits list --groups
    """
    caller = reach.call()
    if groups:
        found = caller.pages(reach.within(caller, "groupUsageLimits"), "groupUsageLimits")
        show_list(reach.output, found, found["groupUsageLimits"], _GROUPS, "No group has a limit or members.")
        return
    found = caller.pages(reach.within(caller, "userUsageLimits"), "userUsageLimits")
    show_list(reach.output, found, found["userUsageLimits"], _USERS, "No user yet.")


@app.command(name="set")
def set_limit(
    amount: Annotated[str | None, Parameter(help="Dollars a month.")] = None,
    /,
    *,
    user: Annotated[str | None, Parameter(help="The user's own limit; of every user if neither is given.")] = None,
    group: Annotated[str | None, Parameter(help="The limit of each member of this group.")] = None,
    join: Annotated[
        list[str] | None, Parameter(help="With --user: the groups the user is in, from now on these alone.")
    ] = None,
    none: Annotated[bool, Parameter(negative="", help="Take the limit away.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """Limit what a user, each member of a group, or every user may spend in a month; in force at once.

    A user's own limit goes before its groups', of which the highest counts; those go before everybody's.

    Example: purser limits set 250 --user bot
    """
    if user is not None and group is not None:
        raise usage("give --user or --group, not both")
    if join and user is None:
        raise usage("--join needs --user")
    if (amount is not None) + none != 1 and not (join and amount is None and not none):
        raise usage("give an amount of dollars, or --none to take the limit away")
    limit = None if amount is None else _money(amount)
    caller = reach.call()
    if user is not None:
        body: dict[str, Any] = {} if amount is None and not none else {"limitOverride": limit}
        body |= {"groups": join} if join else {}
        changed = caller.patch(reach.within(caller, "users", user, "usageLimits"), body)
        show_one(reach.output, changed, changed, _USERS)
    elif group is not None:
        tier = None if limit is None else _find_tier(reach, limit)
        changed = caller.patch(reach.within(caller, "groups", group, "usageLimits"), {"groupUsageLimitTierId": tier})
        show_one(reach.output, changed, changed, _GROUPS)
    else:
        changed = caller.patch(reach.within(caller, "usageLimits"), {"defaultUserLimit": limit})
        show_one(reach.output, changed, changed, _DEFAULT)
    if none:
        tell("The limit is taken away.")


def _money(amount: str) -> dict[str, Any]:
    from purser.core.money import NANOS_PER_USD, parse_usd

    units, nanos = divmod(parse_usd(amount, "amount"), NANOS_PER_USD)
    if units < 0:
        raise usage("the amount must not be negative")
    return {"currencyCode": "USD", "units": str(units), "nanos": nanos}


def _find_tier(reach: Reach, limit: dict[str, Any]) -> str:
    """The group limit of this amount, made where there is none."""
    caller = reach.call()
    path = reach.within(caller, "groupUsageLimitTiers")
    known = caller.pages(path, "groupUsageLimitTiers")["groupUsageLimitTiers"]
    for tier in known:
        if tier["limit"] == limit:
            return str(tier["id"])
    cents = f".{limit['nanos']:09d}".rstrip("0") if limit["nanos"] else ""
    name = f"usd-{limit['units']}{cents}"
    caller.post(path, {"groupUsageLimitTierId": name, "limit": limit})
    return name
