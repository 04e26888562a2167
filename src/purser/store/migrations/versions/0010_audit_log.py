"""The audit log: who changed what, under the hash chain.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Make the table; what was changed before it is not known."""
    op.create_table(
        "audit_log",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("actor", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("operator", INT, nullable=False),
        sa.Column("method", TEXT, nullable=False),
        sa.Column("path", TEXT, nullable=False),
        sa.Column("request", TEXT, nullable=False),
        sa.Column("user_agent", TEXT, nullable=False),
        sa.Column("client", TEXT, nullable=False),
        sa.Column("changes", TEXT, nullable=False),
        sa.Column("writer", INT, nullable=False),
        sa.Column("seq", INT, nullable=False),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_audit_log")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_audit_log_id"), "audit_log", ["id"])
    op.create_index(op.f("ix_audit_log_writer_seq"), "audit_log", ["writer", "seq"])
