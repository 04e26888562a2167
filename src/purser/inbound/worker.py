"""The worker: does what falls due, and carries each payment from its row to the provider and back (U6, D1)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Protocol, TypeVar

from purser.core.errors import Broken, Conflict, Insufficient, Invalid, PurserError, Unavailable
from purser.core.payment import DECLINED, PENDING, SENT, SUCCEEDED
from purser.core.period import month_end, next_month
from purser.core.standing import DUST_NANOS
from purser.flows import credits, invoicing, payments, standing
from purser.flows.metering import CLOSED_THROUGH
from purser.flows.payments import Card
from purser.inbound.world import keep_clock
from purser.outbound.provider import Declined, PaymentProvider, Unreachable
from purser.store import accounts, invoices
from purser.store import payments as payment_rows
from purser.store.db import Database, Row
from purser.store.presence import Lead
from purser.store.writers import Fenced, Tx

T = TypeVar("T")
log = logging.getLogger("purser.worker")
_STEPS_AT_ONCE = 200
_PAUSE_SECONDS = 0.05
_PATIENCE = 600  # pauses; half a minute


class Clock(Protocol):
    """Billing time, and how a manual clock is set."""

    manual: bool

    def now(self) -> int:
        """Billing time now."""

    def set(self, at: int) -> None:
        """Set a manual clock."""


class Worker:
    """Runs what is due, in the order in which it fell due; safe to run anywhere, twice, or after a crash."""

    def __init__(
        self, db: Database, run: Callable[[Callable[[Tx], object]], object], clock: Clock, provider: PaymentProvider
    ) -> None:
        self.db, self._write, self.clock, self.provider = db, run, clock, provider
        self._turn = threading.RLock()
        self._wake = threading.Event()
        self._stop = False
        self._lead = Lead(db)
        self._judged: dict[int, int] = {}  # how far each writer had come when standing was judged last

    def write(self, work: Callable[[Tx], T]) -> T:
        """One transaction, waited for."""
        return self._write(work)  # type: ignore[return-value]

    # ── payments ─────────────────────────────────────────────────────────────────────────────────────────────────
    def add_method(self, account: str, token: str, method: str | None = None) -> str:
        """Ask the provider to accept a card and put it on file; raises Insufficient where it is declined."""
        if not 1 <= len(token) <= 200:
            raise Invalid('token must be the provider\'s payment method, such as "pm_card_visa"', field="token")
        with self.db.read() as conn:
            standing.require(conn, account)
        try:
            found = self.provider.attach(token)
        except Declined as declined:
            raise Insufficient(str(declined), field="token", code=declined.code) from None
        except Unreachable as error:
            raise Unavailable(f"the payment provider cannot be reached: {error}") from error
        card = Card(found.token, found.brand, found.last4, found.exp_month, found.exp_year, found.fingerprint)
        added = self.write(lambda tx: payments.add_method(tx, account, card, method))
        self.run_due()
        return added

    def buy_credit(self, account: str, amount: int, method: str | None = None, payment: str | None = None) -> Row:
        """Buy credit now; answers the payment. Raises Insufficient where the charge is declined (D5)."""
        id_ = self.write(lambda tx: payments.start_purchase(tx, account, amount, method, payment))
        return self._carry(account, id_)

    def pay_invoice(self, account: str, invoice: str, method: str | None = None, payment: str | None = None) -> Row:
        """Pay an invoice now; answers the payment. Raises Insufficient where the charge is declined."""
        id_ = self.write(lambda tx: payments.start_invoice_payment(tx, account, invoice, method, payment))
        return self._carry(account, id_)

    def _carry(self, account: str, payment: str) -> Row:
        with self._turn:
            row = self._payment(account, payment)
            if row.state in (PENDING, SENT):
                self._send(row)
                row = self._payment(account, payment)
        if row.state == DECLINED:
            code, _, message = str(row.failure).partition(": ")
            raise Insufficient(message or str(row.failure), code=code)
        if row.state != SUCCEEDED:
            raise Unavailable("the payment provider has not answered; the payment goes on by itself")
        return row

    def _payment(self, account: str, payment: str) -> Row:
        with self.db.read() as conn:
            row = payment_rows.get_payment(conn, account, payment)
        if row is None:
            raise Broken(f"payment {payment} is gone")
        return row

    def _send(self, row: Row) -> None:
        """Call the provider for one payment, outside any transaction, and record its answer."""
        try:
            self.write(lambda tx: payments.mark_sent(tx, row.account, row.id))
            with self.db.read() as conn:
                method = payment_rows.get_method(conn, row.account, row.method)
            if method is None:
                raise Declined("payment_method_removed", "The payment method is no longer on file.")
            charge = self.provider.charge(method.token, row.amount, row.id)
        except Declined as declined:
            why = f"{declined.code}: {declined}"
            self.write(lambda tx: payments.record_decline(tx, row.account, row.id, why))
        except (Unreachable, Conflict) as error:
            log.warning("payment %s waits: %s", row.id, error)
        else:
            self.write(lambda tx: payments.record_success(tx, row.account, row.id, charge))

    def send_payments(self) -> int:
        """Carry every payment that waits; answers how many."""
        with self.db.read() as conn:
            waiting = payment_rows.list_to_send(conn)
        for row in waiting:
            self._send(row)
        return len(waiting)

    # ── what falls due ───────────────────────────────────────────────────────────────────────────────────────────
    def run_due(self) -> None:
        """Do everything that is due now: lapsed credit, ended months, charges, standing."""
        with self._turn:
            self._lapse_credit()
            self._close_months()
            self.write(payments.start_due_charges)
            self.send_payments()
            with self.db.read() as conn:
                judged, seen = standing.list_to_judge(conn, self.clock.now(), DUST_NANOS, self._judged)
            for start in range(0, len(judged), _STEPS_AT_ONCE):
                some = judged[start : start + _STEPS_AT_ONCE]
                self.write(lambda tx, some=some: standing.sweep(tx, some))  # type: ignore[misc]
            self._judged = seen

    def _lapse_credit(self) -> None:
        with self.db.read() as conn:
            due = accounts.list_with_expiry_due(conn, self.clock.now())
        for account in due:
            self.write(lambda tx, account=account: credits.expire(tx, account))  # type: ignore[misc]

    def _close_months(self, before: str = "9999-12") -> None:
        while True:
            with self.db.read() as conn:
                month = invoicing.month_to_close(conn, self.clock.now())
            if month is None or month >= before or self.close_month(month):
                return

    def close_month(self, month: str, progress: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
        """Close a month for every account with usage in it; answers the accounts whose requests still run.

        Safe to run twice and after a crash. Raises Conflict before the month's end.
        """
        if month_end(month) > self.clock.now():
            raise Conflict(
                f"{month} has not ended: it can be closed from its last instant on", code="FAILED_PRECONDITION"
            )
        waiting = []
        with self._turn:
            self._close_months(before=month)
            with self.db.read() as conn:
                todo = invoicing.list_to_close(conn, month)
            for n, account in enumerate(todo, 1):
                try:
                    self.write(lambda tx, account=account: invoicing.close_account_month(tx, account, month))  # type: ignore[misc]
                except Conflict as running:
                    log.info("%s", running)
                    waiting.append(account)
                progress(n, len(todo))
            if not waiting and not self.write(lambda tx: invoicing.finish_month(tx, month)):
                with self.db.read() as conn:  # requests of it began and are settled just now
                    waiting = invoicing.list_to_close(conn, month)
        return waiting

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def next_due_at(self) -> int | None:
        """The next instant after now at which something falls due by the calendar alone."""
        now = self.clock.now()
        with self.db.read() as conn:
            closed = accounts.get_meta(conn, CLOSED_THROUGH)
            due = [accounts.get_next_expiry(conn), invoices.get_next_attempt(conn, now)]
        if closed is not None:
            due.append(month_end(next_month(closed)))
        return min((at for at in due if at is not None and at > now), default=None)

    def advance(self, to: int) -> None:
        """Move a manual clock to an instant, stopping at whatever falls due before it, until all of that is done.

        Raises Invalid backwards, Unavailable where requests of an ended month still run after a while.
        """
        if not self.clock.manual:
            raise Conflict("the clock is the system's; start with --clock manual to set it", code="FAILED_PRECONDITION")
        if to < self.clock.now():
            raise Invalid("to lies before the clock's time; a manual clock only moves forward", field="to")
        with self._turn:
            while True:
                due = self.next_due_at()
                at = to if due is None or due > to else due
                self.clock.set(at)
                self.write(lambda tx, at=at: keep_clock(tx, at))  # type: ignore[misc]
                self._finish_due()
                if at == to:
                    return

    def _finish_due(self) -> None:
        """Do what is due, and wait for gateways to give back the leases of months that have ended."""
        for _ in range(_PATIENCE):
            self.run_due()
            with self.db.read() as conn:
                if invoicing.month_to_close(conn, self.clock.now()) is None:
                    return
            threading.Event().wait(_PAUSE_SECONDS)
        raise Unavailable("requests of a month that has ended are still running; it closes by itself when they end")

    # ── the thread ───────────────────────────────────────────────────────────────────────────────────────────────
    def poke(self) -> None:
        """Something may be due: look now."""
        self._wake.set()

    def stop(self) -> None:
        """End `run`."""
        self._stop = True
        self._wake.set()

    def run(self, every_seconds: int = 1) -> None:
        """Do what is due, once a second and when poked, until stopped; of several processes one at a time does it."""
        while not self._stop:
            try:
                if self._lead.take():
                    self.run_due()
            except (Broken, Fenced):
                raise
            except PurserError as error:
                log.warning("the worker will try again: %s", error)
            except Exception:
                log.exception("the worker will try again")
            self._wake.wait(every_seconds)
            self._wake.clear()
        self._lead.release()
