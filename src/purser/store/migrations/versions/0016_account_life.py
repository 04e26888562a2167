"""Billing profiles.

Revision ID: 0016
Revises: 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0012"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Add the column and the table; nobody has said anything yet."""
    op.add_column("invoices", sa.Column("billed_to", TEXT, server_default="", nullable=False))
    op.create_table(
        "billing_profiles",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        *(
            sa.Column(name, TEXT, server_default="", nullable=False)
            for name in ("name", "line1", "line2", "city", "region", "postal_code", "country", "tax_id")
        ),
        sa.Column("updated_at", INT, nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_billing_profiles")),
        sqlite_strict=True,
    )
