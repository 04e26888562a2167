"""Abuse guards under concurrency: one sign-up credit for a card, and no account slips past a rule that is made."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa

from purser.core.errors import Conflict, PurserError
from purser.core.money import NANOS_PER_USD
from purser.core.policy import WITH_CARD, Policy
from purser.core.standing import BLOCKED
from purser.flows import abuse, accounts, credits, payments, signup_credit
from purser.flows.audit import audit
from purser.store import abuse as rows
from purser.store import accounts as account_rows
from purser.store import audit_log, ledger
from purser.store import schema as t
from purser.store.writers import Writer
from tests import databases
from tests.store.small_books import CARD, Books

NAMES = [f"ada-{n}" for n in range(12)]


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Twelve accounts whose credit waits for a card."""
    books = Books(databases.at(tmp_path / "purser.db"))
    books.writer.policy = Policy(signup_credit_rule=WITH_CARD)
    for name in NAMES:
        open_account(books.writer, name)
    yield books
    with books.db.read() as conn:
        assert audit(conn).violations == ()
    books.close()


def open_account(writer: Writer, name: str, email: str = "ada@example.com") -> None:
    writer.run(lambda tx: accounts.open_account(tx, name, email))


def at_once(*works: Callable[[], object]) -> list[object]:
    """What each came to, or was refused with, in threads of their own that begin together."""
    gate, done = threading.Barrier(len(works)), list[object]()

    def run(work: Callable[[], object]) -> None:
        gate.wait(30)
        try:
            done.append(work())
        except PurserError as refused:
            done.append(refused)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(done) == len(works)
    return done


def credit_of(books: Books, name: str) -> int:
    with books.db.read() as conn:
        return sum(grant.remaining_nanos for grant in credits.remaining_grants(conn, name))


def blocked(books: Books) -> set[str]:
    with books.db.read() as conn:
        return set(conn.execute(sa.select(t.accounts.c.id).where(t.accounts.c.blocked_reason.is_not(None))).scalars())


def test_a_card_that_many_accounts_add_at_once_gives_its_credit_once(books: Books) -> None:
    others = [books.open_writer(2), books.open_writer(3)]

    def add(writer: Writer, names: list[str]) -> None:
        for name in names:
            writer.run(lambda tx, name=name: payments.add_method(tx, name, CARD))  # type: ignore[misc]

    at_once(*(lambda w=w, n=n: add(w, NAMES[n::3]) for n, w in enumerate([books.writer, *others])))
    for other in others:
        other.close()
    had = [name for name in NAMES if credit_of(books, name)]
    assert len(had) == 1
    assert credit_of(books, had[0]) == NANOS_PER_USD
    with books.db.read() as conn:
        flagged = {row.subject: row for row in rows.list_flags(conn)}
    assert set(flagged) == set(NAMES) - set(had)
    assert {(row.kind, row.why) for row in flagged.values()} == {
        (signup_credit.SHARED_CARD, f"account {had[0]} has had its sign-up credit with the same card")
    }


def test_the_credit_of_a_card_of_ones_own_comes_once_however_often_it_is_added(books: Books) -> None:
    other = books.open_writer(2)
    cards = [replace(CARD, fingerprint=f"card {n}") for n in range(4)]

    def add(writer: Writer, some: list[payments.Card]) -> None:
        for card in some:
            writer.run(lambda tx, card=card: payments.add_method(tx, "ada-0", card))  # type: ignore[misc]

    at_once(lambda: add(books.writer, cards), lambda: add(other, cards[::-1]))
    other.close()
    assert credit_of(books, "ada-0") == NANOS_PER_USD
    books.writer.run(lambda tx: payments.add_method(tx, "ada-1", cards[3]))
    assert credit_of(books, "ada-1") == 0, "each card of an account that had its credit counts as having had it"


def test_what_is_kept_of_a_card_is_no_fingerprint(books: Books) -> None:
    books.writer.run(lambda tx: payments.add_method(tx, "ada-0", replace(CARD, fingerprint="a card like no other")))
    with books.db.read() as conn:
        kept = conn.exec_driver_sql("SELECT digest FROM credited_cards").scalar_one()
    assert len(bytes.fromhex(kept)) == 32
    assert b"a card like no other".hex() not in kept


def test_no_account_that_is_opened_meanwhile_slips_past_a_rule(books: Books) -> None:
    """However they fall, each account is either refused or suspended."""
    other = books.open_writer(2)
    names, words = [f"eve-{n}" for n in range(20)], list[str]()

    def open_all() -> list[str]:
        done = []
        for name in names:
            try:
                open_account(other, name, f"{name}@bad.example.com")
                done.append(name)
            except Conflict as refused:
                words.append(refused.message)
        return done

    def make() -> abuse.Changed:
        for n in range(5):
            open_account(books.writer, f"fay-{n}", "fay@example.com")
        return books.writer.run(lambda tx: abuse.add(tx, "DOMAIN", "example.com", "BLOCKED", "many"))

    opened, made = sorted(at_once(open_all, make), key=lambda each: isinstance(each, abuse.Changed))
    other.close()
    assert isinstance(opened, list)
    assert isinstance(made, abuse.Changed)
    mine = {*NAMES, *opened, *(f"fay-{n}" for n in range(5))}
    assert blocked(books) == mine
    assert made.accounts == len(mine)
    assert len(opened) + len(words) == len(names)
    assert all("(DOMAIN example.com) blocks it" in each for each in words)


def test_of_rules_made_at_once_about_one_thing_one_stands(books: Books) -> None:
    other = books.open_writer(2)
    works = [
        lambda w=w, d=d: w.run(lambda tx: abuse.add(tx, "ACCOUNT", "ada-1", d, "x"))
        for w, d in ((books.writer, "ALLOWED"), (other, "SUSPICIOUS"))
    ]
    done = at_once(*works)
    other.close()
    assert sorted(type(each).__name__ for each in done) == ["Changed", "Conflict"]


def test_more_accounts_than_are_judged_at_once_are_judged_by_the_worker(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abuse, "AT_ONCE", 5)
    made = books.writer.run(lambda tx: abuse.add(tx, "DOMAIN", "example.com", "BLOCKED", "many"))
    assert made.accounts == 12
    assert blocked(books) == set(sorted(NAMES)[:5])
    with books.db.read() as conn:
        due = rows.list_due(conn, 0)
        assert due == sorted(NAMES)[5:]
    for name in due:
        books.writer.run(lambda tx, name=name: abuse.enforce_later(tx, account=name))  # type: ignore[misc]
    assert blocked(books) == set(NAMES)
    with books.db.read() as conn:
        assert rows.list_due(conn, 0) == []
        entry = audit_log.list_entries(conn, due[0], 0, 2**62, limit=1)[0]
        assert (entry.actor, entry.method) == ("purser", "abuse rules")
        (cause,) = [row for row in account_rows.list_open_causes(conn, due[0]) if row.cause == BLOCKED]
        assert cause.why == f"rule {made.rule}"
        assert ledger.get_balance(conn, due[0], "cash") == 0


def test_a_rule_that_ends_before_the_worker_comes_blocks_nobody_more(
    books: Books, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(abuse, "AT_ONCE", 5)
    made = books.writer.run(lambda tx: abuse.add(tx, "DOMAIN", "example.com", "BLOCKED", "many"))
    assert books.writer.run(lambda tx: abuse.end(tx, made.rule)).accounts == 12
    assert books.writer.run(lambda tx: abuse.end(tx, made.rule)).accounts == 0, "it has ended"
    with books.db.read() as conn:
        due = rows.list_due(conn, 0)
    for name in due:
        books.writer.run(lambda tx, name=name: abuse.enforce_later(tx, account=name))  # type: ignore[misc]
    assert blocked(books) == set(sorted(NAMES)[:5])
