"""Indexes for what is looked for every second: credit that expires, what is wanted, open or failed.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Create the indexes."""
    op.create_index(op.f("ix_accounts_next_expiry_at"), "accounts", ["next_expiry_at"], unique=False)
    wanted, opened, failed = (
        sa.text("wanted_at IS NOT NULL"),
        sa.text("until_at IS NULL"),
        sa.text("state = 'FAILED'"),
    )
    op.create_index(
        op.f("ix_invoices_issued_at"),
        "invoices",
        ["issued_at"],
        unique=False,
        sqlite_where=failed,
        postgresql_where=failed,
    )
    op.create_index(
        op.f("ix_headroom_wanted_at"),
        "headroom",
        ["wanted_at"],
        unique=False,
        sqlite_where=wanted,
        postgresql_where=wanted,
    )
    op.create_index(
        op.f("ix_causes_cause"), "causes", ["cause"], unique=False, sqlite_where=opened, postgresql_where=opened
    )
