"""The audit finds every bit that was changed in what a writer's hash chain covers, and says in which commit it was."""

from __future__ import annotations

import random
from typing import Any

import pytest
import sqlalchemy as sa

from purser.flows.audit import INVARIANTS, audit
from purser.store.checks import Violation, search
from purser.store.db import Database
from purser.store.schema import metadata
from tests.store.small_books import behind, change

(CHAIN,) = [invariant for invariant in INVARIANTS if invariant.name == "B6"]
_R1 = "WHERE account = 'ada' AND id = 'r1'"
_E1_SETTLED = "WHERE account = 'ada' AND key = 'api/e1/settled'"


def broken(db: Database) -> list[Violation]:
    """What is wrong with the chains."""
    with db.read() as conn:
        return next(search(conn, CHAIN)).violations()


COVERED = {
    "usage_events": (
        "account source id model user key occurred_at recorded_at month bill_month version quantities cost held "
        "clamped estimated state txn budgets digest writer seq"
    ).split(),
    "transactions": "account key kind at corrects writer seq".split(),
    "postings": "account key n ledger side amount".split(),
    "commits": "writer n seq hash at".split(),
    "audit_log": ("account id at actor key operator method path request user_agent client changes writer seq").split(),
}


def flip(value: object, chance: random.Random) -> object:
    """The value with one bit of it changed; a missing or empty one becomes a letter."""
    if value in (None, ""):
        return "x"
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(40)
    data = bytearray(value.encode() if isinstance(value, str) else bytes(value) or b"?")  # type: ignore[call-overload]
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(7)
    return data.decode() if isinstance(value, str) else bytes(data)


@pytest.mark.parametrize(("table", "column"), [(table, column) for table in COVERED for column in COVERED[table]])
def test_one_bit_changed_in_any_covered_column_breaks_the_chain(spoilt: Database, table: str, column: str) -> None:
    chance = random.Random(f"{table}.{column}")
    columns, key = metadata.tables[table].c, metadata.tables[table].primary_key
    with behind(spoilt) as conn:
        rows = conn.execute(sa.select(metadata.tables[table]).order_by(*key)).all()
        conn.commit()
        for row in chance.sample(rows, min(6, len(rows))):
            value, place = row._mapping[columns[column]], {each: row._mapping[each] for each in key}
            changed = flip(value, chance)
            while not changes(conn, place, columns[column], changed):
                changed = flip(value, chance)
            found = broken(spoilt)
            assert found, f"{table}.{column} {value!r} became {changed!r} in row {place}"
            there = {each: changed if each.name == column else kept for each, kept in place.items()}
            assert changes(conn, there, columns[column], value)
    assert broken(spoilt) == []


def changes(conn: sa.Connection, place: dict[sa.Column[Any], object], column: sa.Column[Any], value: object) -> bool:
    """Change one row; answers False where that is not possible: another has the key, or it is no text."""
    where = [each == kept for each, kept in place.items()]
    try:
        with conn.begin():
            return conn.execute(sa.update(column.table).where(*where).values({column: value})).rowcount == 1
    except (sa.exc.IntegrityError, sa.exc.DataError):
        return False


@pytest.mark.parametrize(
    ("where", "words", "statement"),
    [
        ("writer 1, commit", "usage event gateway/r1 of acc", f"UPDATE usage_events SET \"user\" = 'eve' {_R1}"),
        ("writer 1, commit", "posting api/e1/settled/0 of acc", f"UPDATE postings SET amount = 1 {_E1_SETTLED}"),
        ("writer 1, commit", "its hash is not", f"DELETE FROM usage_events {_R1}"),
        ("writer 1, commit", "its hash is not", f"UPDATE usage_events SET quantities = quantities || ' ' {_R1}"),
        ("ada, usage event gateway/r1", "its digest", f"UPDATE usage_events SET digest = x'00' {_R1}"),
        ("writer 1, commit 2", "gone", "UPDATE transactions SET seq = 500 WHERE seq = (SELECT seq FROM commits"
         " WHERE writer = 1 AND n = 2)"),
        ("writer 1, step 500", "no commit covers", f"UPDATE usage_events SET seq = 500 {_R1}"),
        ("writer 1, step 0", "no commit covers", f"UPDATE usage_events SET seq = 0 {_R1}"),
        ("writer 1, commit 4", "commit 3 before it", "DELETE FROM commits WHERE writer = 1 AND n = 3"),
        ("writer 1", "are there", "DELETE FROM commits WHERE writer = 1 AND n = 3"),
        ("writer 1, commit 4", "does not come after", "UPDATE commits SET seq = 900 WHERE writer = 1 AND n = 3"),
        ("writer 1", "its last commit is step 900", "UPDATE commits SET seq = 900 WHERE writer = 1 AND n = (SELECT"
         " n FROM writers WHERE id = 1)"),
        ("writer 1, commit 3", "instant 5", "UPDATE commits SET at = 5 WHERE writer = 1 AND n = 3"),
        ("writer 2", "its hash", f"UPDATE writers SET hash = x'{'00' * 32}' WHERE id = 2"),
        ("writer 2", "1 are there", "UPDATE writers SET n = 2 WHERE id = 2"),
        ("writer 2", "does not exist", "DELETE FROM writers WHERE id = 2"),
    ],
)  # fmt: skip
def test_a_broken_chain_says_where(spoilt: Database, where: str, words: str, statement: str) -> None:
    change(spoilt, statement)
    found = broken(spoilt)
    assert any(where in violation.where and words in violation.message for violation in found), found


def test_a_changed_value_is_blamed_on_its_own_commit_alone(spoilt: Database) -> None:
    change(spoilt, f"UPDATE transactions SET at = at, kind = 'paid' {_E1_SETTLED}")
    assert len(broken(spoilt)) == 1


def test_a_transaction_written_into_the_books_by_hand_is_found(spoilt: Database) -> None:
    """A balanced gift that keeps every sum right is still no commit of any writer."""
    change(
        spoilt,
        "INSERT INTO transactions SELECT account, 'gift', 'granted', at, NULL, writer, seq FROM transactions"
        " WHERE key = 'api/e1/settled'",
        "INSERT INTO postings VALUES ('ada', 'gift', 0, 'promotions', 'D', 5), ('ada', 'gift', 1, 'breakage', 'C', 5)",
        "UPDATE balances SET debits = debits + 5 WHERE account = 'ada' AND ledger = 'promotions' AND writer = 1",
        "INSERT INTO balances VALUES ('ada', 'breakage', 1, 0, 5)",
    )
    with spoilt.read() as conn:
        (violation,) = audit(conn).violations
    assert violation.check == "B6"
    assert "transaction gift of account ada" in violation.message
