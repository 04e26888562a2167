"""The abuse rule commands: rules added, listed and removed, and the flags on accounts looked at and cleared."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import (
    ID,
    MONEY,
    NUMBER,
    TEXT,
    WHEN,
    Column,
    confirm,
    show_list,
    show_one,
    tell_dry_run,
)
from purser.inbound.cli.wire import at

app = App(name="abuse-rule", help="Who may sign up, and which accounts are blocked: list, add, remove, flags, clear.")

_PATH = "/operator/v1/abuseRules"
_LIST = (
    Column("TYPE", "type", ID),
    Column("TARGET", "target", ID),
    Column("DESIGNATION", "designation", ID),
    Column("STATE", "state", ID),
    Column("REASON", "reason", TEXT, spare=True),
    Column("MADE (UTC)", "createdAt", WHEN, spare=True),
    Column("ID", "id", ID),
)
_ONE = (
    Column("rule", "id"),
    Column("type", "type"),
    Column("target", "target"),
    Column("designation", "designation"),
    Column("reason", "reason"),
    Column("state", "state"),
    Column("accounts", "accounts", NUMBER),
)
_FLAGS = (
    Column("ACCOUNT", "account", ID),
    Column("FLAG", "kind", ID),
    Column("SINCE (UTC)", "since", WHEN),
    Column("WHY", "why", TEXT),
    Column("RULE", "rule", ID, spare=True),
)
_CLEARED = (Column("account", "account"), Column("credit given", "creditUsd", MONEY))
Yes = Annotated[bool, Parameter(negative="", help="Do not ask first.")]


@app.command(name="list")
def list_rules(*, reach: Reach = UNSAID) -> None:
    """List the abuse rules, newest first, also those that were removed. Needs the operator key.

    Example: purser abuse-rule list
    """
    found = reach.call_as_operator().pages(_PATH, "abuseRules")
    show_list(reach.output, found, found["abuseRules"], _LIST, "No abuse rule yet.")


@app.command(name="add")
def add(
    type_: Annotated[Literal["domain", "ip", "account"], Parameter(name="type", help="What it is about.")],
    target: Annotated[str, Parameter(help="A domain, an address or network such as 192.0.2.0/24, or an account.")],
    designation: Annotated[Literal["allowed", "blocked", "suspicious"], Parameter(help="What is thought of it.")],
    /,
    *,
    reason: Annotated[str, Parameter(help="Why, for the operator's people alone.")],
    dry_run: DryRun = False,
    yes: Yes = False,
    reach: Reach = UNSAID,
) -> None:
    """Add an abuse rule. Blocked: no sign-up, and accounts that it covers are suspended within a second.

    Suspicious: accounts are opened without their free credit, and flagged. Allowed: exempt from wider rules. Needs the
    operator key.

    Example: purser abuse-rule add domain example.com blocked --reason "one person, many accounts" --dry-run
    """
    body = {"type": type_.upper(), "target": target, "designation": designation.upper(), "reason": reason}
    if designation == "blocked" and not dry_run:
        confirm(f"Block the {type_} {target}? Accounts that it covers are suspended.", yes)
    made = reach.call_as_operator().post(_PATH, body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _ONE)


@app.command(name="remove")
def remove(
    rule: Annotated[str, Parameter(help="The rule's id, as the list shows it.")],
    /,
    *,
    dry_run: DryRun = False,
    yes: Yes = False,
    reach: Reach = UNSAID,
) -> None:
    """Remove an abuse rule. Suspended accounts stay so: let each back in with purser operator reinstate.

    Needs the operator key.

    Example: purser abuse-rule remove abuse_01k… --yes
    """
    if not dry_run:
        confirm(f"Remove the abuse rule {rule}?", yes)
    ended = reach.call_as_operator().delete(at("operator", "v1", "abuseRules", rule), dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, ended, ended, _ONE)


@app.command(name="flags")
def flags(*, reach: Reach = UNSAID) -> None:
    """List the accounts that a person should look at: blocked, suspicious, or with a card that another shares.

    Needs the operator key.

    Example: purser abuse-rule flags
    """
    found = reach.call_as_operator().pages("/operator/v1/accountFlags", "accountFlags")
    show_list(reach.output, found, found["accountFlags"], _FLAGS, "No account is flagged.")


@app.command(name="clear")
def clear(
    account: Annotated[str, Parameter(help="Which account.")],
    /,
    *,
    credit: Annotated[
        bool, Parameter(negative="--no-credit", help="Give the free credit that waits for this, or never.")
    ] = True,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Clear an account's flags once a person has looked at it, and give it the free credit that waited for that.

    A block stays. Needs the operator key.

    Example: purser abuse-rule clear ada --no-credit
    """
    path = f"{at('operator', 'v1', 'accounts', account)}:clearFlags"
    done = reach.call_as_operator().post(path, {"grantCredit": credit}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, done, done, _CLEARED)
