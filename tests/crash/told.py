"""What clients sent and what they were told: their own account of it, kept apart from the product's books."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

ANSWER, AFTERWARDS = "answer", "409"  # how a cost was told: with the answer, or to a client that asked again


class Acknowledged(NamedTuple):
    """One request whose answer reached its client to the last byte; the cost in nano-dollars, None where not told."""

    account: str
    cost: int | None
    how: str = ANSWER


@dataclass(slots=True)
class Flight:
    """One request that is under way; its id is None until the client knows it."""

    account: str
    id: str | None
    stream: bool
    begun: bool = False  # its answer has begun


class Sent(NamedTuple):
    """What was sent until an instant: ids with their accounts, and per account how many requests have unknown ids."""

    accounts: dict[str, str]
    unknown: Counter[str]


class Told:
    """What every client wrote down; a request is written down before its first byte leaves."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[str, str] = {}
        self._again: set[str] = set()
        self._unknown: Counter[str] = Counter()
        self._acknowledged: dict[str, Acknowledged] = {}
        self._flights: dict[int, Flight] = {}
        self.counts: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()  # by account and by what fell short
        self.odd: list[str] = []

    # ── by the clients ───────────────────────────────────────────────────────────────────────────────────────────
    def send(self, port: int, flight: Flight) -> None:
        """A request is about to be sent, from that port of the client's."""
        with self._lock:
            self._flights[port] = flight
            self.counts["requests sent"] += 1
            if flight.id is None:
                self._unknown[flight.account] += 1
            else:
                if flight.id in self._accounts:
                    self._again.add(flight.id)
                self._accounts[flight.id] = flight.account

    def begin(self, flight: Flight, id_: str) -> None:
        """The head of its answer is there, and names the request."""
        with self._lock:
            flight.begun = True
            if flight.id is None:
                flight.id = id_
                self._unknown[flight.account] -= 1
                self._accounts[id_] = flight.account
            elif flight.id != id_:
                self.odd.append(f"request {flight.id} was answered as {id_}")

    def acknowledge(self, id_: str, told: Acknowledged) -> None:
        """The last byte of an answer is there, or a 409 that says what the request cost."""
        with self._lock:
            before = self._acknowledged.setdefault(id_, told)
            if before is not told and (before.how == ANSWER == told.how or before.cost != told.cost):
                self.odd.append(f"request {id_} was answered twice: {before} and {told}")

    def land(self, port: int) -> None:
        """Nothing more will come of it on that port."""
        with self._lock:
            self._flights.pop(port, None)

    def count(self, what: str) -> None:
        """One more of these."""
        with self._lock:
            self.counts[what] += 1

    def refuse(self, account: str, constraint: str) -> None:
        """An account's money fell short."""
        with self._lock:
            self.refused[account, constraint] += 1
            self.counts[f"refused for {constraint}"] += 1

    def wonder(self, words: str) -> None:
        """Something was answered that nobody should be."""
        with self._lock:
            self.odd.append(words)

    # ── by the observer ──────────────────────────────────────────────────────────────────────────────────────────
    def flights(self) -> dict[int, Flight]:
        """What is under way, by the client's port."""
        with self._lock:
            return dict(self._flights)

    def acknowledged(self) -> dict[str, Acknowledged]:
        """Every acknowledgement until now, by request id."""
        with self._lock:
            return dict(self._acknowledged)

    def was_sent_once(self, id_: str) -> bool:
        """Whether a request was not sent again under its id."""
        with self._lock:
            return id_ not in self._again

    def sent(self) -> Sent:
        """Everything that was sent until now."""
        with self._lock:
            return Sent(dict(self._accounts), Counter(self._unknown))

    @property
    def total(self) -> int:
        """The sum of all costs told, nano-dollars."""
        with self._lock:
            return sum(told.cost or 0 for told in self._acknowledged.values())
