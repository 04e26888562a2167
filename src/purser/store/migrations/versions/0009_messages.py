"""Messages: the outbox, webhook endpoints, alerts that were told, and what an account wants to be told.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def _key(name: str, kind: object = TEXT) -> sa.Column[object]:
    return sa.Column(name, kind, autoincrement=False, nullable=False)  # type: ignore[arg-type]


def upgrade() -> None:
    """New tables; what there is stays as it is."""
    op.create_table(
        "outbox",
        _key("account"),
        _key("id"),
        *(sa.Column(name, TEXT, nullable=False) for name in "fact kind target topic subject body".split()),
        sa.Column("private", INT, server_default="0", nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("written_at", INT, nullable=False),
        sa.Column("state", TEXT, server_default="pending", nullable=False),
        sa.Column("attempts", INT, server_default="0", nullable=False),
        sa.Column("due_at", INT, nullable=True),
        sa.Column("sent_at", INT, nullable=True),
        sa.Column("status", INT, nullable=True),
        sa.Column("failure", TEXT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("kind IN ('mail', 'webhook')", name=op.f("ck_outbox_kind")),
        sa.CheckConstraint("state IN ('pending', 'sent', 'given up')", name=op.f("ck_outbox_state")),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_outbox")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_outbox_account_fact"), "outbox", ["account", "fact"], unique=True)
    op.create_index(op.f("ix_outbox_account_target"), "outbox", ["account", "target"])
    pending = sa.text("state = 'pending'")
    op.create_index(op.f("ix_outbox_due_at"), "outbox", ["due_at"], sqlite_where=pending, postgresql_where=pending)
    op.create_table(
        "webhook_endpoints",
        _key("account"),
        _key("id"),
        sa.Column("url", TEXT, nullable=False),
        sa.Column("topics", TEXT, nullable=False),
        sa.Column("secret", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("disabled_at", INT, nullable=True),
        sa.Column("removed_at", INT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_webhook_endpoints")),
        sqlite_strict=True,
    )
    op.create_table(
        "alerts",
        _key("account"),
        _key("month"),
        _key("kind"),
        _key("amount", INT),
        sa.Column("of_limit", INT, nullable=True),
        sa.Column("used", INT, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("kind IN ('spend', 'forecast')", name=op.f("ck_alerts_kind")),
        sa.PrimaryKeyConstraint("account", "month", "kind", "amount", name=op.f("pk_alerts")),
        sqlite_strict=True,
    )
    op.create_table(
        "notifications",
        _key("account"),
        sa.Column("thresholds", TEXT, server_default="", nullable=False),
        sa.Column("forecast", INT, server_default="0", nullable=False),
        sa.Column("updated_at", INT, nullable=False),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_notifications")),
        sqlite_strict=True,
    )
