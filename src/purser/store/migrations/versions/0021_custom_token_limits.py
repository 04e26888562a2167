"""Limits of tokens a minute that an operator sets for an account.

Revision ID: 0021
Revises: 0020
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Add the table; nothing is set yet."""
    op.create_table(
        "custom_token_limits",
        *(sa.Column(name, TEXT, autoincrement=False, nullable=False) for name in ("account", "model", "metric")),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("tokens", INT, nullable=True),
        sa.Column("set_at", INT, nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("metric IN ('prompt', 'uncached', 'generated')", name=op.f("ck_custom_token_limits_metric")),
        sa.CheckConstraint("kind IN ('fixed', 'unlimited', 'adaptive')", name=op.f("ck_custom_token_limits_kind")),
        sa.CheckConstraint(
            "(kind = 'fixed') = (tokens IS NOT NULL) AND (tokens IS NULL OR tokens > 0)",
            name=op.f("ck_custom_token_limits_tokens"),
        ),
        sa.PrimaryKeyConstraint("account", "model", "metric", name=op.f("pk_custom_token_limits")),
        sqlite_strict=True,
    )
