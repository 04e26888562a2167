"""Faults planted in a real process: `python -m tests.crash.faults NAME serve …` is `purser serve …` with that fault.

Beside those here every fault of the simulator's can be planted the same way.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest
from msgspec.structs import replace as replace_struct

from purser.core import lease
from purser.flows import claims, requests
from purser.gateway.cashier import Cashier
from purser.gateway.deliveries import resolve
from purser.main import run
from purser.store import ledger, usage
from purser.store.presence import _Files, _Sessions
from purser.store.writers import Writer
from tests.simulator.faults import FAULTS as SIMULATED

Plant = Callable[[pytest.MonkeyPatch], None]
OWN: dict[str, Plant] = {}


def fault(plant: Plant) -> Plant:
    """A fault under the name of its function."""
    OWN[plant.__name__] = plant
    return plant


@fault
def an_answer_leaves_while_its_commit_is_made(patch: pytest.MonkeyPatch) -> None:
    """What many gateways do: the cost is written behind the answer."""
    true = Cashier.settle

    def settle(self: Cashier, hold: Any, event: Any) -> Any:
        told = self._loop.create_future()
        resolve(told, None, None)
        true(self, hold, event)
        return told

    patch.setattr(Cashier, "settle", settle)


@fault
def events_and_postings_are_two_commits(patch: pytest.MonkeyPatch) -> None:
    """The usage events of a batch are committed first, their journal entries right after it."""
    true, late = Writer.run_touching, threading.local()

    def post_later(tx: Any, entries: Any, corrects: str | None = None) -> None:
        late.entries = [*getattr(late, "entries", ()), *entries]

    def run_touching(self: Writer, work: Any) -> Any:
        def begin(tx: Any) -> Any:
            late.entries = []
            return work(tx)

        done = true(self, begin)
        entries, late.entries = late.entries, []
        if entries:
            true(self, lambda tx: ledger.post_all(tx, entries))
        return done

    patch.setattr(requests, "ledger", _Ledger(post_later))
    patch.setattr(Writer, "run_touching", run_touching)


class _Ledger:
    def __init__(self, post_all: Any) -> None:
        self.post_all = post_all

    def __getattr__(self, name: str) -> Any:
        return getattr(ledger, name)


@fault
def the_share_of_the_dead_is_freed_twice(patch: pytest.MonkeyPatch) -> None:
    """Closing a dead writer gives its spare back once too often."""
    true = lease.close

    def close(row: Any, held: Any) -> Any:
        row = true(row, held)
        return replace(row, taken=max(0, row.taken - held.spare))

    patch.setattr(lease, "close", close)


@fault
def a_restart_is_granted_on_top(patch: pytest.MonkeyPatch) -> None:
    """The first lease of a new process is not taken from what there is."""
    true = lease.grant

    def grant(row: Any, held: Any, least: int, most: int) -> Any:
        made = true(row, held, least, most)
        if made is None or held.share:
            return made
        return replace(made[0], taken=row.taken), *made[1:]

    patch.setattr(lease, "grant", grant)


@fault
def the_closed_go_on(patch: pytest.MonkeyPatch) -> None:
    """The fence refuses nobody: a writer that others closed does not notice."""
    SIMULATED["the_fence_does_not_refuse"](patch)


@fault
def a_request_sent_again_is_billed_again(patch: pytest.MonkeyPatch) -> None:
    """Event ids are unique by themselves, whatever the client called its request."""
    true = requests.settle_and_take

    def settle_and_take(tx: Any, events: Any, asked: Any) -> Any:
        known = [usage.get_known(tx.conn, event.account, event.source, event.id) for event in events]
        fresh = [
            event if before is None else replace_struct(event, id=f"{event.id}~{tx.writer}")
            for event, before in zip(events, known, strict=True)
        ]
        return true(tx, fresh, asked)

    patch.setattr(requests, "settle_and_take", settle_and_take)
    patch.setattr(claims, "claim", lambda tx, account, id_: claims.Claimed(True))


@fault
def the_dead_keep_what_they_had(patch: pytest.MonkeyPatch) -> None:
    """Nobody looks for writers whose process is gone."""
    patch.setattr(_Files, "list_gone", lambda self, conn, me: [])
    patch.setattr(_Sessions, "list_gone", lambda self, conn, me: [])


FAULTS: dict[str, Plant] = {**SIMULATED, **OWN}


def main(arguments: Sequence[str]) -> None:
    """Plant the fault that the first argument names, then be the command `purser` with the others."""
    FAULTS[arguments[0]](pytest.MonkeyPatch())
    sys.argv = ["purser", *arguments[1:]]
    run()


if __name__ == "__main__":
    main(sys.argv[1:])
