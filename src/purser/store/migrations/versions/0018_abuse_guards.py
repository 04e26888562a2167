"""Abuse rules, flags on accounts, and sign-up credit that waits or is counted by card.

Revision ID: 0018
Revises: 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does
STANDS = sa.text("ended_at IS NULL")
OPEN = sa.text("cleared_at IS NULL")


def _key(name: str) -> sa.Column[str]:
    return sa.Column(name, TEXT, autoincrement=False, nullable=False)


def _seal() -> sa.Column[bytes]:
    return sa.Column("seal", sa.LargeBinary(), nullable=True)


def upgrade() -> None:
    """Add the tables; there are no rules yet, and cards count from here on."""
    op.create_table(
        "abuse_rules",
        _key("id"),
        *(sa.Column(name, TEXT, nullable=False) for name in ("type", "target", "designation", "reason")),
        sa.Column("created_at", INT, nullable=False),
        sa.Column("ended_at", INT, nullable=True),
        _seal(),
        sa.CheckConstraint("type IN ('DOMAIN', 'IP', 'ACCOUNT')", name=op.f("ck_abuse_rules_type")),
        sa.CheckConstraint(
            "designation IN ('ALLOWED', 'BLOCKED', 'SUSPICIOUS')", name=op.f("ck_abuse_rules_designation")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_abuse_rules")),
        sqlite_strict=True,
    )
    op.create_index(
        op.f("ix_abuse_rules_target"),
        "abuse_rules",
        ["type", "target"],
        unique=True,
        sqlite_where=STANDS,
        postgresql_where=STANDS,
    )
    op.create_table(
        "account_flags",
        _key("subject"),
        _key("kind"),
        sa.Column("why", TEXT, nullable=False),
        sa.Column("rule", TEXT, nullable=True),
        sa.Column("at", INT, nullable=False),
        sa.Column("cleared_at", INT, nullable=True),
        _seal(),
        sa.PrimaryKeyConstraint("subject", "kind", name=op.f("pk_account_flags")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_account_flags_at"), "account_flags", ["at"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_table(
        "abuse_due",
        _key("subject"),
        _seal(),
        sa.PrimaryKeyConstraint("subject", name=op.f("pk_abuse_due")),
        sqlite_strict=True,
    )
    op.create_table(
        "signup_credits",
        _key("account"),
        sa.Column("amount", INT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("at", INT, nullable=False),
        sa.Column("changed_at", INT, nullable=False),
        _seal(),
        sa.CheckConstraint(
            "state IN ('awaiting_card', 'awaiting_review', 'given', 'dropped')", name=op.f("ck_signup_credits_state")
        ),
        sa.PrimaryKeyConstraint("account", name=op.f("pk_signup_credits")),
        sqlite_strict=True,
    )
    op.create_table(
        "credited_cards",
        _key("digest"),
        sa.Column("account", TEXT, nullable=False),
        sa.Column("at", INT, nullable=False),
        _seal(),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_credited_cards")),
        sqlite_strict=True,
    )
