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

from purser.inbound.cli.app import app, run_app
from tests import databases
from tests.inbound.house import OPERATOR_KEY, House

_SENDING = {"post", "patch", "delete"}
_READING = {"audit": "it checks what is there, by a POST because that takes its time"}
_NOT_BOOKS = {"changes", "commits", "writers", "presence"}  # what every process writes by itself

# Those that charge a card, close a month, move the clock or open an account: what they do is more than a transaction.
_NOT_YET = {
    *(
        "account create",
        "billing pay",
        "clock advance",
        "credits buy",
        "credits grant",
        "credits redeem",
        "month close",
    ),
    *("operator reinstate", "operator suspend", "payment-method add", "payment-method remove", "prices publish"),
}
_ELSEWHERE = {  # have tests of their own
    *("abuse-rule add", "abuse-rule clear", "abuse-rule remove", "account close", "account reopen", "account set-mode"),
    *("billing set-profile", "limits approve", "limits ask", "limits reject", "webhook replay"),
}
# In this order: what one makes others use. The second word of a pair is what of its answer is kept, under which name.
COMMANDS: tuple[tuple[str, str], ...] = (
    ("quota update monthly-spend-usd --value 20", ""),
    ("alerts set --thresholds 5,8 --forecast", ""),
    ("credit-code create 4", "id code_id"),
    ("credit-code end {code_id} --yes", ""),
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
    ("webhook add https://example.com/hooks", "id endpoint"),
    ("webhook remove {endpoint} --yes", ""),
    ("operator user create nora --role finance", "id operator"),
    ("operator user update {operator} --role support", ""),
    ("operator user remove {operator} --yes", ""),
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


def test_every_command_that_writes_is_tried_here_or_elsewhere() -> None:
    tried = {words for words in WRITING if any(given.startswith(f"{words} ") for given, _ in COMMANDS)}
    assert tried | _NOT_YET | _ELSEWHERE == set(WRITING)
    assert not _NOT_YET & (tried | _ELSEWHERE)


@pytest.mark.parametrize("words", sorted(WRITING.keys() - _NOT_YET))
def test_a_command_that_writes_can_be_tried_first(words: str) -> None:
    assert "dry_run" in inspect.signature(WRITING[words]).parameters


def test_a_dry_run_changes_nothing_and_the_same_without_it_does(
    house: House, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    named: dict[str, str] = {}
    house.open("ada")
    house.card("ada")
    monkeypatch.setenv("PURSER_URL", f"http://127.0.0.1:{house.operator.port}")
    monkeypatch.setenv("PURSER_API_KEY", OPERATOR_KEY)
    monkeypatch.setenv("PURSER_OPERATOR_KEY", OPERATOR_KEY)

    def books() -> dict[str, list[tuple[object, ...]]]:
        return {name: rows for name, rows in databases.rows(house.db).items() if name not in _NOT_BOOKS}

    def run(words: str, *more: str) -> tuple[Any, str]:
        account = () if words.startswith(("credit-code", "operator")) else ("--account", "ada")
        code = run_app([*[word.format(**named) for word in words.split(" ")], *more, *account, "-o", "json"])
        said = capsys.readouterr()
        assert code == 0, (words, more, said)
        return json.loads(said.out or "null"), said.err

    for words, kept in COMMANDS:
        before = books()
        _, told = run(words, "--dry-run")
        assert "A dry run: nothing was changed" in told, words
        assert books() == before, words
        made, told = run(words)
        assert "dry run" not in told, words
        assert books() != before, words
        if kept:
            field, name = kept.split(" ")
            named[name] = made[field]
