"""Many requests at once for money that is not there: the store is asked a few times, not once for each of them."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from decimal import Decimal

from purser.flows import accounts
from purser.flows.queue import Done
from purser.flows.requests import Need
from tests.gateway.rig import Answered, Rig

CENTS_2 = 20_000_000
CROWD = 60


def count_questions(rig: Rig) -> list[int]:
    """What is least needed by each question that the store is asked from now on; the first waits for the crowd."""
    asked: list[int] = []
    take = rig.queue.take

    def counted(needs: Sequence[Need], done: Done) -> None:
        asked.append(needs[0].least)
        threading.Timer(0.5 if len(asked) == 1 else 0, take, (needs, done)).start()

    rig.queue.take = counted  # type: ignore[method-assign]
    return asked


def test_a_crowd_that_cannot_be_served_asks_the_store_a_few_times(rig: Rig) -> None:
    opened = rig.write(lambda tx: accounts.open_account(tx, "bob", "bob@example.com", signup_credit_nanos=CENTS_2))
    rig.key = str(opened.secret)

    def ask(number: int) -> Answered:
        return rig.chat(f"{number}", model="dear", max_tokens=100)  # $0.008 and the input: one fits beside the first

    with (
        ThreadPoolExecutor(CROWD) as clients,
        closing(rig.open_stream("slow [[tokens=200]] [[pace=5]]", model="dear", max_tokens=200)) as first,
    ):
        assert next(first)
        assert rig.eventually(lambda: rig.on_loop(lambda: rig.gateway.held("bob")) > CENTS_2 * 8 // 10)
        asked = count_questions(rig)
        refused = list(clients.map(ask, range(CROWD)))
        assert rig.on_loop(lambda: rig.gateway.held("bob")) > CENTS_2 * 8 // 10, "the stream runs on"
    assert {answer.status for answer in refused} == {402}
    assert all("is held for what is running" in answer.error["message"] for answer in refused)
    assert all(Decimal(answer.error["held_usd"]) > Decimal("0.016") for answer in refused)
    assert 1 <= len(asked) < CROWD // 4


def test_who_needs_less_than_the_crowd_is_not_told_what_the_crowd_is_told(rig: Rig) -> None:
    opened = rig.write(lambda tx: accounts.open_account(tx, "bob", "bob@example.com", signup_credit_nanos=CENTS_2))
    rig.key = str(opened.secret)
    with ThreadPoolExecutor(CROWD) as clients:
        dear = [clients.submit(rig.chat, "x" * 2000, model="dear", max_tokens=100) for _ in range(CROWD - 20)]
        small = [clients.submit(rig.chat, "hello [[tokens=1]]", max_tokens=1) for _ in range(20)]
    assert {each.result().status for each in dear} == {402}
    assert {each.result().status for each in small} == {200}
