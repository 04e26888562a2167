"""What clients were told: their own account of it, kept apart from the product's books and compared with them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from purser.core.money import format_usd
from purser.flows import holds
from purser.flows.claims import SOURCE
from purser.store import usage

if TYPE_CHECKING:
    from purser.simulator.client import Call
    from purser.simulator.run import Run


class Acknowledgements:
    """Every answer that a client holds in its hands, with its cost as told."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self.told: dict[tuple[str, str], int] = {}
        self._holds: dict[tuple[str, str], int] = {}

    def served(self, call: Call, id_: str, cost: int | None) -> None:
        """An answer has come whole, and said what it cost: from now on that must be in the books, once, for ever."""
        key = (call.account, id_)
        if cost is None:
            self._run.blame("C1", f"call {call.number} was answered whole as {id_} without a cost")
            return
        if key in self.told:
            self._run.blame("C2", f"{id_} of {call.account} was served and acknowledged twice")
        self.told[key] = cost
        self._run.tell(f"call {call.number}: acknowledged as {id_}, ${format_usd(cost)}")
        self._compare(key, cost)

    def settled_before(self, call: Call, id_: str, cost: int | None) -> None:
        """A request sent again was told what it had cost the first time."""
        self._run.tell(f"call {call.number}: {id_} had been settled")
        if cost is not None:
            self._compare((call.account, id_), cost)

    def hold_settled(self, account: str, id_: str, cost: int) -> None:
        """Whoever settled a hold by API was told what it had cost."""
        self._holds[account, id_] = cost
        self._compare((account, id_), cost, holds.SOURCE)

    def _compare(self, key: tuple[str, str], cost: int, source: str = SOURCE) -> None:
        account, id_ = key
        with self._run.disk.db.read() as conn:
            known = usage.get_known(conn, account, source, id_)
        if known is None:
            self._run.blame("C1", f"{id_} of {account} was acknowledged at ${format_usd(cost)} and is not in the books")
        elif known[1] != cost:
            self._run.blame(
                "C1", f"{id_} of {account} was acknowledged at ${format_usd(cost)}, the books say {known[1]} nanos"
            )

    def check_all(self) -> None:
        """At the end: everything ever acknowledged is still there."""
        for key, cost in self.told.items():
            self._compare(key, cost)
        for key, cost in self._holds.items():
            self._compare(key, cost, holds.SOURCE)
