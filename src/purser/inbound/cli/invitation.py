"""The invitation commands: people invited to an account by mail, what came of it, invitations taken back."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import ID, TEXT, WHEN, Column, confirm, show_list, show_one, tell, tell_done, tell_dry_run
from purser.inbound.cli.user import Role

app = App(name="invitation", help="People invited to the account by mail: create, list, revoke.")

_LIST = (
    Column("INVITATION", "id", ID),
    Column("EMAIL", "email", TEXT),
    Column("ROLE", "role", ID),
    Column("STATE", "state", ID),
    Column("USER", "user", ID),
    Column("BY", "invitedBy", ID, spare=True),
    Column("EXPIRES (UTC)", "expireTime", WHEN, spare=True),
)
_ONE = (
    Column("invitation", "id"),
    Column("email", "email"),
    Column("role", "role"),
    Column("state", "state"),
    Column("expires (UTC)", "expireTime", WHEN),
)


@app.command(name="create")
def create(
    email: Annotated[str, Parameter(help="Whom to invite.")],
    /,
    *,
    role: Annotated[Role, Parameter(help="What they may do once they have come.")] = "user",
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Invite somebody by mail; the link is good for seven days and once. An earlier one to the address ends.

    Example: purser invitation create eve@example.com --role contributor
    """
    caller = reach.call()
    made = caller.post(reach.within(caller, "invitations"), {"email": email, "role": role}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _ONE)
    if not dry_run:
        tell(f"The link is in a mail to {email}.")


@app.command(name="list")
def list_invitations(*, reach: Reach = UNSAID) -> None:
    """List whom the account has invited, newest first, and what came of it.

    Example: purser invitation list
    """
    caller = reach.call()
    found = caller.pages(reach.within(caller, "invitations"), "invitations")
    show_list(reach.output, found, found["invitations"], _LIST, "Nobody is invited yet.")


@app.command(name="revoke")
def revoke(
    invitation: Annotated[str, Parameter(help="The invitation's id, as the list shows it.")],
    /,
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """Take an invitation back that nobody has taken up.

    Example: purser invitation revoke invt_01k… --yes
    """
    confirm(f"Take the invitation {invitation} back?", yes or dry_run)
    caller = reach.call()
    caller.delete(reach.within(caller, "invitations", invitation), dry_run=dry_run)
    tell_done(f"{invitation} is taken back.", dry_run)
