"""The user commands: an account's people and service accounts, listed, added and changed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from cyclopts import App, Parameter

from purser.inbound.cli.failure import usage
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import ID, TEXT, WHEN, Column, show_list, show_one, tell_dry_run

app = App(name="user", help="The users of an account: list, create, update.")

Role = Literal["admin", "user", "contributor", "inference-user"]
_LIST = (
    Column("USER", "id", ID),
    Column("ROLE", "role", ID),
    Column("SERVICE ACCOUNT", "serviceAccount", ID, spare=True),
    Column("SCOPES", "scopes", ID, spare=True),
    Column("NAME", "displayName", TEXT),
    Column("EMAIL", "email", TEXT),
    Column("MADE (UTC)", "createTime", WHEN, spare=True),
)
_ONE = (
    Column("user", "id"),
    Column("role", "role"),
    Column("name", "displayName"),
    Column("email", "email"),
    Column("service account", "serviceAccount"),
    Column("scopes", "scopes"),
    Column("made (UTC)", "createTime", WHEN),
)


@app.command(name="list")
def list_users(*, reach: Reach = UNSAID) -> None:
    """List an account's users, newest first.

    Example: purser user list
    """
    caller = reach.call()
    found = caller.pages(reach.within(caller, "users"), "users")
    show_list(reach.output, found, found["users"], _LIST, "No user yet.")


@app.command(name="create")
def create(
    user: Annotated[str, Parameter(help="The new user's id, such as bot.")],
    /,
    *,
    role: Annotated[Role, Parameter(help="What the user may do.")] = "user",
    email: Annotated[str | None, Parameter(help="Their address.")] = None,
    display_name: Annotated[str | None, Parameter(help="What people call them.")] = None,
    service_account: Annotated[bool, Parameter(negative="", help="A program rather than a person.")] = False,
    scope: Annotated[
        Literal["metering"] | None,
        Parameter(help="What the service account may beyond its role: report usage. Needs the operator key."),
    ] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Add a user to the account; make them a key with purser key create --user.

    Example: purser user create bot --role inference-user --service-account
    """
    caller = reach.call() if scope is None else reach.call_as_operator()
    given: dict[str, Any] = {"userId": user, "role": role, "email": email, "displayName": display_name}
    given["scopes"] = None if scope is None else [scope]
    body = {name: value for name, value in given.items() if value is not None}
    made = caller.post(reach.within(caller, "users"), {**body, "serviceAccount": service_account}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _ONE)


@app.command(name="update")
def update(
    user: Annotated[str, Parameter(help="Which user.")],
    /,
    *,
    role: Annotated[Role | None, Parameter(help="What the user may do from now on.")] = None,
    display_name: Annotated[str | None, Parameter(help="What people call them.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Change a user's role or name.

    Example: purser user update bot --role contributor
    """
    given = {"role": role, "displayName": display_name}
    body = {name: value for name, value in given.items() if value is not None}
    if not body:
        raise usage("nothing to change was given", "Give --role or --display-name.")
    caller = reach.call()
    changed = caller.patch(reach.within(caller, "users", user), body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, changed, changed, _ONE)
