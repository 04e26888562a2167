"""Credit codes redeemed at once by several processes: each account once, all together no more than there are (A3)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from purser.core.credits import CreditGrant
from purser.core.errors import Conflict, NotFound, PurserError
from purser.core.money import NANOS_PER_USD
from purser.core.period import MINUTE
from purser.flows import accounts, codes, credits
from purser.flows.audit import audit
from purser.flows.people import TooOften
from purser.store import codes as rows
from purser.store.writers import Writer
from tests import databases
from tests.store import small_books
from tests.store.small_books import Books


@pytest.fixture
def books(tmp_path: Path) -> Iterator[Books]:
    """Twelve accounts without credit."""
    books = Books(databases.at(tmp_path / "purser.db"))
    for n in range(12):
        books.writer.run(
            lambda tx, n=n: accounts.open_account(tx, f"ada-{n}", "ada@example.com", signup_credit_nanos=0)  # type: ignore[misc]
        )
    yield books
    books.close()


def make(books: Books, redemptions: int) -> codes.Made:
    return books.writer.run(lambda tx: codes.make(tx, 5 * NANOS_PER_USD, redemptions=redemptions))


def redeemed(books: Books, code: str) -> int:
    with books.db.read() as conn:
        row = rows.get_code(conn, code)
    assert row is not None
    return int(row.redeemed)


def violations(books: Books) -> list[tuple[str, str]]:
    with books.db.read() as conn:
        return [(found.check, found.message) for found in audit(conn).violations]


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


def redeem_all(writer: Writer, names: list[str], code: str) -> list[object]:
    found: list[object] = []
    for name in names:
        try:
            found.append(writer.run(lambda tx, name=name: codes.redeem(tx, name, code)))  # type: ignore[misc]
        except PurserError as refused:
            found.append(refused)
    return found


def test_many_accounts_at_once_get_it_as_many_times_as_it_was_made_for(books: Books) -> None:
    made, others = make(books, 7), [books.open_writer(2), books.open_writer(3)]
    names = [f"ada-{n}" for n in range(12)]
    parts = [(books.writer, names), (others[0], names[::-1]), (others[1], names[6:] + names[:6])]
    done = at_once(*(partial(redeem_all, writer, order, made.code) for writer, order in parts))
    found = [each for some in done for each in some]  # type: ignore[attr-defined]
    granted = [each for each in found if isinstance(each, CreditGrant)]
    assert len(granted) == len({grant.id for grant in granted}) == 7
    assert all(isinstance(each, CreditGrant | Conflict) for each in found), found
    assert redeemed(books, made.id) == 7
    with books.db.read() as conn:
        left = [sum(grant.remaining_nanos for grant in credits.remaining_grants(conn, name)) for name in names]
    assert sorted(left) == [0] * 5 + [5 * NANOS_PER_USD] * 7
    assert violations(books) == []
    for other in others:
        other.close()


def test_one_account_at_once_gets_it_once(books: Books) -> None:
    made, others = make(books, 9), [books.open_writer(2), books.open_writer(3)]
    works = [partial(redeem_all, writer, ["ada-0"] * 3, made.code) for writer in (books.writer, *others)]
    found = [each for some in at_once(*works) for each in some]  # type: ignore[attr-defined]
    assert sum(isinstance(each, CreditGrant) for each in found) == 1
    assert {str(each) for each in found if isinstance(each, PurserError)} == {
        "this credit code was redeemed by this account already, which an account can do once"
    }
    assert redeemed(books, made.id) == 1
    assert violations(books) == []
    for other in others:
        other.close()


def test_what_others_read_of_a_code_is_not_the_code(books: Books) -> None:
    made = make(books, 1)
    whole = str(databases.rows(books.db))
    for spelt in (made.code, made.code.lower(), made.code.replace("-", ""), made.code.replace("-", "").lower()):
        assert spelt not in whole
    with pytest.raises(NotFound):
        books.writer.run(lambda tx: codes.redeem(tx, "ada-0", made.id))
    grant = books.writer.run(lambda tx: codes.redeem(tx, "ada-0", made.code.lower().replace("-", " ")))
    assert grant.granted_nanos == 5 * NANOS_PER_USD


def test_attempts_of_a_clock_that_was_ahead_keep_nobody_waiting(books: Books) -> None:
    made, run = make(books, 1), books.writer.run
    books.world.at += 24 * 60 * MINUTE
    for _ in range(codes.MOST_ATTEMPTS):
        run(lambda tx: codes.note_failure(tx, "ada-0"))
    books.world.at -= 24 * 60 * MINUTE
    assert run(lambda tx: codes.redeem(tx, "ada-0", made.code)).granted_nanos == 5 * NANOS_PER_USD


def test_attempts_that_fail_are_so_many_an_hour_for_each_account(books: Books) -> None:
    made, run = make(books, 5), books.writer.run
    for _ in range(codes.MOST_ATTEMPTS):
        books.world.at += MINUTE
        run(lambda tx: codes.note_failure(tx, "ada-0"))
    with pytest.raises(TooOften, match="10 credit codes of account ada-0 were refused") as refused:
        run(lambda tx: codes.redeem(tx, "ada-0", made.code))
    assert refused.value.retry_after == 51 * 60
    run(lambda tx: codes.redeem(tx, "ada-1", made.code))  # others are not kept
    books.world.at += 51 * MINUTE
    run(lambda tx: codes.note_failure(tx, "ada-0"))
    with pytest.raises(TooOften):
        run(lambda tx: codes.redeem(tx, "ada-0", made.code))
    books.world.at += MINUTE
    run(lambda tx: codes.redeem(tx, "ada-0", made.code))
    assert len(databases.rows(books.db)["code_attempts"]) == codes.MOST_ATTEMPTS, "older ones are forgotten"


@pytest.mark.parametrize(
    "changed, said",
    [
        ("UPDATE credit_codes SET redeemed = 3", "it says that 3 of 5 have redeemed it, 2 accounts have"),
        ("UPDATE credit_codes SET redeemed = 1", "it says that 1 of 5 have redeemed it, 2 accounts have"),
        ("UPDATE credit_codes SET redemptions = 1", "it says that 2 of 1 have redeemed it, 2 accounts have"),
        (
            "UPDATE credit_codes SET amount = 1",
            "it offers $0.000000001, was redeemed for $5.00, and $5.00 were granted",
        ),
        ("UPDATE code_redemptions SET amount = 1 WHERE account = 'ada-0'", "was redeemed for $0.000000001"),
        ("UPDATE code_redemptions SET credit = 'grant_0' WHERE account = 'ada-0'", "but no credit came of it"),
        ("UPDATE grants SET source = 'operator' WHERE account = 'ada-0'", "but no credit came of it"),
        ("UPDATE grants SET kind = 'purchased' WHERE account = 'ada-0'", "what came of it is purchased credit"),
        ("DELETE FROM code_redemptions WHERE account = 'ada-0'", "which was not redeemed for it"),
        ("DELETE FROM credit_codes", "it was redeemed, but there is no such code"),
    ],
)
def test_the_audit_finds_what_disagrees(books: Books, changed: str, said: str) -> None:
    made = make(books, 5)
    for name in ("ada-0", "ada-1"):
        books.writer.run(lambda tx, name=name: codes.redeem(tx, name, made.code))  # type: ignore[misc]
    assert violations(books) == []
    small_books.change(books.db, changed)
    assert any(said in message for check, message in violations(books) if check == "codes"), violations(books)
