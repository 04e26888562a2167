"""The simulator catches what is wrong: faults planted in the product one at a time, each found within a few seeds."""

from __future__ import annotations

import pytest

from purser.simulator.disk import open_disk
from purser.simulator.plan import draw
from purser.simulator.run import Run, Violation
from tests.simulator.faults import FAULTS

pytestmark = pytest.mark.once
SEEDS = 150
# Those that take dozens of seeds to show; other tests catch them too.
LATE = {
    "changes_are_not_heard",
    "standing_looks_at_what_is_taken",
    "credit_lapses_under_running_requests",
    "a_hang_up_ends_a_request_that_frees_its_id",
}
EACH = [pytest.param(name, marks=pytest.mark.long if name in LATE else ()) for name in sorted(FAULTS)]


def first_violation(seeds: range) -> tuple[int, Violation] | None:
    with open_disk() as disk:
        for seed in seeds:
            found = Run(disk, draw(seed)).play().violations
            if found:
                return seed, found[0]
    return None


@pytest.mark.parametrize("name", EACH)
def test_a_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    FAULTS[name](monkeypatch)
    found = first_violation(range(1, SEEDS))
    assert found is not None, f"{name} was not caught in {SEEDS} seeds"
