"""Checks of documents, payments and standing: invoices add up, money stands behind credit, causes have their reason."""

from __future__ import annotations

from purser.core.invoice import invoice_number
from purser.core.usage import AMOUNT
from purser.store.checks import Findings, Invariant, each, usd
from purser.store.db import Connection, Row


def _invoice(row: Row) -> str:
    return f"account {row.account}, invoice {row.number}"


# What issued invoices carried on later is taken up by the first one after: its carried_in is above carried_before then.
# When that was, clocks of two hosts tell within five minutes.
_D1 = """
SELECT * FROM (
    SELECT i.*, COALESCE(LAG(carried_out) OVER bills, 0) AS carried_before,
        SUM(carried_in - carried_out) OVER bills + carried_out AS taken_up,
        (SELECT COALESCE(SUM(l.amount), 0) FROM invoice_lines l WHERE l.account = i.account AND l.invoice = i.id)
            AS lines,
        COALESCE(c.least, 0) AS least_carried_on, COALESCE(c.most, 0) AS most_carried_on
    FROM invoices i LEFT JOIN (
        SELECT b.account, b.id, SUM(CASE WHEN f.at < b.issued_at - 300000000 THEN f.amount ELSE 0 END) AS least,
            SUM(f.amount) AS most
        FROM (
            SELECT o.account, t.at, p.amount FROM invoices o
            JOIN transactions t ON t.account = o.account AND t.key = o.id || '/carried'
            JOIN postings p ON p.account = t.account AND p.key = t.key AND p.side = 'C'
        ) f JOIN invoices b ON b.account = f.account AND f.at <= b.issued_at + 300000000
        WHERE b.type <> 'PREPAID_CREDITS' GROUP BY b.account, b.id
    ) c ON c.account = i.account AND c.id = i.id
    WINDOW bills AS (PARTITION BY i.account, i.type = 'PREPAID_CREDITS' ORDER BY i.month)
) s WHERE total <> subtotal - credits_applied + tax + carried_in - carried_out OR amount_due <> total - payments_applied
    OR (type <> 'PREPAID_CREDITS' AND (lines <> subtotal OR total % 10000000 <> 0 OR carried_in < carried_before
        OR CASE WHEN most_carried_on = 0 THEN carried_in <> carried_before
            ELSE taken_up NOT BETWEEN least_carried_on AND most_carried_on END))
    OR (type = 'PREPAID_CREDITS' AND (lines <> 0 OR amount_due <> 0 OR total <> subtotal))
    OR subtotal < 0 OR credits_applied < 0 OR carried_out < 0 OR total < 0 OR payments_applied < 0
"""
_D1_STRAY = """
SELECT l.account, l.invoice, l.n, l.amount FROM invoice_lines l
LEFT JOIN invoices i ON i.account = l.account AND i.id = l.invoice WHERE i.id IS NULL
"""


def _invoices_add_up(conn: Connection, found: Findings) -> None:
    found.count(conn, "invoices", "invoice_lines")
    for row in each(conn, _D1):
        found.blame(
            _invoice(row),
            f"it does not add up: lines {usd(row.lines)}, subtotal {usd(row.subtotal)}, credits "
            f"{usd(row.credits_applied)}, tax {usd(row.tax)}, carried in {usd(row.carried_in)} (the one before carried "
            f"out {usd(row.carried_before)}; {usd(row.most_carried_on)} went on since), carried out "
            f"{usd(row.carried_out)}, total {usd(row.total)}, payments {usd(row.payments_applied)}, due "
            f"{usd(row.amount_due)}",
        )
    for row in each(conn, _D1_STRAY):
        found.blame(
            f"account {row.account}, invoice line {row.invoice}/{row.n}",
            f"a line of {usd(row.amount)} belongs to no invoice",
        )


_D2_TWICE = """
SELECT account, month, COUNT(*) AS bills, MIN(number) AS first, MAX(number) AS last FROM invoices
WHERE type <> 'PREPAID_CREDITS' GROUP BY account, month HAVING COUNT(*) > 1
"""
_D2_LINES = f"""
SELECT * FROM (
    SELECT account, bill, number, month, model, unit, SUM(billed) AS billed, SUM(listed) AS listed, SUM(used) AS used,
        SUM(amount) AS amount
    FROM (
        SELECT l.account, i.month AS bill, i.number, l.month, l.model, l.unit, l.rate_nanos, l.rate_per,
            l.quantity AS billed, l.amount AS listed, 0 AS used, 0 AS amount
        FROM invoice_lines l JOIN invoices i ON i.account = l.account AND i.id = l.invoice
        UNION ALL
        SELECT r.account, i.month, i.number, r.month, r.model, r.unit, COALESCE(p.nanos, 1), COALESCE(p.per, 1), 0, 0,
            r.quantity, r.amount
        FROM invoices i JOIN rollups r ON r.account = i.account AND r.bill_month = i.month
        LEFT JOIN rates p ON p.version = r.version AND p.model = r.model AND p.unit = r.unit
        WHERE i.type <> 'PREPAID_CREDITS' AND (p.per IS NOT NULL OR r.unit = '{AMOUNT}')
    ) f GROUP BY account, bill, number, month, model, unit, rate_nanos, rate_per
) s WHERE billed <> used OR listed <> amount
"""
_D2_NEVER = """
SELECT DISTINCT a.id AS account, r.bill_month FROM accounts a
JOIN rollups r ON r.account = a.id AND (r.bill_month <= a.closed_through
    OR r.bill_month <= (SELECT value FROM meta WHERE name = 'closed_through'))
LEFT JOIN invoices i ON i.account = a.id AND i.month = r.bill_month AND i.type <> 'PREPAID_CREDITS'
WHERE i.id IS NULL AND (EXISTS (
    SELECT 1 FROM mode_changes c WHERE c.account = a.id AND (
        (c.until_month = r.bill_month AND c.was <> 'prepaid') OR (c.from_month = r.bill_month AND c.mode <> 'prepaid'))
) OR (COALESCE((
    SELECT c.was FROM mode_changes c WHERE c.account = a.id AND c.until_month > r.bill_month ORDER BY c.n LIMIT 1
), a.billing_mode) <> 'prepaid' AND NOT EXISTS (
    SELECT 1 FROM mode_changes c WHERE c.account = a.id AND r.bill_month IN (c.until_month, c.from_month))))
"""


def _charges_are_on_one_document(conn: Connection, found: Findings) -> None:
    found.count(conn, "invoices", "invoice_lines")
    for row in each(conn, _D2_TWICE):
        found.blame(
            f"account {row.account}, bill of {row.month}", f"it is on {row.bills} invoices: {row.first}, {row.last}"
        )
    for row in each(conn, _D2_LINES):
        found.blame(
            f"{_invoice(row)}, line {row.month} {row.model} {row.unit}",
            f"it bills {row.billed} units for {usd(row.listed)}, but {row.used} units for {usd(row.amount)} were used",
        )
    for row in each(conn, _D2_NEVER):
        found.blame(
            f"account {row.account}, bill of {row.bill_month}", "the month is closed, but its usage is on no invoice"
        )


_D3_COUNT = """
SELECT * FROM (
    SELECT a.id AS account, a.invoices AS highest, COUNT(i.id) AS documents FROM accounts a
    LEFT JOIN invoices i ON i.account = a.id GROUP BY a.id, a.invoices
) s WHERE highest <> documents
"""
_D3_NUMBERS = """
SELECT i.account, i.id, i.number, a.invoices AS highest FROM invoices i LEFT JOIN accounts a ON a.id = i.account
"""


def _numbers_have_no_gaps(conn: Connection, found: Findings) -> None:
    for row in each(conn, _D3_COUNT):
        found.blame(
            f"account {row.account}, invoice numbers",
            f"numbers up to {row.highest} were given, but there are {row.documents} documents",
        )
    for row in each(conn, _D3_NUMBERS):
        found.rows += 1
        digits = row.number.rpartition("-")[2]
        sequence = int(digits) if digits.isascii() and digits.isdecimal() else 0
        if not 1 <= sequence <= (row.highest or 0) or row.number != invoice_number(row.account, sequence):
            found.blame(
                f"account {row.account}, invoice {row.id}",
                f"its number {row.number} is not one of {invoice_number(row.account, 1)} to "
                f"{invoice_number(row.account, row.highest or 0)}",
            )


_D4 = """
SELECT * FROM (
    SELECT p.account, p.id, p.state, p.amount, COALESCE(c.cash, 0) AS cash FROM payments p
    LEFT JOIN (
        SELECT account, key, SUM(amount) AS cash FROM postings WHERE ledger = 'cash' AND side = 'D'
        GROUP BY account, key
    ) c ON c.account = p.account AND c.key = p.id || '/received'
) s WHERE cash <> CASE WHEN state = 'succeeded' THEN amount ELSE 0 END
"""
_D4_TWICE = """
SELECT provider_id, COUNT(*) AS payments, MIN(account) AS account, MIN(id) AS first, MAX(id) AS last FROM payments
WHERE state = 'succeeded' GROUP BY provider_id HAVING COUNT(*) > 1
"""


def _payments_are_posted_once(conn: Connection, found: Findings) -> None:
    found.count(conn, "payments")
    for row in each(conn, _D4):
        found.blame(
            f"account {row.account}, payment {row.id}",
            f"it is {row.state} and of {usd(row.amount)}, but {usd(row.cash)} of cash was posted for it",
        )
    for row in each(conn, _D4_TWICE):
        found.blame(
            f"account {row.account}, payment {row.first}",
            f"the provider's charge {row.provider_id} was taken for {row.payments} payments, {row.last} among them",
        )


_D5_GRANTS = """
SELECT * FROM (
    SELECT g.account, g.id, g.kind, g.granted, (
        SELECT COALESCE(SUM(p.amount), 0) FROM postings p
        WHERE p.account = g.account AND p.ledger = 'credit:' || g.id AND p.side = 'C' AND EXISTS (
            SELECT 1 FROM postings c WHERE c.account = p.account AND c.key = p.key AND c.side = 'D'
            AND c.ledger = CASE WHEN g.kind = 'purchased' THEN 'cash' ELSE 'promotions' END)
    ) AS backed FROM grants g
) s WHERE granted <> backed
"""
_D5_CASH = """
SELECT * FROM (
    SELECT account, SUM(cash) AS cash, SUM(bought) AS bought, SUM(paid) AS paid FROM (
        SELECT account, debits AS cash, 0 AS bought, 0 AS paid FROM balances WHERE ledger = 'cash'
        UNION ALL SELECT account, 0, total, 0 FROM invoices WHERE type = 'PREPAID_CREDITS'
        UNION ALL SELECT account, 0, 0, amount FROM payments
        WHERE state = 'succeeded' AND purpose = 'invoice' AND receipt IS NULL
    ) f GROUP BY account
) s WHERE cash <> bought + paid
"""


def _cash_stands_behind_credit(conn: Connection, found: Findings) -> None:
    found.count(conn, "grants", "payments")
    for row in each(conn, _D5_GRANTS):
        source = "cash" if row.kind == "purchased" else "free credit"
        found.blame(
            f"account {row.account}, credit grant {row.id}",
            f"{usd(row.granted)} of {row.kind} credit were granted, but {usd(row.backed)} of {source} stand behind it",
        )
    for row in each(conn, _D5_CASH):
        found.blame(
            f"account {row.account}, ledger account cash",
            f"{usd(row.cash)} came in, but receipts for credit are {usd(row.bought)} and payments of invoices "
            f"{usd(row.paid)}: a difference of {usd(row.cash - row.bought - row.paid)}",
        )


_INVOICED = """
SELECT * FROM (
    SELECT account, ledger, MAX(number) AS number, SUM(due) AS due, SUM(paid) AS paid, SUM(balance) AS balance FROM (
        SELECT account, 'invoiced:' || id AS ledger, number, amount_due AS due, paid, 0 AS balance FROM invoices
        UNION ALL SELECT account, ledger, NULL, 0, 0, debits - credits FROM balances
        WHERE substr(ledger, 1, 9) = 'invoiced:'
    ) f GROUP BY account, ledger
) s WHERE due - paid <> balance OR balance < 0
"""
_STATES = """
SELECT account, number, state, amount_due, paid, paid_at FROM invoices
WHERE CASE WHEN paid = amount_due THEN state <> 'PAID' OR paid_at IS NULL ELSE state NOT IN ('ISSUED', 'FAILED') END
"""


def _invoices_agree_with_books(conn: Connection, found: Findings) -> None:
    found.count(conn, "invoices")
    for row in each(conn, _INVOICED):
        found.blame(
            f"account {row.account}, invoice {row.number or row.ledger.removeprefix('invoiced:')}",
            f"{usd(row.due)} due and {usd(row.paid)} paid leave {usd(row.due - row.paid)}, but by the books "
            f"{usd(row.balance)} is owed on it",
        )
    for row in each(conn, _STATES):
        found.blame(
            _invoice(row),
            f"it is {row.state} with {usd(row.paid)} paid of {usd(row.amount_due)} due",
        )


_U1 = """
SELECT c.account, c.cause, a.billing_mode, a.blocked_reason FROM causes c LEFT JOIN accounts a ON a.id = c.account
WHERE c.until_at IS NULL AND CASE c.cause
    WHEN 'BLOCKED_BY_ABUSE_RULE' THEN a.blocked_reason IS NULL
    WHEN 'FAILED_PAYMENTS' THEN a.billing_mode = 'contract' OR NOT EXISTS (
        SELECT 1 FROM invoices i WHERE i.account = c.account AND i.state = 'FAILED' AND i.amount_due > i.paid)
    WHEN 'CREDIT_DEPLETED' THEN a.billing_mode = 'contract' OR (a.billing_mode <> 'prepaid' AND EXISTS (
        SELECT 1 FROM payment_methods m WHERE m.account = c.account AND m.removed_at IS NULL))
    WHEN 'MONTHLY_SPEND_LIMIT_EXCEEDED' THEN a.billing_mode = 'contract'
    ELSE 1 = 1 END
"""
_U1_BLOCKED = """
SELECT a.id AS account FROM accounts a WHERE a.blocked_reason IS NOT NULL AND NOT EXISTS (
    SELECT 1 FROM causes c WHERE c.account = a.id AND c.cause = 'BLOCKED_BY_ABUSE_RULE' AND c.until_at IS NULL)
"""
_U1_TWICE = """
SELECT account, cause, COUNT(*) AS times FROM causes WHERE until_at IS NULL
GROUP BY account, cause HAVING COUNT(*) > 1
"""


def _causes_have_reasons(conn: Connection, found: Findings) -> None:
    found.count(conn, "causes")
    for row in each(conn, _U1):
        found.blame(
            f"account {row.account}, cause {row.cause}",
            f"it suspends the account ({row.billing_mode}) without its reason",
        )
    for row in each(conn, _U1_BLOCKED):
        found.blame(f"account {row.account}", "an operator blocked it, but no cause suspends it")
    for row in each(conn, _U1_TWICE):
        found.blame(f"account {row.account}, cause {row.cause}", f"it is open {row.times} times")


CHECKS = (
    Invariant("D1", "Every document adds up, its lines to its subtotal", _invoices_add_up),
    Invariant("D2", "Every charge of a closed month is on exactly one document", _charges_are_on_one_document),
    Invariant("D3", "Document numbers have no gaps", _numbers_have_no_gaps),
    Invariant("D4", "Every payment that succeeded is in the books once, and no other", _payments_are_posted_once),
    Invariant("D5", "Money received stands behind every credit bought", _cash_stands_behind_credit),
    Invariant("invoiced", "What is owed on every invoice agrees with the books", _invoices_agree_with_books),
    Invariant("U1", "Every open suspension has its reason", _causes_have_reasons),
)
