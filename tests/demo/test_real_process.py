"""The real program in one process: the official client, hang-ups, a crowd on one dollar, and a stop in mid-stream."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from purser.main.process import share_cores
from tests.demo.load import Load
from tests.demo.program import PATIENCE, Program, command_line, demo, descendants, eventually

LONG = "tell me everything [[tokens=600]] [[pace=150]]"  # four seconds
USAGE: Any = {"include_usage": True}


@contextmanager
def client_of(program: Program, key: str) -> Iterator[tuple[openai.OpenAI, list[httpx.Request]]]:
    """The official client with its retries on, and every request that it really sends."""
    sent: list[httpx.Request] = []
    transport = openai.DefaultHttpxClient(event_hooks={"request": [sent.append]})
    with openai.OpenAI(base_url=f"{program.base_url}/v1", api_key=key, http_client=transport) as client:
        yield client, sent


def says(text: str) -> Any:
    """A conversation of one message."""
    return [{"role": "user", "content": text}]


def test_the_official_client_chats_and_is_told_the_cost(program: Program) -> None:
    key = program.open("chats")
    with client_of(program, key) as (client, _):
        raw = client.chat.completions.with_raw_response.create(model="tiny", messages=says("hello [[tokens=30]]"))
        answer = raw.parse()
        assert answer.choices[0].message.content
        assert answer.usage is not None
        assert answer.usage.completion_tokens == 30
        cost = Decimal(raw.headers["x-purser-cost-usd"])
        assert cost == (answer.usage.prompt_tokens * 950 + 30 * 4000) * Decimal("1e-9")
        assert [model.id for model in client.models.list()] == ["tiny", "grand"]
    assert program.spent("chats") == cost


def test_the_official_client_streams_and_is_told_the_cost(program: Program) -> None:
    key = program.open("streams")
    with client_of(program, key) as (client, _):
        stream = client.chat.completions.create(
            model="tiny", messages=says("hello [[tokens=30]]"), stream=True, stream_options=USAGE
        )
        chunks = list(stream)
    [usage] = [chunk.usage for chunk in chunks if chunk.usage is not None]
    assert usage.completion_tokens == 30
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
    assert program.spent("streams") == Decimal(str(usage.model_dump()["cost_usd"])) > 0


def test_usage_that_contradicts_itself_is_counted_where_the_operator_looks(program: Program) -> None:
    def quarantined() -> int:
        text = httpx.get(f"{program.base_url}/metrics").text
        return sum(int(line.split()[1]) for line in text.splitlines() if 'requests_total{ended="quarantined"}' in line)

    key, before = program.open("contradicts"), quarantined()
    with client_of(program, key) as (client, _):
        client.chat.completions.create(model="tiny", messages=says("hello [[fail=bad-usage=cached]]"))
    assert quarantined() == before + 1
    assert program.spent("contradicts") == 0


def test_a_hang_up_in_mid_stream_cancels_the_engine_and_is_billed_for_what_it_made(program: Program) -> None:
    key = program.open("leaves")
    with client_of(program, key) as (client, _):
        stream = client.chat.completions.create(model="tiny", messages=says(LONG), max_tokens=600, stream=True)
        request_id = stream.response.headers["x-request-id"]
        seen = sum(1 for chunk, _ in zip(stream, range(60), strict=False) if chunk.choices[0].delta.content)
        stream.close()
    assert eventually(lambda: program.spent("leaves") > 0, PATIENCE)
    [record] = [record for record in program.engine_log() if record["request_id"] == request_id]
    assert record["outcome"] == "cancelled"
    assert record["generated_tokens"] < 600
    booked = program.booked("leaves")
    input_cost = record["prompt_tokens"] * 950
    most = (input_cost + record["generated_tokens"] * 4000) * Decimal("1e-9")
    assert (input_cost + seen * 4000) * Decimal("1e-9") <= booked[request_id] <= most
    assert program.balance("leaves")["heldUsd"] == "0.00"


def test_the_official_client_does_not_retry_what_money_refuses(program: Program) -> None:
    poor, blocked = program.open("poor", "0.01"), program.open("blocked")
    program.operate("POST", "/operator/v1/accounts/blocked:suspend", {"cause": "BLOCKED_BY_ABUSE_RULE", "reason": "x"})
    with client_of(program, poor) as (client, sent):
        with pytest.raises(openai.APIStatusError) as refused:
            client.chat.completions.create(model="grand", messages=says("hello"), max_tokens=1000)
        assert (refused.value.status_code, len(sent)) == (402, 1)
        assert refused.value.code == "insufficient_headroom"
    with client_of(program, blocked) as (client, sent):
        with pytest.raises(openai.APIStatusError) as refused:
            client.chat.completions.create(model="tiny", messages=says("hello"))
        assert (refused.value.status_code, len(sent)) == (412, 1)
        assert "is suspended" in refused.value.message


@pytest.mark.parametrize("stream", [False, True])
def test_a_crowd_on_one_dollar_spends_it_and_nothing_more(program: Program, stream: bool) -> None:
    program.price("grand", "40")
    account = f"crowd-{stream}".lower()
    key = program.open(account)
    load = Load()
    load.run(program, key, stream=stream)
    load.run(program, key, stream=stream, clients=1)
    assert (load.odd, load.broken) == ([], 0)
    assert Decimal("0.98") <= load.total <= 1
    assert program.spent(account) == load.total
    assert program.booked(account) == load.acknowledged
    balance = program.balance(account)
    assert balance["heldUsd"] == "0.00"
    assert Decimal(balance["creditUsd"]) == 1 - load.total


@pytest.mark.once
@pytest.mark.parametrize(
    "name, count", [(signal.SIGTERM, "1"), (signal.SIGINT, "1"), (signal.SIGTERM, "4"), (signal.SIGINT, "4")]
)
def test_a_stop_in_mid_stream_lets_streams_finish(tmp_path: Path, name: signal.Signals, count: str) -> None:
    """A stop takes no new requests, but what runs has a grace to end in, and is billed."""
    with demo(tmp_path, "--workers", count) as program:
        family = [program.process.pid, *descendants(program.process.pid)]
        load = Load()
        more: dict[str, Any] = {"stream": True, "stream_options": USAGE, "max_tokens": 600}

        def listen() -> None:
            with program.caller() as caller:
                load.take(caller.chat(LONG, model="tiny", **more))

        listeners = [threading.Thread(target=listen) for _ in range(8)]
        for listener in listeners:
            listener.start()
        started = eventually(lambda: sum(record["generated_tokens"] > 30 for record in program.engine_log()) == 8, 30)
        code = program.stop(name)
        for listener in listeners:
            listener.join()
        assert started
        assert code == 0
        assert eventually(lambda: not any(command_line(pid) for pid in family), 5)
        assert len(load.acknowledged) == 8
        assert program.booked("demo") == load.acknowledged


@pytest.mark.once
def test_nothing_is_left_when_the_program_itself_is_killed(tmp_path: Path) -> None:
    """Workers and model server notice that nobody looks after them any more, and end."""
    with demo(tmp_path, "--workers", "2") as program:
        family = descendants(program.process.pid)
        assert len(family) == 3
        program.stop(signal.SIGKILL)
        assert eventually(lambda: not any(command_line(pid) for pid in family), 5 * PATIENCE)


def test_its_threads_wait_for_their_turn_on_a_core(program: Program) -> None:
    pid = program.workers()[0]
    ways = [os.sched_getscheduler(int(thread)) for thread in os.listdir(f"/proc/{pid}/task")]
    assert os.sched_getscheduler(pid) == os.SCHED_BATCH
    assert ways.count(os.SCHED_BATCH) >= 3, "the event loop, the writer and the worker, at least"


@pytest.mark.once
@pytest.mark.parametrize("asked", [os.SCHED_IDLE, os.SCHED_BATCH])
def test_what_was_asked_for_stays(asked: int) -> None:
    found: list[int] = []

    def begin() -> None:
        os.sched_setscheduler(0, asked, os.sched_param(0))
        share_cores()
        found.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=begin)
    thread.start()
    thread.join()
    assert found == [asked]
