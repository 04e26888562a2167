"""However a request ends, its hold is settled or released exactly once; what is not posted is not acknowledged."""

from __future__ import annotations

import asyncio
import http.client
import json
import socket
import threading
from dataclasses import replace
from inspect import CORO_CREATED, getcoroutinestate, iscoroutine
from pathlib import Path
from typing import Any

import pytest

from purser.core.errors import Broken
from purser.core.money import LARGEST_NANOS
from purser.core.usage import Measured, quantities
from purser.flows import accounts, credits, pricing, requests
from purser.gateway import app, splicing, streams
from purser.gateway.dialects import chunks, whole
from purser.gateway.passage import Passage
from purser.store import headroom
from purser.store.usage import Event
from purser.store.writers import Fenced, Tx
from tests.gateway.rig import Answered, Rig, engine_log, model, running

GO_ON = "go on [[tokens=200]] [[pace=200]]"
CUT_OFF = (http.client.HTTPException, OSError)


def in_threads(count: int, work: Any) -> list[Any]:
    """What so many calls at once answer."""
    found: list[Any] = []
    start = threading.Barrier(count)

    def one() -> None:
        start.wait()
        found.append(work())

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


# ── one id, several requests (C2, correctness §2) ────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("capped", [True, False], ids=["held at once", "asks the store"])
def test_requests_with_one_id_at_once_are_served_once(rig: Rig, capped: bool) -> None:
    more = {"max_tokens": 5} if capped else {}
    for round_ in range(5):
        named = {"x-request-id": f"mine-{round_}"}
        answers = in_threads(6, lambda named=named: rig.chat("hi [[tokens=5]]", headers=named, **more))
        assert sorted(answer.status for answer in answers) == [200] + [409] * 5
        assert {answer.error["code"] for answer in answers if answer.status == 409} <= {
            "request_open",
            "request_settled",
        }
    assert len(rig.events()) == 5
    assert len(engine_log(rig)) == 5, "nothing runs twice"
    assert rig.balance().held == 0


def used(rig: Rig) -> int:
    """What this process believes ada's lease on her credit has used."""
    return int(rig.on_loop(lambda: rig.gateway.cashier.lessee.share(headroom.credit_key("ada")).used))


def known_event(id_: str) -> Event:
    """A request that another process has settled."""
    return Event("ada", "gateway", id_, "tiny", "owner", None, 1, "2026-03", "2026-03", 1, {}, (), 0, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_an_id_that_another_process_settled_meanwhile_is_billed_once_and_harms_nobody(rig: Rig, stream: bool) -> None:
    answers: list[Answered] = []

    def ask() -> None:
        try:
            answers.append(rig.chat(GO_ON, headers={"x-request-id": "twice"}, stream=stream))
        except CUT_OFF:
            answers.append(Answered(0, {}, b""))  # a stream that is cut off

    asking = threading.Thread(target=ask)
    asking.start()
    assert rig.eventually(lambda: rig.on_loop(lambda: rig.gateway.held("ada")) > 0)
    rig.write(lambda tx: requests.settle(tx, [known_event("twice")]))
    asking.join()
    if stream:
        assert not answers[0].is_done
    else:
        assert (answers[0].status, answers[0].error["code"]) == (409, "request_settled")
    assert [(event.id, event.cost) for event in rig.events()] == [("twice", 0)]
    assert rig.balance().held == 0
    assert rig.balance().spent_this_month == 0
    assert used(rig) == 0, "what is in memory agrees with the store"
    assert rig.chat("hi", max_tokens=5).status == 200
    assert used(rig) == rig.balance().spent_this_month


def test_an_account_suspended_while_its_request_waits_for_money_is_refused(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = rig.gateway.cashier.hold

    async def hold(*args: Any) -> Any:
        found = await true(*args)
        await asyncio.to_thread(rig.write, lambda tx: accounts.suspend(tx, "ada", "BLOCKED_BY_ABUSE_RULE", "odd"))
        return found

    monkeypatch.setattr(rig.gateway.cashier, "hold", hold)
    refused = rig.chat("hi", max_tokens=5)
    assert (refused.status, refused.error["code"]) == (412, "PRECONDITION_FAILED")
    assert rig.balance().held == 0
    assert not rig.events()


# ── cancelled, at whatever point ─────────────────────────────────────────────────────────────────────────────────
def has_begun(task: asyncio.Task[None]) -> bool:
    coroutine = task.get_coro()
    assert iscoroutine(coroutine)
    return getcoroutinestate(coroutine) != CORO_CREATED


def cancel_all(rig: Rig) -> int:
    """Cancel every answerer, as the server does at the end of its grace; answers how many."""

    def cancel() -> int:
        # One that never ran cannot end its exchange; the server itself cancels only what it has called off before.
        tasks = [task for task in rig.server._tasks.values() if has_begun(task)]
        for task in tasks:
            task.cancel()
        return len(tasks)

    return int(rig.on_loop(cancel))


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("after_milliseconds", [0, 1, 2, 5, 20, 100])
def test_a_cancelled_request_leaves_no_hold(rig: Rig, stream: bool, after_milliseconds: int) -> None:
    def ask() -> None:
        try:
            rig.chat(GO_ON, stream=stream)
        except CUT_OFF:
            return

    clients = [threading.Thread(target=ask) for _ in range(4)]
    for client in clients:
        client.start()
    assert rig.eventually(lambda: rig.on_loop(lambda: rig.server.running) > 0)
    threading.Event().wait(after_milliseconds / 1000)
    cancel_all(rig)
    while any(client.is_alive() for client in clients):  # one may only arrive now
        threading.Event().wait(0.05)
        cancel_all(rig)
    assert rig.eventually(lambda: rig.balance().held == 0)
    assert rig.eventually(lambda: rig.on_loop(lambda: rig.gateway.cashier.lessee.count_open()) == 0)
    assert rig.chat("hi", max_tokens=5).status == 200


def test_a_stream_cancelled_in_the_middle_is_billed_what_came(rig: Rig) -> None:
    def ask() -> None:
        try:
            rig.chat("go on [[tokens=200]] [[pace=20]]", stream=True)
        except CUT_OFF:
            return

    client = threading.Thread(target=ask)
    client.start()
    assert rig.eventually(lambda: rig.on_loop(lambda: rig.gateway.held("ada")) > 0)
    threading.Event().wait(1)
    assert cancel_all(rig) == 1
    client.join()
    assert rig.eventually(lambda: len(rig.events()) == 1)
    used = json.loads(rig.events()[0].quantities)
    assert 0 < used["output_tokens"] < 200
    assert rig.eventually(lambda: rig.balance().held == 0)


def is_whole(rig: Rig, text: str) -> bool:
    """Whether a stream comes to its proper end."""
    try:
        answer = rig.chat(text, stream=True)
    except CUT_OFF:
        return False
    return answer.status == 200 and answer.is_done


def test_a_client_that_leaves_before_any_upstream_has_its_request_pays_nothing(tmp_path: Path) -> None:
    deaf = socket.create_server(("127.0.0.1", 0), backlog=0)
    port = deaf.getsockname()[1]
    waiting = []
    for _ in range(4):  # fill its queue: the next one to connect waits
        line = socket.socket()
        line.setblocking(False)
        line.connect_ex(("127.0.0.1", port))
        waiting.append(line)
    with running(tmp_path, models=(model("tiny", (f"http://127.0.0.1:{port}/v1",)),)) as rig:
        raw = b'{"model": "tiny", "messages": [{"role": "user", "content": "' + b"x" * 800 + b'"}]}'
        with socket.create_connection(("127.0.0.1", rig.port)) as client:
            head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: here\r\nauthorization: Bearer {rig.key}\r\n"
            client.sendall(head.encode() + b"content-length: %d\r\n\r\n" % len(raw) + raw)
            assert rig.eventually(lambda: rig.on_loop(lambda: rig.gateway.held("ada")) > 0)
        assert rig.eventually(lambda: rig.balance().held == 0, 2)
        assert rig.eventually(lambda: rig.on_loop(lambda: rig.server.running) == 0)
        assert not rig.events()
    for line in (*waiting, deaf):
        line.close()


# ── faults of our own ────────────────────────────────────────────────────────────────────────────────────────────
def explode(*_: Any, **__: Any) -> Any:
    """A fault that nobody foresaw."""
    raise ValueError("a header holds CR, LF or NUL")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("where", "name"), [(splicing, "for_upstream"), (Passage, "_headers_sent"), (Passage, "answer_headers")]
)
def test_a_fault_between_hold_and_answer_leaves_no_hold(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, where: Any, name: str, stream: bool
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(where, name, explode)
        assert rig.chat("hi [[tokens=5]]", stream=stream).status == 500
    assert rig.eventually(lambda: rig.balance().held == 0)
    assert rig.chat("hi", max_tokens=5).status == 200


def test_a_fault_in_the_middle_of_a_stream_bills_what_came(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    true, count = streams.read_event, iter(range(1000))

    def read_event(*args: Any, **more: Any) -> streams.Event:
        return explode() if next(count) > 20 else true(*args, **more)

    with monkeypatch.context() as patch:
        patch.setattr(chunks, "read_event", read_event)
        assert not is_whole(rig, "hi [[tokens=100]]")
    assert rig.eventually(lambda: len(rig.events()) == 1)
    assert 10 < json.loads(rig.events()[0].quantities)["output_tokens"] <= 21
    assert rig.eventually(lambda: rig.balance().held == 0), "told to the gateway a moment after the commit"


def test_spare_that_could_not_be_given_back_is_spare_again(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.chat("hi", max_tokens=5)
    lessee = rig.gateway.cashier.lessee

    def spare() -> int:
        return sum(share.spare + share.returning for share in lessee._shares.get("ada", {}).values())

    before = rig.on_loop(spare)
    with monkeypatch.context() as patch:
        patch.setattr(requests, "give_back", explode)

        async def give_back() -> None:
            await rig.gateway.cashier.give_back("2026-03", rig.world.now() + 1, [])

        with pytest.raises(ValueError, match="header"):
            asyncio.run_coroutine_threadsafe(give_back(), rig._loop).result(10)
        assert rig.on_loop(lambda: sum(s.returning for s in lessee._shares["ada"].values())) == 0
    assert rig.on_loop(spare) == before > 0


# ── a settlement that fails ──────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("error", [Broken("disk full"), OSError("disk full")])
@pytest.mark.parametrize("stream", [False, True])
def test_what_cannot_be_posted_is_not_acknowledged_and_stops_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, stream: bool
) -> None:
    with running(tmp_path) as rig:
        fatal: list[BaseException] = []
        rig.queue._on_fatal = fatal.append

        real = requests.settle_and_take

        def settle_and_take(tx: Tx, events: Any, asked: Any) -> Any:
            if events:
                raise error
            return real(tx, events, asked)

        with monkeypatch.context() as patch:
            patch.setattr(requests, "settle_and_take", settle_and_take)
            if stream:
                assert not is_whole(rig, "hi [[tokens=5]]")
            else:
                answer = rig.chat("hi [[tokens=5]]")
                assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                assert "x-purser-cost-usd" not in answer.headers
                assert b"disk full" not in answer.body
        assert {type(one) for one in fatal} == {Broken}
        assert not rig.events()
        after = rig.chat("hi", max_tokens=5)  # the process has not stopped in this test, but serves no more
        assert after.status == 503


@pytest.mark.parametrize("error", [Broken("it does not add up"), Fenced("closed")])
def test_books_that_are_broken_are_503_not_500(rig: Rig, monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def hold(*_: Any) -> Any:
        raise error

    monkeypatch.setattr(rig.gateway.cashier, "hold_at_once", hold)
    answer = rig.chat("hi", max_tokens=5)
    assert (answer.status, answer.error["code"], answer.headers["retry-after"]) == (503, "unavailable", "1")
    assert "add up" not in answer.error["message"]
    assert rig.balance().held == 0


# ── bounds ───────────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("bound", ["MOST_RUNNING", "MOST_BACKLOG"])
def test_more_than_can_be_carried_is_503_and_says_when_to_come_back(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, bound: str
) -> None:
    monkeypatch.setattr(app, bound, -1)
    answer = rig.chat("hi", max_tokens=5)
    assert (answer.status, answer.error["code"]) == (503, "unavailable")
    assert answer.headers["retry-after"] == "1"
    assert rig.send("/v1/chat/completions", b"{}", key="pk_wrong").status == 401, "H6: the key comes first"
    monkeypatch.undo()
    assert rig.chat("hi", max_tokens=5).status == 200


def test_an_engine_that_counts_beyond_all_bounds_is_clamped_and_kept(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.write(lambda tx: pricing.publish(tx, {"tiny": {"input": "1.00", "output": "1000000.00"}}))
    assert rig.eventually(lambda: rig.send("/v1/quote", quote_of("tiny")).json.get("priceVersion") == 2)
    with monkeypatch.context() as patch:
        patch.setattr(whole, "measure", lambda *_: Measured(quantities(10, 0, 10**12), estimated=False))
        answer = rig.chat("hi", max_tokens=1, headers={"x-purser-fit": "refuse"})
        assert answer.status in (200, 402), answer.body
        rig.write(lambda tx: give(tx, 100 * 10**9))
        answer = rig.chat("hi", max_tokens=1)
    assert answer.status == 200, answer.body
    event = rig.events()[-1]
    assert event.cost == 10 * 1_000 + 1 * 1_000_000_000
    assert rig.on_loop(lambda: rig.gateway.counters.clamped_nanos) == LARGEST_NANOS
    assert rig.balance().held == 0


def give(tx: Tx, nanos: int) -> None:
    """Credit as a gift."""
    credits.give_credit(tx, "ada", nanos)


def quote_of(model: str) -> dict[str, Any]:
    """A small chat to ask about."""
    return {
        "path": "/v1/chat/completions",
        "body": {"model": model, "max_tokens": 1, "messages": [{"role": "user", "content": "Hi"}]},
    }


def test_a_request_that_could_cost_more_than_can_be_counted_is_400(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        terms = rig.gateway.served["dear"].terms
        rig.gateway.served["dear"].terms = replace(terms, context_tokens=10**6, max_output_tokens=10**6)
        rig.write(lambda tx: pricing.publish(tx, {"dear": {"input": "1.00", "output": "1000000.00"}}))
        bob = rig.write(lambda tx: accounts.open_account(tx, "bob", "bob@example.com", billing_mode="contract"))
        body = {"model": "dear", "prompt": ["x"] * 2048, "n": 128, "max_tokens": 10**6}
        headers = {"x-model-fail": "status=500"}
        refused = rig.send("/v1/completions", body, key=bob.secret, headers={**headers, "x-purser-fit": "refuse"})
        assert (refused.status, refused.error["type"]) == (400, "invalid_request_error")
        fitted = rig.send("/v1/completions", body, key=bob.secret, headers=headers)
        assert fitted.status == 500, "the engine was reached with a cap that can be counted"
        assert rig.eventually(lambda: rig.on_loop(lambda: rig.gateway.held("bob")) == 0)
        with rig.db.read() as conn:
            row = headroom.get_row(conn, headroom.credit_key("bob"))
        assert row is not None
        assert row.taken <= LARGEST_NANOS
        assert rig.send("/v1/completions", {"model": "tiny", "prompt": "hi"}, key=bob.secret).status == 200
