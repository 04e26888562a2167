"""The journal as rows: append-only transactions and postings, with each writer's share of every balance."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from itertools import groupby
from typing import Any

import sqlalchemy as sa

from purser.core.journal import DEBIT_NORMAL, Posting, Transaction
from purser.core.plain_text import Entry
from purser.store import schema as t
from purser.store.bulk import INT, TEXT, Insert, Statement
from purser.store.db import Connection
from purser.store.prepared import Prepared
from purser.store.writers import Tx

_INSERT = Insert(
    "transactions",
    {"account": TEXT, "key": TEXT, "kind": TEXT, "at": INT, "corrects": TEXT, "writer": INT, "seq": INT},
)
_POST = Insert("postings", {"account": TEXT, "key": TEXT, "n": INT, "ledger": TEXT, "side": TEXT, "amount": INT})
_BALANCE = Insert(
    "balances",
    {"account": TEXT, "ledger": TEXT, "writer": INT, "debits": INT, "credits": INT},
    key=("account", "ledger", "writer"),
    adding=("debits", "credits"),
)
_AT_ONCE = 1_000  # rows fetched at a time


def post(tx: Tx, account: str, transaction: Transaction, *, corrects: str | None = None) -> None:
    """Append a balanced transaction; the database refuses a key that was posted before."""
    post_all(tx, [(account, transaction)], corrects=corrects)


def post_all(tx: Tx, entries: Iterable[tuple[str, Transaction]], *, corrects: str | None = None) -> None:
    """Append several transactions at once."""
    heads: list[tuple[object, ...]] = []
    postings: list[tuple[object, ...]] = []
    sums: dict[tuple[str, str], list[int]] = {}
    for account, entry in entries:
        heads.append((account, entry.key, entry.kind, tx.now, corrects, tx.writer, tx.seq))
        tx.cover("transaction", account, entry.key, entry.kind, tx.now, corrects)
        for n, posting in enumerate(entry.postings):
            values = (account, entry.key, n, posting.ledger, "D" if posting.debit else "C", posting.amount_nanos)
            postings.append(values)
            tx.cover("posting", *values)
            sides = sums.setdefault((account, posting.ledger), [0, 0])
            sides[0 if posting.debit else 1] += posting.amount_nanos
    _INSERT.run(tx.conn, heads)
    _POST.run(tx.conn, postings)
    _BALANCE.run(tx.conn, [(account, ledger, tx.writer, *sides) for (account, ledger), sides in sums.items()])


@Prepared
def _BALANCES(account: Any, first: Any, end: Any) -> sa.Select[Any]:
    c = t.balances.c
    sums = sa.select(c.ledger, sa.func.sum(c.debits), sa.func.sum(c.credits))
    return sums.where(c.account == account, c.ledger >= first, c.ledger < end).group_by(c.ledger).order_by(c.ledger)


def get_balances(conn: Connection, account: str, prefix: str) -> dict[str, int]:
    """The balances of the ledger accounts that start with `prefix`, each on its natural side, by full name."""
    found = _BALANCES.run(conn, account, prefix, prefix + "\uffff")
    return {row[0]: _natural(row[0], int(row[1]), int(row[2])) for row in found}


@Prepared
def _TURNOVER(account: Any, ledger: Any) -> sa.Select[Any]:
    c = t.balances.c
    sums = (sa.func.coalesce(sa.func.sum(column), 0) for column in (c.debits, c.credits))
    return sa.select(*sums).where(c.account == account, c.ledger == ledger)


def get_turnover(conn: Connection, account: str, ledger: str) -> tuple[int, int]:
    """All debits and all credits ever posted to one ledger account."""
    row = _TURNOVER.run(conn, account, ledger).one()
    return int(row[0]), int(row[1])


@Prepared
def _TURNOVERS(accounts: Any, ledger: Any) -> sa.Select[Any]:
    c = t.balances.c
    sums = sa.select(c.account, sa.func.sum(c.debits), sa.func.sum(c.credits))
    return sums.where(c.account.in_(accounts), c.ledger == ledger).group_by(c.account)


def get_balance_of_each(conn: Connection, accounts: Sequence[str], ledger: str) -> dict[str, int]:
    """As `get_balance`, for each of these accounts that has had postings there."""
    found = _TURNOVERS.run(conn, accounts, ledger)
    return {str(row[0]): _natural(ledger, int(row[1]), int(row[2])) for row in found}


def sum_credits(conn: Connection, account: str, prefix: str) -> int:
    """All credits ever posted to the ledger accounts that start with `prefix`."""
    c = t.balances.c
    ours = (c.account == account, c.ledger >= prefix, c.ledger < prefix + "\uffff")
    return int(conn.execute(sa.select(sa.func.coalesce(sa.func.sum(c.credits), 0)).where(*ours)).scalar_one())


def get_balance(conn: Connection, account: str, ledger: str) -> int:
    """One ledger account's balance on its natural side, nano-dollars."""
    return _natural(ledger, *get_turnover(conn, account, ledger))


def _natural(ledger: str, debits: int, credits: int) -> int:
    return debits - credits if ledger.split(":")[0] in DEBIT_NORMAL else credits - debits


def list_credited(conn: Connection, account: str, key: str) -> list[tuple[str, int]]:
    """What a transaction credited, in order: ledger accounts and amounts; nothing where there is no such one."""
    c = t.postings.c
    query = sa.select(c.ledger, c.amount).where(c.account == account, c.key == key, c.side == "C").order_by(c.n)
    return [(str(row[0]), int(row[1])) for row in conn.execute(query)]


def list_transactions(
    conn: Connection, account: str, limit: int = 200, after: tuple[int, str] | None = None
) -> list[dict[str, Any]]:
    """An account's transactions with their postings, newest first, after a given (at, key)."""
    c = t.transactions.c
    place = (c.at, c.writer, c.seq, c.key)  # of those of one instant as they were written
    query = sa.select(t.transactions).where(c.account == account).order_by(*(column.desc() for column in place))
    if after is not None:
        last = t.transactions.alias().c
        known = sa.and_(last.account == account, last.key == after[1])
        writer, seq = (sa.select(column).where(known).scalar_subquery() for column in (last.writer, last.seq))
        query = query.where(sa.tuple_(*place) < sa.tuple_(sa.literal(after[0]), writer, seq, sa.literal(after[1])))
    answer = []
    for head in conn.execute(query.limit(limit)).all():
        sides = conn.execute(
            sa.select(t.postings.c.ledger, t.postings.c.side, t.postings.c.amount)
            .where(t.postings.c.account == account, t.postings.c.key == head.key)
            .order_by(t.postings.c.n)
        ).all()
        answer.append({"key": head.key, "kind": head.kind, "at": head.at, "postings": [tuple(side) for side in sides]})
    return answer


_NEXT = Statement(
    "SELECT MIN(account) FROM (SELECT MIN(account) AS account FROM transactions WHERE account > ? "
    "UNION ALL SELECT MIN(account) FROM balances WHERE account > ?) a"
)


def iter_accounts(conn: Connection) -> Iterator[str]:
    """The accounts that have entries or balances, in order."""
    account = ""
    while True:
        found = _NEXT.run(conn, account, account).fetchone()[0]
        if found is None:
            return
        account = str(found)
        yield account


def count_transactions(conn: Connection, account: str | None, most: int) -> int:
    """How many transactions an account has, or all have together, counted as far as `most`."""
    found = sa.select(t.transactions.c.key).limit(most)
    if account is not None:
        found = found.where(t.transactions.c.account == account)
    return int(conn.execute(sa.select(sa.func.count()).select_from(found.subquery())).scalar_one())


_ENTRIES = sa.text(
    "SELECT t.key, t.kind, t.at, t.corrects, p.ledger, p.side, p.amount FROM transactions t "
    "JOIN postings p ON p.account = t.account AND p.key = t.key "
    "WHERE t.account = :account ORDER BY t.at, t.writer, t.seq, t.key, p.n"
)


def iter_entries(conn: Connection, account: str) -> Generator[Entry]:
    """An account's transactions one by one, oldest first, never all in memory; to be closed where it is left early."""
    with conn.execute(_ENTRIES, {"account": account}, execution_options={"yield_per": _AT_ONCE}) as found:
        for (key, kind, at, corrects), rows in groupby(found, key=lambda row: tuple(row[:4])):
            postings = tuple(Posting(row.ledger, row.side == "D", row.amount) for row in rows)
            yield Entry(account, at, Transaction(key, kind, postings), corrects)


def list_signed_balances(conn: Connection, account: str) -> list[tuple[str, int]]:
    """The balance of every ledger account that an account has, debits less credits, by its name."""
    return [(str(row[0]), int(row[1]) - int(row[2])) for row in _BALANCES.run(conn, account, "", "\uffff")]
