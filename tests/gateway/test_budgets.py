"""A key's budget: past it this key alone is refused, exactly, however many requests run at once (L6)."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from purser.core.budget import Budget
from purser.core.money import parse_usd
from purser.core.period import DAY, parse_instant
from purser.flows import access, accounts, audit, budgets, reports
from tests.gateway.rig import Answered, Rig
from tests.store.small_books import change

ASK = "hello [[tokens=24]]"


class Key:
    """A key of ada's with a budget."""

    def __init__(self, rig: Rig, dollars: str, period: str = "MONTHLY") -> None:
        self._rig = rig
        made = rig.write(lambda tx: access.create_key(tx, "ada", "owner"))
        self.id, self.secret = made.id, made.secret
        self.limit(dollars, period)

    def limit(self, dollars: str | None, period: str = "MONTHLY") -> None:
        budget = None if dollars is None else Budget(parse_usd(dollars), period)
        self._rig.write(lambda tx: budgets.set_budget(tx, "ada", self.id, budget))

    def ask(self, model: str = "dear", **more: object) -> Answered:
        body = {"model": model, "messages": [{"role": "user", "content": ASK}], **more}
        return self._rig.send("/v1/chat/completions", body, key=self.secret)

    def cost(self) -> int:
        """What its requests cost, nano-dollars."""
        return sum(event.cost for event in self._rig.events() if event.key == self.id)


@pytest.fixture
def key(rig: Rig) -> Key:
    return Key(rig, "0.01")


def spend(key: Key, most: int = 100) -> Answered:
    """Ask until refused; answers the refusal."""
    for _ in range(most):
        answer = key.ask(max_tokens=24)
        if answer.status != 200:
            return answer
    raise AssertionError("never refused")


def test_past_its_budget_this_key_alone_is_refused(rig: Rig, key: Key) -> None:
    refused = spend(key)
    assert (refused.status, refused.error["code"], refused.error["cause"]) == (402, "insufficient_headroom", "KEY")
    assert "this API key's budget" in refused.error["message"]
    assert parse_usd("0.005") < key.cost() <= parse_usd("0.01")
    assert rig.chat("hello", max_tokens=8).status == 200, "the account's other keys go on"
    with rig.db.read() as conn:
        assert reports.view_account(conn, "ada", rig.policy).suspend_state == "UNSUSPENDED"
    assert rig.balance().credit > parse_usd("0.9")


@pytest.mark.parametrize("named", [True, False])
def test_sixty_four_at_once_stay_within_it_and_use_nearly_all_of_it(rig: Rig, key: Key, named: bool) -> None:
    cap = {"max_tokens": 24} if named else {}

    def run() -> None:
        while key.ask("tiny", stream=True, **cap).status == 200:
            pass

    threads = [threading.Thread(target=run) for _ in range(64)]
    key.limit("0.002")
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    while key.ask("tiny", max_tokens=1).status == 200:
        pass
    assert parse_usd("0.0019") < key.cost() <= parse_usd("0.002")


def test_the_headroom_told_is_the_budgets_where_that_is_the_least(rig: Rig, key: Key) -> None:
    answer = key.ask(max_tokens=24)
    assert parse_usd(answer.headers["x-purser-headroom-usd"]) == parse_usd("0.01") - key.cost()


@pytest.mark.parametrize("used_before", [False, True])
def test_a_quote_knows_the_budget(rig: Rig, key: Key, used_before: bool) -> None:
    if used_before:
        assert key.ask(max_tokens=24).status == 200
    inner = {"model": "dear", "messages": [{"role": "user", "content": ASK}], "max_tokens": 1000}
    told = rig.send("/v1/quote", {"path": "/v1/chat/completions", "body": inner}, key=key.secret).json
    assert parse_usd(told["headroomUsd"]) == parse_usd("0.01") - key.cost()
    headers = {"x-purser-fit": "refuse"}
    inner["max_tokens"] = 8000
    refused = rig.send("/v1/chat/completions", inner, headers=headers, key=key.secret)
    assert (refused.status, refused.error["cause"]) == (402, "KEY"), refused.body


def test_a_new_period_begins_with_the_whole_budget(rig: Rig) -> None:
    daily = Key(rig, "0.01", "DAILY")
    assert spend(daily).status == 402
    spent = daily.cost()
    rig.world.at = parse_instant("2026-03-02T00:00:00Z") - 1
    assert daily.ask(max_tokens=24).status == 402
    rig.world.at += 1
    assert spend(daily).status == 402
    assert spent < daily.cost() <= 2 * parse_usd("0.01")
    rig.world.at += DAY
    assert daily.ask(max_tokens=24).status == 200


def test_a_raised_budget_admits_and_a_lowered_one_refuses_at_once(rig: Rig, key: Key) -> None:
    spend(key)
    key.limit("0.02")
    assert rig.eventually(lambda: key.ask(max_tokens=24).status == 200)
    key.limit("0.01")
    assert rig.eventually(lambda: key.ask(max_tokens=24).status == 402)
    key.limit(None)
    assert rig.eventually(lambda: key.ask(max_tokens=24).status == 200)
    spend_more = [key.ask(max_tokens=24).status for _ in range(5)]
    assert spend_more == [200] * 5


def test_what_was_spent_before_there_was_a_budget_counts(rig: Rig, key: Key) -> None:
    key.limit(None)
    assert key.ask(max_tokens=24).status == 200
    spent = key.cost()
    key.limit("0.006")
    with rig.db.read() as conn:
        assert budgets.get_spent(conn, "ada", key.id, Budget(1, "MONTHLY"), rig.world.now()) == spent > 0
    assert key.ask(max_tokens=10).status == 200
    spend(key)
    assert spent < key.cost() <= parse_usd("0.006")
    key.limit("0.006", "WEEKLY")
    assert key.ask(max_tokens=24).status == 402, "the same money, by another period"
    key.limit("1.00", "TOTAL")
    assert rig.eventually(lambda: key.ask(max_tokens=24).status == 200)
    with rig.db.read() as conn:
        assert budgets.get_spent(conn, "ada", key.id, Budget(1, "WEEKLY"), rig.world.now()) == key.cost()


def test_the_audit_finds_a_budget_that_counts_what_it_should_not(rig: Rig, key: Key, tmp_path: Path) -> None:
    assert key.ask(max_tokens=24).status == 200
    other = rig.write(lambda tx: accounts.open_account(tx, "bob", "bob@example.com"))
    assert other.secret
    change(rig.db, "UPDATE usage_events SET budgets = NULL")
    with rig.db.read() as conn:
        found = {violation.check for violation in audit.audit(conn).violations}
    assert found == {"B6", "headroom"}
    change(rig.db, f"UPDATE usage_events SET budgets = 'key:{key.id}/MONTHLY/2026-03'")
    with rig.db.read() as conn:
        assert audit.audit(conn).violations == ()


@pytest.mark.parametrize("period", ["DAILY", "MONTHLY"])
def test_a_budget_that_is_changed_by_a_slower_clock_holds_in_the_period_that_has_begun_for_others(
    rig: Rig, period: str
) -> None:
    """Clocks differ a little: a row of the new period may be there when the budget changes in the old one."""
    key = Key(rig, "1.00", period)
    turn = parse_instant("2026-04-01T00:00:00Z")
    rig.world.at = turn
    assert key.ask(max_tokens=24).status == 200
    rig.world.at = turn - 1
    key.limit("0.00", period)
    rig.world.at = turn
    assert rig.eventually(lambda: key.ask(max_tokens=24).status == 402)
    rig.world.at = turn - 1
    key.limit(None)
    rig.world.at = turn
    assert rig.eventually(lambda: key.ask(max_tokens=24).status == 200)
