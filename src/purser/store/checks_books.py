"""Checks of the books: transactions balance, balances are the fold of their postings, credit adds up."""

from __future__ import annotations

from purser.store.checks import Findings, Invariant, each, usd
from purser.store.db import Connection

_B1 = """
SELECT * FROM (
    SELECT t.account, t.key, t.kind, COUNT(p.n) AS postings, COALESCE(MIN(p.amount), 1) AS least,
        COALESCE(SUM(CASE WHEN p.side = 'D' THEN p.amount ELSE 0 END), 0) AS debits,
        COALESCE(SUM(CASE WHEN p.side = 'C' THEN p.amount ELSE 0 END), 0) AS credits
    FROM transactions t LEFT JOIN postings p ON p.account = t.account AND p.key = t.key
    GROUP BY t.account, t.key, t.kind
) s WHERE debits <> credits OR postings < 2 OR least <= 0
"""
_B1_STRAY = """
SELECT p.account, p.key, p.n, p.ledger, p.side, p.amount FROM postings p
LEFT JOIN transactions t ON t.account = p.account AND t.key = p.key WHERE t.key IS NULL
"""


def _transactions_balance(conn: Connection, found: Findings) -> None:
    found.count(conn, "transactions", "postings")
    for row in each(conn, _B1):
        where = f"account {row.account}, transaction {row.key}"
        if row.postings < 2:
            found.blame(where, f"it has {row.postings} postings; a transaction has at least a debit and a credit")
        elif row.debits != row.credits:
            found.blame(
                where,
                f"it does not balance: debits {usd(row.debits)}, credits {usd(row.credits)}, "
                f"a difference of {usd(row.debits - row.credits)}",
            )
        else:
            found.blame(where, f"it has a posting of {usd(row.least)}; every amount is above zero")
    for row in each(conn, _B1_STRAY):
        side = "debit" if row.side == "D" else "credit"
        found.blame(
            f"account {row.account}, posting {row.key}/{row.n}",
            f"a {side} of {usd(row.amount)} to {row.ledger} belongs to no transaction",
        )


_B2 = """
SELECT * FROM (
    SELECT account, SUM(debits) AS debits, SUM(credits) AS credits FROM balances GROUP BY account
) s WHERE debits <> credits
"""


def _balances_sum_to_zero(conn: Connection, found: Findings) -> None:
    found.count(conn, "balances")
    overall = 0
    for row in each(conn, _B2):
        difference = int(row.debits - row.credits)
        overall += difference
        found.blame(
            f"account {row.account}, all ledger accounts",
            f"debits {usd(row.debits)} and credits {usd(row.credits)} differ by {usd(difference)}; they must be equal",
        )
    if overall:
        found.blame("all accounts", f"debits and credits of the whole ledger differ by {usd(overall)}")


_B3 = """
SELECT * FROM (
    SELECT account, ledger, writer, SUM(debits) AS debits, SUM(credits) AS credits, SUM(posted_debits) AS posted_debits,
        SUM(posted_credits) AS posted_credits
    FROM (
        SELECT account, ledger, writer, debits, credits, 0 AS posted_debits, 0 AS posted_credits FROM balances
        UNION ALL
        SELECT p.account, p.ledger, t.writer, 0, 0, CASE WHEN p.side = 'D' THEN p.amount ELSE 0 END,
            CASE WHEN p.side = 'C' THEN p.amount ELSE 0 END
        FROM postings p JOIN transactions t ON t.account = p.account AND t.key = p.key
    ) f GROUP BY account, ledger, writer
) s WHERE debits <> posted_debits OR credits <> posted_credits
"""


def _balances_are_folds(conn: Connection, found: Findings) -> None:
    found.count(conn, "balances", "postings")
    for row in each(conn, _B3):
        found.blame(
            f"account {row.account}, ledger account {row.ledger}, writer {row.writer}",
            f"the balance kept is debits {usd(row.debits)} and credits {usd(row.credits)}, but the postings sum to "
            f"debits {usd(row.posted_debits)} and credits {usd(row.posted_credits)}",
        )


_B4_DENSE = """
SELECT * FROM (
    SELECT account, key, COUNT(*) AS postings, MIN(n) AS first, MAX(n) AS last FROM postings GROUP BY account, key
) s WHERE first <> 0 OR last <> postings - 1
"""
_B4_CORRECTS = """
SELECT t.account, t.key, t.corrects FROM transactions t
LEFT JOIN transactions c ON c.account = t.account AND c.key = t.corrects AND c.key <> t.key
WHERE t.corrects IS NOT NULL AND c.key IS NULL
"""


def _postings_are_whole(conn: Connection, found: Findings) -> None:
    found.count(conn, "transactions", "postings")
    for row in each(conn, _B4_DENSE):
        found.blame(
            f"account {row.account}, transaction {row.key}",
            f"its {row.postings} postings are numbered from {row.first} to {row.last}, not 0 to {row.postings - 1}: "
            f"one was removed, added or renumbered",
        )
    for row in each(conn, _B4_CORRECTS):
        found.blame(
            f"account {row.account}, transaction {row.key}",
            f"it corrects {row.corrects}, which is no other transaction of this account",
        )


_B5_LEDGER = """
SELECT * FROM (
    SELECT account, ledger, SUM(credits) - SUM(debits) AS balance FROM balances
    WHERE substr(ledger, 1, 7) = 'credit:' GROUP BY account, ledger
) s WHERE balance < 0
"""
_B5_OWED = """
SELECT * FROM (
    SELECT account, ledger, SUM(debits) - SUM(credits) AS balance FROM balances
    WHERE substr(ledger, 1, 6) = 'usage:' OR substr(ledger, 1, 9) IN ('unbilled:', 'invoiced:')
    GROUP BY account, ledger
) s WHERE balance < 0
"""
_B5_GRANTS = "SELECT account, id, granted, remaining, lapsed FROM grants WHERE remaining < 0 OR remaining > granted"


def _credit_is_never_negative(conn: Connection, found: Findings) -> None:
    found.count(conn, "grants", "balances")
    for row in each(conn, _B5_LEDGER):
        found.blame(
            f"account {row.account}, ledger account {row.ledger}",
            f"more was drawn than was granted: its balance is {usd(row.balance)}",
        )
    for row in each(conn, _B5_OWED):
        found.blame(
            f"account {row.account}, ledger account {row.ledger}",
            f"more was paid, drawn or invoiced than was owed: its balance is {usd(row.balance)}",
        )
    for row in each(conn, _B5_GRANTS):
        found.blame(
            f"account {row.account}, credit grant {row.id}",
            f"{usd(row.remaining)} remaining of {usd(row.granted)} granted lies outside what was granted",
        )


_B7 = """
SELECT * FROM (
    SELECT account, ledger, COUNT(id) AS grants, SUM(granted) AS granted, SUM(remaining) AS remaining,
        SUM(lapsed) AS lapsed, SUM(in_books) AS in_books, SUM(drawn) AS drawn, SUM(expired) AS expired,
        SUM(other) AS other
    FROM (
        SELECT account, 'credit:' || id AS ledger, id, granted, remaining, lapsed, 0 AS in_books, 0 AS drawn,
            0 AS expired, 0 AS other
        FROM grants
        UNION ALL
        SELECT p.account, p.ledger, NULL, 0, 0, 0, CASE WHEN p.side = 'C' THEN p.amount ELSE 0 END,
            CASE WHEN p.side = 'D' AND t.kind = 'drawn' THEN p.amount ELSE 0 END,
            CASE WHEN p.side = 'D' AND t.kind = 'lapsed' THEN p.amount ELSE 0 END,
            CASE WHEN p.side = 'D' AND t.kind NOT IN ('drawn', 'lapsed') THEN p.amount ELSE 0 END
        FROM postings p JOIN transactions t ON t.account = p.account AND t.key = p.key
        WHERE substr(p.ledger, 1, 7) = 'credit:'
    ) f GROUP BY account, ledger
) s WHERE grants <> 1 OR granted <> in_books OR lapsed <> expired OR other <> 0 OR drawn + lapsed + remaining <> granted
"""


def _grants_add_up(conn: Connection, found: Findings) -> None:
    found.count(conn, "grants")
    for row in each(conn, _B7):
        where = f"account {row.account}, credit grant {row.ledger.removeprefix('credit:')}"
        if row.grants != 1:
            found.blame(where, f"the books have {usd(row.in_books)} of credit for a grant that does not exist")
            continue
        if row.granted != row.in_books:
            found.blame(where, f"{usd(row.granted)} were granted, but {usd(row.in_books)} entered the books")
        if row.lapsed != row.expired:
            found.blame(where, f"{usd(row.lapsed)} have lapsed, but by the books {usd(row.expired)}")
        if row.other:
            found.blame(where, f"{usd(row.other)} were taken by something that is neither usage nor expiry")
        if row.drawn + row.lapsed + row.remaining != row.granted:
            found.blame(
                where,
                f"drawn {usd(row.drawn)}, lapsed {usd(row.lapsed)} and remaining {usd(row.remaining)} make "
                f"{usd(row.drawn + row.lapsed + row.remaining)}, not the {usd(row.granted)} granted",
            )


CHECKS = (
    Invariant("B1", "Every transaction balances, with amounts above zero", _transactions_balance),
    Invariant("B2", "All balances sum to zero, for each account and overall", _balances_sum_to_zero),
    Invariant("B3", "Every balance is the sum of its postings", _balances_are_folds),
    Invariant("B4", "No posting is missing, and corrections name what they correct", _postings_are_whole),
    Invariant("B5", "Credit is never below zero, and nothing is paid beyond what is owed", _credit_is_never_negative),
    Invariant("B7", "For every credit grant drawn, lapsed and remaining make what was granted", _grants_add_up),
)
