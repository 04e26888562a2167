"""The simulator catches what is wrong: faults planted in the product one at a time, each found within a few seeds."""

from __future__ import annotations

import pytest

from purser.simulator.disk import open_disk
from purser.simulator.plan import draw
from purser.simulator.run import Run, Violation
from tests.simulator.faults import FAULTS

pytestmark = pytest.mark.once
SEEDS = 150


def first_violation(seeds: range) -> tuple[int, Violation] | None:
    with open_disk() as disk:
        for seed in seeds:
            found = Run(disk, draw(seed)).play().violations
            if found:
                return seed, found[0]
    return None


@pytest.mark.parametrize("name", sorted(FAULTS))
def test_a_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    found = first_violation(range(1, SEEDS))
    assert found is not None, f"{name} was not caught in {SEEDS} seeds"
