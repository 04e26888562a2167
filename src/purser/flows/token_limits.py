"""Tokens per minute: an account's limit with each model, what moves it, and the shares that writers get of it (Q2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from purser.core import adaptive, ratelimit
from purser.core.adaptive import GENERATED, LARGE, METRICS, PROMPT, UNCACHED, Limit
from purser.core.policy import Policy
from purser.core.ratelimit import Given
from purser.flows import reports
from purser.store import rates, token_limits
from purser.store.db import Connection
from purser.store.token_limits import LimitKey
from purser.store.writers import Tx

Counts = Sequence[int]  # tokens of each metric, in their order


@dataclass(frozen=True, slots=True)
class InForce:
    """One limit in force, tokens a minute: between where it starts and the most it can grow to by now."""

    key: LimitKey
    limit: Limit
    start: int
    most: int


def starts(policy: Policy) -> Mapping[str, int]:
    """Where the limits of every model start, for the metrics that are limited at all."""
    given = {
        PROMPT: policy.prompt_tokens_per_minute,
        UNCACHED: policy.uncached_prompt_tokens_per_minute,
        GENERATED: policy.generated_tokens_per_minute,
    }
    return {metric: start for metric, start in given.items() if start is not None}


def _tier(conn: Connection, account: str, policy: Policy) -> int | None:
    tier = reports.view_account(conn, account, policy).tier
    return None if tier is None else tier.number


def _most(policy: Policy, model: str, start: int, tier: int | None) -> int:
    return adaptive.ceiling(start, policy.model_sizes.get(model, LARGE), tier)


def note(tx: Tx, account: str, model: str, used: Counts) -> None:
    """So many tokens were used of a model: they come to the minute under way, and its limits move where that is due.

    Raises NotFound.
    """
    tier = _tier(tx.conn, account, tx.policy)
    for metric, start in starts(tx.policy).items():
        key, most = LimitKey(account, model, metric), _most(tx.policy, model, start, tier)
        before = token_limits.lock_limit(tx.conn, key, adaptive.begin(start, tx.now))
        after = adaptive.note(before, used[METRICS.index(metric)], tx.now, start, most)
        token_limits.put_limit(tx.conn, key, after)


def ask(tx: Tx, account: str, model: str, needed: Counts) -> dict[str, tuple[Given, int, bool]]:
    """More tokens a minute of a model than this writer's shares allow: larger shares, for each metric that has them.

    A need above the whole limit is taken for the limit, so that what can never fit is served when nothing else is.
    Answers what was given of each metric that is limited and needed, the limit in force, and whether other writers
    have shares of it. Raises NotFound.
    """
    tier, found = _tier(tx.conn, account, tx.policy), dict[str, tuple[Given, int, bool]]()
    for metric, start in starts(tx.policy).items():
        need = needed[METRICS.index(metric)]
        if need <= 0:
            continue
        key = LimitKey(account, model, metric)
        rate, now = rates.lock_rate(tx, key.bucket)
        most = _in_force(tx.conn, key, tx.now, start, _most(tx.policy, model, start, tier)).tokens
        own = rate.share_of(tx.writer)
        given = ratelimit.ask(rate, most, now, own, max(1, min(need, most - own)))
        if given.share:
            rates.add_share(tx.conn, key.bucket, tx.writer, given.share)
        others = rate.is_shared_with(tx.writer)
        if others and not given.share:
            rates.set_wanted(tx.conn, key.bucket, tx.now)
        found[metric] = given, most, others
    return found


def _in_force(conn: Connection, key: LimitKey, now: int, start: int, most: int) -> Limit:
    found = token_limits.get_limit(conn, key)
    return adaptive.begin(start, now) if found is None else adaptive.current(found, now, start, most)


def list_in_force(conn: Connection, account: str, policy: Policy, now: int) -> list[InForce]:
    """An account's limits with the models that it has used; raises NotFound."""
    tier, starting = _tier(conn, account, policy), starts(policy)
    found = []
    for key, limit in token_limits.list_limits(conn, account).items():
        if key.metric in starting:
            start = starting[key.metric]
            most = _most(policy, key.model, start, tier)
            found.append(InForce(key, adaptive.current(limit, now, start, most), start, most))
    return sorted(found, key=lambda each: (each.key.model, METRICS.index(each.key.metric)))
