"""Several `purser serve` processes on one database, as on several machines: nothing looks after all of them."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.demo.program import READY_SECONDS, Program, environment, eventually
from tests.loaded import start
from tests.ports import free_port

_CONFIG = """\
[[models]]
name = "tiny"
upstream = "{upstream}"
engine = "vllm"
context_tokens = 4096
max_output_tokens = 1024
price = {{ input = "0.95", cached_input = "0.16", output = "4.00" }}

[[models]]
name = "grand"
upstream = "{upstream}"
engine = "vllm"
context_tokens = 4096
max_output_tokens = 1024
price = {{ input = "40.00", cached_input = "40.00", output = "40.00" }}

[rate_limits]
requests_per_minute_unverified = 6000
"""


PURSER = ("-m", "purser.main")


@contextmanager
def fleet(
    folder: Path, count: int, *, url: str | None = None, runs: Sequence[str] = PURSER, **more: str
) -> Iterator[list[Program]]:
    """A model server and so many serving processes; whatever happens, nothing of them is left.

    They serve on the database at `url`, or else on one of the tests'. `runs` is what Python is to run, and `more` are
    variables of their surroundings.
    """
    data, operator_key = folder / "data", f"op_{secrets.token_hex(24)}"
    data.mkdir(exist_ok=True)
    if url is not None:
        more["PURSER_DATABASE_URL"] = url
    with ExitStack() as stack:
        stack.enter_context(model_server(folder, data))
        serving = []
        for n in range(count):
            log = folder / f"serve-{n}.log"
            command = [sys.executable, *runs, "serve"]
            serving.append(stack.enter_context(program(command, free_port(), data, log, operator_key, **more)))
            serving[-1].database_url = url or serving[-1].database_url
        assert eventually(lambda: all(_is_ready(each) for each in serving), READY_SECONDS)
        yield serving
    for each in serving:
        assert "Traceback" not in each.log
        assert "Fatal Python error" not in each.log


@contextmanager
def model_server(folder: Path, data: Path) -> Iterator[None]:
    """A model server of our own, and in `data` a purser.toml in front of it."""
    words = "--port 0 --models tiny,grand --context-tokens 4096 --pace 1000 --first-token-ms 5"
    command = [sys.executable, "-m", "purser.modelserver", *words.split()]
    with _process(command, folder, folder / "engine.log") as engine:
        assert engine.stdout is not None
        upstream = engine.stdout.readline().split()[3].decode()
        (data / "purser.toml").write_text(_CONFIG.format(upstream=upstream))
        yield


@contextmanager
def program(
    command: Sequence[str], port: int, data: Path, log: Path, operator_key: str, **more: str
) -> Iterator[Program]:
    """One serving process on that port, by such a command without its port; killed at the end."""
    whole = [*command, "--port", str(port)]
    with _process(whole, data, log, PURSER_OPERATOR_KEY=operator_key, **more) as process:
        details = {"base_url": f"http://127.0.0.1:{port}", "api_key": "", "operator_key": operator_key}
        yield Program(process, details, data, log)


@contextmanager
def _process(command: Sequence[str], folder: Path, log: Path, **more: str) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as output:
        process = start(
            command,
            cwd=folder,
            env=environment(folder / "purser.db") | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if log.name == "engine.log" else output,
            stderr=output,
        )
    try:
        yield process
    finally:
        process.kill()
        process.wait(10)
        if process.stdout is not None:
            process.stdout.close()


def _is_ready(program: Program) -> bool:
    assert program.process.poll() is None, program.log
    try:
        with program.caller() as caller:
            answer = caller.call("GET", "/readyz")
    except OSError:
        return False
    return answer.status == 200 and bool(json.loads(answer.raw))
