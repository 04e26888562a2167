"""Deployments: GPU-time held ahead and billed on the running total, exactly to the limit, on both kinds of fleet."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal

import pytest
import sqlalchemy as sa

from purser.core.deployment import OUT_OF_MONEY, REPORTED, SIMULATED, Scaling
from purser.core.errors import Conflict, Invalid, Suspended, TooMany
from purser.core.money import NANOS_PER_USD, format_usd
from purser.core.period import DAY, HOUR, MINUTE, SECOND, month_of, parse_instant
from purser.core.policy import Policy
from purser.core.rating import rate
from purser.core.standing import BLOCKED, CREDIT_DEPLETED, LIMIT_EXCEEDED
from purser.flows import accounts, deployments, fleet, invoicing, payments, pricing
from purser.flows.deployments import Report
from purser.flows.requests import Need, give_back, path, take_headroom
from purser.store import accounts as account_rows
from purser.store import deployments as rows
from purser.store import headroom, prices, slices, usage
from purser.store import schema as t
from purser.store.deployments import Deployment, Fleet
from purser.store.headroom import month_key
from purser.store.writers import Writer, close_writer
from tests.flows.books import VISA, World, open_account, open_books

H100, A100 = "NVIDIA_H100_80GB", "NVIDIA_A100_80GB"
READY_SECONDS = 240


class House:
    """Books with a fleet, and a worker that stops at all that falls due."""

    def __init__(self, writer: Writer, world: World) -> None:
        self.writer, self.world = writer, world
        self.began = world.at
        writer.run(lambda tx: pricing.publish(tx, {H100: {"gpu_hour": "7.00"}, A100: {"gpu_hour": "3.89"}}))

    def open(self, account: str = "ada", limit: str | None = None, credit: int = 0, card: bool = True) -> None:
        self.writer.run(lambda tx: open_account(tx, account, credit=credit))
        if card:
            self.writer.run(lambda tx: payments.add_method(tx, account, replace(VISA, fingerprint=account)))
            self.writer.run(lambda tx: accounts.set_unlimited(tx, account, True))
        if limit is not None:
            self.writer.run(lambda tx: accounts.set_limit(tx, account, limit))

    def create(self, id_: str = "d", accelerator: str = H100, gpus: int = 1, least: int = 1, most: int = 4) -> None:
        scaling = Scaling(least, most)
        new = Deployment("ada", id_, "llama", accelerator, gpus, scaling, self.world.at, self.world.at)
        self.writer.run(lambda tx: deployments.create(tx, new))

    def pass_(self, span: int) -> None:
        """Time goes by, and the worker does at its instant what falls due; a real one is never early."""
        end = self.world.at + span
        while True:
            with self.writer.db.read() as conn:
                due = rows.get_next_due(conn, self.world.at)
            self.world.at = end if due is None or due > end else due
            self.work()
            if self.world.at == end:
                return

    def work(self) -> None:
        with self.writer.db.read() as conn:
            due = rows.list_due(conn, self.world.at)
        for account in due:
            self.writer.run(lambda tx, account=account: fleet.catch_up(tx, account))  # type: ignore[misc]

    def sleep(self, span: int) -> None:
        """Time goes by, and no worker runs."""
        self.world.at += span

    def scale(self, replicas: int, id_: str = "d") -> None:
        self.writer.run(lambda tx: deployments.scale(tx, "ada", id_, replicas))

    def delete(self, id_: str = "d") -> None:
        self.writer.run(lambda tx: deployments.delete(tx, "ada", id_))

    def report(self, ready: int | None, at: int | None = None, **more: object) -> bool:
        told = Report(at=at, ready=ready, **more)  # type: ignore[arg-type]
        return self.writer.run(lambda tx: deployments.report(tx, "ada", "d", told))[1]

    def stands(self, id_: str = "d") -> Fleet:
        with self.writer.db.read() as conn:
            found = rows.get_fleet(conn, "ada", id_)
        assert found is not None
        return found

    def spent(self, month: str | None = None) -> str:
        with self.writer.db.read() as conn:
            return format_usd(headroom.get_used(conn, month_key("ada", month or month_of(self.world.at))))

    def gpu_seconds(self) -> int:
        with self.writer.db.read() as conn:
            events = usage.list_events(conn, "ada", limit=100_000)
        return sum(usage.decode_quantities(event.quantities)["gpu_seconds"] for event in events)

    def held(self) -> int:
        with self.writer.db.read() as conn:
            return sum(slices.sum_open(conn, "ada").values())

    def causes(self) -> list[str]:
        with self.writer.db.read() as conn:
            return [cause.cause for cause in account_rows.list_open_causes(conn, "ada")]

    def told(self, topic: str) -> int:
        with self.writer.db.read() as conn:
            rows_ = conn.execute(sa.select(t.outbox).where(t.outbox.c.topic == topic, t.outbox.c.kind == "mail"))
            return len(list(rows_))


@contextmanager
def _house(**rules: object) -> Iterator[House]:
    policy = Policy(replica_ready_seconds=READY_SECONDS, **rules)  # type: ignore[arg-type]
    with open_books(policy) as (writer, world):
        yield House(writer, world)


@pytest.fixture
def house() -> Iterator[House]:
    with _house(fleet=SIMULATED) as made:
        yield made


@pytest.fixture
def reported() -> Iterator[House]:
    with _house(fleet=REPORTED) as made:
        yield made


# ── what is billed ───────────────────────────────────────────────────────────────────────────────────────────────
def test_p6_s54_it_is_billed_from_ready_until_it_is_deleted(house: House) -> None:
    house.open()
    house.create()
    house.pass_(240 * SECOND)
    assert (house.spent(), house.stands().ready) == ("0.00", 1)
    house.pass_(3_600 * SECOND)
    house.delete()
    house.pass_(DAY)
    assert (house.gpu_seconds(), house.spent(), house.held()) == (3_600, "7.00", 0)


def test_p6_a_deployment_that_never_gets_ready_costs_nothing(reported: House) -> None:
    reported.open()
    reported.create()
    reported.pass_(DAY)
    reported.delete()
    assert (reported.spent(), reported.gpu_seconds()) == ("0.00", 0)


def test_p6_s52_s55_gpus_and_replicas_multiply(house: House) -> None:
    house.open()
    house.create(gpus=2, most=2)
    house.pass_(240 * SECOND + HOUR)
    house.scale(2)
    house.pass_(240 * SECOND)
    before = house.gpu_seconds()
    house.pass_(90 * MINUTE)
    house.delete()
    assert house.gpu_seconds() - before == 4 * 90 * 60
    assert house.gpu_seconds() == 2 * (3_600 + 240) + 4 * 90 * 60


@pytest.mark.parametrize("slice_seconds", [97, 600, 3_600, 86_400])
def test_m3_s56_a_day_at_3_89_an_hour_is_93_36_however_it_is_sliced(slice_seconds: int) -> None:
    with _house(fleet=REPORTED, deployment_slice_seconds=slice_seconds) as house:
        house.open()
        house.create(accelerator=A100)
        house.report(1)
        if slice_seconds == 97:
            for _ in range(600):  # uneven ones, too
                house.sleep(2_345_678)
                house.work()
            house.pass_(DAY - 600 * 2_345_678)
        else:
            house.pass_(DAY)
        house.delete()
        assert (house.spent(), house.gpu_seconds()) == ("93.36", 86_400)


def test_p6_s53_s57_without_requests_it_goes_to_zero_and_costs_nothing(house: House) -> None:
    house.open()
    house.create(least=0)
    house.pass_(240 * SECOND + 10 * MINUTE)
    house.writer.run(lambda tx: deployments.note_request(tx, "ada", "d"))
    house.pass_(5 * HOUR)
    assert (house.stands().ready, house.gpu_seconds()) == (0, 600 + 3_600)
    house.pass_(5 * HOUR)
    assert house.gpu_seconds() == 4_200


def test_s58_without_requests_for_a_week_it_is_deleted_and_can_be_had_back(house: House) -> None:
    house.open()
    house.create(least=0)
    house.pass_(7 * DAY - 1)
    with house.writer.db.read() as conn:
        assert not deployments.require(conn, "ada", "d").deleted
    house.pass_(1)
    with house.writer.db.read() as conn:
        assert deployments.require(conn, "ada", "d").deleted
    assert house.told("deployment.deleted") == 1
    house.writer.run(lambda tx: deployments.undelete(tx, "ada", "d"))
    house.pass_(DAY)
    assert (house.stands().ready, house.gpu_seconds()) == (0, 3_600)


def test_s59_a_request_starts_one_that_is_at_zero(house: House) -> None:
    house.open()
    house.create(least=0)
    house.pass_(2 * HOUR)
    assert house.stands().desired == 0
    it = house.writer.run(lambda tx: deployments.note_request(tx, "ada", "d"))
    assert (it.fleet.desired, it.fleet.ready) == (1, 0)
    house.pass_(240 * SECOND)
    assert house.stands().ready == 1


# ── money ────────────────────────────────────────────────────────────────────────────────────────────────────────
def test_l4_it_stops_exactly_at_the_limit_with_a_warning_before_and_a_notice(house: House) -> None:
    house.open(limit="10")
    house.create(gpus=2)
    house.pass_(240 * SECOND + 30 * MINUTE)
    assert (house.told("deployment.warning"), house.stands().ready) == (1, 1)
    house.pass_(HOUR)
    assert (house.spent(), house.causes(), house.held()) == ("10.00", [LIMIT_EXCEEDED], 0)
    stands = house.stands()
    assert (stands.ready, stands.desired, stands.stopped_for) == (0, 0, LIMIT_EXCEEDED)
    # At $14.00 an hour $10.00 last for 2,571.43 s: of the last second that is all that is billed.
    assert house.gpu_seconds() == 5_143
    assert stands.stopped_at == house.began + 240 * SECOND + 2_571_500_000
    assert (house.told("deployment.warning"), house.told("deployment.stopped")) == (1, 1)


def test_a4_it_stops_exactly_when_credit_is_gone(house: House) -> None:
    house.open(credit=NANOS_PER_USD, card=False)
    house.create()
    house.pass_(DAY)
    assert (house.spent(), house.causes()) == ("1.00", [CREDIT_DEPLETED])


def test_two_deployments_share_what_is_left_to_the_last_nano(house: House) -> None:
    house.open(limit="20")
    house.create("one", gpus=2)
    house.pass_(7 * MINUTE)
    house.create("two", gpus=3)
    house.pass_(DAY)
    assert (house.spent(), house.causes()) == ("20.00", [LIMIT_EXCEEDED])


def test_a_slice_is_held_while_it_runs_and_grows_with_the_replicas(house: House) -> None:
    house.open()
    house.create()
    house.pass_(240 * SECOND)
    assert house.held() == 7 * NANOS_PER_USD * 600 // 3_600 + 1  # $1.1666…7
    house.scale(4)
    house.pass_(240 * SECOND)
    assert house.held() == 28 * NANOS_PER_USD * 600 // 3_600  # what it adds to the running total


def test_l5_a_limit_below_what_is_used_stops_it_at_once(house: House) -> None:
    house.open(limit="100")
    house.create()
    house.pass_(240 * SECOND + HOUR)
    house.writer.run(lambda tx: accounts.set_limit(tx, "ada", "5"))
    house.work()
    assert (house.stands().desired, house.spent()) == (0, "7.00")


def test_u5_s61_a_suspension_stops_the_meter_at_its_instant(house: House) -> None:
    house.open()
    house.create()
    house.pass_(240 * SECOND + 10 * MINUTE)
    house.writer.run(lambda tx: accounts.suspend(tx, "ada", BLOCKED, "looks odd"))
    house.sleep(30 * SECOND)  # until the worker comes round
    house.work()
    assert (house.gpu_seconds(), house.causes(), house.stands().stopped_for) == (600, [BLOCKED], BLOCKED)
    with pytest.raises(Suspended):
        house.scale(1)
    with pytest.raises(Suspended):
        house.create("other")
    house.writer.run(lambda tx: accounts.reinstate(tx, "ada"))
    house.pass_(DAY)
    assert (house.stands().desired, house.gpu_seconds()) == (0, 600)  # not by itself
    house.scale(1)
    house.pass_(240 * SECOND + 60 * SECOND)
    assert house.stands().ready == 1


def test_h7_slices_end_with_their_month(house: House) -> None:
    house.open()
    house.world.at = parse_instant("2026-03-31T23:00:00Z")
    house.create()
    house.pass_(2 * HOUR)
    house.delete()
    assert (house.spent("2026-03"), house.spent("2026-04")) == ("6.533333333", "7.00")
    assert house.gpu_seconds() == 2 * 3_600 - 240


def test_p1_slices_end_where_the_price_changes(house: House) -> None:
    house.open()
    house.create()
    house.pass_(240 * SECOND)
    at = house.world.at + 1_000 * SECOND
    house.writer.run(lambda tx: pricing.publish(tx, {H100: {"gpu_hour": "14.40"}}, at))
    house.work()
    house.pass_(2_000 * SECOND)
    house.delete()
    assert house.spent() == format_usd(7 * NANOS_PER_USD * 1_000 // 3_600 + 4 * NANOS_PER_USD)


def test_a_worker_that_was_away_bills_what_ran_meanwhile_and_no_more_than_there_is(house: House) -> None:
    house.open(limit="10")
    house.create()
    house.pass_(240 * SECOND + 5 * MINUTE)
    house.sleep(5 * HOUR)
    house.work()
    assert (house.spent(), house.stands().desired) == ("10.00", 0)


def test_c1_a_worker_that_died_leaves_the_slice_to_the_next_one(house: House) -> None:
    house.open(limit="10")
    house.create()
    house.pass_(240 * SECOND + 5 * MINUTE)
    dead, held = house.writer, house.held()
    house.writer = Writer(dead.db, house.world, dead.policy, host="there", pid=2)
    house.writer.run(lambda tx: close_writer(tx, dead.id))
    dead.open = False
    assert house.held() == held > 0, "nobody else has that money meanwhile"
    house.sleep(20 * MINUTE)
    house.work()
    house.delete()
    assert house.gpu_seconds() == 25 * 60
    house.writer.close()


def test_what_is_reserved_is_not_billed(house: House) -> None:
    house.open()
    house.create(gpus=4)
    house.pass_(240 * SECOND)
    start, end = house.world.at + 1_000 * SECOND, house.world.at + 2_000 * SECOND
    house.writer.run(lambda tx: deployments.reserve(tx, "ada", H100, 3, start, end))
    house.pass_(3_000 * SECOND)
    house.delete()
    assert house.gpu_seconds() == 4 * 2_000 + 1 * 1_000


def test_money_that_gateways_hold_is_waited_for_before_it_stops(house: House) -> None:
    house.open(limit="10")
    taken = [Need(key, 10 * NANOS_PER_USD, 10 * NANOS_PER_USD, 10 * NANOS_PER_USD) for key in path("ada", "2026-03")]
    assert house.writer.run(lambda tx: take_headroom(tx, taken)).short is None
    house.create()
    house.pass_(240 * SECOND)
    assert (house.stands().ready, house.held()) == (1, 0)
    with house.writer.db.read() as conn:
        assert rows.is_waiting(conn)
    house.writer.run(lambda tx: give_back(tx, [(need.key, need.least) for need in taken]))
    house.world.at += SECOND
    house.work()
    assert house.held() > 0
    house.pass_(HOUR - SECOND)
    house.delete()
    assert (house.gpu_seconds(), house.spent()) == (3_600, "7.00")


def test_money_that_gateways_keep_stops_it_after_a_while(house: House) -> None:
    house.open(limit="10")
    taken = [Need(key, 10 * NANOS_PER_USD, 10 * NANOS_PER_USD, 10 * NANOS_PER_USD) for key in path("ada", "2026-03")]
    house.writer.run(lambda tx: take_headroom(tx, taken))
    house.create()
    house.pass_(240 * SECOND)
    for _ in range(3):
        house.world.at += SECOND
        house.work()
    assert (house.stands().desired, house.stands().stopped_for, house.spent()) == (0, OUT_OF_MONEY, "0.00")
    house.writer.run(lambda tx: give_back(tx, [(need.key, need.least) for need in taken]))


@pytest.mark.parametrize("start", range(12))
def test_whatever_happens_no_more_is_billed_than_ran_and_never_more_than_there_is(start: int) -> None:
    """Random reports, scales, limits and pauses of the worker; every invariant is checked at the end."""
    chance = random.Random(start)
    limit = chance.choice([3, 9, 1_000])
    with _house(fleet=REPORTED, deployment_slice_seconds=chance.choice([61, 600, 3_600])) as house:
        house.open(limit=str(limit))
        house.world.at = parse_instant("2026-03-31T20:00:00Z")
        gpus = chance.randint(1, 3)
        least = chance.randint(0, 1)
        house.create(gpus=gpus, least=least, most=2)
        ran, reported = 0, 0
        for _ in range(60):
            span = chance.choice([1, 333_333, 7 * SECOND, 61 * SECOND, 20 * MINUTE, 3 * HOUR])
            ran += gpus * min(reported, house.stands().desired) * span
            if chance.random() < 0.7:
                house.pass_(span)
            else:
                house.sleep(span)
            try:
                if chance.random() < 0.5:
                    reported = chance.randint(0, 3)
                    house.report(reported)
                else:
                    house.scale(chance.randint(0, 2))
                if limit < 1_000 and chance.random() < 0.1:
                    house.writer.run(lambda tx: accounts.set_limit(tx, "ada", str(chance.randint(1, limit))))
            except (Conflict, Suspended):
                house.work()
            for month in ("2026-03", "2026-04"):
                assert Decimal(house.spent(month)) <= limit
        house.scale(0)
        billed = house.gpu_seconds()
        assert billed <= ran // SECOND
        if least and not house.told("deployment.stopped"):
            assert billed == ran // SECOND


def test_reserved_gpus_are_one_deployment_s_at_a_time(house: House) -> None:
    house.open()
    start = house.world.at
    house.writer.run(lambda tx: deployments.reserve(tx, "ada", H100, 2, start, start + DAY))
    house.create("one", gpus=2)
    house.create("two", gpus=3)
    house.pass_(240 * SECOND + HOUR)
    house.delete("one")
    house.delete("two")
    assert house.gpu_seconds() == 3 * 3_600


# ── quotas and bounds ────────────────────────────────────────────────────────────────────────────────────────────
def test_q3_s60_more_gpus_than_the_quota_are_refused(house: House) -> None:
    house.open()
    house.create("a", gpus=6)
    with pytest.raises(TooMany, match="nvidia-h100-80gb"):
        house.create("b", gpus=4)
    house.create("b", gpus=2)
    house.create("c", accelerator=A100, gpus=8)
    with pytest.raises(TooMany):
        house.scale(2, "b")
    house.writer.run(lambda tx: deployments.set_quota(tx, "ada", H100, 10))
    house.scale(2, "b")


def test_replicas_are_within_their_bounds(house: House) -> None:
    house.open()
    house.create(least=1, most=2)
    for wrong in (3, -1):
        with pytest.raises(Invalid):
            house.scale(wrong)
    house.scale(0)
    house.pass_(DAY)
    assert house.gpu_seconds() == 0


# ── what is reported ─────────────────────────────────────────────────────────────────────────────────────────────
def test_reports_count_once_and_in_their_order(reported: House) -> None:
    reported.open()
    reported.create(most=4)
    t0 = reported.world.at
    reported.scale(2)
    reported.sleep(100 * SECOND)
    assert reported.report(2, t0 + 60 * SECOND)
    assert not reported.report(2, t0 + 60 * SECOND)  # twice
    assert not reported.report(0, t0 + 30 * SECOND)  # overtaken
    assert reported.stands().ready == 2
    reported.sleep(100 * SECOND)
    assert reported.report(1, t0 + 150 * SECOND)
    reported.sleep(100 * SECOND)
    reported.delete()
    assert reported.gpu_seconds() == 2 * 90 + 1 * 150
    with pytest.raises(Invalid):
        reported.report(1, reported.world.at + HOUR)


def test_what_takes_time_to_stop_is_not_billed(reported: House) -> None:
    reported.open()
    reported.create()
    reported.report(3)  # of which one is wanted
    reported.sleep(MINUTE)
    reported.scale(0)
    reported.sleep(MINUTE)
    reported.report(1)
    reported.sleep(MINUTE)
    reported.work()
    assert reported.gpu_seconds() == 60


def test_nobody_reports_what_is_simulated(house: House) -> None:
    house.open()
    house.create()
    with pytest.raises(Conflict):
        house.report(1)


def test_load_scales_up_and_down_after_its_windows(house: House) -> None:
    house.open()
    house.create(least=1, most=4)
    house.pass_(240 * SECOND)
    house.report(None, loads={"default": 1_000})
    house.pass_(29 * SECOND)
    assert house.stands().desired == 1
    house.pass_(1 * SECOND)
    assert house.stands().desired == 2
    house.report(None, loads={"default": 100})
    house.pass_(10 * MINUTE)
    assert house.stands().desired == 1


def test_a_deployment_in_use_is_not_deleted_unless_that_is_meant(house: House) -> None:
    house.open()
    house.create()
    house.pass_(300 * SECOND)
    house.writer.run(lambda tx: deployments.note_request(tx, "ada", "d"))
    with pytest.raises(Conflict, match="in use"):
        house.delete()
    house.writer.run(lambda tx: deployments.delete(tx, "ada", "d", ignore_checks=True))


def test_an_invoice_line_opens_down_to_slices_that_sum_to_it_exactly() -> None:
    """D2, M3: at $3.89 an hour hardly any number of seconds costs whole nano-dollars."""
    with _house(fleet=SIMULATED) as house:
        house.open()
        house.create(accelerator=A100)
        for n in range(40):
            house.pass_((READY_SECONDS + 61 + n) * SECOND)
            house.scale(1 + n % 3)
        house.delete()
        house.sleep(40 * DAY)
        month = month_of(house.began)
        invoice = house.writer.run(lambda tx: invoicing.close_account_month(tx, "ada", month))
        with house.writer.db.read() as conn:
            head, line = invoicing.require_line(conn, "ada", str(invoice), 1)
            parts = [part for _, part in invoicing.iter_line_usage(conn, head, line)]
            rates = prices.list_books(conn)[-1].models[A100]
    assert len(parts) > 40
    assert sum(part.quantity for part in parts) == line.quantity
    assert sum(part.amount_nanos for part in parts) == line.amount
    assert sum(rate({part.unit: part.quantity}, rates).amount_nanos for part in parts) != line.amount
