"""Random histories on the real store and flows: after each step every figure is the reference model's."""

from __future__ import annotations

import os
import secrets

from tests import databases
from tests.properties.histories import SITUATIONS
from tests.properties.play import play_all

MORE = "PURSER_TEST_SEEDS"  # how many more histories to play, from a seed that is new every time
ON_SQLITE, ON_POSTGRESQL, AT_MOST = 10, 3, 120
# As histories are drawn today these see everything together; where they no longer do, more follow.
TOGETHER = (16, 3, 23, 8, 35, 29)


def test_the_product_and_the_model_agree_in_every_history() -> None:
    """In so many, on SQLite in as many more as it takes to have seen every situation, and in new ones if asked."""
    seeds = iter((*TOGETHER, *(seed for seed in range(AT_MOST) if seed not in TOGETHER)))
    seen = play_all(seeds, ON_SQLITE if databases.is_sqlite() else ON_POSTGRESQL)
    missing = list(SITUATIONS) if databases.is_sqlite() else []
    while missing := [name for name in missing if not seen[name]]:
        more = play_all(seeds, 1)
        assert more, f"nothing is shown of these: {', '.join(missing)}"
        seen += more
    count, first = int(os.environ.get(MORE, 0)), secrets.randbelow(10**9)
    play_all(iter(range(first, first + count)), count)
