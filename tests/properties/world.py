"""The reference model's world: accounts, prices and the calendar, and what falls due as time goes by."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime

from tests.properties.reference import BUDGET, CREDIT, DEPLETION, NEVER, Account, Event, Rates, Window, window_of


def month_of(at: int) -> str:
    return f"{datetime.fromtimestamp(at // 10**6, UTC):%Y-%m}"


def after(month: str) -> str:
    year, number = divmod(int(month[:4]) * 12 + int(month[5:]), 12)
    return f"{year}-{number + 1:02}"


def end_of(month: str) -> int:
    return int(datetime.fromisoformat(f"{after(month)}-01T00:00:00+00:00").timestamp()) * 10**6


class World:
    """Every account, every price, the time, and the last month that is closed for all."""

    def __init__(self, now: int, closed: str) -> None:
        self.now, self.closed = now, closed
        self.accounts: dict[str, Account] = {}
        self.prices: list[tuple[str, int, Rates]] = []  # model, in force from when, what one of each unit costs
        self.seen: Counter[str] = Counter()  # situations
        self._applied: dict[str, tuple[bool, int | None]] = {}

    @property
    def month(self) -> str:
        return month_of(self.now)

    def rates(self, model: str, at: int) -> Rates:
        """What was published last of what was in force then; the first also reaches back in time."""
        known = [(since, n, rates) for n, (name, since, rates) in enumerate(self.prices) if name == model]
        return max(price for price in known if price[0] <= max(at, min(known)[0]))[2]

    # ── requests, and usage after the fact ───────────────────────────────────────────────────────────────────────
    def window(self, account: Account) -> Window | None:
        """The window of the key's budget, if it has one."""
        return None if account.budget is None else window_of(account.budget[1], self.now)

    def admit(self, account: Account, id_: str, amount: int, beside: bool, keyed: bool) -> bool:
        """Whether a request is let in, and what it holds is held; `beside` says whether its gateway runs others."""
        if account.causes(self.month):
            return False
        window = self.window(account) if keyed else None
        rooms = account.rooms(self.month, window)
        if all(amount <= max(0, room) for room in rooms.values()):  # what costs nothing needs nothing to be left
            account.holds[id_] = (self.month, amount)
            if keyed:
                account.keyed[id_] = (self.now, window)
            return True
        short = min(rooms, key=lambda name: max(0, rooms[name]))
        if short == BUDGET:
            self.seen["a budget refused a request"] += 1
            return False
        left = account.rooms(self.month, beside_holds=False)[short]
        if rooms[short] < DEPLETION and not beside and left < DEPLETION:
            account.tight.add(short)
            self.seen["a refusal near the end suspended"] += 1
        return False

    def settle(self, account: Account, id_: str, model: str, rates: Rates, used: dict[str, int]) -> int:
        """A running request ends; answers what it costs."""
        month, held = account.holds.pop(id_)
        bill = month if held else self.bill_of(account, month)  # what holds something keeps its month open
        cost = account.use(("gateway", id_), Event(used, month, bill), model, rates, used, held)
        if id_ in account.keyed:
            at, window = account.keyed[id_]
            account.by_key.append((at, cost))
            self.seen["a request was settled after its budget's period"] += (
                window is not None and window_of(window[0], self.now) != window
            )
        return cost

    def report(self, account: Account, id_: str, model: str, used: dict[str, int], at: int) -> bool | None:
        """Usage after the fact: True where it is billed, False where it is known, None for the same id otherwise."""
        known = account.events.get(("api", id_))
        body = (model, used, at)
        if known is not None:
            return False if known.body == body else None
        event = Event(body, month_of(at), self.bill_of(account, month_of(at)))
        self.seen["usage of a closed month came late"] += event.bill != event.month
        account.use(("api", id_), event, model, self.rates(model, at), used, NEVER)
        return True

    def void_all(self) -> None:
        """Every request that runs ends with nothing to bill."""
        for account in self.accounts.values():
            account.holds.clear()

    def bill_of(self, account: Account, month: str) -> str:
        """The month on whose bill usage of a month goes: the open one where its own is closed."""
        closed = max(account.closed, self.closed)
        return month if month > closed else max(self.month, after(closed))

    # ── time ─────────────────────────────────────────────────────────────────────────────────────────────────────
    def beat(self) -> None:
        """What happens by itself within a second, and at the instants at which something falls due."""
        for account in self.accounts.values():
            account.lapse(self.now)
            kept = sum(grant.remaining for grant in account.grants if grant.expires <= self.now)
            self.seen["credit was kept for what held it"] += kept > 0
        self._close_months()
        for name, account in self.accounts.items():
            self.charge_due(account)
            footing = (account.needs_credit, account.limit)
            was = self._applied.setdefault(name, footing)
            account.tight -= {name for name in account.tight if footing[name != CREDIT] != was[name != CREDIT]}
            self._applied[name] = footing

    def _close_months(self) -> None:
        while end_of(after(self.closed)) <= self.now:
            month, waits = after(self.closed), False
            for account in self.accounts.values():
                if any(held_in == month and amount for held_in, amount in account.holds.values()):
                    waits = True
                elif account.closed < month and any(key[0] == month for key in account.lines):
                    account.close(month, self.now)
            if waits:
                self.seen["a month waited for its last request"] += 1
                return
            self.closed = month

    def charge_due(self, account: Account) -> None:
        """Charge the invoices whose time has come."""
        for invoice in account.invoices:
            if invoice.rest and invoice.again is not None and invoice.again <= self.now:
                account.try_charge(invoice, self.now)

    def advance(self, to: int) -> None:
        """Time goes on, and what falls due is done when it does."""
        while self.now < to:
            due = [account.look_at for account in self.accounts.values()]
            due += [i.again for account in self.accounts.values() for i in account.invoices if i.again is not None]
            due += [end_of(after(self.closed)), to]
            self.now = min(at for at in due if at > self.now)
            self.beat()

    def situations(self) -> Counter[str]:
        """What came up, and how often."""
        seen = Counter(self.seen)
        for account in self.accounts.values():
            seen["credit lapsed"] += any(grant.lapsed for grant in account.grants)
            seen["credit of several kinds was drawn"] += (
                len({grant.kind for grant in account.grants if grant.remaining + grant.lapsed < grant.granted}) > 1
            )
            for invoice in account.invoices:
                seen["an invoice was issued"] += 1
                seen["an invoice was paid by credit alone"] += invoice.by_credit == invoice.subtotal > 0
                seen["an invoice failed"] += invoice.failed
                seen["an invoice failed and was paid"] += invoice.failed and invoice.paid > 0
                seen["too little to charge was carried"] += invoice.carried_out > 10**7
                seen["a fraction of a cent was carried"] += invoice.carried_in % 10**7 > 0
                seen["the rest of an invoice was carried on"] += invoice.carried_on > 0
        return seen
