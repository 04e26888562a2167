"""Adaptive token limits: how many tokens a minute an account may use of a model, growing and shrinking with use (Q2).

Each metric of each model moves by itself, by what its busiest minutes used: up a quarter at most every 15 minutes, down
a fifth at most every day, back to where it started after three days without traffic. An operator may set a limit of an
account in its place, which does not move, or none. Instants are microseconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from purser.core.errors import Invalid
from purser.core.period import DAY, HOUR, MINUTE

PROMPT, UNCACHED, GENERATED = "prompt", "uncached", "generated"
METRICS = (PROMPT, UNCACHED, GENERATED)
SMALL, MEDIUM, LARGE = "small", "medium", "large"
GROWTH = {SMALL: 60, MEDIUM: 12, LARGE: 6}  # a model of that size: its ceiling in multiples of where it starts
ALL_MODELS = "*"  # what is set for every model that has nothing of its own
MOST_TOKENS = 10**12  # the largest limit that can be set
_FULL_TIER, _HALF_TIER = 3, 2  # the full ceiling from the one on, half of it in the other, a quarter below
_RAISED_AFTER, _LOWERED_AFTER, _FORGOTTEN_AFTER = 15 * MINUTE, DAY, 72 * HOUR
_SPAN, _SAMPLE = 3 * DAY, 15 * MINUTE


def ceiling(start: int, size: str, tier: int | None) -> int:
    """The most that a limit can grow to in a tier; None stands for an account that no tier binds."""
    full = start * GROWTH[size]
    if tier is None or tier >= _FULL_TIER:
        return full
    return max(start, full // (2 if tier == _HALF_TIER else 4))


@dataclass(frozen=True, slots=True)
class Limit:
    """One metric's limit, tokens a minute, and what it has seen.

    `samples` are the tokens of the busiest minute in each quarter-hour of the last three days, with the quarter's
    start, oldest first and without those that a later one outdoes; `minute_at` and `used` are the minute under way,
    `known_since` when the first of all was.
    """

    tokens: int
    changed_at: int
    known_since: int
    traffic_at: int
    minute_at: int = 0
    used: int = 0
    samples: tuple[tuple[int, int], ...] = ()

    @property
    def peak(self) -> int:
        """The tokens of the busiest minute in the last three days."""
        return max((tokens for _, tokens in self.samples), default=0)


def begin(start: int, now: int) -> Limit:
    """A limit of an account that uses a model for the first time."""
    return Limit(start, now, now, now)


def note(limit: Limit, tokens: int, now: int, start: int, most: int, *, moves: bool = True) -> Limit:
    """What was used comes to the minute under way, and the limit moves where that is due, unless another is in force.

    It stays between `start` and `most`.
    """
    limit = current(limit, now, start, most)
    minute = now - now % MINUTE
    used = tokens + (limit.used if limit.minute_at == minute else 0)
    limit = replace(limit, minute_at=minute, used=used, samples=_with_sample(limit, used, now))
    if tokens:
        limit = replace(limit, traffic_at=now)
    return _moved(limit, now, start, most) if moves else limit


def current(limit: Limit, now: int, start: int, most: int) -> Limit:
    """The limit as it is at `now`, where nothing was noted since: started anew after three days without traffic."""
    if now - limit.traffic_at > _FORGOTTEN_AFTER:
        return begin(start, now)
    return replace(limit, tokens=max(start, min(limit.tokens, most)))


def _with_sample(limit: Limit, used: int, now: int) -> tuple[tuple[int, int], ...]:
    quarter = now - now % _SAMPLE
    best = max((tokens for at, tokens in limit.samples if at == quarter), default=0)
    best = max(best, used)
    kept = [(at, tokens) for at, tokens in limit.samples if now - _SPAN - _SAMPLE < at < quarter and tokens > best]
    return (*kept, (quarter, best))


def _moved(limit: Limit, now: int, start: int, most: int) -> Limit:
    since = now - limit.changed_at
    if limit.used * 2 > limit.tokens and since >= _RAISED_AFTER and limit.tokens < most:
        return replace(limit, tokens=min(most, limit.tokens * 5 // 4), changed_at=now)
    seldom = limit.peak * 100 < limit.tokens * 33
    if seldom and since >= _LOWERED_AFTER and now - limit.known_since >= _SPAN and limit.tokens > start:
        # What is left is more than twice the busiest minute, as the rule wants: that is below 66 % of the limit.
        return replace(limit, tokens=max(start, limit.tokens * 4 // 5), changed_at=now)
    return limit


# ── what an operator sets ────────────────────────────────────────────────────────────────────────────────────────
@dataclass(frozen=True, slots=True)
class Custom:
    """What is in force instead of a limit that moves: so many tokens a minute, or none at all (None). Set at `set_at`.

    Where `set_at` is None it is only asked for.
    """

    tokens: int | None
    set_at: int | None = None


def custom_of(customs: Mapping[tuple[str, str], Custom], model: str, metric: str) -> Custom | None:
    """What is set for a metric of a model: its own before that of all models; None where nothing is.

    `customs` are by model and metric.
    """
    own = customs.get((model, metric))
    return customs.get((ALL_MODELS, metric)) if own is None else own


def check_custom(tokens: int, field: str) -> Custom:
    """A limit to set, tokens a minute; raises Invalid."""
    if not 1 <= tokens <= MOST_TOKENS:
        raise Invalid(f"{field} must be from 1 to {MOST_TOKENS} tokens a minute, not {tokens}", field=field)
    return Custom(tokens)
