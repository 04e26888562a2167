"""Tokens per minute by account and model: held, counted, told and refused, over two gateways too (Q2, S92)."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from purser.core.adaptive import ALL_MODELS, GENERATED, PROMPT, Custom
from purser.flows import token_limits
from purser.http.head import header_lines
from purser.store.db import Database
from purser.store.rates import get_rate
from purser.store.token_limits import LimitKey
from tests.gateway.beside import beside
from tests.gateway.rig import POLICY, Answered, Rig, model, running

FEW = replace(POLICY, generated_tokens_per_minute=100)


def say(rig: Any, tokens: int, cap: int, **more: Any) -> Answered:
    answered: Answered = rig.chat(f"hello [[tokens={tokens}]]", max_tokens=cap, **more)
    return answered


def quantities(rig: Rig) -> list[dict[str, int]]:
    return [json.loads(event.quantities) for event in rig.events()]


def taken(db: Database, metric: str = "generated", model: str = "tiny") -> int:
    with db.read() as conn:
        return get_rate(conn, LimitKey("ada", model, metric).bucket, 0).taken


def test_what_is_used_counts_and_what_was_only_held_does_not(tmp_path: Path) -> None:
    with running(tmp_path, FEW) as rig:
        for left in (90, 80, 70):
            told = say(rig, 10, 60)
            assert told.status == 200
            assert told.headers["x-ratelimit-limit-tokens-generated"] == "100"
            assert "x-ratelimit-limit-tokens-prompt" not in told.headers
            assert int(told.headers["x-ratelimit-remaining-tokens-generated"]) <= left + 10
        refused = say(rig, 10, 71)
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert "Over 100 generated tokens per minute with the model tiny" in refused.error["message"]
        assert 1 <= int(refused.headers["retry-after"]) <= 61
        assert rig.eventually(lambda: say(rig, 10, 70).status == 200, 2)
        assert say(rig, 60, 60).status == 200
        assert say(rig, 1, 1).status == 429
        assert len(rig.events()) == 5, "nothing of a refused one is held or billed"
        assert rig.balance().held == 0


def test_models_have_limits_of_their_own_and_priority_shares_them(tmp_path: Path) -> None:
    """S92: a fast variant is a model of its own; what is asked at priority counts with the rest."""
    with running(tmp_path, FEW) as rig:
        assert say(rig, 50, 50).status == 200
        assert say(rig, 50, 50, service_tier="priority").status == 200
        assert say(rig, 1, 1).status == 429
        assert say(rig, 1, 1, service_tier="priority").status == 429
        assert say(rig, 1, 1, model="dear").status == 200


@pytest.mark.parametrize("stream", [False, True])
def test_what_runs_counts_with_all_that_it_may_still_use(tmp_path: Path, stream: bool) -> None:
    with running(tmp_path, replace(POLICY, prompt_tokens_per_minute=10_000, generated_tokens_per_minute=100)) as rig:
        slow = rig.chat("hello [[tokens=5]]", max_tokens=5, stream=stream)
        assert slow.status == 200
        assert rig.eventually(lambda: taken(rig.db) >= 5)
        meter: Any = rig.gateway.meter
        held = rig.run_on_loop(meter.hold("ada", "tiny", 10, 90))
        assert say(rig, 1, 10).status == 429
        rig.on_loop(lambda: meter.release(held))
        assert rig.eventually(lambda: say(rig, 1, 10).status == 200, 2)


def test_a_request_that_could_never_fit_is_served_alone(tmp_path: Path) -> None:
    with running(tmp_path, FEW) as rig:
        assert say(rig, 20, 500).status == 200
        assert say(rig, 20, 500).status == 429, "for it all of the limit must be there"
        assert say(rig, 20, 80).status == 200


def test_one_limit_over_two_gateways(tmp_path: Path) -> None:
    """Never more than the limit together, and what one does not need the other gets."""
    with running(tmp_path, replace(POLICY, generated_tokens_per_minute=1_600)) as rig, beside(rig) as other:
        statuses = [say(rig if n % 2 else other, 10, 10).status for n in range(20)]
        assert statuses == [200] * 20
        assert taken(rig.db) <= 1_600
        served = 200
        while (answer := say(rig, 50, 50)).status == 200:
            served += 50
        assert answer.status == 429
        assert served == 1_600
        assert say(other, 50, 50).status == 429
        assert sum(each["output_tokens"] for each in quantities(rig)) == 1_600


def test_what_was_used_is_reported_and_moves_the_limit(tmp_path: Path) -> None:
    """S88: a limit that is used by more than half grows by a quarter, 15 minutes after it began."""
    with running(tmp_path, FEW) as rig:
        assert say(rig, 60, 60).status == 200
        meter: Any = rig.gateway.meter
        rig.run_on_loop(meter.report())
        assert in_force(rig) == 100
        rig.world.at += 15 * 60 * 1_000_000
        assert say(rig, 30, 30).status == 200
        rig.run_on_loop(meter.report())
        assert in_force(rig) == 100, "a minute with 30 is none above half"
        assert say(rig, 10, 10).status == 200
        rig.world.at += 60 * 1_000_000
        rig.write(lambda tx: token_limits.note(tx, "ada", "tiny", (0, 0, 51)))
        assert in_force(rig) == 125
        assert rig.eventually(lambda: say(rig, 20, 20).status == 200)


def in_force(rig: Rig) -> int:
    with rig.db.read() as conn:
        [found] = token_limits.list_in_force(conn, "ada", rig.policy, rig.world.now())
    assert found.key == LimitKey("ada", "tiny", "generated")
    return found.limit.tokens


def test_cached_tokens_count_as_prompt_alone(tmp_path: Path) -> None:
    policy = replace(POLICY, prompt_tokens_per_minute=100_000, uncached_prompt_tokens_per_minute=100_000)
    with running(tmp_path, policy) as rig:
        for _ in range(2):
            assert rig.chat("the same words again and again " * 40, max_tokens=1).status == 200
        meter: Any = rig.gateway.meter
        rig.run_on_loop(meter.report())
        with rig.db.read() as conn:
            told = {each.key.metric: each.limit.used for each in token_limits.list_in_force(conn, "ada", policy, 0)}
        assert told["uncached"] == sum(each["input_tokens"] for each in quantities(rig))
        assert told["prompt"] == told["uncached"] + sum(each.get("cached_input_tokens", 0) for each in quantities(rig))
        assert told["prompt"] > told["uncached"], "the engine read some of the second from its cache"


def test_an_upstream_that_fails_uses_nothing(tmp_path: Path) -> None:
    nobody = model("tiny", ("http://127.0.0.1:9/v1",))
    with running(tmp_path, FEW, models=(nobody,)) as rig:
        for _ in range(3):
            assert say(rig, 100, 100).status == 502


def test_both_ways_tell_the_same_of_the_limits(tmp_path: Path) -> None:
    policy = replace(FEW, prompt_tokens_per_minute=10_000, uncached_prompt_tokens_per_minute=9_000)
    with running(tmp_path, policy) as rig:
        meter: Any = rig.gateway.meter
        held = rig.run_on_loop(meter.hold("ada", "tiny", 500, 60))
        assert rig.on_loop(lambda: header_lines(held.headers())) == rig.on_loop(held.lines)
        assert b"x-ratelimit-remaining-tokens-generated: 40\r\n" in held.lines()
        assert b'ratelimit: "tokens-prompt";r=9500\r\n' in held.lines()
        rig.on_loop(lambda: meter.release(held))


def test_what_was_used_is_told_of_all_models_at_once_and_behind_what_is_asked_for(tmp_path: Path) -> None:
    with running(tmp_path, replace(POLICY, generated_tokens_per_minute=100)) as rig:
        gateway: Any = rig.gateway
        rig.run_on_loop(gateway._heartbeat.stop())  # it reports by itself, and commits each second
        orders: list[tuple[str, ...]] = []
        share = rig.queue.share

        def noted(order: tuple[str, ...], work: Any, done: Any) -> None:
            orders.append(order)
            share(order, work, done)

        rig.queue.share = noted  # type: ignore[method-assign]
        assert say(rig, 5, 5).status == 200
        assert say(rig, 5, 5, model="dear").status == 200
        asked, before = list(orders), rig.writer.seq
        rig.run_on_loop(gateway.meter.report())
        told = orders[len(asked) :]
        assert [order[:2] for order in told] == [("ada", "tiny"), ("ada", "dear")]
        assert rig.writer.seq == before + 1, "in one commit"
        tokens = [order for order in asked if order[1] != "requests"]
        assert all(ask < tell for ask, tell in zip(sorted(tokens), sorted(told), strict=True))


# ── what an operator sets ────────────────────────────────────────────────────────────────────────────────────────
LIMIT = "x-ratelimit-limit-tokens-generated"


def set_generated(rig: Rig, tokens: int | None, model: str = "tiny") -> None:
    rig.write(lambda tx: token_limits.set_custom(tx, "ada", model, {GENERATED: Custom(tokens)}))


def used(rig: Rig) -> int:
    return sum(each["output_tokens"] for each in quantities(rig))


def fits(rig: Any, tokens: int) -> bool:
    return say(rig, tokens, tokens).status == 200


def tells(rig: Any, limit: int | None) -> bool:
    """Whether the answer to a small request tells of this limit."""
    answered = say(rig, 1, 1)
    return answered.status == 200 and answered.headers.get(LIMIT) == (None if limit is None else str(limit))


def test_a_limit_that_is_set_holds_over_two_gateways(tmp_path: Path) -> None:
    """One account's, where no tokens are limited else: in force within a second, to the token."""
    with running(tmp_path) as rig, beside(rig) as other:
        assert tells(rig, None)
        assert tells(other, None)
        set_generated(rig, 100)
        assert rig.eventually(lambda: tells(other, 100), 1)
        assert tells(rig, 100)
        before = used(rig)
        for n in range(9):
            assert rig.eventually(partial(fits, (rig, other)[n % 2], 10), 2)
        while rig.eventually(lambda: fits(other, 1) or fits(rig, 1), 1):
            pass
        assert used(rig) - before == 98, "two were told before"
        assert taken(rig.db) == 100
        assert say(rig, 500, 500, model="dear").status == 200, "another model of hers"


def test_a_lower_limit_counts_what_was_used_and_a_higher_one_lets_on(tmp_path: Path) -> None:
    with running(tmp_path, replace(POLICY, generated_tokens_per_minute=10_000)) as rig, beside(rig) as other:
        assert say(rig, 100, 200).status == 200
        assert say(other, 100, 200).status == 200
        set_generated(rig, 150)
        assert say(rig, 1, 1).status == 429, "though it has more than that of its share"
        assert rig.eventually(lambda: say(other, 1, 1).status == 429, 1)
        assert rig.eventually(lambda: taken(rig.db) < 220, 2), "what was not used is given back"
        assert say(rig, 1, 1).status == say(other, 1, 1).status == 429
        before = used(rig)
        set_generated(rig, before + 200)
        assert rig.eventually(lambda: fits(other, 50), 1)
        while rig.eventually(lambda: fits(rig, 50) or fits(other, 50), 1):
            pass
        assert used(rig) == before + 200


def test_unlimited_and_what_moves_again_after_it(tmp_path: Path) -> None:
    with running(tmp_path, FEW) as rig:
        assert say(rig, 60, 90).status == 200
        assert taken(rig.db) == 90
        assert say(rig, 60, 60).status == 429
        set_generated(rig, None)
        for _ in range(3):
            assert rig.eventually(lambda: say(rig, 200, 200).status == 200, 1)
        assert tells(rig, None)
        assert rig.eventually(lambda: taken(rig.db) == 60, 2), "nothing is kept of it that was not used"
        assert say(rig, 200, 200, model="dear").status == 200, "served alone, for nothing else was"
        assert say(rig, 1, 1, model="dear").status == 429, "its limit moves as ever"
        rig.write(lambda tx: token_limits.set_custom(tx, "ada", "tiny", {GENERATED: None}))
        assert rig.eventually(lambda: say(rig, 41, 41).status == 429, 1), "what was used of it counts"
        assert say(rig, 40, 40).status == 200


def test_what_is_set_for_all_models_holds_for_each_by_itself(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        set_generated(rig, 100, ALL_MODELS)
        set_generated(rig, 50, "dear")
        assert rig.eventually(lambda: tells(rig, 100), 1)
        assert say(rig, 90, 90).status == 200
        assert say(rig, 30, 30).status == 429
        assert say(rig, 50, 50, model="dear").status == 200
        assert say(rig, 1, 1, model="dear").status == 429


def test_a_limit_of_one_metric_leaves_the_others(tmp_path: Path) -> None:
    with running(tmp_path) as rig:
        rig.write(lambda tx: token_limits.set_custom(tx, "ada", "tiny", {PROMPT: Custom(100_000)}))
        assert rig.eventually(lambda: "x-ratelimit-limit-tokens-prompt" in say(rig, 1, 1).headers, 1)
        for _ in range(3):
            told = say(rig, 100, 100)
            assert (told.status, LIMIT in told.headers) == (200, False)
        assert taken(rig.db, PROMPT) > 0


def test_an_account_that_changes_all_the_time_is_served(tmp_path: Path) -> None:
    """Each change makes the store be asked again: once for a request, and not for ever."""
    with running(tmp_path, FEW) as rig:
        meter: Any = rig.gateway.meter

        async def change() -> None:
            while True:
                meter.forget({"ada"})
                await asyncio.sleep(0)

        async def hold() -> int:
            changing = asyncio.ensure_future(change())
            try:
                held = await asyncio.wait_for(asyncio.gather(*(meter.hold("ada", "tiny", 1, 10) for _ in range(5))), 5)
            finally:
                changing.cancel()
            for each in held:
                meter.release(each)
            return len(held)

        assert rig.run_on_loop(hold()) == 5
