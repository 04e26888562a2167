"""Accounts, their users, keys and suspension causes as rows."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from purser.core.period import NEVER, month_start
from purser.core.standing import LIMIT_EXCEEDED
from purser.store import schema as t
from purser.store.db import Connection, Row, insert_new


def get_account(conn: Connection, account: str) -> Row | None:
    """One account's row."""
    return conn.execute(sa.select(t.accounts).where(t.accounts.c.id == account)).first()


def get_closed_through(conn: Connection, account: str) -> str | None:
    """The last month of this account that is closed."""
    value = conn.execute(sa.select(t.accounts.c.closed_through).where(t.accounts.c.id == account)).scalar()
    return None if value is None else str(value)


def lock_account(conn: Connection, account: str) -> Row | None:
    """One account's row; until this transaction ends no other one changes what the account is and has."""
    return conn.execute(sa.select(t.accounts).where(t.accounts.c.id == account).with_for_update()).first()


def list_accounts(
    conn: Connection, *, after: tuple[int, str] | None = None, limit: int = 50, oldest_first: bool = False, **equal: str
) -> list[Row]:
    """Accounts, newest first, after a given (created_at, id); `equal` columns must have these values."""
    c = t.accounts.c
    query = sa.select(t.accounts).where(*(c[name] == value for name, value in equal.items())).limit(limit)
    place = sa.tuple_(c.created_at, c.id)
    if oldest_first:
        query = query.order_by(c.created_at, c.id)
        return list(conn.execute(query if after is None else query.where(place > sa.tuple_(*map(sa.literal, after)))))
    query = query.order_by(c.created_at.desc(), c.id.desc())
    return list(conn.execute(query if after is None else query.where(place < sa.tuple_(*map(sa.literal, after)))))


def count_accounts(conn: Connection, **equal: str) -> int:
    """How many accounts there are, with these values of columns."""
    c = t.accounts.c
    query = sa.select(sa.func.count()).select_from(t.accounts)
    return int(conn.execute(query.where(*(c[name] == value for name, value in equal.items()))).scalar_one())


def insert_account(conn: Connection, **values: Any) -> bool:
    """A new account; answers False, and changes nothing, where there is one with this id."""
    return insert_new(conn, t.accounts, values)


def update_account(conn: Connection, account: str, **values: Any) -> None:
    """Change an account's columns."""
    conn.execute(sa.update(t.accounts).where(t.accounts.c.id == account).values(**values))


def list_with_expiry_due(conn: Connection, now: int) -> list[str]:
    """Accounts with a credit grant that expires by now."""
    c = t.accounts.c
    return [str(row[0]) for row in conn.execute(sa.select(c.id).where(c.next_expiry_at <= now).order_by(c.id))]


def get_next_expiry(conn: Connection) -> int | None:
    """The earliest expiry of any account's credit."""
    value = conn.execute(sa.select(sa.func.min(t.accounts.c.next_expiry_at))).scalar()
    return None if value is None or value >= NEVER else int(value)


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────
def get_user(conn: Connection, account: str, user: str) -> Row | None:
    """One user of an account."""
    c = t.users.c
    return conn.execute(sa.select(t.users).where(c.account == account, c.id == user)).first()


def list_users(conn: Connection, account: str) -> list[Row]:
    """An account's users, newest first."""
    c = t.users.c
    return list(conn.execute(sa.select(t.users).where(c.account == account).order_by(c.created_at.desc(), c.id)))


def insert_user(conn: Connection, **values: Any) -> None:
    """A new user."""
    conn.execute(sa.insert(t.users).values(**values))


def update_user(conn: Connection, account: str, user: str, **values: Any) -> None:
    """Change a user's columns."""
    c = t.users.c
    conn.execute(sa.update(t.users).where(c.account == account, c.id == user).values(**values))


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────
def find_key(conn: Connection, digest: bytes) -> Row | None:
    """A key by its digest, with its user's role: columns of `keys` and `role`, `service_account`."""
    k, u = t.keys.c, t.users.c
    return conn.execute(
        sa.select(t.keys, u.role, u.service_account)
        .join(t.users, sa.and_(u.account == k.account, u.id == k.user))
        .where(k.digest == digest)
    ).first()


def get_key(conn: Connection, account: str, key: str) -> Row | None:
    """One key of an account."""
    c = t.keys.c
    return conn.execute(sa.select(t.keys).where(c.account == account, c.id == key)).first()


def list_keys(conn: Connection, account: str, user: str | None) -> list[Row]:
    """The keys of an account or of one user, without revoked ones, newest first."""
    c = t.keys.c
    query = sa.select(t.keys).where(c.account == account, c.revoked_at.is_(None))
    if user is not None:
        query = query.where(c.user == user)
    return list(conn.execute(query.order_by(c.created_at.desc(), c.id.desc())))


def insert_key(conn: Connection, **values: Any) -> None:
    """A new key."""
    conn.execute(sa.insert(t.keys).values(**values))


def revoke_key(conn: Connection, account: str, key: str, at: int) -> bool:
    """End a key; answers whether it was live."""
    c = t.keys.c
    ended = conn.execute(
        sa.update(t.keys).where(c.account == account, c.id == key, c.revoked_at.is_(None)).values(revoked_at=at)
    )
    return ended.rowcount == 1


def find_operator(conn: Connection, digest: bytes) -> Row | None:
    """A live operator by the digest of its key."""
    c = t.operators.c
    return conn.execute(sa.select(t.operators).where(c.digest == digest, c.revoked_at.is_(None))).first()


def insert_operator(conn: Connection, **values: Any) -> None:
    """A new operator."""
    conn.execute(sa.insert(t.operators).values(**values))


# ── suspension causes ────────────────────────────────────────────────────────────────────────────────────────────
def list_open_causes(conn: Connection, account: str) -> list[Row]:
    """The causes that suspend an account now: cause, since_at, why."""
    c = t.causes.c
    return list(
        conn.execute(
            sa.select(c.cause, c.since_at, c.why)
            .where(c.account == account, c.until_at.is_(None))
            .order_by(c.since_at, c.cause)
        )
    )


def list_causes(conn: Connection, account: str) -> list[Row]:
    """Every suspension an account ever had, oldest first."""
    c = t.causes.c
    return list(conn.execute(sa.select(t.causes).where(c.account == account).order_by(c.since_at, c.cause)))


def open_cause(conn: Connection, account: str, cause: str, at: int, why: str) -> None:
    """Start a suspension cause; one opened and lifted at this very instant goes on."""
    c = t.causes.c
    again = conn.execute(
        sa.update(t.causes)
        .where(c.account == account, c.cause == cause, c.since_at == at)
        .values(until_at=None, why=why)
    )
    if not again.rowcount:
        conn.execute(sa.insert(t.causes).values(account=account, cause=cause, since_at=at, why=why))


def lift_cause(conn: Connection, account: str, cause: str, at: int) -> None:
    """End an open cause."""
    c = t.causes.c
    conn.execute(
        sa.update(t.causes).where(c.account == account, c.cause == cause, c.until_at.is_(None)).values(until_at=at)
    )


def renew_cause(conn: Connection, account: str, cause: str, why: str) -> None:
    """Say anew why an open cause holds."""
    c = t.causes.c
    conn.execute(
        sa.update(t.causes).where(c.account == account, c.cause == cause, c.until_at.is_(None)).values(why=why)
    )


# ── what changed ─────────────────────────────────────────────────────────────────────────────────────────────────
def get_last_change(conn: Connection) -> int:
    """The number of the newest change."""
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(t.changes.c.n), 0))).scalar_one())


def list_changes(conn: Connection, after: int) -> list[tuple[int, str]]:
    """Changes after a number: (number, account); the account "" stands for prices and everything shared."""
    c = t.changes.c
    found = conn.execute(sa.select(c.n, c.account).where(c.n > after).order_by(c.n))
    return [(int(row[0]), str(row[1])) for row in found]


# ── settings kept in the database ────────────────────────────────────────────────────────────────────────────────
def get_meta(conn: Connection, name: str) -> str | None:
    """A setting kept in the database."""
    value = conn.execute(sa.select(t.meta.c.value).where(t.meta.c.name == name)).scalar()
    return None if value is None else str(value)


def set_meta(conn: Connection, name: str, value: str) -> None:
    """Keep a setting in the database."""
    conn.execute(
        sa.text(
            "INSERT INTO meta (name, value) VALUES (:name, :value) "
            "ON CONFLICT (name) DO UPDATE SET value = excluded.value"
        ),
        {"name": name, "value": value},
    )


def list_with_stale_limit_cause(conn: Connection, month: str) -> list[str]:
    """Accounts that are suspended by the limit of a month that has ended."""
    c = t.causes.c
    found = conn.execute(
        sa.select(c.account)
        .distinct()
        .where(c.cause == LIMIT_EXCEEDED, c.until_at.is_(None), c.since_at < month_start(month))
    )
    return [str(row[0]) for row in found]
