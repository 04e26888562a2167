"""Replay: a trace's requests, in their own time, through the rating, leases, ledger and standing of live traffic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from purser.core.admission import hold_nanos
from purser.core.errors import Broken, Conflict, Invalid, NotFound
from purser.core.invoice import UNPAID
from purser.core.limits import POSTPAID
from purser.core.money import LARGEST_NANOS, Rate, format_usd
from purser.core.period import NEVER, month_end, month_of
from purser.core.pricebook import PriceBook, in_force, revise
from purser.core.rating import Charge, rate
from purser.core.standing import DUST_NANOS
from purser.core.trace import Survey, TraceRow, cached_tokens
from purser.core.usage import CACHED, INPUT, OUTPUT, Quantities, quantities
from purser.flows import accounts, credits, invoicing, payments, requests, setup, standing
from purser.flows.lessee import Hold, Lessee
from purser.flows.metering import CLOSED_THROUGH
from purser.flows.payments import Card
from purser.store import accounts as account_rows
from purser.store import invoices, ledger, prices
from purser.store.db import Connection, Row
from purser.store.usage import Event
from purser.store.writers import Tx, World, Writer

T = TypeVar("T")
SOURCE = "replay"
SUSPENDED, REINSTATED, INVOICE = "suspended", "reinstated", "invoice"
MOST_AT_ONCE = 500  # settlements per commit, or this many per account where there are many:
ROWS_PER_ACCOUNT = 8
_CARD = Card("pm_card_visa", "visa", "4242", 12, 2034, "test_visa_4242")


class Clock(World, Protocol):
    """Billing time that the replay sets."""

    def set(self, at: int) -> None:
        """Set billing time."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to replay as: row i of the trace is a request of account i mod N.

    `rates` None takes the price that the database has. `credit_nanos` is given to each account, `limit_nanos` is
    each one's monthly limit (None: none).
    """

    model: str
    accounts: tuple[str, ...]
    rates: Mapping[str, Rate] | None = None
    credit_nanos: int = 0
    limit_nanos: int | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that happened to an account: `cause` of a suspension or its end, or the row of an invoice."""

    at: int
    account: str
    event: str
    cause: str = ""
    invoice: Row | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What was charged: requests, tokens (input with the cached ones), nano-dollars; and what happened when."""

    requests: int
    refused: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    charge_nanos: int
    accounts: int
    moments: tuple[Moment, ...]

    def count(self, event: str) -> int:
        """How many moments of a kind there were."""
        return sum(moment.event == event for moment in self.moments)


# ── before the first row ─────────────────────────────────────────────────────────────────────────────────────────
def prepare(tx: Tx, plan: Plan) -> None:
    """Make a database ready, the model's price in force among it; what it already has stays as it is.

    Raises Conflict where the database prices the model otherwise at that time, NotFound where nothing prices it.
    """
    setup.prepare(tx, {}, None)
    books = prices.list_books(tx.conn)
    book = in_force(books, tx.now)
    known = book.models.get(plan.model) if book is not None else None
    if known is not None and INPUT not in known:
        raise Conflict(f"this database does not price {plan.model} in tokens: name another model", field="model")
    if known is not None:
        if plan.rates is not None and not _same_rates(known, plan.rates):
            raise Conflict(
                f"this database prices {plan.model} otherwise already: leave --price away, name another model, or "
                "replay into another database",
                field="price",
            )
        return
    rates = plan.rates if plan.rates is not None else newest_rates(books, plan.model)
    if rates is None:
        raise NotFound(
            f"model {plan.model!r:.80} has no price; give one, such as --price input=0.20,output=0.80", field="model"
        )
    prices.insert_book(tx.conn, revise(book, {plan.model: rates}, len(books) + 1, tx.now), tx.now)
    tx.touch("")


def newest_rates(books: Iterable[PriceBook], model: str) -> Mapping[str, Rate] | None:
    """A model's rates by the newest book that has any."""
    having = [book for book in books if INPUT in book.models.get(model, {})]
    return max(having, key=lambda book: (book.effective_at, book.version)).models[model] if having else None


def _same_rates(one: Mapping[str, Rate], other: Mapping[str, Rate]) -> bool:
    return one.keys() == other.keys() and all(
        rate.nanos * other[unit].per == other[unit].nanos * rate.per for unit, rate in one.items()
    )


def open_account(tx: Tx, account: str, plan: Plan) -> None:
    """Open one of the replay's accounts: postpaid with a card, outside the tiers, credit and limit as planned.

    Raises Conflict where it exists.
    """
    accounts.open_account(tx, account, f"{account}@replay.invalid", billing_mode=POSTPAID, signup_credit_nanos=0)
    payments.add_method(tx, account, _CARD)
    if plan.credit_nanos:
        credits.give_credit(tx, account, plan.credit_nanos, source=SOURCE)
    account_rows.update_account(tx.conn, account, limit_nanos=plan.limit_nanos)
    accounts.set_unlimited(tx, account, True)


# ── the rows ─────────────────────────────────────────────────────────────────────────────────────────────────────
class Replay:
    """One replay: drives one writer and its clock; settlements wait to share a commit while nothing depends on them.

    `pace` is called with each row's instant before the row is tried (to wait for it), `progress` now and then with
    the rows done.
    """

    def __init__(
        self,
        writer: Writer,
        clock: Clock,
        plan: Plan,
        *,
        most_at_once: int | None = None,
        pace: Callable[[int], None] | None = None,
        progress: Callable[[int], None] = lambda _: None,
    ) -> None:
        self.writer, self.clock, self.plan = writer, clock, plan
        self.most_at_once = most_at_once or max(MOST_AT_ONCE, ROWS_PER_ACCOUNT * len(plan.accounts))
        self.pace, self.progress = pace, progress
        self.lessee = Lessee()
        self.books: list[PriceBook] = []
        self.book: PriceBook | None = None
        self.book_until = 0
        self.month = month_of(clock.now())
        self.month_end_at = month_end(self.month)
        self.pending: list[tuple[Event, Hold]] = []
        self.billed: set[str] = set()  # accounts with usage in the month
        self.suspended: set[str] = set()
        self.seen: dict[str, set[int]] = {}
        self.requests = self.refused = self.charge_nanos = 0
        self.totals = {INPUT: 0, CACHED: 0, OUTPUT: 0}

    def run(self, rows: Iterable[TraceRow], survey: Survey) -> Report:
        """Open the accounts, try every row in order, then close the month in which the trace ends.

        `survey` is of the same rows. Raises Conflict, NotFound or Invalid before anything is billed.
        """
        self._write(lambda tx: prepare(tx, self.plan))
        with self.writer.db.read() as conn:
            self.books = prices.list_books(conn)
            closed = account_rows.get_meta(conn, CLOSED_THROUGH) or ""
        if self.month <= closed:
            raise Conflict(
                f"the database has closed its months up to {closed}, and this trace begins in {self.month}: replay it "
                f"into a database of its own"
            )
        self._check_sum(survey)
        for account in self.plan.accounts:
            self._write(lambda tx, account=account: open_account(tx, account, self.plan))  # type: ignore[misc]
        for n, row in enumerate(rows):
            self._try(n, row)
            if n % MOST_AT_ONCE == 0:
                self.progress(n)
        self._turn_month(self.month_end_at)
        self.progress(survey.rows)
        return self._report()

    def _check_sum(self, survey: Survey) -> None:
        rates = [book.models[self.plan.model] for book in self.books if self.plan.model in book.models]
        most = max(hold_nanos(rate_, survey.input_tokens, survey.output_tokens) for rate_ in rates)
        if most + self.plan.credit_nanos > LARGEST_NANOS:
            raise Invalid(
                f"the trace could cost ${format_usd(most)}, more than the books can hold; check the price",
                field="price",
            )

    def _try(self, n: int, row: TraceRow) -> None:
        if self.pace is not None:
            self._flush()
            self.pace(row.at)
        if row.at >= self.month_end_at:
            self._turn_month(row.at)
        self.clock.set(row.at)
        account = self.plan.accounts[n % len(self.plan.accounts)]
        cached = 0
        if row.blocks:
            seen = self.seen.setdefault(account, set())
            cached = cached_tokens(row, seen)
            seen.update(row.blocks)
        if account in self.suspended:
            self.refused += 1
            return
        used = quantities(row.input_tokens, cached, row.output_tokens)
        book = self._book_at(row.at)
        charge = rate(used, book.models[self.plan.model])
        if self._take(account, charge.amount_nanos):
            self._admit(n, account, row.at, book.version, used, charge)
        else:
            self.refused += 1

    def _book_at(self, at: int) -> PriceBook:
        if self.book is None or at >= self.book_until:
            self.book = in_force(self.books, at)
            later = [book.effective_at for book in self.books if book.effective_at > at]
            self.book_until = min(later, default=NEVER)
            if self.book is None or self.plan.model not in self.book.models:
                raise NotFound(f"model {self.plan.model!r:.80} has no price in force at that time", field="model")
        return self.book

    def _take(self, account: str, cost: int) -> bool:
        """Make sure that this much can be held; answers False for a refusal, noted as one (U7)."""
        needs = self.lessee.needs(requests.path(account, self.month), cost, cost, self.writer.policy.lease_nanos)
        if not needs:
            return True
        taken = self._write(lambda tx: requests.take_headroom(tx, needs))
        self.lessee.apply(taken)
        short = taken.short
        if short is None:
            return True
        self._flush()  # so that nothing is held when the refusal is judged
        self._write(lambda tx: standing.note_refusal(tx, short.account, short.kind, short.window))
        return False

    def _admit(self, n: int, account: str, at: int, version: int, used: Quantities, charge: Charge) -> None:
        cost = charge.amount_nanos
        hold = self.lessee.hold(f"row_{n:010d}", account, self.month, version, cost)
        event = Event(
            account=account,
            source=SOURCE,
            id=hold.id,
            model=self.plan.model,
            user="owner",
            key=None,
            occurred_at=at,
            month=self.month,
            bill_month=self.month,
            version=version,
            quantities=used,
            parts=charge.parts,
            cost_nanos=cost,
            held_nanos=cost,
        )
        self.pending.append((event, hold))
        self.billed.add(account)
        self.requests += 1
        self.charge_nanos += cost
        for unit, count in used.items():
            self.totals[unit] += count
        if len(self.pending) >= self.most_at_once or (cost and self.lessee.left(hold.keys) < DUST_NANOS):
            self._flush()

    def _flush(self) -> None:
        """Settle what waits; the commit's time is the last row's, which alone can have used up its account."""
        settled, self.pending = self.pending, []
        if settled:
            self._write(lambda tx: requests.settle(tx, [event for event, _ in settled]))
        for event, hold in settled:
            self.lessee.settled(hold, event.cost_nanos, event.occurred_at)

    def _write(self, work: Callable[[Tx], T]) -> T:
        """One transaction; afterwards `suspended` is right for the accounts it changed."""
        result, touched = self.writer.run_touching(work)
        own = touched.intersection(self.plan.accounts) if touched else ()
        if own:
            with self.writer.db.read() as conn:
                for account in own:
                    if account_rows.list_open_causes(conn, account):
                        self.suspended.add(account)
                    else:
                        self.suspended.discard(account)
        return result

    # ── months ───────────────────────────────────────────────────────────────────────────────────────────────────
    def _turn_month(self, at: int) -> None:
        """End the running month at its last instant, then go on in the month of `at`; nothing falls due between."""
        self._flush()
        self.clock.set(self.month_end_at)
        ended, self.month = self.month, month_of(at)
        returns = self.lessee.start_returns(month_of(self.month_end_at), -1)
        if returns:
            self._write(lambda tx: requests.give_back(tx, returns))
            self.lessee.end_returns(returns)
        for account in sorted(self.billed):
            self._write(lambda tx, account=account: bill(tx, account, ended))  # type: ignore[misc]
        self.billed.clear()
        waiting = sorted(self.suspended)
        if waiting:
            self._write(lambda tx: standing.sweep(tx, waiting))
        self.month_end_at = month_end(self.month)

    # ── after the last row ───────────────────────────────────────────────────────────────────────────────────────
    def _report(self) -> Report:
        earned = 0
        moments: list[Moment] = []
        with self.writer.db.read() as conn:
            for account in self.plan.accounts:
                earned += sum(ledger.get_balances(conn, account, "revenue:").values())
                moments += list_moments(conn, account)
        if earned != self.charge_nanos:
            raise Broken(f"the ledger earned {earned} nano-dollars, but {self.charge_nanos} were charged")
        return Report(
            requests=self.requests,
            refused=self.refused,
            input_tokens=self.totals[INPUT] + self.totals[CACHED],
            cached_input_tokens=self.totals[CACHED],
            output_tokens=self.totals[OUTPUT],
            charge_nanos=self.charge_nanos,
            accounts=len(self.plan.accounts),
            moments=tuple(sorted(moments, key=lambda moment: moment.at)),
        )


def bill(tx: Tx, account: str, month: str) -> None:
    """Close an account's month and have its card charged, which the test provider's card always allows."""
    invoice = invoicing.close_account_month(tx, account, month)
    row = invoices.get_invoice(tx.conn, account, invoice) if invoice is not None else None
    if row is not None and row.state in UNPAID:
        payment = payments.start_invoice_payment(tx, account, row.id)
        if payment is not None:
            payments.mark_sent(tx, account, payment)
            payments.record_success(tx, account, payment, f"test_{payment}")


def list_moments(conn: Connection, account: str) -> list[Moment]:
    """An account's suspensions, reinstatements and invoices, in order of time.

    It is reinstated when the last cause is lifted (U1); a cause lifted at the instant it opened never suspended it.
    At a month's first instant the limit is lifted first, and a request may use all of the new one at once.
    """
    turns: list[tuple[int, bool, str]] = []
    for row in account_rows.list_causes(conn, account):
        if row.until_at != row.since_at:
            turns.append((row.since_at, True, row.cause))
            if row.until_at is not None:
                turns.append((row.until_at, False, row.cause))
    moments, count = [], 0
    for at, opened, cause in sorted(turns):
        count += 1 if opened else -1
        if opened:
            moments.append(Moment(at, account, SUSPENDED, cause))
        elif not count:
            moments.append(Moment(at, account, REINSTATED, cause))
    bills: list[Any] = invoices.list_invoices(conn, account)[::-1]
    moments += [Moment(row.issued_at, account, INVOICE, invoice=row) for row in bills]
    order = (REINSTATED, INVOICE, SUSPENDED)
    return sorted(moments, key=lambda moment: (moment.at, order.index(moment.event)))
