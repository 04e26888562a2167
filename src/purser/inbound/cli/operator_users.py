"""The operator user commands: the operator's people, each with a role and a key of their own."""

from __future__ import annotations

from typing import Annotated, Literal

from cyclopts import App, Parameter

from purser.inbound.cli.failure import NOT_FOUND, Failure
from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import ID, WHEN, Column, confirm, show_list, show_one, tell, tell_done, tell_dry_run
from purser.inbound.cli.wire import Caller, at

app = App(name="user", help="The operator's people: list, create, update, remove.")

Role = Annotated[Literal["owner", "finance", "support", "read-only"], Parameter(help="What they may do.")]
_PATH = "/operator/v1/users"
_LIST = (
    Column("NAME", "name", ID),
    Column("ROLE", "role", ID),
    Column("KEY BEGINS", "prefix", ID),
    Column("MADE (UTC)", "createTime", WHEN),
    Column("ID", "id", ID, spare=True),
)
_ONE = (Column("name", "name"), Column("role", "role"), Column("id", "id"), Column("operator key", "key"))


@app.command(name="list")
def list_users(*, reach: Reach = UNSAID) -> None:
    """List the operator's people.

    Example: purser operator user list
    """
    found = reach.call_as_operator().pages(_PATH, "users")
    show_list(reach.output, found, found["users"], _LIST, "No operator yet.")


@app.command(name="create")
def create(
    name: Annotated[str, Parameter(help="Their name, such as nora.")],
    /,
    *,
    role: Role,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Add one of the operator's people; their operator key is printed this once.

    An owner may do everything. Finance works on money: credit, payments, prices, months. Support works on people:
    accounts, users, limits, suspensions. Read-only looks.

    Example: purser operator user create nora --role finance
    """
    made = reach.call_as_operator().post(_PATH, {"name": name, "role": role}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _ONE)
    if not dry_run:
        tell("The operator key is shown this once: keep it now.")


@app.command(name="update")
def update(
    name: Annotated[str, Parameter(help="Whose role.")],
    /,
    *,
    role: Role,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Give one of the operator's people another role, at once.

    Example: purser operator user update nora --role support
    """
    caller = reach.call_as_operator()
    changed = caller.patch(at("operator", "v1", "users", _find(caller, name)), {"role": role}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, changed, changed, _ONE)


@app.command(name="remove")
def remove(
    name: Annotated[str, Parameter(help="Whose key ends.")],
    /,
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """End the operator key of one of the operator's people at once.

    Example: purser operator user remove nora --yes
    """
    confirm(f"End the operator key of {name}?", yes or dry_run)
    caller = reach.call_as_operator()
    caller.delete(at("operator", "v1", "users", _find(caller, name)), dry_run=dry_run)
    tell_done(f"{name} is no operator any more.", dry_run)


def _find(caller: Caller, name: str) -> str:
    users = caller.pages(_PATH, "users")["users"]
    found = next((user["id"] for user in users if name in (user["name"], user["id"])), None)
    if found is None:
        raise Failure(f"there is no operator {name}", code=NOT_FOUND, then="See: purser operator user list")
    return str(found)
