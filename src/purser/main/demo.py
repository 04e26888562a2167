"""The demo: the whole of Purser on one machine, with a model server and an account to try it with."""

from __future__ import annotations

import errno
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

from purser.core.explain import suspended_message
from purser.core.money import format_usd
from purser.flows import access, accounts
from purser.flows.audit_log import acting
from purser.flows.queue import WriteQueue
from purser.flows.reports import AccountView, Balance, view_account
from purser.flows.reports import balance as read_balance
from purser.inbound.api import sign_in_token
from purser.inbound.desk import Desk
from purser.inbound.worker import Worker
from purser.main.process import check_database, listen, open_books, open_writer, prepare
from purser.outbound.testpay import TestProvider
from purser.setting_keys import MANUAL, SYSTEM
from purser.settings import Settings, SettingsError, load
from purser.store.accounts import get_account
from purser.store.audit_log import Act
from purser.store.writers import Tx

ACCOUNT = "demo"
_OPERATOR_KEY = "PURSER_OPERATOR_KEY"
_REQUESTS_PER_MINUTE = 6000
_CONFIG = """\
# The demo's configuration; a real one is made by `purser init`.
mail_url = "{mail}"  # mails are files there
webhook_private_addresses = true
fleet = "simulated"

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


_GPU_HOURS = {  # the simulated fleet's
    name: {"gpu_hour": usd}
    for name, usd in (
        ("NVIDIA_A100_80GB", "2.90"),
        ("NVIDIA_H100_80GB", "7.00"),
        ("NVIDIA_H200_141GB", "7.00"),
        ("NVIDIA_B200_180GB", "10.00"),
        ("NVIDIA_B300_288GB", "12.00"),
    )
}


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
        """Run until Ctrl-C; answers the exit code: 2 for a wrong option, which shows before anything starts."""
        os.environ[_OPERATOR_KEY] = os.environ.get(_OPERATOR_KEY) or f"op_{secrets.token_hex(24)}"
        mistakes = self._find_mistakes()
        for mistake in mistakes:
            print(f"purser: {mistake}", file=sys.stderr)
        if mistakes:
            return 2
        if self.data is not None:
            return self._run_in(self.data.absolute())
        with tempfile.TemporaryDirectory(prefix="purser-demo-", ignore_cleanup_errors=True) as folder:
            return self._run_in(Path(folder))

    def _find_mistakes(self) -> list[str]:
        """What is wrong with the options, each with what would be right."""
        if self.clock == SYSTEM and self.clock_start is not None:
            return [f"--clock-start is for --clock {MANUAL}; leave it out, or set that clock"]
        try:
            load(None, os.environ, self._overrides(Path(), self.port), serving=False)
        except SettingsError as error:
            return list(error.mistakes)
        wanted = (
            ("--data must be a folder", self.data, _try_folder),
            ("--credentials must be a file", self.credentials, _try_file),
        )
        for right, path, attempt in wanted:
            try:
                if path is not None:
                    attempt(path)
            except OSError as error:
                return [f"{right} that can be written, not {path}: {error.strerror}"]
        return []

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
            mail = (folder / "mail").absolute().as_uri()
            config.write_text(_CONFIG.format(upstream=upstream, rate=_REQUESTS_PER_MINUTE, mail=mail), encoding="utf-8")
            overrides = self._overrides(folder, port)
            settings = load(config, os.environ, overrides)
            check_database(settings)
            base_url = f"http://{self.host}:{port}"
            account = _prepare_account(settings)
            details = {
                "base_url": base_url,
                "account_id": ACCOUNT,
                "api_key": account.secret,
                "operator_key": os.environ[_OPERATOR_KEY],
                "model": "tiny",
            }

            def on_ready() -> None:
                self._announce(details, account, folder / "mail")

            return serve_settings(settings, listener, on_ready)
        finally:
            engine.terminate()
            engine.wait()

    def _overrides(self, folder: Path, port: int) -> dict[str, Any]:
        overrides: dict[str, Any] = {
            "host": self.host,
            "port": port,
            "workers": self.workers,
            "clock": self.clock,
        }
        if "PURSER_DATABASE_URL" not in os.environ:
            overrides["database_url"] = f"sqlite:///{folder / 'purser.db'}"
        if self.clock_start is not None:
            overrides["clock_start"] = self.clock_start
        return overrides

    def _announce(self, details: dict[str, str], account: DemoAccount, mail: Path) -> None:
        if self.credentials is not None:
            partial = _partial(self.credentials)
            partial.touch(mode=0o600)
            partial.write_text(json.dumps(details, indent=2) + "\n", encoding="utf-8")
            partial.replace(self.credentials)
        dashboard = f"{details['base_url']}/dashboard/sign-in?token={account.token}"
        words = _WELCOME + ("" if account.has_card else _CARD) + _END
        print(words.format(**details, dashboard=dashboard, stands=account.stands, mail=mail), flush=True)


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def _try_folder(path: Path) -> None:
    """Make the folder and write in it; raises OSError."""
    path.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=path):
        return


def _try_file(path: Path) -> None:
    """Write where the file's first version goes; raises OSError."""
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
    _partial(path).touch(mode=0o600)
    _partial(path).unlink()


_WELCOME = """
Purser is ready. {stands}

  API key     {api_key}
  Dashboard   {dashboard}
  Operator    {operator_key}
  Mail        {mail}

Ask the model something:

  curl {base_url}/v1/chat/completions \\
    -H "Authorization: Bearer {api_key}" -H "Content-Type: application/json" \\
    -d '{{"model": "tiny", "messages": [{{"role": "user", "content": "Why keep books?"}}]}}' -i

See what it cost:

  curl -s {base_url}/v1/accounts/{account_id}/balance -H "Authorization: Bearer {api_key}"
"""
_CARD = """
Model "grand" answers the same at a hundred times the price, so the credit is soon gone. Then add a test card:

  curl -s {base_url}/v1/accounts/{account_id}/paymentMethods -H "Authorization: Bearer {api_key}" \\
    -H "Content-Type: application/json" -d '{{"token": "pm_card_visa"}}'
"""
_END = """
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


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """The demo account: a fresh API key, a sign-in token, and how it stands, in words."""

    secret: str
    token: str
    stands: str
    has_card: bool


def _prepare_account(settings: Settings) -> DemoAccount:
    """The demo account, opened where it is new."""
    db, world, policy = open_books(settings)
    writer = open_writer(db, world, policy)
    queue = WriteQueue(writer)
    try:
        prepare(settings, queue, _GPU_HOURS)

        def open_or_find(tx: Tx) -> str:
            if get_account(tx.conn, ACCOUNT) is None:
                return accounts.open_account(tx, ACCOUNT, "demo@example.com", display_name="Demo").secret
            return access.create_key(tx, ACCOUNT, "owner", display_name="demo").secret

        with acting(Act("", "purser", "", "purser demo")):
            secret = queue.run(open_or_find)
        desk = Desk(db, queue, world, policy, Worker(db, queue.run, world, TestProvider()))
        with db.read() as conn:
            view, balance = view_account(conn, ACCOUNT, policy), read_balance(conn, ACCOUNT, policy, world.now())
        return DemoAccount(
            secret, sign_in_token(desk, ACCOUNT, "owner"), _describe(view, balance), view.has_payment_method
        )
    finally:
        queue.stop()
        writer.close()
        db.dispose()


def _describe(view: AccountView, balance: Balance) -> str:
    """An account's money, and why it is suspended if it is."""
    card = "a payment method" if view.has_payment_method else "no payment method"
    owes = f", and owes ${format_usd(balance.outstanding)}" if balance.outstanding else ""
    causes = {cause.cause: cause.why for cause in view.causes}
    suspended = f"\n{suspended_message(ACCOUNT, causes, prepaid=view.prepaid)}" if causes else ""
    return f"This account has ${format_usd(balance.credit)} of credit and {card}{owes}.{suspended}"
