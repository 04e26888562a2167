"""Metering: usage reported after the fact is always billed, once, even past the limit (H7, D6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from purser.core import journal, lease
from purser.core.errors import Conflict, Invalid, NotFound, PurserError
from purser.core.lease import MONTH, Headroom
from purser.core.money import LARGEST_NANOS, format_usd
from purser.core.period import DAY, month_of, next_month
from purser.core.pricebook import Timeline
from purser.core.rating import rate
from purser.core.standing import DUST_NANOS
from purser.core.usage import Quantities, folded
from purser.flows import standing
from purser.store import accounts, headroom, ledger, prices, usage
from purser.store.db import Connection, Row
from purser.store.headroom import RowKey, credit_key, month_key
from purser.store.presence import SHARED, lock_one
from purser.store.usage import Event, Known
from purser.store.writers import Tx

CLOSED_THROUGH = "closed_through"


@dataclass(frozen=True, slots=True)
class Reported:
    """One usage event as reported by an engine that is not behind the gateway."""

    account: str
    source: str
    id: str
    model: str
    quantities: Quantities
    occurred_at: int | None = None
    user: str | None = None
    key: str | None = None


def bill_month(tx: Tx, account: str, month: str) -> str:
    """The month on whose invoice usage of `month` goes: itself, or the open one where it is closed (D6)."""
    lock_one(tx.conn, SHARED, shared=True)
    standing.lock(tx, account)
    return _on_bill_of(tx, month, closed_through(tx.conn, account))


def _on_bill_of(tx: Tx, month: str, closed: str) -> str:
    return month if month > closed else max(month_of(tx.now), next_month(closed))


def closed_through(conn: Connection, account: str) -> str:
    """The last month whose bill is made, for this account or for everybody; empty where none is."""
    return max(accounts.get_closed_through(conn, account) or "", accounts.get_meta(conn, CLOSED_THROUGH) or "")


def record(tx: Tx, event: Reported) -> bool:
    """Bill one reported event; answers False for a duplicate of a known one. Raises why it cannot be billed."""
    [outcome] = record_all(tx, [event])
    if isinstance(outcome, PurserError):
        raise outcome
    return outcome


def record_all(tx: Tx, events: Sequence[Reported]) -> list[bool | PurserError]:
    """Bill reported events; answers of each whether it was new, or why it cannot be billed, which undoes no other.

    NotFound for an unknown account or model, or a unit without a price; Conflict for a known id with another body, or
    an account that had closed by then; Invalid for a time that lies in the future or more than can be counted. What is
    billed to an account makes one journal entry. Standing is judged anew where money or the limit may have come to an
    end.
    """
    lock_one(tx.conn, SHARED, shared=True)
    intake = _Intake(tx, events)
    outcomes: list[bool | PurserError] = []
    for event in events:
        try:
            outcomes.append(intake.take(event))
        except PurserError as error:
            outcomes.append(error)
    for account in sorted(_post(tx, intake.fresh, intake.rooms)):
        standing.rejudge(tx, account)
    return outcomes


class _Intake:
    """Events on their way into the books: what they are checked against, with all that it concerns locked."""

    def __init__(self, tx: Tx, events: Sequence[Reported]) -> None:
        self.fresh: list[Event] = []
        self._tx = tx
        self._accounts = accounts.lock_accounts(tx.conn, {event.account for event in events})
        there = [event for event in events if event.account in self._accounts]
        self._known = usage.list_known(tx.conn, {(event.account, event.source, event.id) for event in there})
        months = {(event.account, month_of(self._when(event))) for event in there}
        rows = [credit_key(account) for account in self._accounts] + [month_key(*each) for each in months]
        self.rooms = headroom.lock_rows(tx.conn, rows)
        self._taken = {account: self._taken_of(account) for account in self._accounts}
        self._closed = accounts.get_meta(tx.conn, CLOSED_THROUGH) or ""
        books = prices.list_books(tx.conn)
        self._prices, self._books = Timeline(books), {book.version: book for book in books}

    def _when(self, event: Reported) -> int:
        return self._tx.now if event.occurred_at is None else event.occurred_at

    def _taken_of(self, account: str) -> int:
        row = self.rooms.get(credit_key(account))
        return 0 if row is None else row.taken

    def take(self, reported: Reported) -> bool:
        """Take one in, to be posted with the others; answers False for a known one. Raises why it cannot be billed."""
        account = self._accounts.get(reported.account)
        if account is None:
            raise NotFound(f"there is no account {reported.account!r:.70}", field="account")
        key = (reported.account, reported.source, reported.id)
        known = self._known.get(key)
        event = self._rated(reported, account)
        if known is not None:
            if not self._same(known, event, reported):
                raise Conflict(f"usage event {event.id} is known with another body; the first one stands", field="id")
            return False
        if account.closing_at is not None and event.occurred_at >= account.closing_at:
            standing.check_open(account)
        _check_countable(self._taken[event.account], event)
        self._taken[event.account] += event.cost_nanos
        self._known[key] = (event.body(), event.user, event.version)
        self.fresh.append(event)
        return True

    def _rated(self, reported: Reported, account: Row) -> Event:
        at = self._when(reported)
        if at > self._tx.now + DAY:
            raise Invalid("occurredAt lies more than a day in the future", field="occurredAt")
        book = self._prices.at(at)
        rates = None if book is None else book.models.get(reported.model)
        if book is None or rates is None:
            raise NotFound(
                f"model {reported.model!r:.80} has no price in force at that time", field="model", code="NOT_FOUND"
            )
        used = folded(reported.quantities, rates)
        missing = [unit for unit in used if unit not in rates]
        if missing:
            raise NotFound(
                f"model {reported.model!r:.80} has no price for {', '.join(missing)} in force at that time",
                field="quantities",
            )
        charge, month = rate(used, rates), month_of(at)
        return Event(
            account=reported.account,
            source=reported.source,
            id=reported.id,
            model=reported.model,
            user=reported.user,
            key=reported.key,
            occurred_at=at,
            month=month,
            bill_month=_on_bill_of(self._tx, month, max(account.closed_through or "", self._closed)),
            version=book.version,
            quantities=used,
            parts=charge.parts,
            cost_nanos=charge.amount_nanos,
            held_nanos=charge.amount_nanos,
        )

    def _same(self, known: Known, event: Event, reported: Reported) -> bool:
        """Whether a known event had this body, under the prices it was rated by: they say which tokens are kinds apart.

        One reported without a time is compared under the time it was given.
        """
        body, user, version = known
        at = body[1] if reported.occurred_at is None else event.occurred_at
        book = self._books.get(version)
        rates = {} if book is None else book.models.get(event.model, {})
        return (event.model, at, folded(reported.quantities, rates), event.user) == (*body, user)


def _check_countable(taken: int, event: Event) -> None:
    if taken + event.cost_nanos > LARGEST_NANOS:
        raise Invalid(
            f"these quantities cost ${format_usd(event.cost_nanos)}: more than one account can owe", field="quantities"
        )


def transaction_key(event: Event) -> str:
    """The fact's name; the source's own slashes are escaped, so that no two events share one."""
    source = event.source.replace("%", "%25").replace("/", "%2F")
    return f"{source}/{event.id}/settled"


def post_after(tx: Tx, event: Event) -> None:
    """Bill usage after the fact, which nothing was held for; raises Invalid, with nothing written, beyond counting."""
    keys = credit_key(event.account), month_key(event.account, event.month)
    rooms = headroom.lock_rows(tx.conn, keys)
    credit = rooms.get(keys[0])
    _check_countable(0 if credit is None else credit.taken, event)
    _post(tx, [event], rooms)


def _post(tx: Tx, events: Sequence[Event], rooms: Mapping[RowKey, Headroom]) -> set[str]:
    """Post new events: one journal entry for each account, and what they use of its headroom rows, which are locked.

    Answers the accounts whose money or limit may have come to an end.
    """
    by_account: dict[str, list[Event]] = {}
    for event in events:
        by_account.setdefault(event.account, []).append(event)
    posted, entries = [], []
    costs: dict[RowKey, int] = {}
    for account, own in sorted(by_account.items()):
        txn = next((transaction_key(event) for event in own if event.cost_nanos), None)
        sums: dict[str, int] = {}
        for event in own:
            cost, bill = event.cost_nanos, event.bill_month
            posted.append((event, txn if cost else None))
            sums[bill] = sums.get(bill, 0) + cost
            for key in (credit_key(account), month_key(account, event.month)):
                costs[key] = costs.get(key, 0) + cost
        if txn is not None:
            entries.append((account, journal.settled(txn, {month: sum_ for month, sum_ in sums.items() if sum_})))
            tx.touch(account)  # what remains is told by every gateway
    usage.insert_events(tx, posted)
    ledger.post_all(tx, entries)
    return _use_rooms(tx, costs, dict(rooms))


def _use_rooms(tx: Tx, costs: Mapping[RowKey, int], rooms: dict[RowKey, Headroom]) -> set[str]:
    for key in costs:
        if key not in rooms and key.kind == MONTH:
            standing.ensure_month_row(tx, key.account, key.window)
            rooms |= headroom.lock_rows(tx.conn, [key])
    used = {key: lease.use_after(rooms[key], cost) for key, cost in costs.items() if key in rooms}
    headroom.put_rows(tx.conn, used)
    least = max(DUST_NANOS, tx.policy.depletion_threshold_nanos)
    return {key.account for key, row in used.items() if row.enforced and row.amount - row.taken < least}
