"""A small real database for tests: four accounts over three months, every row of it written by the flows."""

from __future__ import annotations

import random
import re
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import msgspec
import sqlalchemy as sa

from purser.core import rating
from purser.core.adaptive import GENERATED, PROMPT, Custom
from purser.core.budget import WEEKLY, Budget
from purser.core.credits import PURCHASED
from purser.core.deployment import Scaling
from purser.core.lease import GROUP
from purser.core.limits import CONTRACT, POSTPAID, PREPAID
from purser.core.message import ALERT, INVOICE_FAILED, MAIL
from purser.core.money import parse_usd
from purser.core.period import SECOND, month_of, parse_instant
from purser.core.policy import Policy
from purser.core.pricebook import in_force
from purser.core.records import DATASETS, MODELS
from purser.core.standing import BLOCKED
from purser.core.usage import AMOUNT, INPUT, quantities
from purser.flows import (
    abuse,
    access,
    accounts,
    alerts,
    audit_log,
    budgets,
    codes,
    credits,
    deployments,
    holds,
    invitations,
    invoicing,
    limit_requests,
    metering,
    modes,
    outbox,
    payments,
    people,
    pricing,
    profiles,
    records,
    requests,
    setup,
    token_limits,
    usage_limits,
    webhooks,
)
from purser.flows.lessee import Lessee
from purser.store import abuse as abuse_rows
from purser.store import invoices, prices, spent
from purser.store import payments as payment_rows
from purser.store import people as people_rows
from purser.store.audit_log import Act
from purser.store.db import Database, Row
from purser.store.deployments import Deployment
from purser.store.headroom import RowKey
from purser.store.holds import Held
from purser.store.upgrade import upgrade
from purser.store.usage import QUARANTINED, SETTLED, Event
from purser.store.writers import Writer, close_writer
from tests import databases
from tests.store import dumps

PRICES = {
    "tiny": {"input": "0.20", "output": "0.80"},
    "large": {"input": "0.95", "cached_input": "0.16", "output": "4.00"},
}
BY_OPERATOR = Act(
    "", "op_1", "op_1", "POST /operator/v1/accounts/{account}:suspend", "", "req_1", "curl/8", "127.0.0.1"
)
BY_ADA = Act("ada", "owner", "key_1", "PATCH /v1/accounts/{account}/quotas/{quota}", "", "req_2", "curl/8", "127.0.0.1")
CARD = payments.Card("pm_card_visa", "visa", "4242", 12, 2034, "fingerprint")


class World:
    """Billing time set by hand, and chance that is the same every time."""

    def __init__(self) -> None:
        self.at = parse_instant("2026-03-01T09:00:00Z")
        self._random = random.Random(7)

    def now(self) -> int:
        return self.at

    def wall(self) -> int:
        return self.at

    def entropy(self, bits: int) -> int:
        return self._random.getrandbits(bits)


class Books:
    """A database with one or more writers; requests go through leases as the gateway's do."""

    def __init__(self, url: str, pid: int = 1) -> None:
        self.db = Database(url)
        upgrade(self.db)
        self.world = World()
        self.writer = self.open_writer(pid)
        self.lessee = Lessee()
        self.writer.run(lambda tx: setup.prepare(tx, PRICES, "x" * 32))

    def open_writer(self, pid: int) -> Writer:
        return Writer(self.db, self.world, Policy(), host="here", pid=pid)

    def close(self) -> None:
        self.writer.close()
        self.db.dispose()

    def day(self, text: str) -> None:
        self.world.at = parse_instant(f"{text}T09:00:00Z")

    def event(
        self,
        account: str,
        id_: str,
        used: tuple[int, int, int],
        *,
        model: str = "tiny",
        hold: int | None = None,
        state: str = SETTLED,
    ) -> Event:
        """What `used` (prompt, cached, output tokens) costs now within a hold."""
        with self.db.read() as conn:
            book = in_force(prices.list_books(conn), self.world.at)
        assert book is not None
        counts = quantities(*used)
        exact = rating.rate(counts, book.models[model])
        held = exact.amount_nanos + 500 if hold is None else hold
        charge = rating.rate(counts, book.models[model], held)
        month = month_of(self.world.at)
        settled = state == SETTLED
        return Event(
            account, "gateway", id_, model, "owner", "key_1", self.world.at, month, month, book.version, counts,
            charge.parts, charge.amount_nanos if settled else 0, held, charge.clamped_nanos if settled else 0,
            False, state,
        )  # fmt: skip

    def settle(self, *events: Event, writer: Writer | None = None, lessee: Lessee | None = None) -> None:
        """Hold each event's money from leases, then settle all of them in one commit."""
        writer, lessee = writer or self.writer, lessee or self.lessee
        holds = []
        for event in events:
            keys = requests.path(event.account, event.month, event.budgets)
            needs = lessee.needs(keys, event.held_nanos, event.held_nanos, 1_000_000)
            if needs:
                taken = writer.run(lambda tx, needs=needs: requests.take_headroom(tx, needs))  # type: ignore[misc]
                assert taken.short is None, f"{event.account} has too little for {event.id}"
                lessee.apply(taken)
            details = (event.id, event.account, event.month, event.version, event.held_nanos, event.budgets)
            holds.append(lessee.hold(*details))
        writer.run(lambda tx: requests.settle(tx, events))
        for hold, event in zip(holds, events, strict=True):
            lessee.settled(hold, event.cost_nanos, self.world.at)

    def report(self, account: str, id_: str, prompt: int, output: int, occurred: str | None = None) -> None:
        """Usage reported after the fact."""
        at = None if occurred is None else parse_instant(f"{occurred}T12:00:00Z")
        event = metering.Reported(account, "api", id_, "tiny", quantities(prompt, 0, output), at)
        assert self.writer.run(lambda tx: metering.record(tx, event))

    def close_month(self, month: str) -> None:
        """Give back what is leased for the month, and close it for everybody."""
        returns = self.lessee.start_returns(month_of(self.world.at), 0)
        self.writer.run(lambda tx: requests.give_back(tx, returns))
        self.lessee.end_returns(returns)
        with self.db.read() as conn:
            todo = invoicing.list_to_close(conn, month)
        for account in todo:
            self.writer.run(lambda tx, account=account: invoicing.close_account_month(tx, account, month))  # type: ignore[misc]
        self.writer.run(lambda tx: invoicing.finish_month(tx, month))

    def start_charges(self) -> None:
        """Write the payments for the invoices whose charge is due."""
        for account in self.writer.run(payments.list_due):
            self.writer.run(lambda tx, account=account: payments.start_due_charges(tx, account))  # type: ignore[misc]

    def answer_payments(self, *, declining: str = "") -> None:
        """The provider answers every payment that waits; one account's card is declined."""
        with self.db.read() as conn:
            waiting: list[Row] = payment_rows.list_to_send(conn)
        for row in waiting:
            if row.account == declining:
                self.writer.run(lambda tx, row=row: payments.record_decline(tx, row.account, row.id, "card_declined"))  # type: ignore[misc]
            else:
                charge = f"test_{row.id}"
                self.writer.run(
                    lambda tx, row=row, charge=charge: payments.record_success(tx, row.account, row.id, charge)  # type: ignore[misc]
                )


def tell_story(books: Books) -> None:
    """Three months of four accounts: ada pays by card, bob prepays, acme has a contract, cyd's card is declined."""
    run = books.writer.run
    run(lambda tx: accounts.open_account(tx, "ada", "ada@example.com"))
    run(lambda tx: accounts.open_account(tx, "bob", "bob@example.com", billing_mode=PREPAID))
    run(lambda tx: accounts.open_account(tx, "acme", "acme@example.com", billing_mode=CONTRACT))
    run(lambda tx: accounts.open_account(tx, "cyd", "cyd@example.com"))
    run(lambda tx: alerts.set_wish(tx, "ada", [parse_usd("3.00"), parse_usd("45.00")], True))
    run(lambda tx: webhooks.add_endpoint(tx, "cyd", "https://example.com/hooks", [INVOICE_FAILED, ALERT]))
    gone, _ = run(lambda tx: webhooks.add_endpoint(tx, "cyd", "https://example.com/gone"))
    run(lambda tx: webhooks.remove_endpoint(tx, "cyd", gone))
    run(lambda tx: modes.set_mode(tx, "acme", POSTPAID))
    run(lambda tx: modes.set_mode(tx, "acme", CONTRACT))
    run(lambda tx: profiles.change(tx, "ada", {"name": "Ada Works", "country": "DE", "tax_id": "DE123456789"}))
    _march(books)
    _april(books)
    _may(books)


def _march(books: Books) -> None:
    run = books.writer.run
    books.settle(books.event("ada", "r1", (120, 0, 120)), books.event("ada", "r2", (900, 300, 70), model="large"))
    books.settle(books.event("ada", "r3", (100, 0, 900), hold=500_000), books.event("bob", "r4", (50, 0, 10)))
    books.settle(books.event("ada", "r5", (10, 0, 10), state=QUARANTINED))
    run(lambda tx: payments.add_method(tx, "ada", CARD))
    run(lambda tx: payments.add_method(tx, "cyd", CARD))
    expiry = parse_instant("2026-03-20T00:00:00Z")
    run(lambda tx: credits.give_credit(tx, "ada", parse_usd("2.00"), expires_at=expiry))
    run(lambda tx: credits.give_credit(tx, "bob", parse_usd("5.00"), kind=PURCHASED))
    books.day("2026-03-10")
    books.report("ada", "e1", 10_000_000, 1)
    books.report("bob", "e2", 1_000_000, 1_000_000)
    books.report("acme", "e3", 10_000_007, 3)
    books.report("cyd", "e4", 0, 37_500_000)
    second, other = books.open_writer(2), Lessee()
    books.settle(books.event("ada", "s1", (40, 0, 40)), writer=second, lessee=other)
    run(lambda tx: close_writer(tx, second.id))
    second.open = False
    second.close()
    payment = run(lambda tx: payments.start_purchase(tx, "ada", parse_usd("1.00"), None))
    assert payment.startswith("pay_")
    books.answer_payments()
    books.day("2026-03-20")
    run(lambda tx: credits.give_credit(tx, "bob", parse_usd("0.30"), expires_at=books.world.at + SECOND))
    books.day("2026-03-21")
    run(lambda tx: credits.expire(tx, "bob"))
    run(lambda tx: credits.expire(tx, "ada"))
    books.report("ada", "e5", 2_000_003, 1_000_001)


def _april(books: Books) -> None:
    run = books.writer.run
    books.day("2026-04-01")
    books.close_month("2026-03")
    books.start_charges()
    books.answer_payments(declining="cyd")
    run(lambda tx: pricing.publish(tx, {"tiny": {"input": "0.10", "output": "0.70"}}))
    books.settle(books.event("ada", "r6", (333, 0, 77)), books.event("acme", "r7", (1_000, 0, 555)))
    books.report("ada", "e6", 100, 100, "2026-03-30")
    books.report("acme", "e7", 9_000_001, 1)
    payment = run(lambda tx: payments.start_purchase(tx, "ada", parse_usd("20.00"), None))
    assert payment.startswith("pay_")
    books.answer_payments()
    made = run(lambda tx: codes.make(tx, parse_usd("3.00"), redemptions=5, credit_days=400, display_name="spring"))
    run(lambda tx: codes.redeem(tx, "bob", made.code))
    run(lambda tx: codes.note_failure(tx, "bob"))
    run(lambda tx: payments.add_method(tx, "acme", CARD))
    with books.db.read() as conn:
        (bill,) = invoices.list_unpaid(conn, "acme")
    run(lambda tx: payments.start_invoice_payment(tx, "acme", bill.id))
    books.answer_payments()
    run(audit_log.told(BY_OPERATOR, lambda tx: accounts.suspend(tx, "cyd", BLOCKED, "scraping")))
    run(audit_log.told(BY_ADA, lambda tx: accounts.set_limit(tx, "ada", "40")))
    _guard(books)


def _guard(books: Books) -> None:
    """Cyd is blocked by a rule as well, whoever comes from here looks odd, and a rule has ended."""
    run = books.writer.run
    run(lambda tx: abuse.add(tx, "ACCOUNT", "cyd", "BLOCKED", "scraping"))
    run(lambda tx: abuse.add(tx, "IP", "127.0.0.0/8", "SUSPICIOUS", "one of ours"))
    ended = run(lambda tx: abuse.add(tx, "DOMAIN", "example.net", "BLOCKED", "by mistake"))
    run(lambda tx: abuse.end(tx, ended.rule))
    run(lambda tx: abuse_rows.insert_due(tx.conn, "bob"))


def _may(books: Books) -> None:
    for account in ("ada", "bob"):
        books.writer.run(lambda tx, account=account: alerts.look(tx, account))  # type: ignore[misc]
    _carry_messages(books)
    books.day("2026-05-01")
    books.close_month("2026-04")
    books.start_charges()
    books.answer_payments(declining="cyd")
    books.settle(books.event("ada", "r8", (500, 0, 50)), books.event("bob", "r9", (5, 0, 5)))
    _spend_on_a_budget(books)
    books.settle(books.event("ada", "r10", (800, 500, 50), model="large"), books.event("acme", "r11", (5, 0, 5)))
    _come_and_go(books)
    _deploy(books)
    _hold_by_api(books)


def _carry_messages(books: Books) -> None:
    """Some mails went out, some were refused for now or for good."""
    claimed = books.writer.run(lambda tx: outbox.claim_due(tx, MAIL, 5, 2))
    for n, each in enumerate(claimed):
        if n:
            books.writer.run(lambda tx, each=each, n=n: outbox.record_failure(tx, each, "full", 452, final=n > 1))  # type: ignore[misc]
        else:
            books.writer.run(lambda tx, each=each: outbox.record_sent(tx, each, 250))  # type: ignore[misc]


def _hold_by_api(books: Books) -> None:
    """Three jobs that run elsewhere: one is settled in dollars, one was called off, one still runs."""
    run = books.writer.run
    for job in ("hold_1", "hold_2", "hold_3"):
        made = run(lambda tx, job=job: holds.place(tx, job, "ada", "tiny", {INPUT: 2_000_000}, 600))  # type: ignore[misc]
        assert isinstance(made, Held)
    run(lambda tx: holds.void(tx, "hold_2"))
    run(lambda tx: holds.settle(tx, "hold_1", {AMOUNT: parse_usd("0.15")}))


def _deploy(books: Books) -> None:
    """Ada runs a model of her own on two replicas, then on one, has some GPUs reserved, and had another one before."""
    run = books.writer.run
    run(lambda tx: pricing.publish(tx, {"NVIDIA_L4_24GB": {"gpu_hour": "0.07"}}))
    for id_ in ("gone", "own"):
        new = Deployment(
            "ada", id_, "llama", "NVIDIA_L4_24GB", 1, Scaling(1, 2), 0, 0, "Own", "for tests", created_by="o"
        )
        run(lambda tx, new=new: deployments.create(tx, new))  # type: ignore[misc]
        run(lambda tx, id_=id_: deployments.scale(tx, "ada", id_, 2))  # type: ignore[misc]
        run(lambda tx, id_=id_: deployments.report(tx, "ada", id_, deployments.Report(ready=2, loads={"default": 700})))  # type: ignore[misc]
        books.world.at += 77 * SECOND
        run(lambda tx, id_=id_: deployments.scale(tx, "ada", id_, 1))  # type: ignore[misc]
        if id_ == "gone":
            run(lambda tx: deployments.delete(tx, "ada", "gone"))
    start = books.world.at
    run(lambda tx: deployments.reserve(tx, "ada", "NVIDIA_H100_80GB", 2, start, start + 1_000 * SECOND))
    run(lambda tx: deployments.set_quota(tx, "ada", "NVIDIA_L4_24GB", 16))


def _spend_on_a_budget(books: Books) -> None:
    """Ada's owner makes a key that may spend ten dollars a week, and uses it."""
    key = books.writer.run(lambda tx: access.create_key(tx, "ada", "owner", display_name="ci")).id
    budget = Budget(parse_usd("10.00"), WEEKLY)
    books.writer.run(lambda tx: budgets.set_budget(tx, "ada", key, budget))
    event = books.event("ada", "b1", (700, 0, 70))
    row = budgets.row_key("ada", key, budget, books.world.at)
    books.settle(msgspec.structs.replace(event, key=key, budgets=(row,)))
    books.writer.run(lambda tx: spent.follow(tx.conn))
    _spend_under_a_cap(books, key)


def _spend_under_a_cap(books: Books, key: str) -> None:
    """Her group's members may spend seven dollars a month each, and she does some of it."""
    run = books.writer.run
    run(lambda tx: usage_limits.create_tier(tx, "ada", "few", parse_usd("7.00")))
    run(lambda tx: usage_limits.assign(tx, "ada", "research", "few"))
    run(lambda tx: usage_limits.set_user(tx, "ada", "owner", override=None, groups=["research"], keep_override=True))
    run(lambda tx: token_limits.set_custom(tx, "ada", "tiny", {PROMPT: Custom(90_000), GENERATED: Custom(None)}))
    adapter = {"displayName": "Support", "peftDetails": {"baseModel": "b", "r": 8, "targetModules": ["q_proj"]}}
    run(lambda tx: records.create(tx, "ada", MODELS, "support", adapter, "owner"))
    chats = {"format": "CHAT", "exampleCount": "12", "estimatedTokenCount": "9000"}
    run(lambda tx: records.create(tx, "ada", DATASETS, "chats", chats, "owner"))
    run(lambda tx: records.remove(tx, "ada", DATASETS, "chats", None))
    asked = run(lambda tx: limit_requests.ask(tx, "ada", "owner", parse_usd("9.00"), "until Friday"))
    run(lambda tx: limit_requests.reject(tx, "ada", asked, "not now", ""))
    row = RowKey("ada", GROUP, "owner/MONTHLY/2026-05")
    books.settle(msgspec.structs.replace(books.event("ada", "c1", (300, 0, 30)), key=key, budgets=(row,)))


def _come_and_go(books: Books) -> None:
    """Ada asks for a link and invites somebody, dan signs up, and somebody signs out."""
    run, url = books.writer.run, "http://127.0.0.1:8080"
    run(lambda tx: people.ask_to_sign_in(tx, "ada@example.com", "127.0.0.1", url))
    run(lambda tx: invitations.invite(tx, "ada", "eve@example.com", "user", "owner", url))
    books.writer.policy = Policy(sign_up=True)
    run(lambda tx: people.ask_to_sign_up(tx, "dan+1@example.com", "127.0.0.1", url))
    with books.db.read() as conn:
        body = conn.execute(sa.text("SELECT body FROM outbox WHERE target = 'dan+1@example.com'")).scalar_one()
    secret = body.partition("token=")[2].split()[0]
    assert run(lambda tx: people.sign_up(tx, secret, "dan")) is not None
    books.writer.policy = Policy()
    until = books.world.at + SECOND
    run(lambda tx: people_rows.end_session(tx.conn, "0" * 32, until, books.world.at))


def copy(db: Database, to: Path) -> Database:
    """A copy of a database as it is now, leases, open writers and all."""
    if db.is_sqlite:
        with closing(sqlite3.connect(db.path)) as source, closing(sqlite3.connect(to)) as target:
            source.backup(target)
        return Database(databases.at(to))
    copied = Database(databases.at(to))
    dumps.put(copied, dumps.take(db))
    return copied


@contextmanager
def behind(db: Database) -> Iterator[sa.Connection]:
    """A connection behind everybody's back, no constraint in the way."""
    with db.engine.connect() as conn:
        if db.is_sqlite:
            conn.exec_driver_sql("PRAGMA ignore_check_constraints = ON")
        else:
            checks = "SELECT conrelid::regclass, conname FROM pg_constraint WHERE contype = 'c'"
            for table, name in conn.exec_driver_sql(f"{checks} AND connamespace = 'public'::regnamespace").all():
                conn.exec_driver_sql(f"ALTER TABLE {table} DROP CONSTRAINT {name}")
        conn.commit()
        yield conn


def change(db: Database, *statements: str) -> None:
    """Change a database behind everybody's back; each statement changes something."""
    with behind(db) as conn, conn.begin():
        for statement in statements:
            spelt = statement if db.is_sqlite else re.sub(r"x'(\w*)'", r"'\\x\1'", statement)
            assert conn.exec_driver_sql(spelt).rowcount, f"nothing changed by {statement}"
