"""Every fact posts a balanced transaction, and the books of a month come out even (B1, B2, B3, A7, S1, S2)."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core import journal
from purser.core.credits import Draw
from purser.core.errors import Broken
from purser.core.journal import Posting, Transaction, balanced

USD = 1_000_000_000


def fold(*transactions: Transaction) -> dict[str, int]:
    """Balances by ledger account, debits positive, those at zero left out."""
    sums: Counter[str] = Counter()
    for transaction in transactions:
        for posting in transaction.postings:
            sums[posting.ledger] += posting.amount_nanos if posting.debit else -posting.amount_nanos
    return {ledger: nanos for ledger, nanos in sums.items() if nanos}


# (fact, transaction, kind, balances it moves)
FACTS = [
    ("used", journal.settled("k", {"2026-03": 7}), "settled", {"usage:2026-03": 7, "revenue:2026-03": -7}),
    (
        "used over the turn of a month",
        journal.settled("k", {"2026-03": 7, "2026-04": 2}),
        "settled",
        {"usage:2026-03": 7, "revenue:2026-03": -7, "usage:2026-04": 2, "revenue:2026-04": -2},
    ),
    (
        "S1 drawn",
        journal.drawn("k", "2026-03", [Draw("g", 20 * USD)], 63 * USD),
        "drawn",
        {"credit:g": 20 * USD, "unbilled:2026-03": 63 * USD, "usage:2026-03": -83 * USD},
    ),
    ("drawn, covered", journal.drawn("k", "2026-03", [Draw("g", 5)], 0), "drawn", {"credit:g": 5, "usage:2026-03": -5}),
    ("A1 granted", journal.granted("k", "g", USD), "granted", {"promotions": USD, "credit:g": -USD}),
    (
        "S2 received, all owed",
        journal.received("k", 500 * USD, {"invoiced:i": 500 * USD}, "g"),
        "purchased",
        {"cash": 500 * USD, "invoiced:i": -500 * USD},
    ),
    (
        "S3 received, some owed",
        journal.received("k", 500 * USD, {"invoiced:i": 200 * USD, "unbilled:2026-03": 100 * USD}, "g"),
        "purchased",
        {"cash": 500 * USD, "invoiced:i": -200 * USD, "unbilled:2026-03": -100 * USD, "credit:g": -200 * USD},
    ),
    ("an invoice paid", journal.received("k", 63, {"invoiced:i": 63}, None), "paid", {"cash": 63, "invoiced:i": -63}),
    ("A3 lapsed", journal.lapsed("k", "g", 4), "lapsed", {"credit:g": 4, "breakage": -4}),
    (
        "D1 invoiced",
        journal.invoiced("k", "i", {"2026-02": 1, "2026-03": 62}),
        "invoiced",
        {"invoiced:i": 63, "unbilled:2026-02": -1, "unbilled:2026-03": -62},
    ),
]


def test_the_rest_of_an_invoice_is_owed_as_unbilled_again() -> None:
    carried = journal.carried_on("inv_1", "2026-04", 3)
    assert (carried.key, carried.kind) == ("inv_1/carried", "carried")
    assert fold(carried) == {"unbilled:2026-04": 3, "invoiced:inv_1": -3}, "M4"


@pytest.mark.parametrize("fact, transaction, kind, moved", FACTS)
def test_what_each_fact_posts(fact: str, transaction: Transaction, kind: str, moved: dict[str, int]) -> None:
    assert fold(transaction) == moved, fact
    assert (transaction.key, transaction.kind) == ("k", kind)
    assert sum(moved.values()) == 0, "B1"
    assert all(posting.amount_nanos > 0 for posting in transaction.postings), "B1"


def test_every_ledger_account_has_its_normal_side() -> None:
    debit_side = {"cash", "usage", "unbilled", "invoiced", "promotions"}
    names = {ledger.partition(":")[0] for _, transaction, *_ in FACTS for ledger in fold(transaction)}
    assert names == debit_side | {"credit", "revenue", "breakage"}
    assert set(journal.DEBIT_NORMAL) == debit_side


def test_amounts_of_zero_are_left_out() -> None:
    transaction = balanced("k", "any", {"a": 5, "b": 0}, {"c": 5, "d": 0})
    assert transaction.postings == (Posting("a", True, 5), Posting("c", False, 5)), "B1"


@pytest.mark.parametrize(
    "debits, credits", [({"a": 5}, {"b": 4}), ({"a": 5}, {}), ({"a": -5}, {"b": -5}), ({"a": 5, "b": -1}, {"c": 4})]
)
def test_what_does_not_balance_is_broken(debits: dict[str, int], credits: dict[str, int]) -> None:
    with pytest.raises(Broken, match="transaction k does not balance"):
        balanced("k", "any", debits, credits)


def test_money_beyond_what_is_owed_needs_a_grant() -> None:
    with pytest.raises(Broken, match="37 received beyond what is owed"):
        journal.received("k", 100, {"invoiced:i": 63}, None)


@pytest.mark.parametrize("grant", [None, "g"])
def test_no_more_is_paid_than_was_received(grant: str | None) -> None:
    with pytest.raises(Broken):
        journal.received("k", 62, {"invoiced:i": 63}, grant)


AMOUNT = st.integers(0, 10**12)


@given(AMOUNT, AMOUNT, AMOUNT, AMOUNT)
def test_a_months_books_come_out_even(free: int, first: int, later: int, lapsing: int) -> None:
    used = first + later
    drawn = min(free, used)
    owed, lapsed = used - drawn, min(lapsing, free - drawn)
    balances = fold(
        journal.granted("g/granted", "g", free),
        journal.settled("r1/settled", {"2026-03": first}),
        journal.settled("r2/settled", {"2026-03": later}),
        journal.drawn("d/drawn", "2026-03", [Draw("g", drawn)] if drawn else [], owed),
        journal.lapsed("g/lapsed", "g", lapsed),
        journal.invoiced("i/issued", "i", {"2026-03": owed}),
        journal.received("p/received", owed, {"invoiced:i": owed}, None),
    )
    expected = {
        "promotions": free,
        "credit:g": -(free - drawn - lapsed),
        "breakage": -lapsed,
        "revenue:2026-03": -used,
        "cash": owed,
    }
    assert balances == {ledger: nanos for ledger, nanos in expected.items() if nanos}, "B3"
    assert sum(balances.values()) == 0, "B2"
