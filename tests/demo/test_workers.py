"""Four workers on one database: one dollar is one dollar, a worker may die, and every change reaches all of them."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path

import pytest

from purser.store.db import Database
from tests.demo.load import Load
from tests.demo.program import PATIENCE, Answer, Caller, Program, demo, eventually


@contextmanager
def caller_on_each(program: Program, key: str) -> Iterator[list[Caller]]:
    """A client on each worker, each of which has answered it, so that none has anything left to look up."""
    callers = list(program.caller_per_worker(key).values())
    try:
        for caller in callers:
            assert caller.chat("hello", model="tiny").status == 200
        yield callers
    finally:
        for caller in callers:
            caller.close()


Reached = Callable[..., None]


@pytest.fixture
def check_reached(record_property: Callable[[str, object], None]) -> Reached:
    """Insists that every worker soon answers as it should after a change, and goes on doing so; notes how soon."""

    def check(what: str, callers: list[Caller], seen: Callable[[Answer], bool], model: str = "tiny") -> None:
        def all_do() -> bool:
            return all(seen(caller.chat("hello", model=model, max_tokens=1)) for caller in callers)

        began = time.monotonic()
        assert eventually(all_do, PATIENCE), what
        record_property(f"{what} has reached every worker", f"{time.monotonic() - began:.2f} s")
        assert all_do(), what

    return check


def refused(answer: Answer) -> bool:
    """Whether the account is suspended."""
    return answer.status == 412


def served(answer: Answer) -> bool:
    return answer.status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_a_crowd_on_one_dollar_spends_it_and_nothing_more(workers: Program, stream: bool) -> None:
    workers.price("grand", "40")
    account = f"crowd-{stream}".lower()
    key = workers.open(account)
    load = Load()
    load.run(workers, key, stream=stream)
    load.run(workers, key, stream=stream, clients=1)
    assert (load.odd, load.broken) == ([], 0)
    assert Decimal("0.98") <= load.total <= 1
    assert workers.spent(account) == load.total
    assert workers.booked(account) == load.acknowledged
    assert Decimal(workers.balance(account)["creditUsd"]) == 1 - load.total


@pytest.mark.parametrize("stream", [False, True])
def test_a_worker_killed_under_load_loses_nothing_that_was_acknowledged(workers: Program, stream: bool) -> None:
    """The others serve on, a new one comes, and what the dead one had set aside is spendable again by itself."""
    workers.price("grand", "40")
    account = f"killed-{stream}".lower()
    key = workers.open(account)
    load, before = Load(), workers.workers()

    def kill_one() -> None:
        assert eventually(lambda: load.total > Decimal("0.2"), 60)
        os.kill(before[2], signal.SIGKILL)
        count = len(load.acknowledged)
        assert eventually(lambda: len(load.acknowledged) > count, PATIENCE)  # the others serve on
        load.stop.set()

    load.run(workers, key, stream=stream, clients=32, meanwhile=kill_one)
    assert eventually(lambda: before[2] not in open_writers(workers), PATIENCE)
    assert eventually(lambda: len(set(workers.workers()) - {before[2]}) == len(before), 5 * PATIENCE)
    load.stop.clear()
    load.run(workers, key, stream=stream, clients=4)
    load.run(workers, key, stream=stream, clients=1)
    assert load.odd == []
    booked = workers.booked(account)
    assert load.acknowledged.items() <= booked.items()
    lost = sum(booked.values()) - load.total  # settled, but its answer died with the worker
    assert workers.spent(account) == sum(booked.values()) <= 1
    assert len(booked) - len(load.acknowledged) <= load.broken
    assert load.total + lost >= Decimal("0.98")
    assert workers.balance(account)["heldUsd"] == "0.00"
    for caller in workers.caller_per_worker(key).values():  # the new one serves too
        assert caller.call("GET", "/verifyApiKey").status == 200
        caller.close()


def spend_the_rest(program: Program, account: str, key: str, load: Load, dollars: int) -> None:
    """Use up what an account has left: all that was acknowledged is billed, once, and all but a crumb was spendable."""
    assert eventually(lambda: sorted(open_writers(program)) == sorted(program.workers()), 60)
    assert program.violations() == []
    program.price("grand", "1000")
    load.stop.clear()
    for clients in (4, 1, 1, 1):  # a little may lie with a worker that is not asked
        load.run(program, key, clients=clients)
    booked, spent = program.booked(account), program.spent(account)
    assert load.odd == []
    assert load.acknowledged.items() <= booked.items()
    assert len(booked) - len(load.acknowledged) <= load.broken
    assert Decimal("0.98") * dollars <= sum(booked.values()) == spent <= dollars
    assert program.balance(account)["heldUsd"] == "0.00"
    assert program.violations() == []


@pytest.mark.long  # tests/crash kills as many in every run, and looks closer
def test_twenty_workers_killed_at_random_under_load(tmp_path: Path) -> None:
    """Whatever they were doing: nothing acknowledged is lost or billed twice, and what they had leased comes back."""
    chance = random.Random(20)
    with demo(tmp_path, "--workers", "4") as program:
        program.price("grand", "40")
        key = program.open("random", "50.00")
        load = Load()

        def kill_twenty() -> None:
            assert eventually(lambda: load.total > 0, 60)
            for _ in range(20):
                threading.Event().wait(chance.uniform(0.1, 1.2))
                assert eventually(lambda: len(program.workers()) >= 3, 60)
                os.kill(chance.choice(program.workers()), signal.SIGKILL)
            load.stop.set()

        load.run(program, key, clients=16, meanwhile=kill_twenty)
        spend_the_rest(program, "random", key, load, 50)


@pytest.mark.postgresql
def test_writers_whose_sessions_the_server_ends_lose_nothing(tmp_path: Path) -> None:
    """They go on in a new session, or stop where another closed them or a commit's outcome is unknown."""
    with demo(tmp_path, "--workers", "4") as program:
        program.price("grand", "40")
        key = program.open("sessions", "20.00")
        load = Load()

        def end_sessions() -> None:
            for n in range(1, 4):
                assert eventually(lambda n=n: load.total > n * Decimal("0.3"), 60)  # type: ignore[misc]
                assert end_writers_sessions(program) > 0
            load.stop.set()

        load.run(program, key, clients=16, meanwhile=end_sessions)
        spend_the_rest(program, "sessions", key, load, 20)


def end_writers_sessions(program: Program) -> int:
    """End the sessions in which writers show that they live; answers how many there were."""
    db = Database(program.database_url)
    with db.engine.begin() as conn:
        ended = conn.exec_driver_sql(
            "SELECT pg_terminate_backend(l.pid) FROM pg_locks l JOIN writers w ON w.id = l.objid "
            "WHERE w.state = 'open' AND l.locktype = 'advisory' AND l.granted AND l.pid <> pg_backend_pid() "
            "AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        ).rowcount
    db.dispose()
    return ended


def open_writers(program: Program) -> list[int]:
    """The processes that hold leases."""
    writers = program.operate("GET", "/operator/v1/leases")["writers"]
    return [writer["pid"] for writer in writers if writer["state"] == "open"]


def test_a_revoked_key_ends_in_every_worker(workers: Program, check_reached: Reached) -> None:
    workers.open("revokes")
    path = "/v1/accounts/revokes/users/owner/apiKeys"
    made = workers.operate("POST", path, {"apiKey": {"displayName": "second"}})
    with caller_on_each(workers, made["key"]) as callers:
        workers.operate("POST", f"{path}:delete", {"keyId": made["keyId"]})
        check_reached("a revocation", callers, lambda answer: answer.status == 401)


def test_a_suspension_and_its_end_reach_every_worker(workers: Program, check_reached: Reached) -> None:
    with caller_on_each(workers, workers.open("blocks")) as callers:
        path = "/operator/v1/accounts/blocks"
        workers.operate("POST", f"{path}:suspend", {"cause": "BLOCKED_BY_ABUSE_RULE", "reason": "a test"})
        check_reached("a suspension", callers, refused)
        workers.operate("POST", f"{path}:reinstate")
        check_reached("a reinstatement", callers, served)


def test_a_limit_reaches_every_worker(workers: Program, check_reached: Reached) -> None:
    """A limit below what is used suspends at once; a higher one lifts that at once (L5, U4)."""
    key = workers.open("limits")
    workers.card("limits")
    with caller_on_each(workers, key) as callers:
        path = "/v1/accounts/limits/quotas/monthly-spend-usd"
        workers.operate("PATCH", path, {"value": "0"})
        check_reached("a lower limit", callers, refused)
        workers.operate("PATCH", path, {"value": "50"})
        check_reached("a higher limit", callers, served)


def deplete(workers: Program, key: str, callers: list[Caller]) -> None:
    """Use an account's credit until it is suspended for that."""
    Load().run(workers, key, clients=8)
    assert eventually(lambda: refused(callers[0].chat("hello", model="tiny", max_tokens=200)), 60)


def test_a_card_lifts_depletion_in_every_worker(workers: Program, check_reached: Reached) -> None:
    key = workers.open("cards", "0.10")
    with caller_on_each(workers, key) as callers:
        deplete(workers, key, callers)
        check_reached("depletion", callers, refused)
        workers.card("cards")
        check_reached("a card", callers, served)


def test_a_top_up_reaches_every_worker(workers: Program, check_reached: Reached) -> None:
    key = workers.open("top-ups", "0.10")
    with caller_on_each(workers, key) as callers:
        deplete(workers, key, callers)
        workers.operate("POST", "/operator/v1/accounts/top-ups/grants", {"amountUsd": "1.00"})
        check_reached("a top-up", callers, served)


def test_a_price_reaches_every_worker(workers: Program, check_reached: Reached) -> None:
    key = workers.open("prices")
    with caller_on_each(workers, key) as callers:
        for dollars in ("3", "5"):
            workers.price("grand", dollars)
            rate = Decimal(dollars) * Decimal("0.000001")

            def at_the_new_price(answer: Answer, rate: Decimal = rate) -> bool:
                return answer.cost == int(answer.json["usage"]["total_tokens"]) * rate

            check_reached("a price", callers, at_the_new_price, "grand")


def test_changes_arrive_while_all_workers_are_busy(workers: Program) -> None:
    """The same under load: within the second that U4 and X2 give, with patience for a busy machine."""
    workers.price("grand", "40")
    key = workers.open("busy", "5.00")
    load = Load()
    found: list[float] = []

    def revoke() -> None:
        assert eventually(lambda: len(load.acknowledged) > 200, 60)
        path = "/v1/accounts/busy/apiKeys"
        [own] = workers.operate("GET", path)["apiKeys"]
        workers.operate("POST", f"{path}:delete", {"keyId": own["keyId"]})
        end = time.monotonic() + PATIENCE
        while time.monotonic() < end and len(load.odd) < 16:
            threading.Event().wait(0.02)
        found.append(end - time.monotonic())
        load.stop.set()

    load.run(workers, key, clients=16, meanwhile=revoke)
    assert [answer.status for answer in load.odd] == [401] * 16
    assert workers.spent("busy") == load.total


def test_months_turn_under_load(tmp_path: Path) -> None:
    """Each request is on exactly one invoice, whichever worker took it and however near to midnight (D1, D2)."""
    with demo(tmp_path, "--workers", "4", "--clock", "manual", "--clock-start", "2026-03-31T23:59:59Z") as program:
        program.price("grand", "40")
        key = program.open("turns")
        program.card("turns")
        acknowledged = Decimal(0)
        for month, stream in (("2026-04", False), ("2026-05", True)):
            load = Load()

            def turn(month: str = month, load: Load = load) -> None:
                assert eventually(lambda: len(load.acknowledged) > 200, 60)
                program.operate("POST", "/operator/v1/clock:advance", {"to": f"{month}-01T00:00:00Z"})
                count = len(load.acknowledged)
                assert eventually(lambda: len(load.acknowledged) > count + 50, 60)
                load.stop.set()

            load.run(program, key, clients=16, stream=stream, meanwhile=turn)
            assert {answer.status for answer in load.odd} <= {503}  # a month that closed under a request's feet
            acknowledged += load.total
        program.operate("POST", "/operator/v1/clock:advance", {"to": "2026-06-01T00:00:00Z"})
        invoices = program.operate("GET", "/v1/accounts/turns/invoices")["invoices"]
        assert [invoice["month"] for invoice in invoices] == ["2026-05", "2026-04", "2026-03"]
        assert sum(Decimal(invoice["subtotalUsd"]) for invoice in invoices) == acknowledged
        assert sum(program.booked("turns").values()) == acknowledged
        assert program.violations() == []
