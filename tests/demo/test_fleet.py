"""Several `purser serve` processes on one database share an account's money, and see when one of them ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from tests.demo.fleet import fleet
from tests.demo.load import Load
from tests.demo.program import PATIENCE, Answer, Program, eventually


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[Program]]:
    """Three processes; at the end the audit finds nothing wrong."""
    with fleet(tmp_path, 3) as found:
        yield found
        assert next(each for each in found if each.process.poll() is None).violations() == []


def spend_the_rest(serving: list[Program], key: str, load: Load) -> None:
    """Ask through each of them, fewer and fewer at once, until nobody is served any more."""
    for clients in (6, 3, 1, 1, 1):
        load.stop.clear()
        load.run(serving[0], key, clients=clients, beside=serving[1:])
        serving = [*serving[1:], serving[0]]


def insist(program: Program, account: str, load: Load, dollars: Decimal | int) -> None:
    """What was acknowledged is billed once and adds up, all but a crumb of the money could be used and none beyond."""
    booked = program.booked(account)
    assert load.acknowledged.items() <= booked.items()
    untold = booked.keys() - load.acknowledged.keys()
    unsure = [answer for answer in (*load.odd, *load.unavailable) if b"may still be billed" in answer.raw]
    warned = {answer.headers["x-request-id"] for answer in unsure}
    assert len(untold - warned) <= load.broken
    assert Decimal("0.98") * dollars <= sum(booked.values()) == program.spent(account) <= dollars
    assert program.balance(account)["heldUsd"] == "0.00"


def test_a_crowd_on_one_dollar_through_all_of_them(three: list[Program]) -> None:
    key = three[0].open("crowd")
    load = Load()
    load.run(three[0], key, beside=three[1:])
    spend_the_rest(three, key, load)
    assert (load.odd, load.broken) == ([], 0)
    insist(three[0], "crowd", load, 1)
    assert three[2].booked("crowd") == load.acknowledged


def test_one_that_is_killed_is_closed_by_the_others(three: list[Program]) -> None:
    key = three[0].open("killed", "2.00")
    load, dead = Load(), three[1]

    def kill_one() -> None:
        assert eventually(lambda: load.total > Decimal("0.2"), 60)
        dead.process.send_signal(signal.SIGKILL)
        count = len(load.acknowledged)
        assert eventually(lambda: dead.process.pid not in holding(three[0]), PATIENCE)
        assert eventually(lambda: len(load.acknowledged) > count, PATIENCE)
        load.stop.set()

    load.run(three[0], key, clients=24, beside=three[1:], meanwhile=kill_one)
    living = [three[0], three[2]]
    spend_the_rest(living, key, load)
    assert load.odd == []
    insist(living[1], "killed", load, 2)


def holding(program: Program) -> list[int]:
    """The processes that may hold leases."""
    writers = program.operate("GET", "/operator/v1/leases")["writers"]
    return [writer["pid"] for writer in writers if writer["state"] == "open"]


def test_changes_reach_every_process(three: list[Program]) -> None:
    key = three[0].open("changes")
    path = "/operator/v1/accounts/changes"

    def answers() -> list[Answer]:
        return [ask(each, key) for each in three]

    assert [answer.status for answer in answers()] == [200] * 3
    three[0].operate("POST", f"{path}:suspend", {"cause": "BLOCKED_BY_ABUSE_RULE", "reason": "a test"})
    assert eventually(lambda: {answer.status for answer in answers()} == {412}, PATIENCE)
    three[1].operate("POST", f"{path}:reinstate")
    assert eventually(lambda: {answer.status for answer in answers()} == {200}, PATIENCE)
    three[2].price("tiny", "7")
    rate = Decimal("0.000007")
    assert eventually(
        lambda: all(answer.cost == answer.json["usage"]["total_tokens"] * rate for answer in answers()), PATIENCE
    )


def ask(program: Program, key: str) -> Answer:
    with program.caller(key) as caller:
        return caller.chat("hello", model="tiny", max_tokens=1)
