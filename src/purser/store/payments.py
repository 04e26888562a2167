"""Payment methods and payments as rows; a payment is written before the provider is called."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from purser.core.invoice import UNPAID
from purser.core.payment import FOR_CREDIT, FOR_INVOICE, PENDING, SENT
from purser.store import schema as t
from purser.store import seals
from purser.store.db import Connection, Row
from purser.store.prepared import Prepared


@Prepared
def _METHODS(account: Any) -> sa.Select[Any]:
    c = t.payment_methods.c
    on_file = sa.select(t.payment_methods).where(c.account == account, c.removed_at.is_(None))
    return on_file.order_by(c.created_at.desc(), c.id.desc())


def list_methods(conn: Connection, account: str) -> list[Row]:
    """The payment methods on file, newest first."""
    return list(_METHODS.run(conn, account))


@Prepared
def _WITH_METHOD(accounts: Any) -> sa.Select[Any]:
    c = t.payment_methods.c
    return sa.select(c.account).distinct().where(c.account.in_(accounts), c.removed_at.is_(None))


def list_with_method(conn: Connection, accounts: Sequence[str]) -> set[str]:
    """Which of these accounts have a payment method on file."""
    return {str(row[0]) for row in _WITH_METHOD.run(conn, accounts)}


def get_method(conn: Connection, account: str, method: str, *, removed: bool = False) -> Row | None:
    """One payment method on file, or also one that was `removed`."""
    c = t.payment_methods.c
    query = sa.select(t.payment_methods).where(c.account == account, c.id == method)
    return conn.execute(query if removed else query.where(c.removed_at.is_(None))).first()


def insert_method(conn: Connection, **values: Any) -> None:
    """A new payment method."""
    seals.insert(conn, t.payment_methods, values)


def remove_method(conn: Connection, account: str, method: str, at: int) -> bool:
    """Take a payment method off file; answers whether it was there."""
    c = t.payment_methods.c
    on_file = (c.account == account, c.id == method, c.removed_at.is_(None))
    return seals.update(conn, t.payment_methods, *on_file, removed_at=at) == 1


def insert_payment(conn: Connection, **values: Any) -> None:
    """A payment to make."""
    seals.insert(conn, t.payments, values)


@Prepared
def _PAYMENT(account: Any, payment: Any) -> sa.Select[Any]:
    return sa.select(t.payments).where(t.payments.c.account == account, t.payments.c.id == payment)


def get_payment(conn: Connection, account: str, payment: str) -> Row | None:
    """One payment."""
    return _PAYMENT.run(conn, account, payment).first()


def list_receipted(conn: Connection, account: str) -> dict[str, Row]:
    """The payments that bought credit, by the id of the receipt."""
    c = t.payments.c
    found = conn.execute(sa.select(t.payments).where(c.account == account, c.receipt.is_not(None)))
    return {str(row.receipt): row for row in found}


def _to_send(*of: sa.ColumnElement[bool]) -> sa.Select[Any]:
    c = t.payments.c
    return sa.select(t.payments).where(c.state.in_((PENDING, SENT)), *of).order_by(c.created_at, c.id)


_TO_SEND = Prepared(lambda: _to_send())
_TO_SEND_OF = Prepared(lambda account: _to_send(t.payments.c.account == account))


def list_to_send(conn: Connection, account: str | None = None) -> list[Row]:
    """Payments that the provider has not answered, of every account or of one, oldest first.

    Sending one twice is safe, its id is the key.
    """
    return list(_TO_SEND.run(conn) if account is None else _TO_SEND_OF.run(conn, account))


def sum_buying(conn: Connection, account: str) -> int:
    """What an account's purchases of credit amount to that the provider has not answered."""
    c = t.payments.c
    waiting = sa.select(sa.func.coalesce(sa.func.sum(c.amount), 0)).where(
        c.account == account, c.purpose == FOR_CREDIT, c.state.in_((PENDING, SENT))
    )
    return int(conn.execute(waiting).scalar_one())


def sum_adrift(conn: Connection, account: str) -> int:
    """What the provider has not answered of payments for invoices on which nothing is due any more."""
    c, i = t.payments.c, t.invoices.c
    due = sa.exists().where(i.account == c.account, i.id == c.invoice, i.state.in_(UNPAID))
    waiting = sa.select(sa.func.coalesce(sa.func.sum(c.amount), 0)).where(
        c.account == account, c.purpose == FOR_INVOICE, c.state.in_((PENDING, SENT)), ~due
    )
    return int(conn.execute(waiting).scalar_one())


def update_payment(conn: Connection, account: str, payment: str, **values: Any) -> None:
    """Record how a payment went."""
    seals.change(conn, t.payments, {"account": account, "id": payment}, **values)
