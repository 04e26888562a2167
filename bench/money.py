"""The check after the benchmark: every answer billed once, each at its exact price, and the books in order."""

from __future__ import annotations

import http.client
import json
import socket
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.gateways import ACCOUNT, PRICE, Gateway, call
from bench.load import PATH
from bench.upstream import CACHED_TOKENS, OUTPUT_TOKENS, PROMPT_TOKENS


@dataclass(frozen=True, slots=True)
class Billed:
    """What the books hold: events at the price of a whole answer, all others, and what all of them cost."""

    whole: int
    others: int
    nanos: int


def price_of_one() -> int:
    """What the canned usage costs, nano-dollars: a dollar per million tokens is a thousand of them per token."""
    per_token = {unit: round(float(price) * 1000) for unit, price in PRICE.items()}
    fresh = PROMPT_TOKENS - CACHED_TOKENS
    counts = {"input": fresh, "cached_input": CACHED_TOKENS, "output": OUTPUT_TOKENS}
    return sum(count * per_token[unit] for unit, count in counts.items())


def read_billed(database: Path) -> Billed:
    """What the books of a SQLite file hold."""
    books = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        query = "SELECT sum(cost = ? AND state = 'settled' AND NOT estimated), count(*), sum(cost) FROM usage_events"
        whole, events, nanos = books.execute(query, (price_of_one(),)).fetchone()
    finally:
        books.close()
    return Billed(whole or 0, events - (whole or 0), nanos or 0)


def ask_one_by_one(gateway: Gateway, body: Path, times: int) -> int:
    """Ask so often, head and body in one piece, and read every answer to its end; answers how many were 200."""
    host, _, port = gateway.url.removeprefix("http://").partition(":")
    raw = body.read_bytes()
    head = f"POST {PATH} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {gateway.key}\r\n"
    head += f"content-type: application/json\r\ncontent-length: {len(raw)}\r\n\r\n"
    served = 0
    with socket.create_connection((host, int(port)), timeout=60) as line:
        for _ in range(times):
            line.sendall(head.encode() + raw)
            answer = http.client.HTTPResponse(line, method="POST")
            answer.begin()
            answer.read()
            served += answer.status == 200
    return served


def check_books(gateway: Gateway, database: Path, answered: int, most_cut_off: int) -> list[str]:
    """What is wrong with the money, nothing where it is right.

    `answered` are the whole answers that the load counted; besides them there may be at most `most_cut_off`, which
    were under way when a round ended: they are billed for what came, or whole where the end was on its way already.
    """
    wrong = []
    billed = read_billed(database)
    if not answered <= billed.whole <= answered + most_cut_off:
        wrong.append(f"{billed.whole:,} events at the whole price for {answered:,} whole answers")
    if billed.others > most_cut_off:
        wrong.append(f"{billed.others:,} other events, more than the {most_cut_off:,} requests cut off")
    balance = call(gateway.url, gateway.operator_key, "GET", f"/v1/accounts/{ACCOUNT}/balance")
    spent = round(float(balance["spentThisMonthUsd"]) * 1e9)
    if spent != billed.nanos:
        wrong.append(f"the account has spent {spent} nano-dollars, its events sum to {billed.nanos}")
    audit: dict[str, Any] = call(gateway.url, gateway.operator_key, "POST", "/operator/v1/audit")
    if audit["violations"]:
        wrong.append(f"the audit found {json.dumps(audit['violations'])[:400]}")
    return wrong
