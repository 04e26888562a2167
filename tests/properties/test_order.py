"""The same usage in any order, in any batches, told as often as one likes and to any writers comes to the same (C4)."""

from __future__ import annotations

from contextlib import closing
from itertools import groupby

from hypothesis import given, settings
from hypothesis import strategies as st

from purser.flows.metering import Reported
from purser.store.usage import Event
from tests import databases
from tests.properties.books import GATEWAYS, TINY
from tests.properties.histories import Histories
from tests.properties.reference import BOUGHT, DAY, GIFT, INPUT, OUTPUT, USD
from tests.properties.till import Till
from tests.properties.world import end_of
from tests.stories.gateways import Request

ON_SQLITE, ON_POSTGRESQL = 10, 4
TOKENS = st.integers(0, 30_000)
# What a request at a gateway may use and how much of it it does; or without one, usage after the fact some days ago.
USED = st.tuples(st.none() | st.sampled_from(GATEWAYS), TOKENS, TOKENS, st.sampled_from((0, 7, 50, 100)))


class Tellings:
    """Pieces of usage, each as the event that a gateway settles or that any writer is told of."""

    def __init__(self, books: Histories, used: list[tuple[str | None, int, int, int]]) -> None:
        self._books = books
        self.requests: dict[str, Request] = {}
        self.events: list[Event | Reported] = []
        account = books.model.accounts["ada"]
        for n, (gateway, read, made, part) in enumerate(used):
            if gateway is None:
                quantities = {unit: count for unit, count in ((INPUT, read), (OUTPUT, made)) if count}
                self.events.append(Reported("ada", "api", f"e{n}", TINY, quantities, books.model.now - part * DAY))
            else:
                request = books.admit("ada", account, gateway, TINY, read, made)
                if request is not None:
                    event = books.measure(request, part, part % 7)
                    self.requests[event.id] = request
                    self.events.append(event)

    def tell_model(self) -> None:
        """Each of them once, in the order in which they came up."""
        model, account = self._books.model, self._books.model.accounts["ada"]
        for event in self.events:
            if isinstance(event, Reported):
                model.report(account, event.id, event.model, event.quantities, event.occurred_at or 0)
            else:
                model.settle(account, event.id, TINY, self._books.rates[event.id], event.quantities)

    def tell_product(self, events: list[Event | Reported], doors: list[str], breaks: set[int]) -> None:
        """These, in this order; those that go through one door share a commit, unless it breaks there."""
        scene = self._books.scene
        way = [
            (doors[n % len(doors)] if isinstance(one, Reported) else scene.name_of(self.requests[one.id]), n, one)
            for n, one in enumerate(events)
        ]
        part = 0
        parts = []
        for door, n, one in way:
            part += n in breaks
            parts.append((door, isinstance(one, Reported), part, one))
        for (door, reported, _), some in groupby(parts, key=lambda item: item[:3]):
            batch = [item[3] for item in some]
            scene.use_gateway(door)
            if reported:
                scene.report([one for one in batch if isinstance(one, Reported)])
            else:
                self._settle(scene.till(door), [one for one in batch if isinstance(one, Event)])

    def _settle(self, till: Till, events: list[Event]) -> None:
        for event, new in zip(events, till.post(events), strict=True):
            if new:
                till.lessee.settled(self.requests[event.id].hold, event.cost_nanos, self._books.model.now)
                del self._books.scene.requests[event.id]


@given(used=st.lists(USED, min_size=1, max_size=8), data=st.data())
@settings(max_examples=ON_SQLITE if databases.is_sqlite() else ON_POSTGRESQL)
def test_order_batches_duplicates_and_writers_make_no_difference(
    used: list[tuple[str | None, int, int, int]], data: st.DataObject
) -> None:
    with closing(Histories()) as books:
        books.begin(lease=USD, mode="postpaid", credit=USD, cards=[True], used=USD // 2)
        for amount, kind, days in (
            (USD // 3, BOUGHT, 60),
            (USD // 7, GIFT, 60),
            (USD // 5, BOUGHT, 30),
            (USD, GIFT, 90),
        ):
            books.grant("ada", amount, kind, days * DAY)
        tellings = Tellings(books, used)
        tellings.tell_model()
        assert len(books.model.accounts["ada"].events) == 1 + len(tellings.events), "each once, and how it began"
        again = data.draw(st.lists(st.sampled_from(tellings.events), max_size=6)) if tellings.events else []
        order = data.draw(st.permutations(tellings.events + again))
        doors = data.draw(st.lists(st.sampled_from(GATEWAYS), min_size=1, max_size=4))
        tellings.tell_product(order, doors, data.draw(st.sets(st.integers(0, 14), max_size=5)))
        books.look(["ada"], told=True)
        books.wait(end_of(books.model.month) - books.model.now)
        books.look(["ada"], told=True)
        books.end_all()
