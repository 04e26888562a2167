"""Commits whose outcome nobody told, again and again under load: each is read from the writer's own row."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from tests import databases
from tests.demo.fleet import fleet
from tests.demo.load import Load
from tests.demo.program import eventually
from tests.demo.test_fleet import insist, spend_the_rest
from tests.store.between import Between

pytestmark = pytest.mark.postgresql
_PART = 0.2  # of all commits
_LOST = 60  # commits in all


@pytest.fixture
def between(tmp_path: Path) -> Iterator[Between]:
    """What loses commits, and answers to them, on their way to a database."""
    url = sa.make_url(databases.at(tmp_path / "purser.db"))
    made = Between(url.host or "127.0.0.1", url.port or 5432)
    yield made
    made.close()


def test_every_outcome_is_found_out(between: Between, tmp_path: Path) -> None:
    straight = sa.make_url(databases.at(tmp_path / "purser.db"))
    through = straight.set(host="127.0.0.1", port=between.port).render_as_string(hide_password=False)
    with fleet(tmp_path, 2, url=through) as two:
        key, load = two[0].open("doubtful", "1.00"), Load()
        load.patient = True

        def lose() -> None:
            between.lose_some(random.Random(7), _PART)
            try:
                assert eventually(lambda: between.lost >= _LOST, 60)
            finally:
                between.lose_some(None)
            count = len(load.acknowledged)
            assert eventually(lambda: len(load.acknowledged) > count, 60)
            load.stop.set()

        load.run(two[0], key, clients=8, beside=two[1:], meanwhile=lose)
        doubts = sum(each.log.count("the session was lost during a commit") for each in two)
        assert doubts > _LOST / 4, "else few of them were a writer's"
        assert [each.process.poll() for each in two] == [None, None]
        spend_the_rest(two, key, load)
        assert load.odd == []
        insist(two[1], "doubtful", load, 1)
        assert two[0].violations() == []
