"""Billing profiles, changes of the billing mode, and accounts that close.

Revision ID: 0016
Revises: 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Add the columns and tables; nobody has said or changed anything yet."""
    op.add_column("accounts", sa.Column("next_mode", TEXT, nullable=True))
    for column in ("next_mode_at", "closing_at", "closed_at"):
        op.add_column("accounts", sa.Column(column, INT, nullable=True))
    for column, where in (
        ("next_mode_at", sa.text("next_mode_at IS NOT NULL")),
        ("closing_at", sa.text("state = 'DELETING' AND closed_at IS NULL")),
    ):
        name = op.f(f"ix_accounts_{column}")
        op.create_index(name, "accounts", [column], unique=False, sqlite_where=where, postgresql_where=where)
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
    op.create_table(
        "mode_changes",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("n", INT, autoincrement=False, nullable=False),
        sa.Column("at", INT, nullable=False),
        *(sa.Column(name, TEXT, nullable=False) for name in ("until_month", "from_month", "was", "mode")),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "n", name=op.f("pk_mode_changes")),
        sqlite_strict=True,
    )
    # Processes of before know nothing of these columns: until the last of them has ended nobody's seals are relied on.
    op.execute("UPDATE writers SET seals = 0 WHERE state = 'open'")
