"""What one writer has in memory: the spare of its leases, and the holds taken from it (correctness §2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from purser.core.errors import Broken
from purser.core.lease import MONTH
from purser.flows.requests import Need, Taken, path
from purser.store.headroom import RowKey

_FAR = 2**62


@dataclass(slots=True)
class Share:
    """One lease as this process sees it, nano-dollars.

    spare = share − used − held − returning; `left` is what the store still had to grant when last heard, None where
    the row is not enforced.
    """

    share: int = 0
    used: int = 0
    held: int = 0
    returning: int = 0
    left: int | None = 0
    quiet_since: int = 0

    @property
    def spare(self) -> int:
        """What can be held at once."""
        return self.share - self.used - self.held - self.returning


@dataclass(slots=True)
class Hold:
    """Money set aside for one running request, on every row of its path; it keeps its first month and price version."""

    id: str
    account: str
    month: str
    version: int
    amount: int
    keys: tuple[RowKey, ...]


class Lessee:
    """The leases and holds of one writer; plain memory, no waiting, no clock of its own."""

    def __init__(self) -> None:
        self._shares: dict[str, dict[RowKey, Share]] = {}  # by account
        self._open: dict[str, dict[str, Hold]] = {}

    def share(self, key: RowKey) -> Share:
        """The lease on a row, empty where there is none yet."""
        own = self._shares.get(key.account)
        if own is None:
            own = self._shares[key.account] = {}
        found = own.get(key)
        if found is None:
            found = own[key] = Share()
        return found

    def spare(self, keys: Iterable[RowKey]) -> int:
        """What can be held on all these rows at once."""
        return min(self.share(key).spare for key in keys)

    def left(self, keys: Iterable[RowKey]) -> int:
        """All the headroom left on a path: this lease's spare and what the store may still grant."""
        return min(self._left(self.share(key)) for key in keys)

    @staticmethod
    def _left(share: Share) -> int:
        return _FAR if share.left is None else share.spare + share.left

    def needs(self, keys: Sequence[RowKey], least: int, wanted: int, extra: int) -> list[Need]:
        """What to ask the store for so that `wanted` (at least `least`) can be held; `extra` more is welcome."""
        needs = []
        for key in keys:
            spare = self.share(key).spare
            if spare < wanted:
                needs.append(Need(key, max(0, least - spare), wanted - spare, max(wanted - spare, extra)))
        return needs

    def apply(self, taken: Taken, now: int = 0) -> None:
        """Take in what the store granted; from `now` on it is not quiet, so that whoever asked can hold it."""
        for key, given in taken.given.items():
            share = self.share(key)
            share.share += given
            share.quiet_since = max(share.quiet_since, now)
        for key, left in taken.left.items():
            self.share(key).left = left

    def hold(self, id_: str, account: str, month: str, version: int, amount: int) -> Hold:
        """Set `amount` aside on every row of the path; the caller has checked that it fits (Broken otherwise)."""
        hold = Hold(id_, account, month, version, 0, path(account, month))
        if not self.extend(hold, amount):
            raise Broken(f"hold {id_} of {amount} does not fit")
        self._open.setdefault(account, {})[id_] = hold
        return hold

    def extend(self, hold: Hold, more: int) -> bool:
        """Add to a hold, on every row of its path or on none; answers whether it fitted."""
        shares = [self.share(key) for key in hold.keys]
        if more < 0 or any(share.spare < more for share in shares):
            return False
        for share in shares:
            share.held += more
        hold.amount += more
        return True

    def settled(self, hold: Hold, cost: int, now: int) -> None:
        """After the commit: the cost is used, the rest of the hold is spare again."""
        if not 0 <= cost <= hold.amount:
            raise Broken(f"a cost of {cost} is outside hold {hold.id} of {hold.amount}")
        for key in hold.keys:
            share = self.share(key)
            share.held -= hold.amount
            share.used += cost
            share.quiet_since = now
        own = self._open.get(hold.account, {})
        own.pop(hold.id, None)
        if not own:
            self._open.pop(hold.account, None)

    def void(self, hold: Hold, now: int) -> None:
        """Release a hold with nothing to bill."""
        self.settled(hold, 0, now)

    def open_holds(self, account: str) -> list[Hold]:
        """The account's running requests."""
        return list(self._open.get(account, {}).values())

    def held(self, account: str) -> int:
        """What the account's running requests hold, nano-dollars."""
        return sum(hold.amount for hold in self._open.get(account, {}).values())

    def is_open(self, account: str, id_: str) -> bool:
        """Whether a request with this id is running."""
        return id_ in self._open.get(account, {})

    def count_open(self) -> int:
        """How many requests are running."""
        return sum(len(holds) for holds in self._open.values())

    def start_returns(self, month: str, quiet_before: int, wanted: Iterable[RowKey] = ()) -> list[tuple[RowKey, int]]:
        """Take out of memory the spare to give back: of months gone, of recalled rows, of accounts gone quiet.

        The store is told next; call `end_returns` when it was, `undo_returns` where it could not be.
        """
        recalled = set(wanted)
        returns = []
        for key, share in [pair for own in self._shares.values() for pair in own.items()]:
            spare = share.spare
            gone = key.kind == MONTH and key.window < month
            quiet = share.held == 0 and share.quiet_since <= quiet_before
            if spare > 0 and (gone or quiet or key in recalled):
                share.returning += spare
                returns.append((key, spare))
            elif spare == 0 and share.held == 0 and share.returning == 0 and (gone or quiet):
                self._drop(key)  # nothing spare, nothing held: the store keeps what was used
        return returns

    def _drop(self, key: RowKey) -> None:
        own = self._shares[key.account]
        del own[key]
        if not own:
            del self._shares[key.account]

    def undo_returns(self, returns: Iterable[tuple[RowKey, int]]) -> None:
        """The store could not be told: what was to be returned is spare again."""
        for key, spare in returns:
            self.share(key).returning -= spare

    def end_returns(self, returns: Iterable[tuple[RowKey, int]]) -> None:
        """The store has what was returned."""
        for key, spare in returns:
            share = self.share(key)
            share.returning -= spare
            share.share -= spare
            if share.left is not None:
                share.left += spare

    def forget_left(self, account: str) -> None:
        """Limits or credit of an account changed: what the store has left is to be asked anew."""
        for share in self._shares.get(account, {}).values():
            share.left = 0
