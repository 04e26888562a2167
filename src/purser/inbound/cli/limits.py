"""The limits commands: what an account's users, and the members of its groups, may spend in a month."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from purser.inbound.cli.failure import usage
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import ID, MONEY, NUMBER, WHEN, Column, show_list, show_one, tell, tell_dry_run

app = App(name="limits", help="What users and groups may spend in a month: list, set, ask for more.")

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
_REQUESTS = (
    Column("REQUEST", "id", ID),
    Column("USER", "user", ID),
    Column("ASKS $", "requestedLimit", MONEY),
    Column("STATE", "state", ID),
    Column("MADE (UTC)", "createTime", WHEN),
    Column("APPROVED $", "approvedLimit", MONEY, spare=True),
    Column("REASON", "reason", ID, spare=True),
    Column("ANSWER", "answer", ID, spare=True),
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
    dry_run: DryRun = False,
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
        changed = caller.patch(reach.within(caller, "users", user, "usageLimits"), body, dry_run=dry_run)
        tell_dry_run(dry_run)
        show_one(reach.output, changed, changed, _USERS)
    elif group is not None:
        path = reach.within(caller, "groups", group, "usageLimits")
        tier, made = (None, False) if limit is None else _find_tier(reach, limit, dry_run=dry_run)
        if dry_run and made:  # it is not there to be tried
            changed = {**caller.get(path), "groupUsageLimitTierId": tier, "limit": limit}
        else:
            changed = caller.patch(path, {"groupUsageLimitTierId": tier}, dry_run=dry_run)
        tell_dry_run(dry_run)
        show_one(reach.output, changed, changed, _GROUPS)
    else:
        changed = caller.patch(reach.within(caller, "usageLimits"), {"defaultUserLimit": limit}, dry_run=dry_run)
        tell_dry_run(dry_run)
        show_one(reach.output, changed, changed, _DEFAULT)
    if none and not dry_run:
        tell("The limit is taken away.")


@app.command(name="ask")
def ask_for_more(
    amount: Annotated[str, Parameter(help="Dollars a month.")],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why, in a line.")] = "",
    user: Annotated[str | None, Parameter(help="For whom; for the key's own user if not given.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Ask an admin of the account for a higher limit: one request at a time.

    Example: purser limits ask 400 --reason "the evaluation runs until Friday"
    """
    caller = reach.call()
    body = {"requestedLimit": _money(amount), "reason": reason} | ({"user": user} if user else {})
    made = caller.post(reach.within(caller, "usageLimitIncreaseRequests"), body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _REQUESTS)


@app.command(name="requests")
def list_requests(
    *,
    pending: Annotated[bool, Parameter(negative="", help="Those alone that nobody has decided.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """List the requests for a higher limit, newest first: all of them for an admin, else one's own.

    Example: purser limits requests --pending
    """
    caller = reach.call()
    path = reach.within(caller, "usageLimitIncreaseRequests") + ("?state=PENDING" if pending else "")
    found = caller.pages(path, "usageLimitIncreaseRequests")
    show_list(reach.output, found, found["usageLimitIncreaseRequests"], _REQUESTS, "No request for a higher limit.")


@app.command(name="approve")
def approve_request(
    request: Annotated[str, Parameter(help="The request's id.")],
    amount: Annotated[str | None, Parameter(help="Dollars a month; as much as was asked for if not given.")] = None,
    /,
    *,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Give the user who asked a limit of its own, in force at once.

    Example: purser limits approve ulir_01m8q9v1d2 300
    """
    _decide(reach, request, "approve", {} if amount is None else {"limit": _money(amount)}, dry_run)


@app.command(name="reject")
def reject_request(
    request: Annotated[str, Parameter(help="The request's id.")],
    /,
    *,
    reason: Annotated[str, Parameter(help="What the user is told, in a line.")] = "",
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Leave the limit of the user who asked as it is.

    Example: purser limits reject ulir_01m8q9v1d2 --reason "not before next month"
    """
    _decide(reach, request, "reject", {"reason": reason}, dry_run)


def _decide(reach: Reach, request: str, what: str, body: dict[str, Any], dry_run: bool) -> None:
    caller = reach.call()
    path = f"{reach.within(caller, 'usageLimitIncreaseRequests', request)}:{what}"
    decided = caller.post(path, body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, decided, decided, _REQUESTS)


def _money(amount: str) -> dict[str, Any]:
    from purser.core.money import NANOS_PER_USD, parse_usd

    units, nanos = divmod(parse_usd(amount, "amount"), NANOS_PER_USD)
    if units < 0:
        raise usage("the amount must not be negative")
    return {"currencyCode": "USD", "units": str(units), "nanos": nanos}


def _find_tier(reach: Reach, limit: dict[str, Any], *, dry_run: bool) -> tuple[str, bool]:
    """The group limit of this amount, made where there is none, and whether it was."""
    caller = reach.call()
    path = reach.within(caller, "groupUsageLimitTiers")
    known = caller.pages(path, "groupUsageLimitTiers")["groupUsageLimitTiers"]
    for tier in known:
        if tier["limit"] == limit:
            return str(tier["id"]), False
    cents = f".{limit['nanos']:09d}".rstrip("0") if limit["nanos"] else ""
    name = f"usd-{limit['units']}{cents}"
    caller.post(path, {"groupUsageLimitTierId": name, "limit": limit}, dry_run=dry_run)
    return name, True
