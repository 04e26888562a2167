"""The express way: what it answers, holds and bills is what the general way would."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from purser.core.errors import Broken
from purser.core.money import format_usd, parse_usd
from purser.core.policy import Policy
from purser.core.rating import rate
from purser.flows import access, accounts, pricing, requests
from purser.gateway import express
from purser.gateway.express import Journey
from purser.gateway.limiter import Limiter
from purser.http.client import Origin
from purser.http.exchange import Exchange
from purser.store.writers import Tx
from tests.gateway.rig import POLICY, Answered, Rig, engine_log, model, running
from tests.gateway.upstreams import completion, keeping

Asked = tuple[Any, dict[str, str]]  # a body and further headers


def plain(text: str, **more: Any) -> Asked:
    """A request like most."""
    return {"model": "tiny", "messages": [{"role": "user", "content": text}], **more}, {}


REQUESTS: dict[str, Asked] = {
    "with a cap": plain("hi [[tokens=5]]", max_tokens=20),
    "with the other name for a cap": plain("hi [[tokens=5]]", max_completion_tokens=20),
    "without a cap": plain("hi [[tokens=5]]"),
    "beyond ASCII": plain("né \U0001f600 [[tokens=5]]", max_tokens=20),
    "with what costs nothing": plain("hi [[tokens=5]]", max_tokens=20, temperature=0.5, stop=["x"], user="me", seed=1),
    "cached": plain("hi [[cached=40]] [[tokens=5]]", max_tokens=20),
    "dear": ({**plain("hi [[tokens=5]]")[0], "model": "dear", "max_tokens": 20}, {}),
    "cut at its cap": plain("hi [[tokens=50]]", max_tokens=3),
    "a cap above the model's": plain("hi [[tokens=5]]", max_tokens=5000),
    "a cap above the context": plain("hi", max_tokens=50_000),
    "no cap at all": plain("hi", max_tokens=0),
    "several choices": plain("hi [[tokens=5]]", n=2, max_tokens=20),
    "tools": plain("hi [[tokens=5]]", max_tokens=20, tools=[]),
    "a stream": plain("hi [[tokens=5]]", max_tokens=20, stream=True),
    "to be refused rather than cut": (plain("hi [[tokens=5]]", max_tokens=20)[0], {"x-purser-fit": "refuse"}),
    "named": (plain("hi [[tokens=5]]", max_tokens=20)[0], {"x-request-id": "mine-1"}),
    "no model": plain("hi", model="none"),
    "no JSON": (b"{", {}),
    "no messages": plain("hi", messages=[]),
    "a prompt beyond the context": plain("x" * 9000 + " [[tokens=5]]", max_tokens=20),
    "an engine that fails": (plain("hi", max_tokens=20)[0], {"x-model-fail": "status=500"}),
    "an engine that refuses": (plain("hi", max_tokens=20)[0], {"x-model-fail": "status=429"}),
    "garbage": (plain("hi", max_tokens=20)[0], {"x-model-fail": "garbage"}),
    "no usage": (plain("hi [[tokens=9]]", max_tokens=20)[0], {"x-model-fail": "no-usage"}),
    "bad usage": (plain("hi", max_tokens=20)[0], {"x-model-fail": "bad-usage=negative"}),
    "more than its cap": (plain("hi", max_tokens=20)[0], {"x-model-fail": "ignore-cap=90"}),
    "cut off": (plain("hi [[tokens=9]]", max_tokens=20)[0], {"x-model-fail": "truncate"}),
}
EXPRESS = (
    "with a cap",
    "with the other name for a cap",
    "without a cap",
    "beyond ASCII",
    "with what costs nothing",
    "cached",
    "dear",
    "cut at its cap",
    "a prompt beyond the context",
)


class Client:
    """A client with one connection, which it keeps."""

    def __init__(self, rig: Rig) -> None:
        self._line = http.client.HTTPConnection("127.0.0.1", rig.port, timeout=30)
        self._key = rig.key

    def ask(self, body: Any, more: dict[str, str]) -> Answered:
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        headers = {"authorization": f"Bearer {self._key}", "content-type": "application/json", **more}
        self._line.request("POST", "/v1/chat/completions", raw, headers)
        answer = self._line.getresponse()
        return Answered(answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read())

    def leave(self) -> None:
        """Hang up, whatever the client is waiting for."""
        if self._line.sock is not None:
            self._line.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self._line.close()


@pytest.fixture
def journeys(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What becomes of requests on the express way: "told" there, or "went on" the general way."""
    seen: list[str] = []
    tell, go_on = Journey._tell, Journey._go_on

    def telling(self: Journey, left: int | None) -> None:
        seen.append("told")
        tell(self, left)

    def going_on(self: Journey) -> None:
        seen.append("went on")
        go_on(self)

    monkeypatch.setattr(Journey, "_tell", telling)
    monkeypatch.setattr(Journey, "_go_on", going_on)
    return seen


@contextmanager
def warm(folder: Path, policy: Policy = POLICY, *, way: bool = True, **more: Any) -> Iterator[tuple[Rig, Client]]:
    """A rig whose client and upstreams are connected and whose account and prices are in memory."""
    folder.mkdir(exist_ok=True)
    with running(folder, policy, **more) as rig:
        if not way:
            rig.server._at_once = lambda _: False
        with closing(Client(rig)) as client:
            for _ in range(2):
                assert client.ask(*plain("warm up [[tokens=1]]", max_tokens=1)).status == 200
            yield rig, client


def told(answer: Answered) -> Any:
    """What of an answer does not depend on when it was, or on its id."""
    hidden = ("date", "x-request-id", "content-length", "etag")
    headers = {name: value for name, value in answer.headers.items() if name not in hidden}
    if answer.body[:1] != b"{":
        return answer.status, headers, answer.body.count(b"data: ")
    fields = {name: value for name, value in answer.json.items() if name not in ("id", "created", "request_id")}
    return answer.status, headers, fields


def booked(rig: Rig) -> list[Any]:
    """The events as posted, without what says when and by whom."""
    names = "model user month bill_month version quantities cost held clamped estimated state".split()
    return [tuple(getattr(event, name) for name in names) for event in rig.events()]


def test_both_ways_answer_hold_and_bill_the_same(tmp_path: Path, journeys: list[str]) -> None:
    found: dict[bool, tuple[Any, ...]] = {}
    ways: dict[str, list[str]] = {}
    for way in (True, False):
        with warm(tmp_path / str(way), way=way) as (rig, client):
            said = []
            for name, asked in REQUESTS.items():
                journeys.clear()
                answer = client.ask(*asked)
                if way:
                    ways[name] = [*journeys]
                else:
                    assert not journeys
                said.append((name, *told(answer)))
                assert rig.eventually(lambda rig=rig: rig.balance().held == 0)  # type: ignore[misc]
            sent = [(entry.get("max_tokens"), entry.get("prompt_tokens")) for entry in engine_log(rig)]
            balance = rig.balance()
            found[way] = said, booked(rig), sent, [balance.spent_this_month, balance.credit, balance.held]
    for one, other in zip(found[True], found[False], strict=True):
        assert one == other
    assert {name for name, seen in ways.items() if seen == ["told"]} == set(EXPRESS)


TINY = completion(b"tiny", 9, 3, b"x-engine: one")
ID = re.compile(rb"req_[0-9a-z-]+")


@pytest.mark.parametrize("name", ["tiny", "my/m\u00f6del"])
def test_the_upstream_gets_the_same_bytes(tmp_path: Path, name: str, journeys: list[str]) -> None:
    heard: list[bytes] = []

    def reply(request: bytes) -> bytes:
        heard.append(ID.sub(b"ID", request))
        return TINY

    with keeping(reply) as url:
        for way in (True, False):
            key = replace(model("tiny", (url,), upstream_model=name), upstream_key="se%cret")
            with warm(tmp_path / str(way), way=way, models=(key,)) as (rig, client):
                for each in EXPRESS[:5]:
                    answer = client.ask(REQUESTS[each][0], {"x-mine": "50%", "x-forwarded-for": "here"})
                    assert (answer.status, answer.headers["x-engine"]) == (200, "one")
                heard = [request.replace(rig.key.encode(), b"KEY") for request in heard]
    half = len(heard) // 2
    assert half == 7
    assert heard[:half] == heard[half:]


def test_answers_in_odd_pieces_and_shapes_are_passed_on_all_the_same(tmp_path: Path, journeys: list[str]) -> None:
    whole = TINY.replace(b"x-engine: one", b"x-engine: two")
    replies = [
        (TINY, True),
        (whole, True),
        (TINY.replace(b"200 OK", b"201 Made"), False),
        (completion(b"other", 9, 3, b"x-engine: one"), True),
        (completion(b'tiny","x":"model', 9, 3), True),
        (completion(b'other","x":"model', 9, 3), False),
        (completion(b"tiny", 9_000, 3, b"x-engine: one"), False),
        (completion(b"tiny", 9, 500, b"x-engine: one"), False),
        (TINY.replace(b"application/json", b"text/plain; application/json"), False),
        (TINY.replace(b"x-engine: one", b"x-purser-cost-usd: 0"), True),
        (TINY.replace(b"x-engine: one", b"connection: close"), False),
        (TINY, False),  # on a new connection
        (TINY, True),
    ]
    said = iter([TINY, TINY, *(reply for reply, _ in replies)])
    with keeping(lambda _: next(said)) as url, warm(tmp_path, models=(model("tiny", (url,)),)) as (rig, client):
        for reply, on_express in replies:
            journeys.clear()
            answer = client.ask(*REQUESTS["with a cap"])
            assert (answer.status, answer.json.get("model")) == (200, "tiny"), (reply, answer.body)
            assert answer.headers["x-purser-cost-usd"] == format_usd(rig.events()[-1].cost)
            assert (journeys == ["told"]) == on_express, reply
        assert rig.balance().held == 0


def test_a_kept_connection_that_has_just_been_closed_is_no_failure(tmp_path: Path, journeys: list[str]) -> None:
    said = iter([TINY, TINY, None, TINY])
    with keeping(lambda _: next(said)) as url, warm(tmp_path, models=(model("tiny", (url,)),)) as (rig, client):
        assert client.ask(*REQUESTS["with a cap"]).status == 200
        assert journeys[-1] == "went on"
        assert len(rig.events()) == 3


class Waiting:
    """An upstream that answers twice, and then waits until it is told to go on."""

    def __init__(self) -> None:
        self.asked, self.go_on = threading.Semaphore(0), threading.Event()
        self._count = 0

    def reply(self, _: bytes) -> bytes:
        self._count += 1
        if self._count > 2:
            self.asked.release()
            self.go_on.wait(10)
        return TINY


@pytest.mark.parametrize("way", [True, False])
def test_a_client_that_leaves_while_the_upstream_works_is_billed_its_input(tmp_path: Path, way: bool) -> None:
    waiting = Waiting()
    with keeping(waiting.reply) as url, warm(tmp_path, way=way, models=(model("tiny", (url,)),)) as (rig, client):
        asking = threading.Thread(target=ask_and_leave, args=(client,))
        asking.start()
        assert waiting.asked.acquire(timeout=5)
        client.leave()
        asking.join()
        assert rig.eventually(lambda: len(rig.events()) == 3)
        event = rig.events()[-1]
        assert (event.estimated, event.quantities) == (1, '{"input_tokens":1}')
        assert rig.eventually(lambda: rig.balance().held == 0)
        assert rig.on_loop(lambda: (rig.gateway.counters.hung_up, rig.gateway.running)) == (1, 0)
        waiting.go_on.set()


def ask_and_leave(client: Client) -> None:
    """Ask, and hear nothing."""
    with suppress(OSError, http.client.HTTPException):
        client.ask(*REQUESTS["with a cap"])


@pytest.mark.parametrize("way", [True, False])
def test_a_request_that_is_called_off_is_told_so_and_free(tmp_path: Path, way: bool) -> None:
    waiting = Waiting()
    with keeping(waiting.reply) as url, warm(tmp_path, way=way, models=(model("tiny", (url,)),)) as (rig, client):
        answers: list[Answered] = []
        asking = threading.Thread(target=lambda: answers.append(client.ask(*REQUESTS["with a cap"])))
        asking.start()
        assert waiting.asked.acquire(timeout=5)
        rig.on_loop(rig.gateway.cashier.call_off_all)
        asking.join(5)
        assert (answers[0].status, answers[0].error["code"]) == (503, "unavailable")
        assert rig.eventually(lambda: rig.balance().held == 0)
        assert len(rig.events()) == 2
        waiting.go_on.set()


@pytest.mark.parametrize("way", [True, False])
def test_called_off_while_its_cost_is_written_it_may_be_billed_and_is_not_to_be_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: bool
) -> None:
    with warm(tmp_path, way=way) as (rig, client):
        written, written_at = rig.queue.settle_all, threading.Event()
        kept: list[tuple[Any, Any]] = []

        def keep(events: Any, done: Any) -> None:
            kept.append((events, done))
            written_at.set()

        monkeypatch.setattr(rig.queue, "settle_all", keep)
        answers: list[Answered] = []
        asking = threading.Thread(target=lambda: answers.append(client.ask(*REQUESTS["with a cap"])))
        asking.start()
        assert written_at.wait(10)
        rig.on_loop(rig.gateway.cashier.call_off_all)
        asking.join(10)
        assert (answers[0].status, answers[0].error["code"]) == (503, "settlement_unknown")
        assert answers[0].headers["x-should-retry"] == "false"
        assert "retry-after" not in answers[0].headers
        monkeypatch.undo()
        written(*kept[0])
        assert rig.eventually(lambda: len(rig.events()) == 3 and rig.balance().held == 0)


@pytest.mark.parametrize("way", [True, False])
def test_a_silent_upstream_is_504_and_free(tmp_path: Path, way: bool) -> None:
    waiting = Waiting()
    models = (model("tiny", ("http://127.0.0.1:1/v1",), timeout_seconds=1),)
    with keeping(waiting.reply) as url:
        models = (replace(models[0], upstreams=(url,)),)
        with warm(tmp_path, way=way, models=models) as (rig, client):
            answer = client.ask(*REQUESTS["with a cap"])
            assert (answer.status, answer.error["code"]) == (504, "upstream_timeout")
            assert (len(rig.events()), rig.balance().held) == (2, 0)
            waiting.go_on.set()


# ── who may ─────────────────────────────────────────────────────────────────────────────────────────────────────
def test_what_changes_is_heard_of_by_known_callers_too(tmp_path: Path, journeys: list[str]) -> None:
    asked = REQUESTS["with a cap"]
    with warm(tmp_path) as (rig, client):
        assert client.ask(*asked).status == 200
        rig.write(lambda tx: accounts.suspend(tx, "ada", "BLOCKED_BY_ABUSE_RULE", "odd"))
        assert rig.eventually(lambda: client.ask(*asked).status == 412)
        rig.write(lambda tx: accounts.reinstate(tx, "ada"))
        assert rig.eventually(lambda: client.ask(*asked).status == 200)
        rig.write(lambda tx: pricing.publish(tx, {"tiny": {"input": "1", "cached_input": "1", "output": "1"}}))
        assert rig.eventually(lambda: client.ask(*asked).status == 200 and rig.events()[-1].version == 2)
        assert rig.eventually(lambda: client.ask(*asked).status == 200 and journeys[-1] == "told")
        assert rig.events()[-1].version == 2
        rig.write(lambda tx: access.revoke_key(tx, "ada", None, rig.opened.key_id))
        assert rig.eventually(lambda: client.ask(*asked).status == 401)


def test_prices_that_need_rounding_are_rounded_once(tmp_path: Path, journeys: list[str]) -> None:
    with warm(tmp_path) as (rig, client):
        prices = {"tiny": {"input": "0.0125", "cached_input": "0.0005", "output": "0.0333"}}
        rig.write(lambda tx: pricing.publish(tx, prices))
        assert rig.eventually(lambda: client.ask(*REQUESTS["cached"]).status == 200 and rig.events()[-1].version == 2)
        assert rig.eventually(lambda: client.ask(*REQUESTS["cached"]).status == 200 and journeys[-1] == "told")
        answer = client.ask(*REQUESTS["cached"])
        used = json.loads(rig.events()[-1].quantities)
        rates = rig.run_on_loop(rig.gateway.directory.price_book()).models["tiny"]
        assert answer.headers["x-purser-cost-usd"] == format_usd(rate(used, rates).amount_nanos)
        assert any(each.nanos % each.per for each in rates.values())


def test_each_request_counts_once_toward_the_rate(tmp_path: Path) -> None:
    with warm(tmp_path, replace(POLICY, requests_per_minute_unverified=5)) as (_, client):
        asked = REQUESTS["with a cap"]
        left = [client.ask(*asked).headers["x-ratelimit-remaining-requests"] for _ in range(3)]
        assert left == ["2", "1", "0"]
        assert client.ask(*asked).status == 429


def test_money_is_spent_to_the_end_and_not_beyond(tmp_path: Path, journeys: list[str]) -> None:
    credit = 5_000_000
    with warm(tmp_path, replace(POLICY, signup_credit_nanos=credit, lease_nanos=1_000_000)) as (rig, client):
        statuses = [client.ask(*REQUESTS["dear"]).status for _ in range(20)]
        assert statuses[0] == 200
        assert statuses[-1] in (402, 412)
        assert "told" in journeys
        assert sum(event.cost for event in rig.events()) <= credit
        assert rig.balance().held == 0


def test_headroom_that_others_move_too_is_read_before_it_is_told(tmp_path: Path, journeys: list[str]) -> None:
    with warm(tmp_path) as (rig, client):
        before = client.ask(*REQUESTS["with a cap"]).headers["x-purser-headroom-usd"]
        rig.on_loop(lambda: setattr(rig.gateway.remaining, "shared", True))
        after = client.ask(*REQUESTS["with a cap"]).headers
        assert set(journeys) == {"told"}
        spent = parse_usd(before, "before") - parse_usd(after["x-purser-headroom-usd"], "after")
        assert spent == parse_usd(after["x-purser-cost-usd"], "cost")


# ── faults of our own ────────────────────────────────────────────────────────────────────────────────────────────
def explode(*_: Any, **__: Any) -> Any:
    """A fault that nobody foresaw."""
    raise ValueError("nobody foresaw this")


@pytest.mark.parametrize(
    ("where", "name"),
    [
        (Origin, "head_begin"),
        (Origin, "send_at_once"),
        (express, "read_chat"),
        (express, "read_answer"),
        (Limiter, "count_at_once"),
        (Exchange, "answer_lines"),
        (Journey, "_go_on"),
    ],
)
def test_a_fault_is_500_and_leaves_no_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: Any, name: str
) -> None:
    with warm(tmp_path) as (rig, client):
        asked = REQUESTS["an engine that fails" if name == "_go_on" else "with a cap"]
        with monkeypatch.context() as patch:
            patch.setattr(where, name, explode)
            body, headers = asked
            assert client.ask(body, {"x-mine": "a head that was not seen", **headers}).status == 500
        assert rig.eventually(lambda: rig.balance().held == 0)
        assert rig.on_loop(lambda: (rig.gateway.cashier.lessee.count_open(), rig.gateway.running)) == (0, 0)
        assert client.ask(*REQUESTS["with a cap"]).status == 200


def test_what_cannot_be_posted_is_not_acknowledged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = requests.settle_and_take

    def settle_and_take(tx: Tx, events: Any, asked: Any) -> Any:
        if events:
            raise OSError("disk full")
        return real(tx, events, asked)

    with warm(tmp_path) as (rig, client):
        fatal: list[BaseException] = []
        rig.queue._on_fatal = fatal.append
        with monkeypatch.context() as patch:
            patch.setattr(requests, "settle_and_take", settle_and_take)
            answer = client.ask(*REQUESTS["with a cap"])
        assert (answer.status, answer.error["code"]) == (503, "unavailable")
        assert "x-purser-cost-usd" not in answer.headers
        assert {type(one) for one in fatal} == {Broken}
        assert len(rig.events()) == 2
