"""What one writer has in memory: the spare of its leases, and the holds taken from it (correctness §2)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from msgspec import Struct

from purser.core.errors import Broken
from purser.core.lease import MONTH
from purser.flows.requests import Need, Taken, path
from purser.store.headroom import RowKey

_FAR = 2**62


@dataclass(slots=True)
class Share:
    """One lease as this process sees it, nano-dollars.

    spare = share − used − held − returning; `left` is what the store still had to grant when last heard (below zero
    where more is taken than there is by now), None where the row is not enforced; it is `known` until something is
    said to have changed. `others` is what other writers' leases had set aside and not used at `heard_at`.
    """

    share: int = 0
    used: int = 0
    held: int = 0
    returning: int = 0
    left: int | None = 0
    known: bool = False
    others: int = 0
    heard_at: int = 0
    quiet_since: int = 0
    asking: int = 0  # questions to the store that are under way
    turn: int = 0  # moves whenever `left` does

    @property
    def moving(self) -> bool:
        """Whether a commit of this process that moves `left` is under way."""
        return self.asking > 0 or self.returning > 0

    @property
    def spare(self) -> int:
        """What can be held at once."""
        return self.share - self.used - self.held - self.returning


class Path(tuple[RowKey, ...]):
    """The rows of a request's path with their shares beside them, so that these need not be looked up again."""

    shares: tuple[Share, ...]


class Bearer(Protocol):
    """Whoever runs the request that a hold is for."""

    def call_off(self) -> None:
        """End the request now: its money cannot be held any longer."""


class Hold(Struct):
    """Money set aside for one running request, on every row of its path; it keeps its first month and price version.

    It is `lost` when its writer was closed meanwhile: nothing can be billed on it any more.
    """

    id: str
    account: str
    month: str
    version: int
    amount: int
    keys: tuple[RowKey, ...]
    shares: tuple[Share, ...]  # of these keys
    budgets: tuple[RowKey, ...] = ()  # those of the keys that are budgets
    lost: bool = False
    bearer: Bearer | None = None


class Lessee:
    """The leases and holds of one writer; plain memory, no waiting, no clock of its own."""

    def __init__(self) -> None:
        self.term = 0  # how many writers there were before this one
        self._shares: dict[str, dict[RowKey, Share]] = {}  # by account
        # By account, then month and budgets, as long as no share of it is dropped.
        self._paths: dict[str, dict[tuple[str, tuple[RowKey, ...]], Path]] = {}
        self._open: dict[str, dict[str, Hold]] = {}

    def drop(self) -> list[Hold]:
        """The writer was closed by another process: its leases are gone, and no open hold can be billed any more.

        Answers the holds, whose requests are to be ended. What was granted or given back before is of a term that is
        over: it is not to be applied.
        """
        lost = self.all_open()
        for hold in lost:
            hold.lost = True
        self.term += 1
        self._shares, self._paths, self._open = {}, {}, {}
        return lost

    def share(self, key: RowKey) -> Share:
        """The lease on a row, empty where there is none yet."""
        own = self._shares.get(key.account)
        if own is None:
            own = self._shares[key.account] = {}
        found = own.get(key)
        if found is None:
            found = own[key] = Share()
        return found

    def path(self, account: str, month: str, budgets: tuple[RowKey, ...] = ()) -> Path:
        """The rows that a request must be held on."""
        own = self._paths.get(account)
        found = None if own is None else own.get((month, budgets))
        if found is None:
            found = Path(path(account, month, budgets))
            found.shares = tuple(self.share(key) for key in found)
            self._paths.setdefault(account, {})[month, budgets] = found
        return found

    def shares(self, keys: Iterable[RowKey]) -> Sequence[Share]:
        """The leases on these rows."""
        return keys.shares if type(keys) is Path else [self.share(key) for key in keys]

    def spare_and_left(self, keys: Iterable[RowKey]) -> tuple[int, int]:
        """What can be held on all these rows at once, and all the headroom left on them."""
        spare = left = _FAR
        for share in self.shares(keys):
            here = share.share - share.used - share.held - share.returning
            if here < spare:
                spare = here
            if not share.known:
                left = min(left, here)
            elif share.left is not None:
                left = min(left, here + max(0, share.left))
        return spare, left

    def spare(self, keys: Iterable[RowKey]) -> int:
        """What can be held on all these rows at once."""
        return self.spare_and_left(keys)[0]

    def left(self, keys: Iterable[RowKey]) -> int:
        """All the headroom left on a path: this lease's spare and what the store may still grant."""
        return self.spare_and_left(keys)[1]

    def needs(self, keys: Sequence[RowKey], least: int, wanted: int, extra: int) -> list[Need]:
        """What to ask the store for so that `wanted` (at least `least`) can be held; `extra` more is welcome."""
        needs = []
        for key in keys:
            spare = self.share(key).spare
            if spare < wanted:
                needs.append(Need(key, max(0, least - spare), wanted - spare, max(wanted - spare, extra)))
        return needs

    def ask(self, needs: Iterable[Need]) -> None:
        """The store is being asked; `end_ask` says that it has answered, or failed to."""
        for need in needs:
            self.share(need.key).asking += 1

    def end_ask(self, needs: Iterable[Need]) -> None:
        """The store has answered, or failed to."""
        for need in needs:
            share = self.share(need.key)
            share.asking -= 1
            share.turn += 1

    def apply(self, taken: Taken, now: int = 0) -> None:
        """Take in what the store granted; from `now` on it is not quiet, so that whoever asked can hold it."""
        for key, given in taken.given.items():
            share = self.share(key)
            share.share += given
            share.quiet_since = max(share.quiet_since, now)
        for key, left in taken.left.items():
            share = self.share(key)
            share.left = left
            share.known = left != 0 or bool(taken.given.get(key))  # nothing left may stand for less than nothing

    def turns(self, account: str) -> dict[RowKey, int]:
        """The turn of each row of an account of which no commit is under way: `hear` takes it with what was read."""
        return {key: share.turn for key, share in self._shares.get(account, {}).items() if not share.moving}

    def hear(self, key: RowKey, left: int | None, others: int, at: int, turn: int | None) -> None:
        """Take in what was read of a row at `at`: of what is left only if nothing has moved since the `turn` then."""
        share = self._shares.get(key.account, {}).get(key)
        if share is None:
            return
        share.others, share.heard_at = others, at
        if turn == share.turn and not share.moving:
            share.left, share.known = left, True

    def hold(
        self, id_: str, account: str, month: str, version: int, amount: int, budgets: tuple[RowKey, ...] = ()
    ) -> Hold:
        """Set `amount` aside on every row of the path; the caller has checked that it fits (Broken otherwise)."""
        hold = self.hold_at_once(id_, account, month, version, amount, budgets)
        if hold is None:
            raise Broken(f"hold {id_} of {amount} does not fit")
        return hold

    def hold_at_once(
        self, id_: str, account: str, month: str, version: int, amount: int, budgets: tuple[RowKey, ...] = ()
    ) -> Hold | None:
        """As `hold`; None where it does not fit."""
        keys = self.path(account, month, budgets)
        shares = keys.shares
        for share in shares:
            if share.share - share.used - share.held - share.returning < amount or amount < 0:
                return None
        for share in shares:
            share.held += amount
        hold = Hold(id_, account, month, version, amount, keys, shares, budgets)
        own = self._open.get(account)
        if own is None:
            own = self._open[account] = {}
        own[id_] = hold
        return hold

    def extend(self, hold: Hold, more: int) -> bool:
        """Add to a hold, on every row of its path or on none; answers whether it fitted."""
        for share in hold.shares:
            if more < 0 or share.share - share.used - share.held - share.returning < more:
                return False
        for share in hold.shares:
            share.held += more
        hold.amount += more
        return True

    def settled(self, hold: Hold, cost: int, now: int) -> None:
        """After the commit: the cost is used, the rest of the hold is spare again."""
        if not 0 <= cost <= hold.amount:
            raise Broken(f"a cost of {cost} is outside hold {hold.id} of {hold.amount}")
        amount = hold.amount
        for share in hold.shares:
            share.held -= amount
            share.used += cost
            share.quiet_since = now
        own = self._open.get(hold.account)
        if own is not None and not hold.lost:
            own.pop(hold.id, None)
            if not own:
                del self._open[hold.account]

    def void(self, hold: Hold, now: int) -> None:
        """Release a hold with nothing to bill."""
        self.settled(hold, 0, now)

    def open_holds(self, account: str) -> list[Hold]:
        """The account's running requests."""
        return list(self._open.get(account, {}).values())

    def held(self, account: str) -> int:
        """What the account's running requests hold, nano-dollars."""
        return sum(hold.amount for hold in self._open.get(account, {}).values())

    def held_by_month(self, account: str) -> dict[str, int]:
        """What the account's running requests hold, by the month that it is held in."""
        held: dict[str, int] = {}
        for hold in self._open.get(account, {}).values():
            held[hold.month] = held.get(hold.month, 0) + hold.amount
        return held

    def is_open(self, account: str, id_: str) -> bool:
        """Whether a request with this id is running."""
        return id_ in self._open.get(account, {})

    def all_open(self) -> list[Hold]:
        """Every running request."""
        return [hold for holds in self._open.values() for hold in holds.values()]

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
            held = key.account in self._open  # maybe for nothing, but its holds know their shares
            spare = share.spare
            gone = key.kind == MONTH and key.window < month
            quiet = share.held == 0 and share.quiet_since <= quiet_before
            if spare > 0 and (gone or quiet or key in recalled):
                share.returning += spare
                returns.append((key, spare))
            elif spare == 0 and not held and not share.moving and (gone or quiet):
                self._drop(key)  # nothing spare, nothing held: the store keeps what was used
        return returns

    def _drop(self, key: RowKey) -> None:
        self._paths.pop(key.account, None)
        own = self._shares[key.account]
        del own[key]
        if not own:
            del self._shares[key.account]

    def undo_returns(self, returns: Iterable[tuple[RowKey, int]]) -> None:
        """The store could not be told: what was to be returned is spare again."""
        for key, spare in returns:
            share = self.share(key)
            share.returning -= spare
            share.turn += 1

    def end_returns(self, returns: Iterable[tuple[RowKey, int]]) -> None:
        """The store has what was returned."""
        for key, spare in returns:
            share = self.share(key)
            share.returning -= spare
            share.share -= spare
            share.turn += 1
            if share.left is not None:
                share.left += spare

    def accounts(self) -> list[str]:
        """The accounts on which there are leases."""
        return list(self._shares)

    def forget_left(self, account: str) -> None:
        """Limits or credit of an account changed: what the store has left is to be asked anew."""
        for share in self._shares.get(account, {}).values():
            share.known = False
            share.turn += 1


def remaining_of(shares: Iterable[Share]) -> int | None:
    """The headroom of H2 as last heard: nobody has used it, nothing holds it; None where nothing limits it."""
    least: int | None = None
    for share in shares:
        if share.left is not None:
            room = share.left + share.others + share.share - share.used - share.held
            if least is None or room < least:
                least = room
    return None if least is None else max(0, least)
