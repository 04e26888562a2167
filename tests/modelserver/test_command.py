"""The command: its line when ready, its options, and how it ends."""

from __future__ import annotations

import asyncio
import signal

import pytest

from purser.modelserver import ModelServer, Settings
from tests.modelserver.running import CHAT, PATIENCE_SECONDS, Running, chat, process, ready_port


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_stream_under_way(number: signal.Signals) -> None:
    with process("--port", "0", "--pace", "1") as child:
        server = Running(ready_port(child))
        with server.open(CHAT, chat("Go on.", stream=True), {}) as line:
            assert line.recv(9) == b"HTTP/1.1 "
            child.send_signal(number)
            assert child.wait(PATIENCE_SECONDS) == 0
        assert child.stderr is not None
        assert child.stderr.read() == ""


def test_it_stops_with_its_standard_input_if_asked() -> None:
    with process("--port", "0", "--stop-with-stdin") as child:
        ready_port(child)
        assert child.stdin is not None
        child.stdin.close()
        assert child.wait(PATIENCE_SECONDS) == 0


def test_options_reach_the_server() -> None:
    options = "--port 0 --models a,b/c,a --pace 0 --context-tokens 40 --cache-blocks 0 --api-key sesame"
    with process(*options.split(), "--fail", "status=503", "--fail-times", "1") as child:
        server = Running(ready_port(child))
        key = {"authorization": "Bearer sesame"}
        assert server.call("GET", "/v1/models")[0] == 401
        assert server.call("GET", "/v1/models", headers={"authorization": "Bearer open"})[0] == 401
        assert server.call("GET", "/health")[0] == 200
        assert server.call("GET", "/v1/models/b/c", headers=key)[0] == 200
        body = chat("Hello there. " * 5, model="a")
        assert [server.call("POST", CHAT, body, key)[0] for _ in range(2)] == [503, 200]
        again = server.post(CHAT, body, **key)
        assert again["usage"]["total_tokens"] == 40
        assert again["usage"]["prompt_tokens_details"]["cached_tokens"] == 0


@pytest.mark.parametrize(
    "options",
    [
        "--models ,",
        "--pace -1",
        "--pace nan",
        "--first-token-ms -1",
        "--context-tokens 0",
        "--cache-blocks -5",
        "--fail nonsense",
        "--colour red",
    ],
)
def test_a_wrong_option_is_refused_with_2(options: str) -> None:
    with process(*options.split()) as child:
        assert child.wait(PATIENCE_SECONDS) == 2
        assert child.stderr is not None
        assert options.split()[0].removeprefix("--") in child.stderr.read()


def test_a_port_in_use_is_said_with_1(server: Running) -> None:
    with process("--port", str(server.port)) as child:
        assert child.wait(PATIENCE_SECONDS) == 1
        assert child.stderr is not None
        assert f"cannot listen on 127.0.0.1:{server.port}" in child.stderr.read()


def test_it_can_be_embedded() -> None:
    async def run() -> tuple[int, dict[str, int]]:
        server = ModelServer(Settings(models=("tiny",), tokens_per_second=0.0))
        await server.start()
        try:
            running = Running(server.port)
            assert running.base_url == server.base_url
            answer = await asyncio.to_thread(running.post, CHAT, chat("Hello. [[tokens=8]]"))
        finally:
            await server.close()
        tally = server.counters.by_model["tiny"]
        return answer["usage"]["completion_tokens"], {
            "generated": tally.generated_tokens,
            "finished": tally.requests_finished,
        }

    assert asyncio.run(run()) == (8, {"generated": 8, "finished": 1})
