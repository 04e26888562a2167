"""Headroom at its edges: months that close meanwhile, amounts beyond counting, and the sweep that judges anew."""

from __future__ import annotations

from functools import partial
from typing import Any

import pytest

from purser.core.errors import Broken, Invalid, Unavailable
from purser.core.money import LARGEST_NANOS, Rate
from purser.core.period import MINUTE, parse_instant
from purser.core.rating import rate
from purser.core.standing import CREDIT_DEPLETED, DUST_NANOS
from purser.flows import closing, credits, invoicing, requests, standing
from purser.flows.requests import Need
from purser.store import accounts, headroom
from purser.store.writers import Writer
from tests.flows.books import USD, World, open_account, open_books, use


def take(writer: Writer, account: str, month: str, nanos: int) -> requests.Taken:
    """Take exactly so much on an account's path."""
    keys = requests.path(account, month)
    return writer.run(lambda tx: requests.take_headroom(tx, [Need(key, nanos, nanos, nanos) for key in keys]))


def test_a_month_that_was_closed_meanwhile_gives_no_headroom() -> None:
    with open_books() as (writer, world):
        writer.run(lambda tx: open_account(tx, "ada", credit=10 * USD))
        writer.run(lambda tx: use(tx, "ada", 1))
        world.at = parse_instant("2026-04-01T00:00:00Z")
        assert take(writer, "ada", "2026-03", USD).given, "the month is over, but its bill is not written"
        writer.run(lambda tx: requests.give_back(tx, [(key, USD) for key in requests.path("ada", "2026-03")]))
        assert writer.run(lambda tx: invoicing.close_account_month(tx, "ada", "2026-03"))
        with pytest.raises(Unavailable, match="2026-03 has just been closed"):
            take(writer, "ada", "2026-03", USD)
        assert take(writer, "ada", "2026-04", USD).given


def test_what_cannot_be_counted_is_not_taken() -> None:
    with open_books() as (writer, _):
        writer.run(lambda tx: open_account(tx, "bob", "contract"))
        with pytest.raises(Invalid, match="more than one account can owe"):
            take(writer, "bob", "2026-03", LARGEST_NANOS + 1)
        taken = take(writer, "bob", "2026-03", LARGEST_NANOS)
        assert set(taken.given.values()) == {LARGEST_NANOS}
        with pytest.raises(Invalid, match="more than one account can owe"):
            take(writer, "bob", "2026-03", 1)


def test_what_is_forgiven_is_counted_up_to_what_can_be_kept() -> None:
    charge = rate({"output_tokens": 10**12}, {"output_tokens": Rate(10**15, 10**6)}, 500)
    assert (charge.amount_nanos, charge.clamped_nanos) == (500, LARGEST_NANOS)


# ── what others want ─────────────────────────────────────────────────────────────────────────────────────────────
def wanted(writer: Writer) -> list[str]:
    """The kinds of the rows of which others want this writer's spare."""
    with writer.db.read() as conn:
        return [key.kind for key in headroom.list_wanted(conn, writer.owner)]


def test_everybody_returns_spare_until_there_is_enough() -> None:
    with open_books() as (first, world):
        second, third = (Writer(first.db, world, first.policy, host="here", pid=pid) for pid in (2, 3))
        first.run(lambda tx: open_account(tx, "ada", credit=10 * USD))
        keys = requests.path("ada", "2026-03")
        for writer in (first, second):
            assert take(writer, "ada", "2026-03", 4 * USD).given
        short = take(third, "ada", "2026-03", 9 * USD)
        assert (short.given, short.short, short.others) == ({}, keys[0], True)
        assert [wanted(writer) for writer in (first, second)] == [["credit"], ["credit"]]
        first.run(lambda tx: requests.give_back(tx, [(key, 4 * USD) for key in keys]))
        assert wanted(second) == ["credit"], "the second has not heard of it yet"
        second.run(lambda tx: requests.give_back(tx, [(key, 3 * USD) for key in keys]))
        assert take(third, "ada", "2026-03", 9 * USD).given, "H2: it is all there"
        assert wanted(second) == [], "and a dollar that the second holds is nobody's wish any more"
        assert take(third, "ada", "2026-03", USD).others
        third.run(lambda tx: requests.give_back(tx, [(key, 8 * USD) for key in keys]))
        assert wanted(second) == ["credit"], "the third may have asked for what the second has"
        second.run(lambda tx: requests.give_back(tx, [(keys[0], USD)]))
        third.run(lambda tx: requests.give_back(tx, [(keys[0], USD)]))
        assert take(second, "ada", "2026-03", 11 * USD).others is False
        assert wanted(third) == [], "nobody has any"
        second.close()
        third.close()


def test_what_was_wanted_a_minute_ago_is_asked_for_anew_or_not_at_all() -> None:
    with open_books() as (first, world):
        second = Writer(first.db, world, first.policy, host="here", pid=2)
        first.run(lambda tx: open_account(tx, "ada", credit=10 * USD))
        assert take(first, "ada", "2026-03", 4 * USD).given
        assert take(second, "ada", "2026-03", 9 * USD).others
        world.at += MINUTE
        first.run(closing.tidy)
        assert wanted(first) == ["credit"]
        world.at += 1
        first.run(closing.tidy)
        assert wanted(first) == []
        second.close()


# ── the sweep ────────────────────────────────────────────────────────────────────────────────────────────────────
def sweep(writer: Writer, world: World, seen: dict[int, int]) -> tuple[list[str], dict[int, int]]:
    """Whom the worker would judge anew."""
    with writer.db.read() as conn:
        return standing.list_to_judge(conn, world.now(), DUST_NANOS, seen)


def forget_causes(writer: Writer, account: str) -> None:
    """As if a commit had not judged."""
    writer.run(lambda tx: accounts.lift_cause(tx.conn, account, CREDIT_DEPLETED, tx.now))


def test_the_sweep_finds_who_is_spent_and_looks_only_at_those_with_new_usage() -> None:
    with open_books(audited=False) as (writer, world):
        for name in ("ada", "bob", "cyd"):
            writer.run(partial(open_account, account=name, credit=5 * USD))
        writer.run(lambda tx: use(tx, "ada", 5))
        forget_causes(writer, "ada")
        found, seen = sweep(writer, world, {})
        assert found == ["ada"], "the first look is at everybody"
        assert sweep(writer, world, seen)[0] == [], "nobody used anything since"
        writer.run(lambda tx: use(tx, "bob", 5, "u2"))
        writer.run(lambda tx: use(tx, "cyd", 1, "u3"))
        forget_causes(writer, "bob")
        found, seen = sweep(writer, world, seen)
        assert found == ["bob"]
        writer.run(lambda tx: standing.sweep(tx, found))
        with writer.db.read() as conn:
            assert [row.cause for row in accounts.list_open_causes(conn, "bob")] == [CREDIT_DEPLETED]
        assert sweep(writer, world, {})[0] == ["ada"], "who is suspended for it is not judged again and again"


def test_the_sweep_counts_what_leases_have_spare_and_forgets_old_months() -> None:
    with open_books(audited=False) as (writer, world):
        writer.run(lambda tx: open_account(tx, "ada", credit=5 * USD))
        assert take(writer, "ada", "2026-03", 5 * USD).given
        assert sweep(writer, world, {})[0] == [], "all is leased, nothing used"
        writer.run(lambda tx: open_account(tx, "bob", "prepaid", credit=500 * USD))
        writer.run(lambda tx: accounts.update_account(tx.conn, "bob", limit_nanos=5 * USD))
        writer.run(lambda tx: standing.refresh(tx, "bob"))
        writer.run(lambda tx: use(tx, "bob", 5, "u2"))
        world.at = parse_instant("2026-04-02T00:00:00Z")
        found, seen = sweep(writer, world, {})
        assert found == ["bob"], "its limit's cause is of a month that is over"
        writer.run(lambda tx: standing.sweep(tx, found))
        assert sweep(writer, world, {})[0] == [], "and March, spent to the end, is nobody's concern any more"
        assert len(seen) == 1


def test_many_accounts_are_looked_at_in_parts() -> None:
    with open_books(audited=False) as (writer, _):
        writer.run(lambda tx: open_account(tx, "ada"))
        forget_causes(writer, "ada")
        names = sorted([f"none-{n}" for n in range(1200)] + ["ada"])
        with writer.db.read() as conn:
            assert headroom.list_nearly_spent(conn, DUST_NANOS, "2026-03", names) == ["ada"]


# ── the writer ───────────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.sqlite  # a checkpoint moves the write-ahead log of a file
def test_a_checkpoint_that_fails_is_no_reason_to_write_again(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_books() as (writer, _):
        writer.run(lambda tx: open_account(tx, "ada"))

        real: Any = writer._conn.connection.driver_connection

        class Failing:
            def execute(self, statement: str, *values: Any) -> Any:
                if "wal_checkpoint" in statement:
                    raise OSError("disk full")
                return real.execute(statement, *values)

            def __getattr__(self, name: str) -> Any:
                return getattr(real, name)

        monkeypatch.setattr(writer.db, "in_memory", False)
        monkeypatch.setattr(writer, "_since_checkpoint", 10**6)
        monkeypatch.setattr(type(writer._conn.connection), "driver_connection", Failing())
        with pytest.raises(Broken, match="checkpoint"):
            writer.run(lambda tx: credits.give_credit(tx, "ada", USD))
        monkeypatch.undo()
        with writer.db.read() as conn:
            assert sum(grant.remaining_nanos for grant in credits.remaining_grants(conn, "ada")) == USD, "committed"
