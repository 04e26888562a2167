"""The exported ledger as hledger and Beancount see it: accepted, the same balances, and every fault found (E2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from purser.core.errors import Broken
from purser.core.journal import balanced
from purser.store import ledger
from purser.store.db import Database
from tests import databases, oracles
from tests.store import small_books
from tests.store.small_books import Books, tell_story

Ask = Callable[[str], tuple[list[str], oracles.Balances]]
PROGRAMS = [
    pytest.param("beancount", oracles.ask_beancount),
    pytest.param("hledger", oracles.ask_hledger, marks=pytest.mark.hledger),
]


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """Three months of four accounts."""
    books = Books(databases.at(tmp_path_factory.mktemp("books") / "told.db"))
    tell_story(books)
    odd = balanced('e"1\\,date:2020-01-01/settled', "settled", {"usage:2026-05": 1}, {"revenue:2026-05": 1})
    books.writer.run(lambda tx: ledger.post(tx, "ada", odd, corrects="grant_1/granted"))
    yield books.db
    books.close()


@pytest.fixture
def copied(told: Database, tmp_path: Path) -> Iterator[Database]:
    """The same, to do something to."""
    db = small_books.copy(told, tmp_path / "copied.db")
    yield db
    db.dispose()


@pytest.mark.parametrize("program, ask", PROGRAMS)
def test_the_program_accepts_the_ledger_and_comes_to_our_balances(told: Database, program: str, ask: Ask) -> None:
    with told.read() as conn:
        ours = oracles.our_balances(conn)
        text = oracles.export(conn, program)
    assert {"Assets:Cash:Ada", "Income:Breakage:Bob", "Expenses:Promotions:Cyd"} <= set(ours)
    assert any(nanos % 1000 for nanos in ours.values()), "nano-dollars matter"
    assert ask(text) == ([], ours)


@pytest.mark.parametrize("program, ask", PROGRAMS)
def test_one_accounts_ledger_is_its_part_of_the_whole(told: Database, program: str, ask: Ask) -> None:
    with told.read() as conn:
        ours = {name: nanos for name, nanos in oracles.our_balances(conn).items() if name.split(":")[2] == "Ada"}
        text = oracles.export(conn, program, "ada")
        whole = oracles.export(conn, program)
    assert ask(text) == ([], ours)
    assert text.split("\n\n", 2)[2] in whole


FAULTS = {
    "an amount altered by a nano-dollar on both sides": [
        "UPDATE postings SET amount = amount + 1 "
        "WHERE key IN (SELECT MIN(key) FROM transactions WHERE kind = 'settled')"
    ],
    "one side altered": ["UPDATE postings SET amount = amount + 1 WHERE account = 'ada' AND ledger = 'cash'"],
    "a posting lost": ["DELETE FROM postings WHERE account = 'cyd' AND ledger = 'promotions'"],
    "a transaction lost": ["DELETE FROM transactions WHERE account = 'bob' AND kind = 'lapsed'"],
    "a posting on another ledger account": ["UPDATE postings SET ledger = 'breakage' WHERE ledger = 'revenue:2026-04'"],
    "sides turned round": [
        "UPDATE postings SET side = CASE side WHEN 'D' THEN 'C' ELSE 'D' END "
        "WHERE key IN (SELECT MIN(key) FROM transactions WHERE kind = 'invoiced')"
    ],
    "a balance altered by a nano-dollar": [
        "UPDATE balances SET debits = debits + 1 WHERE account = 'acme' AND ledger = 'unbilled:2026-03'"
    ],
    "all balances of an account lost": ["DELETE FROM balances WHERE account = 'ada'"],
    "all transactions of an account lost": ["DELETE FROM transactions WHERE account = 'ada'"],
}


@pytest.mark.parametrize("program, ask", PROGRAMS)
@pytest.mark.parametrize("fault", FAULTS)
def test_the_program_finds_the_fault(copied: Database, program: str, ask: Ask, fault: str) -> None:
    small_books.change(copied, *FAULTS[fault])
    with copied.read() as conn:
        errors, _ = ask(oracles.export(conn, program))
    assert errors


def test_a_ledger_account_outside_the_chart_of_accounts_stops_the_export(copied: Database) -> None:
    small_books.change(copied, "UPDATE postings SET ledger = 'slush' WHERE account = 'ada' AND ledger = 'cash'")
    with copied.read() as conn, pytest.raises(Broken, match="'slush' of ada has no place"):
        oracles.export(conn, "hledger")


@pytest.mark.parametrize("program, ask", PROGRAMS)
def test_an_empty_ledger_is_accepted_too(tmp_path: Path, program: str, ask: Ask) -> None:
    books = Books(databases.at(tmp_path / "empty.db"))
    with books.db.read() as conn:
        assert ask(oracles.export(conn, program)) == ([], {})
        assert ask(oracles.export(conn, program, "ada")) == ([], {})
    books.close()
