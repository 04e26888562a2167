"""Deployments: replicas on GPUs, held and billed by the slice, reserved GPUs and quotas of them.

Revision ID: 0023
Revises: 0022
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Add the tables; nobody has a deployment yet."""
    op.create_table(
        "deployments",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("base_model", TEXT, nullable=False),
        sa.Column("accelerator", TEXT, nullable=False),
        sa.Column("gpus", INT, nullable=False),
        sa.Column("min_replicas", INT, nullable=False),
        sa.Column("max_replicas", INT, nullable=False),
        sa.Column("up_window", INT, nullable=False),
        sa.Column("down_window", INT, nullable=False),
        sa.Column("zero_window", INT, nullable=False),
        sa.Column("load_targets", TEXT, nullable=False),
        sa.Column("display_name", TEXT, server_default="", nullable=False),
        sa.Column("description", TEXT, server_default="", nullable=False),
        sa.Column("more", TEXT, server_default="{}", nullable=False),
        sa.Column("state", TEXT, server_default="CREATING", nullable=False),
        sa.Column("status", TEXT, server_default="", nullable=False),
        sa.Column("created_by", TEXT, server_default="", nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("updated_at", INT, nullable=False),
        sa.Column("deleted_at", INT, nullable=True),
        sa.Column("purge_at", INT, nullable=True),
        sa.Column("made", TEXT, server_default="", nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("state IN ('CREATING', 'READY', 'FAILED', 'DELETED')", name=op.f("ck_deployments_state")),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_deployments")),
        sqlite_strict=True,
    )
    op.create_table(
        "replicas",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("deployment", TEXT, autoincrement=False, nullable=False),
        sa.Column("desired", INT, server_default="0", nullable=False),
        sa.Column("ready", INT, server_default="0", nullable=False),
        sa.Column("ready_at", INT, nullable=True),
        sa.Column("active_at", INT, nullable=False),
        sa.Column("requested_at", INT, nullable=False),
        sa.Column("reported_at", INT, nullable=True),
        sa.Column("loads", TEXT, server_default="{}", nullable=False),
        sa.Column("wished", INT, nullable=True),
        sa.Column("wished_at", INT, nullable=True),
        sa.Column("stopped_for", TEXT, server_default="", nullable=False),
        sa.Column("stopped_at", INT, nullable=True),
        sa.Column("warned_at", INT, nullable=True),
        sa.Column("n", INT, server_default="0", nullable=False),
        sa.Column("total", INT, server_default="0", nullable=False),
        sa.Column("rate_nanos", INT, server_default="0", nullable=False),
        sa.Column("rate_per", INT, server_default="1", nullable=False),
        sa.Column("until_at", INT, nullable=True),
        sa.Column("stalled_at", INT, nullable=True),
        sa.Column("look_at", INT, nullable=True),
        sa.Column("due_at", INT, nullable=True),
        sa.Column("renew_at", INT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("ready >= 0 AND desired >= 0 AND total >= 0", name=op.f("ck_replicas_signs")),
        sa.PrimaryKeyConstraint("account", "deployment", name=op.f("pk_replicas")),
        sqlite_strict=True,
    )
    where = sa.text("desired > 0")
    op.create_index(op.f("ix_replicas_desired"), "replicas", ["desired"], sqlite_where=where, postgresql_where=where)
    where = sa.text("due_at IS NOT NULL")
    op.create_index(op.f("ix_replicas_due_at"), "replicas", ["due_at"], sqlite_where=where, postgresql_where=where)
    where = sa.text("renew_at IS NOT NULL")
    op.create_index(op.f("ix_replicas_renew_at"), "replicas", ["renew_at"], sqlite_where=where, postgresql_where=where)
    where = sa.text("stalled_at IS NOT NULL")
    op.create_index(
        op.f("ix_replicas_stalled_at"), "replicas", ["stalled_at"], sqlite_where=where, postgresql_where=where
    )
    op.create_table(
        "slices",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("deployment", TEXT, autoincrement=False, nullable=False),
        sa.Column("n", INT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("version", INT, nullable=False),
        sa.Column("month", TEXT, nullable=False),
        sa.Column("start_at", INT, nullable=False),
        sa.Column("end_at", INT, nullable=False),
        sa.Column("replicas", INT, nullable=False),
        sa.Column("gpus", INT, nullable=False),
        sa.Column("reserved", INT, nullable=False),
        sa.Column("before", INT, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.Column("state", TEXT, server_default="open", nullable=False),
        sa.Column("ended_at", INT, nullable=True),
        sa.Column("cost", INT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("state IN ('open', 'billed')", name=op.f("ck_slices_state")),
        sa.CheckConstraint(
            "start_at <= end_at AND gpus >= 0 AND reserved >= 0 AND amount >= 0", name=op.f("ck_slices_bounds")
        ),
        sa.PrimaryKeyConstraint("account", "deployment", "n", name=op.f("pk_slices")),
        sqlite_strict=True,
    )
    where = sa.text("state = 'open'")
    op.create_index(op.f("ix_slices_account"), "slices", ["account"], sqlite_where=where, postgresql_where=where)
    op.create_table(
        "reservations",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("accelerator", TEXT, nullable=False),
        sa.Column("gpus", INT, nullable=False),
        sa.Column("start_at", INT, nullable=False),
        sa.Column("end_at", INT, nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("ended_at", INT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_reservations")),
        sqlite_strict=True,
    )
    op.create_table(
        "gpu_quotas",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("accelerator", TEXT, autoincrement=False, nullable=False),
        sa.Column("gpus", INT, nullable=False),
        sa.Column("updated_at", INT, nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "accelerator", name=op.f("pk_gpu_quotas")),
        sqlite_strict=True,
    )
