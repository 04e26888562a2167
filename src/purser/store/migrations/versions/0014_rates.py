"""Rates: what the store counts itself, the shares of writers, and the token limits of accounts.

Revision ID: 0014
Revises: 0013
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
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
    op.create_table(
        "token_limits",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, autoincrement=False, nullable=False),
        sa.Column("metric", TEXT, autoincrement=False, nullable=False),
        sa.Column("tokens", INT, nullable=False),
        sa.Column("changed_at", INT, nullable=False),
        sa.Column("known_since", INT, nullable=False),
        sa.Column("traffic_at", INT, nullable=False),
        sa.Column("minute_at", INT, nullable=False),
        sa.Column("used", INT, nullable=False),
        sa.Column("samples", TEXT, server_default="[]", nullable=False),
        sa.PrimaryKeyConstraint("account", "model", "metric", name=op.f("pk_token_limits")),
        sqlite_strict=True,
    )
