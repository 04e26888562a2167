"""A stop while requests run: they end or are cut properly within the grace, all is settled, every lease goes back."""

from __future__ import annotations

import contextlib
import json
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.demo.program import NANOS, eventually
from tests.steady import upstreams
from tests.steady.served import PATIENCE, Asking, Served, engine, request, serving

USAGE: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}


WORKERS: dict[str, Any] = {"params": [1, 2], "ids": ["alone", "two workers"]}


@pytest.fixture(**WORKERS)
def stopping(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server that soon cuts what runs when it is told to stop."""
    with _waiting(2, tmp_path, int(request.param)) as server:
        yield server


@pytest.fixture(**WORKERS)
def patient(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Served]:
    """A server that waits for what runs when it is told to stop, as long as that may take on a busy machine."""
    with _waiting(PATIENCE, tmp_path, int(request.param)) as server:
        yield server


@contextlib.contextmanager
def _waiting(seconds: int, folder: Path, workers: int) -> Iterator[Served]:
    with ExitStack() as stack:
        sound = stack.enter_context(engine())
        urls = {
            each.__name__: [stack.enter_context(upstreams.behaving(each))]
            for each in (upstreams.silent, upstreams.trickling_stream, upstreams.gushing)
        }
        grace = {"shutdown_grace_seconds": seconds, "timeout_seconds": 60}
        yield stack.enter_context(serving(folder, {**urls, "tiny": [sound.base_url]}, workers=workers, **grace))


@contextlib.contextmanager
def looking_at_holds(server: Served, key: str) -> Iterator[Callable[[], bool]]:
    """Answers whether some worker holds something for the account; looked up beforehand, so that a look is quick."""
    callers = server.caller_per_worker(key)

    def is_held() -> bool:
        held = [caller.call("GET", "/v1/accounts/ada/balance").json["heldUsd"] for caller in callers.values()]
        return any(amount != "0.00" for amount in held)

    try:
        yield is_held
    finally:
        for caller in callers.values():
            caller.close()


def expect_nothing_left(server: Served, code: int) -> list[Any]:
    """The books are closed properly; answers the account's usage events."""
    assert code == 0
    assert server.left() == (0, 0, 0), "writers, leases, claims"
    assert server.violations() == []
    return server.events("ada")


def test_what_ends_within_the_grace_is_answered_whole(patient: Served) -> None:
    key = patient.open("ada")
    asking = Asking()
    with looking_at_holds(patient, key) as is_held:
        for more in (USAGE, {}) * 6:
            asking.start(patient.caller(key), "go on [[tokens=60]] [[pace=100]]", model="tiny", **more)
        assert eventually(is_held, PATIENCE)
    code = patient.stop()
    answers = [answer for answer in asking.wait() if answer is not None]
    assert [answer.status for answer in answers] == [200] * 12
    events = expect_nothing_left(patient, code)
    assert sum(answer.cost for answer in answers) == sum(event.cost for event in events) * NANOS


def test_who_connects_meanwhile_is_refused(stopping: Served) -> None:
    """At once, not left waiting for nobody until a reset that does not tell whether the request was served."""
    asking = Asking()
    key = stopping.open("ada")
    with looking_at_holds(stopping, key) as is_held:
        asking.start(stopping.caller(key), "go", model="trickling_stream", stream=True)
        assert eventually(is_held, PATIENCE)
    stopping.process.send_signal(signal.SIGTERM)
    assert eventually(lambda: _is_refused(stopping), PATIENCE)
    assert not asking.answers  # its stream still ran when the door was closed
    assert stopping.stop() == 0
    assert [answer.status for answer in asking.wait() if answer is not None] == [200]  # its head had gone out


def _is_refused(server: Served) -> bool:
    try:
        socket.create_connection(("127.0.0.1", server.port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    return False


def test_what_does_not_end_is_cut_properly_and_billed_for_what_came(stopping: Served) -> None:
    """Streams are told so, plain requests are told to come again, and whoever reads nothing holds nobody up."""
    key = stopping.open("ada")
    streams, plain = Asking(), Asking()
    for _ in range(6):
        streams.start(stopping.caller(key), "go", model="trickling_stream", stream=True)
        plain.start(stopping.caller(key), "go", model="silent", headers={"x-request-id": "mine"})
        plain.start(stopping.caller(key), "go", model="silent", stream=True)
    with ExitStack() as stack:
        deaf = [stack.enter_context(contextlib.closing(stopping.connect(4096))) for _ in range(4)]
        for line in deaf:
            line.sendall(request(key, "gushing", stream=True, max_tokens=2000))
        half = stack.enter_context(contextlib.closing(stopping.connect()))
        half.sendall(request(key)[:-5])
        with looking_at_holds(stopping, key) as is_held:
            assert eventually(is_held, PATIENCE)
        assert eventually(lambda: len(plain.answers) == 5, PATIENCE)  # one id is served once, 409 to the others
        code = stopping.stop()
    cut = [answer for answer in streams.wait() if answer is not None]
    assert len(cut) == 6
    for answer in cut:
        assert answer.chunks[-1]["error"]["code"] == "server_stopping"
        assert b"[DONE]" not in answer.raw
    told = [answer for answer in plain.wait() if answer is not None]
    assert sorted(answer.status for answer in told) == [409] * 5 + [503] * 7
    assert {answer.headers["retry-after"] for answer in told if answer.status == 503} == {"1"}
    events = expect_nothing_left(stopping, code)
    assert len(events) == 10
    assert all(0 < json.loads(event.quantities)["output_tokens"] <= 2048 for event in events)
