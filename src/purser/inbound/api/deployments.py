"""Deployments as the compatible API has them, with what they cost before and while they run; reports of a fleet."""

from __future__ import annotations

import secrets
from typing import Annotated

from litestar import Response
from litestar.params import JSONBody, QueryParameter
from msgspec import UNSET, UnsetType

from purser.core.deployment import ACCELERATORS, Scaling
from purser.core.errors import Forbidden, Invalid
from purser.core.money import format_usd
from purser.core.period import parse_instant
from purser.flows import deployments as flow
from purser.flows import standing
from purser.flows.deployments import Report
from purser.inbound.api.auth import MAKER, MEMBER, METERING
from purser.inbound.api.call import Call
from purser.inbound.api.deployment_views import (
    DeploymentFields,
    DeploymentView,
    check_base_model,
    read_loads,
    view,
    view_one,
)
from purser.inbound.api.once import DryRun, once
from purser.inbound.api.permissions import manages_others
from purser.inbound.api.routes import delete, get, patch, post
from purser.inbound.api.wire import Compatible, Empty, Name, PageSize, PageToken, View, page
from purser.store import deployments as rows
from purser.store.db import Connection
from purser.store.deployments import Deployment
from purser.store.writers import Tx

_PATH = "/v1/accounts/{account:str}/deployments"
_ONE = _PATH + "/{deployment:str}"
DeploymentId = Annotated[
    str | None, QueryParameter(name="deploymentId", description='The new deployment\'s id, such as "llama".')
]
ShowDeleted = Annotated[bool, QueryParameter(name="showDeleted", description="Those that can be had back, too.")]
ValidateOnly = Annotated[bool, QueryParameter(name="validateOnly", description="The same as dryRun.")]
Hard = Annotated[bool, QueryParameter(name="hard", description="It cannot be had back.")]
IgnoreChecks = Annotated[
    bool, QueryParameter(name="ignoreChecks", description="Delete it though requests still come to it.")
]


class DeploymentList(View):
    """A page of deployments, newest first."""

    deployments: list[DeploymentView]
    next_page_token: str
    total_size: int


class Scale(Compatible):
    """How many replicas are to run."""

    replica_count: int = 0


class PreviewView(View):
    """What a deployment would cost in an hour, with as few and as many replicas as it may have."""

    accelerator_type: str
    accelerator_count: int
    min_replica_count: int
    max_replica_count: int
    hourly_min_usd: str
    hourly_max_usd: str


class ReplicaReport(Compatible):
    """What an orchestrator has seen at an instant; the last one counts, by its `at`."""

    at: str | None = None
    ready_replicas: int | None = None
    last_request_at: str | None = None
    load: dict[str, int | float] | None = None
    failed: str | None = None


class ReportedView(View):
    """Whether a report counted, and how many replicas are wanted, are billed, and until when their time is held.

    After `heldUntil` nothing pays for them: an orchestrator that has heard nothing new by then stops them.
    """

    counted: bool
    desired_replicas: int
    billed_replicas: int
    held_until: str | UnsetType = UNSET


def _new(conn: Connection, call: Call, account: str, id_: str, data: DeploymentFields, now: int) -> Deployment:
    usual = Deployment(
        account=account,
        id=id_,
        base_model=check_base_model(data.base_model),
        accelerator=flow.choose_accelerator(conn, data.accelerator_type, now),
        gpus=1,
        scaling=Scaling(),
        created_at=now,
        updated_at=now,
        created_by="" if call.caller.operator else call.caller.user,
    )
    return data.apply(usual)


def _check_own(call: Call, of: Deployment) -> None:
    """Raises Forbidden where a caller may not manage what others have made."""
    caller = call.caller
    if not caller.operator and not manages_others(caller.role) and caller.user != of.created_by:
        raise Forbidden(f"deployment {of.id} is another user's; the role {caller.role} manages its own alone")


@get(_PATH, MEMBER)
def list_deployments(
    request: Call,
    account: Name,
    show_deleted: ShowDeleted = False,
    page_size: PageSize = None,
    page_token: PageToken = None,
) -> DeploymentList:
    """List an account's deployments."""
    now = request.desk.clock.now()
    with request.desk.read() as conn:
        standing.require(conn, account)
        found = [
            each
            for each in rows.list_of(conn, account, deleted=show_deleted)
            if not each.deleted or (each.purge_at or 0) > now
        ]
        some, more = page(found, page_size, page_token)
        fleets = rows.list_fleets(conn, account)
        return DeploymentList([view(conn, each, fleets.get(each.id), now) for each in some], more, len(found))


@post(_PATH, MAKER, refuses=(404, 412, 429))
def create_deployment(
    request: Call,
    account: Name,
    data: JSONBody[DeploymentFields],
    deployment_id: DeploymentId = None,
    validate_only: ValidateOnly = False,
    dry_run: DryRun = False,
) -> Response[DeploymentView]:
    """Make a deployment, whose first replicas start at once: billed per GPU-second from when each is ready.

    The answer says what it costs in an hour at its fewest and most replicas, also in a dry run, which makes nothing.
    412 while the account is suspended, 429 over the quota of its accelerator.
    """
    id_ = deployment_id or f"d-{secrets.token_hex(6)}"

    def make(tx: Tx) -> DeploymentView:
        flow.create(tx, _new(tx.conn, request, account, id_, data, tx.now))
        return view_one(tx.conn, account, id_, tx.now)

    return once(request, make, dry_run=dry_run or validate_only)


@post(_PATH + "/:preview", MEMBER, changes_nothing=True)
def preview_deployment(request: Call, account: Name, data: JSONBody[DeploymentFields]) -> PreviewView:
    """Say what a deployment would cost in an hour, with as few and as many replicas as it may have."""
    now = request.desk.clock.now()
    with request.desk.read() as conn:
        standing.require(conn, account)
        of = _new(conn, request, account, "preview", data, now)
        least, most = (
            format_usd(flow.price_an_hour(conn, of, replicas, now)) for replicas in (of.scaling.least, of.scaling.most)
        )
    return PreviewView(of.accelerator, of.gpus, of.scaling.least, of.scaling.most, least, most)


@get(_ONE, MEMBER)
def get_deployment(request: Call, account: Name, deployment: Name) -> DeploymentView:
    """Get a deployment."""
    with request.desk.read() as conn:
        return view_one(conn, account, deployment, request.desk.clock.now())


@patch(_ONE, MAKER, refuses=(412, 429))
def update_deployment(
    request: Call, account: Name, deployment: Name, data: JSONBody[DeploymentFields], dry_run: DryRun = False
) -> Response[DeploymentView]:
    """Change what a deployment is to be, such as its bounds: its replicas follow at once."""

    def change(tx: Tx) -> DeploymentView:
        of = flow.require(tx.conn, account, deployment)
        _check_own(request, of)
        if data.base_model not in (None, of.base_model):
            raise Invalid("a deployment keeps its model: make another one instead", field="baseModel")
        if data.accelerator_type not in (None, of.accelerator) and data.accelerator_type in ACCELERATORS:
            raise Invalid("a deployment keeps its accelerators: make another one instead", field="acceleratorType")
        flow.change(tx, account, deployment, data.apply(of))
        return view_one(tx.conn, account, deployment, tx.now)

    return once(request, change, dry_run=dry_run)


@patch(_ONE + "/:scale", MAKER, refuses=(412, 429))
def scale_deployment(
    request: Call, account: Name, deployment: Name, data: JSONBody[Scale], dry_run: DryRun = False
) -> Response[DeploymentView]:
    """Run so many replicas from now on: none, or as many as its bounds allow."""

    def scale(tx: Tx) -> DeploymentView:
        _check_own(request, flow.require(tx.conn, account, deployment))
        flow.scale(tx, account, deployment, data.replica_count)
        return view_one(tx.conn, account, deployment, tx.now)

    return once(request, scale, dry_run=dry_run)


@delete(_ONE, MAKER)
def delete_deployment(
    request: Call,
    account: Name,
    deployment: Name,
    hard: Hard = False,
    ignore_checks: IgnoreChecks = False,
    dry_run: DryRun = False,
) -> Response[Empty]:
    """Delete a deployment: it stops at once, and can be had back for 60 days unless it is deleted `hard`."""

    def remove(tx: Tx) -> Empty:
        _check_own(request, flow.require(tx.conn, account, deployment))
        flow.delete(tx, account, deployment, hard=hard, ignore_checks=ignore_checks)
        return Empty()

    return once(request, remove, dry_run=dry_run)


@post(_ONE + "/:undelete", MAKER, refuses=(412, 429))
def undelete_deployment(
    request: Call, account: Name, deployment: Name, dry_run: DryRun = False
) -> Response[DeploymentView]:
    """Have a deleted deployment back, at the fewest replicas that it may have."""

    def restore(tx: Tx) -> DeploymentView:
        _check_own(request, flow.require(tx.conn, account, deployment))
        flow.undelete(tx, account, deployment)
        return view_one(tx.conn, account, deployment, tx.now)

    return once(request, restore, dry_run=dry_run)


@post(_ONE + "/:report", METERING)
def report_replicas(
    request: Call, account: Name, deployment: Name, data: JSONBody[ReplicaReport]
) -> Response[ReportedView]:
    """Report how many replicas of a deployment are ready, as its orchestrator does: they are billed from `at` on.

    A report of no later `at` than the last one changes nothing: it was sent twice, or overtaken. What is billed stays.
    """
    told = Report(
        at=None if data.at is None else parse_instant(data.at),
        ready=data.ready_replicas,
        requested_at=None if data.last_request_at is None else parse_instant(data.last_request_at, "lastRequestAt"),
        loads=None if data.load is None else read_loads(data.load, "load"),
        failed=None if data.failed is None else data.failed[:500],
    )

    def note(tx: Tx) -> ReportedView:
        it, counted = flow.report(tx, account, deployment, told)
        shown = view_one(tx.conn, account, deployment, tx.now)
        return ReportedView(counted, it.fleet.desired, it.fleet.billable, shown.held_until)

    return once(request, note)


ROUTES = [
    list_deployments,
    create_deployment,
    preview_deployment,
    get_deployment,
    update_deployment,
    scale_deployment,
    delete_deployment,
    undelete_deployment,
    report_replicas,
]
