"""The tables of deployments: what each is to be, how its replicas stand, the slices of GPU-time held and billed."""

from __future__ import annotations

from sqlalchemy import CheckConstraint

from purser.store.columns import Int, few, integer, key, sealed, text

deployments = sealed(
    "deployments",
    key("account"),
    key("id"),
    *map(text, ("base_model", "accelerator")),
    integer("gpus"),  # of each replica
    *map(integer, ("min_replicas", "max_replicas", "up_window", "down_window", "zero_window")),
    text("load_targets"),  # JSON, in thousandths
    text("display_name", default=""),
    text("description", default=""),
    text("more", default="{}"),  # JSON: what else a compatible client says of it, which is kept and answered
    text("state", default="CREATING"),
    text("status", default=""),
    text("created_by", default=""),
    *map(integer, ("created_at", "updated_at")),
    integer("deleted_at", nullable=True),
    integer("purge_at", nullable=True),
    text("made", default=""),  # as of accounts
    CheckConstraint("state IN ('CREATING', 'READY', 'FAILED', 'DELETED')", name="state"),
)

# How a deployment's replicas stand, and its running total of GPU-time, microseconds, at one rate.
replicas = sealed(
    "replicas",
    key("account"),
    key("deployment"),
    *(integer(name, default=0) for name in ("desired", "ready")),
    integer("ready_at", nullable=True),  # when those being started are ready, in the simulated fleet
    *map(integer, ("active_at", "requested_at")),
    integer("reported_at", nullable=True),
    text("loads", default="{}"),  # JSON, in thousandths
    integer("wished", nullable=True),
    integer("wished_at", nullable=True),
    text("stopped_for", default=""),
    integer("stopped_at", nullable=True),
    integer("warned_at", nullable=True),
    *(integer(name, default=0) for name in ("n", "total", "rate_nanos")),
    integer("rate_per", default=1),
    integer("until_at", nullable=True),  # how far its replicas are billed
    integer("stalled_at", nullable=True),  # since when money is waited for that others have set aside
    integer("look_at", nullable=True),  # when its slice must be looked at
    integer("due_at", nullable=True),  # when something changes by itself
    integer("renew_at", nullable=True),  # when the next slice is to be held
    few("desired", where="desired > 0"),
    few("due_at", where="due_at IS NOT NULL"),
    few("renew_at", where="renew_at IS NOT NULL"),
    few("stalled_at", where="stalled_at IS NOT NULL"),
    CheckConstraint("ready >= 0 AND desired >= 0 AND total >= 0", name="signs"),
)

# While a slice is open a lease is its own on each limit, of what it can cost at most; then it is a usage event.
slices = sealed(
    "slices",
    key("account"),
    key("deployment"),
    key("n", Int),
    text("model"),  # the accelerator, as the price book calls it
    integer("version"),
    text("month"),
    *map(integer, ("start_at", "end_at", "replicas", "gpus", "reserved", "before", "amount")),
    text("state", default="open"),
    integer("ended_at", nullable=True),
    integer("cost", nullable=True),
    few("account", where="state = 'open'"),
    CheckConstraint("state IN ('open', 'billed')", name="state"),
    CheckConstraint("start_at <= end_at AND gpus >= 0 AND reserved >= 0 AND amount >= 0", name="bounds"),
)

# GPUs that an account has for a time, which are not billed on demand.
reservations = sealed(
    "reservations",
    key("account"),
    key("id"),
    text("accelerator"),
    *map(integer, ("gpus", "start_at", "end_at", "created_at")),
    integer("ended_at", nullable=True),
)

# How many GPUs of an accelerator an account may have at once, where the operator has said so.
gpu_quotas = sealed("gpu_quotas", key("account"), key("accelerator"), integer("gpus"), integer("updated_at"))
