"""A re-adder that shares nothing with the product: csv, Fraction and a few lines."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from pathlib import Path

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
REAL = [DATA / "azure-llm-2023-conv.csv", DATA / "azure-llm-2023-code.csv"]
USD = 10**9
PRICE = {"input": "0.20", "cached_input": "0.10", "output": "0.80"}


@dataclass
class Sums:
    requests: int = 0
    refused: int = 0
    input: int = 0
    output: int = 0
    nanos: int = 0
    suspended_at: str = ""


def add(trace: Iterable[tuple[str, int, int]], accounts: int = 1, limit: int | None = None) -> list[Sums]:
    """What each account is charged for rows of (time, input, output) at PRICE, within one month."""
    sums = [Sums() for _ in range(accounts)]
    for i, (at, given, made) in enumerate(trace):
        own = sums[i % accounts]
        cost = round(Fraction(given * 2 + made * 8, 10 * 10**6) * USD)
        refused = bool(own.suspended_at) or (limit is not None and own.nanos + cost > limit)
        if refused:
            own.refused += 1
        else:
            own.requests, own.input, own.output = own.requests + 1, own.input + given, own.output + made
            own.nanos += cost
        left = USD if limit is None else limit - own.nanos
        if not own.suspended_at and (left < 100_000 or (refused and left < 1_000_000)):
            own.suspended_at = at
    return sums


def real_rows() -> list[tuple[str, int, int]]:
    rows = []
    for path in REAL:
        with path.open(newline="") as file:
            rows += [
                (datetime.fromisoformat(row["TIMESTAMP"][:26]), int(row["ContextTokens"]), int(row["GeneratedTokens"]))
                for row in csv.DictReader(file)
            ]
    rows.sort(key=lambda row: row[0])
    return [(at.isoformat() + "Z", given, made) for at, given, made in rows]
