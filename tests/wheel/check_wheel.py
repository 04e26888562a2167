"""Builds the wheel, installs it in a fresh environment away from the checkout, and runs the demo from it.

A plain script (`make wheel-test`): it prints a line for each thing that holds, and stops at
the first that does not.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent.parent
READY_SECONDS = 60
STOP_SECONDS = 20

# No proxy of the surroundings stands between the check and 127.0.0.1.
OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Broken(Exception):
    """What does not hold, in words."""


def check(holds: bool, what: str, otherwise: str = "") -> None:
    """Print what holds, or raise Broken with what was there instead."""
    if not holds:
        raise Broken(f"not so: {what}" + (f" ({otherwise})" if otherwise else ""))
    print(f"ok  {what}", flush=True)


def check_wheel(folder: Path) -> None:
    """The whole check, inside an empty folder."""
    wheel = build(folder)
    check_contents(wheel)
    program = install(wheel, folder)
    credentials_file = folder / "credentials.json"
    port = free_port()
    log = folder / "demo.log"
    options = ["--credentials", str(credentials_file), "--data", str(folder / "data")]
    with log.open("wb") as output:
        demo = subprocess.Popen(
            [program, "demo", "--port", str(port), *options],
            cwd=folder,
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        check_demo(demo, credentials_file, log)
        check_stop(demo, port)
    except BaseException:
        print(f"What the demo said:\n{log.read_text(errors='replace')}", file=sys.stderr)
        raise
    finally:
        if is_alive(demo.pid):
            os.killpg(demo.pid, signal.SIGKILL)


def build(folder: Path) -> Path:
    """The wheel of the checkout."""
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(folder / "dist"), str(ROOT)]
    run(command, cwd=folder)
    wheels = list((folder / "dist").glob("purser-*.whl"))
    check(len(wheels) == 1, f"one wheel is built: {', '.join(wheel.name for wheel in wheels)}")
    return wheels[0]


def check_contents(wheel: Path) -> None:
    """Every file below src/purser is in the wheel, not the Python ones alone, and the licence beside them."""
    source = ROOT / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "purser").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    with zipfile.ZipFile(wheel) as archive:
        held = set(archive.namelist())
    check(wanted <= held, f"all {len(wanted)} files of the package are in it", f"missing {wanted - held}")
    check(any(name.endswith("/licenses/LICENSE") for name in held), "the licence is in it")


def install(wheel: Path, folder: Path) -> str:
    """The `purser` program, installed from the wheel with its run-time dependencies only."""
    run([sys.executable, "-m", "venv", str(folder / "venv")], cwd=folder)
    python = str(folder / "venv" / "bin" / "python")
    constraints = ["-c", str(ROOT / "constraints.txt")]
    run([python, "-m", "pip", "install", "-qq", *constraints, str(wheel)], cwd=folder)
    where = run([python, "-c", "import purser; print(purser.__file__)"], cwd=folder).strip()
    check(where.startswith(str(folder)), "the installed package is imported, not the checkout", where)
    return str(folder / "venv" / "bin" / "purser")


def check_demo(demo: subprocess.Popen[bytes], credentials_file: Path, log: Path) -> None:
    """The demo gets ready, prints its key, answers one chat completion and charges for it."""
    started = time.monotonic()
    wait_for(lambda: is_written(credentials_file) or demo.poll() is not None, READY_SECONDS)
    seconds = time.monotonic() - started
    check(is_written(credentials_file), f"the demo is ready (after {seconds:.1f} s) and wrote credentials")
    credentials = json.loads(credentials_file.read_text())
    named = {"base_url", "account_id", "api_key", "operator_key", "model"}
    check(named <= credentials.keys(), "they name " + ", ".join(sorted(named)), f"only {credentials.keys()}")
    check(credentials["api_key"] in log.read_text(errors="replace"), "the key is printed too")

    root = credentials["base_url"].rstrip("/").removesuffix("/v1")
    balance_url = f"{root}/v1/accounts/{credentials['account_id']}/balance"
    before = ask(balance_url, credentials["api_key"])
    check(Decimal(before["creditUsd"]) > 0, f"the account starts with {before['creditUsd']} dollars of credit")
    answer = ask(
        f"{root}/v1/chat/completions",
        credentials["api_key"],
        {"model": credentials["model"], "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 16},
    )
    check(bool(answer["choices"][0]["message"]["content"]), "a chat completion is answered")
    check(answer["usage"]["completion_tokens"] > 0, "and says what it used")
    after = ask(balance_url, credentials["api_key"])
    spent = Decimal(after["spentThisMonthUsd"]) - Decimal(before["spentThisMonthUsd"])
    drawn = Decimal(before["creditUsd"]) - Decimal(after["creditUsd"])
    check(drawn > 0, f"the credit went down by {drawn} dollars", f"still {after['creditUsd']}")
    check(spent == drawn, "by what the account spent", f"spent {spent}")


def check_stop(demo: subprocess.Popen[bytes], port: int) -> None:
    """SIGTERM ends the demo by itself, with all its processes, and frees the port."""
    demo.send_signal(signal.SIGTERM)
    try:
        code = demo.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        raise Broken(f"not so: SIGTERM ends the demo within {STOP_SECONDS} s") from None
    check(code == 0, "SIGTERM ends the demo with exit code 0", f"exit code {code}")
    wait_for(lambda: not is_alive(demo.pid), STOP_SECONDS)
    check(not is_alive(demo.pid), "none of its processes is left")
    with socket.socket() as connection:
        check(connection.connect_ex(("127.0.0.1", port)) != 0, "its port is free again")


def ask(url: str, key: str, body: dict[str, Any] | None = None) -> Any:
    """The JSON answer to a GET, or to a POST where there is a body; raises for any status but 2xx."""
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    with OPENER.open(urllib.request.Request(url, data, headers), timeout=30) as answer:
        return json.load(answer)


def run(command: list[str], cwd: Path) -> str:
    """What a program prints; raises Broken with all of its output when it fails."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise Broken(f"{' '.join(command)}\n{done.stdout}{done.stderr}")
    return done.stdout


def clean_environment() -> dict[str, str]:
    """The environment without what could lead back to the checkout or set Purser up."""
    unwanted = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    return {k: v for k, v in os.environ.items() if k not in unwanted and not k.startswith("PURSER_")}


def wait_for(condition: Callable[[], bool], seconds: int) -> None:
    """Wait until the condition holds or the seconds are over."""
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.05)


def is_written(file: Path) -> bool:
    """Whether the file is there and holds a whole JSON value."""
    try:
        json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return True


def is_alive(group: int) -> bool:
    """Whether a process of this process group is left."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="purser-wheel-") as name:
        try:
            check_wheel(Path(name).resolve())
        except Broken as broken:
            sys.exit(f"wheel-test: {broken}")
    print("The wheel works.")
