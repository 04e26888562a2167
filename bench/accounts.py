"""What reads of the control plane take with a million accounts in the database, and what memory the gateway then has.

`python -m bench.accounts [--accounts N] [--postgresql]`. A hundred accounts are opened and used as customers' are:
credit, keys, usage of two models over two months, an invoice, a card; then each is copied with all its rows under other
names. Every read is asked over HTTP, one after the other on one connection, each time for another account drawn at
random from all; beside it stands the same with the hundred alone.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import random
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench import load, postgres, tables
from bench.cores import machine, resident_bytes
from bench.gateway import scratch
from bench.gateways import Gateway, call, model_server, purser
from purser.store import schema
from purser.store.db import Database

_TEMPLATES = 100
_REQUESTS = 6  # of each template, each month and model
_READS = 400
_COPIES_AT_ONCE = 100
_LEFT_OUT = (schema.changes, schema.claims, schema.leases, schema.signups)  # of running processes, or of an address
_SECRETS = {"digest"}  # unique over all accounts: each copy has its own
# What programs and pages ask most, {a} for the account.
_PATHS = (
    "/v1/accounts/{a}",
    "/v1/accounts/{a}/balance",
    "/v1/accounts/{a}/quotas",
    "/v1/accounts/{a}/users",
    "/v1/accounts/{a}/users/owner/apiKeys",
    "/v1/accounts/{a}/billing/summary?startTime=2026-04-01T00:00:00Z&endTime=2026-04-11T00:00:00Z",
    "/v1/accounts/{a}/usage?groupBy=model",
    "/v1/accounts/{a}/invoices",
    "/v1/accounts/{a}/invoices:preview",
    "/v1/accounts/{a}/explain",
    "/v1/accounts/{a}/auditLogs",
    "/v1/accounts?pageSize=50",
    '/v1/accounts?pageSize=50&filter=email="{a}@example.com"',
)
_KEYS = 100  # of as many accounts, new for the measurement


def main() -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m bench.accounts", description=__doc__)
    parser.add_argument("--accounts", type=int, default=1_000_000, metavar="N")
    parser.add_argument("--postgresql", action="store_true", help="on PostgreSQL instead of SQLite")
    options = parser.parse_args()
    copies = max(1, options.accounts // _TEMPLATES) - 1
    kind = "PostgreSQL" if options.postgresql else "SQLite"
    with scratch() as folder, model_server(0) as server, _database(folder, options.postgresql) as url:
        operator_key = f"op_{'0' * 48}"

        @contextmanager
        def serving() -> Iterator[Gateway]:
            more = {"PURSER_CLOCK": "manual", "PURSER_CLOCK_START": "2026-03-20T00:00:00Z"}
            with purser(folder, server.url, url, operator_key=operator_key, account=False, more=more) as ours:
                yield ours

        tables.progress(f"opening {_TEMPLATES} accounts on {kind} and using them over two months")
        with serving() as ours:
            names = _open_accounts(ours, load.write_body(folder, "JSON"))
        few = _measure(serving, url, names, kind)
        _copy(url, names, copies)
        everyone = [f"{name}{suffix}" for suffix in ("", *(f"-{n}" for n in range(copies))) for name in names]
        many = _measure(serving, url, everyone, kind)
    head = ["", f"{len(names):,} accounts: p50", "p99", f"{len(everyone):,} accounts: p50", "p99"]
    rows = [[name, *few[name], *many[name]] for name in many]
    print(f"Reads of the control plane on {kind}; {machine()}\n\n{tables.table(head, rows)}\n")


@contextmanager
def _database(folder: Path, postgresql: bool) -> Iterator[str]:
    if not postgresql:
        yield f"sqlite:///{folder}/purser.db"
        return
    with postgres.database() as url:
        yield url


def _open_accounts(ours: Gateway, body: Path) -> list[str]:
    """Accounts with what customers have; answers their names."""
    names = [f"customer-{n:03}" for n in range(_TEMPLATES)]
    keys = {}
    for n, name in enumerate(names):
        opening = {"id": name, "email": f"{name}@example.com", "signupCreditUsd": "1"}
        keys[name] = call(ours.url, ours.operator_key, "POST", "/operator/v1/accounts", opening)["apiKey"]["key"]
        if n % 3 == 0:
            path = f"/v1/accounts/{name}/paymentMethods"
            call(ours.url, ours.operator_key, "POST", path, {"token": "pm_card_visa"})
    raw = body.read_bytes()
    for month in ("2026-03", "2026-04"):
        if month != "2026-03":
            call(ours.url, ours.operator_key, "POST", "/operator/v1/clock:advance", {"to": f"{month}-10T00:00:00Z"})
        for name, model, _ in itertools.product(names, (b"bench", b"counted"), range(_REQUESTS)):
            _ask(ours.url, keys[name], "POST", load.PATH, raw.replace(b'"bench"', b'"%b"' % model))
    return names


def _ask(url: str, key: str, method: str, path: str, raw: bytes | None = None) -> None:
    line = http.client.HTTPConnection(url.removeprefix("http://"), timeout=60)
    try:
        _ask_on(line, key, method, path, raw)
    finally:
        line.close()


def _ask_on(line: http.client.HTTPConnection, key: str, method: str, path: str, raw: bytes | None = None) -> float:
    """Ask, and insist on an answer; answers how long it took, seconds."""
    headers = {"authorization": f"Bearer {key}", "content-type": "application/json"}
    began = time.perf_counter()
    line.request(method, path, raw, headers)
    answer = line.getresponse()
    said = answer.read()
    took = time.perf_counter() - began
    if answer.status != 200:
        raise RuntimeError(f"{method} {path}: {answer.status} {said[:500]!r}")
    return took


# ── many accounts ────────────────────────────────────────────────────────────────────────────────────────────────────
def _copy(url: str, names: list[str], copies: int) -> None:
    """Copy every row of these accounts so many times, each time under another name."""
    db = Database(url)
    try:
        for first in range(0, copies, _COPIES_AT_ONCE):
            tables.progress(f"{(first + 1) * len(names):,} accounts")
            numbers = {"first": first, "last": min(copies, first + _COPIES_AT_ONCE) - 1, "names": names}
            with db.engine.begin() as conn:
                for table in schema.metadata.sorted_tables:
                    if table not in _LEFT_OUT and ("account" in table.c or table is schema.accounts):
                        conn.execute(_copying(table, db.is_sqlite), numbers)
        if not db.is_sqlite:  # as its autovacuum does by itself, a little later
            with db.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as conn:
                conn.exec_driver_sql("VACUUM ANALYZE")
    finally:
        db.dispose()


def _copying(table: sa.Table, is_sqlite: bool) -> Any:
    whose = "id" if table is schema.accounts else "account"
    series = (
        "WITH RECURSIVE k(n) AS (SELECT :first UNION ALL SELECT n + 1 FROM k WHERE n < :last)"
        if is_sqlite
        else "WITH k(n) AS (SELECT generate_series(CAST(:first AS integer), CAST(:last AS integer)))"
    )
    secret = "randomblob(32)" if is_sqlite else "decode(md5(random()::text) || md5(random()::text), 'hex')"

    def value(column: sa.Column[Any]) -> str:
        if column.name == whose:
            return f"t.\"{whose}\" || '-' || k.n"
        if column.name == "email":
            return f"t.\"{whose}\" || '-' || k.n || '@example.com'"
        if column.name in _SECRETS and table is schema.keys:
            return secret
        if table is schema.accounts and column.name == "created_at":
            return 't."created_at" + k.n'
        return f't."{column.name}"'

    columns = ", ".join(f'"{column.name}"' for column in table.c)
    values = ", ".join(map(value, table.c))
    words = f"{series} INSERT INTO {table.name} ({columns}) SELECT {values} FROM {table.name} t CROSS JOIN k"
    if is_sqlite:
        words = f"INSERT INTO {table.name} ({columns}) {series} SELECT {values} FROM {table.name} t CROSS JOIN k"
    return sa.text(f'{words} WHERE t."{whose}" IN :names').bindparams(sa.bindparam("names", expanding=True))


# ── asking ───────────────────────────────────────────────────────────────────────────────────────────────────────────
def _measure(serving: Any, url: str, names: list[str], kind: str) -> dict[str, list[str]]:
    """What each read takes, the middle and the slowest in a hundred, and the gateway's memory."""
    chance = random.Random(7)
    found: dict[str, list[str]] = {}
    with serving() as ours:
        assert ours.pid is not None
        before = resident_bytes(ours.pid)
        line = http.client.HTTPConnection(ours.url.removeprefix("http://"), timeout=60)
        for path in _PATHS:
            tables.progress(f"{len(names):,} accounts on {kind}: {path}")
            took = []
            for name in chance.choices(names, k=_READS):
                took.append(_ask_on(line, ours.operator_key, "GET", path.format(a=name)) * 1e6)
                if sum(took) > 60e6:
                    break
            found[path] = _middle_and_slowest(took[5:])
        some = chance.sample(names, min(_KEYS, len(names)))
        paths = [f"/v1/accounts/{name}/users/owner/apiKeys" for name in some]
        keys = [call(ours.url, ours.operator_key, "POST", path, {})["key"] for path in paths]
        for words in ("a key that was not seen before", "the same keys once more"):
            found[f"/verifyApiKey, {words}"] = _middle_and_slowest(
                [_ask_on(line, key, "GET", "/verifyApiKey") * 1e6 for key in keys]
            )
        line.close()
        found["memory of the worker before, after"] = [
            tables.mebibytes(before),
            tables.mebibytes(resident_bytes(ours.pid)),
        ]
    return found


def _middle_and_slowest(micros: list[float]) -> list[str]:
    ordered = sorted(micros)
    slow = ordered[min(len(ordered) - 1, len(ordered) * 99 // 100)]
    return [f"{each / 1000:.1f} ms" for each in (statistics.median(ordered), slow)]


if __name__ == "__main__":
    main()
