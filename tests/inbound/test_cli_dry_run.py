"""Every command that writes can be tried first: `--dry-run` answers as if it were done, and changes nothing."""

from __future__ import annotations

import ast
import inspect
import json
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from cyclopts import App

from purser.core.period import parse_instant
from purser.core.policy import Policy
from purser.inbound.cli.app import app, run_app
from purser.inbound.courier import Courier
from purser.outbound.webhook import HttpWebhooks
from tests import databases
from tests.inbound.house import OPERATOR_KEY, House
from tests.receiver import receiver

_SENDING = {"post", "patch", "delete"}
_ELSEWHERE = {"limits approve", "limits ask", "limits reject"}  # by users' own keys: test_limit_requests.py
_READING = {
    "audit": "it checks what is there, by a POST because that takes its time",
    "prices diff": "it asks what a file would make of the prices, by a dry run",
}
_BY_ITSELF = {"changes", "commits", "writers", "idempotency"}
_ANEW = {"id", "name", "key", "keyId", "code", "begins", "prefix", "secret", "receipt", "credit"}
_ANEW |= {"createTime", "expireTime", "nextAttemptAt"}  # by wall-clock time
_ELSE = {"alerts set --thresholds 5,8 --forecast": "it shows this month's alerts once they are set"}

# In this order: what one makes others use. The second word of a pair is what of its answer is kept, under which name.
COMMANDS: tuple[tuple[str, str], ...] = (
    ("account create bob --email bob@example.com", ""),
    ("account set-mode bob prepaid", ""),
    ("account close bob --yes", ""),
    ("account reopen bob", ""),
    ("payment-method add pm_card_visa", "id method"),
    ("payment-method add pm_card_amex", ""),
    ("payment-method remove {method} --yes", ""),
    ("quota update monthly-spend-usd --value 20", ""),
    ("alerts set --thresholds 5,8 --forecast", ""),
    ("credits buy 20", ""),
    ("credits grant 3", ""),
    ("credit-code create 4", "id code_id, code code"),
    ("credits redeem {code}", ""),
    ("credit-code end {code_id} --yes", ""),
    ("rate-limit set --model tiny --prompt 9000 --generated unlimited", ""),
    ("rate-limit set --all-models --uncached-prompt 8000", ""),
    ("rate-limit unset --model tiny", ""),
    ("model create mine --display-name Mine --context-length 4096", ""),
    ("model update mine --kind CUSTOM_MODEL", ""),
    ("model delete mine --yes", ""),
    ("dataset create chats --format CHAT --tokens 9000", ""),
    ("dataset update chats --examples 12", ""),
    ("dataset delete chats --yes", ""),
    ("billing set-profile --name Ada --country DE", ""),
    ("user create bot --role user", ""),
    ("user update bot --display-name Bot", ""),
    ("limits set 9", ""),
    ("limits set 8 --user bot --join red", ""),
    ("limits set 7 --group red", ""),
    ("limits set 7 --group blue", ""),
    ("limits set --group blue --none", ""),
    ("key create --user bot --budget 2", "keyId key"),
    ("key budget {key} 3", ""),
    ("key revoke {key} --yes", ""),
    ("invitation create eve@example.com", "id invitation"),
    ("invitation revoke {invitation} --yes", ""),
    ("webhook add {hook}", "id endpoint"),
    ("operator suspend ada --reason tried --yes", ""),
    ("operator reinstate ada", ""),
    ("webhook replay {endpoint} {delivery}", ""),
    ("webhook remove {endpoint} --yes", ""),
    ("operator user create nora --role finance", ""),
    ("operator user update nora --role support", ""),
    ("operator user remove nora --yes", ""),
    ("abuse-rule add account ada suspicious --reason tried", "id rule"),
    ("abuse-rule clear ada", ""),
    ("abuse-rule remove {rule} --yes", ""),
    ("prices publish --model new --input 1 --output 2", ""),
    ("prices import --from genai-prices --provider fireworks --model deepseek-v3p2 --publish", ""),
    ("prices publish --model NVIDIA_L4_24GB --gpu-hour 0.70", ""),
    ("quota update nvidia-l4-24gb --value 16", ""),
    ("deployment create llama --base-model llama --accelerator NVIDIA_L4_24GB --min-replicas 1", ""),
    ("deployment scale llama 0", ""),
    ("deployment delete llama --yes", ""),
    ("deployment undelete llama", ""),
    ("deployment reserve NVIDIA_L4_24GB 2", "id reservation"),
    ("deployment unreserve {reservation} --yes", ""),
    ("clock advance 2026-03-02", ""),
    ("month close 2026-03", ""),
    ("billing pay {invoice}", ""),
)


def _walk(of: App, path: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every command below: its words, and the function that it is."""
    for name in of:
        if name.startswith("-"):
            continue
        below = of[name]
        if any(not word.startswith("-") for word in below):
            yield from _walk(below, (*path, name))
        else:
            yield " ".join((*path, name)), below.default_command


def _sends(command: Any) -> bool:
    """Whether a command, or a function of its module that it calls, sends a request that is no GET."""
    found = {
        one.name: one
        for one in ast.parse(inspect.getsource(sys.modules[command.__module__])).body
        if isinstance(one, ast.FunctionDef)
    }
    todo, seen = [command.__name__], set()
    while todo:
        name = todo.pop()
        if name in seen or name not in found:
            continue
        seen.add(name)
        for call in (node.func for node in ast.walk(found[name]) if isinstance(node, ast.Call)):
            if isinstance(call, ast.Attribute) and call.attr in _SENDING:
                return True
            todo += [call.id] if isinstance(call, ast.Name) else []
    return False


WRITING = {words: command for words, command in _walk(app) if _sends(command) and words not in _READING}


@pytest.mark.once
@pytest.mark.parametrize("words", WRITING)
def test_a_command_that_writes_can_be_tried_first(words: str) -> None:
    assert "dry_run" in inspect.signature(WRITING[words]).parameters
    tried = any(given.startswith(f"{words} ") for given, _ in COMMANDS)
    assert tried != (words in _ELSEWHERE), f"{words} is not tried below"


class Tried:
    """The commands as somebody with the operator's key runs them on ada's account, which pays by contract."""

    def __init__(self, house: House, hook: str, capsys: pytest.CaptureFixture[str]) -> None:
        self.house, self.capsys = house, capsys
        self.named = {"hook": hook}
        house.writer.policy = Policy(webhook_private_addresses=True)
        house.open("ada", billingMode="contract")
        house.spend("ada", 90, "used")

    def books(self) -> dict[str, list[tuple[object, ...]]]:
        """Every row, but for what a process writes by itself with each commit."""
        return {name: rows for name, rows in databases.rows(self.house.db).items() if name not in _BY_ITSELF}

    def run(self, words: str, *more: str) -> tuple[Any, str]:
        """Run a command; answers its JSON and what it said besides."""
        given = [word.format(**self.named) for word in words.split(" ")]
        code = run_app([*given, *more, "--account", "ada", "-o", "json"])
        said = self.capsys.readouterr()
        assert code == 0, (words, more, said)
        return json.loads(said.out or "null"), said.err

    def prepare(self, words: str) -> None:
        """Let happen what a command needs to have happened."""
        house = self.house
        if words.startswith("webhook replay"):
            Courier(house.db, house.queue.run, house.world, HttpWebhooks(private=True)).deliver()
            path = f"/v1/accounts/ada/webhookEndpoints/{self.named['endpoint']}/deliveries"
            self.named["delivery"] = house.operator.get(path).json["deliveries"][0]["id"]
        elif words.startswith("month close"):
            house.world.set(parse_instant("2026-04-01T00:00:00Z"))
        elif words.startswith("billing pay"):
            self.named["invoice"] = next(each["id"] for each in house.invoices("ada") if each["state"] == "ISSUED")


def test_a_dry_run_changes_nothing_and_the_command_itself_does(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PURSER_URL", f"http://127.0.0.1:{house.operator.port}")
    monkeypatch.setenv("PURSER_OPERATOR_KEY", OPERATOR_KEY)
    with receiver() as program:
        ada = Tried(house, program.url, capsys)
        for words, keeps in COMMANDS:
            ada.prepare(words)
            before = ada.books()
            tried, said = ada.run(words.replace(" --yes", ""), "--dry-run")
            assert "A dry run: nothing was changed" in said, words
            assert "keep it now" not in said, words
            assert ada.books() == before, words
            done, said = ada.run(words)
            assert "dry run" not in said, words
            assert ada.books() != before, words
            assert _alike(tried) == _alike(done) or words in _ELSE, words
            for kept, name in (pair.split(" ") for pair in keeps.split(", ") if pair):
                ada.named[name] = done[kept]
    assert house.audit() == []


def _alike(answer: Any) -> Any:
    """An answer without what is made anew each time: ids and secrets."""
    if isinstance(answer, dict):
        return {name: _alike(value) for name, value in answer.items() if name not in _ANEW}
    return [_alike(each) for each in answer] if isinstance(answer, list) else answer
