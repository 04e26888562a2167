"""People: links sent by mail, invitations, sign-ups and ended sessions; users are found by their addresses.

Revision ID: 0015
Revises: 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

INT = sa.BigInteger().with_variant(sa.Integer(), "sqlite")  # STRICT tables know INTEGER only
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")  # compared byte by byte, as SQLite does


def _key(name: str) -> sa.Column[object]:
    return sa.Column(name, TEXT, autoincrement=False, nullable=False)


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, TEXT, nullable=False) for name in names]


def _ints(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, INT, nullable=False) for name in names]


def upgrade() -> None:
    """New tables; addresses that users have are written small, as people are known by them."""
    op.execute("UPDATE users SET email = lower(email), seal = NULL WHERE email <> lower(email)")
    op.create_index(op.f("ix_users_email"), "users", ["email"])
    op.create_table(
        "links",
        _key("id"),
        *_texts("purpose", "email", "client"),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        *_ints("created_at", "expires_at"),
        sa.Column("used_at", INT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_links")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_links_digest"), "links", ["digest"], unique=True)
    op.create_index(op.f("ix_links_email_created_at"), "links", ["email", "created_at"])
    op.create_index(op.f("ix_links_client_created_at"), "links", ["client", "created_at"])
    op.create_index(op.f("ix_links_created_at"), "links", ["created_at"])
    op.create_table(
        "invitations",
        _key("account"),
        _key("id"),
        *_texts("email", "role", "invited_by"),
        sa.Column("state", TEXT, server_default="pending", nullable=False),
        sa.Column("user", TEXT, nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        *_ints("created_at", "expires_at"),
        sa.Column("ended_at", INT, nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.CheckConstraint("state IN ('pending', 'accepted', 'revoked')", name=op.f("ck_invitations_state")),
        sa.PrimaryKeyConstraint("account", "id", name=op.f("pk_invitations")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_invitations_digest"), "invitations", ["digest"], unique=True)
    op.create_table(
        "signups",
        _key("kind"),
        _key("name"),
        *_texts("account"),
        *_ints("at"),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("kind", "name", name=op.f("pk_signups")),
        sqlite_strict=True,
    )
    op.create_table(
        "ended_sessions",
        _key("id"),
        *_ints("until"),
        sa.Column("seal", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ended_sessions")),
        sqlite_strict=True,
    )
    op.create_index(op.f("ix_ended_sessions_until"), "ended_sessions", ["until"])
