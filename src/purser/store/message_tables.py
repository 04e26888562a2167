"""The tables of what is told: the outbox, webhook endpoints, alerts, and what an account wants to be told."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index

from purser.store.columns import Blob, Int, few, integer, key, sealed, text

# What is to be told: written with the fact that it tells. `due_at` and `written_at` are wall-clock time.
outbox = sealed(
    "outbox",
    key("account"),
    key("id"),
    *map(text, ("fact", "kind", "target", "topic", "subject", "body")),
    integer("private", default=0),
    *map(integer, ("created_at", "written_at")),
    text("state", default="pending"),
    integer("attempts", default=0),
    integer("due_at", nullable=True),
    integer("sent_at", nullable=True),
    integer("status", nullable=True),
    text("failure", nullable=True),
    CheckConstraint("kind IN ('mail', 'webhook')", name="kind"),
    CheckConstraint("state IN ('pending', 'sent', 'given up')", name="state"),
    Index(None, "account", "fact", unique=True),
    Index(None, "account", "target"),
    few("kind", "due_at", "id", "account", where="due_at IS NOT NULL"),
    few("written_at", where="due_at IS NULL"),
)

webhook_endpoints = sealed(
    "webhook_endpoints",
    key("account"),
    key("id"),
    text("url"),
    text("topics"),
    Column("secret", Blob, nullable=False),
    integer("created_at"),
    integer("disabled_at", nullable=True),
    integer("removed_at", nullable=True),
)

# What of a month's spend was told, once each: thresholds, a share of the limit (`of_limit`), or a forecast.
alerts = sealed(
    "alerts",
    key("account"),
    key("month"),
    key("kind"),
    key("amount", Int),
    integer("of_limit", nullable=True),
    *map(integer, ("used", "at")),
    CheckConstraint("kind IN ('spend', 'forecast')", name="kind"),
)

notifications = sealed(
    "notifications",
    key("account"),
    text("thresholds", default=""),
    integer("forecast", default=0),
    integer("updated_at"),
)
