"""Request rates: what the store counts itself, and the shares of writers.

Revision ID: 0014
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0012"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does
WANTED = sa.text("wanted_at IS NOT NULL")


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "rate_windows",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("bucket", TEXT, autoincrement=False, nullable=False),
        sa.Column("seen", TEXT, server_default="[]", nullable=False),
        sa.Column("wanted_at", INT, nullable=True),
        sa.PrimaryKeyConstraint("account", "bucket", name=op.f("pk_rate_windows")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_rate_windows_wanted_at"),
        "rate_windows",
        ["wanted_at"],
        sqlite_where=WANTED,
        postgresql_where=WANTED,
    )
    op.create_table(
        "rate_shares",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("bucket", TEXT, autoincrement=False, nullable=False),
        sa.Column("writer", INT, autoincrement=False, nullable=False),
        sa.Column("share", INT, nullable=False),
        sa.Column("free_at", INT, nullable=True),
        sa.CheckConstraint("share > 0", name=op.f("ck_rate_shares_share")),
        sa.PrimaryKeyConstraint("account", "bucket", "writer", name=op.f("pk_rate_shares")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_rate_shares_writer"), "rate_shares", ["writer"])
