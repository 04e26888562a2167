"""What other programs make of the exported ledger: hledger and Beancount read it, and add it up for themselves."""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
from decimal import Decimal

from beancount import loader
from beancount.core import realization

from purser.core.plain_text import FORMATS, name_of
from purser.flows.export import export_ledger
from purser.store import ledger
from purser.store.db import Connection

NANO = Decimal("0.000000001")
Balances = dict[str, int]


def export(conn: Connection, format_: str, account: str | None = None) -> str:
    """The whole export."""
    return "".join(export_ledger(conn, FORMATS[format_], account))


def has_hledger() -> bool:
    """Whether the program is installed."""
    return shutil.which("hledger") is not None


def ask_beancount(text: str) -> tuple[list[str], Balances]:
    """What Beancount finds wrong, and the balances it comes to, nano-dollars."""
    entries, errors, _ = loader.load_string(text)
    balances = {}
    for account in realization.iter_children(realization.realize(entries)):  # type: ignore[no-untyped-call]
        for position in account.balance:
            assert position.units.currency == "USD"
            balances[account.account] = _nanos(position.units.number)
    return [error.message for error in errors], _without_zeros(balances)


def ask_hledger(text: str) -> tuple[list[str], Balances]:
    """What hledger finds wrong in its strict mode, and the balances it comes to, nano-dollars."""
    checked = _hledger(text, "check", "--strict")
    if checked.returncode:
        return [checked.stderr], {}
    told = _hledger(text, "balance", "--flat", "--empty", "--no-total", "--output-format=csv")
    rows = csv.DictReader(io.StringIO(told.stdout))
    amounts = {row["account"]: row["balance"].removesuffix("USD").strip() for row in rows}
    return [], _without_zeros({name: _nanos(Decimal(amount)) for name, amount in amounts.items()})


def _hledger(text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["hledger", *arguments, "--file=-"]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, input=text, capture_output=True, text=True, check=False, env=environment)


def our_balances(conn: Connection) -> Balances:
    """Every balance kept here, under the name that the other programs know it by."""
    kept = {
        name_of(account, name): nanos
        for account in ledger.iter_accounts(conn)
        for name, nanos in ledger.list_signed_balances(conn, account)
    }
    return _without_zeros(kept)


def disagreements(conn: Connection) -> list[str]:
    """Where the other programs refuse what is exported, or come to other balances than ours."""
    ours = our_balances(conn)
    asked = {"beancount": ask_beancount} | ({"hledger": ask_hledger} if has_hledger() else {})
    wrong = []
    for name, ask in asked.items():
        errors, theirs = ask(export(conn, name))
        wrong += [f"E2: {name}: {error}" for error in errors]
        if not errors and theirs != ours:
            wrong.append(f"E2: {name} comes to {theirs}, not {ours}")
    return wrong


def _nanos(amount: Decimal) -> int:
    whole = amount / NANO
    assert whole == int(whole)
    return int(whole)


def _without_zeros(balances: Balances) -> Balances:
    return {name: nanos for name, nanos in sorted(balances.items()) if nanos}
