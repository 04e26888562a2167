"""The ledger exported as plain-text accounting, with the balances kept here for the other program to check."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

from purser.core.plain_text import Format, name_of
from purser.store import ledger
from purser.store.db import Connection


def export_ledger(conn: Connection, format_: Format, account: str | None = None) -> Generator[str]:
    """One account's ledger or everybody's, piece by piece: every entry, then the balances it must come to.

    Entries come from the postings and balances from those kept beside them, so a program that adds up the first and
    comes to the second has checked both. Raises Broken for what cannot be named.
    """
    yield format_.head()
    for each in ledger.iter_accounts(conn) if account is None else [account]:
        yield from _export_account(conn, format_, each)


def _export_account(conn: Connection, format_: Format, account: str) -> Generator[str]:
    balances = {name_of(account, name): nanos for name, nanos in ledger.list_signed_balances(conn, account)}
    last = None
    with closing(ledger.iter_entries(conn, account)) as entries:
        for entry in entries:
            if last is None:
                yield format_.opened(list(balances), entry.at)
            yield format_.entry(entry)
            last = entry.at
    if balances:
        if last is None:  # balances of nothing: the other program is to say so
            last = 0
            yield format_.opened(list(balances), last)
        yield format_.asserted(balances, last)
