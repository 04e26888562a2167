"""All rows that are an account's own, file by file, read one by one: what its data export holds.

Columns are listed one by one: what is secret (digests, a provider's tokens) or of our own machinery is not among them.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, NamedTuple

import sqlalchemy as sa

from purser.store import schema as t
from purser.store.db import Connection, Row

_AT_ONCE = 500


class File(NamedTuple):
    """A file of the export: its rows' columns (of those in `money`, nano-dollars; of those in `json`, JSON texts)."""

    name: str
    query: sa.Select[Any]
    money: frozenset[str] = frozenset()
    json: frozenset[str] = frozenset()


def _of(table: sa.Table, name: str, columns: str, *, order: str, money: str = "", json: str = "") -> File:
    c = table.c
    owner = c.id if table is t.accounts else c.account
    query = sa.select(*(c[each] for each in columns.split())).where(owner == sa.bindparam("account"))
    query = query.order_by(*(c[each] for each in order.split()))
    return File(name, query, frozenset(money.split()), frozenset(json.split()))


def _ledger() -> File:
    x, p = t.transactions.c, t.postings.c
    query = (
        sa.select(x.at, x.key, x.kind, x.corrects, p.n, p.ledger, p.side, p.amount)
        .join(t.postings, sa.and_(p.account == x.account, p.key == x.key))
        .where(x.account == sa.bindparam("account"))
        .order_by(x.key, p.n)
    )
    return File("ledger", query, frozenset({"amount"}))


def _audit_log() -> File:
    """Which of the operator's people it was, and from where, is theirs."""
    c = t.audit_log.c
    theirs = [
        sa.case((c.operator == 1, ""), else_=c[name]).label(name) for name in ("actor", "key", "user_agent", "client")
    ]
    columns = (c.id, c.at, c.operator, *theirs, c.method, c.path, c.request, c.changes)
    query = sa.select(*columns).where(c.account == sa.bindparam("account")).order_by(c.id)
    return File("audit_log", query, json=frozenset({"changes"}))


_PROFILE = "name line1 line2 city region postal_code country tax_id updated_at"
_INVOICE = "subtotal credits_applied tax carried_in carried_out total payments_applied amount_due paid"
FILES = (
    _of(
        *(t.accounts, "account"),
        "id email display_name state billing_mode account_type created_at updated_at limit_nanos blocked_reason "
        "next_mode next_mode_at closing_at closed_at default_payment_method default_user_limit",
        order="id",
        money="limit_nanos default_user_limit",
    ),
    _of(t.billing_profiles, "billing_profile", _PROFILE, order="account"),
    _of(t.mode_changes, "billing_mode_changes", "n at was mode", order="n"),
    _of(
        *(t.users, "users"),
        "id email display_name role service_account scopes limit_override member_of created_at updated_at",
        order="id",
        money="limit_override",
    ),
    _of(
        *(t.keys, "keys"),
        "id user display_name prefix created_at expires_at revoked_at budget budget_period",
        order="id",
        money="budget",
    ),
    _of(
        *(t.limit_requests, "limit_requests"),
        "id user requested reason state created_at decided_at decided_by approved answer",
        order="id",
        money="requested approved",
    ),
    _of(
        *(t.records, "records"),
        "collection id kind display_name example_count token_count fields created_by created_at updated_at removed_at",
        order="collection id",
        json="fields",
    ),
    _of(t.custom_token_limits, "token_limits", "model metric kind tokens set_at", order="model metric"),
    _of(
        *(t.usage_events, "usage_events"),
        "source id model user key occurred_at recorded_at month bill_month version quantities cost held clamped "
        "estimated state txn",
        order="source id",
        money="cost held clamped",
        json="quantities",
    ),
    _of(
        *(t.holds, "holds", "id model version month amount placed_at expires_at state cost"),
        order="id",
        money="amount cost",
    ),
    _of(
        *(t.deployments, "deployments"),
        "id base_model accelerator gpus min_replicas max_replicas up_window down_window zero_window load_targets "
        "display_name description more state status created_by created_at updated_at deleted_at purge_at",
        order="id",
        json="load_targets more",
    ),
    _of(
        *(t.slices, "gpu_time"),
        "deployment n model version month start_at ended_at end_at replicas gpus reserved before amount state cost",
        order="deployment n",
        money="amount cost",
    ),
    _of(t.reservations, "reservations", "id accelerator gpus start_at end_at created_at ended_at", order="id"),
    _of(t.gpu_quotas, "gpu_quotas", "accelerator gpus updated_at", order="accelerator"),
    _ledger(),
    _of(
        *(t.grants, "credits", "id kind granted remaining lapsed created_at expires_at source"),
        order="id",
        money="granted remaining lapsed",
    ),
    _of(*(t.signup_credits, "sign_up_credit", "amount state at changed_at"), order="account", money="amount"),
    _of(*(t.code_redemptions, "credit_redemptions", "code credit amount at"), order="at code", money="amount"),
    _of(
        *(t.invoices, "invoices"),
        f"id number type state month {_INVOICE} issued_at due_at paid_at billed_to",
        order="id",
        money=_INVOICE,
        json="billed_to",
    ),
    _of(
        *(t.invoice_lines, "invoice_lines", "invoice n month model unit quantity rate_nanos rate_per amount"),
        order="invoice n",
        money="amount",
    ),
    _of(
        *(t.payment_methods, "payment_methods", "id brand last4 exp_month exp_year created_at removed_at"),
        order="id",
    ),
    _of(
        *(t.payments, "payments"),
        "id purpose invoice method amount state created_at ended_at provider_id failure allocation receipt",
        order="id",
        money="amount",
        json="allocation",
    ),
    _of(t.causes, "suspensions", "cause since_at why until_at", order="since_at cause"),
    _audit_log(),
)


def count_rows(conn: Connection, account: str, file: File, most: int) -> int:
    """How many rows of a file an account has, counted as far as `most`."""
    count = sa.select(sa.func.count()).select_from(file.query.order_by(None).limit(most).subquery())
    return int(conn.execute(count, {"account": account}).scalar_one())


def iter_rows(conn: Connection, account: str, file: File) -> Generator[Row]:
    """An account's rows of a file one by one, never all of them in memory."""
    with conn.execute(file.query, {"account": account}, execution_options={"yield_per": _AT_ONCE}) as found:
        yield from found
