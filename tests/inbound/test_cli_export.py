"""The ledger exported through the API and by the command line: whose, where to, and what goes wrong on the way."""

from __future__ import annotations

import http.client
import time
from pathlib import Path

import pytest

from purser.core.journal import Transaction, balanced
from purser.inbound import spool
from purser.store import ledger
from tests import oracles
from tests.demo.program import eventually
from tests.inbound.house import OPERATOR_KEY, House
from tests.inbound.terminal import Terminal
from tests.store import small_books


@pytest.fixture
def ada(house: House, tmp_path: Path) -> Terminal:
    """The terminal of ada, who has spent $12 and bought $20; bob has his gift."""
    client = house.open("ada")
    house.open("bob")
    house.card("ada")
    house.spend("ada", 12, "first")
    assert client.post("/v1/accounts/ada/credits:purchase", {"amountUsd": "20"}).status == 200
    url = f"http://127.0.0.1:{house.operator.port}"
    return Terminal(tmp_path).using(PURSER_URL=url, PURSER_API_KEY=client.key or "", COLUMNS=120)


@pytest.fixture
def operator(house: House, ada: Terminal) -> Terminal:
    """The operator's terminal."""
    variables = {"PURSER_URL": ada.variables["PURSER_URL"], "PURSER_OPERATOR_KEY": OPERATOR_KEY}
    return Terminal(ada.folder, variables)


@pytest.mark.parametrize("format_", ["hledger", "beancount"])
def test_whose_ledger_it_is(house: House, ada: Terminal, operator: Terminal, format_: str) -> None:
    with house.db.read() as conn:
        whole, own = oracles.export(conn, format_), oracles.export(conn, format_, "ada")
        balances = oracles.our_balances(conn)
    assert operator.ok("billing", "export-ledger", "--format", format_) == whole
    assert operator.ok("billing", "export-ledger", "--format", format_, "--account", "ada") == own
    assert ada.ok("billing", "export-ledger", "--format", format_) == own
    if format_ == "beancount":
        assert oracles.ask_beancount(whole) == ([], balances)


@pytest.mark.once
def test_into_a_file(house: House, ada: Terminal) -> None:
    done = ada.run("billing", "export-ledger", "--format", "beancount", "--output", "ada.beancount")
    assert (done.code, done.stdout) == (0, "")
    assert "bean-check ada.beancount" in done.stderr
    with house.db.read() as conn:
        assert (ada.folder / "ada.beancount").read_text() == oracles.export(conn, "beancount", "ada")
    done = ada.run("billing", "export-ledger", "--format", "beancount", "-o", "nowhere/ada.beancount")
    assert done.code == 1
    assert "nowhere/ada.beancount.part cannot be written: No such file" in done.stderr


@pytest.mark.once
def test_on_a_terminal_a_bar_and_whole_lines(ada: Terminal) -> None:
    code, screen = ada.sit("billing", "export-ledger", "--format", "hledger", "-o", "ada.journal")
    assert code == 0
    assert "exporting" in screen
    assert "ada.journal holds the ledger" in screen


@pytest.mark.once
def test_what_is_refused(house: House, ada: Terminal, operator: Terminal) -> None:
    done = ada.run("billing", "export-ledger", "--format", "ledger")
    assert (done.code, done.stdout) == (2, "")
    assert ada.run("billing", "export-ledger", "--format", "hledger", "--account", "bob").code == 5
    assert operator.run("billing", "export-ledger", "--format", "hledger", "--account", "zed").code == 5
    answer = house.operator.get("/operator/v1/ledger:export?format=ledger")
    assert (answer.status, answer.json["errors"][0]["field"]) == (400, "format")
    assert house.operator.get("/operator/v1/ledger:export").status == 400
    client = house.open("cyd")
    assert client.get("/operator/v1/ledger:export?format=hledger").status == 403
    assert client.get("/v1/accounts/ada/ledger:export?format=hledger").status == 404
    assert house.nobody.get("/v1/accounts/ada/ledger:export?format=hledger").status == 401


@pytest.mark.once
def test_an_export_that_breaks_off_is_no_export(
    house: House, ada: Terminal, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(spool, "_PIECE", 1)
    small_books.change(house.db, "UPDATE postings SET ledger = 'slush' WHERE account = 'ada' AND ledger = 'cash'")
    done = ada.run("billing", "export-ledger", "--format", "hledger", "-o", "ada.journal")
    assert done.code == 1
    assert "broke its answer off" in done.stderr
    assert list(ada.folder.glob("ada.journal*")) == []
    assert eventually(lambda: "has no place in the chart of accounts" in caplog.text, 10)


@pytest.mark.once
def test_whoever_hangs_up_midway_leaves_no_reader_behind(
    house: House, ada: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spool, "_PIECE", 1)
    for n in range(3_000):
        house.writer.run(lambda tx, n=n: ledger.post(tx, "ada", many(n)))  # type: ignore[misc]
    connection = http.client.HTTPConnection("127.0.0.1", house.operator.port, timeout=30)
    headers = {"authorization": f"Bearer {OPERATOR_KEY}"}
    connection.request("GET", "/operator/v1/ledger:export?format=hledger", headers=headers)
    assert connection.getresponse().read(100)
    connection.close()
    pool = house.db.engine.pool
    deadline = time.monotonic() + 30
    while pool.checkedout() > 1 and time.monotonic() < deadline:  # type: ignore[attr-defined]
        time.sleep(0.02)
    assert pool.checkedout() == 1, "the writer's alone"  # type: ignore[attr-defined]


def many(n: int) -> Transaction:
    """One of many entries."""
    return balanced(f"e{n}/settled", "settled", {"usage:2026-03": 1}, {"revenue:2026-03": 1})
