"""The worker when things go wrong: answers lost, cards gone, an account broken, a clock that jumps (U4, U6, D2, D4)."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from purser.core.errors import Conflict, Insufficient, Invalid, Unavailable
from purser.core.money import LARGEST_NANOS
from purser.core.period import DAY, SECOND, parse_instant
from purser.core.policy import Policy
from purser.core.rating import Part
from purser.flows import accounts, audit, credits, invoicing, metering, payments, requests, setup, standing
from purser.flows.metering import Reported
from purser.flows.payments import Card
from purser.flows.requests import Need
from purser.inbound.worker import Worker
from purser.inbound.world import ManualWorld, SystemWorld, keep_clock
from purser.outbound.provider import Unreachable
from purser.outbound.testpay import TestProvider
from purser.store import accounts as account_rows
from purser.store import invoices
from purser.store import payments as payment_rows
from purser.store.db import Database
from purser.store.usage import Event
from purser.store.writers import Tx, Writer
from tests import databases
from tests.flows.books import USD

START = parse_instant("2026-03-01T09:00:00Z")
APRIL = parse_instant("2026-04-01T00:00:00Z")
AMEX = Card("pm_card_amex", "amex", "8431", 12, 2034, "fingerprint")


class Provider(TestProvider):
    """The test provider, which remembers what it took once per key, and whose answers may be lost."""

    def __init__(self) -> None:
        self.taken: dict[str, tuple[str, int]] = {}
        self.losing = False
        self.first: Callable[[str], None] = lambda key: None

    def charge(self, token: str, amount_nanos: int, key: str) -> str:
        self.first(key)
        answer = super().charge(token, amount_nanos, key)
        asked = self.taken.setdefault(key, (token, amount_nanos))
        assert asked == (token, amount_nanos), "the same key must ask for the same"
        if self.losing:
            raise Unreachable("the connection broke")
        return answer


class Shop:
    """Books in a database, with a worker, a provider and a clock set by hand; audited at the end."""

    def __init__(self, path: Path, world: SystemWorld | None = None) -> None:
        self.world = ManualWorld(START) if world is None else world
        self.db = Database(databases.at(path))
        self.writer = Writer(self.db, self.world, Policy(), host="here", pid=1)
        self.run = self.writer.run
        self.run(lambda tx: setup.prepare(tx, {"tiny": {"input": "1000000.00", "output": "1000000.00"}}, None))
        self.provider = Provider()
        self.worker = Worker(self.db, self.run, self.world, self.provider)

    def go(self, text: str) -> None:
        self.world.set(parse_instant(text))

    def open(self, account: str, *, card: bool = True, mode: str = "postpaid", credit: int = 0) -> str:
        """An account; answers its card."""
        email = f"{account}@example.com"
        self.run(
            lambda tx: accounts.open_account(tx, account, email, billing_mode=mode, signup_credit_nanos=credit * USD)
        )
        return self.worker.add_method(account, "pm_card_visa") if card else ""

    def use(self, account: str, dollars: int, id_: str = "u1", at: int | None = None) -> None:
        used = Reported(account, "api", id_, "tiny", {"input_tokens": dollars}, at)
        assert self.run(lambda tx: metering.record(tx, used))

    def remove(self, account: str, card: str) -> None:
        self.run(lambda tx: payments.remove_method(tx, account, card))

    def causes(self, account: str) -> list[str]:
        with self.db.read() as conn:
            return [row.cause for row in account_rows.list_open_causes(conn, account)]

    def states(self, account: str) -> list[str]:
        """Of every payment, oldest first."""
        with self.db.read() as conn:
            return [row.state for row in conn.exec_driver_sql("SELECT account, state FROM payments ORDER BY id")]

    def bills(self, account: str) -> list[tuple[str, str, int]]:
        """Month, state and total in dollars, newest first."""
        with self.db.read() as conn:
            return [(row.month, row.state, row.total // USD) for row in invoices.list_invoices(conn, account)]

    def credit(self, account: str) -> int:
        """In dollars."""
        with self.db.read() as conn:
            return sum(grant.remaining_nanos for grant in credits.remaining_grants(conn, account)) // USD

    def take(self, account: str, month: str, dollars: int) -> None:
        """Lease headroom, as a request does that begins."""
        amount = dollars * USD
        needs = [Need(key, amount, amount, amount) for key in requests.path(account, month)]
        assert self.run(lambda tx: requests.take_headroom(tx, needs)).short is None

    def settle(self, account: str, month: str, dollars: int, at: int) -> None:
        """End a request that has leased so much."""
        event = Event(
            account, "gateway", "r1", "tiny", "owner", None, at, month, month, 1, {"input_tokens": dollars},
            (Part("input_tokens", dollars, dollars * USD),), dollars * USD, dollars * USD,
        )  # fmt: skip
        self.run(lambda tx: requests.settle(tx, [event]))

    def close(self) -> None:
        with self.db.read() as conn:
            found = audit.audit(conn).violations
        self.writer.close()
        self.db.dispose()
        assert not found, found


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[Shop]:
    running = Shop(tmp_path / "purser.db")
    yield running
    running.close()


# ── answers lost, cards gone ─────────────────────────────────────────────────────────────────────────────────────
def test_a_purchase_that_the_provider_may_have_taken_is_asked_again_though_the_card_is_gone(shop: Shop) -> None:
    card = shop.open("ada")
    shop.provider.losing = True
    assert shop.worker.buy_credit("ada", 20 * USD).state == "sent"
    shop.remove("ada", card)
    shop.provider.losing = False
    shop.worker.run_due()
    assert (shop.credit("ada"), shop.states("ada"), len(shop.provider.taken)) == (20, ["succeeded"], 1), "D4"


def test_a_charge_that_the_provider_may_have_taken_is_not_made_twice_though_the_card_is_gone(shop: Shop) -> None:
    card = shop.open("ada")
    shop.use("ada", 30)
    shop.provider.losing = True
    shop.go("2026-04-01T00:00:00Z")
    shop.worker.run_due()
    shop.remove("ada", card)
    shop.worker.add_method("ada", "pm_card_amex")
    shop.provider.losing = False
    shop.worker.run_due()
    assert shop.bills("ada") == [("2026-03", "PAID", 30)]
    assert list(shop.provider.taken.values()) == [("pm_card_visa", 30 * USD)], "D4"


def test_a_purchase_not_yet_sent_ends_with_its_card(shop: Shop) -> None:
    card = shop.open("ada")
    payment = shop.run(lambda tx: payments.start_purchase(tx, "ada", 20 * USD, card))
    shop.run(lambda tx: payments.add_method(tx, "ada", AMEX))
    shop.remove("ada", card)
    with pytest.raises(Insufficient, match="no longer on file"):
        shop.worker.buy_credit("ada", 20 * USD, payment=payment)
    assert (shop.states("ada"), shop.provider.taken) == (["declined"], {})


@pytest.mark.parametrize(
    "others, state, causes", [(True, "PAID", []), (False, "FAILED", ["CREDIT_DEPLETED", "FAILED_PAYMENTS"])]
)
def test_a_charge_not_yet_sent_moves_to_the_default_card_or_fails(
    shop: Shop, others: bool, state: str, causes: list[str]
) -> None:
    card = shop.open("ada")
    shop.use("ada", 30)
    shop.go("2026-04-01T00:00:00Z")
    shop.run(lambda tx: invoicing.close_account_month(tx, "ada", "2026-03"))
    shop.run(lambda tx: payments.start_due_charges(tx, "ada"))
    if others:
        shop.run(lambda tx: payments.add_method(tx, "ada", AMEX))
    shop.remove("ada", card)
    shop.worker.run_due()
    assert shop.bills("ada") == [("2026-03", state, 30)]
    assert sorted(shop.causes("ada")) == causes, "U6"
    assert list(shop.provider.taken.values()) == ([("pm_card_amex", 30 * USD)] if others else [])


def test_a_payment_is_asked_for_by_one_at_a_time(shop: Shop) -> None:
    shop.open("ada")
    asking: list[str] = []
    at_once: list[int] = []
    begun = threading.Event()

    def ask(key: str) -> None:
        asking.append(key)
        at_once.append(len(asking))
        begun.set()
        threading.Event().wait(0.05)
        asking.remove(key)

    shop.provider.first = ask
    buyer = threading.Thread(target=shop.worker.buy_credit, args=("ada", 20 * USD))
    buyer.start()
    begun.wait(30)
    shop.worker.run_due()
    buyer.join()
    assert set(at_once) == {1}
    assert shop.credit("ada") == 20


# ── one goes wrong, the others go on ─────────────────────────────────────────────────────────────────────────────
def test_a_payment_that_cannot_be_recorded_stops_nobody_else(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    for account in ("ada", "bob", "cyd"):
        shop.open(account)
    shop.run(lambda tx: accounts.set_limit(tx, "cyd", "30"))
    shop.use("bob", 40)
    shop.use("cyd", 30)
    assert shop.causes("cyd") == ["MONTHLY_SPEND_LIMIT_EXCEEDED"]
    genuine = payments.record_success

    def record(tx: Tx, account: str, *rest: Any) -> None:
        if account == "ada":
            raise RuntimeError("ada's rows are beyond repair")
        genuine(tx, account, *rest)

    monkeypatch.setattr(payments, "record_success", record)
    assert shop.worker.buy_credit("ada", 5 * USD).state == "sent"
    shop.go("2026-04-01T00:00:00Z")
    shop.worker.run_due()
    assert shop.bills("bob") == [("2026-03", "PAID", 40)]
    assert shop.causes("cyd") == [], "U4"
    assert shop.worker.add_method("bob", "pm_card_amex")
    monkeypatch.undo()
    shop.worker.run_due()
    assert (shop.credit("ada"), shop.states("ada").count("succeeded")) == (5, 3)


@pytest.mark.parametrize("step", ["credits.expire", "invoicing.close_account_month", "payments.start_due_charges"])
def test_an_account_that_cannot_be_done_stops_nobody_else(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    for account in ("ada", "bob"):
        shop.open(account)
        shop.run(lambda tx, account=account: credits.give_credit(tx, account, USD, expires_at=APRIL))  # type: ignore[misc]
        shop.use(account, 31)
        shop.run(lambda tx, account=account: credits.give_credit(tx, account, USD, expires_at=APRIL))  # type: ignore[misc]
    module, _, name = step.partition(".")
    genuine = getattr({"credits": credits, "invoicing": invoicing, "payments": payments}[module], name)

    def fail(tx: Tx, account: str, *rest: Any, **more: Any) -> Any:
        if account == "ada":
            raise RuntimeError("ada's rows are beyond repair")
        return genuine(tx, account, *rest, **more)

    monkeypatch.setattr(f"purser.flows.{step}", fail)
    shop.go("2026-04-01T00:00:00Z")
    shop.worker.run_due()
    assert shop.bills("bob") == [("2026-03", "PAID", 30)]
    assert shop.credit("bob") == 0
    monkeypatch.undo()
    shop.worker.run_due()
    assert shop.bills("ada") == [("2026-03", "PAID", 30)]
    assert shop.credit("ada") == 0


def test_accounts_judged_together_with_a_broken_one_are_judged_all_the_same(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    for account in ("ada", "bob"):
        shop.open(account, mode="prepaid", credit=50)
        shop.run(lambda tx, account=account: accounts.set_limit(tx, account, "2"))  # type: ignore[misc]
        shop.use(account, 2)
    genuine = standing.sweep

    def sweep(tx: Tx, some: list[str]) -> None:
        if "ada" in some:
            raise RuntimeError("ada's rows are beyond repair")
        genuine(tx, some)

    monkeypatch.setattr(standing, "sweep", sweep)
    monkeypatch.setattr(Worker, "_close_months", lambda worker: None)
    shop.go("2026-04-01T00:00:00Z")
    shop.worker.run_due()
    assert (shop.causes("ada"), shop.causes("bob")) == (["MONTHLY_SPEND_LIMIT_EXCEEDED"], [])
    monkeypatch.undo()
    shop.worker.run_due()
    assert shop.causes("ada") == []


def test_more_than_an_account_can_hold_is_refused_before_it_is_charged(shop: Shop) -> None:
    shop.open("ada")
    shop.run(lambda tx: credits.give_credit(tx, "ada", LARGEST_NANOS - 30 * USD))
    with pytest.raises(Invalid, match="beyond what one account can hold"):
        shop.worker.buy_credit("ada", 31 * USD)
    shop.provider.losing = True
    shop.worker.buy_credit("ada", 20 * USD)
    with pytest.raises(Invalid, match="beyond what one account can hold"):
        shop.worker.buy_credit("ada", 20 * USD)
    assert len(shop.provider.taken) == 1
    shop.provider.losing = False
    shop.worker.run_due()
    assert shop.states("ada") == ["succeeded"]


def test_a_long_month_start_keeps_neither_the_suspended_nor_a_buyer_waiting(shop: Shop) -> None:
    """While a charge hangs at the provider, whoever a new month lets back in is in, and credit can be bought."""
    shop.open("ada", mode="prepaid", credit=50)
    shop.run(lambda tx: accounts.set_limit(tx, "ada", "2"))
    shop.use("ada", 2)
    shop.open("bob")
    shop.use("bob", 30)
    shop.worker.run_due()
    assert shop.causes("ada") == ["MONTHLY_SPEND_LIMIT_EXCEEDED"]
    hanging, go_on = threading.Event(), threading.Event()

    def hang(key: str) -> None:
        if not hanging.is_set():
            hanging.set()
            go_on.wait(60)

    shop.provider.first = hang
    shop.go("2026-04-01T00:00:00Z")
    turning = threading.Thread(target=shop.worker.run_due)
    turning.start()
    assert hanging.wait(60)
    assert shop.causes("ada") == [], "U4"
    assert shop.worker.buy_credit("ada", 5 * USD).state == "succeeded"
    assert shop.bills("bob") == [("2026-03", "ISSUED", 30)]
    go_on.set()
    turning.join()
    assert shop.bills("bob") == [("2026-03", "PAID", 30)]


# ── months ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_the_first_request_of_a_month_that_runs_over_midnight_is_invoiced(shop: Shop) -> None:
    shop.open("ada")
    shop.go("2026-03-31T23:59:00Z")
    shop.take("ada", "2026-03", 5)
    shop.go("2026-04-01T00:00:01Z")
    assert shop.worker.close_month("2026-03") == ["ada"]
    shop.settle("ada", "2026-03", 5, parse_instant("2026-03-31T23:59:00Z"))
    shop.worker.run_due()
    assert shop.bills("ada") == [("2026-03", "PAID", 5)], "D2"


def test_usage_reported_while_its_month_closes_is_invoiced(shop: Shop) -> None:
    for account in ("ada", "bob"):
        shop.open(account)
    shop.use("ada", 3)
    shop.go("2026-04-01T00:00:01Z")
    late = parse_instant("2026-03-31T12:00:00Z")
    waiting = shop.worker.close_month("2026-03", lambda done, total: shop.use("bob", 7, "late", late))
    assert waiting == ["bob"]
    shop.worker.run_due()
    assert shop.bills("bob") == [("2026-03", "PAID", 7)], "D2"


def test_the_audit_misses_no_month_that_is_closed_for_everybody(shop: Shop) -> None:
    shop.open("ada")
    shop.use("ada", 3)
    shop.run(lambda tx: account_rows.set_meta(tx.conn, metering.CLOSED_THROUGH, "2026-03"))
    with shop.db.read() as conn:
        found = [(one.check, one.where) for one in audit.audit(conn).violations]
    assert found == [("D2", "account ada, bill of 2026-03")]
    shop.run(lambda tx: account_rows.set_meta(tx.conn, metering.CLOSED_THROUGH, "2026-02"))


def test_no_later_month_is_closed_before_one_that_waits(shop: Shop) -> None:
    shop.open("ada")
    shop.use("ada", 11)
    shop.take("ada", "2026-03", 5)
    shop.go("2026-04-02T00:00:00Z")
    shop.worker.run_due()
    shop.use("ada", 2, "u2")
    shop.go("2026-05-02T00:00:00Z")
    with pytest.raises(Conflict, match="2026-03 comes first"):
        shop.worker.close_month("2026-04")
    with pytest.raises(Conflict, match="2026-03 is not closed for ada"):
        shop.run(lambda tx: invoicing.close_account_month(tx, "ada", "2026-04"))
    shop.settle("ada", "2026-03", 5, START)
    assert shop.worker.close_month("2026-04") == []
    shop.worker.run_due()
    assert shop.bills("ada") == [("2026-04", "PAID", 2), ("2026-03", "PAID", 16)]


# ── a clock that jumps ───────────────────────────────────────────────────────────────────────────────────────────
class Jumping(SystemWorld):
    """The system's clock as it is in March, set by somebody who errs."""

    def __init__(self) -> None:
        self.off = START - super().wall()

    def wall(self) -> int:
        return super().wall() + self.off


@pytest.mark.parametrize("days", [1, -1, 40])
def test_billing_time_goes_on_while_the_clock_is_set_forward_and_back(tmp_path: Path, days: int) -> None:
    """Requests stay in their month, and no credit lapses at admission either; put right, all is as it was."""
    world = Jumping()
    shop = Shop(tmp_path / "purser.db", world)
    shop.open("bob", mode="prepaid", credit=1)
    shop.run(lambda tx: credits.give_credit(tx, "bob", USD, expires_at=START + DAY // 2))
    before = world.now()
    world.off += days * DAY
    assert world.is_off()
    assert 0 <= world.now() - before < 3600 * SECOND
    needs = [Need(key, 1, 1, 1) for key in requests.path("bob", "2026-03")]
    assert shop.run(lambda tx: requests.take_headroom(tx, needs)).short is None
    shop.use("bob", 1)
    shop.worker.run_due()
    assert (shop.bills("bob"), shop.credit("bob")) == ([], 1)
    world.off -= days * DAY
    assert not world.is_off()
    assert abs(world.now() - world.wall()) < SECOND
    shop.run(lambda tx: requests.give_back(tx, [(need.key, 1) for need in needs]))
    shop.close()


def test_a_clock_that_jumps_turns_no_month_and_charges_nobody(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    world = Jumping()
    shop = Shop(tmp_path / "purser.db", world)
    shop.open("ada")
    shop.use("ada", 30)
    shop.open("bob", mode="prepaid", credit=50)
    shop.run(lambda tx: credits.give_credit(tx, "bob", USD, expires_at=START + DAY))
    world.off += 40 * DAY
    with caplog.at_level(logging.WARNING, logger="purser.worker"):
        shop.worker.run_due()
        shop.worker.run_due()
        with pytest.raises(Unavailable, match="jumped"):
            shop.worker.close_month("2026-03")
    assert [record.levelname for record in caplog.records] == ["ERROR"], "said once"
    assert (shop.bills("ada"), shop.credit("bob")) == ([], 51)
    shop.run(lambda tx: accounts.set_limit(tx, "bob", "1"))
    shop.use("bob", 1)
    assert shop.causes("bob") == ["MONTHLY_SPEND_LIMIT_EXCEEDED"]
    shop.run(lambda tx: accounts.set_limit(tx, "bob", "2"))
    assert shop.causes("bob") == []
    world.off -= 40 * DAY
    shop.worker.run_due()
    assert shop.bills("ada") == []
    shop.close()


def test_a_clock_that_is_set_by_hand_may_jump(shop: Shop) -> None:
    shop.open("ada")
    shop.use("ada", 30)
    shop.worker.advance(parse_instant("2026-04-10T00:00:00Z"))
    assert shop.bills("ada") == [("2026-03", "PAID", 30)]


def test_a_removed_card_stays_in_the_records(shop: Shop) -> None:
    card = shop.open("ada")
    shop.remove("ada", card)
    with shop.db.read() as conn:
        assert payment_rows.get_method(conn, "ada", card) is None
        kept = payment_rows.get_method(conn, "ada", card, removed=True)
    assert kept is not None
    assert kept.token == "pm_card_visa"


def test_a_process_behind_does_not_set_the_clock_of_all_back(shop: Shop) -> None:
    shop.worker.advance(parse_instant("2026-04-10T00:00:00Z"))
    shop.run(lambda tx: keep_clock(tx, START))
    other = ManualWorld(START)
    other.reload(shop.db)
    assert other.now() == parse_instant("2026-04-10T00:00:00Z")
