"""Seals: a checksum with every row whose values nothing else could tell again.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
SEALED = (
    "meta idempotency accounts users keys operators causes price_books price_changes rates headroom grants "
    "invoices invoice_lines payment_methods payments"
).split()


def upgrade() -> None:
    """Add the columns; a row that is there already is sealed when it changes next."""
    for table in SEALED:
        op.add_column(table, sa.Column("seal", sa.LargeBinary(), nullable=True))
    op.add_column("writers", sa.Column("seals", INT, server_default="0", nullable=False))
