"""What each user and key has spent, by the day; indexes by which the outbox finds what is due and what is over.

Revision ID: 0013
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """New tables, filled by whoever does what is due, and other indexes; what there is stays as it is."""
    op.create_table(
        "spent",
        *(sa.Column(name, TEXT, autoincrement=False, nullable=False) for name in ("account", "kind", "subject")),
        sa.Column("day_at", INT, autoincrement=False, nullable=False),
        sa.Column("counted", TEXT, autoincrement=False, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.PrimaryKeyConstraint("account", "kind", "subject", "day_at", "counted", name=op.f("pk_spent")),
        sqlite_strict=True,
    )
    op.create_table(
        "spent_through",
        sa.Column("writer", INT, autoincrement=False, nullable=False),
        sa.Column("seq", INT, nullable=False),
        sa.PrimaryKeyConstraint("writer", name=op.f("pk_spent_through")),
        sqlite_strict=True,
    )
    pending, ended = sa.text("due_at IS NOT NULL"), sa.text("due_at IS NULL")
    op.drop_index(op.f("ix_outbox_due_at"), "outbox")
    op.create_index(
        op.f("ix_outbox_kind_due_at_id_account"),
        "outbox",
        ["kind", "due_at", "id", "account"],
        sqlite_where=pending,
        postgresql_where=pending,
    )
    op.create_index(op.f("ix_outbox_written_at"), "outbox", ["written_at"], sqlite_where=ended, postgresql_where=ended)
