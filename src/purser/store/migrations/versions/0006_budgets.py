"""Budgets of keys, and which budgets a usage event counts toward.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Add the columns."""
    op.add_column("keys", sa.Column("budget", INT, nullable=True))
    op.add_column("keys", sa.Column("budget_period", TEXT, nullable=True))
    op.add_column("usage_events", sa.Column("budgets", TEXT, nullable=True))
