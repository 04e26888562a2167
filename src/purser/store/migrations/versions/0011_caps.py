"""Caps of users and groups.

Revision ID: 0011
Revises: 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Add the columns and tables; nobody is limited yet."""
    op.add_column("accounts", sa.Column("default_user_limit", INT, nullable=True))
    op.add_column("users", sa.Column("limit_override", INT, nullable=True))
    op.add_column("users", sa.Column("member_of", TEXT, server_default="", nullable=False))
    op.create_table(
        "usage_limit_tiers",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("limit_nanos", INT, nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("removed_at", INT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_usage_limit_tiers")),
        sqlite_strict=True,
    )
    op.create_table(
        "usage_limit_groups",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("tier", TEXT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_usage_limit_groups")),
        sqlite_strict=True,
    )
