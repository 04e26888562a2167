"""Upstreams slow, dead, flapping, sending garbage or a hundred megabytes: every request ends, at nobody's cost."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.demo.program import Answer, eventually
from tests.steady.served import PATIENCE, Asking, Served, need_connections, request

pytestmark = pytest.mark.once

MOST_MEGABYTES = {"much_in_chunks": 400, "much_in_one_event": 200}  # in memory; a gigabyte or more is sent
COST = 10 * 200 + 5 * 800


def ask_at_once(server: Served, account: str, model: str, count: int, **more: Any) -> list[Answer]:
    """What so many clients at once are answered; insists that all of them are."""
    key = server.open(account)
    asking = Asking()
    for _ in range(count):
        asking.start(server.caller(key), "hello", model=model, **more)
    found = [answer for answer in asking.wait() if answer is not None]
    assert len(found) == count, "a client was cut off"
    return found


# (model, streamed, clients, statuses that make sense)
BAD: list[tuple[str, bool, int, set[int]]] = [
    ("silent", False, 12, {504}),
    ("silent", True, 12, {504}),
    ("dead", False, 12, {502}),
    ("dead", True, 12, {502}),
    ("half_dead", False, 12, {200}),
    ("half_dead", True, 12, {200}),
    ("flapping", False, 12, {200, 502, 503}),
    ("flapping", True, 12, {200, 502, 503}),
    ("garbage", False, 12, {502}),
    ("garbage", True, 12, {200, 502}),
    ("much_announced", False, 12, {502}),
    ("much_in_chunks", False, 12, {502, 503}),
    ("much_in_one_event", True, 12, {502}),
    ("much_in_many_events", True, 3, {200}),
]


@pytest.mark.parametrize("model, stream, clients, statuses", BAD, ids=[f"{bad[0]}-{bad[1]}" for bad in BAD])
def test_every_request_ends_and_nobody_pays_too_much(
    server: Served, model: str, stream: bool, clients: int, statuses: set[int]
) -> None:
    account = f"{model}-{stream}".lower().replace("_", "-")
    before = server.forget_peak()
    answers = ask_at_once(server, account, model, clients, max_tokens=50, stream=stream)
    assert {answer.status for answer in answers} <= statuses
    for answer in answers:
        assert answer.headers["x-request-id"]
        if answer.status == 503 and "error" in answer.json:
            assert answer.headers["retry-after"]
    events = server.check(account)
    bounds = [event.cost <= 60 * 200 + 50 * 800 for event in events]
    assert all(bounds)
    assert len(events) <= sum(answer.status == 200 for answer in answers)
    if statuses.isdisjoint({200}):
        assert not events
    assert server.peak() - before < MOST_MEGABYTES.get(model, 100) * 2**20
    with server.caller(server.open(f"{account}-after")) as caller:
        assert caller.chat("hello", model="tiny", max_tokens=5).status == 200


def test_what_trickles_on_for_ever_is_given_up(server: Served) -> None:
    """Neither is ever silent for long; a whole answer is void, of a stream what came is billed."""
    whole, stream = server.open("trickles-whole"), server.open("trickles-stream")
    asking = Asking()
    asking.start(server.caller(whole), "hello", model="trickling_whole")
    asking.start(server.caller(stream), "hello", model="trickling_stream", stream=True)
    answers = {answer.status: answer for answer in asking.wait() if answer is not None}
    assert set(answers) == {200, 504}
    assert answers[200].chunks[-1]["error"]["code"] == "upstream_broken"
    assert not server.check("trickles-whole")
    [event] = server.check("trickles-stream")
    assert 0 < json.loads(event.quantities)["output_tokens"] <= len(answers[200].chunks)


def test_an_upstream_that_comes_back_is_used_again(server: Served) -> None:
    answers = ask_at_once(server, "comes-back", "flapping", 40)
    good = sum(answer.status == 200 for answer in answers)
    assert 0 < good < 40
    events = server.check("comes-back")
    assert [event.cost for event in events] == [COST] * good


def test_others_are_served_while_an_upstream_hangs(server: Served) -> None:
    """A thousand requests wait for a model that says nothing; those for another do not notice."""
    need_connections(1_000)
    key = server.open("patient")
    waiting = [server.connect() for _ in range(1000)]
    for line in waiting:
        line.sendall(request(key, "silent"))
    with server.caller(server.open("others")) as caller:
        for _ in range(20):
            assert caller.chat("hello", model="tiny", max_tokens=5).status == 200
    assert all(b"504 " in line.recv(100) for line in waiting)
    for line in waiting:
        line.close()
    assert not server.check("patient")
    assert len(server.check("others")) == 20
    assert eventually(lambda: server.left()[2] == 0, PATIENCE)
