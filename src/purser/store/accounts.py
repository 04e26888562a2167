"""Accounts, their users, keys and suspension causes as rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa

from purser.core.invoice import UNPAID
from purser.core.journal import CASH
from purser.core.period import NEVER, month_start
from purser.core.standing import LIMIT_EXCEEDED, STRICTEST_FIRST
from purser.store import schema as t
from purser.store import seals
from purser.store.bulk import Statement
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared

_ONE = Prepared(lambda account: sa.select(t.accounts).where(t.accounts.c.id == account))
_LOCKED = Prepared(lambda account: sa.select(t.accounts).where(t.accounts.c.id == account).with_for_update())
_LOCKED_ALL = Prepared(
    lambda ids: sa.select(t.accounts).where(t.accounts.c.id.in_(ids)).order_by(t.accounts.c.id).with_for_update()
)
_CLOSED_THROUGH = Prepared(lambda account: sa.select(t.accounts.c.closed_through).where(t.accounts.c.id == account))


def get_account(conn: Connection, account: str) -> Row | None:
    """One account's row."""
    return _ONE.run(conn, account).first()


def get_closed_through(conn: Connection, account: str) -> str | None:
    """The last month of this account that is closed."""
    value = _CLOSED_THROUGH.run(conn, account).scalar()
    return None if value is None else str(value)


def lock_account(conn: Connection, account: str) -> Row | None:
    """One account's row; until this transaction ends no other one changes what the account is and has."""
    return _LOCKED.run(conn, account).first()


def lock_accounts(conn: Connection, ids: Collection[str]) -> dict[str, Row]:
    """The rows of these accounts, as far as they are there, each as `lock_account` has it; locked in their order."""
    return {str(row.id): row for row in _LOCKED_ALL.run(conn, list(ids))}


@dataclass(frozen=True, slots=True)
class Only:
    """Which accounts are meant: those with these values of columns, and what else is not None.

    `spend` are half-open spans in one of which the historical spend lies, nano-dollars; None is no bound.
    """

    columns: Mapping[str, str | int] = field(default_factory=dict)
    suspend_state: str | None = None
    has_payment_method: bool | None = None
    spend: Sequence[tuple[int | None, int | None]] | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """In which order accounts come: by creation (then id), or by id alone."""

    by_id: bool = False
    descending: bool = True


def list_accounts(
    conn: Connection, only: Only, order: Order, *, after: tuple[int | str, ...] | None = None, limit: int = 50
) -> list[Row]:
    """Accounts in an order, after a given (created_at, id), or (id,) where they come by id."""
    c = t.accounts.c
    columns = [c.id] if order.by_id else [c.created_at, c.made, c.id]
    query = sa.select(t.accounts).where(*_conditions(only)).limit(limit)
    query = query.order_by(*(column.desc() if order.descending else column for column in columns))
    if after is not None:
        values: list[Any] = [sa.literal(value) for value in after]
        if not order.by_id:
            other = t.accounts.alias()
            values.insert(1, sa.select(other.c.made).where(other.c.id == after[1]).scalar_subquery())
        place, given = sa.tuple_(*columns), sa.tuple_(*values)
        query = query.where(place < given if order.descending else place > given)
    return list(conn.execute(query))


def count_accounts(conn: Connection, only: Only) -> int:
    """How many accounts there are of those meant."""
    return int(conn.execute(sa.select(sa.func.count()).select_from(t.accounts).where(*_conditions(only))).scalar_one())


def _conditions(only: Only) -> list[sa.ColumnElement[bool]]:
    c = t.accounts.c
    found: list[sa.ColumnElement[bool]] = [c[name] == value for name, value in only.columns.items()]
    if only.suspend_state is not None:
        found += _suspended_as(only.suspend_state)
    if only.has_payment_method is not None:
        m = t.payment_methods.c
        on_file = sa.exists().where(m.account == c.id, m.removed_at.is_(None))
        found.append(on_file if only.has_payment_method else ~on_file)
    if only.spend is not None:
        b = t.balances.c
        spent = (
            sa.select(sa.func.coalesce(sa.func.sum(b.debits - b.credits), 0))
            .where(b.account == c.id, b.ledger == CASH)
            .scalar_subquery()
        )
        within = [
            sa.and_(*([] if start is None else [spent >= start]), *([] if end is None else [spent < end]), sa.true())
            for start, end in only.spend
        ]
        found.append(sa.or_(sa.false(), *within))
    return found


def _suspended_as(state: str) -> list[sa.ColumnElement[bool]]:
    """Open is the cause that `state` names, if it names one, and none that is stricter (U1)."""
    k = t.causes.c
    stricter = STRICTEST_FIRST[: STRICTEST_FIRST.index(state)] if state in STRICTEST_FIRST else STRICTEST_FIRST

    def is_open(*causes: str) -> sa.Exists:
        return sa.exists().where(k.account == t.accounts.c.id, k.cause.in_(causes), k.until_at.is_(None))

    return [~is_open(*stricter), *([is_open(state)] if state in STRICTEST_FIRST else [])]


def insert_account(conn: Connection, **values: Any) -> bool:
    """A new account; answers False, and changes nothing, where there is one with this id."""
    return seals.insert_once(conn, t.accounts, values)


def update_account(conn: Connection, account: str, **values: Any) -> None:
    """Change an account's columns."""
    seals.change(conn, t.accounts, {"id": account}, **values)


@Prepared
def _CLOSING() -> sa.Select[Any]:
    c, i = t.accounts.c, t.invoices.c
    unpaid = sa.exists().where(i.account == c.id, i.state.in_(UNPAID), i.amount_due > i.paid)
    closing = sa.select(c.id).where(c.state == sa.literal_column("'DELETING'"), c.closed_at.is_(None), ~unpaid)
    return closing.order_by(c.id)


def list_closing(conn: Connection, _now: int) -> list[str]:
    """The accounts that are closing and do not only wait for their final invoice to be paid, in lock order."""
    return [str(row[0]) for row in _CLOSING.run(conn)]


@Prepared
def _EXPIRY_DUE(now: Any) -> sa.Select[Any]:
    c = t.accounts.c
    return sa.select(c.id).where(c.next_expiry_at <= now).order_by(c.id)


_NEXT_EXPIRY = Prepared(lambda: sa.select(sa.func.min(t.accounts.c.next_expiry_at)))


def list_with_expiry_due(conn: Connection, now: int) -> list[str]:
    """Accounts with a credit grant that expires by now."""
    return [str(row[0]) for row in _EXPIRY_DUE.run(conn, now)]


def get_next_expiry(conn: Connection) -> int | None:
    """The earliest expiry of any account's credit."""
    value = _NEXT_EXPIRY.run(conn).scalar()
    return None if value is None or value >= NEVER else int(value)


# ── users ────────────────────────────────────────────────────────────────────────────────────────────────────────
_USER = Prepared(lambda account, user: sa.select(t.users).where(t.users.c.account == account, t.users.c.id == user))


def get_user(conn: Connection, account: str, user: str) -> Row | None:
    """One user of an account."""
    return _USER.run(conn, account, user).first()


def list_users(conn: Connection, account: str) -> list[Row]:
    """An account's users, newest first."""
    c = t.users.c
    return list(
        conn.execute(sa.select(t.users).where(c.account == account).order_by(c.created_at.desc(), c.made.desc(), c.id))
    )


def count_admins(conn: Connection, account: str) -> int:
    """How many of an account's users are admins."""
    c = t.users.c
    admins = sa.select(sa.func.count()).select_from(t.users).where(c.account == account, c.role == "admin")
    return int(conn.execute(admins).scalar_one())


def list_admins(conn: Connection, account: str) -> list[Row]:
    """The admins of an account who have an address, by id."""
    c = t.users.c
    admins = sa.select(t.users).where(c.account == account, c.role == "admin", c.email != "")
    return list(conn.execute(admins.order_by(c.id)))


def insert_user(conn: Connection, **values: Any) -> None:
    """A new user."""
    seals.insert(conn, t.users, values)


def update_user(conn: Connection, account: str, user: str, **values: Any) -> None:
    """Change a user's columns."""
    seals.change(conn, t.users, {"account": account, "id": user}, **values)


# ── keys ─────────────────────────────────────────────────────────────────────────────────────────────────────────
@Prepared
def _BY_DIGEST(digest: Any) -> sa.Select[Any]:
    k, u, a = t.keys.c, t.users.c, t.accounts.c
    return (
        sa.select(t.keys, u.role, u.scopes, u.limit_override, u.member_of, a.default_user_limit, a.closing_at)
        .join(t.users, sa.and_(u.account == k.account, u.id == k.user))
        .join(t.accounts, a.id == k.account)
        .where(k.digest == digest)
    )


def find_key(conn: Connection, digest: bytes) -> Row | None:
    """A key by its digest, with what its user may do and spend: columns of `keys`, of `users`, of `accounts`."""
    return _BY_DIGEST.run(conn, digest).first()


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
    seals.insert(conn, t.keys, values)


def revoke_key(conn: Connection, account: str, key: str, at: int) -> bool:
    """End a key; answers whether it was live."""
    c = t.keys.c
    live = (c.account == account, c.id == key, c.revoked_at.is_(None))
    return seals.update(conn, t.keys, *live, revoked_at=at) == 1


def set_key_budget(conn: Connection, account: str, key: str, budget: int | None, period: str | None) -> None:
    """What a key may spend at most, nano-dollars, in each period; None for no limit."""
    values = {"budget": budget, "budget_period": period}
    seals.change(conn, t.keys, {"account": account, "id": key}, **values)


# ── suspension causes ────────────────────────────────────────────────────────────────────────────────────────────
def _open_causes(whose: sa.ColumnElement[bool]) -> sa.Select[Any]:
    c = t.causes.c
    open_ = sa.select(c.account, c.cause, c.since_at, c.why).where(whose, c.until_at.is_(None))
    return open_.order_by(c.since_at, c.cause)


_OPEN_CAUSES = Prepared(lambda account: _open_causes(t.causes.c.account == account))
_OPEN_CAUSES_OF_EACH = Prepared(lambda accounts: _open_causes(t.causes.c.account.in_(accounts)))


def list_open_causes(conn: Connection, account: str) -> list[Row]:
    """The causes that suspend an account now: account, cause, since_at, why."""
    return list(_OPEN_CAUSES.run(conn, account))


def list_open_causes_of_each(conn: Connection, accounts: Sequence[str]) -> list[Row]:
    """As `list_open_causes`, of all these accounts."""
    return list(_OPEN_CAUSES_OF_EACH.run(conn, accounts))


def list_causes(conn: Connection, account: str) -> list[Row]:
    """Every suspension an account ever had, oldest first."""
    c = t.causes.c
    return list(conn.execute(sa.select(t.causes).where(c.account == account).order_by(c.since_at, c.cause)))


def open_cause(conn: Connection, account: str, cause: str, at: int, why: str) -> None:
    """Start a suspension cause; one opened and lifted at this very instant goes on."""
    c = t.causes.c
    known = (c.account == account, c.cause == cause, c.since_at == at)
    if not seals.update(conn, t.causes, *known, until_at=None, why=why):
        seals.insert(conn, t.causes, {"account": account, "cause": cause, "since_at": at, "why": why})


def lift_cause(conn: Connection, account: str, cause: str, at: int) -> None:
    """End an open cause."""
    c = t.causes.c
    seals.update(conn, t.causes, c.account == account, c.cause == cause, c.until_at.is_(None), until_at=at)


def renew_cause(conn: Connection, account: str, cause: str, why: str) -> None:
    """Say anew why an open cause holds."""
    c = t.causes.c
    seals.update(conn, t.causes, c.account == account, c.cause == cause, c.until_at.is_(None), why=why)


# ── what changed ─────────────────────────────────────────────────────────────────────────────────────────────────
def get_last_change(conn: Connection) -> int:
    """The number of the newest change."""
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.max(t.changes.c.n), 0))).scalar_one())


_CHANGES = Statement("SELECT n, account FROM changes WHERE n > ? ORDER BY n")


def list_changes(conn: Connection, after: int) -> list[tuple[int, str]]:
    """Changes after a number: (number, account); the account "" stands for prices and everything shared."""
    return [(int(row[0]), str(row[1])) for row in _CHANGES.run(conn, after)]


def get_first_change(conn: Connection) -> int:
    """The number of the oldest change that is kept; 0 where there is none."""
    return int(conn.execute(sa.select(sa.func.min(t.changes.c.n))).scalar() or 0)


def prune_changes(conn: Connection, keep: int) -> int:
    """Delete all but about the newest `keep` changes; answers how many. Who reads late sees it by the oldest one."""
    newest = conn.execute(sa.select(sa.func.max(t.changes.c.n))).scalar() or 0
    return conn.execute(sa.delete(t.changes).where(t.changes.c.n <= newest - keep)).rowcount


# ── settings kept in the database ────────────────────────────────────────────────────────────────────────────────
_META = Prepared(lambda name: sa.select(t.meta.c.value).where(t.meta.c.name == name))
_META_LOCKED = Prepared(lambda name: sa.select(t.meta.c.value).where(t.meta.c.name == name).with_for_update())


def get_meta(conn: Connection, name: str, *, lock: bool = False) -> str | None:
    """A setting kept in the database; locked, nobody else changes it before this transaction ends."""
    value = (_META_LOCKED if lock else _META).run(conn, name).scalar()
    return None if value is None else str(value)


def set_meta(conn: Connection, name: str, value: str) -> None:
    """Keep a setting in the database."""
    if not seals.insert_once(conn, t.meta, {"name": name, "value": value}):
        seals.change(conn, t.meta, {"name": name}, value=value)


@Prepared
def _STALE_LIMIT(before: Any) -> sa.Select[Any]:
    c = t.causes.c
    return sa.select(c.account).distinct().where(c.cause == LIMIT_EXCEEDED, c.until_at.is_(None), c.since_at < before)


def list_with_stale_limit_cause(conn: Connection, month: str) -> list[str]:
    """Accounts that are suspended by the limit of a month that has ended."""
    return [str(row[0]) for row in _STALE_LIMIT.run(conn, month_start(month))]
