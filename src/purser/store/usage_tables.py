"""The tables of usage: what every request used and cost, summed by the hour, and what each user and key has spent."""

from __future__ import annotations

from sqlalchemy import Column, Index

from purser.store.columns import Blob, Int, integer, key, table, text

usage_events = table(
    "usage_events",
    key("account"),
    key("source"),
    key("id"),
    text("model"),
    text("user", nullable=True),
    text("key", nullable=True),
    integer("occurred_at"),
    integer("recorded_at"),
    text("month"),
    text("bill_month"),
    integer("version"),
    text("quantities"),
    integer("cost"),
    integer("held"),
    integer("clamped", default=0),
    integer("estimated", default=0),
    text("state", default="settled"),
    Column("digest", Blob, nullable=False),
    text("txn", nullable=True),
    integer("writer"),
    integer("seq"),
    text("budgets", nullable=True),
    Index(None, "account", "bill_month", "model"),
    Index(None, "account", "occurred_at"),
    Index(None, "writer", "seq"),
)

rollups = table(
    "rollups",
    key("account"),
    key("bill_month"),
    key("month"),
    key("hour_at", Int),
    key("model"),
    key("unit"),
    key("version", Int),
    key("writer", Int),
    integer("quantity"),
    integer("amount"),
    integer("events"),
    Index(None, "bill_month"),
)

# What the requests of a user or key cost by the day, by the budget that counts them; it follows the events.
spent = table(
    "spent",
    key("account"),
    key("kind"),
    key("subject"),
    key("day_at", Int),
    key("counted"),
    integer("amount"),
)

# How far each writer's events are in `spent`.
spent_through = table("spent_through", key("writer", Int), integer("seq"))
