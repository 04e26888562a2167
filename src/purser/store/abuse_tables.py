"""The tables of abuse guards: rules, flags on accounts, accounts still to be judged, and sign-up credit."""

from __future__ import annotations

import sqlalchemy as sa
from sqlalchemy import CheckConstraint, Index

from purser.store.columns import few, integer, key, sealed, text

_STANDS = sa.text("ended_at IS NULL")

# Rules are of no account; one that has ended stays for what it did.
abuse_rules = sealed(
    "abuse_rules",
    key("id"),
    *map(text, ("type", "target", "designation", "reason")),
    integer("created_at"),
    integer("ended_at", nullable=True),
    CheckConstraint("type IN ('DOMAIN', 'IP', 'ACCOUNT')", name="type"),
    CheckConstraint("designation IN ('ALLOWED', 'BLOCKED', 'SUSPICIOUS')", name="designation"),
    Index("ix_abuse_rules_target", "type", "target", unique=True, sqlite_where=_STANDS, postgresql_where=_STANDS),
)

# What a person of the operator's is to look at: `subject` is an account, and these rows are not among its own data.
account_flags = sealed(
    "account_flags",
    key("subject"),
    key("kind"),
    text("why"),
    text("rule", nullable=True),
    integer("at"),
    integer("cleared_at", nullable=True),
    few("at", where="cleared_at IS NULL"),
)

# Accounts that a change of the rules may block, and that were too many to be judged in the same transaction.
abuse_due = sealed("abuse_due", key("subject"))

# Sign-up credit that an account did not get when it was opened: it waits for a card or for a person, was given or not.
signup_credits = sealed(
    "signup_credits",
    key("account"),
    integer("amount"),
    text("state"),
    *map(integer, ("at", "changed_at")),
    CheckConstraint("state IN ('awaiting_card', 'awaiting_review', 'given', 'dropped')", name="state"),
)

# Cards by a keyed hash of the provider's fingerprint: the account that has had sign-up credit with each.
credited_cards = sealed("credited_cards", key("digest"), text("account"), integer("at"))
