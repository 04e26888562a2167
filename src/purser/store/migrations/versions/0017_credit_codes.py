"""Credit codes.

Revision ID: 0017
Revises: 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Add the tables; there are no codes yet."""
    op.create_table(
        "credit_codes",
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("display_name", TEXT, server_default="", nullable=False),
        sa.Column("begins", TEXT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.Column("redemptions", INT, nullable=False),
        sa.Column("redeemed", INT, server_default="0", nullable=False),
        sa.Column("created_at", INT, nullable=False),
        *(sa.Column(name, INT, nullable=True) for name in ("expires_at", "credit_days", "ended_at")),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("redeemed >= 0 AND redeemed <= redemptions", name=op.f("ck_credit_codes_bounds")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_codes")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_credit_codes_digest"), "credit_codes", ["digest"], unique=True)
    op.create_table(
        "code_redemptions",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("code", TEXT, autoincrement=False, nullable=False),
        sa.Column("credit", TEXT, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "code", name=op.f("pk_code_redemptions")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_code_redemptions_code"), "code_redemptions", ["code"], unique=False)
    op.create_table(
        "code_attempts",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_code_attempts")),
        sqlite_strict=True,
    )
