"""Deployments on the wire: their bodies and views, with the names, enums and spans of the compatible API."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from purser.core.deployment import FAILED, MILLI, Scaling
from purser.core.errors import Invalid, NotFound
from purser.core.money import format_usd
from purser.core.period import SECOND, format_instant
from purser.flows import deployments as flow
from purser.inbound.api.wire import Compatible, Text, View
from purser.store import deployments as rows
from purser.store import slices
from purser.store.db import Connection
from purser.store.deployments import Deployment, Fleet

_SPAN = re.compile(r"(\d{1,7})(?:\.(\d{1,6})0*)?([smh])\Z", re.ASCII)
_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND}


class AutoscalingPolicy(Compatible):
    """When replicas are started and stopped: spans such as "600s", and targets of load for each replica."""

    scale_up_window: str | None = None
    scale_down_window: str | None = None
    scale_to_zero_window: str | None = None
    load_targets: dict[str, int | float] | None = None


class DeploymentFields(Compatible):
    """What a deployment is to be; what is not given stays as it is, or is as usual."""

    base_model: str | None = None
    accelerator_type: str | None = None
    accelerator_count: int | None = None
    min_replica_count: int | None = None
    max_replica_count: int | None = None
    autoscaling_policy: AutoscalingPolicy | None = None
    display_name: Text | None = None
    description: str | None = None
    # What is kept and answered, and means nothing here.
    precision: str | None = None
    region: str | None = None
    placement: dict[str, Any] | None = None
    annotations: dict[str, str] | None = None
    draft_model: str | None = None
    draft_token_count: int | None = None
    max_context_length: int | None = None
    deployment_shape: str | None = None
    enable_addons: bool | None = None
    enable_session_affinity: bool | None = None

    def apply(self, of: Deployment) -> Deployment:
        """A deployment with what is said here; raises Invalid naming the field."""
        scaling = of.scaling
        if self.min_replica_count is not None or self.max_replica_count is not None:
            most = self.max_replica_count
            if most is None and of.made:
                most = max(scaling.most, self.min_replica_count or 0)
            least, most = flow.default_scaling(
                self.min_replica_count if self.min_replica_count is not None or not of.made else scaling.least, most
            )
            scaling = replace(scaling, least=least, most=most)
        if self.autoscaling_policy is not None:
            scaling = _read_policy(self.autoscaling_policy, scaling)
        if self.description is not None and len(self.description) > 2_000:
            raise Invalid("description must have at most 2000 characters", field="description")
        more = {**msgspec.json.decode(of.more), **self._more()}
        if len(kept := msgspec.json.encode(more).decode()) > 8_000:
            raise Invalid("placement, annotations and the like must not have more than 8000 characters together")
        return replace(
            of,
            scaling=scaling,
            gpus=of.gpus if self.accelerator_count is None else self.accelerator_count,
            display_name=of.display_name if self.display_name is None else self.display_name,
            description=of.description if self.description is None else self.description,
            more=kept,
        )

    def _more(self) -> dict[str, Any]:
        given = msgspec.to_builtins(self)
        return {name: given[name] for name in _MORE if given.get(name) is not None}


_MORE = (
    *("precision", "region", "placement", "annotations", "draftModel", "draftTokenCount", "maxContextLength"),
    *("deploymentShape", "enableAddons", "enableSessionAffinity"),
)


def check_base_model(given: str | None) -> str:
    """The name of a model; raises Invalid."""
    if given is None or not 1 <= len(given) <= 200 or not given.isprintable():
        raise Invalid('baseModel must be a model, such as "accounts/ada/models/llama"', field="baseModel")
    return given


def _read_policy(given: AutoscalingPolicy, scaling: Scaling) -> Scaling:
    targets = given.load_targets
    return replace(
        scaling,
        up_window=_read_span(given.scale_up_window, "scaleUpWindow", scaling.up_window),
        down_window=_read_span(given.scale_down_window, "scaleDownWindow", scaling.down_window),
        zero_window=_read_span(given.scale_to_zero_window, "scaleToZeroWindow", scaling.zero_window),
        targets=scaling.targets if not targets else read_loads(targets, "autoscalingPolicy.loadTargets"),
    )


def _read_span(text: str | None, name: str, usual: int) -> int:
    if text is None:
        return usual
    found = _SPAN.match(text)
    if found is None:
        raise Invalid(f'{name} must be a span such as "600s", not {text!r:.40}', field=f"autoscalingPolicy.{name}")
    whole, fraction, unit = found.groups()
    return (int(whole) * 1_000_000 + int((fraction or "").ljust(6, "0"))) * _UNITS[unit] // 1_000_000


def read_loads(given: Mapping[str, int | float], field: str) -> dict[str, int]:
    """Loads, or targets of them, in thousandths; raises Invalid."""
    loads = {}
    for name, value in given.items():
        exact = Decimal(str(value))
        if isinstance(value, bool) or not exact.is_finite() or not 0 <= exact <= 10**12 or len(name) > 60:
            raise Invalid(f"{field} must be numbers from 0 up", field=field)
        loads[name] = int((exact * MILLI).to_integral_value(ROUND_HALF_EVEN))
    return loads


# ── views ────────────────────────────────────────────────────────────────────────────────────────────────────────
class PolicyView(View):
    """When replicas are started and stopped."""

    scale_up_window: str
    scale_down_window: str
    scale_to_zero_window: str
    load_targets: dict[str, float]


class ReplicaStats(View):
    """How far its replicas have come."""

    pending_scheduling_replica_count: int
    downloading_model_replica_count: int
    initializing_replica_count: int
    ready_replica_count: int


class StatusView(View):
    """Whether something is wrong with it."""

    code: str
    message: str


class DeploymentView(View):
    """A deployment. Ours beside the compatible API's: what it costs in an hour, and until when its time is held.

    `stoppedFor` is why it is at zero replicas: CUSTOMER, OUT_OF_MONEY or a cause of suspension.
    """

    name: str
    id: str
    base_model: str
    accelerator_type: str
    accelerator_count: int
    min_replica_count: int
    max_replica_count: int
    desired_replica_count: int
    replica_count: int
    replica_stats: ReplicaStats
    autoscaling_policy: PolicyView
    state: str
    status: StatusView
    display_name: str
    description: str
    created_by: str
    create_time: str
    update_time: str
    hourly_usd: str | None
    hourly_min_usd: str | None
    hourly_max_usd: str | None
    held_until: str | UnsetType = UNSET
    stopped_for: str | UnsetType = UNSET
    delete_time: str | UnsetType = UNSET
    purge_time: str | UnsetType = UNSET
    precision: str | UnsetType = UNSET
    region: str | UnsetType = UNSET
    placement: dict[str, Any] | UnsetType = UNSET
    annotations: dict[str, str] | UnsetType = UNSET
    draft_model: str | UnsetType = UNSET
    draft_token_count: int | UnsetType = UNSET
    max_context_length: int | UnsetType = UNSET
    deployment_shape: str | UnsetType = UNSET
    enable_addons: bool | UnsetType = UNSET
    enable_session_affinity: bool | UnsetType = UNSET


def view(conn: Connection, of: Deployment, fleet: Fleet | None, now: int) -> DeploymentView:
    """A deployment, how its replicas stand, and what it costs at the prices in force."""
    stands = fleet or Fleet(of.account, of.id, of.created_at, of.created_at)
    held = slices.get_open(conn, of.account, of.id)
    starting = max(0, stands.desired - stands.ready)
    more = msgspec.convert(msgspec.json.decode(of.more), DeploymentFields)
    shown = DeploymentView(
        name=f"accounts/{of.account}/deployments/{of.id}",
        id=of.id,
        base_model=of.base_model,
        accelerator_type=of.accelerator,
        accelerator_count=of.gpus,
        min_replica_count=of.scaling.least,
        max_replica_count=of.scaling.most,
        desired_replica_count=stands.desired,
        replica_count=stands.ready,
        replica_stats=ReplicaStats(0, 0, starting, stands.ready),
        autoscaling_policy=_view_policy(of.scaling),
        state=of.state,
        status=StatusView("INTERNAL" if of.state == FAILED else "OK", of.status),
        display_name=of.display_name,
        description=of.description,
        created_by=of.created_by,
        create_time=format_instant(of.created_at),
        update_time=format_instant(of.updated_at),
        hourly_usd=_an_hour(conn, of, stands.billable, now),
        hourly_min_usd=_an_hour(conn, of, of.scaling.least, now),
        hourly_max_usd=_an_hour(conn, of, of.scaling.most, now),
        held_until=UNSET if held is None else format_instant(held.end_at),
        stopped_for=stands.stopped_for or UNSET,
        delete_time=UNSET if of.deleted_at is None else format_instant(of.deleted_at),
        purge_time=UNSET if of.purge_at is None else format_instant(of.purge_at),
    )
    for name in DeploymentFields.__struct_fields__[8:]:
        if getattr(more, name) is not None:
            setattr(shown, name, getattr(more, name))
    return shown


def _an_hour(conn: Connection, of: Deployment, replicas: int, now: int) -> str | None:
    try:
        return format_usd(flow.price_an_hour(conn, of, replicas, now))
    except NotFound:
        return None


def _view_policy(scaling: Scaling) -> PolicyView:
    return PolicyView(
        scale_up_window=f"{scaling.up_window // SECOND}s",
        scale_down_window=f"{scaling.down_window // SECOND}s",
        scale_to_zero_window=f"{scaling.zero_window // SECOND}s",
        load_targets={name: target / MILLI for name, target in scaling.targets.items()},
    )


def view_one(conn: Connection, account: str, id_: str, now: int) -> DeploymentView:
    """One deployment; raises NotFound."""
    return view(conn, flow.require(conn, account, id_), rows.get_fleet(conn, account, id_), now)
