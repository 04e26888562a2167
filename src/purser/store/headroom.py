"""Headroom rows and leases as rows of the database."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa

from purser.core.errors import Broken
from purser.core.lease import CREDIT, MONTH, Headroom, Lease
from purser.core.standing import CREDIT_DEPLETED, LIMIT_EXCEEDED
from purser.store import schema as t
from purser.store import seals
from purser.store.bulk import BYTES, INT, TEXT, ForEach, Statement
from purser.store.db import Connection
from purser.store.prepared import Prepared

_AT_ONCE = 500  # values in one statement
_BY_A_WRITER = "substr(owner, 1, 7) = 'writer:'"  # the other owners of leases are holds


class RowKey(NamedTuple):
    """Which constraint: the account, its kind, and the window it counts.

    Credit has no window (""), a month's limit is by its month, a key's budget by the key and its period:
    "key_01J2/DAILY/2026-03-01", a user's cap by the user and the month: "bot/MONTHLY/2026-03".
    """

    account: str
    kind: str
    window: str


def credit_key(account: str) -> RowKey:
    """The account's credit."""
    return RowKey(account, CREDIT, "")


def month_key(account: str, month: str) -> RowKey:
    """The account's spend limit for one month."""
    return RowKey(account, MONTH, month)


def mark(key: RowKey) -> str:
    """How a usage event names a budget that it counts toward."""
    return f"{key.kind}:{key.window}"


_THERE = 'WHERE account = ? AND kind = ? AND "window" = ?'
_SELECT = f"SELECT amount, enforced, taken, used, over, unbilled FROM headroom {_THERE}"
_GET = Statement(_SELECT)
_LOCK = {"sqlite": _GET, "postgresql": Statement(f"{_SELECT} FOR UPDATE")}
_FIGURES = (
    "UPDATE headroom SET amount = ?, enforced = ?, taken = ?, used = ?, over = ?, "
    f"unbilled = ?, seal = {seals.written('?')}"
)
_EACH = (
    'SELECT h.account, h.kind, h."window", h.amount, h.enforced, h.taken, h.used, h.over, h.unbilled FROM headroom h'
)
_LOCK_ROWS = ForEach(
    (TEXT, TEXT, TEXT),
    sqlite=f'{_EACH} WHERE h.account = ? AND h.kind = ? AND h."window" = ?',
    postgresql=f'{_EACH}, {{v}} WHERE h.account = v.c1 AND h.kind = v.c2 AND h."window" = v.c3 '
    'ORDER BY h.account, h.kind, h."window" FOR UPDATE OF h',
)
_PUT = Statement(f"{_FIGURES} {_THERE}")
_PUT_ENOUGH = Statement(f"{_FIGURES}, wanted_at = NULL {_THERE}")
_GET_LEASE = Statement(f"SELECT share, used FROM leases {_THERE} AND owner = ?")
_DELETE_LEASE = Statement(f"DELETE FROM leases {_THERE} AND owner = ?")
_GET_LEASES = ForEach(
    (TEXT, TEXT, TEXT, TEXT),
    sqlite='SELECT account, kind, "window", share, used FROM leases '
    'WHERE account = ? AND kind = ? AND "window" = ? AND owner = ?',
    postgresql='SELECT l.account, l.kind, l."window", l.share, l.used FROM leases l, {v} '
    'WHERE l.account = v.c1 AND l.kind = v.c2 AND l."window" = v.c3 AND l.owner = v.c4',
)
_USE_LEASES = ForEach(
    (INT, TEXT, TEXT, TEXT, TEXT),
    sqlite='UPDATE leases SET used = ? WHERE account = ? AND kind = ? AND "window" = ? AND owner = ?',
    postgresql="UPDATE leases l SET used = v.c1 FROM {v} "
    'WHERE l.account = v.c2 AND l.kind = v.c3 AND l."window" = v.c4 AND l.owner = v.c5',
)
_PUT_LEASE = Statement(
    'INSERT INTO leases (account, kind, "window", owner, share, used) VALUES (?, ?, ?, ?, ?, ?) '
    'ON CONFLICT (account, kind, "window", owner) DO UPDATE SET share = excluded.share, used = excluded.used'
)


def get_row(conn: Connection, key: RowKey) -> Headroom | None:
    """One headroom row, None where it does not exist yet."""
    return _row(_GET.run(conn, *key).fetchone())


def lock_row(conn: Connection, key: RowKey) -> Headroom | None:
    """One headroom row as it is and stays until this transaction writes it or ends; None where there is none yet."""
    return _row(_LOCK[conn.dialect.name].run(conn, *key).fetchone())


def lock_rows(conn: Connection, keys: Iterable[RowKey]) -> dict[RowKey, Headroom]:
    """These headroom rows, as far as they are there, each as `lock_row` has it; locked in their order."""
    found = _LOCK_ROWS.fetch(conn, sorted(set(keys)))
    return {RowKey(*row[:3]): Headroom(row[3], bool(row[4]), *row[5:9]) for row in found}


def put_rows(conn: Connection, rows: Mapping[RowKey, Headroom]) -> None:
    """Write what is taken and used of headroom rows, as `put_row` does; their amounts and whether they bind stay."""
    _put_rows(conn, rows.items())


def _row(row: Any) -> Headroom | None:
    return Headroom(row[0], bool(row[1]), row[2], row[3], row[4], row[5]) if row else None


_INSERT = Statement(
    'INSERT INTO headroom (account, kind, "window", amount, enforced, seal) '
    f"VALUES (?, ?, ?, ?, ?, {seals.written('?')}) "
    'ON CONFLICT (account, kind, "window") DO NOTHING'
)


def insert_row(conn: Connection, key: RowKey, row: Headroom) -> None:
    """A new headroom row; nothing where it is there already."""
    values = {**key._asdict(), "amount": row.amount, "enforced": int(row.enforced)}
    _INSERT.run(conn, *values.values(), seals.seal("headroom", values))


def put_row(conn: Connection, key: RowKey, row: Headroom, *, enough: bool = False) -> None:
    """Write a headroom row's figures; where there is `enough` of it, writers are no longer asked to return spare."""
    figures = (row.amount, int(row.enforced), row.taken, row.used, row.over, row.unbilled)
    (_PUT_ENOUGH if enough else _PUT).run(conn, *figures, _seal(key, row), *key)


def _values(key: RowKey, row: Headroom) -> dict[str, Any]:
    return {
        **key._asdict(),
        "amount": row.amount,
        "enforced": int(row.enforced),
        "taken": row.taken,
        "used": row.used,
        "over": row.over,
        "unbilled": row.unbilled,
    }


def _seal(key: RowKey, row: Headroom) -> bytes:
    return seals.seal("headroom", _values(key, row))


def get_lease(conn: Connection, key: RowKey, owner: str) -> Lease:
    """One owner's lease on a row; an empty one where there is none."""
    row = _GET_LEASE.run(conn, *key, owner).fetchone()
    return Lease(row[0], row[1]) if row else Lease()


def get_leases(conn: Connection, keys: Iterable[RowKey], owner: str) -> dict[RowKey, Lease]:
    """One owner's leases on these rows, as far as there are any."""
    found = _GET_LEASES.fetch(conn, [(*key, owner) for key in keys])
    return {RowKey(row[0], row[1], row[2]): Lease(row[3], row[4]) for row in found}


def use_leases(conn: Connection, leases: Mapping[RowKey, Lease], owner: str) -> None:
    """Write how much is used of one owner's leases, which are there."""
    _USE_LEASES.run(conn, [(lease.used, *key, owner) for key, lease in leases.items()])


def put_lease(conn: Connection, key: RowKey, owner: str, lease: Lease) -> None:
    """Write one owner's lease."""
    _PUT_LEASE.run(conn, *key, owner, lease.share, lease.used)


def delete_lease(conn: Connection, key: RowKey, owner: str) -> None:
    """End a lease whose use has been folded into its row."""
    _DELETE_LEASE.run(conn, *key, owner)


_ALL_OF = (
    'SELECT h.account, h.kind, h."window", h.amount, h.enforced, h.taken, h.used, h.over, h.unbilled, l.share, l.used '
    'FROM leases l JOIN headroom h ON h.account = l.account AND h.kind = l.kind AND h."window" = l."window" '
    'WHERE l.owner = ? ORDER BY h.account, h.kind, h."window"'
)
_LOCK_ALL_OF = {"sqlite": Statement(_ALL_OF), "postgresql": Statement(f"{_ALL_OF} FOR UPDATE OF h")}
_PUT_ROWS = ForEach(
    (INT, INT, INT, INT, BYTES, TEXT, TEXT, TEXT),
    sqlite=f"UPDATE headroom SET taken = ?, used = ?, over = ?, unbilled = ?, seal = {seals.written('?')} "
    'WHERE account = ? AND kind = ? AND "window" = ?',
    postgresql="UPDATE headroom h SET taken = v.c1, used = v.c2, over = v.c3, unbilled = v.c4, "
    f"seal = {seals.written('v.c5')} "
    'FROM {v} WHERE h.account = v.c6 AND h.kind = v.c7 AND h."window" = v.c8',
)
_COUNT_OF = Statement("SELECT COUNT(*) FROM leases WHERE owner = ?")
_DELETE_OF = Statement("DELETE FROM leases WHERE owner = ?")


def lock_rows_of(conn: Connection, owner: str) -> list[tuple[RowKey, Headroom, Lease]]:
    """Every row that an owner has a lease on, locked in their order, and the lease; raises Broken for a lease on none.

    A few statements however many there are, since everybody waits who wants something of these rows.
    """
    found = [
        (RowKey(*row[:3]), Headroom(row[3], bool(row[4]), *row[5:9]), Lease(row[9], row[10]))
        for row in _LOCK_ALL_OF[conn.dialect.name].run(conn, owner)
    ]
    if len(found) != _COUNT_OF.run(conn, owner).fetchone()[0]:
        raise Broken(f"{owner} has a lease without headroom row")
    return found


def end_leases(conn: Connection, owner: str, rows: Iterable[tuple[RowKey, Headroom]]) -> None:
    """End every lease of an owner; its rows are given as they are without them."""
    if _put_rows(conn, rows):
        _DELETE_OF.run(conn, owner)


def _put_rows(conn: Connection, rows: Iterable[tuple[RowKey, Headroom]]) -> bool:
    figures = [(row.taken, row.used, row.over, row.unbilled, _seal(key, row), *key) for key, row in rows]
    if figures:
        _PUT_ROWS.run(conn, figures)
    return bool(figures)


_SUMS = f"SELECT COALESCE(SUM(used), 0), COALESCE(SUM(share), 0) FROM leases {_THERE}"
_LEASED, _LEASED_BY_WRITERS = Statement(_SUMS), Statement(f"{_SUMS} AND {_BY_A_WRITER}")


def get_used(conn: Connection, key: RowKey) -> int:
    """All that was ever used on a row: what is folded into it plus what its leases used."""
    row = get_row(conn, key)
    return 0 if row is None else row.used + int(_LEASED.run(conn, *key).fetchone()[0])


def get_spare(conn: Connection, key: RowKey) -> int:
    """What all leases on a row have set aside and not used."""
    used, share = _LEASED.run(conn, *key).fetchone()
    return int(share) - int(used)


def get_writers_spare(conn: Connection, key: RowKey) -> int:
    """What writers' leases on a row have spare, which they can be asked for; a hold keeps what it has."""
    used, share = _LEASED_BY_WRITERS.run(conn, *key).fetchone()
    return int(share) - int(used)


_LEFT = """
SELECT h.account, h.kind, h."window", h.enforced, h.amount - h.taken, (
    SELECT COALESCE(SUM(l.share - l.used), 0) FROM leases l
    WHERE l.account = h.account AND l.kind = h.kind AND l."window" = h."window" AND l.owner <> {owner}
    AND substr(l.owner, 1, 7) = 'writer:'
) FROM headroom h{v} WHERE h.account = {account} AND h.kind = {kind} AND h."window" = {window}
"""
_LIST_LEFT = ForEach(
    (TEXT, TEXT, TEXT, TEXT),
    sqlite=_LEFT.format(v="", owner="?", account="?", kind="?", window="?"),
    postgresql=_LEFT.format(v=", {v}", owner="v.c1", account="v.c2", kind="v.c3", window="v.c4"),
)


def list_left(conn: Connection, keys: Iterable[RowKey], owner: str) -> list[tuple[RowKey, int | None, int]]:
    """Of each of these rows that is there: what is neither used nor leased, and what others than `owner` have spare.

    The first is below zero where more is taken than there is by now, and None where the row is not enforced.
    """
    found = _LIST_LEFT.fetch(conn, [(owner, *key) for key in keys])
    return [(RowKey(row[0], row[1], row[2]), int(row[4]) if row[3] else None, int(row[5])) for row in found]


_OTHERS = Statement("SELECT 1 FROM writers WHERE state = 'open' AND id <> ? LIMIT 1")


def is_shared(conn: Connection, writer: int) -> bool:
    """Whether other writers than this one are open, who take and give back headroom too."""
    return _OTHERS.run(conn, writer).fetchone() is not None


def list_leasing(conn: Connection, month: str) -> list[str]:
    """The accounts of whose month something is leased and not used."""
    c = t.leases.c
    spare = sa.and_(c.kind == MONTH, c.window == month, c.share > c.used)
    return [str(row[0]) for row in conn.execute(sa.select(c.account).distinct().where(spare))]


@Prepared
def _WINDOWS(account: Any, kind: Any, after: Any, before: Any) -> sa.Select[Any]:
    c = t.headroom.c
    of_kind = sa.select(c.window).where(c.account == account, c.kind == kind)
    return of_kind.where(c.window >= after, c.window < before).order_by(c.window)


def list_windows(conn: Connection, account: str, kind: str, subject: str | None = None) -> list[str]:
    """The windows for which an account has rows of a kind, or one key or user of it has, in their order."""
    after, before = ("", "\uffff") if subject is None else (f"{subject}/", f"{subject}0")  # "0" is next to "/"
    return [str(row[0]) for row in _WINDOWS.run(conn, account, kind, after, before)]


_SET_REFUSED = Statement(f"UPDATE headroom SET refused = ? {_THERE}")
_GET_REFUSED = Statement(f"SELECT refused FROM headroom {_THERE}")
_SET_WANTED = Statement(f"UPDATE headroom SET wanted_at = ? {_THERE}")


def set_refused(conn: Connection, key: RowKey, refused: bool) -> None:
    """Remember that a request was refused for this constraint while nothing was held (U7), or forget it."""
    _SET_REFUSED.run(conn, int(refused), *key)


def get_refused(conn: Connection, key: RowKey) -> bool:
    """Whether a request was refused for this constraint while nothing was held."""
    row = _GET_REFUSED.run(conn, *key).fetchone()
    return bool(row and row[0])


def set_wanted(conn: Connection, key: RowKey, at: int | None) -> None:
    """Ask other writers to return spare of a row (recall), or stop asking."""
    _SET_WANTED.run(conn, at, *key)


def stop_wanting(conn: Connection, before: int) -> None:
    """Stop asking writers for spare that was wanted before an instant."""
    c = t.headroom.c
    conn.execute(sa.update(t.headroom).where(c.wanted_at < before).values(wanted_at=None))


# Not a join: few rows are wanted, while one owner may hold a million leases.
_WANTED = Statement(
    'SELECT h.account, h.kind, h."window" FROM headroom h WHERE h.wanted_at IS NOT NULL AND EXISTS ('
    "SELECT 1 FROM leases l WHERE l.account = h.account AND l.kind = h.kind "
    'AND l."window" = h."window" AND l.owner = ?)'
)


def list_wanted(conn: Connection, owner: str) -> list[RowKey]:
    """The rows on which this owner holds a lease that others want spare of."""
    return [RowKey(*row) for row in _WANTED.run(conn, owner)]


def list_nearly_spent(conn: Connection, dust: int, month: str, accounts: Sequence[str] | None = None) -> list[str]:
    """Accounts with an enforced row of which less than `dust` is neither used nor still to be granted.

    Of the limits only the month's counts. Accounts that this suspends already are left out; with `accounts` given,
    only those are looked at.
    """
    if accounts is None:
        return [str(row[0]) for row in _NEARLY_SPENT.run(conn, dust, month)]
    parts = [accounts[start : start + _AT_ONCE] for start in range(0, len(accounts), _AT_ONCE)]
    return [str(row[0]) for part in parts for row in _NEARLY_SPENT_OF.run(conn, dust, month, part)]


def _nearly_spent(dust: Any, month: Any, *of: sa.ColumnElement[bool]) -> sa.Select[Any]:
    h, lease, cause = t.headroom.c, t.leases.c, t.causes.c
    suspends = sa.case((h.kind == MONTH, LIMIT_EXCEEDED), else_=CREDIT_DEPLETED)
    known = sa.exists().where(cause.account == h.account, cause.cause == suspends, cause.until_at.is_(None))
    spare = (
        sa.select(sa.func.coalesce(sa.func.sum(lease.share - lease.used), 0))
        .where(lease.account == h.account, lease.kind == h.kind, lease.window == h.window)
        .scalar_subquery()
    )
    this = sa.or_(h.window == "", h.window == month)
    nearly = (h.enforced == 1, this, h.amount - h.taken < dust, *of)
    return sa.select(h.account).distinct().where(*nearly, h.amount - h.taken + spare < dust, ~known)


_NEARLY_SPENT = Prepared(lambda dust, month: _nearly_spent(dust, month))
_NEARLY_SPENT_OF = Prepared(
    lambda dust, month, accounts: _nearly_spent(dust, month, t.headroom.c.account.in_(accounts))
)
