"""The operator's people: their names and roles.

Revision ID: 0012
Revises: 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Add the columns; every operator's key there is so far is an owner's."""
    op.add_column("operators", sa.Column("name", TEXT, server_default="owner", nullable=False))
    op.add_column("operators", sa.Column("role", TEXT, server_default="owner", nullable=False))
