"""Tokens per minute: an account's limit with each model, what moves or sets it, and the shares of writers (Q2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from purser.core import adaptive, ratelimit
from purser.core.adaptive import ALL_MODELS, GENERATED, LARGE, METRICS, PROMPT, UNCACHED, Custom, Limit
from purser.core.errors import Broken, Invalid
from purser.core.policy import Policy
from purser.core.ratelimit import Given
from purser.flows import reports, standing
from purser.store import prices, rates, token_limits
from purser.store.db import Connection
from purser.store.token_limits import LimitKey
from purser.store.writers import Tx

Counts = Sequence[int]  # tokens of each metric, in their order


@dataclass(frozen=True, slots=True)
class InForce:
    """One limit in force, tokens a minute: between where it starts and the most it can grow to by now.

    Where an operator has set another in its place, `custom` says which; where only that limits, both bounds are it, or
    None where nothing does.
    """

    key: LimitKey
    limit: Limit
    start: int | None
    most: int | None
    custom: Custom | None = None

    @property
    def tokens(self) -> int | None:
        """The tokens a minute; None where they are not limited."""
        return self.limit.tokens if self.custom is None else self.custom.tokens


class Heard(NamedTuple):
    """What a writer that asks for more of one metric hears: what it is given of it, and the limit in force.

    The limit is None where there is none. `others` says whether other writers have shares of it.
    """

    given: Given
    most: int | None
    others: bool


class _Bounds(NamedTuple):
    """What limits one metric of a model: between what it moves, None where it does not, and what is set instead."""

    start: int | None
    most: int | None
    custom: Custom | None

    @property
    def limited(self) -> bool:
        """Whether anything does."""
        return (self.start if self.custom is None else self.custom.tokens) is not None


def starts(policy: Policy) -> Mapping[str, int]:
    """Where the limits of every model start, for the metrics that are limited at all."""
    given = {
        PROMPT: policy.prompt_tokens_per_minute,
        UNCACHED: policy.uncached_prompt_tokens_per_minute,
        GENERATED: policy.generated_tokens_per_minute,
    }
    return {metric: start for metric, start in given.items() if start is not None}


def is_limited(conn: Connection, account: str, policy: Policy) -> bool:
    """Whether an account's tokens may be limited with any model."""
    if starts(policy):
        return True
    return any(custom.tokens is not None for custom in token_limits.list_custom(conn, account).values())


def _tier(conn: Connection, account: str, policy: Policy) -> int | None:
    tier = reports.view_account(conn, account, policy).tier
    return None if tier is None else tier.number


def _bounds(
    policy: Policy, customs: Mapping[tuple[str, str], Custom], model: str, metric: str, tier: int | None
) -> _Bounds:
    start, custom = starts(policy).get(metric), adaptive.custom_of(customs, model, metric)
    if start is None:
        only = None if custom is None else custom.tokens
        return _Bounds(only, only, custom)
    return _Bounds(start, adaptive.ceiling(start, policy.model_sizes.get(model, LARGE), tier), custom)


def note(tx: Tx, account: str, model: str, used: Counts) -> None:
    """So many tokens were used of a model: they come to the minute under way, and its limits move where that is due.

    One in whose place another is set stays as it is. Raises NotFound.
    """
    tier, customs = _tier(tx.conn, account, tx.policy), token_limits.list_custom(tx.conn, account)
    for metric, tokens in zip(METRICS, used, strict=True):
        start, most, custom = _bounds(tx.policy, customs, model, metric, tier)
        if start is None or most is None:
            continue
        key = LimitKey(account, model, metric)
        before = token_limits.lock_limit(tx.conn, key, adaptive.begin(start, tx.now))
        after = adaptive.note(before, tokens, tx.now, start, most, moves=custom is None)
        token_limits.put_limit(tx.conn, key, after)


def ask(tx: Tx, account: str, model: str, needed: Counts) -> dict[str, Heard]:
    """More tokens a minute of a model than this writer's shares allow: larger shares of each metric that needs them.

    A need above the whole limit is taken for the limit, so that what can never fit is served when nothing else is.
    Answers for every metric, also where nothing is needed. Raises NotFound.
    """
    tier, customs = _tier(tx.conn, account, tx.policy), token_limits.list_custom(tx.conn, account)
    found = dict[str, Heard]()
    for metric, need in zip(METRICS, needed, strict=True):
        bounds = _bounds(tx.policy, customs, model, metric, tier)
        found[metric] = _ask(tx, LimitKey(account, model, metric), bounds, need)
    return found


def _ask(tx: Tx, key: LimitKey, bounds: _Bounds, need: int) -> Heard:
    if not bounds.limited:
        return Heard(Given(0, False, 0), None, False)
    if need <= 0:
        rate, most = rates.get_rate(tx.conn, key.bucket, tx.monotonic), _in_force(tx, key, bounds)
        left = most - rate.taken
        return Heard(Given(0, False, max(0, left), over=left < 0), most, rate.is_shared_with(tx.writer))
    rate, now = rates.lock_rate(tx, key.bucket)
    most = _in_force(tx, key, bounds)  # as it is behind that lock
    own = rate.share_of(tx.writer)
    given = ratelimit.ask(rate, most, now, own, max(1, min(need, most - own)))
    if given.share:
        rates.add_share(tx.conn, key.bucket, tx.writer, given.share)
    others = rate.is_shared_with(tx.writer)
    if others and not given.share:
        rates.set_wanted(tx.conn, key.bucket, tx.now)
    return Heard(given, most, others)


def _in_force(tx: Tx, key: LimitKey, bounds: _Bounds) -> int:
    """The tokens a minute in force where they are limited."""
    start, most, custom = bounds
    if custom is not None and custom.tokens is not None:
        return custom.tokens
    if start is None or most is None:
        raise Broken(f"no limit of {key} is in force")
    found = token_limits.get_limit(tx.conn, key)
    return (adaptive.begin(start, tx.now) if found is None else adaptive.current(found, tx.now, start, most)).tokens


def list_in_force(conn: Connection, account: str, policy: Policy, now: int) -> list[InForce]:
    """An account's limits with the models that it has used or for which one is set, that of all models as ALL_MODELS.

    Raises NotFound.
    """
    tier, customs = _tier(conn, account, policy), token_limits.list_custom(conn, account)
    known = token_limits.list_limits(conn, account)
    found = []
    for key in {*known, *(LimitKey(account, *each) for each in customs)}:
        start, most, custom = _bounds(policy, customs, key.model, key.metric, tier)
        if start is None and custom is None:
            continue  # it was limited once
        begun = adaptive.begin(start or 0, now)
        limit = known.get(key, begun)
        if start is not None and most is not None:
            limit = adaptive.current(limit, now, start, most)
        found.append(InForce(key, limit, start, most, custom))
    return sorted(found, key=lambda each: (each.key.model, METRICS.index(each.key.metric)))


# ── what an operator sets ────────────────────────────────────────────────────────────────────────────────────────
def list_custom(conn: Connection, account: str) -> dict[tuple[str, str], Custom]:
    """What is set of an account's limits, by model and metric; raises NotFound."""
    standing.require(conn, account)
    return token_limits.list_custom(conn, account)


def set_custom(tx: Tx, account: str, model: str, customs: Mapping[str, Custom | None]) -> None:
    """Set limits of some metrics of a model, or of all that have none of their own (ALL_MODELS); None takes one away.

    What is set neither moves nor starts anew, and is in force in every process within a second; what moved goes on
    from where it was. Raises Invalid, NotFound.
    """
    standing.lock(tx, account)
    known = {name for book in prices.list_books(tx.conn) for name in book.models}
    was = token_limits.list_custom(tx.conn, account)
    if model != ALL_MODELS and model not in known and not any(of == model for of, _ in was):
        raise Invalid(f"no model {model!r:.60} has a price", field="model")
    changed = False
    for metric, custom in customs.items():
        before = was.get((model, metric))
        if (None if before is None else Custom(before.tokens)) != custom:
            token_limits.put_custom(tx.conn, LimitKey(account, model, metric), custom, tx.now)
            changed = True
    if changed:
        tx.touch(account)
