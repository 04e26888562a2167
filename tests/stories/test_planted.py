"""The stories notice when the product is wrong: faults planted one at a time, each caught by its story."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from purser.core import cap, credits, lease, limits, rating, standing
from purser.core.invoice import total_up
from purser.core.money import round_half_even
from purser.core.payment import Allocation, allocate
from tests.stories.runner import FOLDER, play_once

Plant = Callable[[pytest.MonkeyPatch], None]
pytestmark = pytest.mark.once


def _in_order_of_age(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(credits, "order", lambda grants: sorted(grants, key=lambda grant: (grant.created_at, grant.id)))


def _purchased_first(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(credits, "PROMOTIONAL", credits.PURCHASED)


def _carry_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.invoicing.invoices.get_carried", lambda conn, account: 0)


def _rest_dropped(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.store.invoices.list_carried_on", lambda conn, account: {})


def _fractions_of_a_cent_charged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.payments.floor_cents", lambda nanos: nanos)


def _scheduled_prices_undo_others(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.pricing.reschedule", lambda new, books: [])


def _rounded_up_to_cents(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.core.invoice.floor_cents", lambda nanos: -(-nanos // 10_000_000) * 10_000_000)


def _no_least_charge(patch: pytest.MonkeyPatch) -> None:
    def wrong(subtotal: int, by_credit: int, carried: int, owed: int, minimum: int) -> Any:
        return total_up(subtotal, by_credit, carried, owed, 0)

    patch.setattr("purser.flows.invoicing.total_up", wrong)


def _never_lifted(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.standing.accounts.lift_cause", lambda conn, account, cause, at: None)


def _all_lifted_together(patch: pytest.MonkeyPatch) -> None:
    true = standing.judge

    def judge(facts: standing.Facts) -> dict[str, str]:
        causes = true(facts)
        return {} if standing.LIMIT_EXCEEDED not in causes and len(causes) == 1 else causes

    patch.setattr("purser.flows.standing.judge", judge)


def _month_roll_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.standing.list_to_judge", lambda conn, now, dust, seen: ([], {}))


def _limit_may_be_reached(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(standing, "_spent", lambda room, threshold: room.left_nanos < 0)


def _refusals_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(standing, "_spent", lambda room, threshold: room.left_nanos < standing.DUST_NANOS)


def _dust_is_a_cent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(standing, "DUST_NANOS", 10_000_000)


def _tier_above_its_threshold(patch: pytest.MonkeyPatch) -> None:
    true = limits.tier_of
    patch.setattr("purser.flows.standing.tier_of", lambda tiers, spend, method: true(tiers, spend - 1, method))


def _gifts_count_as_spend(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.standing.CASH", "promotions")


def _unbilled_paid_first(patch: pytest.MonkeyPatch) -> None:
    def wrong(amount: int, owed: Any) -> list[Allocation]:
        late = allocate(amount, replace(owed, invoices=()))
        rest = sum(part.amount_nanos for part in late if part.to == "credit")
        kept = [part for part in late if part.to != "credit"]
        return kept + (allocate(rest, replace(owed, unbilled=())) if rest else [])

    patch.setattr("purser.flows.credits.allocate", wrong)


def _card_is_enough_for_prepaid(patch: pytest.MonkeyPatch) -> None:
    def wrong(mode: str, has_method: bool) -> bool:
        return mode != limits.CONTRACT and not has_method

    patch.setattr(standing, "credit_required", wrong)
    patch.setattr("purser.flows.standing.credit_required", wrong)


def _tier_caps_prepaid(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.accounts.PREPAID", "nothing")


def _contract_has_a_limit(patch: pytest.MonkeyPatch) -> None:
    true = limits.effective_limit
    patch.setattr("purser.flows.standing.effective_limit", lambda mode, own, most: true(limits.POSTPAID, own, most))


def _no_dunning(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.payments.next_attempt_at", lambda issued_at, now, days: None)


def _everything_is_granted(patch: pytest.MonkeyPatch) -> None:
    def grant(row: lease.Headroom, held: lease.Lease, least: int, most: int) -> Any:
        return replace(row, taken=row.taken + most, over=most), replace(held, share=held.share + most), most

    patch.setattr("purser.flows.requests.lease.grant", grant)


def _rounded_unit_by_unit(patch: pytest.MonkeyPatch) -> None:
    def rate(quantities: dict[str, int], rates: Any, most_nanos: int | None = None) -> rating.Charge:
        parts = [
            rating.Part(unit, count, round_half_even(count * rates[unit].nanos, rates[unit].per))
            for unit, count in quantities.items()
        ]
        return rating.Charge(sum(part.amount_nanos for part in parts), tuple(parts))

    patch.setattr("tests.stories.gateways.rate", rate)


def _late_usage_on_a_closed_bill(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.metering._on_bill_of", lambda tx, month, closed: month)


def _late_usage_not_judged(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.metering.standing.rejudge", lambda tx, account: {})
    patch.setattr("purser.flows.standing.list_to_judge", lambda conn, now, dust, seen: ([], {}))


def _month_closes_over_running_requests(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.invoicing.headroom.get_spare", lambda conn, key: 0)


def _held_credit_lapses(patch: pytest.MonkeyPatch) -> None:
    true = lease.lapse
    patch.setattr("purser.flows.credits.lease.lapse", lambda row, rest: true(replace(row, taken=0), rest))


def _clamp_forgotten(patch: pytest.MonkeyPatch) -> None:
    true = rating.rate
    patch.setattr("tests.stories.gateways.rate", lambda quantities, rates, most: true(quantities, rates))


def _a_group_below_the_default_ignored(patch: pytest.MonkeyPatch) -> None:
    true = cap.effective
    patch.setattr(
        cap, "effective", lambda own, groups, every: true(own, [g for g in groups if g > (every or 0)], every)
    )


def _an_approval_may_lower(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(cap, "check_increase", lambda nanos, current, user, field: nanos)


def _spent_before_forgotten(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("purser.flows.budgets.spent.sum_uncounted", lambda conn, row: 0)


PLANTED: list[tuple[Plant, str]] = [
    (_in_order_of_age, "grants"),
    (_purchased_first, "grants"),
    (_carry_dropped, "cents"),
    (_rest_dropped, "rest_of_an_invoice"),
    (_fractions_of_a_cent_charged, "rest_of_an_invoice"),
    (_scheduled_prices_undo_others, "prices_ahead"),
    (_rounded_up_to_cents, "cents"),
    (_no_least_charge, "cents"),
    (_never_lifted, "failed_payment"),
    (_all_lifted_together, "causes"),
    (_month_roll_forgotten, "month_start"),
    (_limit_may_be_reached, "spend_limit"),
    (_refusals_forgotten, "nearly_gone"),
    (_dust_is_a_cent, "nearly_gone"),
    (_tier_above_its_threshold, "tiers"),
    (_gifts_count_as_spend, "tiers"),
    (_unbilled_paid_first, "owed_on_invoices"),
    (_card_is_enough_for_prepaid, "prepaid"),
    (_tier_caps_prepaid, "prepaid"),
    (_contract_has_a_limit, "contract"),
    (_no_dunning, "failed_payment"),
    (_everything_is_granted, "many_gateways"),
    (_rounded_unit_by_unit, "rounding"),
    (_late_usage_on_a_closed_bill, "late_usage"),
    (_late_usage_not_judged, "late_usage"),
    (_month_closes_over_running_requests, "over_midnight"),
    (_held_credit_lapses, "lapse_while_held"),
    (_clamp_forgotten, "holds"),
    (_a_group_below_the_default_ignored, "usage_limits"),
    (_an_approval_may_lower, "usage_limits"),
    (_spent_before_forgotten, "usage_limits"),
]


@pytest.mark.parametrize("plant, story", PLANTED, ids=[plant.__name__.strip("_") for plant, _ in PLANTED])
def test_a_planted_fault_is_caught(plant: Plant, story: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = FOLDER / f"{story}.story"
    plant(monkeypatch)
    with pytest.raises(Exception, match=r".") as caught:
        play_once(path, None, lease_nanos=0)
    assert caught.type.__name__ in ("StoryFailed", "Broken"), caught.value
