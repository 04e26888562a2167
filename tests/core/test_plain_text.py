"""Names, entries and assertions of plain-text accounting."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from purser.core.errors import Broken
from purser.core.journal import DEBIT_NORMAL, Posting, Transaction, balanced
from purser.core.period import parse_instant
from purser.core.plain_text import _ROOTS, FORMATS, Entry, name_of

AT = parse_instant("2026-03-01T23:59:59.999999Z")

NAMES = [
    ("ada", "cash", "Assets:Cash:Ada"),
    ("ada", "usage:2026-03", "Assets:Usage:Ada:2026-03"),
    ("ada", "unbilled:2026-03", "Assets:Unbilled:Ada:2026-03"),
    ("ada", "invoiced:inv_01kn", "Assets:Invoiced:Ada:Inv-01kn"),
    ("ada", "credit:grant_01kj", "Liabilities:Credit:Ada:Grant-01kj"),
    ("ada", "promotions", "Expenses:Promotions:Ada"),
    ("ada", "revenue:2026-03", "Income:Revenue:Ada:2026-03"),
    ("ada", "breakage", "Income:Breakage:Ada"),
    ("3-cups", "cash", "Assets:Cash:3-cups"),
    ("-dash", "cash", "Assets:Cash:ID-dash"),
]


@pytest.mark.parametrize("account, ledger, name", NAMES)
def test_a_ledger_account_has_a_name_that_both_programs_accept(account: str, ledger: str, name: str) -> None:
    assert name_of(account, ledger) == name


def test_what_is_debited_is_an_asset_or_an_expense() -> None:
    assert {kind for kind, root in _ROOTS.items() if root.split(":")[0] in ("Assets", "Expenses")} == set(DEBIT_NORMAL)


@pytest.mark.parametrize("ledger", ["", "cache", "cash flow", "credit:Grant", "credit:grant:x", "usage:2026/03"])
def test_what_has_no_place_or_no_name_is_broken(ledger: str) -> None:
    with pytest.raises(Broken, match=r"chart of accounts|plain-text accounting"):
        name_of("ada", ledger)


ACCOUNTS = st.from_regex(r"[a-z0-9-]{3,6}", fullmatch=True)
LEDGERS = st.sampled_from(["cash", "breakage"]) | st.builds(
    "{}:{}".format,
    st.sampled_from(["credit", "invoiced", "usage"]),
    st.from_regex(r"[a-z]{2,4}_[a-z0-9]{1,4}|[0-9]{4}-[0-9]{2}", fullmatch=True),
)


@given(ACCOUNTS, LEDGERS, ACCOUNTS, LEDGERS)
def test_two_ledger_accounts_never_share_a_name(one: str, its: str, other: str, their: str) -> None:
    first, second = name_of(one, its), name_of(other, their)
    assert (first == second) == ((one, its) == (other, their))
    for part in first.split(":"):
        assert re.fullmatch(r"[A-Z0-9][A-Za-z0-9-]*", part)


def entry(key: str = "r1/settled", nanos: int = 1, corrects: str | None = None) -> Entry:
    transaction = balanced(key, "settled", {"usage:2026-03": nanos}, {"revenue:2026-03": nanos})
    return Entry("ada", AT, transaction, corrects)


def test_amounts_keep_every_nano_dollar() -> None:
    for format_ in FORMATS.values():
        text = format_.entry(entry(nanos=4_000_000_000_000_000_001))
        assert "    Assets:Usage:Ada:2026-03  4000000000.000000001 USD\n" in text
        assert "    Income:Revenue:Ada:2026-03  -4000000000.000000001 USD\n\n" in text


def test_an_entry_of_hledger_carries_its_facts_in_comments() -> None:
    assert FORMATS["hledger"].entry(entry(corrects="r0/settled")) == (
        "2026-03-01 settled\n"
        "    ; account: ada\n"
        "    ; key: r1/settled\n"
        "    ; at: 2026-03-01T23:59:59.999999Z\n"
        "    ; corrects: r0/settled\n"
        "    Assets:Usage:Ada:2026-03  0.000000001 USD\n"
        "    Income:Revenue:Ada:2026-03  -0.000000001 USD\n"
        "\n"
    )


def test_an_entry_of_beancount_carries_its_facts_as_metadata() -> None:
    assert FORMATS["beancount"].entry(entry(key='a"b\\c\nd/settled')) == (
        '2026-03-01 * "settled"\n'
        '    account: "ada"\n'
        '    key: "a\\"b\\\\c d/settled"\n'
        '    at: "2026-03-01T23:59:59.999999Z"\n'
        "    Assets:Usage:Ada:2026-03  0.000000001 USD\n"
        "    Income:Revenue:Ada:2026-03  -0.000000001 USD\n"
        "\n"
    )


def test_a_file_begins_with_what_the_program_must_know() -> None:
    assert "\ncommodity 1000.000000000 USD\n\n" in FORMATS["hledger"].head()
    assert '\noption "operating_currency" "USD"\n\n' in FORMATS["beancount"].head()
    names = ["Assets:Cash:Ada", "Income:Revenue:Ada"]
    assert FORMATS["hledger"].opened(names, AT) == "account Assets:Cash:Ada\naccount Income:Revenue:Ada\n\n"
    assert FORMATS["beancount"].opened(names, AT) == (
        "2026-03-01 open Assets:Cash:Ada USD\n2026-03-01 open Income:Revenue:Ada USD\n\n"
    )


def test_balances_are_asserted_after_the_last_entry_without_tolerance() -> None:
    balances = {"Assets:Cash:Ada": 1, "Income:Revenue:Ada": -1}
    assert FORMATS["hledger"].asserted(balances, AT) == (
        "2026-03-01 balances\n"
        "    Assets:Cash:Ada  0.000000000 USD == 0.000000001 USD\n"
        "    Income:Revenue:Ada  0.000000000 USD == -0.000000001 USD\n"
        "\n"
    )
    assert FORMATS["beancount"].asserted(balances, AT) == (
        "2026-03-02 balance Assets:Cash:Ada  0.000000001 ~ 0.000000000 USD\n"
        "2026-03-02 balance Income:Revenue:Ada  -0.000000001 ~ 0.000000000 USD\n"
        "\n"
    )


def test_a_transaction_is_shown_as_it_is_even_where_it_does_not_balance() -> None:
    broken = Transaction("x", "settled", (Posting("cash", True, 5), Posting("breakage", False, 4)))
    text = FORMATS["hledger"].entry(Entry("ada", AT, broken))
    assert "0.000000005 USD" in text
    assert "-0.000000004 USD" in text
