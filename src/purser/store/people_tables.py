"""The tables of people: links sent by mail, invitations, sign-ups, and sessions that have ended."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index

from purser.store.columns import Blob, integer, key, sealed, text

# Every link that was asked for, also where none was sent (purpose ""), which counts as well. Instants are wall-clock.
links = sealed(
    "links",
    key("id"),
    *map(text, ("purpose", "email", "client")),
    Column("digest", Blob, nullable=False),
    *map(integer, ("created_at", "expires_at")),
    integer("used_at", nullable=True),
    Index(None, "digest", unique=True),
    Index(None, "email", "created_at"),
    Index(None, "client", "created_at"),
    Index(None, "created_at"),
)

# `user` is who took it up. Instants are wall-clock.
invitations = sealed(
    "invitations",
    key("account"),
    key("id"),
    *map(text, ("email", "role", "invited_by")),
    text("state", default="pending"),
    text("user", nullable=True),
    Column("digest", Blob, nullable=False),
    *map(integer, ("created_at", "expires_at")),
    integer("ended_at", nullable=True),
    CheckConstraint("state IN ('pending', 'accepted', 'revoked')", name="state"),
    Index(None, "digest", unique=True),
)

# Who has signed up: each address once, and each mailbox once had the sign-up credit.
signups = sealed("signups", key("kind"), key("name"), text("account"), integer("at"))

# Signed out before their time: a copy of the cookie opens nothing either. Until then, by the wall clock.
ended_sessions = sealed("ended_sessions", key("id"), integer("until"), Index(None, "until"))
