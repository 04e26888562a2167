"""The audit log as rows: what each act made of the rows it touched, append-only, under the hash chain.

While a transaction is `noting`, `seals` notes here what it inserts and changes of the tables that TOLD lists, before
and after. TOLD lists columns one by one: what is secret (digests, a provider's tokens, the secret of this database) is
not among them, so no entry can hold it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import msgspec
import sqlalchemy as sa

from purser.store import schema as t
from purser.store.bulk import Statement
from purser.store.db import Connection, Row
from purser.store.transaction import Tx

_NOTED = "purser.noted"  # in the connection's own notes, while a transaction is noting
_SHARED_SETTINGS = ("clock_at", "closed_through")  # of what the database keeps for itself
Values = dict[str, int | str | None]

# What is told of a row beside its key, by table: how the API calls such things, and the columns.
TOLD: dict[str, tuple[str, tuple[str, ...]]] = {
    "meta": ("settings", ("value",)),
    "accounts": (
        "",
        tuple(
            "email display_name state billing_mode account_type unlimited limit_nanos blocked_reason "
            "default_payment_method default_user_limit next_mode next_mode_at "
            "closing_at closed_at".split()
        ),
    ),
    "custom_token_limits": ("tokenLimits", ("kind", "tokens")),
    "users": ("users", tuple("email display_name role service_account scopes limit_override member_of".split())),
    "keys": ("apiKeys", tuple("user display_name prefix expires_at revoked_at budget budget_period".split())),
    "billing_profiles": ("billingProfile", tuple("name line1 line2 city region postal_code country tax_id".split())),
    "mode_changes": ("billingModeChanges", ("was", "mode")),
    "usage_limit_tiers": ("groupUsageLimitTiers", ("limit_nanos", "removed_at")),
    "limit_requests": (
        "usageLimitIncreaseRequests",
        tuple("user requested reason state decided_by approved answer".split()),
    ),
    "usage_limit_groups": ("groupUsageLimits", ("tier",)),
    "records": ("", tuple("kind display_name example_count token_count fields created_by removed_at".split())),
    "invitations": ("invitations", ("email", "role", "state", "user", "expires_at")),
    "operators": ("operators", ("name", "role", "prefix", "revoked_at")),
    "payment_methods": ("paymentMethods", ("brand", "last4", "exp_month", "exp_year", "removed_at")),
    "payments": ("payments", ("purpose", "invoice", "method", "amount", "state", "failure")),
    "credit_codes": (
        "creditCodes",
        tuple("display_name begins amount redemptions expires_at credit_days ended_at".split()),
    ),
    "abuse_rules": ("abuseRules", ("type", "target", "designation", "reason", "ended_at")),
    "account_flags": ("accountFlags", ("why", "rule", "cleared_at")),  # under no account: they are the operator's
    "signup_credits": ("signUpCredit", ("amount", "state")),
    "code_redemptions": ("creditRedemptions", ("credit", "amount")),
    "grants": ("credits", ("kind", "granted", "expires_at", "source")),
    "invoices": ("invoices", ("number", "type", "month", "total", "paid", "state")),
    "deployments": (
        "deployments",
        tuple(
            "base_model accelerator gpus min_replicas max_replicas display_name description state status "
            "deleted_at purge_at".split()
        ),
    ),
    "replicas": ("deployments", ("desired", "stopped_for")),
    "reservations": ("reservations", ("accelerator", "gpus", "start_at", "end_at", "ended_at")),
    "gpu_quotas": ("gpuQuotas", ("gpus",)),
    "notifications": ("notificationSettings", ("thresholds", "forecast")),
    "webhook_endpoints": ("webhookEndpoints", ("topics", "created_at", "disabled_at", "removed_at")),
    "price_books": ("prices", ("effective_at",)),
    "price_changes": ("prices", ("model",)),
}


class Change(NamedTuple):
    """What became of one row: whose it is ("" for what is shared), what it is ("users/bot"; "" for the account itself),
    and its told values before (None where it is new) and after; of a row that was there only those that differ."""

    account: str
    what: str
    before: Values | None
    after: Values


class Act(NamedTuple):
    """On whose behalf rows change: a user of `account` or, where it is "", an operator; by which key, and how.

    `method` is the route, such as "PATCH /v1/accounts/{account}/users/{user}", and `path` what was asked for.
    """

    account: str
    actor: str
    key: str
    method: str
    path: str = ""
    request: str = ""
    user_agent: str = ""
    client: str = ""


# ── noting ───────────────────────────────────────────────────────────────────────────────────────────────────────
@contextmanager
def noting(conn: Connection) -> Iterator[list[Change]]:
    """Note from now on what changes of the rows that are told of."""
    notes = conn.info
    before = notes.get(_NOTED)
    noted: list[Change] = []
    notes[_NOTED] = noted
    try:
        yield noted
    finally:
        notes[_NOTED] = before


def is_told(conn: Connection, table: sa.Table, values: Mapping[str, Any]) -> bool:
    """Whether it is noted now what changes of these values."""
    return (
        conn.info.get(_NOTED) is not None and table.name in TOLD and not values.keys().isdisjoint(TOLD[table.name][1])
    )


def look(
    conn: Connection, table: sa.Table, where: Sequence[sa.ColumnElement[bool]], values: Mapping[str, Any]
) -> list[Row]:
    """The rows as they are before these values of them change; none where that need not be told."""
    if not is_told(conn, table, values):
        return []
    return list(conn.execute(sa.select(table).where(*where).with_for_update()))


def note(conn: Connection, table: sa.Table, before: Sequence[Row], after: Sequence[Row]) -> None:
    """Rows were changed: as `look` found them, and as they are now."""
    if not before:
        return
    was = {_key(table, row._asdict()): _told(table, row._asdict()) for row in before}
    for row in after:
        key, told = _key(table, row._asdict()), _told(table, row._asdict())
        differs = [name for name in told if told[name] != was[key][name]]
        if differs:
            _add(conn, table, key, {name: was[key][name] for name in differs}, {name: told[name] for name in differs})


def note_new(conn: Connection, table: sa.Table, *rows: Mapping[str, Any]) -> None:
    """Rows were inserted."""
    if conn.info.get(_NOTED) is not None and table.name in TOLD:
        for row in rows:
            told: Values = {name: value for name, value in _told(table, row).items() if value not in (None, "")}
            _add(conn, table, _key(table, row), None, told)


def _key(table: sa.Table, row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(str(row[column.name]) for column in table.primary_key)


def _told(table: sa.Table, row: Mapping[str, Any]) -> Values:
    return {name: row.get(name) for name in TOLD[table.name][1]}


def _add(conn: Connection, table: sa.Table, key: tuple[str, ...], before: Values | None, after: Values) -> None:
    if table is t.meta and key[0] not in _SHARED_SETTINGS:
        return
    owned = table is t.accounts or "account" in table.c
    account, rest = (key[0], key[1:]) if owned else ("", key)
    what = "/".join(part for part in (TOLD[table.name][0], *rest) if part)
    conn.info[_NOTED].append(Change(account, what, before, after))


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────────────────────
def append(tx: Tx, act: Act, changes: Sequence[Change]) -> None:
    """Write what an act changed: an entry for each account that it changed something of.

    The hash chain covers an entry's values under the name "act", in the order of the table's columns.
    """
    for account in sorted({change.account for change in changes}):
        told = [(what, before, after) for owner, what, before, after in changes if owner == account]
        values = (account, tx.new_id("log"), tx.now, *act[1:3], int(not act.account), *act[3:])
        row = dict(zip(_COLUMNS, (*values, msgspec.json.encode(told).decode(), tx.writer, tx.seq), strict=True))
        _INSERT.run(tx.conn, *row.values())
        tx.cover("act", *values, row["changes"])


_COLUMNS = tuple(column.name for column in t.audit_log.c)
_INSERT = Statement(
    "INSERT INTO audit_log (" + ", ".join(f'"{name}"' for name in _COLUMNS) + ") "
    f"VALUES ({', '.join('?' for _ in _COLUMNS)})"
)


def list_entries(
    conn: Connection,
    account: str | None,
    start_at: int,
    end_at: int,
    *,
    actor: str | None = None,
    resource: str | None = None,
    after: str | None = None,
    limit: int = 50,
) -> list[Row]:
    """Entries of an account, or of all (None), of a half-open span of time, newest first, after one of that id."""
    c = t.audit_log.c
    only = [c.at >= start_at, c.at < end_at]
    only += [] if account is None else [c.account == account]
    only += [] if actor is None else [c.actor == actor]
    only += [] if after is None else [c.id < after]
    if resource is not None:
        only.append(c.changes.contains(f"[{msgspec.json.encode(resource).decode()},", autoescape=True))
    return list(conn.execute(sa.select(t.audit_log).where(*only).order_by(c.id.desc()).limit(limit)))


def decode_changes(text: str) -> list[tuple[str, Values | None, Values]]:
    """What an entry tells: of each row what it is, its values before, and after."""
    return msgspec.json.decode(text, type=list[tuple[str, Values | None, Values]])
