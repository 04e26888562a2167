"""Everything at once: clients leave, engines fail, limits, prices and months change; the books add up."""

from __future__ import annotations

import json
import random
import socket
import threading
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from purser.core.errors import PurserError
from purser.core.lease import CREDIT
from purser.core.period import parse_instant
from purser.core.policy import Policy
from purser.flows import accounts, credits, payments, pricing
from purser.flows.payments import Card
from purser.store import headroom
from tests.gateway.rig import Rig, running

FAULTS = ["", "", "", "", "refuse", "status=500", "cut-after=3", "hang-after=2", "garbage", "no-usage", "ignore-cap=90"]
FAULTS += ["bad-usage=negative", "error-after=4", "truncate", "split", "usage-with-choice"]
OUR_FAULT = -500
CARD = Card("pm_card_visa", "visa", "4242", 12, 2034, "fp")


def request(rig: Rig, key: str, chance: random.Random) -> bytes:
    """A request as bytes, any of many shapes."""
    body: dict[str, Any] = {
        "model": chance.choice(["tiny", "dear", "dear"]),
        "messages": [{"role": "user", "content": f"go [[tokens={chance.randrange(1, 80)}]] [[pace=400]]"}],
        "stream": chance.random() < 0.6,
    }
    if chance.random() < 0.7:
        body["max_tokens"] = chance.randrange(1, 120)
    if chance.random() < 0.2:
        body["n"] = 3
    raw = json.dumps(body).encode()
    lines = [b"POST /v1/chat/completions HTTP/1.1", b"host: here", b"connection: close"]
    lines += [b"authorization: Bearer " + key.encode(), b"content-length: %d" % len(raw)]
    fault = chance.choice(FAULTS)
    if fault:
        lines.append(b"x-model-fail: " + fault.encode())
    if chance.random() < 0.2:
        lines.append(b"x-request-id: mine-%d" % chance.randrange(30))
    if chance.random() < 0.2:
        lines.append(b"x-purser-fit: refuse")
    return b"\r\n".join(lines) + b"\r\n\r\n" + raw


def client(rig: Rig, keys: list[str], seed: int, statuses: list[int]) -> None:
    """Sends request after request; sometimes leaves in the middle of the answer."""
    chance = random.Random(seed)
    for _ in range(25):
        with socket.create_connection(("127.0.0.1", rig.port)) as line:
            line.settimeout(20)
            line.sendall(request(rig, chance.choice(keys), chance))
            patience = chance.choice([10**9, 10**9, 10**9, 0, 500, 3000])
            got = b""
            try:
                while len(got) < patience and (data := line.recv(4096)):
                    got += data
            except ConnectionError:
                continue
            if got.startswith(b"HTTP/1.1 "):
                statuses.append(int(got[9:12]) if b"internal_error" not in got else OUR_FAULT)


def meddle(rig: Rig, chance: random.Random, until: threading.Event) -> None:
    """Changes limits, prices, standing and credit all the while."""
    acts = [
        lambda tx: accounts.set_limit(tx, "ada", str(chance.randrange(0, 50))),
        lambda tx: accounts.suspend(tx, "bob", "BLOCKED_BY_ABUSE_RULE", "odd"),
        lambda tx: accounts.reinstate(tx, "bob"),
        lambda tx: credits.give_credit(tx, "bob", chance.randrange(1, 300_000_000)),
        lambda tx: pricing.publish(tx, {"dear": {"input": "20.00", "output": f"{chance.randrange(1, 90)}.00"}}),
    ]
    while not until.wait(0.05):
        try:
            rig.write(chance.choice(acts))
        except PurserError:
            continue


@pytest.mark.parametrize("seed", [1, 2])
def test_whatever_happens_at_once_the_books_add_up_and_nothing_is_left_held(tmp_path: Path, seed: int) -> None:
    policy = Policy(requests_per_minute=10**6, requests_per_minute_unverified=10**6, slice_tokens=16)
    with running(tmp_path, policy) as rig:
        bob = rig.write(partial(accounts.open_account, account="bob", email="bob@example.com"))
        rig.write(lambda tx: payments.add_method(tx, "ada", CARD))
        statuses: list[int] = []
        until = threading.Event()
        meddler = threading.Thread(target=meddle, args=(rig, random.Random(seed), until))
        threads = [
            threading.Thread(target=client, args=(rig, [rig.key, bob.secret], 1000 * seed + n, statuses))
            for n in range(12)
        ]
        meddler.start()
        for thread in threads:
            thread.start()
        threads[0].join()
        rig.world.at = parse_instant("2026-04-01T00:00:00Z")
        for thread in threads:
            thread.join()
        until.set()
        meddler.join()
        assert rig.eventually(lambda: rig.on_loop(lambda: rig.server.running) == 0)
        check(rig, statuses)


def check(rig: Rig, statuses: list[int]) -> None:
    """Nothing is held, memory agrees with the store, and every status is one that a client can make sense of."""
    lessee = rig.gateway.cashier.lessee
    assert rig.eventually(lambda: rig.on_loop(lambda: lessee.count_open()) == 0)
    assert set(statuses) <= {200, 402, 409, 412, 500, 502, 504}, statuses
    assert statuses.count(200) > 30
    for name in ("ada", "bob"):
        assert rig.balance(name).held == 0
        events = rig.events(name)
        assert all(event.cost <= event.held for event in events)
        with rig.db.read() as conn:
            used = headroom.get_used(conn, headroom.credit_key(name))
        assert used == sum(event.cost for event in events)
        shares = rig.on_loop(partial(seen, rig, name))
        assert all(held == 0 for _, held in shares.values())
        with rig.db.read() as conn:
            leased = {key: headroom.get_spare(conn, key) for key in shares}
        assert all(leased[key] >= spare or key.kind != CREDIT for key, (spare, _) in shares.items())
    assert rig.on_loop(lambda: rig.gateway.claims._running) == set()
    assert rig.on_loop(lambda: rig.gateway.running) == 0
    assert not rig.on_loop(lambda: bool(rig.gateway.cashier._waiters))


def seen(rig: Rig, account: str) -> dict[headroom.RowKey, tuple[int, int]]:
    """What is spare and what is held of an account's leases, as this process sees it; call on the loop."""
    shares = rig.gateway.cashier.lessee._shares.get(account, {})
    return {key: (share.spare + share.returning, share.held) for key, share in shares.items()}
