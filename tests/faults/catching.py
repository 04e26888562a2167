"""What finds a value changed behind everybody's back: for each table and column the check, or why none needs to.

`python -m tests.faults.catching` writes the table of it into docs/faults.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

from purser.store import seals
from purser.store.schema import metadata
from tests.store.test_chain import COVERED

DOCS = Path(__file__).resolve().parents[2] / "docs" / "faults.md"
BEGIN, END = "<!-- catching: begin (python -m tests.faults.catching writes it) -->\n", "<!-- catching: end -->\n"

# What is neither under a hash chain nor sealed.
DERIVED = {
    "balances": dict.fromkeys(("account", "ledger", "writer", "debits", "credits"), "B3"),
    "rollups": dict.fromkeys(
        "account bill_month month hour_at model unit version writer quantity amount events".split(), "A4"
    ),
    "spent": dict.fromkeys(("account", "kind", "subject", "day_at", "counted", "amount"), "spent"),
    "spent_through": {"writer": "spent", "seq": "spent"},
    "leases": {"account": "A6", "kind": "A6", "window": "A6", "owner": "C6", "share": "A6", "used": "headroom"},
    "writers": {"id": "B6", "seq": "A7", "n": "B6", "hash": "B6", "state": "C6"},
}

# What no check looks at, since nobody's money depends on it.
NO_MONEY = {
    "changes": ("n account", "a note to the other processes, read within a second and deleted later"),
    "claims": (
        "account id writer",
        "keeps two requests of one name from running at once; that a name is billed once is the usage event's own key",
    ),
    "headroom": (
        "wanted_at refused",
        "asks others to give spare back, and remembers a refusal with nearly nothing left, until the next change",
    ),
    "rate_shares": ("account bucket writer share free_at", "who may let how much through, for a minute after it ends"),
    "rate_windows": ("account bucket seen wanted_at", "what was let through in the last minute, and who wants more"),
    "token_limits": (
        "account model metric tokens changed_at known_since traffic_at minute_at used samples",
        "how many tokens a minute may bring, which moves with use; what they cost is held and billed all the same",
    ),
    "writers": (
        "host pid heard_at unbilled seals",
        "for people to read; what was left unbilled stands in headroom, sealed; `seals` is read as a program of an "
        "older version ends",
    ),
}


def expected() -> dict[tuple[str, str], str]:
    """The check that finds a changed value, by table and column; "" where none looks at it."""
    found = {}
    for name, table in metadata.tables.items():
        sealed = (*seals.covered(table), "seal") if table in seals.TABLES else ()
        for column in (each.name for each in table.c):
            if column in COVERED.get(name, ()):
                found[name, column] = "B6"
            elif column in sealed:
                found[name, column] = "seals"
            elif column in DERIVED.get(name, {}):
                found[name, column] = DERIVED[name][column]
            else:
                assert column in NO_MONEY.get(name, ("", ""))[0].split(), (
                    f"{name}.{column}: what finds a changed value?"
                )
                found[name, column] = ""
    return found


def table() -> str:
    """All of it as Markdown."""
    lines = ["| table | columns | found by |", "|---|---|---|"]
    by_table: dict[str, dict[str, list[str]]] = {}
    for (name, column), check in expected().items():
        by_table.setdefault(name, {}).setdefault(check, []).append(column)
    for name, checks in sorted(by_table.items()):
        for check, columns in checks.items():
            which = "all" if len(checks) == 1 and check else ", ".join(f"`{column}`" for column in columns)
            lines.append(f"| `{name}` | {which} | {check or 'nothing: ' + NO_MONEY[name][1]} |")
    return "\n".join(lines) + "\n"


def written(text: str) -> str:
    """The docs with the table as it should be."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    DOCS.write_text(written(DOCS.read_text()))
    sys.stdout.write(f"written: {DOCS}\n")
