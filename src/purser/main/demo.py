"""The demo: the whole of Purser on one machine, with a model server and an account to try it with."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from purser.flows import access, accounts
from purser.flows.queue import WriteQueue
from purser.inbound.api import sign_in_token
from purser.inbound.desk import Desk
from purser.inbound.worker import Worker
from purser.main.process import listen, open_books, open_writer, prepare
from purser.outbound.testpay import TestProvider
from purser.settings import Settings, load
from purser.store.accounts import get_account
from purser.store.writers import Tx

ACCOUNT = "demo"
_REQUESTS_PER_MINUTE = 6000
_CONFIG = """\
# The demo's configuration; a real one is made by `purser init`.
[[models]]
name = "tiny"
upstream = "{upstream}"
engine = "vllm"
context_tokens = 4096
max_output_tokens = 1024
price = {{ input = "0.95", cached_input = "0.16", output = "4.00" }}

[[models]]
name = "grand"  # the same answers at a hundred times the price, to watch a dollar go
upstream = "{upstream}"
engine = "vllm"
context_tokens = 4096
max_output_tokens = 1024
price = {{ input = "95.00", cached_input = "16.00", output = "400.00" }}

[rate_limits]
requests_per_minute_unverified = {rate}
"""


@dataclass(slots=True)
class Demo:
    """The demo's options, as given on the command line."""

    host: str
    port: int
    workers: int
    clock: str
    clock_start: str | None
    data: Path | None
    credentials: Path | None

    def run(self) -> int:
        """Run until Ctrl-C; answers the exit code."""
        if self.data is not None:
            self.data.mkdir(parents=True, exist_ok=True)
            return self._run_in(self.data.absolute())
        with tempfile.TemporaryDirectory(prefix="purser-demo-", ignore_cleanup_errors=True) as folder:
            return self._run_in(Path(folder))

    def _run_in(self, folder: Path) -> int:
        from purser.main.commands import serve_settings

        try:
            listener = listen(self.host, self.port)
        except OSError as error:
            print(
                f"purser: cannot listen on {self.host}:{self.port}: {error.strerror}. "
                "Another port: make demo PORT=8081, or purser demo --port 8081",
                file=sys.stderr,
            )
            return 1
        port = listener.getsockname()[1]
        engine, upstream = _start_model_server()
        try:
            config = folder / "purser.toml"
            config.write_text(_CONFIG.format(upstream=upstream, rate=_REQUESTS_PER_MINUTE), encoding="utf-8")
            operator_key = os.environ.get("PURSER_OPERATOR_KEY") or f"op_{secrets.token_hex(24)}"
            os.environ["PURSER_OPERATOR_KEY"] = operator_key
            overrides = self._overrides(folder, port)
            settings = load(config, os.environ, overrides)
            base_url = f"http://{self.host}:{port}"
            api_key, token = _prepare_account(settings)
            details = {
                "base_url": base_url,
                "account_id": ACCOUNT,
                "api_key": api_key,
                "operator_key": operator_key,
                "model": "tiny",
            }

            def on_ready() -> None:
                self._announce(details, f"{base_url}/dashboard/sign-in?token={token}")

            return serve_settings(settings, listener, config, overrides, on_ready)
        finally:
            engine.terminate()
            engine.wait()

    def _overrides(self, folder: Path, port: int) -> dict[str, Any]:
        overrides: dict[str, Any] = {
            "host": self.host,
            "port": port,
            "workers": self.workers,
            "clock": self.clock,
            "database_url": f"sqlite:///{folder / 'purser.db'}",
        }
        if self.clock_start is not None:
            overrides["clock_start"] = self.clock_start
        return overrides

    def _announce(self, details: dict[str, str], dashboard: str) -> None:
        if self.credentials is not None:
            partial = self.credentials.with_name(self.credentials.name + ".part")
            partial.touch(mode=0o600)
            partial.write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
            partial.replace(self.credentials)
        print(_WELCOME.format(**details, dashboard=dashboard), flush=True)


_WELCOME = """
Purser is ready. This account has $1.00 of credit and no payment method.

  API key     {api_key}
  Dashboard   {dashboard}
  Operator    {operator_key}

Ask the model something:

  curl {base_url}/v1/chat/completions \\
    -H "Authorization: Bearer {api_key}" -H "Content-Type: application/json" \\
    -d '{{"model": "tiny", "messages": [{{"role": "user", "content": "Why keep books?"}}]}}' -i

See what it cost:

  curl -s {base_url}/v1/accounts/{account_id}/balance -H "Authorization: Bearer {api_key}"

Model "grand" answers the same at a hundred times the price, so the dollar is soon gone. Then add a test card:

  curl -s {base_url}/v1/accounts/{account_id}/paymentMethods -H "Authorization: Bearer {api_key}" \\
    -H "Content-Type: application/json" -d '{{"token": "pm_card_visa"}}'

Ctrl-C ends it.
"""


def _start_model_server() -> tuple[subprocess.Popen[str], str]:
    """The bundled model server in a process of its own, which ends with this one; answers its base URL."""
    command = [sys.executable, "-m", "purser.modelserver", "--port", "0", "--models", "tiny,grand"]
    command += ["--context-tokens", "4096", "--pace", "1000", "--first-token-ms", "5", "--stop-with-stdin"]
    engine = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True)
    line = engine.stdout.readline() if engine.stdout is not None else ""
    words = line.split()
    if len(words) < 4 or words[:3] != ["modelserver", "ready", "on"]:
        engine.kill()
        raise RuntimeError(f"the bundled model server did not start: {line!r}")
    threading.Thread(target=_drain, args=(engine,), name="purser-engine", daemon=True).start()
    return engine, words[3]


def _drain(engine: subprocess.Popen[str]) -> None:
    for _ in engine.stdout or ():
        pass


def _prepare_account(settings: Settings) -> tuple[str, str]:
    """The demo account, opened where it is new; answers a fresh API key and a sign-in token."""
    db, world, policy = open_books(settings)
    writer = open_writer(db, world, policy)
    queue = WriteQueue(writer)
    try:
        prepare(settings, queue)

        def open_or_find(tx: Tx) -> str:
            if get_account(tx.conn, ACCOUNT) is None:
                return accounts.open_account(tx, ACCOUNT, "demo@example.com", display_name="Demo").secret
            return access.create_key(tx, ACCOUNT, "owner", display_name="demo").secret

        secret = queue.run(open_or_find)
        desk = Desk(db, queue, world, policy, Worker(db, queue.run, world, TestProvider()))
        return secret, sign_in_token(desk, ACCOUNT, "owner")
    finally:
        queue.stop()
        writer.close()
        db.dispose()
