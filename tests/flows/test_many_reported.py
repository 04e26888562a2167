"""Usage reported in lists: each event stands for itself, an account's make one entry, and standing follows."""

from __future__ import annotations

from dataclasses import replace

import pytest
import sqlalchemy as sa

from purser.core.errors import Conflict, Invalid, NotFound, PurserError
from purser.core.period import DAY, parse_instant
from purser.core.policy import Policy
from purser.core.standing import CREDIT_DEPLETED
from purser.flows import metering
from purser.flows.metering import Reported
from purser.store import accounts, headroom, ledger
from purser.store import schema as t
from purser.store.headroom import credit_key, month_key
from purser.store.writers import Writer
from tests import statements
from tests.flows.books import USD, open_account, open_books

ADA = Reported("ada", "api", "a1", "tiny", {"input_tokens": 1}, parse_instant("2026-03-01T08:00:00Z"))


def report(writer: Writer, *events: Reported) -> list[object]:
    """What became of each: whether it was new, or the kind of error that refused it."""
    outcomes = writer.run(lambda tx: metering.record_all(tx, events))
    return [type(outcome) if isinstance(outcome, PurserError) else outcome for outcome in outcomes]


def test_each_event_stands_for_itself() -> None:
    with open_books() as (writer, world):
        writer.run(lambda tx: open_account(tx, "ada", credit=9 * USD))
        told = report(
            writer,
            ADA,
            replace(ADA, account="nobody"),
            replace(ADA, id="a2", model="unpriced"),
            ADA,
            replace(ADA, id="a3", quantities={"gpu_seconds": 1}),
            replace(ADA, quantities={"input_tokens": 2}),
            replace(ADA, id="a4", occurred_at=world.at + 2 * DAY),
            replace(ADA, id="a5", quantities={"output_tokens": 10**10}),
            replace(ADA, id="a6", occurred_at=None),
            replace(ADA, id="a6", occurred_at=None),
            replace(ADA, id="a7", quantities={}),
        )
        assert told == [True, NotFound, NotFound, False, NotFound, Conflict, Invalid, Invalid, True, False, True]
        with writer.db.read() as conn:
            assert headroom.get_used(conn, credit_key("ada")) == 2 * USD
            assert headroom.get_used(conn, month_key("ada", "2026-03")) == 2 * USD


def test_together_they_cannot_come_to_more_than_can_be_counted() -> None:
    most = replace(ADA, quantities={"input_tokens": 4 * 10**9})
    with open_books() as (writer, _):
        writer.run(lambda tx: open_account(tx, "ada"))
        assert report(writer, most, replace(most, id="a2"), replace(ADA, id="a3")) == [True, Invalid, True]


def test_what_is_billed_to_an_account_makes_one_entry_named_after_the_first_that_costs_something() -> None:
    events = [
        replace(ADA, id="free", quantities={"input_tokens": 0}),
        replace(ADA, account="bob", id="b1"),
        *(replace(ADA, id=f"a{n}", quantities={"input_tokens": n}) for n in (1, 2, 3)),
        replace(ADA, id="april", occurred_at=parse_instant("2026-04-01T00:00:00Z")),
    ]
    with open_books() as (writer, world):
        world.at = parse_instant("2026-03-31T23:00:00Z")
        for name in ("ada", "bob"):
            writer.run(lambda tx, name=name: open_account(tx, name, credit=100 * USD))  # type: ignore[misc]
        assert report(writer, *events) == [True] * 6
        with writer.db.read() as conn:
            settled = sa.select(t.transactions.c.account, t.transactions.c.key).where(
                t.transactions.c.kind == "settled"
            )
            assert sorted(map(tuple, conn.execute(settled))) == [("ada", "api/a1/settled"), ("bob", "api/b1/settled")]
            assert ledger.list_credited(conn, "ada", "api/a1/settled") == [
                ("revenue:2026-03", 6 * USD),
                ("revenue:2026-04", USD),
            ]
            of_events = sa.select(t.usage_events.c.id, t.usage_events.c.txn).where(t.usage_events.c.account == "ada")
            entries = dict(map(tuple, conn.execute(of_events)))
        assert entries.pop("free") is None
        assert set(entries.values()) == {"api/a1/settled"}


@pytest.mark.parametrize(("tokens", "suspended"), [(3, False), (4, True), (5, True)])
def test_whoever_it_brings_to_the_end_of_the_credit_is_suspended_in_the_same_commit(
    tokens: int, suspended: bool
) -> None:
    with open_books() as (writer, _):
        for name in ("ada", "bob"):
            writer.run(lambda tx, name=name: open_account(tx, name, credit=5 * USD))  # type: ignore[misc]
        rest = replace(ADA, id="a2", quantities={"input_tokens": tokens})
        assert report(writer, ADA, rest, replace(ADA, account="bob")) == [True] * 3
        with writer.db.read() as conn:
            causes = {name: [row.cause for row in accounts.list_open_causes(conn, name)] for name in ("ada", "bob")}
        assert causes == {"ada": [CREDIT_DEPLETED] if suspended else [], "bob": []}


def test_who_was_refused_below_the_threshold_is_judged_though_more_than_dust_is_left() -> None:
    """U7: a refusal while little was left counts as depleted once the rest falls below the threshold."""
    with open_books(Policy(depletion_threshold_nanos=3 * USD)) as (writer, _):
        writer.run(lambda tx: open_account(tx, "ada", credit=5 * USD))
        writer.run(lambda tx: headroom.set_refused(tx.conn, credit_key("ada"), True))
        assert report(writer, replace(ADA, quantities={"input_tokens": 3})) == [True]
        with writer.db.read() as conn:
            assert [row.cause for row in accounts.list_open_causes(conn, "ada")] == [CREDIT_DEPLETED]


def test_many_accounts_take_no_more_statements_than_a_few() -> None:
    """On PostgreSQL each one is a way to the server and back; SQLite's that go by row are counted by `executemany`."""
    with open_books() as (writer, _):
        names = [f"account-{n}" for n in range(40)]
        for name in names:
            writer.run(lambda tx, name=name: open_account(tx, name, credit=9 * USD))  # type: ignore[misc]
        report(writer, *(replace(ADA, account=name, id="first") for name in names))  # their months have rows now
        counts = []
        for some in (names[:2], names):
            asked: list[str] = []
            with statements.told(writer.db.engine, lambda sql, _, asked=asked: asked.append(sql)):  # type: ignore[misc]
                report(writer, *(replace(ADA, account=name, id=f"of {len(some)}") for name in some))
            counts.append(len(asked))
        assert counts[0] == counts[1] > 3
