"""The tables of credit codes: what operators offer, who has redeemed it, and attempts that failed."""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index

from purser.store.columns import Blob, integer, key, sealed, text

# Codes are of no account; what is kept of one is a digest, and how it begins.
credit_codes = sealed(
    "credit_codes",
    key("id"),
    text("display_name", default=""),
    text("begins"),
    Column("digest", Blob, nullable=False),
    *map(integer, ("amount", "redemptions")),
    integer("redeemed", default=0),
    integer("created_at"),
    *(integer(name, nullable=True) for name in ("expires_at", "credit_days", "ended_at")),
    CheckConstraint("redeemed >= 0 AND redeemed <= redemptions", name="bounds"),
    Index(None, "digest", unique=True),
)

# `credit` is the grant that an account got.
code_redemptions = sealed(
    "code_redemptions",
    key("account"),
    key("code"),
    text("credit"),
    *map(integer, ("amount", "at")),
    Index(None, "code"),
)

# Attempts of an account that failed, by the wall clock; they are forgotten when they count no more.
code_attempts = sealed("code_attempts", key("account"), key("id"), integer("at"))
