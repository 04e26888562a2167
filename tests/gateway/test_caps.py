"""Caps of users and groups: past one this user alone is refused with 402, exactly, however many run at once (L6)."""

from __future__ import annotations

import threading

import pytest

from purser.core.budget import DAILY, Budget
from purser.core.money import parse_usd
from purser.core.period import parse_instant
from purser.flows import access, audit, limit_requests, reports, usage_limits
from purser.flows.budgets import set_budget
from purser.store import headroom
from purser.store.headroom import list_windows
from tests.gateway.rig import Answered, Rig

ASK = "hello [[tokens=24]]"


class Person:
    """A user of ada's with a key of their own."""

    def __init__(self, rig: Rig, name: str) -> None:
        self._rig, self.name = rig, name
        rig.write(lambda tx: access.create_user(tx, "ada", name))
        made = rig.write(lambda tx: access.create_key(tx, "ada", name))
        self.key, self.secret = made.id, made.secret

    def limit(self, dollars: str | None, *groups: str) -> None:
        nanos = None if dollars is None else parse_usd(dollars)
        given = {"override": nanos, "groups": groups, "keep_override": False}
        self._rig.write(lambda tx: usage_limits.set_user(tx, "ada", self.name, **given))  # type: ignore[arg-type]

    def ask(self, model: str = "dear", **more: object) -> Answered:
        body = {"model": model, "messages": [{"role": "user", "content": ASK}], **more}
        return self._rig.send("/v1/chat/completions", body, key=self.secret)

    def cost(self) -> int:
        """What their requests cost, nano-dollars."""
        return sum(event.cost for event in self._rig.events() if event.user == self.name)

    def spend(self, most: int = 100) -> Answered:
        """Ask until refused; answers the refusal."""
        for _ in range(most):
            answer = self.ask(max_tokens=24)
            if answer.status != 200:
                return answer
        raise AssertionError("never refused")


def set_group(rig: Rig, group: str, dollars: str) -> None:
    """Limit a group's members, each."""
    rig.write(lambda tx: usage_limits.create_tier(tx, "ada", group, parse_usd(dollars)))
    rig.write(lambda tx: usage_limits.assign(tx, "ada", group, group))


def check(rig: Rig) -> None:
    with rig.db.read() as conn:
        assert audit.audit(conn).violations == ()


def test_past_a_cap_this_user_alone_is_refused(rig: Rig) -> None:
    """S71."""
    eve, bob = Person(rig, "eve"), Person(rig, "bob")
    eve.limit("0.01")
    refused = eve.spend()
    assert (refused.status, refused.error["code"], refused.error["cause"]) == (402, "insufficient_headroom", "USER")
    assert refused.headers["x-should-retry"] == "false"
    assert "what this user may spend in a month" in refused.error["message"]
    assert parse_usd("0.005") < eve.cost() <= parse_usd("0.01")
    assert bob.ask(max_tokens=8).status == 200
    with rig.db.read() as conn:
        assert reports.view_account(conn, "ada", rig.policy).suspend_state == "UNSUSPENDED"
    rig.world.at = parse_instant("2026-04-01T00:00:00Z")
    assert eve.ask(max_tokens=24).status == 200, "a new month begins anew"
    check(rig)


def test_whoever_has_no_cap_has_no_row(rig: Rig) -> None:
    eve = Person(rig, "eve")
    assert eve.ask(max_tokens=8).status == 200
    with rig.db.read() as conn:
        assert list_windows(conn, "ada", "user") == list_windows(conn, "ada", "group") == []
        found = access.authenticate(conn, eve.secret, rig.world.now(), access.pepper(conn))
    assert found.bounds == ()
    assert {event.budgets for event in rig.events()} == {None}


def test_each_member_of_a_group_may_spend_its_limit(rig: Rig) -> None:
    """S70: a group's limit is per member; the cause is the group."""
    set_group(rig, "research", "0.01")
    eve, bob = Person(rig, "eve"), Person(rig, "bob")
    for one in (eve, bob):
        one.limit(None, "research")
        refused = one.spend()
        assert (refused.status, refused.error["cause"]) == (402, "GROUP")
        assert parse_usd("0.005") < one.cost() <= parse_usd("0.01")
    check(rig)


def test_a_cap_of_nothing_blocks_from_the_first_request_on(rig: Rig) -> None:
    """S72."""
    eve = Person(rig, "eve")
    eve.limit("0.00")
    refused = eve.ask(max_tokens=1)
    assert (refused.status, refused.error["cause"]) == (402, "USER")


@pytest.mark.parametrize("named", [True, False])
def test_sixty_four_at_once_with_two_keys_stay_within_it_and_use_nearly_all_of_it(rig: Rig, named: bool) -> None:
    eve = Person(rig, "eve")
    other = rig.write(lambda tx: access.create_key(tx, "ada", "eve"))
    cap = {"max_tokens": 24} if named else {}
    eve.limit("0.002")

    def run(secret: str) -> None:
        body = {"model": "tiny", "messages": [{"role": "user", "content": ASK}], "stream": True, **cap}
        while rig.send("/v1/chat/completions", body, key=secret).status == 200:
            pass

    threads = [threading.Thread(target=run, args=((eve.secret, other.secret)[n % 2],)) for n in range(64)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while eve.ask("tiny", max_tokens=1).status == 200:
        pass
    assert parse_usd("0.0019") < eve.cost() <= parse_usd("0.002")
    check(rig)


def test_a_keys_budget_and_its_users_cap_hold_both(rig: Rig) -> None:
    eve = Person(rig, "eve")
    eve.limit("0.02")
    rig.write(lambda tx: set_budget(tx, "ada", eve.key, Budget(parse_usd("0.01"), DAILY)))
    assert rig.eventually(lambda: eve.ask(max_tokens=24).status == 200)
    assert eve.spend().error["cause"] == "KEY"
    assert eve.cost() <= parse_usd("0.01")
    rig.write(lambda tx: set_budget(tx, "ada", eve.key, Budget(parse_usd("1.00"), DAILY)))
    assert rig.eventually(lambda: eve.ask(max_tokens=24).status == 200)
    assert eve.spend().error["cause"] == "USER"
    assert parse_usd("0.01") < eve.cost() <= parse_usd("0.02")
    check(rig)


def test_what_was_spent_before_there_was_a_cap_counts_whatever_limits_then(rig: Rig) -> None:
    eve = Person(rig, "eve")
    assert eve.ask(max_tokens=24).status == 200
    spent = eve.cost()
    assert spent > 0
    rig.write(lambda tx: usage_limits.set_default(tx, "ada", parse_usd("0.006")))
    assert rig.eventually(lambda: eve.spend().error["cause"] == "USER")
    assert spent < eve.cost() <= parse_usd("0.006")
    set_group(rig, "research", "0.005")
    eve.limit(None, "research")  # S69: below the default, and yet it counts
    assert rig.eventually(lambda: eve.ask(max_tokens=1).error.get("cause") == "GROUP")
    rig.write(lambda tx: usage_limits.update_tier(tx, "ada", "research", parse_usd("0.012")))
    assert rig.eventually(lambda: eve.ask(max_tokens=24).status == 200)
    assert eve.spend().error["cause"] == "GROUP"
    assert parse_usd("0.006") < eve.cost() <= parse_usd("0.012")
    with rig.db.read() as conn:
        assert usage_limits.list_spent(conn, "ada", ["eve"], rig.world.now()) == {"eve": eve.cost()}
    check(rig)


def test_a_raised_cap_admits_and_a_lowered_one_refuses_at_once(rig: Rig) -> None:
    eve = Person(rig, "eve")
    eve.limit("0.01")
    eve.spend()
    eve.limit("0.02")
    assert rig.eventually(lambda: eve.ask(max_tokens=24).status == 200)
    eve.spend()
    assert parse_usd("0.015") < eve.cost() <= parse_usd("0.02"), "what the row counted is not taken off again"
    eve.limit("0.01")
    assert rig.eventually(lambda: eve.ask(max_tokens=24).status == 402)
    eve.limit(None)
    assert rig.eventually(lambda: eve.ask(max_tokens=24).status == 200)


def test_an_approved_request_for_more_admits_at_once(rig: Rig) -> None:
    eve = Person(rig, "eve")
    rig.write(lambda tx: usage_limits.set_default(tx, "ada", parse_usd("0.01")))
    assert rig.eventually(lambda: eve.spend().error["cause"] == "USER")
    asked = rig.write(lambda tx: limit_requests.ask(tx, "ada", eve.name, parse_usd("0.02"), ""))
    assert eve.ask(max_tokens=24).status == 402, "nobody has decided"
    rig.write(lambda tx: limit_requests.approve(tx, "ada", asked, None, "owner"))
    assert rig.eventually(lambda: eve.ask(max_tokens=24).status == 200)
    assert eve.spend().error["cause"] == "USER"
    assert parse_usd("0.015") < eve.cost() <= parse_usd("0.02")
    check(rig)


def test_a_quote_knows_the_cap(rig: Rig) -> None:
    eve = Person(rig, "eve")
    eve.limit("0.01")
    inner = {"model": "dear", "messages": [{"role": "user", "content": ASK}], "max_tokens": 24}
    for _ in range(2):
        told = rig.send("/v1/quote", {"path": "/v1/chat/completions", "body": inner}, key=eve.secret).json
        assert parse_usd(told["headroomUsd"]) == parse_usd("0.01") - eve.cost()
        assert eve.ask(max_tokens=24).status == 200


@pytest.mark.parametrize("kind", ["USER", "GROUP"])
def test_a_cap_that_is_changed_by_a_slower_clock_holds_in_the_month_that_has_begun_for_others(
    rig: Rig, kind: str
) -> None:
    """Clocks differ a little: a row of the new month may be there when the cap changes in the old one."""
    eve = Person(rig, "eve")
    if kind == "USER":
        eve.limit("1.00")
    else:
        set_group(rig, "research", "1.00")
        eve.limit(None, "research")
    turn = parse_instant("2026-04-01T00:00:00Z")
    rig.world.at = turn
    assert eve.ask(max_tokens=24).status == 200
    rig.world.at = turn - 1
    if kind == "USER":
        eve.limit("0.00")
    else:
        rig.write(lambda tx: usage_limits.update_tier(tx, "ada", "research", 0))
    rig.world.at = turn
    assert rig.eventually(lambda: eve.ask(max_tokens=24).status == 402)
    assert eve.ask(max_tokens=24).error["cause"] == kind
    check(rig)


def test_a_cap_that_is_changed_leaves_months_that_are_over_as_they_were(rig: Rig) -> None:
    eve = Person(rig, "eve")
    eve.limit("1.00")
    assert eve.ask(max_tokens=24).status == 200
    rig.world.at = parse_instant("2026-04-01T00:00:00Z")
    eve.limit("0.00")
    with rig.db.read() as conn:
        row = headroom.get_row(conn, headroom.RowKey("ada", "user", "eve/MONTHLY/2026-03"))
    assert row is not None
    assert row.amount == parse_usd("1.00")
