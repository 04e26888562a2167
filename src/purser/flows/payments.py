"""Payments: methods on file, credit bought, invoices charged and charged again; a row first, then the provider (U6)."""

from __future__ import annotations

from dataclasses import dataclass

from purser.core import journal
from purser.core.errors import Conflict, Invalid, NotFound
from purser.core.invoice import CONTRACTED, FAILED, UNPAID
from purser.core.leaving import DELETING
from purser.core.message import INVOICE_FAILED
from purser.core.money import NANOS_PER_CENT, NANOS_PER_USD, floor_cents, format_usd
from purser.core.payment import DECLINED, FOR_CREDIT, FOR_INVOICE, PENDING, SENT, SUCCEEDED, next_attempt_at
from purser.core.period import DAY
from purser.flows import credits, outbox, signup_credit, standing
from purser.store import accounts, invoices, ledger, payments
from purser.store.db import Row
from purser.store.writers import Tx

LEAST_PURCHASE_NANOS = NANOS_PER_USD
MOST_PURCHASE_NANOS = 1_000_000 * NANOS_PER_USD
REMOVED = "payment_method_removed: The payment method is no longer on file."


@dataclass(frozen=True, slots=True)
class Card:
    """A payment method as the provider knows it; never the card's number. `anybodys` is a card for trying out."""

    token: str
    brand: str
    last4: str
    exp_month: int
    exp_year: int
    fingerprint: str
    anybodys: bool = False


@dataclass(frozen=True, slots=True)
class Charge:
    """What the provider is to be asked: to take so much from the card with this token."""

    token: str
    amount_nanos: int


def add_method(tx: Tx, account: str, card: Card, method: str | None = None) -> str:
    """Put an accepted card on file; invoices whose charge failed are charged to it at once (U6). Answers its id.

    With an id given as `method`, doing it again changes nothing, even after the card was removed.
    """
    standing.lock(tx, account)
    if method is not None and payments.get_method(tx.conn, account, method, removed=True) is not None:
        return method
    method = method or tx.new_id("pm")
    payments.insert_method(
        tx.conn,
        account=account,
        id=method,
        token=card.token,
        brand=card.brand,
        last4=card.last4,
        exp_month=card.exp_month,
        exp_year=card.exp_year,
        fingerprint=card.fingerprint,
        created_at=tx.now,
    )
    accounts.update_account(tx.conn, account, default_payment_method=method, updated_at=tx.now)
    for invoice in invoices.list_unpaid(tx.conn, account):
        if invoice.state == FAILED and invoice.payment is None:
            invoices.update_invoice(tx.conn, account, invoice.id, next_attempt_at=tx.now)
    standing.refresh(tx, account)
    signup_credit.note_card(tx, account, "" if card.anybodys else card.fingerprint)
    return method


def remove_method(tx: Tx, account: str, method: str) -> None:
    """Take a card off file; the newest one left becomes the default. Raises NotFound."""
    credits.draw_usage(tx, account)
    if not payments.remove_method(tx.conn, account, method, tx.now):
        raise NotFound(f"account {account} has no payment method {method!r:.60}", field="paymentMethod")
    left = payments.list_methods(tx.conn, account)
    accounts.update_account(tx.conn, account, default_payment_method=left[0].id if left else None, updated_at=tx.now)
    standing.refresh(tx, account)


def choose_method(tx: Tx, account: str, method: str | None) -> str:
    """The method asked for, or the default one; raises NotFound, Conflict where none is on file."""
    row = standing.lock(tx, account)
    if method is not None:
        if payments.get_method(tx.conn, account, method) is None:
            raise NotFound(f"account {account} has no payment method {method!r:.60}", field="paymentMethod")
        return method
    if row.default_payment_method is None:
        raise Conflict("add a payment method first", field="paymentMethod", code="FAILED_PRECONDITION")
    return str(row.default_payment_method)


def start_purchase(tx: Tx, account: str, amount: int, method: str | None, payment: str | None = None) -> str:
    """Write the payment that buys credit; the provider is called after this commit. Answers the payment's id.

    A `payment` that exists already is answered as it is, whatever became of it. Raises NotFound, Conflict, and Invalid
    also for more than the account could hold together with what is being bought already.
    """
    standing.lock(tx, account)
    if payment is not None and payments.get_payment(tx.conn, account, payment) is not None:
        return payment
    standing.lock_open(tx, account)
    chosen = choose_method(tx, account, method)
    if not LEAST_PURCHASE_NANOS <= amount <= MOST_PURCHASE_NANOS or amount % NANOS_PER_CENT:
        raise Invalid(
            f"amountUsd must be whole cents from {format_usd(LEAST_PURCHASE_NANOS)} to "
            f"{format_usd(MOST_PURCHASE_NANOS)}, not {format_usd(amount)}",
            field="amountUsd",
        )
    credits.require_room(tx, account, amount, payments.sum_buying(tx.conn, account))
    id_ = payment or tx.new_id("pay")
    _insert(tx, account, id_, FOR_CREDIT, chosen, amount)
    return id_


def start_invoice_payment(
    tx: Tx, account: str, invoice: str, method: str | None = None, payment: str | None = None
) -> str | None:
    """Write the payment that pays an invoice now; raises NotFound, Conflict where it is not open.

    A `payment` that exists already is answered as it is, whatever became of it. Answers None where too little is left
    to charge: that goes on to the next invoice, and this one is paid.
    """
    standing.lock(tx, account)
    if payment is not None and payments.get_payment(tx.conn, account, payment) is not None:
        return payment
    row = invoices.get_invoice(tx.conn, account, invoice)
    if row is None:
        raise NotFound(f"account {account} has no invoice {invoice!r:.60}", field="invoice")
    if row.state not in UNPAID:
        raise Conflict(f"invoice {row.number} is {row.state}: nothing is due on it", code="FAILED_PRECONDITION")
    if row.payment is not None:
        return str(row.payment)
    return _charge(tx, row, choose_method(tx, account, method), payment)


def list_due(tx: Tx) -> list[str]:
    """The accounts with an invoice whose charge is due, or whose grace of days is over by now, in lock order."""
    grace = tx.policy.payment_grace_days * DAY
    late = invoices.list_out_of_grace(tx.conn, tx.now - grace) if grace else []
    return sorted({*late, *(row.account for row in invoices.list_to_charge(tx.conn, tx.now))})


def start_due_charges(tx: Tx, account: str) -> int:
    """Write the payments for an account's invoices whose charge is due; answers how many such invoices there are.

    Without a method the charge has failed. Where a grace of days is over by now, the account is suspended (U6).
    """
    method = standing.lock(tx, account).default_payment_method
    if tx.policy.payment_grace_days:
        standing.rejudge(tx, account)
    due = invoices.list_to_charge(tx.conn, tx.now, account)
    for row in due:
        if row.payment is not None:
            invoices.update_invoice(tx.conn, account, row.id, next_attempt_at=None)
        else:
            _charge(tx, row, method)
    return len(due)


def _chargeable(tx: Tx, row: Row) -> int:
    """The whole cents that are left to pay of an invoice, 0 where that is less than is ever charged (M4)."""
    closing = standing.lock(tx, row.account).state == DELETING
    left = floor_cents(row.amount_due - row.paid)
    return 0 if left < tx.policy.minimum_charge_nanos and not closing else left


def _charge(tx: Tx, row: Row, method: str | None, payment: str | None = None) -> str | None:
    """Answers the payment; None where too little is left to charge, which then goes on to the next invoice.

    Without a method the charge has failed.
    """
    amount = _chargeable(tx, row)
    if not amount:
        credits.carry_on(tx, row, row.amount_due - row.paid)
        standing.refresh(tx, row.account)
        return None
    if method is None:
        _fail_invoice(tx, row, row.attempts + 1)
        return None
    payment = payment or tx.new_id("pay")
    _insert(tx, row.account, payment, FOR_INVOICE, method, amount, row.id)
    invoices.update_invoice(
        tx.conn, row.account, row.id, payment=payment, attempts=row.attempts + 1, next_attempt_at=None
    )
    return payment


def _insert(
    tx: Tx, account: str, payment: str, purpose: str, method: str, amount: int, invoice: str | None = None
) -> None:
    payments.insert_payment(
        tx.conn,
        account=account,
        id=payment,
        purpose=purpose,
        invoice=invoice,
        method=method,
        amount=amount,
        state=PENDING,
        created_at=tx.now,
    )


def mark_sent(tx: Tx, account: str, payment: str) -> Charge | None:
    """Note that the provider is about to be asked; answers what to ask, None where the payment has ended.

    What was asked before is asked again in the same words, whatever became of the card: the provider may have taken
    the money. What was not yet asked and whose card is gone moves to the default card, if it pays an invoice.
    """
    account_row = standing.lock(tx, account)
    row = payments.get_payment(tx.conn, account, payment)
    if row is None or row.state not in (PENDING, SENT):
        return None
    card = payments.get_method(tx.conn, account, row.method, removed=True)
    if row.state == PENDING and (card is None or card.removed_at is not None):
        default = account_row.default_payment_method if row.purpose == FOR_INVOICE else None
        card = payments.get_method(tx.conn, account, default) if default is not None else None
        if card is None:
            record_decline(tx, account, payment, REMOVED)
            return None
    if card is None:
        raise NotFound(f"payment {payment} was sent with a card that there never was")
    payments.update_payment(tx.conn, account, payment, state=SENT, method=card.id)
    return Charge(str(card.token), int(row.amount))


def record_success(tx: Tx, account: str, payment: str, provider_id: str) -> None:
    """The provider took the money: post it once, pay what is owed, grant the rest, lift what it lifts (D4, D5)."""
    standing.lock(tx, account)
    row = payments.get_payment(tx.conn, account, payment)
    if row is None:
        raise NotFound(f"there is no payment {payment}")
    if row.state == SUCCEEDED:
        return
    receipt = allocation = None
    if row.purpose == FOR_CREDIT:
        parts = credits.receive_money(tx, account, row.amount, f"{payment}/received", tx.new_id("grant"), payment)
        allocation = credits.encode_allocation(parts)
        receipt = credits.write_receipt(tx, account, row.amount)
    else:
        allocation, receipt = _receive_for_invoice(tx, account, row)
    payments.update_payment(
        tx.conn,
        account,
        payment,
        state=SUCCEEDED,
        ended_at=tx.now,
        provider_id=provider_id,
        allocation=allocation,
        receipt=receipt,
    )
    standing.refresh(tx, account)


def suppose_success(tx: Tx, account: str, payment: str) -> Row:
    """A payment just written as it would be if the provider took the money; for a transaction that is rolled back."""
    record_success(tx, account, payment, "")
    row = payments.get_payment(tx.conn, account, payment)
    if row is None:
        raise NotFound(f"there is no payment {payment}")
    return row


def _receive_for_invoice(tx: Tx, account: str, row: Row) -> tuple[str | None, str | None]:
    """Answers where the money went and its receipt, where it did not simply pay the invoice."""
    invoice = invoices.get_invoice(tx.conn, account, row.invoice)
    if invoice is None:
        raise NotFound(f"there is no invoice {row.invoice}")
    _release(tx, invoice, row.id)
    owing = min(row.amount, invoice.amount_due - invoice.paid)
    if owing == row.amount:
        entry = journal.received(f"{row.id}/received", row.amount, {journal.invoiced_account(row.invoice): owing}, None)
        ledger.post(tx, account, entry)
        credits.pay_down(tx, account, row.invoice, owing)
        return None, None
    # The invoice was paid otherwise meanwhile: the money pays whatever is owed, the rest is credit bought (A7, D3).
    parts = credits.receive_money(tx, account, row.amount, f"{row.id}/received", tx.new_id("grant"), row.id)
    return credits.encode_allocation(parts), credits.write_receipt(tx, account, row.amount)


def record_decline(tx: Tx, account: str, payment: str, why: str) -> None:
    """The provider declined: a purchase changes nothing, an invoice fails and is charged again by schedule (U6)."""
    standing.lock(tx, account)
    row = payments.get_payment(tx.conn, account, payment)
    if row is None or row.state in (SUCCEEDED, DECLINED):
        return
    payments.update_payment(tx.conn, account, payment, state=DECLINED, ended_at=tx.now, failure=why)
    if row.purpose == FOR_INVOICE:
        invoice = invoices.get_invoice(tx.conn, account, row.invoice)
        if invoice is not None:
            _release(tx, invoice, payment)
            if invoice.state in UNPAID and invoice.type != CONTRACTED:  # terms agreed by contract know no dunning (A9)
                _fail_invoice(tx, invoice, invoice.attempts)


def _release(tx: Tx, invoice: Row, payment: str) -> None:
    """This payment of the invoice is over."""
    if invoice.payment == payment:
        invoices.update_invoice(tx.conn, invoice.account, invoice.id, payment=None)


def _fail_invoice(tx: Tx, row: Row, attempts: int) -> None:
    again = next_attempt_at(row.issued_at, tx.now, tx.policy.dunning_days)
    invoices.update_invoice(tx.conn, row.account, row.id, state=FAILED, attempts=attempts, next_attempt_at=again)
    outbox.tell_of_invoice(tx, row.account, row.id, INVOICE_FAILED, again=attempts)
    standing.refresh(tx, row.account)
