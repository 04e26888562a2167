"""The lease protocol holds in every state of the small worlds, and every fault planted in it is found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.model.faults import FAULTS
from tests.model.protocol import Protocol
from tests.model.search import Search
from tests.model.state import Bounds, Left
from tests.model.worlds import SMALL

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("name", SMALL)
def test_every_invariant_holds_in_every_state(name: str, record_property: Callable[[str, object], None]) -> None:
    found = Search(Protocol(SMALL[name])).run()
    assert found.violation is None, "\n".join([str(found.violation), *found.history])
    record_property(f"states of the lease protocol, {name}", f"{found.states:,}")
    left = SMALL[name].left._asdict()
    named = {"request": "hold", "slow": "send"}
    expected = {named.get(event, event) for event, times in left.items() if times}
    assert expected <= set(found.steps), "what may happen in this world does happen"
    assert found.states > 4_000


def test_the_worlds_together_have_every_kind_of_step() -> None:
    happens = {event for bounds in SMALL.values() for event, times in bounds.left._asdict().items() if times}
    assert happens == set(Left._fields)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_found(name: str) -> None:
    fault = FAULTS[name]
    found = Search(fault.protocol(fault.bounds)).run()
    assert found.violation is not None, f"not caught in {found.states} states"
    assert found.violation.name in fault.caught_by, found.violation
    assert found.history, "it says how it comes about"


@pytest.mark.parametrize("name", FAULTS)
def test_without_the_fault_the_same_world_is_right(name: str) -> None:
    assert Search(Protocol(FAULTS[name].bounds)).run().violation is None


def test_a_fault_is_told_with_its_shortest_history() -> None:
    command = [sys.executable, "-m", "tests.model", "--fault", "late usage without over"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line.split(maxsplit=1) for line in done.stdout.splitlines()[2:]]
    assert [number for number, _ in lines] == ["1", "2", "3"]
    assert lines[-1][1] == "usage of 1 is reported after the fact"


def test_a_world_in_which_a_fault_cannot_show_is_no_proof() -> None:
    """A harness that cannot fail proves nothing: without a crash nobody notices that the dead are not closed."""
    fault = FAULTS["the dead are not closed"]
    assert Search(fault.protocol(Bounds(Left(request=1)))).run().violation is None
