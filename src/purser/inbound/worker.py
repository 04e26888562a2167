"""The worker: does what falls due, and carries each payment from its row to the provider and back (U6, D1)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import astuple
from functools import partial
from typing import TypeVar
from weakref import WeakValueDictionary

from purser.core.errors import Broken, Conflict, Insufficient, Invalid, PurserError, Unavailable
from purser.core.payment import DECLINED
from purser.core.period import month_end, next_month
from purser.core.policy import Policy
from purser.core.standing import DUST_NANOS
from purser.flows import abuse, credits, fleet, holds, invoicing, leaving, modes, payments, standing
from purser.flows.audit_log import acting
from purser.flows.closing import Watch, close_silent
from purser.flows.metering import CLOSED_THROUGH
from purser.flows.payments import Card
from purser.inbound.alarms import Alarms
from purser.inbound.tidying import Tidying
from purser.inbound.world import JUMPED, Clock, keep_clock, require_ended, require_movable
from purser.outbound.provider import CardDetails, Declined, PaymentProvider, Unreachable
from purser.store import abuse as abuse_rows
from purser.store import accounts, invoices
from purser.store import deployments as deployment_rows
from purser.store import holds as hold_rows
from purser.store import modes as mode_rows
from purser.store import payments as payment_rows
from purser.store.db import Connection, Database, Row
from purser.store.presence import Lead
from purser.store.writers import Fenced, Tx, list_steps

T = TypeVar("T")
log = logging.getLogger("purser.worker")
_STEPS_AT_ONCE = 200
_JUDGE_EVERY_SECONDS = 0.5
_DUE_OF_ACCOUNTS: tuple[tuple[str, Callable[[Connection, int], list[str]], Callable[..., object]], ...] = (
    ("running deployments", deployment_rows.list_due, fleet.catch_up),
    ("lapsing credit", accounts.list_with_expiry_due, credits.expire),
    ("the change of the billing mode", mode_rows.list_due, modes.change_due),
    ("the closing", accounts.list_closing, leaving.finish),
    ("judging by abuse rules", abuse_rows.list_due, abuse.enforce_later),
)
_PAUSE_SECONDS = 0.05
_PATIENCE = 600  # pauses; half a minute


class Worker:
    """Runs what is due, in the order in which it fell due; safe to run anywhere, twice, or after a crash.

    What goes wrong with one account or payment is logged and tried again the next time; the others go on.
    """

    def __init__(
        self,
        db: Database,
        run: Callable[[Callable[[Tx], object]], object],
        clock: Clock,
        provider: PaymentProvider,
        policy: Policy | None = None,
        *,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy, self._monotonic = policy or Policy(), monotonic
        self.db, self._write, self.clock, self.provider = db, run, clock, provider
        self._turn = threading.RLock()
        self._door = threading.Lock()
        self._sending: WeakValueDictionary[str, threading.Lock] = WeakValueDictionary()  # by payment
        self._wake = threading.Event()
        self._stop = False
        self._lead = Lead(db)
        self._judged: dict[int, int] = {}  # how far each writer had come when standing was judged last
        self._unjudged: set[str] = set()  # accounts with which that went wrong
        self._judged_at = monotonic()
        self.clock.is_off()  # from here on
        self._frozen, self._watch, self._alarms = False, Watch(), Alarms()
        self._tidying = Tidying(db, self.write, monotonic, self._judge_meanwhile)

    def write(self, work: Callable[[Tx], T]) -> T:
        """One transaction, waited for."""
        return self._write(work)  # type: ignore[return-value]

    def _attempt(self, what: str, work: Callable[[], object]) -> bool:
        """Do one step; what goes wrong is logged, and answered with False."""
        try:
            work()
        except (Broken, Fenced):
            raise
        except Conflict as waits:
            log.info("%s has to wait: %s", what, waits)
            return False
        except (PurserError, Unreachable) as error:
            log.warning("%s has to wait: %s", what, error)
            return False
        except Exception:
            log.exception("%s failed and is tried again", what)
            return False
        return True

    # ── payments ─────────────────────────────────────────────────────────────────────────────────────────────────
    def add_method(self, account: str, token: str, method: str | None = None) -> str:
        """Ask the provider to accept a card and put it on file, and charge to it what is due of the account.

        Raises Insufficient where the card is declined; what becomes of the charges is another matter.
        """
        card = self._ask_of_card(self.provider.attach, account, token)
        added = self.write(lambda tx: payments.add_method(tx, account, card, method))
        self._attempt(f"charging {account}", partial(self._charge_now, account))
        self.poke()
        return added

    def look_at_card(self, account: str, token: str) -> Card:
        """What the provider says about a card that it is not to accept yet; raises as add_method does."""
        return self._ask_of_card(self.provider.look, account, token)

    def _ask_of_card(self, ask: Callable[[str], CardDetails], account: str, token: str) -> Card:
        if not 1 <= len(token) <= 200:
            raise Invalid('token must be the provider\'s payment method, such as "pm_card_visa"', field="token")
        with self.db.read() as conn:
            standing.require(conn, account)
        try:
            return Card(*astuple(ask(token)))
        except Declined as declined:
            raise Insufficient(str(declined), field="token", code=declined.code) from None
        except Unreachable as error:
            raise Unavailable(f"the payment provider cannot be reached: {error}") from error

    def buy_credit(self, account: str, amount: int, method: str | None = None, payment: str | None = None) -> Row:
        """Buy credit now; answers the payment, which goes on by itself where the provider has not answered.

        Raises Insufficient where the charge is declined (D5).
        """
        return self._carry(
            account, self.write(lambda tx: payments.start_purchase(tx, account, amount, method, payment))
        )

    def pay_invoice(
        self, account: str, invoice: str, method: str | None = None, payment: str | None = None
    ) -> Row | None:
        """Pay an invoice now; answers the payment, as buy_credit does, None where too little was left to charge.

        Raises Insufficient where the charge is declined.
        """
        id_ = self.write(lambda tx: payments.start_invoice_payment(tx, account, invoice, method, payment))
        return None if id_ is None else self._carry(account, id_)

    def _carry(self, account: str, payment: str) -> Row:
        self._send(account, payment)
        with self.db.read() as conn:
            row = payment_rows.get_payment(conn, account, payment)
        if row is None:
            raise Broken(f"payment {payment} is gone")
        if row.state == DECLINED:
            code, _, message = str(row.failure).partition(": ")
            raise Insufficient(message or str(row.failure), code=code)
        return row

    def _send(self, account: str, payment: str) -> None:
        """Ask the provider for one payment, outside any transaction, and record its answer; once at a time."""
        with self._door:
            lock = self._sending.setdefault(payment, threading.Lock())
        with lock:
            self._attempt(f"payment {payment} of {account}", lambda: self._ask_provider(account, payment))

    def _ask_provider(self, account: str, payment: str) -> None:
        charge = self.write(lambda tx: payments.mark_sent(tx, account, payment))
        if charge is None:
            return
        try:
            taken = self.provider.charge(charge.token, charge.amount_nanos, payment)
        except Declined as declined:
            why = f"{declined.code}: {declined}"
            self.write(lambda tx: payments.record_decline(tx, account, payment, why))
        else:
            self.write(lambda tx: payments.record_success(tx, account, payment, taken))

    def _start_charges(self, account: str) -> None:
        self.write(lambda tx: payments.start_due_charges(tx, account))

    def _charge_now(self, account: str) -> None:
        self._start_charges(account)
        with self.db.read() as conn:
            waiting = payment_rows.list_to_send(conn, account)
        for row in waiting:
            self._send(row.account, row.id)

    # ── what falls due ───────────────────────────────────────────────────────────────────────────────────────────
    def run_due(self) -> None:
        """Do everything that is due now: standing first, then lapsed credit, ended months, charges, payments."""
        with self._turn:
            self._attempt("judging standing", self._judge)
            self._attempt("telling alerts", self._look_for_alarms)
            if not self._is_frozen():
                self._attempt("giving back what holds have", self._expire_holds)
                for what, list_due, do in _DUE_OF_ACCOUNTS:
                    self._attempt(what, partial(self._each_due, what, list_due, do))
                self._attempt("closing months", self._close_months)
                self._attempt("charging what is due", self._charge_due)
            self._attempt("sending payments", self._send_payments)
            self._attempt("summing what was spent", self._tidying.sum_spent)

    def _look_for_alarms(self) -> None:
        self._alarms.look(self.db, self.clock.now(), self._write, self._attempt)

    def _judge(self) -> None:
        with self.db.read() as conn:
            judged, seen = standing.list_to_judge(conn, self.clock.now(), DUST_NANOS, self._judged)
        due, self._unjudged = sorted({*judged, *self._unjudged}), set()
        for start in range(0, len(due), _STEPS_AT_ONCE):
            some = due[start : start + _STEPS_AT_ONCE]
            if not self._attempt("judging standing", partial(self._sweep, some)):
                alone = [one for one in some if not self._attempt(f"judging {one}", partial(self._sweep, [one]))]
                self._unjudged.update(alone)
        self._judged, self._judged_at = seen, self._monotonic()

    def _sweep(self, some: list[str]) -> None:
        self.write(lambda tx: standing.sweep(tx, some))

    def _judge_meanwhile(self) -> None:
        """In the midst of long work: nobody waits for the end of it to be let back in (U4)."""
        if self._monotonic() - self._judged_at >= _JUDGE_EVERY_SECONDS:
            self._attempt("judging standing", self._judge)

    def _expire_holds(self) -> None:
        while True:
            with self.db.read() as conn:
                due = hold_rows.list_expired(conn, self.clock.now(), _STEPS_AT_ONCE)
            give_back = [partial(self.write, partial(holds.expire, id_=hold)) for hold in due]
            done = [self._attempt("giving back what a hold has", each) for each in give_back]
            if len(due) < _STEPS_AT_ONCE or not any(done):
                return
            self._judge_meanwhile()

    def _each_due(self, what: str, list_due: Callable[[Connection, int], list[str]], do: Callable[..., object]) -> None:
        """Do something of every account of which it is due."""
        with self.db.read() as conn:
            due = list_due(conn, self.clock.now())
        for account in due:
            self._attempt(f"{what} of {account}", partial(self.write, partial(do, account=account)))
            self._judge_meanwhile()

    def _charge_due(self) -> None:
        for account in self.write(payments.list_due):
            self._attempt(f"charging {account}", partial(self._start_charges, account))
            self._judge_meanwhile()

    def _send_payments(self) -> None:
        with self.db.read() as conn:
            waiting = payment_rows.list_to_send(conn)
        for row in waiting:
            if self._stop:
                return
            self._send(row.account, row.id)
            self._judge_meanwhile()

    def _close_months(self, before: str = "9999-12") -> None:
        while True:
            with self.db.read() as conn:
                month = invoicing.month_to_close(conn, self.clock.now())
            if month is None or month >= before or self._close(month):
                return

    def close_month(self, month: str, progress: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
        """Close a month for every account with usage in it; answers the accounts whose requests still run.

        Safe to run twice and after a crash. Raises Conflict before the month's end, or while an earlier month waits.
        """
        require_ended(self.clock, month)
        with self._turn:
            self._close_months(before=month)
            with self.db.read() as conn:
                first = invoicing.month_to_close(conn, self.clock.now())
            if first is not None and first < month:
                raise Conflict(
                    f"{first} comes first and cannot be closed yet: requests of it still run",
                    code="FAILED_PRECONDITION",
                )
            return self._close(month, progress)

    def _close(self, month: str, progress: Callable[[int, int], None] = lambda done, total: None) -> list[str]:
        with self.db.read() as conn:
            todo = invoicing.list_to_close(conn, month)
        waiting = []
        for n, account in enumerate(todo, 1):
            close = partial(invoicing.close_account_month, account=account, month=month)
            if not self._attempt(f"closing {month} for {account}", partial(self.write, close)):
                waiting.append(account)
            progress(n, len(todo))
            self._judge_meanwhile()
        if not waiting and not self.write(lambda tx: invoicing.finish_month(tx, month)):
            with self.db.read() as conn:  # requests of it began and are settled just now
                waiting = invoicing.list_to_close(conn, month)
        return waiting

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def _is_frozen(self) -> bool:
        """Whether the clock has jumped since the start: no month turns, no credit lapses, nobody is charged by it."""
        frozen = self.clock.is_off()
        if frozen and not self._frozen:
            log.error("months, lapsing credit and charges stand still: %s", JUMPED)
        if self._frozen and not frozen:
            log.warning("the clock is right again: months, lapsing credit and charges go on")
        self._frozen = frozen
        return frozen

    def next_due_at(self) -> int | None:
        """The next instant after now at which something falls due by the calendar alone."""
        now = self.clock.now()
        with self.db.read() as conn:
            closed = accounts.get_meta(conn, CLOSED_THROUGH)
            due = [accounts.get_next_expiry(conn), invoices.get_next_attempt(conn, now)]
            due += [hold_rows.get_next_expiry(conn, now), mode_rows.get_next_due(conn)]
            due.append(deployment_rows.get_next_due(conn, now))
        if closed is not None:
            due.append(month_end(next_month(closed)))
        return min((at for at in due if at is not None and at > now), default=None)

    def advance(self, to: int) -> None:
        """Move a manual clock to an instant, doing whatever falls due on the way.

        Raises Invalid backwards, Unavailable where requests of an ended month still run after a while.
        """
        require_movable(self.clock, to)
        with self._turn:
            while True:
                due = self.next_due_at()
                at = to if due is None or due > to else due
                self.clock.set(at)
                self.write(lambda tx, at=at: keep_clock(tx, at))  # type: ignore[misc]
                with acting(None):  # what falls due is time's doing, whoever moves the clock
                    self._finish_due()
                    if at == to:
                        self._each_due("billing what runs", deployment_rows.list_running, fleet.bring_up)
                        return

    def _finish_due(self) -> None:
        """Do what is due, and wait for gateways to give back the leases of months that have ended."""
        for _ in range(_PATIENCE):
            self.run_due()
            with self.db.read() as conn:
                month = invoicing.month_to_close(conn, self.clock.now())
                ended = month is None or hold_rows.keeps_open(conn, month, self.clock.now())
                if ended and not deployment_rows.is_waiting(conn):
                    return
            threading.Event().wait(_PAUSE_SECONDS)
        raise Unavailable("requests of a month that has ended are still running; it closes by itself when they end")

    # ── writers that fell silent ─────────────────────────────────────────────────────────────────────────────────
    def _close_silent(self) -> None:
        """Close the writers that have stood still for so long that they have ended all that they ran."""
        try:
            with self.db.read() as conn:
                steps = list_steps(conn)
            now, most = self._monotonic(), self._policy.ttl_seconds + self._policy.drain_seconds
            for writer, step in self._watch.look(steps, now, most):
                self.write(partial(close_silent, writer=writer, step=step))
        except Exception:
            self._watch.start_over()
            raise

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
            self.take_turn()
            self._wake.wait(every_seconds)
            self._wake.clear()
        self.step_down()

    def take_turn(self) -> None:
        """Do what is due now, if this is the process that does; what fails is logged and tried the next time."""
        try:
            self._close_silent()  # whoever leads may be the one that fell silent
            if self._lead.take():
                self.run_due()
                self._tidying.run(self._attempt)
        except (Broken, Fenced):
            raise
        except PurserError as error:
            log.warning("the worker will try again: %s", error)
        except Exception:
            log.exception("the worker will try again")

    def step_down(self) -> None:
        """Let another process do what is due."""
        self._lead.release()
