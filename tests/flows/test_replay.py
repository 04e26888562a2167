"""Replay against a re-adder that shares nothing with the product.

Covers M3, M4, A3, A5, A6, L3, L4, U1, U4, U7 and correctness B8, C4, C5, D1.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from purser.core.errors import Conflict, Invalid, NotFound
from purser.core.money import format_usd
from purser.core.period import DAY, format_instant, parse_instant
from purser.core.policy import Policy
from purser.core.pricebook import read_price
from purser.core.standing import LIMIT_EXCEEDED
from purser.core.trace import MOONCAKE, TraceRow, merge, read_trace, survey
from purser.flows.audit import audit
from purser.flows.replay import Moment, Plan, Replay, Report
from purser.inbound.world import ManualWorld
from purser.store import invoices
from purser.store.db import Database
from purser.store.writers import Writer
from tests import databases
from tests.flows.readding import PRICE, USD, add

START = parse_instant("2026-03-10T09:00:00Z")


# ── running the product ──────────────────────────────────────────────────────────────────────────────────────────
def plan(n: int = 1, *, credit: int = 0, limit: int | None = None, price: dict[str, str] | None = PRICE) -> Plan:
    names = ("ada", "bob", "cyd")[:n]
    return Plan("tiny", names, None if price is None else read_price("tiny", price), credit, limit)


def replay(
    path: Path,
    rows: Iterable[TraceRow],
    plan: Plan,
    *,
    most_at_once: int | None = None,
    pace: Callable[[int], None] | None = None,
) -> Report:
    """Replay rows into the database at `path`, then check every invariant of the books."""
    trace = list(rows)
    found = survey([trace])
    db = Database(databases.at(path))
    clock = ManualWorld(found.first_at)
    try:
        with closing(Writer(db, clock, Policy(), host="test", pid=1)) as writer:
            report = Replay(writer, clock, plan, most_at_once=most_at_once, pace=pace).run(merge([trace]), found)
        with db.read() as conn:
            assert audit(conn).violations == ()
    finally:
        db.dispose()
    return report


def comparable(report: Report) -> Report:
    """A report without the ids of invoices, which are random."""
    return replace(report, moments=tuple(replace(moment, invoice=None) for moment in report.moments))


def told(moments: Iterable[Moment]) -> list[tuple[str, str, str]]:
    return [(format_instant(moment.at), moment.account, moment.event) for moment in moments]


def bills(report: Report) -> list[Any]:
    return [moment.invoice for moment in report.moments if moment.invoice is not None]


def every(seconds: int, *tokens: tuple[int, int]) -> list[TraceRow]:
    """Requests of (input, output) tokens, so many seconds apart."""
    return [TraceRow(START + n * seconds * 1_000_000, *each) for n, each in enumerate(tokens)]


# ── charges ──────────────────────────────────────────────────────────────────────────────────────────────────────
def test_two_requests_by_hand(tmp_path: Path) -> None:
    report = replay(tmp_path / "p.db", every(60, (120, 120), (580, 1000)), plan())
    # 120 × 0.20 + 120 × 0.80 = 120 millionths of a dollar; 580 × 0.20 + 1,000 × 0.80 = 916.
    assert (report.requests, report.refused, report.charge_nanos) == (2, 0, 1_036_000)
    assert (report.input_tokens, report.cached_input_tokens, report.output_tokens) == (700, 0, 1120)
    assert told(report.moments) == [("2026-04-01T00:00:00Z", "ada", "invoice")]
    [bill] = bills(report)
    # Under the least that a card is charged: carried, nothing due (M4).
    assert (bill.subtotal, bill.total, bill.carried_out, bill.state) == (1_036_000, 0, 1_036_000, "PAID")


def test_a_charge_is_rounded_once_half_to_even(tmp_path: Path) -> None:
    price = {"input": "0.0005", "cached_input": "0", "output": "0.0005"}  # half a nano-dollar per token
    report = replay(tmp_path / "p.db", every(1, (1, 0), (1, 1), (3, 0), (2, 3), (0, 0)), plan(price=price))
    assert report.charge_nanos == 0 + 1 + 2 + 2 + 0
    assert report.requests == 5


def test_mooncake_prefixes_by_hand(tmp_path: Path) -> None:
    lines = [
        {"timestamp": 0, "input_length": 1300, "output_length": 100, "hash_ids": [1, 2, 3]},
        {"timestamp": 1000, "input_length": 1400, "output_length": 100, "hash_ids": [1, 2, 9]},  # 2 blocks: 1,024
        {"timestamp": 2000, "input_length": 1300, "output_length": 100, "hash_ids": [1, 2, 3]},  # 3 blocks: all 1,300
        {"timestamp": 3000, "input_length": 1024, "output_length": 100, "hash_ids": [8, 1]},  # 1 does not lead
    ]
    trace = list(read_trace([json.dumps(line).encode() for line in lines], MOONCAKE, "hand"))
    report = replay(tmp_path / "one.db", trace, plan())
    assert (report.input_tokens, report.cached_input_tokens, report.output_tokens) == (5024, 2324, 400)
    # (2,700 × 0.20 + 2,324 × 0.10 + 400 × 0.80) millionths = 540 + 232.4 + 320
    assert report.charge_nanos == 1_092_400
    # With two accounts ada sends rows 0 and 2, bob 1 and 3: only row 2 finds what its account sent.
    report = replay(tmp_path / "two.db", trace, plan(2))
    assert report.cached_input_tokens == 1300


# ── accounts and limits ──────────────────────────────────────────────────────────────────────────────────────────
MIX = [(n * 7919 % 5000 + 1, n * 104729 % 900) for n in range(400)]


def test_row_i_goes_to_account_i_mod_n(tmp_path: Path) -> None:
    rows = every(5, *MIX)
    report = replay(tmp_path / "p.db", rows, plan(3))
    sums = add([(format_instant(row.at), row.input_tokens, row.output_tokens) for row in rows], 3)
    assert [bill.subtotal for bill in bills(report)] == [each.nanos for each in sums]
    assert report.charge_nanos == sum(each.nanos for each in sums)
    assert report.accounts == 3


@pytest.mark.parametrize("limit", [100_000, 1_000_000, 3_456_789, 50_000_000, 90_000_000, USD])
def test_the_limit_stops_at_the_limit(tmp_path: Path, limit: int) -> None:
    rows = every(5, *MIX)
    report = replay(tmp_path / "p.db", rows, plan(3, limit=limit))
    sums = add([(format_instant(row.at), row.input_tokens, row.output_tokens) for row in rows], 3, limit)
    assert all(each.nanos <= limit for each in sums)
    assert [bill.subtotal for bill in bills(report)] == [each.nanos for each in sums if each.requests]
    assert report.charge_nanos == sum(each.nanos for each in sums)
    assert report.requests == sum(each.requests for each in sums)
    assert report.refused == sum(each.refused for each in sums) == 400 - report.requests
    suspended = [moment for moment in report.moments if moment.event == "suspended"]
    expected = zip(("ada", "bob", "cyd"), sums, strict=True)
    assert {moment.account: format_instant(moment.at) for moment in suspended} == {
        name: each.suspended_at for name, each in expected if each.suspended_at
    }
    assert all(moment.cause == LIMIT_EXCEEDED for moment in suspended)


def test_a_row_that_does_not_fit_is_refused_and_a_smaller_one_still_fits(tmp_path: Path) -> None:
    # The limit is $0.0100; rows of $0.0060, $0.0060 (refused), $0.0030, $0.0010 (reaches it), $0.0001 (suspended).
    rows = every(60, (30_000, 0), (30_000, 0), (15_000, 0), (5_000, 0), (500, 0))
    report = replay(tmp_path / "p.db", rows, plan(limit=10_000_000))
    assert (report.requests, report.refused, report.charge_nanos) == (3, 2, 10_000_000)
    assert told(report.moments) == [
        ("2026-03-10T09:03:00Z", "ada", "suspended"),
        ("2026-04-01T00:00:00Z", "ada", "reinstated"),
        ("2026-04-01T00:00:00Z", "ada", "invoice"),
    ]


def test_a_refusal_with_next_to_nothing_left_suspends(tmp_path: Path) -> None:
    # $0.0095 of $0.0100 is used: a refused row finds less than $0.001 left (U7).
    report = replay(tmp_path / "p.db", every(60, (47_500, 0), (5_000, 0), (5, 0)), plan(limit=10_000_000))
    assert (report.requests, report.refused, report.charge_nanos) == (1, 2, 9_500_000)
    assert told(report.moments)[0] == ("2026-03-10T09:01:00Z", "ada", "suspended")


@pytest.mark.parametrize("limit", [0, 1, 99_999])  # less than $0.0001 counts as nothing
def test_a_limit_of_nothing_refuses_everything(tmp_path: Path, limit: int) -> None:
    report = replay(tmp_path / "p.db", every(60, (1, 1), (1, 1)), plan(limit=limit))
    assert (report.requests, report.refused, report.charge_nanos) == (0, 2, 0)
    assert told(report.moments) == [("2026-03-10T09:00:00Z", "ada", "suspended")]


# ── credit ───────────────────────────────────────────────────────────────────────────────────────────────────────
def test_credit_is_used_first_then_the_card_pays(tmp_path: Path) -> None:
    report = replay(tmp_path / "p.db", every(60, *[(1_000_000, 0)] * 10), plan(credit=USD))
    assert (report.requests, report.refused, report.charge_nanos) == (10, 0, 2 * USD)
    [bill] = bills(report)
    assert (bill.subtotal, bill.credits_applied, bill.total, bill.paid) == (2 * USD, USD, USD, USD)
    assert bill.state == "PAID"
    assert not report.count("suspended")


def test_usage_within_credit_is_an_invoice_of_nothing(tmp_path: Path) -> None:
    report = replay(tmp_path / "p.db", every(60, (1_000_000, 0)), plan(credit=USD))
    [bill] = bills(report)
    assert (bill.subtotal, bill.credits_applied, bill.total, bill.paid, bill.state) == (
        200_000_000,
        200_000_000,
        0,
        0,
        "PAID",
    )


def test_the_limit_counts_usage_that_credit_pays(tmp_path: Path) -> None:
    report = replay(tmp_path / "p.db", every(60, *[(1_000_000, 0)] * 10), plan(credit=5 * USD, limit=USD))
    assert (report.requests, report.refused, report.charge_nanos) == (5, 5, USD)
    [bill] = bills(report)
    assert (bill.credits_applied, bill.total) == (USD, 0)


# ── months ───────────────────────────────────────────────────────────────────────────────────────────────────────
def around_a_month_end() -> list[TraceRow]:
    times = ["2026-03-31T23:59:58Z", "2026-03-31T23:59:59.999999Z", "2026-04-01T00:00:00Z", "2026-04-02T00:00:00Z"]
    return [TraceRow(parse_instant(at), 3_001_234, 0) for at in times]


def test_two_months_are_two_invoices(tmp_path: Path) -> None:
    report = replay(tmp_path / "p.db", around_a_month_end(), plan())
    assert told(report.moments) == [
        ("2026-04-01T00:00:00Z", "ada", "invoice"),
        ("2026-05-01T00:00:00Z", "ada", "invoice"),
    ]
    march, april = bills(report)
    # Twice $0.6002468: $1.20 and $0.0004936 carried, then $1.2009872 with it.
    assert (march.month, format_usd(march.total), format_usd(march.carried_out)) == ("2026-03", "1.20", "0.0004936")
    assert (april.month, format_usd(april.carried_in), format_usd(april.total)) == ("2026-04", "0.0004936", "1.20")
    assert [march.number, april.number] == ["ADA-0001", "ADA-0002"]
    assert sum(bill.subtotal for bill in (march, april)) == report.charge_nanos == 4 * 600_246_800


def test_the_new_month_lifts_the_limit_at_its_first_instant(tmp_path: Path) -> None:
    report = replay(tmp_path / "p.db", around_a_month_end(), plan(limit=600_246_800))
    assert (report.requests, report.refused) == (2, 2)
    assert told(report.moments) == [
        ("2026-03-31T23:59:58Z", "ada", "suspended"),
        ("2026-04-01T00:00:00Z", "ada", "reinstated"),
        ("2026-04-01T00:00:00Z", "ada", "invoice"),
        ("2026-04-01T00:00:00Z", "ada", "suspended"),
        ("2026-05-01T00:00:00Z", "ada", "reinstated"),
        ("2026-05-01T00:00:00Z", "ada", "invoice"),
    ]


def test_the_new_month_lifts_a_limit_that_nothing_was_charged_against(tmp_path: Path) -> None:
    # $0.0005 is the limit, so little that one refusal suspends; by June a small request comes through.
    rows = [TraceRow(START, 5_000_000, 0), TraceRow(START + 1, 1, 0), TraceRow(START + 100 * DAY, 1, 0)]
    report = replay(tmp_path / "p.db", rows, plan(limit=500_000))
    assert (report.requests, report.refused, report.charge_nanos) == (1, 2, 200)
    assert told(report.moments) == [
        ("2026-03-10T09:00:00Z", "ada", "suspended"),
        ("2026-04-01T00:00:00Z", "ada", "reinstated"),
        ("2026-07-01T00:00:00Z", "ada", "invoice"),
    ]


def test_centuries_between_two_rows(tmp_path: Path) -> None:
    rows = [TraceRow(0, 5_000_000, 0), TraceRow(parse_instant("2400-02-29T00:00:00Z"), 5_000_000, 0)]
    report = replay(tmp_path / "p.db", rows, plan())
    assert [bill.month for bill in bills(report)] == ["1970-01", "2400-02"]
    assert [at for at, _, _ in told(report.moments)] == ["1970-02-01T00:00:00Z", "2400-03-01T00:00:00Z"]


def test_a_month_of_free_requests_alone(tmp_path: Path) -> None:
    rows = [TraceRow(START, 5_000_000, 0), TraceRow(START + 31 * DAY, 0, 0), TraceRow(START + 62 * DAY, 5_000_000, 0)]
    report = replay(tmp_path / "p.db", rows, plan(limit=10 * USD))
    assert (report.requests, report.charge_nanos) == (3, 2 * USD)
    assert [bill.month for bill in bills(report)] == ["2026-03", "2026-05"]


def test_late_rows_are_charged_at_the_time_of_the_row_above(tmp_path: Path) -> None:
    first, *_, last = around_a_month_end()
    report = replay(tmp_path / "p.db", [last, first], plan())
    assert [(bill.month, bill.subtotal) for bill in bills(report)] == [("2026-04", 2 * 600_246_800)]


# ── settling together ────────────────────────────────────────────────────────────────────────────────────────────
@pytest.mark.parametrize("limit, credit", [(None, 0), (40_000_000, 0), (61_234_567, 30_000_000)])
def test_the_report_does_not_depend_on_how_many_settle_together(tmp_path: Path, limit: int | None, credit: int) -> None:
    rows = [replace(row, at=row.at + n // 150 * 31 * DAY) for n, row in enumerate(every(5, *MIX))]
    like = plan(3, limit=limit, credit=credit)
    reports = {size: replay(tmp_path / f"{size}.db", rows, like, most_at_once=size) for size in (1, 7, 500)}
    assert comparable(reports[1]) == comparable(reports[7]) == comparable(reports[500])
    figures = {
        size: [(bill.number, bill.subtotal, bill.credits_applied, bill.total, bill.carried_out) for bill in bills(each)]
        for size, each in reports.items()
    }
    assert figures[1] == figures[7] == figures[500]
    assert len(figures[1]) == 9


def test_each_row_is_waited_for_where_asked(tmp_path: Path) -> None:
    waited: list[int] = []
    rows = every(5, (1, 1), (2, 2), (3, 3))
    report = replay(tmp_path / "p.db", rows, plan(), pace=waited.append)
    assert waited == [row.at for row in rows]
    assert report.requests == 3


# ── a database that is kept ──────────────────────────────────────────────────────────────────────────────────────
def test_accounts_of_an_earlier_replay_are_left_alone(tmp_path: Path) -> None:
    replay(tmp_path / "p.db", every(60, (5_000_000, 0)), plan())
    with pytest.raises(Conflict, match="ada exists"):
        replay(tmp_path / "p.db", every(60, (5_000_000, 0)), plan())
    db = Database(databases.at(tmp_path / "p.db"))
    with db.read() as conn:
        assert [row.subtotal for row in invoices.list_invoices(conn, "ada")] == [USD]
    db.dispose()


def test_a_price_that_is_in_force_stays(tmp_path: Path) -> None:
    replay(tmp_path / "p.db", every(60, (5_000_000, 0)), plan())
    other = replace(plan(price={"input": "9", "output": "9"}), accounts=("bob",))
    with pytest.raises(Conflict, match="prices tiny otherwise"):
        replay(tmp_path / "p.db", every(60, (5_000_000, 0)), other)
    without = replace(other, rates=None)
    assert replay(tmp_path / "p.db", every(60, (5_000_000, 0)), without).charge_nanos == USD


def test_a_trace_of_months_that_the_database_has_closed_is_refused(tmp_path: Path) -> None:
    replay(tmp_path / "p.db", every(60, (5_000_000, 0)), plan())
    with pytest.raises(Conflict, match="begins in 1970-01: replay it into a database of its own"):
        replay(tmp_path / "p.db", [TraceRow(0, 5_000_000, 0)], replace(plan(price=None), accounts=("bob",)))


def test_a_model_that_nothing_prices_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="'huge' has no price"):
        replay(tmp_path / "p.db", every(60, (5_000_000, 0)), Plan("huge", ("cyd",)))


def test_what_the_books_cannot_hold_is_refused_before_anything_is_billed(tmp_path: Path) -> None:
    rows = every(1, *[(10**9, 10**9)] * 3)
    with pytest.raises(Invalid, match="more than the books can hold"):
        replay(tmp_path / "p.db", rows, plan(price={"input": "1000000", "output": "1000000"}))
