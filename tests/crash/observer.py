"""The observer: holds what clients were told against the books, and counts whatever does not agree."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from tests.crash.books import Books, Copy, Event
from tests.crash.engine import Engine
from tests.crash.money import Given, Money
from tests.crash.told import Acknowledged, Told

_MOST_EXAMPLES = 5

OVERSPEND = "nano-dollars billed, used or taken beyond an account's credit or limit"
LOST = "acknowledged answers that are not in the books"
ALTERED = "acknowledged answers booked at another cost, or for another account"
TWICE = "requests billed twice"
UNSENT = "events billed that no client sent"
VANISHED = "events that were in the books and are not, or are others"
BEYOND_WORK = "requests billed above what the model server did for them, or above their hold"
UNPOSTED = "entries that do not balance, or events that are not posted at their cost"
TAKEN = "headroom rows where taken is not used + shares, or used is not what was billed"
MONEY = "accounts whose credit in the books is not what they were given"
FENCED = "closed writers that have committed something"
UNBILLED = "deaths whose unbilled work is not on record"
LEFT_OVER = "writers or leases left of somebody dead"
SLOW = "deaths after which headroom came back too late"
ODD = "answers that nobody should get"
BROKEN = "processes that ended by themselves or complained"
AUDIT = "violations that the product's own audit finds"
NAMES = (
    OVERSPEND, LOST, ALTERED, TWICE, UNSENT, VANISHED, BEYOND_WORK, UNPOSTED, TAKEN, MONEY, FENCED, UNBILLED,
    LEFT_OVER, SLOW, ODD, BROKEN, AUDIT,
)  # fmt: skip


@dataclass(slots=True)
class Findings:
    """How much was found wrong by name, with some examples; what is found again is counted at its most."""

    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NAMES, 0))
    examples: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))

    def note(self, name: str, amount: int, words: str) -> None:
        """So much is wrong."""
        if amount <= 0:
            return
        self.counts[name] += amount
        if len(self.examples[name]) < _MOST_EXAMPLES:
            self.examples[name].append(words)

    def add_most(self, other: Findings) -> None:
        """The same was looked at again: of each kind the worse look counts."""
        for name, count in other.counts.items():
            if count > self.counts[name]:
                self.counts[name] = count
                self.examples[name] = other.examples[name]

    @property
    def any(self) -> bool:
        """Whether anything is wrong."""
        return any(self.counts.values())

    @property
    def grave(self) -> bool:
        """Whether anything is wrong that more of the same would not explain better: all but what was late."""
        return any(count for name, count in self.counts.items() if name != SLOW)


class Observer:
    """Examines the books again and again, beside live traffic and at rest."""

    def __init__(self, books: Books, told: Told, money: Money, engine: Engine) -> None:
        self._books, self._told, self._money, self._engine = books, told, money, engine
        self.booked: dict[tuple[str, str], Event] = {}
        self.unbilled: dict[int, int] = {}  # by writer
        self._closed: dict[int, int] = {}  # by writer: how far it had come when it was seen closed
        self.examinations = 0

    def examine(self) -> Findings:
        """One examination; what may still grow is read in the order in which that can only hide nothing.

        What was acknowledged is read before the books: it must be there. What was sent and given is read after them:
        whatever is in the books must have been sent by then.
        """
        found = Findings()
        acknowledged = self._told.acknowledged()
        copy = self._books.copy()
        sent, given = self._told.sent(), self._money.given()
        self._engine.read()
        self._compare_told(found, copy, acknowledged)
        self._compare_sent(found, copy, sent.accounts, sent.unknown)
        self._compare_money(found, copy, given)
        self._compare_rows(found, copy)
        self._compare_postings(found, copy)
        self._compare_work(found, copy)
        self._compare_writers(found, copy)
        for words in list(self._told.odd):
            found.note(ODD, 1, words)
        self.examinations += 1
        return found

    def expect_rest(self) -> Findings:
        """All has stopped in good order: nothing is set aside any more, and what is taken was used."""
        found, copy = Findings(), self._books.copy()
        for writer in copy.writers:
            found.note(LEFT_OVER, writer.state == "open", f"{writer} is open at rest")
        for lease in copy.leases:
            found.note(LEFT_OVER, 1, f"{lease} is left at rest")
        for row in copy.rows:
            found.note(TAKEN, row.taken != row.used, f"{row} at rest")
        for account, nanos in self._money.given().credit.items():
            there = copy.granted.get(account, 0)
            found.note(MONEY, there != nanos, f"{account} was given {nanos}, in the books are {there}")
        return found

    # ── the comparisons ──────────────────────────────────────────────────────────────────────────────────────────
    def _compare_told(self, found: Findings, copy: Copy, acknowledged: Mapping[str, Acknowledged]) -> None:
        by_id = {event.id: event for event in copy.events}
        for id_, told in acknowledged.items():
            event = by_id.get(id_)
            if event is None:
                found.note(LOST, 1, f"{id_} of {told.account} at {told.cost}, told by {told.how}")
            elif event.account != told.account or (told.cost is not None and told.cost != event.cost):
                found.note(ALTERED, 1, f"{id_}: told {told}, booked {event}")

    def _compare_sent(
        self, found: Findings, copy: Copy, accounts: Mapping[str, str], unknown: Mapping[str, int]
    ) -> None:
        strange: dict[str, list[str]] = defaultdict(list)
        for id_, count in Counter(event.id for event in copy.events).items():
            found.note(TWICE, count - 1, f"{id_} is in the books {count} times")
        for event in copy.events:
            if event.id not in accounts:
                strange[event.account].append(event.id)
            elif accounts[event.id] != event.account:
                found.note(UNSENT, 1, f"{event} was sent for {accounts[event.id]}")
        for account, ids in strange.items():
            most = unknown.get(account, 0)
            found.note(UNSENT, len(ids) - most, f"{account}: {ids[:3]}, beside at most {most} whose id nobody knows")
        booked = {(event.account, event.id): event for event in copy.events}
        for key, before in self.booked.items():
            found.note(VANISHED, booked.get(key) != before, f"{before} has become {booked.get(key)}")
        self.booked = booked

    def _compare_money(self, found: Findings, copy: Copy, given: Given) -> None:
        costs: Counter[str] = Counter()
        months: Counter[tuple[str, str]] = Counter()
        for event in copy.events:
            costs[event.account] += event.cost
            months[event.account, event.month] += event.cost
        for account, cost in costs.items():
            if account in given.credit and account not in given.carded:
                over = cost - given.credit[account]
                found.note(OVERSPEND, over, f"{account} was billed {over} nanos more than it ever had")
        for (account, month), cost in months.items():
            if account in given.limits:
                over = cost - given.limits[account]
                found.note(OVERSPEND, over, f"{account} was billed {over} nanos over its limit in {month}")
        for account, nanos in copy.granted.items():
            over = nanos - given.credit.get(account, 0)
            found.note(MONEY, over, f"{account} has grants of {over} nanos more than anybody gave")

    def _compare_rows(self, found: Findings, copy: Copy) -> None:
        shares: Counter[tuple[str, str, str]] = Counter()
        used: Counter[tuple[str, str, str]] = Counter()
        for lease in copy.leases:
            shares[lease[:3]] += lease.share
            used[lease[:3]] += lease.used
            found.note(OVERSPEND, lease.used - lease.share, f"{lease} used more than its share")
        costs: Counter[tuple[str, str, str]] = Counter()
        for event in copy.events:
            costs[event.account, "credit", ""] += event.cost
            costs[event.account, "month", event.month] += event.cost
        for row in copy.rows:
            key = row[:3]
            off = row.taken != row.used + shares[key] or row.used + used[key] != costs[key]
            found.note(TAKEN, off, f"{row}: shares {shares[key]}, used by leases {used[key]}, billed {costs[key]}")
            if row.enforced:
                found.note(OVERSPEND, row.taken - row.amount, f"{row}: taken beyond its amount")
                found.note(OVERSPEND, row.used + used[key] - row.amount, f"{row}: used beyond its amount")
        known = {row[:3] for row in copy.rows}
        for key, cost in costs.items():
            found.note(TAKEN, cost > 0 and key not in known, f"{key} has no headroom row")

    def _compare_postings(self, found: Findings, copy: Copy) -> None:
        costs: Counter[str] = Counter()
        for event in copy.events:
            costs[event.account] += event.cost
        for account in {*costs, *copy.earned}:
            cost, earned = costs[account], copy.earned.get(account, 0)
            found.note(UNPOSTED, cost != earned, f"{account}: events of {cost}, postings of {earned}")
        for entry in copy.lopsided:
            found.note(UNPOSTED, 1, f"{entry} does not balance")
        for account, txn, cost, posted in copy.misposted:
            found.note(UNPOSTED, 1, f"{account}, {txn}: events of {cost}, posted {posted}")

    def _compare_work(self, found: Findings, copy: Copy) -> None:
        for event in copy.events:
            found.note(BEYOND_WORK, event.cost > event.held, f"{event}: billed above its hold")
            found.note(BEYOND_WORK, event.state != "settled", f"{event}: not settled")
            done = None if event.estimated else self._engine.most_nanos(event.id)
            if done is not None:
                found.note(BEYOND_WORK, event.cost > done, f"{event}: the model server's work is worth {done}")

    def _compare_writers(self, found: Findings, copy: Copy) -> None:
        for writer in copy.writers:
            if writer.state == "closed":
                known = self._closed.setdefault(writer.id, writer.seq)
                found.note(FENCED, writer.seq != known, f"{writer} was closed at its step {known}")
        self.unbilled = {writer.id: writer.unbilled for writer in copy.writers}
        by_writers = sum(self.unbilled.values())
        by_rows = sum(row.unbilled for row in copy.rows if row.kind == "credit")
        found.note(UNBILLED, by_writers != by_rows, f"writers say {by_writers}, headroom rows {by_rows}")
