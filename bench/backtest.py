"""How many usage events a second `purser prices backtest` rates anew: `python -m bench.backtest [--events N]`.

A SQLite file with a month of events of a hundred accounts, no two alike in what they used; each is rated under other
prices and, beside that, under its own, which must come to its charge.
"""

from __future__ import annotations

import argparse
import os
import sqlite3
import time
from pathlib import Path

from bench import books, tables
from bench.cores import machine
from bench.gateway import scratch
from purser.core.period import month_of
from purser.core.pricebook import read_price
from purser.flows import backtest, requests
from purser.inbound.world import SystemWorld
from purser.store.db import Database

_SOME = 10_000
_INDEXES = ("account_bill_month_model", "account_occurred_at", "writer_seq")


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.backtest", description=__doc__)
    parser.add_argument("--events", type=int, default=4_000_000, metavar="N")
    parser.add_argument("--quick", action="store_true", help="a quarter of them")
    options = parser.parse_args()
    count = options.events // (4 if options.quick else 1)
    print(f"{machine()}\n")
    with scratch() as folder:
        tables.progress(f"making {count:,} events")
        _make(folder / "books.db", count)
        month, new = month_of(SystemWorld().now()), {"input": "0.50", "cached_input": "0.05", "output": "5"}
        db = Database(f"sqlite:///{folder}/books.db")
        tables.progress("rating them anew")
        began = time.perf_counter()
        found = backtest.run(db, month, {books.MODEL: read_price(books.MODEL, new)}, processes=os.cpu_count() or 1)
        took = time.perf_counter() - began
        db.dispose()
    events, differing = sum(each.events for each in found.sums), sum(each.differing for each in found.sums)
    if events < count or differing:
        raise RuntimeError(f"{events:,} of {count:,} events were rated, {differing:,} differ")
    rows = [[tables.count(events), f"{took:.1f} s", tables.count(events / took)]]
    print(f"A month rated anew\n\n{tables.table(['events', 'took', 'events/s'], rows)}\n")


def _make(path: Path, count: int) -> None:
    """Settle some events, and copy them with other quantities and the charge that those have."""
    with books.open_books(f"sqlite:///{path}") as own:
        names = [f"account-{n}" for n in range(100)]
        own.open_accounts(names)
        own.take(names)
        due = books.events(names, _SOME, "x")
        for first in range(0, _SOME, 500):
            some = due[first : first + 500]
            own.queue.run(lambda tx, some=some: requests.settle_and_take(tx, some, []))  # type: ignore[misc]
    conn = sqlite3.connect(path)
    conn.execute("PRAGMA synchronous = off")
    for name in _INDEXES:
        conn.execute(f"DROP INDEX ix_usage_events_{name}")
    columns = [row[1] for row in conn.execute("PRAGMA table_info(usage_events)")]
    values = {name: f'e."{name}"' for name in columns} | {"id": "'c' || :n || '-' || e.id", "held": "1000000000000"}
    values["quantities"] = "json_object('input_tokens', i, 'cached_input_tokens', c, 'output_tokens', o)"
    values["cost"] = "i * 950 + c * 160 + o * 4000"  # at bench.gateways.PRICE
    drawn = "abs(random() % 4000) + 1 AS i, abs(random() % 900) + 1 AS c, abs(random() % 800) + 1 AS o"
    conn.execute(f"CREATE TEMP TABLE some AS SELECT *, {drawn} FROM usage_events")
    spelt = ", ".join(f'"{name}"' for name in columns)
    for n in range(1, count // _SOME):
        conn.execute("UPDATE some SET i = abs(random() % 4000) + 1, o = abs(random() % 800) + 1")
        conn.execute(
            f"INSERT INTO usage_events ({spelt}) SELECT {', '.join(values[name] for name in columns)} FROM some e",
            {"n": n},
        )
    conn.commit()
    conn.close()


if __name__ == "__main__":
    main()
