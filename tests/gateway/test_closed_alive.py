"""A process whose writer others closed, or that cannot commit: nothing unbillable is acknowledged, and it serves on."""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from purser.core.errors import Unavailable
from purser.core.policy import Policy
from purser.core.standing import BLOCKED
from purser.flows import accounts, requests
from purser.flows.closing import close_silent
from purser.store import headroom
from purser.store.accounts import prune_changes
from purser.store.usage import Event
from purser.store.writers import Tx, Writer, list_steps
from tests.gateway.rig import Answered, Rig, engine_log, running

PATIENT = Policy(requests_per_minute_unverified=6000, ttl_seconds=2, drain_seconds=1)


@contextmanager
def another(rig: Rig) -> Iterator[Writer]:
    """A writer as another process has it."""
    writer = Writer(rig.db, rig.world, rig.policy, host="there", pid=9)
    yield writer
    writer.close()


def close(rig: Rig) -> int:
    """Have another process close the gateway's writer, as if it had been silent; answers the unbilled nano-dollars."""
    mine = rig.writer.id
    with another(rig) as other:
        while True:
            with rig.db.read() as conn:
                step = list_steps(conn)[mine]
            unbilled = other.run(lambda tx, step=step: close_silent(tx, mine, step))  # type: ignore[misc]
            if unbilled is not None:
                return int(unbilled)


def served_again(rig: Rig) -> bool:
    """Whether the gateway soon serves as another writer."""
    return rig.eventually(lambda: rig.chat("hi", max_tokens=5).status == 200)


def test_a_gateway_whose_writer_was_closed_goes_on_as_another(rig: Rig) -> None:
    for n in range(3):
        before, count = rig.writer.id, len(rig.events())
        assert rig.chat("hi", max_tokens=5).status == 200
        assert close(rig) > 0, "what it had set aside counts as unbilled"
        assert served_again(rig)
        assert rig.writer.id > before
        assert len(rig.events()) == count + 2, n
    with rig.db.read() as conn:
        assert list_steps(conn).keys() == {rig.writer.id}
        unbilled = conn.exec_driver_sql("SELECT SUM(unbilled) FROM writers").scalar_one()
    assert unbilled > 0
    assert rig.balance().spent_this_month == sum(event.cost for event in rig.events())


@contextmanager
def a_stream(rig: Rig) -> Iterator[http.client.HTTPResponse]:
    """A stream that takes a while, of which something has come."""
    line = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)
    body = {"model": "tiny", "messages": [{"role": "user", "content": "[[tokens=2000]] [[pace=200]]"}], "stream": True}
    line.request("POST", "/v1/chat/completions", json.dumps(body), {"authorization": f"Bearer {rig.key}"})
    answer = line.getresponse()
    with closing(line), closing(answer):
        assert answer.status == 200
        assert answer.read(200)
        yield answer


def rest_of(answer: http.client.HTTPResponse) -> bytes:
    """What still comes of a stream; insists that it is cut rather than ended."""
    rest = b""
    try:
        while more := answer.read1(65536):
            rest += more
    except http.client.IncompleteRead:
        return rest
    raise AssertionError(f"the stream ended: {rest[-300:]!r}")


def test_what_ran_when_its_writer_was_closed_is_cut_and_costs_nothing(rig: Rig) -> None:
    whole: list[Answered] = []
    asking = threading.Thread(target=lambda: whole.append(rig.chat("[[tokens=1000]] [[pace=100]]", max_tokens=1000)))
    with a_stream(rig) as stream:
        asking.start()
        assert rig.eventually(lambda: rig.on_loop(rig.gateway.cashier.lessee.count_open) == 2)
        assert close(rig) > 0
        assert b"[DONE]" not in rest_of(stream)
    asking.join(20)
    assert [(answer.status, answer.headers["retry-after"]) for answer in whole] == [(503, "1")]
    assert "nothing was billed" in whole[0].error["message"]
    assert rig.events() == []
    assert served_again(rig)
    assert len(rig.events()) == 1
    assert rig.balance().held == 0


def test_what_was_held_before_a_closing_cannot_be_settled_or_extended_after_it(rig: Rig) -> None:
    """However late its request ends: the new writer's leases have nothing to do with it."""
    assert rig.chat("hi", max_tokens=5).status == 200
    cashier = rig.gateway.cashier
    hold = rig.on_loop(lambda: cashier.lessee.hold("late", "ada", "2026-03", 1, 1000))
    close(rig)
    assert served_again(rig)
    at = rig.world.at
    late = Event("ada", "gateway", "late", "tiny", "owner", None, at, "2026-03", "2026-03", 1, {}, (), 1000, 1000)

    async def settle() -> None:
        assert await cashier.extend(hold, 10, 10) == 0
        await cashier.settle(hold, late)

    with pytest.raises(Unavailable, match="nothing was billed"):
        rig.run_on_loop(settle())
    rig.on_loop(lambda: cashier.void(hold))
    assert rig.chat("hi", max_tokens=5).status == 200
    assert [event.id for event in rig.events() if event.id == "late"] == []


def test_a_request_of_a_writer_that_was_closed_may_run_again_under_its_id(rig: Rig) -> None:
    named = {"x-request-id": "mine"}
    whole: list[Answered] = []
    asking = threading.Thread(target=lambda: whole.append(rig.chat("[[tokens=1000]] [[pace=100]]", headers=named)))
    asking.start()
    assert rig.eventually(lambda: rig.on_loop(rig.gateway.cashier.lessee.count_open) == 1)
    close(rig)
    asking.join(20)
    assert whole[0].status == 503
    assert rig.eventually(lambda: rig.chat("hi", headers=named).status == 200)
    assert [event.id for event in rig.events()] == ["mine"]


def test_the_last_cents_are_spendable_after_a_closing(rig: Rig) -> None:
    """What the closed writer had set aside is there again, and not a nano-dollar more than there was."""
    rig.chat("hi", max_tokens=5)
    close(rig)
    assert served_again(rig)
    spent = 0
    while (answer := rig.chat("x" * 2000, model="dear", max_tokens=800)).status == 200:
        spent += 1
    assert answer.status in (402, 412)
    assert spent > 3
    assert 900_000_000 < rig.balance().spent_this_month <= 1_000_000_000


def test_a_gateway_that_cannot_commit_serves_from_what_it_has_then_refuses_then_goes_on(tmp_path: Path) -> None:
    """A stalled database: for ttl requests are admitted, then refused with 503; at ttl + drain streams are cut."""
    with running(tmp_path, PATIENT) as rig:
        assert rig.chat("hi", max_tokens=5).status == 200
        stalled, go_on = threading.Event(), threading.Event()

        def stall(_tx: object) -> None:
            stalled.set()
            go_on.wait(30)

        with a_stream(rig) as stream:
            rig.queue.submit(stall, lambda *_: None)
            assert stalled.wait(10)
            assert rig.eventually(lambda: rig.gateway.cashier.silent_seconds() > PATIENT.ttl_seconds, 20)
            sent = len(engine_log(rig))
            refused = rig.chat("hi", max_tokens=5)
            assert len(engine_log(rig)) == sent, "no model server works for what cannot be posted"
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert "database does not answer" in refused.error["message"]
            assert b"[DONE]" not in rest_of(stream)
        go_on.set()
        assert served_again(rig)
        assert rig.eventually(lambda: len(rig.events()) >= 3), (
            "what the stream used is billed: its writer is open still"
        )


def test_leases_with_nothing_spare_end_and_old_changes_go_without_being_overlooked(rig: Rig) -> None:
    assert rig.chat("hi", max_tokens=5).status == 200
    with rig.db.read() as conn:
        assert conn.exec_driver_sql("SELECT COUNT(*) FROM leases").scalar_one() == 2
    keys = [*requests.path("ada", "2026-03")]
    rig.run_on_loop(rig.gateway.cashier.give_back("2026-03", 2**62, keys))
    with rig.db.read() as conn:
        assert conn.exec_driver_sql("SELECT COUNT(*) FROM leases").scalar_one() == 0
        assert {headroom.get_used(conn, key) for key in keys} == {rig.events()[0].cost}
    assert rig.chat("hi", max_tokens=5).status == 200

    def block_and_prune(tx: Tx) -> None:
        accounts.suspend(tx, "ada", BLOCKED, "a test")
        tx.touched.clear()  # as if this process had not been told
        tx.conn.exec_driver_sql("INSERT INTO changes (account) VALUES ('x'), ('ada'), ('x'), ('x')")
        assert prune_changes(tx.conn, 1) > 0

    rig.write(block_and_prune)
    assert rig.eventually(lambda: rig.chat("hi", max_tokens=5).status == 412)
