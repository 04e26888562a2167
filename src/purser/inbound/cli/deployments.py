"""The deployment commands: models on GPUs of an account's own, what they cost, and GPUs that are reserved."""

from __future__ import annotations

from typing import Annotated, Any

from cyclopts import App, Parameter

from purser.inbound.cli.reach import UNSAID, DryRun, Reach
from purser.inbound.cli.show import (
    ID,
    MONEY,
    NUMBER,
    STATE,
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

app = App(name="deployment", help="Models on GPUs of your own: create, list, get, scale, delete, undelete, reserve.")

_LIST = (
    Column("DEPLOYMENT", "id", ID),
    Column("STATE", "state", STATE),
    Column("MODEL", "baseModel", TEXT),
    Column("ACCELERATOR", "acceleratorType", ID),
    Column("GPUS", "acceleratorCount", NUMBER),
    Column("READY", "replicaCount", NUMBER),
    Column("WANTED", "desiredReplicaCount", NUMBER),
    Column("$ AN HOUR", "hourlyUsd", MONEY),
    Column("STOPPED FOR", "stoppedFor", ID, spare=True),
)
_ONE = (
    Column("deployment", "id"),
    Column("state", "state", STATE),
    Column("message", "status.message"),
    Column("model", "baseModel"),
    Column("accelerator", "acceleratorType"),
    Column("GPUs a replica", "acceleratorCount", NUMBER),
    Column("replicas ready", "replicaCount", NUMBER),
    Column("replicas wanted", "desiredReplicaCount", NUMBER),
    Column("at least", "minReplicaCount", NUMBER),
    Column("at most", "maxReplicaCount", NUMBER),
    Column("stopped for", "stoppedFor"),
    Column("$ an hour now", "hourlyUsd", MONEY),
    Column("$ an hour at least", "hourlyMinUsd", MONEY),
    Column("$ an hour at most", "hourlyMaxUsd", MONEY),
    Column("held until (UTC)", "heldUntil", WHEN),
    Column("deleted (UTC)", "deleteTime", WHEN),
)
_RESERVATIONS = (
    Column("RESERVATION", "id", ID),
    Column("ACCELERATOR", "acceleratorType", ID),
    Column("GPUS", "reservedCount", NUMBER),
    Column("FROM (UTC)", "startTime", WHEN),
    Column("UNTIL (UTC)", "endTime", WHEN),
)
Deployment = Annotated[str, Parameter(help="The deployment's id.")]
Yes = Annotated[bool, Parameter(negative="", help="Do not ask first.")]


@app.command(name="create")
def create(
    deployment: Deployment,
    /,
    *,
    base_model: Annotated[str, Parameter(help="The model that it serves.")],
    accelerator: Annotated[str | None, Parameter(help="The accelerator, such as NVIDIA_H100_80GB.")] = None,
    gpus: Annotated[int | None, Parameter(help="Accelerators of each replica; 1 if not given.")] = None,
    min_replicas: Annotated[int | None, Parameter(help="At least so many run; 0 if not given.")] = None,
    max_replicas: Annotated[int | None, Parameter(help="At most so many; 1, or the least, if not given.")] = None,
    scale_to_zero: Annotated[str | None, Parameter(help="How long without a request until none runs: 1h.")] = None,
    display_name: Annotated[str | None, Parameter(help="What people call it.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Make a deployment; what it costs in an hour is said first. With --dry-run nothing is made.

    Example: purser deployment create llama --base-model llama-70b --accelerator NVIDIA_H100_80GB --gpus 4 --dry-run
    """
    given: dict[str, Any] = {
        "baseModel": base_model,
        "acceleratorType": accelerator,
        "acceleratorCount": gpus,
        "minReplicaCount": min_replicas,
        "maxReplicaCount": max_replicas,
        "displayName": display_name,
    }
    body = {name: value for name, value in given.items() if value is not None}
    if scale_to_zero is not None:
        body["autoscalingPolicy"] = {"scaleToZeroWindow": scale_to_zero}
    caller = reach.call()
    path = reach.within(caller, "deployments")
    cost = caller.post(f"{path}:preview", body)
    tell(
        f"{cost['acceleratorCount']} {cost['acceleratorType']} a replica: ${cost['hourlyMinUsd']} an hour at "
        f"{cost['minReplicaCount']}, ${cost['hourlyMaxUsd']} at {cost['maxReplicaCount']} ready replicas."
    )
    made = caller.post(f"{path}?deploymentId={deployment}", body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, made, made, _ONE)


@app.command(name="list")
def list_deployments(
    *,
    deleted: Annotated[bool, Parameter(negative="", help="Those, too, that can be had back.")] = False,
    reach: Reach = UNSAID,
) -> None:
    """List the deployments, how many of their replicas are ready, and what they cost in an hour.

    Example: purser deployment list
    """
    caller = reach.call()
    query = {"showDeleted": "true"} if deleted else None
    found = caller.pages(reach.within(caller, "deployments"), "deployments", query)
    show_list(reach.output, found, found["deployments"], _LIST, "No deployment.")


@app.command(name="get")
def get(deployment: Deployment, /, *, reach: Reach = UNSAID) -> None:
    """Show one deployment.

    Example: purser deployment get llama
    """
    caller = reach.call()
    found = caller.get(reach.within(caller, "deployments", deployment))
    show_one(reach.output, found, found, _ONE)


@app.command(name="scale")
def scale(
    deployment: Deployment,
    replicas: Annotated[int, Parameter(help="How many are to run from now on; 0 for none.")],
    /,
    *,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Run so many replicas from now on.

    Example: purser deployment scale llama 2
    """
    caller = reach.call()
    path = f"{reach.within(caller, 'deployments', deployment)}:scale"
    changed = caller.patch(path, {"replicaCount": replicas}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, changed, changed, _ONE)


@app.command(name="delete")
def delete(
    deployment: Deployment,
    /,
    *,
    hard: Annotated[bool, Parameter(negative="", help="It cannot be had back.")] = False,
    in_use: Annotated[bool, Parameter(negative="", help="Also while requests come to it.")] = False,
    yes: Yes = False,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Delete a deployment: it stops at once.

    Example: purser deployment delete llama --yes
    """
    confirm(f"Delete the deployment {deployment}{', for good' if hard else ''}?", yes or dry_run)
    caller = reach.call()
    flags = [name for name, on in (("hard=true", hard), ("ignoreChecks=true", in_use)) if on]
    path = "?".join([reach.within(caller, "deployments", deployment), *(["&".join(flags)] if flags else [])])
    caller.delete(path, dry_run=dry_run)
    tell_done(f"The deployment {deployment} is deleted.", dry_run)


@app.command(name="undelete")
def undelete(deployment: Deployment, /, *, dry_run: DryRun = False, reach: Reach = UNSAID) -> None:
    """Have a deleted deployment back, at the fewest replicas that it may have.

    Example: purser deployment undelete llama
    """
    caller = reach.call()
    restored = caller.post(f"{reach.within(caller, 'deployments', deployment)}:undelete", {}, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_one(reach.output, restored, restored, _ONE)


# ── reserved GPUs ────────────────────────────────────────────────────────────────────────────────────────────────
@app.command(name="reservations")
def reservations(*, reach: Reach = UNSAID) -> None:
    """List the GPUs that are reserved for an account, which are not billed on demand.

    Example: purser deployment reservations
    """
    caller = reach.call()
    found = caller.pages(reach.within(caller, "reservations"), "reservations")
    show_list(reach.output, found, found["reservations"], _RESERVATIONS, "No GPU is reserved.")


@app.command(name="reserve")
def reserve(
    accelerator: Annotated[str, Parameter(help="The accelerator, such as NVIDIA_H100_80GB.")],
    gpus: Annotated[int, Parameter(help="How many of it.")],
    /,
    *,
    start: Annotated[str | None, Parameter(name="--from", help="From when; the next midnight if not given.")] = None,
    end: Annotated[str | None, Parameter(name="--until", help="Until when; for a year if not given.")] = None,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """Reserve GPUs for an account. Needs the operator key.

    Example: purser deployment reserve NVIDIA_H100_80GB 8 --from 2026-04-01 --account ada
    """
    caller = reach.call_as_operator()
    given = {"acceleratorType": accelerator, "reservedCount": gpus, "startTime": start, "endTime": end}
    body = {name: value for name, value in given.items() if value is not None}
    made = caller.post(_reservations(reach), body, dry_run=dry_run)
    tell_dry_run(dry_run)
    show_list(reach.output, made, [made], _RESERVATIONS, "")


@app.command(name="unreserve")
def unreserve(
    reservation: Annotated[str, Parameter(help="The reservation's id.")],
    /,
    *,
    yes: Yes = False,
    dry_run: DryRun = False,
    reach: Reach = UNSAID,
) -> None:
    """End a reservation: its GPUs are billed on demand from now on. Needs the operator key.

    Example: purser deployment unreserve res_01k… --account ada --yes
    """
    confirm(f"End the reservation {reservation}?", yes or dry_run)
    reach.call_as_operator().delete(f"{_reservations(reach)}/{reservation}", dry_run=dry_run)
    tell_done(f"The reservation {reservation} has ended.", dry_run)


def _reservations(reach: Reach) -> str:
    from purser.inbound.cli.wire import at

    return at("operator", "v1", "accounts", reach.account_of(reach.call_as_operator()), "reservations")
