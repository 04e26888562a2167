"""A newcomer's first hour: a clone, `make demo`, and the FAQ's story lived through with nothing but HTTP."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.demo.program import (
    PATIENCE,
    ROOT,
    Answer,
    Caller,
    command_line,
    descendants,
    environment,
    eventually,
)
from tests.ports import free_port

UNREACHABLE = re.compile(r"Failed to establish a new connection|name resolution|Network is unreachable|ProxyError")
CENT = Decimal("0.01")
FIRST_RUN_SECONDS = 240  # it installs what it needs, while other tests run beside it
pytestmark = pytest.mark.once


class Newcomer:
    """Somebody with a terminal, in which `make demo` runs."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "demo.log"
        self.port = free_port()
        words = f"make demo PORT={self.port} CREDENTIALS=demo.json CLOCK=manual CLOCK_START=2026-03-01T09:00:00Z"
        surroundings = environment()
        for name in ("VIRTUAL_ENV", "MAKEFLAGS", "MAKELEVEL", "MFLAGS"):
            surroundings.pop(name, None)
        with self.log.open("wb") as output:
            self.make = subprocess.Popen(
                words.split(),
                cwd=folder,
                env=surroundings,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def printed(self) -> str:
        return self.log.read_text(errors="replace")

    def wait(self) -> None:
        """Wait for demo.json as a newcomer would; skips where pip cannot reach its index."""
        file = self.folder / "demo.json"
        eventually(lambda: file.exists() or self.make.poll() is not None, FIRST_RUN_SECONDS)
        if not file.exists() and UNREACHABLE.search(self.printed) and "CI" not in os.environ:
            pytest.skip("pip cannot reach its index, so the newcomer cannot set up")
        assert file.exists(), self.printed
        found = json.loads(file.read_text())
        assert set(found) == {"base_url", "account_id", "api_key", "operator_key", "model"}
        assert (found["base_url"], found["account_id"]) == (f"http://127.0.0.1:{self.port}", "demo")
        self.key, self.operator_key, self.model = found["api_key"], found["operator_key"], found["model"]

    def call(self, method: str, path: str, body: Any = None, *, key: str = "") -> Answer:
        """One request on a connection of its own."""
        with Caller(self.port, key or self.key) as caller:
            return caller.call(method, path, body)

    def get(self, path: str) -> Any:
        """What a route of the account says; every read works at any time (U3)."""
        answer = self.call("GET", f"/v1/accounts/demo{path}")
        assert answer.status == 200, (path, answer)
        return answer.json

    def operate(self, path: str, body: Any = None) -> Any:
        """An operator's call."""
        answer = self.call("POST", f"/operator/v1/{path}", body, key=self.operator_key)
        assert answer.status == 200, (path, answer)
        return answer.json

    def ask(self, model: str = "grand", **more: Any) -> Answer:
        """A question to the model."""
        body = {"model": model, "messages": [{"role": "user", "content": "Why keep books?"}], **more}
        return self.call("POST", "/v1/chat/completions", body)

    def pay_with(self, token: str) -> Answer:
        """Add a payment method."""
        return self.call("POST", "/v1/accounts/demo/paymentMethods", {"token": token})

    def processes(self) -> list[int]:
        """make, and everything below it."""
        return [self.make.pid, *descendants(self.make.pid)]


@pytest.fixture(scope="module")
def newcomer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Newcomer]:
    """A newcomer in front of a demo that is ready; at the end nothing of it is left."""
    folder = tmp_path_factory.mktemp("newcomer") / "a checkout"
    check_out(folder)
    found = Newcomer(folder)
    try:
        found.wait()
        yield found
    finally:
        for pid in found.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        found.make.wait(10)


def check_out(folder: Path) -> None:
    """A clone, with what is not committed yet laid over it; a copy where there is no repository."""
    if not (ROOT / ".git").exists():
        shutil.copytree(ROOT, folder, ignore=shutil.ignore_patterns(".*", "__pycache__", "dist", "build"))
        return
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(folder)], check=True)
    listed = ["git", "ls-files", "-z", "--modified", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).exists():
            shutil.copyfile(ROOT / name, folder / name)
        else:
            (folder / name).unlink(missing_ok=True)


def money(shown: str) -> Decimal:
    """Dollars as shown, exact."""
    assert re.fullmatch(r"-?\d+\.\d{2,9}", shown), shown
    return Decimal(shown)


def test_the_newcomers_story(newcomer: Newcomer) -> None:
    for chapter in (begin, burn, stand_suspended, come_back, close_the_month, buy_credit, leave):
        chapter(newcomer)
    assert newcomer.make.returncode == 0


def begin(newcomer: Newcomer) -> None:
    """A dollar of credit, and a curl line that works as pasted."""
    balance = newcomer.get("/balance")
    assert money(balance["creditUsd"]) == 1
    assert money(balance["spentThisMonthUsd"]) == 0
    assert newcomer.key in newcomer.printed
    assert f"http://127.0.0.1:{newcomer.port}/dashboard" in newcomer.printed
    pasted = re.search(r"^ *curl (?:.*\\\n)*.*/v1/chat/completions(?:.*\\\n)*.*$", newcomer.printed, re.MULTILINE)
    assert pasted is not None
    said = subprocess.run(["sh", "-c", pasted[0]], capture_output=True, text=True, check=True).stdout
    assert said.startswith("HTTP/1.1 200")
    told = re.search(r"^x-purser-cost-usd: (\S+)$", said, re.MULTILINE)
    assert told is not None
    assert newcomer.model in said
    assert money(newcomer.get("/balance")["spentThisMonthUsd"]) == money(told[1]) > 0


def burn(newcomer: Newcomer) -> None:
    """The dollar goes until the account is suspended: by model "grand", and its last cent by the cheap one."""
    spent = money(newcomer.get("/balance")["spentThisMonthUsd"])
    for model in ("grand", newcomer.model):
        while (answer := newcomer.ask(model)).status == 200:
            spent += answer.cost
        assert answer.status in (402, 412)
        assert answer.headers["x-should-retry"] == "false"
        assert money(newcomer.get("/balance")["spentThisMonthUsd"]) == spent <= 1
    if answer.status == 402:  # the refusal that found too little left; from now on the account is suspended
        assert answer.json["error"]["cause"] == "CREDIT"
        answer = newcomer.ask()
    assert answer.status == 412
    assert answer.headers["x-should-retry"] == "false"
    error = answer.json["error"]
    assert error["code"] == "PRECONDITION_FAILED"
    assert "is suspended" in error["message"]
    assert "CREDIT_DEPLETED" in error["message"]
    assert answer.json["request_id"] == answer.headers["x-request-id"]
    assert spent >= Decimal("0.99")


def stand_suspended(newcomer: Newcomer) -> None:
    """Suspended, everything can still be read, and a declined card changes nothing."""
    account = newcomer.get("")
    assert account["suspendState"] == "CREDIT_DEPLETED"
    assert [cause["cause"] for cause in account["suspensionCauses"]] == ["CREDIT_DEPLETED"]
    for path in ("/balance", "/credits", "/invoices", "/receipts", "/paymentMethods", "/quotas", "/apiKeys", "/users"):
        newcomer.get(path)
    assert newcomer.call("GET", "/v1/me").json["account"] == "demo"
    declined = newcomer.pay_with("pm_card_chargeDeclined")
    assert declined.status == 402, declined
    assert newcomer.get("")["suspendState"] == "CREDIT_DEPLETED"
    assert newcomer.ask().status == 412


def come_back(newcomer: Newcomer) -> None:
    """A good card lifts it at once, and from here on usage is owed."""
    assert newcomer.pay_with("pm_card_visa").status == 200
    assert eventually(lambda: newcomer.ask().status == 200, PATIENCE)
    assert newcomer.get("")["suspendState"] == "UNSUSPENDED"
    for _ in range(10):
        assert newcomer.ask(max_tokens=200).status == 200
    balance = newcomer.get("/balance")
    spent = money(balance["spentThisMonthUsd"])
    assert spent > 1 + 10 * CENT
    assert money(balance["creditUsd"]) == 0
    assert money(balance["outstandingUsd"]) == spent - 1


def close_the_month(newcomer: Newcomer) -> None:
    """The month ends: one invoice, paid by the card, exact to the nano-dollar down to each request."""
    spent = money(newcomer.get("/balance")["spentThisMonthUsd"])
    newcomer.operate("clock:advance", {"to": "2026-04-01T00:00:00Z"})
    [invoice] = newcomer.get("/invoices")["invoices"]
    assert (invoice["state"], invoice["month"], invoice["type"]) == ("PAID", "2026-03", "POSTPAID_BILLING")
    names = "subtotal creditsApplied paymentsApplied carriedIn carriedOut tax total amountDue".split()
    figure = {name: money(invoice[f"{name}Usd"]) for name in names}
    assert figure["subtotal"] == spent
    assert figure["creditsApplied"] == 1
    billed = figure["subtotal"] - figure["creditsApplied"] + figure["tax"]
    assert figure["total"] == billed + figure["carriedIn"] - figure["carriedOut"]
    assert figure["total"] == figure["total"].quantize(CENT)
    assert figure["amountDue"] == figure["total"] - figure["paymentsApplied"]
    assert 0 <= figure["carriedOut"] < CENT
    assert sum(money(line["amountUsd"]) for line in invoice["lines"]) == figure["subtotal"]
    opened = [open_line(newcomer, invoice["id"], line) for line in invoice["lines"]]
    assert len({id_ for ids in opened for id_ in ids}) > 10
    assert newcomer.get("/balance")["spentThisMonthUsd"] == "0.000000000"
    assert isinstance(newcomer.get("/receipts")["receipts"], list)
    assert newcomer.operate("audit")["violations"] == []


def open_line(newcomer: Newcomer, invoice: str, line: dict[str, Any]) -> list[str]:
    """The events of an invoice line; they sum to it in quantity and money."""
    path, token, events = f"/invoices/{invoice}/lines/{line['n']}/usage", "", []
    while True:
        answer = newcomer.get(f"{path}?pageSize=100&pageToken={token}")
        events += answer["events"]
        token = answer["nextPageToken"]
        if not token:
            break
    assert sum(money(event["amountUsd"]) for event in events) == money(line["amountUsd"])
    assert sum(int(event["quantity"]) for event in events) == int(line["quantity"])
    return [event["id"] for event in events]


def buy_credit(newcomer: Newcomer) -> None:
    """Bought credit pays what is owed first; the limit cannot be set beyond the tier's."""
    assert newcomer.ask(max_tokens=200).status == 200
    owed = money(newcomer.get("/balance")["outstandingUsd"])
    assert owed > 0
    answer = newcomer.call("POST", "/v1/accounts/demo/credits:purchase", {"amountUsd": "5.00"})
    assert answer.status == 200, answer
    bought = answer.json
    assert money(bought["amountUsd"]) == 5
    *paid, rest = bought["allocation"]
    assert {part["to"] for part in paid} == {"unbilled"}  # this month's usage, and what March carried over
    assert sum(money(part["amountUsd"]) for part in paid) == owed
    assert (rest["to"], money(rest["amountUsd"])) == ("credit", 5 - owed)
    assert bought["receipt"] in [receipt["id"] for receipt in newcomer.get("/receipts")["receipts"]]
    balance = newcomer.get("/balance")
    assert money(balance["creditUsd"]) == 5 - owed
    assert money(balance["outstandingUsd"]) == 0
    quota = newcomer.get("/quotas/monthly-spend-usd")
    path = "/v1/accounts/demo/quotas/monthly-spend-usd"
    assert newcomer.call("PATCH", path, {"value": str(int(quota["maxValue"]) + 1)}).status == 400
    assert newcomer.get("/quotas/monthly-spend-usd")["value"] == quota["value"]
    assert newcomer.operate("audit")["violations"] == []


def leave(newcomer: Newcomer) -> None:
    """Ctrl-C ends the program by itself, with everything it started."""
    running = newcomer.processes()
    [purser] = [pid for pid in running if any(word.endswith(b"bin/purser") for word in command_line(pid))]
    os.kill(purser, signal.SIGINT)
    newcomer.make.wait(45)
    assert eventually(lambda: not any(command_line(pid) for pid in running), 10)
    with pytest.raises(OSError, match="refused"):
        newcomer.call("GET", "/healthz")
