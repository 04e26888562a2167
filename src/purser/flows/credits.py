"""Credit: given, bought, drawn by usage in order, and lapsed; what is owed is paid first (A3, A7)."""

from __future__ import annotations

from dataclasses import dataclass, replace

import msgspec

from purser.core import credits, journal, lease
from purser.core.credits import PROMOTIONAL, PURCHASED, CreditGrant, Draw
from purser.core.errors import Broken, Invalid, NotFound
from purser.core.invoice import PAID, PREPAID_CREDITS, invoice_number
from purser.core.message import INVOICE_ISSUED, INVOICE_PAID
from purser.core.money import LARGEST_NANOS, NANOS_PER_CENT, format_usd
from purser.core.payment import Allocation, Owed, allocate
from purser.core.period import NEVER, month_of
from purser.flows import outbox, profiles, standing
from purser.store import accounts, headroom, invoices, ledger
from purser.store import credits as rows
from purser.store.db import Connection, Row
from purser.store.headroom import credit_key
from purser.store.writers import Tx

_RECEIVED = "/received"  # ends the key of money received: after a payment's id, or a receipt's
_ALLOCATED = {"invoiced": "invoice", "unbilled": "unbilled", "credit": "credit"}  # by kind of ledger account


@dataclass(frozen=True, slots=True)
class Given:
    """What became of credit given by the operator: the grant (None where all of it paid what was owed), for money
    received also where it went and the receipt's id."""

    grant: CreditGrant | None
    allocation: tuple[Allocation, ...] = ()
    receipt: str | None = None


def draw_usage(tx: Tx, account: str) -> None:
    """Pay settled usage from credit grants in order; what no grant covers becomes owed (unbilled)."""
    standing.lock(tx, account)
    for name, pending in ledger.get_balances(tx.conn, account, journal.usage_account("")).items():
        if pending <= 0:
            continue
        month = name.partition(":")[2]
        draws, beyond = credits.burn_down(rows.list_grants(tx.conn, account), pending)
        for part in draws:
            rows.draw(tx.conn, account, part.grant, part.amount_nanos)
        ledger.post(tx, account, journal.drawn(f"{tx.new_id('draw')}/drawn", month, draws, beyond))
        if beyond:
            _grow_credit(tx, account, beyond)


def _grow_credit(tx: Tx, account: str, amount: int) -> None:
    key = credit_key(account)
    row = headroom.lock_row(tx.conn, key)
    if row is None:
        headroom.insert_row(tx.conn, key, lease.Headroom(amount, True))
        return
    if row.amount + amount > LARGEST_NANOS:
        raise _too_much(amount)
    headroom.put_row(tx.conn, key, lease.change(row, row.amount + amount, row.enforced))


def require_room(tx: Tx, account: str, amount: int, promised: int) -> None:
    """Raises Invalid where the account could not hold so much more credit, with what is promised to it already."""
    row = headroom.lock_row(tx.conn, credit_key(account))
    held = 0 if row is None else max(row.amount, row.taken)
    if held + promised + amount > LARGEST_NANOS:
        raise _too_much(amount)


def _too_much(amount: int) -> Invalid:
    return Invalid(f"${format_usd(amount)} more is beyond what one account can hold", field="amountUsd")


def give_credit(
    tx: Tx,
    account: str,
    amount: int,
    *,
    kind: str = PROMOTIONAL,
    expires_at: int | None = None,
    source: str = "operator",
) -> Given:
    """Credit granted by the operator: promotional credit is a gift; purchased credit is money received (A7, A11).

    Purchased money pays what is owed first. Raises Invalid, NotFound.
    """
    standing.lock_open(tx, account)
    if kind not in credits.KINDS:
        raise Invalid(f'kind must be "promotional" or "purchased", not {kind!r:.40}', field="kind")
    if amount <= 0:
        raise Invalid(f"amountUsd must be above 0, not {format_usd(amount)}", field="amountUsd")
    if expires_at is not None and expires_at <= tx.now:
        raise Invalid("expiresAt must lie in the future", field="expiresAt")
    grant = CreditGrant(tx.new_id("grant"), kind, amount, amount, tx.now, expires_at)
    if kind == PURCHASED:
        receipt = tx.new_id("inv")
        taken = receive_money(tx, account, amount, f"{receipt}{_RECEIVED}", grant.id, source, expires_at)
        write_receipt(tx, account, amount, receipt)
        standing.refresh(tx, account)
        rest = sum(part.amount_nanos for part in taken if part.to == "credit")
        left = CreditGrant(grant.id, kind, rest, rest, tx.now, expires_at) if rest else None
        return Given(left, tuple(taken), receipt)
    draw_usage(tx, account)
    ledger.post(tx, account, journal.granted(f"{grant.id}/granted", grant.id, amount))
    _add_grant(tx, account, grant, source)
    standing.refresh(tx, account)
    return Given(grant)


def _add_grant(tx: Tx, account: str, grant: CreditGrant, source: str) -> None:
    rows.insert_grant(tx.conn, account, grant, source)
    _grow_credit(tx, account, grant.granted_nanos)
    headroom.set_refused(tx.conn, credit_key(account), False)
    _note_expiry(tx, account)


def _note_expiry(tx: Tx, account: str) -> None:
    expiries = [grant.expires_at for grant in rows.list_grants(tx.conn, account) if grant.expires_at is not None]
    accounts.update_account(tx.conn, account, next_expiry_at=min(expiries, default=None))


def project(conn: Connection, account: str) -> tuple[list[CreditGrant], dict[str, tuple[list[Draw], int]]]:
    """The grants after all settled usage, and by month what is to be drawn for usage not yet drawn, and beyond them."""
    left = {grant.id: grant for grant in rows.list_grants(conn, account)}
    due = {}
    for name, pending in ledger.get_balances(conn, account, journal.usage_account("")).items():
        if pending > 0:
            draws, rest = credits.burn_down(left.values(), pending)
            for part in draws:
                grant = left[part.grant]
                left[part.grant] = replace(grant, remaining_nanos=grant.remaining_nanos - part.amount_nanos)
            due[name.partition(":")[2]] = (draws, rest)
    return [grant for grant in left.values() if grant.remaining_nanos], due


def get_owed(conn: Connection, account: str) -> Owed:
    """What an account owes: unpaid invoices oldest first, then unbilled usage oldest month first.

    Usage not yet drawn is counted as far as no grant covers it.
    """
    unpaid = tuple((str(row.id), row.amount_due - row.paid) for row in invoices.list_unpaid(conn, account))
    unbilled = {month: beyond for month, (_, beyond) in project(conn, account)[1].items()}
    for name, owed in ledger.get_balances(conn, account, journal.unbilled_account("")).items():
        month = name.partition(":")[2]
        unbilled[month] = unbilled.get(month, 0) + owed
    return Owed(unpaid, tuple(sorted((month, owed) for month, owed in unbilled.items() if owed > 0)))


def beyond_credit(conn: Connection, account: str, month: str) -> int:
    """How much of a month's usage no credit covers, paid or not, nano-dollars."""
    drawn, _ = ledger.get_turnover(conn, account, journal.unbilled_account(month))
    _, beyond = project(conn, account)[1].get(month, ([], 0))
    return drawn + beyond


def remaining_grants(conn: Connection, account: str) -> list[CreditGrant]:
    """The grants with what remains of each after all settled usage, in burn-down order."""
    return credits.order(project(conn, account)[0])


def receive_money(
    tx: Tx, account: str, amount: int, key: str, grant: str, source: str, expires_at: int | None = None
) -> list[Allocation]:
    """Money received for credit: pays what is owed first, the rest becomes a purchased grant with id `grant` (A7)."""
    draw_usage(tx, account)
    parts = allocate(amount, get_owed(tx.conn, account))
    owed: dict[str, int] = {}
    for part in parts:
        if part.to == "invoice" and part.id:
            owed[journal.invoiced_account(part.id)] = part.amount_nanos
            pay_down(tx, account, part.id, part.amount_nanos)
        elif part.to == "unbilled" and part.id:
            owed[journal.unbilled_account(part.id)] = part.amount_nanos
    ledger.post(tx, account, journal.received(key, amount, owed, grant))
    rest = amount - sum(owed.values())
    if rest:
        _add_grant(tx, account, CreditGrant(grant, PURCHASED, rest, rest, tx.now, expires_at), source)
    return parts


def pay_down(tx: Tx, account: str, invoice: str, amount: int) -> None:
    """Record money on an issued invoice; it is paid when nothing is left on it."""
    row = invoices.get_invoice(tx.conn, account, invoice)
    if row is None:
        raise NotFound(f"there is no invoice {invoice}")
    paid = row.paid + amount
    if paid >= row.amount_due:
        invoices.update_invoice(tx.conn, account, invoice, paid=paid, state=PAID, paid_at=tx.now, next_attempt_at=None)
        outbox.tell_of_invoice(tx, account, invoice, INVOICE_PAID)
        return
    invoices.update_invoice(tx.conn, account, invoice, paid=paid)
    if row.amount_due - paid < NANOS_PER_CENT:  # nobody can pay that by itself
        carry_on(tx, row, row.amount_due - paid)


def carry_on(tx: Tx, row: Row, rest: int) -> None:
    """What is left of an issued invoice is too little to charge: it goes on to the next one, and this one is paid (M4).

    Meanwhile it is owed as unbilled, so that a purchase pays it, too.
    """
    ledger.post(tx, row.account, journal.carried_on(row.id, row.month, rest))
    invoices.update_invoice(
        tx.conn, row.account, row.id, paid=row.amount_due, state=PAID, paid_at=tx.now, next_attempt_at=None
    )
    outbox.tell_of_invoice(tx, row.account, row.id, INVOICE_PAID)


def write_receipt(tx: Tx, account: str, amount: int, receipt: str | None = None) -> str:
    """The receipt of a credit purchase: a PREPAID_CREDITS invoice, paid at once (D3). Answers its id."""
    receipt = receipt or tx.new_id("inv")
    invoices.insert_invoice(
        tx.conn,
        [],
        account=account,
        id=receipt,
        number=next_number(tx, account),
        type=PREPAID_CREDITS,
        state=PAID,
        month=month_of(tx.now),
        subtotal=amount,
        credits_applied=0,
        carried_in=0,
        carried_out=0,
        total=amount,
        payments_applied=amount,
        amount_due=0,
        issued_at=tx.now,
        due_at=tx.now,
        paid_at=tx.now,
        billed_to=profiles.encode(tx.conn, account),
    )
    outbox.tell_of_invoice(tx, account, receipt, INVOICE_ISSUED)
    return receipt


def next_number(tx: Tx, account: str) -> str:
    """The account's next document number, without gaps."""
    sequence = standing.lock(tx, account).invoices + 1
    accounts.update_account(tx.conn, account, invoices=sequence)
    return invoice_number(account, sequence)


def expire(tx: Tx, account: str) -> int:
    """Let credit lapse whose time has come, as far as running requests do not hold it; answers what lapsed now."""
    return _lapse(tx, account, tx.now)


def lapse_all(tx: Tx, account: str) -> int:
    """Let all credit lapse of an account that closes; answers how much."""
    return _lapse(tx, account, NEVER)


def _lapse(tx: Tx, account: str, by: int) -> int:
    """Let credit lapse that expires by an instant, NEVER meaning all.

    What is held is of the grants that burn down first, as it was when the requests were admitted.
    """
    draw_usage(tx, account)
    key, total = credit_key(account), 0
    row = headroom.lock_row(tx.conn, key)
    if row is None:
        raise Broken(f"no headroom row {key}")
    # Not the leases' spare: requests settle meanwhile, and what they used is drawn from these grants, too, only later.
    held = row.taken - ledger.sum_credits(tx.conn, account, journal.usage_account(""))
    for grant in credits.order(rows.list_grants(tx.conn, account)):
        if (NEVER if grant.expires_at is None else grant.expires_at) > by:
            break
        kept = min(held, grant.remaining_nanos)
        held -= kept
        row, lapsed = lease.lapse(row, grant.remaining_nanos - kept)
        if lapsed:
            headroom.put_row(tx.conn, key, row)
            rows.draw(tx.conn, account, grant.id, 0, lapsed=lapsed)
            ledger.post(tx, account, journal.lapsed(f"{grant.id}/lapsed/{tx.writer}.{tx.seq}", grant.id, lapsed))
            total += lapsed
        if lapsed < grant.remaining_nanos:
            headroom.set_wanted(tx.conn, key, tx.now)
    _note_expiry(tx, account)
    if total:
        standing.rejudge(tx, account)
        tx.touch(account)
    return total


def read_allocation(conn: Connection, account: str, receipt: str) -> list[Allocation]:
    """Where money went that the operator received and recorded, by its receipt (A7)."""
    parts = []
    for name, amount in ledger.list_credited(conn, account, f"{receipt}{_RECEIVED}"):
        kind, _, id_ = name.partition(":")
        parts.append(Allocation(_ALLOCATED[kind], None if kind == "credit" else id_, amount))
    return parts


def encode_allocation(parts: list[Allocation]) -> str:
    """An allocation as kept on its payment."""
    return msgspec.json.encode([(part.to, part.id, part.amount_nanos) for part in parts]).decode()


def decode_allocation(text: str | None) -> list[Allocation]:
    """An allocation as kept on its payment."""
    rows_ = msgspec.json.decode(text or "[]", type=list[tuple[str, str | None, int]])
    return [Allocation(*row) for row in rows_]
