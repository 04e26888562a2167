"""The webhook commands: endpoints added (their secret shown once), listed, removed; deliveries listed, sent again."""

from __future__ import annotations

from typing import Annotated

from cyclopts import App, Parameter

from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import (
    DAY,
    ID,
    NUMBER,
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

app = App(name="webhook", help="Where to tell what happens: add, list, remove, deliveries, replay.")

Endpoint = Annotated[str, Parameter(help="The endpoint's id, as the list shows it.")]
_LIST = (
    Column("ENDPOINT", "id", ID),
    Column("URL", "url", TEXT),
    Column("EVENTS", "eventTypes", TEXT),
    Column("DISABLED", "disabledAt", DAY),
    Column("MADE (UTC)", "createdAt", WHEN, spare=True),
)
_ONE = (
    Column("endpoint", "id"),
    Column("url", "url"),
    Column("events", "eventTypes"),
    Column("secret", "secret"),
)
_DELIVERIES = (
    Column("DELIVERY", "id", ID),
    Column("EVENT", "eventType", ID),
    Column("STATE", "state", ID),
    Column("TRIES", "attempts", NUMBER),
    Column("STATUS", "status", NUMBER),
    Column("NEXT (UTC)", "nextAttemptAt", WHEN),
    Column("FAILURE", "failure", TEXT, spare=True),
    Column("MADE (UTC)", "createdAt", WHEN, spare=True),
)
_DELIVERY = (
    Column("delivery", "id"),
    Column("event", "eventType"),
    Column("state", "state"),
    Column("tries", "attempts"),
    Column("next (UTC)", "nextAttemptAt", WHEN),
)


@app.command(name="add")
def add(
    url: Annotated[str, Parameter(help="Where to send, an https address.")],
    /,
    *,
    events: Annotated[str | None, Parameter(help="Event types with commas between; all if not given.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Add a webhook endpoint; the secret that signs what it is sent is printed this once.

    Example: purser webhook add https://example.com/hooks --events account.suspended,invoice.paid
    """
    types = [part.strip() for part in (events or "").split(",") if part.strip()]
    caller = reach.call()
    made = caller.post(reach.within(caller, "webhookEndpoints"), {"url": url, "eventTypes": types}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _ONE)
    if not dry_run:
        tell("The secret is shown this once: keep it now.")


@app.command(name="list")
def list_endpoints(*, reach: Reach = UNSAID) -> None:
    """List the webhook endpoints, newest first; one that said that it is gone (410) is disabled.

    Example: purser webhook list
    """
    caller = reach.call()
    found = caller.get(reach.within(caller, "webhookEndpoints"))
    show_list(reach.output, found, found["webhookEndpoints"], _LIST, "No webhook endpoint yet.")


@app.command(name="remove")
def remove(
    endpoint: Endpoint,
    /,
    *,
    dry_run: DryRun = False,
    yes: Annotated[bool, Parameter(negative="", help="Do not ask first.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """Remove a webhook endpoint; what waits for it is not sent any more.

    Example: purser webhook remove whep_01k… --yes
    """
    confirm(f"Remove the webhook endpoint {endpoint}?", yes or dry_run)
    caller = reach.call()
    caller.delete(reach.within(caller, "webhookEndpoints", endpoint), dry_run=dry_run)
    tell_done(f"{endpoint} is removed.", dry_run)


@app.command(name="deliveries")
def deliveries(endpoint: Endpoint, /, *, reach: Reach = UNSAID) -> None:
    """List what was sent to an endpoint, or is to be, newest first.

    Example: purser webhook deliveries whep_01k…
    """
    caller = reach.call()
    found = caller.pages(reach.within(caller, "webhookEndpoints", endpoint, "deliveries"), "deliveries")
    show_list(reach.output, found, found["deliveries"], _DELIVERIES, "Nothing was to be sent there yet.")


@app.command(name="replay")
def replay(
    endpoint: Endpoint,
    delivery: Annotated[str, Parameter(help="The delivery's id, as the list of deliveries shows it.")],
    /,
    *,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Send a delivery that has ended once more, under its own id; a disabled endpoint is enabled.

    Example: purser webhook replay whep_01k… msg_01k…
    """
    caller = reach.call()
    path = reach.within(caller, "webhookEndpoints", endpoint, "deliveries", delivery)
    again = caller.post(f"{path}:replay", None, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, again, again, _DELIVERY)
