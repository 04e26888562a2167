"""The gateways: each started as its users would, on one core, in front of the same model server."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.cores import load_core, measured_core, pinned

ROOT = Path(__file__).resolve().parent.parent
READY_SECONDS = 30
PRICE = {"input": "0.95", "cached_input": "0.16", "output": "4.00"}
ACCOUNT = "bench"

_PURSER = """\
host = "127.0.0.1"
database_url = "{database_url}"

[[models]]
name = "bench"
upstream = "{upstream}/v1"
engine = "openai"
context_tokens = 8192
max_output_tokens = 1024
price = {{ input = "{input}", cached_input = "{cached_input}", output = "{output}" }}

[[models]]
name = "counted"
upstream = "{upstream}/v1"
engine = "vllm"
context_tokens = 8192
max_output_tokens = 1024
price = {{ input = "{input}", cached_input = "{cached_input}", output = "{output}" }}

[[tiers]]
spend_usd = "0"
limit_usd = "1000000"

[rate_limits]
requests_per_minute = 1000000
requests_per_minute_unverified = 1000000
"""

_NGINX = """\
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log warn;
events {{ worker_connections 8192; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    keepalive_requests 1000000000;
    upstream model_server {{ server 127.0.0.1:{upstream_port}; keepalive 1024; keepalive_requests 1000000000; }}
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        location / {{
            proxy_pass http://model_server;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
        }}
    }}
}}
"""


@dataclass(slots=True)
class Gateway:
    """Something that answers at a URL; `pid` is its first process, None for the model server itself."""

    name: str
    url: str
    pid: int | None
    key: str = "bench"
    operator_key: str = ""


@contextmanager
def running(command: list[str], core: int | None, **more: Any) -> Iterator[subprocess.Popen[str]]:
    """A process on one core, or on all of them, asked to end afterwards."""
    process = subprocess.Popen(pinned(command, core), stdout=subprocess.PIPE, text=True, **{"cwd": ROOT, **more})
    try:
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def first_line(process: subprocess.Popen[str]) -> str:
    """What a program says when it is ready; raises RuntimeError where it ended instead."""
    line = process.stdout.readline() if process.stdout else ""
    if not line:
        raise RuntimeError(f"this did not start: {process.args!r}")
    return line.strip()


@contextmanager
def model_server(pace_ms: float, port: int = 0) -> Iterator[Gateway]:
    """The canned model server, on the core of the load."""
    command = [sys.executable, "-m", "bench.upstream", "--pace-ms", str(pace_ms), "--port", str(port)]
    with running(command, load_core()) as process:
        yield Gateway("direct", f"http://127.0.0.1:{first_line(process)}", None)


def nginx_program() -> str | None:
    """nginx, also where only root has it on the path; None where it is not installed."""
    return shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/usr/local/sbin")


@contextmanager
def nginx(program: str, folder: Path, upstream: str) -> Iterator[Gateway]:
    """One nginx worker with `proxy_pass` and kept-alive connections on both sides."""
    port = free_port()
    config = folder / "nginx.conf"
    config.write_text(_NGINX.format(folder=folder, port=port, upstream_port=upstream.rpartition(":")[2]))
    command = [program, "-e", str(folder / "nginx.log"), "-p", str(folder), "-c", str(config)]
    with running(command, measured_core()) as process:
        _wait_until_open(process, port)
        yield Gateway("nginx", f"http://127.0.0.1:{port}", process.pid)


def free_port() -> int:
    """A port that nothing listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def _wait_until_open(process: subprocess.Popen[str], port: int) -> None:
    """Wait until a process takes connections; raises RuntimeError where it does not within a while."""
    end = time.monotonic() + READY_SECONDS
    while process.poll() is None and time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError(f"this did not start: {process.args!r}")


def configure(folder: Path, upstream: str, database_url: str) -> tuple[Path, str]:
    """Write a configuration with nothing in it that a user would not have; answers its file and an operator key."""
    config = folder / "purser.toml"
    config.write_text(_PURSER.format(database_url=database_url, upstream=upstream, **PRICE), encoding="utf-8")
    return config, "op_" + secrets.token_hex(24)


@contextmanager
def purser(
    folder: Path,
    upstream: str,
    database_url: str,
    *,
    workers: int = 1,
    all_cores: bool = False,
    operator_key: str | None = None,
    account: bool = True,
    more: Mapping[str, str] | None = None,
) -> Iterator[Gateway]:
    """`purser serve` on the measured core, or on all, with a new database unless it is there.

    It has an account that has credit, unless there is to be none. `more` are variables of its surroundings. What it
    logs is shown if it fails.
    """
    config, new_key = configure(folder, upstream, database_url)
    operator_key = operator_key or new_key
    port = free_port()
    command = [sys.executable, "-m", "purser.main", "serve", "--config", str(config), "--port", str(port)]
    command += ["--workers", str(workers)]
    environment = {**os.environ, "PURSER_OPERATOR_KEY": operator_key, **(more or {})}
    log = folder / "purser.log"
    try:
        with (
            log.open("wb") as said,
            running(
                command, None if all_cores else measured_core(), cwd=folder, env=environment, stderr=said
            ) as process,
        ):
            _wait_until_open(process, port)
            url = f"http://127.0.0.1:{port}"
            key = open_account(url, operator_key) if account else ""
            yield Gateway("purser", url, process.pid, key, operator_key)
    except Exception:
        sys.stderr.write(log.read_text(errors="replace")[-3000:])
        raise


_ACCOUNT = {"id": ACCOUNT, "email": "bench@example.com", "signupCreditUsd": "1000000"}  # more than it can spend


def open_account(url: str, operator_key: str) -> str:
    """An account with credit, opened over HTTP; answers its API key."""
    opened = call(url, operator_key, "POST", "/operator/v1/accounts", _ACCOUNT)
    return str(opened["apiKey"]["key"])


def call(url: str, key: str, method: str, path: str, body: Any = None, timeout: float = 600) -> Any:
    """One call of Purser's control plane; raises RuntimeError with what it said where it refused."""
    line = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout)
    try:
        headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
        line.request(method, path, None if body is None else json.dumps(body), headers)
        answer = line.getresponse()
        raw = answer.read()
    finally:
        line.close()
    if answer.status >= 300:
        raise RuntimeError(f"{method} {path}: {answer.status} {raw[:500]!r}")
    return json.loads(raw) if raw else None
