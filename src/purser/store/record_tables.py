"""The table of records of models and datasets: what accounts write down about theirs."""

from __future__ import annotations

from sqlalchemy import CheckConstraint

from purser.store.columns import integer, key, sealed, text

# `kind` is a dataset's format, `fields` is JSON, `created_by` a user of the account ("": the operator).
records = sealed(
    "records",
    key("account"),
    key("collection"),
    key("id"),
    text("kind"),
    text("display_name", default=""),
    integer("example_count", nullable=True),
    integer("token_count", nullable=True),
    text("fields", default="{}"),
    text("created_by"),
    integer("created_at"),
    integer("updated_at"),
    text("made"),  # an id: sorts by when the row was made, also among those of one instant
    integer("removed_at", nullable=True),
    CheckConstraint("collection IN ('models', 'datasets')", name="collection"),
    CheckConstraint("example_count >= 0 AND token_count >= 0", name="counts"),
)
