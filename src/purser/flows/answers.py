"""Answers: what an account's customer asks about its money, answered from the books as they stand (D5)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from purser.core.answers import QUESTIONS, Answer, Bill, Granted, Situation, answer
from purser.core.credits import CreditGrant
from purser.core.errors import NotFound
from purser.core.invoice import DRAFT, PREPAID_CREDITS, UNPAID, InvoiceLine, Totals
from purser.core.period import month_of
from purser.core.policy import Policy
from purser.flows import credits, invoicing, reports
from purser.store import credits as grant_rows
from purser.store import invoices
from purser.store.db import Connection, Row


def answer_questions(
    conn: Connection,
    account: str,
    policy: Policy,
    now: int,
    held: Mapping[str, int] = MappingProxyType({}),
    questions: Sequence[str] = QUESTIONS,
    invoice: str | None = None,
) -> list[Answer]:
    """Answers to some of QUESTIONS, in their order; `held` as in `reports.balance`.

    `invoice` is the one that is asked about, by id or number; the newest if not given, or else the running month's
    bill. Raises NotFound.
    """
    view = reports.view_account(conn, account, policy)
    money = reports.balance(conn, account, policy, now, held)
    situation = Situation(
        now=now,
        mode=view.row.billing_mode,
        has_payment_method=view.has_payment_method,
        binds=money.binds,
        causes=tuple((cause.cause, cause.since_at, cause.why) for cause in view.causes),
        credit=money.credit,
        grants=_grants(conn, account),
        outstanding=money.outstanding,
        spent=money.spent_this_month,
        limit=money.limit,
        held=money.held,
        pace=money.pace,
        bill=_bill(conn, account, policy, now, invoice),
    )
    return [answer(question, situation) for question in questions]


def _grants(conn: Connection, account: str) -> tuple[Granted, ...]:
    left = {grant.id: grant.remaining_nanos for grant in credits.remaining_grants(conn, account)}
    return tuple(
        Granted(
            CreditGrant(row.id, row.kind, row.granted, left.get(row.id, 0), row.created_at, row.expires_at),
            row.granted - row.lapsed - left.get(row.id, 0),
            row.lapsed,
        )
        for row in grant_rows.list_grant_rows(conn, account)
    )


def _bill(conn: Connection, account: str, policy: Policy, now: int, invoice: str | None) -> Bill:
    rows = [row for row in invoices.list_invoices(conn, account) if row.type != PREPAID_CREDITS]
    if invoice is not None:
        rows = [row for row in rows if invoice in (row.id, row.number)]
        if not rows:
            raise NotFound(f"account {account} has no invoice {invoice!r:.60}", field="invoice")
    if rows:
        return _issued(conn, rows[0])
    month = month_of(now)
    draft = invoicing.draft(conn, account, month, policy.minimum_charge_nanos)
    return Bill(None, month, DRAFT, draft.totals, draft.totals.amount_due, tuple(draft.lines))


def _issued(conn: Connection, row: Row) -> Bill:
    return Bill(
        number=row.number,
        month=row.month,
        state=row.state,
        totals=Totals(
            row.subtotal,
            row.credits_applied,
            row.tax,
            row.carried_in,
            row.carried_out,
            row.total,
            row.payments_applied,
            row.amount_due,
        ),
        remaining_nanos=row.amount_due - row.paid if row.state in UNPAID else 0,
        lines=tuple(
            InvoiceLine(line.month, line.model, line.unit, line.rate_nanos, line.rate_per, line.quantity, line.amount)
            for line in invoices.list_lines(conn, row.account, row.id)
        ),
        due_at=row.due_at,
        paid_at=row.paid_at,
    )
