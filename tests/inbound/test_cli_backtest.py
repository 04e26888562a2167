"""`purser prices backtest`: what a month would have cost under other prices, read from the database itself."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from purser.core.policy import Policy
from purser.flows import setup
from purser.store.db import Database
from purser.store.writers import Writer
from tests import databases
from tests.flows.books import USD, World, open_account, use
from tests.inbound.terminal import Terminal

pytestmark = pytest.mark.once


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """A terminal that knows a database with $9 of one account and $3 of another, at a dollar a token."""
    db = Database(databases.at(tmp_path / "purser.db"))
    writer = Writer(db, World(), Policy(), host="here", pid=1)
    writer.run(lambda tx: setup.prepare(tx, {"tiny": {"input": "1000000.00", "output": "1000000.00"}}, None))
    for name, dollars in (("ada", 9), ("bob", 3)):
        writer.run(lambda tx, name=name: open_account(tx, name, credit=50 * USD))  # type: ignore[misc]
        writer.run(lambda tx, name=name, dollars=dollars: use(tx, name, dollars))  # type: ignore[misc]
    yield Terminal(tmp_path).using(PURSER_DATABASE_URL=db.url, COLUMNS=140)
    writer.close()
    db.dispose()


def prices(folder: Path, text: str) -> str:
    file = folder / "prices.toml"
    file.write_text(text)
    return str(file)


def test_a_file_is_tried(terminal: Terminal, tmp_path: Path) -> None:
    file = prices(tmp_path, '[models.tiny]\ninput = "500000"\noutput = "1000000"\n')
    told = terminal.run("prices", "backtest", file, "--month", "2026-03", "--by", "account")
    assert told.code == 0, told.stderr
    lines = [line.split() for line in told.stdout.splitlines()]
    assert lines[1] == ["ada", "1", "$9.00", "$4.50", "−$4.50", "-50.0", "0"]
    assert lines[2][0] == "bob"
    assert "2 events of 2026-03: $12.00 charged, $6.00 anew (−$6.00, -50.0 %)." in told.stderr
    found = json.loads(terminal.run("prices", "backtest", file, "--month", "2026-03", "-o", "json").stdout)
    assert found["total"]["anewUsd"] == "6.000000000"
    assert [(row["model"], row["changeUsd"]) for row in found["rows"]] == [("tiny", "-6.000000000")]


def test_a_version_is_tried_and_nothing_differs(terminal: Terminal) -> None:
    told = terminal.run("prices", "backtest", "--version", "1", "--month", "2026-03", "-o", "csv")
    assert told.code == 0, told.stderr
    assert told.stdout.splitlines()[1] == "tiny,2,12.00,12.00,0.00,+0.0,0"


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--month", "2026-03"], 2, "give a file of prices, or --version"),
        (["--version", "7", "--month", "2026-03"], 5, "there is no version 7"),
        (["--version", "1", "--month", "2025-03"], 2, "nothing was used in 2025-03"),
        (["--version", "1", "--month", "March"], 2, "2026-03"),
        (["--version", "1", "--month", "2026-03", "--database-url", "sqlite:///nowhere.db"], 2, "there is no database"),
    ],
)
def test_what_is_wrong_is_said(terminal: Terminal, arguments: list[str], code: int, words: str) -> None:
    told = terminal.run("prices", "backtest", *arguments)
    assert (told.code, words in told.stderr) == (code, True), told.stderr
