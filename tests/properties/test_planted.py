"""Random histories catch what is wrong: faults planted in the product one at a time, each found by the comparison."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from sqlalchemy.exc import IntegrityError

from purser.core import credits, invoice, lease, limits, payment, standing
from purser.core.errors import Broken
from purser.core.lease import Headroom, Lease
from purser.core.pricebook import PriceBook, Timeline
from purser.flows import budgets, metering, payments, requests
from purser.flows import standing as standing_flow
from purser.flows.lessee import Lessee
from purser.store import headroom, spent, usage, writers
from tests.properties.play import play_all

Plant = Callable[[pytest.MonkeyPatch], None]
pytestmark = [pytest.mark.once, pytest.mark.long]
FAULTS: dict[str, tuple[int, Plant]] = {}
AT_MOST = 60


def fault(seed: int) -> Callable[[Plant], Plant]:
    """A fault under the name of its function, and the seed of a history that shows it: the first to be played."""

    def mark(plant: Plant) -> Plant:
        FAULTS[plant.__name__] = seed, plant
        return plant

    return mark


@fault(2)
def purchased_credit_is_drawn_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(credits, "PROMOTIONAL", credits.PURCHASED)


@fault(3)
def credit_lapses_from_under_running_requests(patch: pytest.MonkeyPatch) -> None:
    def lapse(row: Headroom, remaining: int) -> tuple[Headroom, int]:
        return replace(row, amount=row.amount - remaining, over=max(0, row.taken - row.amount + remaining)), remaining

    patch.setattr(lease, "lapse", lapse)
    patch.setattr("purser.flows.credits.ledger.sum_credits", lambda conn, account, prefix: 10**15)


@fault(0)
def a_closed_writers_use_is_forgotten(patch: pytest.MonkeyPatch) -> None:
    true = lease.close
    patch.setattr(lease, "close", lambda row, held: true(row, Lease(held.share, 0)))


@fault(0)
def a_request_is_held_on_credit_alone(patch: pytest.MonkeyPatch) -> None:
    true = requests.take_headroom

    def take(tx: Any, needs: Any) -> Any:
        taken = true(tx, [need for need in needs if need.key.kind == "credit"] or needs)
        return replace(taken, given={need.key: taken.given.get(need.key, need.most) for need in needs})

    patch.setattr(requests, "take_headroom", take)


@fault(2)
def the_rest_of_a_hold_stays_held(patch: pytest.MonkeyPatch) -> None:
    def settled(self: Lessee, hold: Any, cost: int, now: int) -> None:
        for share in hold.shares:
            share.held -= cost
            share.used += cost
        self._open.get(hold.account, {}).pop(hold.id, None)

    patch.setattr(Lessee, "settled", settled)


@fault(1)
def a_reported_event_counts_against_the_month_of_its_bill(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(metering, "Event", lambda **given: usage.Event(**given | {"month": given["bill_month"]}))


@fault(3)
def any_body_passes_for_a_known_event(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(metering._Intake, "_same", lambda self, known, event, reported: True)


@fault(4)
def a_lower_limit_waits_for_the_next_month(patch: pytest.MonkeyPatch) -> None:
    true = standing_flow._apply_limit

    def apply(tx: Any, account: str, month: str, limit: int | None) -> None:
        row = headroom.get_row(tx.conn, headroom.month_key(account, month))
        if row is None or limit is None or limit >= row.amount:
            true(tx, account, month, limit)

    patch.setattr(standing_flow, "_apply_limit", apply)


@fault(0)
def purchases_pay_unbilled_usage_first(patch: pytest.MonkeyPatch) -> None:
    def allocate(amount: int, owed: payment.Owed) -> Any:
        return sorted(payment.allocate(amount, payment.Owed((), owed.unbilled)), key=lambda part: part.to == "credit")

    patch.setattr("purser.flows.credits.allocate", allocate)


@fault(6)
def what_is_too_little_to_charge_is_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.invoicing.invoices.get_carried", lambda conn, account: 0)


@fault(1)
def cents_are_rounded_up(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(invoice, "floor_cents", lambda nanos: -(-nanos // 10**7) * 10**7)


@fault(3)
def a_card_lets_prepaid_accounts_go_on(patch: pytest.MonkeyPatch) -> None:
    def required(mode: str, has_payment_method: bool) -> bool:
        return mode != limits.CONTRACT and not has_payment_method

    patch.setattr(standing, "credit_required", required)
    patch.setattr(standing_flow, "credit_required", required)


@fault(6)
def prices_hold_from_when_they_are_published(patch: pytest.MonkeyPatch) -> None:
    class Newest(Timeline):
        def at(self, at: int) -> PriceBook | None:
            return max(self._books, key=lambda book: book.version)

    patch.setattr(metering, "Timeline", Newest)


@fault(7)
def a_failed_charge_is_never_tried_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(payments, "next_attempt_at", lambda issued_at, now, days: None)


@fault(0)
def a_writer_that_was_closed_goes_on(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(writers.Writer, "_step", lambda self: None)


@fault(3)
def what_ran_dry_is_not_judged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(headroom, "list_nearly_spent", lambda conn, dust, month, accounts=None: [])
    patch.setattr(requests, "_use_leases", lambda tx, posted, true=requests._use_leases: true(tx, posted) and set())


@fault(6)
def known_events_are_billed_again(patch: pytest.MonkeyPatch) -> None:
    true = usage.list_known

    def known(conn: Any, keys: Any) -> Any:
        return true(conn, [key for key in keys if key[1] != "api" or len(key[2]) <= 2])

    patch.setattr(usage, "list_known", known)


@fault(6)
def what_a_key_spent_before_its_budget_does_not_count(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(spent, "sum_uncounted", lambda conn, row: 0)


@fault(4)
def a_changed_budget_waits_for_the_next_period(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(budgets, "apply", lambda tx, key, budget, uncounted=None: None)


REFUSED_BY_THE_DATABASE = (IntegrityError, sqlite3.IntegrityError, psycopg.IntegrityError)


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seed, plant = FAULTS[name]
    plant(monkeypatch)
    with pytest.raises((AssertionError, Broken, *REFUSED_BY_THE_DATABASE)):
        play_all(iter((seed, *range(AT_MOST))), AT_MOST + 1, explain=False)
