"""The tables of what an account is beside its row: to whom its bills are made out, how it paid when, and its caps."""

from __future__ import annotations

from sqlalchemy import CheckConstraint

from purser.store.columns import Int, integer, key, sealed, text

# To whom invoices are made out; "" for what is not given.
billing_profiles = sealed(
    "billing_profiles",
    key("account"),
    *(text(name, default="") for name in ("name", "line1", "line2", "city", "region", "postal_code")),
    text("country", default=""),
    text("tax_id", default=""),
    integer("updated_at"),
)

# From when on an account paid in another billing mode, and in which one before: `was` up to and within `until_month`,
# `mode` from within `from_month` on, both the same where the change came in the midst of one.
mode_changes = sealed(
    "mode_changes",
    key("account"),
    key("n", Int),
    integer("at"),
    *map(text, ("until_month", "from_month", "was", "mode")),
)

usage_limit_tiers = sealed(
    "usage_limit_tiers",
    key("account"),
    key("id"),
    integer("limit_nanos"),
    integer("created_at"),
    integer("removed_at", nullable=True),
)

# What users asked for beyond their cap, and what became of it; amounts are nano-dollars a month.
limit_requests = sealed(
    "limit_requests",
    key("account"),
    key("id"),
    text("user"),
    integer("requested"),
    text("reason", default=""),
    text("state", default="PENDING"),
    integer("created_at"),
    integer("decided_at", nullable=True),
    text("decided_by", nullable=True),
    integer("approved", nullable=True),
    text("answer", default=""),
    CheckConstraint("state IN ('PENDING', 'APPROVED', 'REJECTED')", name="state"),
)

usage_limit_groups = sealed("usage_limit_groups", key("account"), key("id"), text("tier", nullable=True))
