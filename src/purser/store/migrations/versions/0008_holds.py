"""Holds: money set aside through the API, by whom it is held and until when.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Make the table anew: nothing was ever written to the one there was."""
    op.drop_table("holds")
    op.create_table(
        "holds",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("version", INT, nullable=False),
        sa.Column("month", TEXT, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.Column("placed_at", INT, nullable=False),
        sa.Column("expires_at", INT, nullable=False),
        sa.Column("state", TEXT, server_default="open", nullable=False),
        sa.Column("cost", INT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("state IN ('open', 'settled', 'void', 'expired')", name=op.f("ck_holds_state")),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_holds")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_holds_id"), "holds", ["id"], unique=True)
    op.create_index(op.f("ix_holds_state_expires_at"), "holds", ["state", "expires_at"])
