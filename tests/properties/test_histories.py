"""Random histories on the real store and flows: after each step every figure is the reference model's."""

from __future__ import annotations

import os

from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests import databases
from tests.properties.histories import SITUATIONS, Histories

EXAMPLES = "PURSER_TEST_EXAMPLES"  # how many histories; new ones every time
ON_SQLITE, ON_POSTGRESQL = 100, 15


def test_the_product_and_the_model_agree_in_every_history() -> None:
    asked = int(os.environ.get(EXAMPLES, 0))
    usual = ON_SQLITE if databases.is_sqlite() else ON_POSTGRESQL
    Histories.seen.clear()
    run_state_machine_as_test(
        Histories,
        settings=settings(max_examples=asked or usual, stateful_step_count=40, derandomize=not asked, database=None),
    )
    if databases.is_sqlite():
        assert [name for name in SITUATIONS if not Histories.seen[name]] == [], "nothing is shown of these"
