"""Records of models and datasets.

Revision ID: 0022
Revises: 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Add the table; nothing is written down yet."""
    op.create_table(
        "records",
        *(sa.Column(name, TEXT, autoincrement=False, nullable=False) for name in ("account", "collection", "id")),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("display_name", TEXT, server_default="", nullable=False),
        sa.Column("example_count", INT, nullable=True),
        sa.Column("token_count", INT, nullable=True),
        sa.Column("fields", TEXT, server_default="{}", nullable=False),
        sa.Column("created_by", TEXT, nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("updated_at", INT, nullable=False),
        sa.Column("made", TEXT, nullable=False),
        sa.Column("removed_at", INT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("collection IN ('models', 'datasets')", name=op.f("ck_records_collection")),
        sa.CheckConstraint("example_count >= 0 AND token_count >= 0", name=op.f("ck_records_counts")),
        sa.PrimaryKeyConstraint("account", "collection", "id", name=op.f("pk_records")),
        sqlite_strict=True,
    )
