"""PostgreSQL killed under load and started again: what was acknowledged is there, once, and all go on by themselves."""

from __future__ import annotations

import signal
import threading
from pathlib import Path

import pytest

from tests import postgres
from tests.demo.fleet import fleet
from tests.demo.load import Load
from tests.demo.program import eventually
from tests.demo.test_fleet import holding, insist, spend_the_rest
from tests.faults import own

pytestmark = pytest.mark.postgresql
_SOON = {"PURSER_TTL_SECONDS": "2", "PURSER_DRAIN_SECONDS": "1"}
# How the server ends, and for how long it is away: also for longer than a lease and its drain last.
_ENDS = [(signal.SIGKILL, 0.0), (signal.SIGQUIT, 0.0), (signal.SIGKILL, 4.0)]
_SOME = 25  # answers between one end and the next


def test_a_server_that_is_killed_and_started_again(server: postgres.Server, tmp_path: Path) -> None:
    with fleet(tmp_path, 3, url=own.database(server, "killed"), **_SOON) as three:
        key = three[0].open("killed", "1.00")
        load = Load()
        load.patient = True

        def insist_on_more() -> None:
            count = len(load.acknowledged)
            assert eventually(lambda: len(load.acknowledged) >= count + _SOME, 60), "nobody is served any more"

        def kill_again_and_again() -> None:
            for how, away_seconds in _ENDS:
                insist_on_more()
                server.down(how)
                threading.Event().wait(away_seconds)
                server.up()
            insist_on_more()
            load.stop.set()

        load.run(three[0], key, clients=12, beside=three[1:], meanwhile=kill_again_and_again)
        assert [each.process.poll() for each in three] == [None] * 3
        mine = sorted(each.process.pid for each in three)
        assert eventually(lambda: sorted(holding(three[0])) == mine, 60), "each has one writer, old or new"
        spend_the_rest(three, key, load)
        assert load.odd == []
        insist(three[1], "killed", load, 1)
        assert three[2].violations() == []
