"""The reference model: an account by the rules alone, in plain dictionaries and whole numbers; no code of the product.

Money is nano-dollars, an instant microseconds since 1970, a month "2026-03". Usage is drawn from credit when something
that depends on it happens, as docs/decisions/0003 says: until then it is pending.
"""

from __future__ import annotations

import copy
import math
from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from fractions import Fraction

CENT, USD, DAY, NEVER = 10**7, 10**9, 86_400 * 10**6, 2**62
DUST, DEPLETION, LEAST_CHARGE = USD // 10_000, USD // 1_000, USD // 2
TIERS = {0: 50, 50: 500, 500: 5_000, 5_000: 50_000}  # dollars received: dollars a month
DUNNING = (1, 3, 5, 7)
UNITS = INPUT, CACHED, OUTPUT = "input_tokens", "cached_input_tokens", "output_tokens"
CREDIT, BUDGET, GIFT, BOUGHT = "credit", "budget", "promotional", "purchased"
Rates = dict[str, Fraction]  # nano-dollars for one of a unit
Money = defaultdict[str, int]  # by month
Window = tuple[str, str]  # a period, and its first day
Line = tuple[str, str, str, str, Fraction]  # whose bill, when used, model, unit, rate


def hold_of(rates: Rates, given: int, made: int) -> int:
    """The most that so many tokens can cost."""
    return math.ceil(given * max(rates[INPUT], rates[CACHED]) + made * rates[OUTPUT])


def charge(rates: Rates, used: dict[str, int], most: int = NEVER) -> tuple[int, dict[str, int]]:
    """What used tokens cost, rounded once, never above the hold; and each unit's part of it."""
    exact, total, parts = Fraction(0), 0, {}
    for unit in UNITS:
        if used.get(unit):
            exact += used[unit] * rates[unit]
            parts[unit] = min(round(exact), most) - total
            total += parts[unit]
    return total, parts


def window_of(period: str, at: int) -> Window:
    """The day, the week from Monday, the month, or the whole time that an instant lies in."""
    day = datetime.fromtimestamp(at // 10**6, UTC).date()
    back = {"DAILY": 0, "WEEKLY": day.weekday(), "MONTHLY": day.day - 1, "TOTAL": day.toordinal() - 1}[period]
    return period, (day - timedelta(back)).isoformat()


@dataclass
class Event:
    body: object
    month: str
    bill: str
    cost: int = 0


@dataclass
class Grant:
    kind: str
    expires: int
    granted: int
    remaining: int
    lapsed: int = 0


@dataclass
class Invoice:
    number: int
    month: str
    issued: int
    subtotal: int
    by_credit: int
    carried_in: int
    carried_out: int
    total: int
    due: int
    again: int | None  # when it is charged next
    paid: int = 0
    carried_on: int = 0
    attempts: int = 0
    failed: bool = False

    @property
    def rest(self) -> int:
        return self.due - self.paid - self.carried_on


def money() -> Money:
    return defaultdict(int)


@dataclass
class Account:
    mode: str
    cards: list[bool] = field(default_factory=list)  # oldest first; whether each pays
    cap: int | None = None  # the limit that the customer set
    unlimited: bool = False
    blocked: bool = False
    received: int = 0
    grants: list[Grant] = field(default_factory=list)
    look_at: int = NEVER  # when to look for credit that lapses
    pending: Money = field(default_factory=money)  # used, by the month on whose bill it goes
    owed: Money = field(default_factory=money)  # of it what is on no invoice
    beyond: Money = field(default_factory=money)  # of it what no credit covered, paid or not
    spent: Money = field(default_factory=money)  # by the month in which it was used
    lines: dict[Line, list[int]] = field(default_factory=dict)  # how many, and what they cost
    invoices: list[Invoice] = field(default_factory=list)
    documents: int = 0
    closed: str = ""
    holds: dict[str, tuple[str, int]] = field(default_factory=dict)  # by id: the month and how much
    tight: set[str] = field(default_factory=set)  # constraints for which a request was refused near their end
    events: dict[tuple[str, str], Event] = field(default_factory=dict)  # by source and id
    budget: tuple[int, str] | None = None  # of its key: how much, and the period
    keyed: dict[str, tuple[int, Window | None]] = field(
        default_factory=dict
    )  # the key's requests: when, budget's window
    by_key: list[tuple[int, int]] = field(default_factory=list)  # what they cost, and when they began

    @property
    def needs_credit(self) -> bool:
        return self.mode == "prepaid" or (self.mode == "postpaid" and not self.cards)

    @property
    def tier_limit(self) -> int | None:
        reached = [limit * USD for spend, limit in TIERS.items() if self.received >= spend * USD]
        return None if self.unlimited else max(reached)

    @property
    def limit(self) -> int | None:
        most = self.tier_limit if self.mode == "postpaid" else None
        limits = [limit for limit in (self.cap, most) if limit is not None]
        return None if self.mode == "contract" else min(limits, default=None)

    @property
    def credit(self) -> int:
        """What is left to use; below zero where more was used than there was."""
        return sum(grant.remaining for grant in self.grants) - sum(self.pending.values())

    def rooms(self, month: str, window: Window | None = None, *, beside_holds: bool = True) -> dict[str, int]:
        """What each constraint in force leaves, beside what running requests hold or without looking at them.

        The budget of the key is one where there is one and it is given a window.
        """
        rooms = {CREDIT: self.credit} if self.needs_credit else {}
        if self.limit is not None:
            rooms[month] = self.limit - self.spent[month]
        if window is not None and self.budget is not None:
            rooms[BUDGET] = self.budget[0] - self.spent_by_key(window)
        for id_, (held_in, amount) in self.holds.items() if beside_holds else ():
            own = self.keyed.get(id_, (0, None))[1]
            for name in rooms:
                rooms[name] -= amount if name in (CREDIT, held_in) or (name == BUDGET and own == window) else 0
        return rooms

    def spent_by_key(self, window: Window) -> int:
        """What the key's requests cost that began in a window."""
        return sum(cost for at, cost in self.by_key if window_of(window[0], at) == window)

    def causes(self, month: str) -> set[str]:
        """Why the account is suspended; nothing where it is not."""
        causes = {"BLOCKED_BY_ABUSE_RULE"} if self.blocked else set()
        if self.mode != "contract" and any(invoice.failed and invoice.rest for invoice in self.invoices):
            causes.add("FAILED_PAYMENTS")
        for name, left in self.rooms(month, beside_holds=False).items():
            if left < DUST or (left < DEPLETION and name in self.tight):
                causes.add("CREDIT_DEPLETED" if name == CREDIT else "MONTHLY_SPEND_LIMIT_EXCEEDED")
        return causes

    # ── credit and money ─────────────────────────────────────────────────────────────────────────────────────────
    def in_order(self) -> list[Grant]:
        return sorted(self.grants, key=lambda grant: (grant.expires, grant.kind != GIFT))

    def draw(self) -> None:
        """Pay what is pending from credit, the oldest bill first; the rest is owed."""
        for month in sorted(self.pending):
            for grant in self.in_order():
                part = min(grant.remaining, self.pending[month])
                grant.remaining, self.pending[month] = grant.remaining - part, self.pending[month] - part
            self.owed[month] += self.pending[month]
            self.beyond[month] += self.pending[month]
        self.pending.clear()

    def drawn(self) -> Account:
        """The account as it would be if it were drawn now."""
        seen = copy.deepcopy(self)
        seen.draw()
        return seen

    def give(self, amount: int, kind: str, expires: int = NEVER) -> None:
        """A gift, or money received: that pays what is owed first."""
        self.draw()
        amount = amount if kind == GIFT else self._receive(amount)
        if amount:
            self.grants.append(Grant(kind, expires, amount, amount))
            self.tight.discard(CREDIT)
            self._look_again()

    def _receive(self, amount: int) -> int:
        self.received, self.documents = self.received + amount, self.documents + 1
        for invoice in self.invoices:
            part = min(invoice.rest, amount)
            self._pay(invoice, part)
            amount -= part
        for month in sorted(self.owed) if amount else ():
            part = min(self.owed[month], amount)
            self.owed[month], amount = self.owed[month] - part, amount - part
        return amount

    def _pay(self, invoice: Invoice, amount: int) -> None:
        invoice.paid += amount
        if amount and invoice.rest < CENT:
            self._carry_on(invoice)

    def _carry_on(self, invoice: Invoice) -> None:
        """What is too little to charge goes on to the next invoice."""
        self.owed[invoice.month] += invoice.rest
        invoice.carried_on, invoice.again = invoice.rest, None

    def _look_again(self) -> None:
        self.look_at = min((grant.expires for grant in self.grants if grant.remaining), default=NEVER)

    def lapse(self, now: int) -> None:
        """Credit whose time has come lapses, but for what running requests hold of it."""
        if self.look_at <= now:
            self.draw()
            held = sum(amount for _, amount in self.holds.values())
            for grant in self.in_order():
                if grant.expires <= now:
                    kept = min(held, grant.remaining)
                    held, grant.lapsed, grant.remaining = held - kept, grant.lapsed + grant.remaining - kept, kept
            self._look_again()

    def use(
        self, name: tuple[str, str], event: Event, model: str, rates: Rates, used: dict[str, int], most: int
    ) -> int:
        """Something was used; answers what it costs."""
        event.cost, parts = charge(rates, used, most)
        for unit, amount in parts.items():
            line = self.lines.setdefault((event.bill, event.month, model, unit, rates[unit]), [0, 0])
            line[0], line[1] = line[0] + used[unit], line[1] + amount
        self.spent[event.month] += event.cost
        self.pending[event.bill] += event.cost
        self.events[name] = event
        return event.cost

    # ── documents ────────────────────────────────────────────────────────────────────────────────────────────────
    def close(self, month: str, now: int) -> None:
        """The month's usage is billed: in whole cents, with what remains carried to the next invoice."""
        self.draw()
        self.closed = month
        amounts = [amount for key, (_, amount) in self.lines.items() if key[0] == month]
        if self.mode == "prepaid" or not amounts:
            return
        beyond, carried = self.beyond[month], sum(i.carried_out - i.carried_in + i.carried_on for i in self.invoices)
        owed = sum(amount for name, amount in self.owed.items() if name <= month)
        total = (beyond + carried) // CENT * CENT
        due = min(total, owed // CENT * CENT)
        if due < LEAST_CHARGE:
            total, due = total - due, 0
        self.documents += 1
        figures = (sum(amounts), sum(amounts) - beyond, carried, beyond + carried - total, total, due)
        again = now if due and self.mode == "postpaid" else None
        self.invoices.append(Invoice(self.documents, month, now, *figures, again))
        for name in sorted(self.owed):
            part = min(self.owed[name], due) if name <= month else 0
            self.owed[name], due = self.owed[name] - part, due - part

    def try_charge(self, invoice: Invoice, now: int) -> bool:
        """Charge an invoice to the newest card; answers whether it was refused."""
        amount = invoice.rest // CENT * CENT
        if amount < LEAST_CHARGE:
            self._carry_on(invoice)
            return False
        invoice.attempts, invoice.again = invoice.attempts + 1, None
        if self.cards and self.cards[-1]:
            self.received += amount
            self._pay(invoice, amount)
            return False
        if self.mode != "contract":
            days = [invoice.issued + day * DAY for day in DUNNING]
            invoice.failed, invoice.again = True, min((at for at in days if at > now), default=None)
        return True
