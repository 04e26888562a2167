"""Processes stopped in their tracks: others close their writers, and when they go on they serve on as new ones."""

from __future__ import annotations

import signal
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.demo.fleet import fleet
from tests.demo.load import ASK, REFUSED, Load
from tests.demo.program import PATIENCE, Program, eventually
from tests.demo.test_fleet import holding, insist, spend_the_rest

_SOON = {"PURSER_TTL_SECONDS": "2", "PURSER_DRAIN_SECONDS": "1"}


def commits(program: Program) -> bool:
    """Whether it can write, so that nobody was stopped in the midst of a write (on SQLite all would wait for that)."""
    stepped = threading.Event()

    def ask() -> None:
        program.operate("POST", "/operator/v1/accounts/silent/grants", {"amountUsd": "0.000000001"})
        stepped.set()

    threading.Thread(target=ask, daemon=True).start()
    return stepped.wait(PATIENCE)


@contextmanager
def stopped(victim: Program, witness: Program) -> Iterator[None]:
    """It stands still for a while, though not in the midst of a write."""
    victim.process.send_signal(signal.SIGSTOP)
    while not commits(witness):
        victim.process.send_signal(signal.SIGCONT)
        threading.Event().wait(0.05)
        victim.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        victim.process.send_signal(signal.SIGCONT)


def test_one_that_stands_still_is_closed_alive_and_serves_on_as_another(tmp_path: Path) -> None:
    with fleet(tmp_path, 3, **_SOON) as three:
        key = three[0].open("silent", "2.00")
        victim, living = three[1], [three[0], three[2]]
        load = Load()

        def stop_one() -> None:
            assert eventually(lambda: load.total > 0.2, 60)
            with stopped(victim, three[0]):
                assert eventually(lambda: victim.process.pid not in holding(three[0]), 60)
                with living[0].caller(key) as caller:  # by now the clients may have spent all of it
                    answer = caller.chat(ASK, headers={"x-request-id": f"req_{uuid.uuid4().hex}"}, max_tokens=24)
                load.take(answer)
                assert answer.status in (200, *REFUSED), "the others serve on"
            load.stop.set()

        load.run(three[0], key, clients=12, beside=three[1:], meanwhile=stop_one)
        assert eventually(lambda: victim.process.pid in holding(three[0]), 60), "it is there again, as another writer"
        assert victim.process.poll() is None
        spend_the_rest(three, key, load)
        assert {answer.status for answer in load.odd} <= {503}
        insist(living[0], "silent", load, 2)
        told = living[0].operate("GET", "/operator/v1/leases")
        closed = [writer for writer in told["writers"] if writer["state"] == "closed"]
        assert victim.process.pid in {writer["pid"] for writer in closed}
        assert sorted(holding(living[0])) == sorted(each.process.pid for each in three)
        assert living[0].violations() == []
