"""Invoices, their lines and receipts as rows; an issued invoice's figures never change."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from purser.core.invoice import CONTRACTED, FAILED, ISSUED, POSTPAID_BILLING, UNPAID, InvoiceLine
from purser.core.journal import CARRIED_ON, invoiced_account
from purser.core.limits import CONTRACT
from purser.core.standing import FAILED_PAYMENTS
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared


def insert_invoice(conn: Connection, lines: Iterable[InvoiceLine], **values: Any) -> None:
    """A new invoice with its lines, numbered from 1."""
    seals.insert(conn, t.invoices, values)
    rows = [
        {
            "account": values["account"],
            "invoice": values["id"],
            "n": n,
            "month": line.month,
            "model": line.model,
            "unit": line.unit,
            "quantity": line.quantity,
            "rate_nanos": line.rate_nanos,
            "rate_per": line.rate_per,
            "amount": line.amount_nanos,
        }
        for n, line in enumerate(lines, 1)
    ]
    seals.insert(conn, t.invoice_lines, *rows)


@Prepared
def _ONE(account: Any, invoice: Any) -> sa.Select[Any]:
    c = t.invoices.c
    return sa.select(t.invoices).where(c.account == account, sa.or_(c.id == invoice, c.number == invoice))


def get_invoice(conn: Connection, account: str, invoice: str) -> Row | None:
    """One invoice by its id or its number."""
    return _ONE.run(conn, account, invoice).first()


@Prepared
def _OF_ACCOUNT(account: Any) -> sa.Select[Any]:
    c = t.invoices.c
    return sa.select(t.invoices).where(c.account == account).order_by(c.issued_at.desc(), c.number.desc())


def list_invoices(conn: Connection, account: str) -> list[Row]:
    """An account's invoices and receipts, newest first."""
    return list(_OF_ACCOUNT.run(conn, account))


@Prepared
def _LINES(account: Any, invoice: Any) -> sa.Select[Any]:
    c = t.invoice_lines.c
    return sa.select(t.invoice_lines).where(c.account == account, c.invoice == invoice).order_by(c.n)


def list_lines(conn: Connection, account: str, invoice: str) -> list[Row]:
    """An invoice's lines in order."""
    return list(_LINES.run(conn, account, invoice))


@Prepared
def _UNPAID(account: Any) -> sa.Select[Any]:
    c = t.invoices.c
    owed = sa.select(t.invoices).where(c.account == account, c.state.in_(UNPAID), c.amount_due > c.paid)
    return owed.order_by(c.issued_at, c.number)


def list_unpaid(conn: Connection, account: str) -> list[Row]:
    """Invoices on which something is owed, oldest first."""
    return list(_UNPAID.run(conn, account))


def list_carried_on(conn: Connection, account: str) -> dict[str, int]:
    """What was left of issued invoices and went on to the next one, by the invoice's id."""
    c = t.postings.c
    invoice = sa.func.substr(c.ledger, len(invoiced_account("")) + 1).label("invoice")
    found = conn.execute(
        sa.select(invoice, c.amount).where(
            c.account == account,
            c.ledger >= invoiced_account(""),
            c.ledger < invoiced_account("\uffff"),
            c.side == "C",
            c.key == invoice + CARRIED_ON,
        )
    )
    return {str(row.invoice): int(row.amount) for row in found}


def get_carried(conn: Connection, account: str) -> int:
    """What month-end invoices carried out, or went on from them later, and no other one has taken up."""
    c = t.invoices.c
    bills = sa.select(sa.func.coalesce(sa.func.sum(c.carried_out - c.carried_in), 0)).where(
        c.account == account, c.type.in_((POSTPAID_BILLING, CONTRACTED))
    )
    return int(conn.execute(bills).scalar_one()) + sum(list_carried_on(conn, account).values())


def list_of_month(conn: Connection, month: str) -> list[Row]:
    """The month-end invoices of every account for a month, by account."""
    c = t.invoices.c
    return list(
        conn.execute(
            sa.select(t.invoices)
            .where(c.month == month, c.type.in_((POSTPAID_BILLING, CONTRACTED)))
            .order_by(c.account, c.number)
        )
    )


def update_invoice(conn: Connection, account: str, invoice: str, **values: Any) -> None:
    """Change an invoice's state or what was paid of it."""
    seals.change(conn, t.invoices, {"account": account, "id": invoice}, **values)


def list_out_of_grace(conn: Connection, issued_by: int) -> list[str]:
    """Accounts with a failed invoice issued by then that nothing suspends for it; contracts know no such thing."""
    i, a, c = t.invoices.c, t.accounts.c, t.causes.c
    suspended = sa.exists().where(c.account == i.account, c.cause == FAILED_PAYMENTS, c.until_at.is_(None))
    found = conn.execute(
        sa.select(i.account)
        .distinct()
        .join(t.accounts, a.id == i.account)
        .where(i.state == sa.literal_column(f"'{FAILED}'"), i.issued_at <= issued_by, a.billing_mode != CONTRACT)
        .where(~suspended)
    )
    return [str(row[0]) for row in found]


def _to_charge(now: Any, *of: sa.ColumnElement[bool]) -> sa.Select[Any]:
    c = t.invoices.c
    query = sa.select(t.invoices).where(c.next_attempt_at <= now, c.state.in_((ISSUED, FAILED)), *of)
    return query.order_by(c.next_attempt_at, c.account, c.number)


_TO_CHARGE = Prepared(lambda now: _to_charge(now))
_TO_CHARGE_OF = Prepared(lambda now, account: _to_charge(now, t.invoices.c.account == account))


def list_to_charge(conn: Connection, now: int, account: str | None = None) -> list[Row]:
    """Unpaid invoices, of every account or of one, whose next attempt is due."""
    return list(_TO_CHARGE.run(conn, now) if account is None else _TO_CHARGE_OF.run(conn, now, account))


def get_next_attempt(conn: Connection, after: int) -> int | None:
    """The next instant at which an invoice is charged again."""
    c = t.invoices.c
    value = conn.execute(sa.select(sa.func.min(c.next_attempt_at)).where(c.next_attempt_at > after)).scalar()
    return None if value is None else int(value)
