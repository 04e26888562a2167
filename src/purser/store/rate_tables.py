"""The tables of rates: what the store counts itself, limits that move or are set, and what each writer has (Q1, Q2)."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Index

from purser.store.columns import Int, few, integer, key, sealed, table, text

# `bucket` is what is counted: the account's requests, or the tokens of one metric of one model. `seen` are the
# instants of the last minute that are counted here, as JSON.
rate_windows = table(
    "rate_windows",
    key("account"),
    key("bucket"),
    text("seen", default="[]"),
    integer("wanted_at", nullable=True),
    few("wanted_at", where="wanted_at IS NOT NULL"),
)

# How many tokens a minute an account may use of a model (see core's adaptive): `samples` as JSON, instants of billing.
token_limits = table(
    "token_limits",
    key("account"),
    key("model"),
    key("metric"),
    *map(integer, ("tokens", "changed_at", "known_since", "traffic_at", "minute_at", "used")),
    text("samples", default="[]"),
)

# What an operator has set instead, of a model or of all ("*"): so many tokens, none, or ('adaptive') nothing any more.
custom_token_limits = sealed(
    "custom_token_limits",
    key("account"),
    key("model"),
    key("metric"),
    text("kind"),
    integer("tokens", nullable=True),
    integer("set_at"),
    CheckConstraint("metric IN ('prompt', 'uncached', 'generated')", name="metric"),
    CheckConstraint("kind IN ('fixed', 'unlimited', 'adaptive')", name="kind"),
    CheckConstraint("(kind = 'fixed') = (tokens IS NOT NULL) AND (tokens IS NULL OR tokens > 0)", name="tokens"),
)

# What a writer may let through in any minute. `free_at` is when the share of a closed one counts no more.
rate_shares = table(
    "rate_shares",
    key("account"),
    key("bucket"),
    key("writer", Int),
    integer("share"),
    integer("free_at", nullable=True),
    CheckConstraint("share > 0", name="share"),
    Index(None, "writer"),
)
