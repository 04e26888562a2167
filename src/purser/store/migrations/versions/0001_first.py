"""The first tables.

Revision ID: 0001
Revises:
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def upgrade() -> None:
    """Create every table of the first version."""
    op.create_table(
        "accounts",
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("email", TEXT, nullable=False),
        sa.Column("display_name", TEXT, server_default="", nullable=False),
        sa.Column("state", TEXT, server_default="READY", nullable=False),
        sa.Column("billing_mode", TEXT, nullable=False),
        sa.Column("account_type", TEXT, server_default="ACCOUNT_TYPE_UNSPECIFIED", nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("updated_at", INT, nullable=False),
        sa.Column("unlimited", INT, server_default="0", nullable=False),
        sa.Column("limit_nanos", INT, nullable=True),
        sa.Column("limit_effective_at", INT, nullable=True),
        sa.Column("blocked_reason", TEXT, nullable=True),
        sa.Column("closed_through", TEXT, nullable=True),
        sa.Column("next_expiry_at", INT, nullable=True),
        sa.Column("invoices", INT, server_default="0", nullable=False),
        sa.Column("default_payment_method", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_accounts_created_at"), "accounts", ["created_at"], unique=False)
    op.create_table(
        "balances",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("ledger", TEXT, autoincrement=False, nullable=False),
        sa.Column("writer", INT, autoincrement=False, nullable=False),
        sa.Column("debits", INT, server_default="0", nullable=False),
        sa.Column("credits", INT, server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("account", "ledger", "writer", name=op.f("pk_balances")),
        sqlite_strict=True,
    )
    op.create_table(
        "causes",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("cause", TEXT, autoincrement=False, nullable=False),
        sa.Column("since_at", INT, autoincrement=False, nullable=False),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("until_at", INT, nullable=True),
        sa.PrimaryKeyConstraint("account", "cause", "since_at", name=op.f("pk_causes")),
        sqlite_strict=True,
    )
    op.create_table(
        "changes",
        sa.Column("n", INT, autoincrement=True, nullable=False),
        sa.Column("account", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("n", name=op.f("pk_changes")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
    op.create_table(
        "commits",
        sa.Column("writer", INT, autoincrement=False, nullable=False),
        sa.Column("n", INT, autoincrement=False, nullable=False),
        sa.Column("seq", INT, nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.PrimaryKeyConstraint("writer", "n", name=op.f("pk_commits")),
        sqlite_strict=True,
    )
    op.create_table(
        "grants",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("granted", INT, nullable=False),
        sa.Column("remaining", INT, nullable=False),
        sa.Column("lapsed", INT, server_default="0", nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("expires_at", INT, nullable=True),
        sa.Column("source", TEXT, server_default="", nullable=False),
        sa.CheckConstraint(
            "remaining >= 0 AND lapsed >= 0 AND remaining + lapsed <= granted", name=op.f("ck_grants_bounds")
        ),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_grants")),
        sqlite_strict=True,
    )
    op.create_table(
        "headroom",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, autoincrement=False, nullable=False),
        sa.Column("window", TEXT, autoincrement=False, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.Column("enforced", INT, nullable=False),
        sa.Column("taken", INT, server_default="0", nullable=False),
        sa.Column("used", INT, server_default="0", nullable=False),
        sa.Column("over", INT, server_default="0", nullable=False),
        sa.Column("unbilled", INT, server_default="0", nullable=False),
        sa.Column("wanted_at", INT, nullable=True),
        sa.Column("refused", INT, server_default="0", nullable=False),
        sa.CheckConstraint("enforced = 0 OR taken <= amount + over", name=op.f("ck_headroom_a1")),
        sa.CheckConstraint("taken >= 0 AND used >= 0 AND over >= 0", name=op.f("ck_headroom_signs")),
        sa.PrimaryKeyConstraint("account", "kind", "window", name=op.f("pk_headroom")),
        sqlite_strict=True,
    )
    op.create_table(
        "holds",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.Column("expires_at", INT, nullable=False),
        sa.Column("state", TEXT, server_default="open", nullable=False),
        sa.Column("cost", INT, nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_holds")),
        sqlite_strict=True,
    )
    op.create_table(
        "idempotency",
        sa.Column("scope", TEXT, autoincrement=False, nullable=False),
        sa.Column("key", TEXT, autoincrement=False, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("status", INT, nullable=False),
        sa.Column("answer", TEXT, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.PrimaryKeyConstraint("scope", "key", name=op.f("pk_idempotency")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_idempotency_at"), "idempotency", ["at"], unique=False)
    op.create_table(
        "invoice_lines",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("invoice", TEXT, autoincrement=False, nullable=False),
        sa.Column("n", INT, autoincrement=False, nullable=False),
        sa.Column("month", TEXT, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("unit", TEXT, nullable=False),
        sa.Column("quantity", INT, nullable=False),
        sa.Column("rate_nanos", INT, nullable=False),
        sa.Column("rate_per", INT, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.PrimaryKeyConstraint("account", "invoice", "n", name=op.f("pk_invoice_lines")),
        sqlite_strict=True,
    )
    op.create_table(
        "invoices",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("number", TEXT, nullable=False),
        sa.Column("type", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("month", TEXT, nullable=False),
        sa.Column("subtotal", INT, nullable=False),
        sa.Column("credits_applied", INT, nullable=False),
        sa.Column("tax", INT, server_default="0", nullable=False),
        sa.Column("carried_in", INT, nullable=False),
        sa.Column("carried_out", INT, nullable=False),
        sa.Column("total", INT, nullable=False),
        sa.Column("payments_applied", INT, nullable=False),
        sa.Column("amount_due", INT, nullable=False),
        sa.Column("paid", INT, server_default="0", nullable=False),
        sa.Column("issued_at", INT, nullable=False),
        sa.Column("due_at", INT, nullable=False),
        sa.Column("paid_at", INT, nullable=True),
        sa.Column("attempts", INT, server_default="0", nullable=False),
        sa.Column("next_attempt_at", INT, nullable=True),
        sa.Column("payment", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_invoices")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_invoices_account_number"), "invoices", ["account", "number"], unique=True)
    op.create_index(op.f("ix_invoices_account_type_month"), "invoices", ["account", "type", "month"], unique=False)
    op.create_index(op.f("ix_invoices_next_attempt_at"), "invoices", ["next_attempt_at"], unique=False)
    op.create_table(
        "keys",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("user", TEXT, nullable=False),
        sa.Column("display_name", TEXT, nullable=False),
        sa.Column("prefix", TEXT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("expires_at", INT, nullable=True),
        sa.Column("revoked_at", INT, nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_keys")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_keys_digest"), "keys", ["digest"], unique=True)
    op.create_table(
        "leases",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, autoincrement=False, nullable=False),
        sa.Column("window", TEXT, autoincrement=False, nullable=False),
        sa.Column("owner", TEXT, autoincrement=False, nullable=False),
        sa.Column("share", INT, nullable=False),
        sa.Column("used", INT, server_default="0", nullable=False),
        sa.CheckConstraint("0 <= used AND used <= share", name=op.f("ck_leases_share")),
        sa.PrimaryKeyConstraint("account", "kind", "window", "owner", name=op.f("pk_leases")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_leases_owner"), "leases", ["owner"], unique=False)
    op.create_table(
        "meta",
        sa.Column("name", TEXT, autoincrement=False, nullable=False),
        sa.Column("value", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_meta")),
        sqlite_strict=True,
    )
    op.create_table(
        "operators",
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("prefix", TEXT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("revoked_at", INT, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operators")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_operators_digest"), "operators", ["digest"], unique=True)
    op.create_table(
        "payment_methods",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("token", TEXT, nullable=False),
        sa.Column("brand", TEXT, nullable=False),
        sa.Column("last4", TEXT, nullable=False),
        sa.Column("exp_month", INT, nullable=False),
        sa.Column("exp_year", INT, nullable=False),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("removed_at", INT, nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_payment_methods")),
        sqlite_strict=True,
    )
    op.create_table(
        "payments",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("invoice", TEXT, nullable=True),
        sa.Column("method", TEXT, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("ended_at", INT, nullable=True),
        sa.Column("provider_id", TEXT, nullable=True),
        sa.Column("failure", TEXT, nullable=True),
        sa.Column("allocation", TEXT, nullable=True),
        sa.Column("receipt", TEXT, nullable=True),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_payments")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_payments_state"), "payments", ["state"], unique=False)
    op.create_table(
        "postings",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("key", TEXT, autoincrement=False, nullable=False),
        sa.Column("n", INT, autoincrement=False, nullable=False),
        sa.Column("ledger", TEXT, nullable=False),
        sa.Column("side", TEXT, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.CheckConstraint("side IN ('D', 'C')", name=op.f("ck_postings_side")),
        sa.CheckConstraint("amount > 0", name=op.f("ck_postings_amount")),
        sa.PrimaryKeyConstraint("account", "key", "n", name=op.f("pk_postings")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_postings_account_ledger"), "postings", ["account", "ledger"], unique=False)
    op.create_table(
        "price_books",
        sa.Column("version", INT, autoincrement=False, nullable=False),
        sa.Column("effective_at", INT, nullable=False),
        sa.Column("published_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("version", name=op.f("pk_price_books")),
        sqlite_strict=True,
    )
    op.create_table(
        "rates",
        sa.Column("version", INT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, autoincrement=False, nullable=False),
        sa.Column("unit", TEXT, autoincrement=False, nullable=False),
        sa.Column("nanos", INT, nullable=False),
        sa.Column("per", INT, nullable=False),
        sa.PrimaryKeyConstraint("version", "model", "unit", name=op.f("pk_rates")),
        sqlite_strict=True,
    )
    op.create_table(
        "rollups",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("bill_month", TEXT, autoincrement=False, nullable=False),
        sa.Column("month", TEXT, autoincrement=False, nullable=False),
        sa.Column("hour_at", INT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, autoincrement=False, nullable=False),
        sa.Column("unit", TEXT, autoincrement=False, nullable=False),
        sa.Column("version", INT, autoincrement=False, nullable=False),
        sa.Column("writer", INT, autoincrement=False, nullable=False),
        sa.Column("quantity", INT, nullable=False),
        sa.Column("amount", INT, nullable=False),
        sa.Column("events", INT, nullable=False),
        sa.PrimaryKeyConstraint(
            "account", "bill_month", "month", "hour_at", "model", "unit", "version", "writer", name=op.f("pk_rollups")
        ),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_rollups_bill_month"), "rollups", ["bill_month"], unique=False)
    op.create_table(
        "transactions",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("key", TEXT, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("corrects", TEXT, nullable=True),
        sa.Column("writer", INT, nullable=False),
        sa.Column("seq", INT, nullable=False),
        sa.PrimaryKeyConstraint("account", "key", name=op.f("pk_transactions")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_transactions_writer_seq"), "transactions", ["writer", "seq"], unique=False)
    op.create_table(
        "usage_events",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("source", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("model", TEXT, nullable=False),
        sa.Column("user", TEXT, nullable=True),
        sa.Column("key", TEXT, nullable=True),
        sa.Column("occurred_at", INT, nullable=False),
        sa.Column("recorded_at", INT, nullable=False),
        sa.Column("month", TEXT, nullable=False),
        sa.Column("bill_month", TEXT, nullable=False),
        sa.Column("version", INT, nullable=False),
        sa.Column("quantities", TEXT, nullable=False),
        sa.Column("cost", INT, nullable=False),
        sa.Column("held", INT, nullable=False),
        sa.Column("clamped", INT, server_default="0", nullable=False),
        sa.Column("estimated", INT, server_default="0", nullable=False),
        sa.Column("state", TEXT, server_default="settled", nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("txn", TEXT, nullable=True),
        sa.Column("writer", INT, nullable=False),
        sa.Column("seq", INT, nullable=False),
        sa.PrimaryKeyConstraint("account", "source", "id", name=op.f("pk_usage_events")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_usage_events_account_bill_month_model"),
        "usage_events",
        ["account", "bill_month", "model"],
        unique=False,
    )
    op.create_index(
        op.f("ix_usage_events_account_occurred_at"), "usage_events", ["account", "occurred_at"], unique=False
    )
    op.create_index(op.f("ix_usage_events_writer_seq"), "usage_events", ["writer", "seq"], unique=False)
    op.create_table(
        "users",
        sa.Column("account", TEXT, autoincrement=False, nullable=False),
        sa.Column("id", TEXT, autoincrement=False, nullable=False),
        sa.Column("email", TEXT, server_default="", nullable=False),
        sa.Column("display_name", TEXT, server_default="", nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("service_account", INT, server_default="0", nullable=False),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("updated_at", INT, nullable=False),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_users")),
        sqlite_strict=True,
    )
    op.create_table(
        "writers",
        sa.Column("id", INT, autoincrement=True, nullable=False),
        sa.Column("host", TEXT, nullable=False),
        sa.Column("pid", INT, nullable=False),
        sa.Column("seq", INT, server_default="0", nullable=False),
        sa.Column("n", INT, server_default="0", nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.Column("heard_at", INT, nullable=False),
        sa.Column("state", TEXT, server_default="open", nullable=False),
        sa.Column("unbilled", INT, server_default="0", nullable=False),
        sa.CheckConstraint("state IN ('open', 'closed')", name=op.f("ck_writers_state")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_writers")),
        sqlite_autoincrement=True,
        sqlite_strict=True,
    )
