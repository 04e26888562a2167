"""The tables: every one keyed by account first, in the subset of SQL that SQLite and PostgreSQL share.

Amounts are integer nano-dollars, instants integer microseconds UTC, months "2026-03". Tables with `writer, seq`
columns are covered by their writer's hash chain (see writers), the rows of sealed tables each by a seal (see seals).
"""

from __future__ import annotations

from sqlalchemy import CheckConstraint, Column, Index

from purser.store.abuse_tables import abuse_due, abuse_rules, account_flags, credited_cards, signup_credits
from purser.store.account_tables import (
    billing_profiles,
    limit_requests,
    mode_changes,
    usage_limit_groups,
    usage_limit_tiers,
)
from purser.store.code_tables import code_attempts, code_redemptions, credit_codes
from purser.store.columns import Blob, Int, metadata
from purser.store.columns import few as _few
from purser.store.columns import integer as _int
from purser.store.columns import key as _key
from purser.store.columns import sealed as _sealed
from purser.store.columns import table as _table
from purser.store.columns import text as _text
from purser.store.deployment_tables import deployments, gpu_quotas, replicas, reservations, slices
from purser.store.message_tables import alerts, notifications, outbox, webhook_endpoints
from purser.store.people_tables import ended_sessions, invitations, links, signups
from purser.store.price_tables import price_books, price_changes, rates
from purser.store.rate_tables import custom_token_limits, rate_shares, rate_windows, token_limits
from purser.store.record_tables import records
from purser.store.usage_tables import rollups, spent, spent_through, usage_events

__all__ = [
    "abuse_due",
    "abuse_rules",
    "account_flags",
    "alerts",
    "billing_profiles",
    "code_attempts",
    "code_redemptions",
    "credit_codes",
    "credited_cards",
    "custom_token_limits",
    "deployments",
    "ended_sessions",
    "gpu_quotas",
    "invitations",
    "limit_requests",
    "links",
    "metadata",
    "mode_changes",
    "notifications",
    "outbox",
    "price_books",
    "price_changes",
    "rate_shares",
    "rate_windows",
    "rates",
    "records",
    "replicas",
    "reservations",
    "rollups",
    "signup_credits",
    "signups",
    "slices",
    "spent",
    "spent_through",
    "token_limits",
    "usage_events",
    "usage_limit_groups",
    "usage_limit_tiers",
    "webhook_endpoints",
]

# ── the desk itself ──────────────────────────────────────────────────────────────────────────────────────────────
meta = _sealed("meta", _key("name"), _text("value"))

writers = _table(
    "writers",
    Column("id", Int, primary_key=True, autoincrement=True),
    _text("host"),
    _int("pid"),
    _int("seq", default=0),
    _int("n", default=0),
    Column("hash", Blob, nullable=False),
    _int("heard_at"),
    _text("state", default="open"),
    _int("unbilled", default=0),
    _int("seals", default=0),  # whether its program writes seals
    CheckConstraint("state IN ('open', 'closed')", name="state"),
    sqlite_autoincrement=True,
)

commits = _table(
    "commits",
    _key("writer", Int),
    _key("n", Int),
    _int("seq"),
    Column("hash", Blob, nullable=False),
    _int("at"),
)

changes = _table(
    "changes",
    Column("n", Int, primary_key=True, autoincrement=True),
    _text("account"),
    sqlite_autoincrement=True,
)

idempotency = _sealed(
    "idempotency",
    _key("scope"),
    _key("key"),
    Column("digest", Blob, nullable=False),
    _int("status"),
    _text("answer"),
    _int("at"),
    Index(None, "at"),
)

# ── accounts and access ──────────────────────────────────────────────────────────────────────────────────────────
accounts = _sealed(
    "accounts",
    _key("id"),
    _text("email"),
    _text("display_name", default=""),
    _text("state", default="READY"),
    _text("billing_mode"),
    _text("account_type", default="ACCOUNT_TYPE_UNSPECIFIED"),
    _int("created_at"),
    _int("updated_at"),
    _int("unlimited", default=0),
    _int("limit_nanos", nullable=True),
    _int("limit_effective_at", nullable=True),
    _text("blocked_reason", nullable=True),
    _text("closed_through", nullable=True),
    _int("next_expiry_at", nullable=True),
    _int("invoices", default=0),
    _text("default_payment_method", nullable=True),
    _text("made", default=""),  # an id: sorts by when the row was made, also among those of one instant
    _int("default_user_limit", nullable=True),
    _text("next_mode", nullable=True),
    _int("next_mode_at", nullable=True),
    _int("closing_at", nullable=True),
    _int("closed_at", nullable=True),
    _few("next_mode_at", where="next_mode_at IS NOT NULL"),
    _few("closing_at", where="state = 'DELETING' AND closed_at IS NULL"),
    Index(None, "created_at"),
    Index(None, "email"),
    Index(None, "next_expiry_at"),
)

users = _sealed(
    "users",
    _key("account"),
    _key("id"),
    _text("email", default=""),
    _text("display_name", default=""),
    _text("role"),
    _int("service_account", default=0),
    _int("created_at"),
    _int("updated_at"),
    _text("made", default=""),  # as of accounts
    _text("scopes", default=""),
    _int("limit_override", nullable=True),
    _text("member_of", default=""),
    Index(None, "email"),
)

keys = _sealed(
    "keys",
    _key("account"),
    _key("id"),
    _text("user"),
    _text("display_name"),
    _text("prefix"),
    Column("digest", Blob, nullable=False),
    _int("created_at"),
    _int("expires_at", nullable=True),
    _int("revoked_at", nullable=True),
    _int("budget", nullable=True),
    _text("budget_period", nullable=True),
    Index(None, "digest", unique=True),
)

operators = _sealed(
    "operators",
    _key("id"),
    _text("prefix"),
    Column("digest", Blob, nullable=False),
    _int("created_at"),
    _int("revoked_at", nullable=True),
    _text("name", default="owner"),
    _text("role", default="owner"),
    Index(None, "digest", unique=True),
)

causes = _sealed(
    "causes",
    _key("account"),
    _key("cause"),
    _key("since_at", Int),
    _text("why"),
    _int("until_at", nullable=True),
    _few("cause", where="until_at IS NULL"),
)

# What each act changed (see audit_log): `account` is whose rows they are, `actor` who did it.
audit_log = _table(
    "audit_log",
    _key("account"),
    _key("id"),
    _int("at"),
    _text("actor"),
    _text("key"),
    _int("operator"),
    *map(_text, ("method", "path", "request", "user_agent", "client", "changes")),
    _int("writer"),
    _int("seq"),
    Index(None, "id"),
    Index(None, "writer", "seq"),
)

# ── limits that hold ─────────────────────────────────────────────────────────────────────────────────────────────
headroom = _sealed(
    "headroom",
    _key("account"),
    _key("kind"),
    _key("window"),
    _int("amount"),
    _int("enforced"),
    _int("taken", default=0),
    _int("used", default=0),
    _int("over", default=0),
    _int("unbilled", default=0),
    _int("wanted_at", nullable=True),
    _int("refused", default=0),
    CheckConstraint("taken >= 0 AND used >= 0 AND over >= 0", name="signs"),
    CheckConstraint("enforced = 0 OR taken <= amount + over", name="a1"),
    _few("wanted_at", where="wanted_at IS NOT NULL"),
)

leases = _table(
    "leases",
    _key("account"),
    _key("kind"),
    _key("window"),
    _key("owner"),
    _int("share"),
    _int("used", default=0),
    CheckConstraint("0 <= used AND used <= share", name="share"),
    Index(None, "owner"),
)

# Money set aside through the API: each owns a lease on every row of its path while it is open.
holds = _sealed(
    "holds",
    _key("account"),
    _key("id"),
    _text("model"),
    _int("version"),
    _text("month"),
    *map(_int, ("amount", "placed_at", "expires_at")),
    _text("state", default="open"),
    _int("cost", nullable=True),
    CheckConstraint("state IN ('open', 'settled', 'void', 'expired')", name="state"),
    Index(None, "id", unique=True),
    Index(None, "state", "expires_at"),
)

claims = _table("claims", _key("account"), _key("id"), _int("writer"))

# ── the books ────────────────────────────────────────────────────────────────────────────────────────────────────
transactions = _table(
    "transactions",
    _key("account"),
    _key("key"),
    _text("kind"),
    _int("at"),
    _text("corrects", nullable=True),
    _int("writer"),
    _int("seq"),
    Index(None, "writer", "seq"),
)

postings = _table(
    "postings",
    _key("account"),
    _key("key"),
    _key("n", Int),
    _text("ledger"),
    _text("side"),
    _int("amount"),
    CheckConstraint("side IN ('D', 'C')", name="side"),
    CheckConstraint("amount > 0", name="amount"),
    Index(None, "account", "ledger"),
)

balances = _table(
    "balances",
    _key("account"),
    _key("ledger"),
    _key("writer", Int),
    _int("debits", default=0),
    _int("credits", default=0),
)

grants = _sealed(
    "grants",
    _key("account"),
    _key("id"),
    _text("kind"),
    _int("granted"),
    _int("remaining"),
    _int("lapsed", default=0),
    _int("created_at"),
    _int("expires_at", nullable=True),
    _text("source", default=""),
    CheckConstraint("remaining >= 0 AND lapsed >= 0 AND remaining + lapsed <= granted", name="bounds"),
)

# ── documents and payments ───────────────────────────────────────────────────────────────────────────────────────
invoices = _sealed(
    "invoices",
    _key("account"),
    _key("id"),
    _text("number"),
    _text("type"),
    _text("state"),
    _text("month"),
    _int("subtotal"),
    _int("credits_applied"),
    _int("tax", default=0),
    _int("carried_in"),
    _int("carried_out"),
    _int("total"),
    _int("payments_applied"),
    _int("amount_due"),
    _int("paid", default=0),
    _int("issued_at"),
    _int("due_at"),
    _int("paid_at", nullable=True),
    _int("attempts", default=0),
    _int("next_attempt_at", nullable=True),
    _text("payment", nullable=True),
    _text("billed_to", default=""),  # the billing profile at issue, as JSON; "" where there was none
    Index(None, "account", "number", unique=True),
    Index(None, "next_attempt_at"),
    _few("issued_at", where="state = 'FAILED'"),
    Index(None, "account", "type", "month"),
)

invoice_lines = _sealed(
    "invoice_lines",
    _key("account"),
    _key("invoice"),
    _key("n", Int),
    _text("month"),
    _text("model"),
    _text("unit"),
    _int("quantity"),
    _int("rate_nanos"),
    _int("rate_per"),
    _int("amount"),
)

payment_methods = _sealed(
    "payment_methods",
    _key("account"),
    _key("id"),
    *map(_text, ("token", "brand", "last4")),
    _int("exp_month"),
    _int("exp_year"),
    _text("fingerprint"),
    _int("created_at"),
    _int("removed_at", nullable=True),
)

payments = _sealed(
    "payments",
    _key("account"),
    _key("id"),
    _text("purpose"),
    _text("invoice", nullable=True),
    _text("method"),
    _int("amount"),
    _text("state"),
    _int("created_at"),
    _int("ended_at", nullable=True),
    _text("provider_id", nullable=True),
    _text("failure", nullable=True),
    _text("allocation", nullable=True),
    _text("receipt", nullable=True),
    Index(None, "state"),
)
