"""The journal as plain-text accounting: the names, entries and balance assertions that hledger and Beancount read."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from purser.core.errors import Broken
from purser.core.journal import Transaction
from purser.core.money import format_usd_exact
from purser.core.period import DAY, format_instant, moment

# Under which of the five roots that both programs know each kind of ledger account is. Theirs are signed sums: what is
# debited counts up and what is credited down, so liabilities and income are below zero.
_ROOTS = {
    "cash": "Assets:Cash",
    "usage": "Assets:Usage",
    "unbilled": "Assets:Unbilled",
    "invoiced": "Assets:Invoiced",
    "promotions": "Expenses:Promotions",
    "credit": "Liabilities:Credit",
    "revenue": "Income:Revenue",
    "breakage": "Income:Breakage",
}
_PART = re.compile(r"[a-z0-9-]+\Z", re.ASCII)
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def name_of(account: str, ledger: str) -> str:
    """The name in both programs of a customer's ledger account: "credit:grant_01k" of ada is
    "Liabilities:Credit:Ada:Grant-01k".

    Two ledger accounts never have the same name. Raises Broken for one that has no place in the chart of accounts.
    """
    kind, _, subject = ledger.partition(":")
    root = _ROOTS.get(kind)
    if root is None:
        raise Broken(f"the ledger account {ledger!r:.80} of {account} has no place in the chart of accounts")
    return ":".join([root, *(_part(text) for text in (account, subject) if text)])


def _part(text: str) -> str:
    """A part of a name begins with a capital or a digit and goes on with letters, digits and dashes."""
    plain = text.replace("_", "-", 1)  # an id's kind ends at its first underscore, and no kind has a dash
    if not _PART.match(plain):
        raise Broken(f"{text!r:.80} cannot be part of an account's name in plain-text accounting")
    return f"ID{plain}" if plain[0] == "-" else plain[0].upper() + plain[1:]


@dataclass(frozen=True, slots=True)
class Entry:
    """A transaction of one customer, when it was made, and the key of the one that it corrects."""

    account: str
    at: int
    transaction: Transaction
    corrects: str | None = None

    def facts(self) -> dict[str, str]:
        """What the programs keep beside an entry, for whoever looks it up here."""
        facts = {"account": self.account, "key": self.transaction.key, "at": format_instant(self.at)}
        return facts if self.corrects is None else {**facts, "corrects": self.corrects}


class Format(Protocol):
    """How one program wants it; every answer is whole lines, an entry's ending with an empty one."""

    def head(self) -> str:
        """What a file begins with."""

    def opened(self, names: Sequence[str], at: int) -> str:
        """Ledger accounts, declared before the first entry, which is at that instant."""

    def entry(self, entry: Entry) -> str:
        """A transaction, its amounts exact to the nano-dollar."""

    def asserted(self, balances: Mapping[str, int], at: int) -> str:
        """The balances (debits less credits, nano-dollars) that the program must come to after the entry at `at`."""


class Hledger:
    """hledger's journal format."""

    def head(self) -> str:
        """The one commodity, with all its decimals."""
        commodity = "commodity 1000.000000000 USD\n\n"
        return f"; Purser's ledger for hledger. To check it: hledger check --strict -f FILE\n\n{commodity}"

    def opened(self, names: Sequence[str], at: int) -> str:
        """Account directives, for hledger's strict mode."""
        return "".join([*(f"account {name}\n" for name in names), "\n"])

    def entry(self, entry: Entry) -> str:
        """A transaction with what is known of it in comments, which are tags to hledger."""
        facts = "".join(f"    ; {name}: {_line(value)}\n" for name, value in entry.facts().items())
        return f"{_date(entry.at)} {entry.transaction.kind}\n{facts}{_postings(entry)}\n"

    def asserted(self, balances: Mapping[str, int], at: int) -> str:
        """Postings of nothing, which hledger reads after those of the same day that stand before them."""
        lines = (f"    {name}  {_usd(0)} == {_usd(nanos)}\n" for name, nanos in balances.items())
        return "".join([f"{_date(at)} balances\n", *lines, "\n"])


class Beancount:
    """Beancount's format."""

    def head(self) -> str:
        """The title and the currency."""
        options = 'option "title" "Purser\'s ledger"\noption "operating_currency" "USD"\n'
        return f"; Purser's ledger for Beancount. To check it: bean-check FILE\n\n{options}\n"

    def opened(self, names: Sequence[str], at: int) -> str:
        """Open directives."""
        return "".join([*(f"{_date(at)} open {name} USD\n" for name in names), "\n"])

    def entry(self, entry: Entry) -> str:
        """A transaction with what is known of it as metadata."""
        facts = "".join(f'    {name}: "{_quoted(value)}"\n' for name, value in entry.facts().items())
        return f'{_date(entry.at)} * "{entry.transaction.kind}"\n{facts}{_postings(entry)}\n'

    def asserted(self, balances: Mapping[str, int], at: int) -> str:
        """Balance directives: they count from the beginning of a day, so of the next; with no tolerance."""
        day = _date(at + DAY)
        lines = (
            f"{day} balance {name}  {format_usd_exact(nanos)} ~ {format_usd_exact(0)} USD\n"
            for name, nanos in balances.items()
        )
        return "".join([*lines, "\n"])


FORMATS: Mapping[str, Format] = {"hledger": Hledger(), "beancount": Beancount()}


def _date(at: int) -> str:
    return moment(at).date().isoformat()


def _usd(nanos: int) -> str:
    return f"{format_usd_exact(nanos)} USD"


def _postings(entry: Entry) -> str:
    return "".join(
        f"    {name_of(entry.account, posting.ledger)}  "
        f"{_usd(posting.amount_nanos if posting.debit else -posting.amount_nanos)}\n"
        for posting in entry.transaction.postings
    )


def _line(text: str) -> str:
    return _UNPRINTABLE.sub(" ", text)


def _quoted(text: str) -> str:
    return _line(text).replace("\\", "\\\\").replace('"', '\\"')
