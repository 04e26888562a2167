"""What a price version named, and when rows were made; batch rates for prices of before there were any.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

# What older versions named was not kept: it is taken to be what they changed of the version in force before them.
_NAMED = """
INSERT INTO price_changes (version, model)
SELECT DISTINCT r.version, r.model FROM rates r JOIN price_books b ON b.version = r.version
WHERE NOT EXISTS (
    SELECT 1 FROM rates p WHERE p.model = r.model AND p.unit = r.unit AND p.nanos = r.nanos AND p.per = r.per
    AND p.version = (
        SELECT q.version FROM price_books q WHERE q.version < b.version AND q.effective_at < b.effective_at
        ORDER BY q.effective_at DESC, q.version DESC LIMIT 1))
"""
# In a batch every token costs half (P4).
_BATCH = """
INSERT INTO rates (version, model, unit, nanos, per)
SELECT r.version, r.model, 'batch_' || r.unit, r.nanos, 2 * r.per FROM rates r
WHERE r.unit IN ('input_tokens', 'cached_input_tokens', 'output_tokens') AND NOT EXISTS (
    SELECT 1 FROM rates b WHERE b.version = r.version AND b.model = r.model AND b.unit = 'batch_' || r.unit)
"""


def upgrade() -> None:
    """Create the table and the columns, and fill them."""
    op.create_table(
        "price_changes",
        sa.Column("version", INT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("version", "model", name=op.f("pk_price_changes")),
        sqlite_strict=True,
    )
    op.execute(_NAMED)
    op.execute(_BATCH)
    for table in ("accounts", "users"):
        op.add_column(table, sa.Column("made", TEXT, server_default="", nullable=False))
