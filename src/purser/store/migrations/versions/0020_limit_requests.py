"""Users ask for more than their cap.

Revision ID: 0020
Revises: 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Add the table; nobody has asked yet."""
    op.create_table(
        "limit_requests",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("user", TEXT, nullable=False),
        sa.Column("requested", INT, nullable=False),
        sa.Column("reason", TEXT, server_default="", nullable=False),
        sa.Column("state", TEXT, server_default="PENDING", nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("decided_at", INT, nullable=True),
        sa.Column("decided_by", TEXT, nullable=True),
        sa.Column("approved", INT, nullable=True),
        sa.Column("answer", TEXT, server_default="", nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("state IN ('PENDING', 'APPROVED', 'REJECTED')", name=op.f("ck_limit_requests_state")),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_limit_requests")),
        sqlite_strict=True,
    )
